"""Where snapshots are: beside the kernels that they are made of, by what the predictor's file holds.

LLVM ends the process where it cannot link something, and a process that ends so each time it starts would be worse than one
that starts slowly. So a snapshot is "new" at first; the one process that uses it before all others calls it "tried" until it
has worked, and "ready" afterwards. What stays tried is not used again by this version of the package.
"""

import contextlib
import hashlib
import os
import struct
import time
from typing import NamedTuple

import numpy as np

from .._stamp import base_folders, folder_name, host_target, package_stamp, remove_old
from . import files

NEW, TRIED, READY = ENDINGS = ".new", ".tried", ".ready"
TEMPORARY = ".ready.tmp"
KEPT, MOST_KEPT = 32, 1 << 30  # snapshots in a folder, and bytes of all of them
MOST_HEADER = 1 << 22  # bytes of the header of a predictor's file


class Found(NamedTuple):
    """A snapshot.

    name : see `name_of`     place : of its file without the ending     first : whether this process is to try it
    """

    name: str
    header: dict
    blobs: list[np.ndarray]
    place: str
    first: bool

    def works(self):
        """Note that it does."""
        if self.first:
            with contextlib.suppress(OSError):
                os.replace(self.place + TRIED, self.place + READY)


def name_of(path):
    """Name of the snapshot of the predictor in a file: a hash over the file's header, which has one of all the rest.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError
        If `path` is none.
    ValueError
        If it has no header, or is no file: reading a pipe, say, would wait.
    """
    path = os.fspath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("no file")
    with open(path, "rb") as file:
        size, start = os.fstat(file.fileno()).st_size, file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size, MOST_HEADER):
            raise ValueError("no file of a predictor")
        text = file.read(length)
    return hashlib.sha256(b"%d %b" % (size, text)).hexdigest()[:32]


def folders():
    """Where snapshots may be, for this version and processor, the preferred one first."""
    return [base / folder_name(host_target()) for base in base_folders(os.environ.get("NUMBA_CACHE_DIR"))]


def find(path):
    """What is `Found` for the predictor in the file at `path`, or None. What does not fit, or is damaged, is removed."""
    name = name_of(path)
    for folder in folders():
        place = os.path.join(folder, name)
        ending, first = _claimed(place)
        if not ending:
            continue
        try:
            header, blobs = files.read(place + ending)
            if header["made_by"] == _made_by():
                return Found(name, header, blobs, place, first)
        except OSError:
            continue
        except (KeyError, ValueError):
            pass
        with contextlib.suppress(OSError):
            os.unlink(place + ending)
    return None


def _claimed(place):
    """(ending of the file that this process may use, "" if there is none; whether it is the first that does)."""
    if os.path.exists(place + READY):
        return READY, False
    try:
        os.rename(place + NEW, place + TRIED)
        return TRIED, True
    except FileNotFoundError:
        return "", False
    except OSError:  # a folder that is only readable, where nothing can be noted
        return (NEW, False) if os.path.exists(place + NEW) else ("", False)


def _made_by():
    """What a snapshot must have been made by, beside what the folder's name says."""
    import llvmlite

    return [llvmlite.__version__, package_stamp()]


def has_snapshot(name):
    """Whether there is one of that name, or has been one that did not work."""
    return any(os.path.exists(os.path.join(folder, name) + ending) for folder in folders() for ending in ENDINGS)


def keep(name, header, blobs):
    """Write a snapshot, whole or not at all, to the first folder that can be written to; older ones make room.

    The kernels that it is made of may be in another folder, one that was filled by somebody else and is only readable.

    Raises
    ------
    OSError
        If there is no such folder.
    """
    content, failed = files.as_file({**header, "made_by": _made_by()}, blobs), OSError("nothing is kept")
    for folder in folders():
        try:
            if not folder.exists():
                folder.mkdir(parents=True)
                remove_old(folder)
            _write(folder, name + NEW, content)
        except OSError as error:
            failed = error
        else:
            _make_room(folder)
            return
    raise failed


def _write(folder, name, content):
    temporary = os.path.join(folder, f"{os.urandom(8).hex()}{TEMPORARY}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, os.path.join(folder, name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _make_room(folder):
    """Remove all but the newest snapshots, of which there are KEPT and MOST_KEPT bytes at the most, but always one.

    And what processes have left that were killed while they wrote, an hour ago or more.
    """
    found, size = [], 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((*ENDINGS, TEMPORARY)):
                with contextlib.suppress(OSError):  # another process has removed it just now
                    found.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
    old = [path for written, _, path in found if path.endswith(TEMPORARY) and time.time() - written > 3600]
    kept = sorted((each for each in found if each[2].endswith(ENDINGS)), reverse=True)
    for number, (_, n, path) in enumerate(kept):
        size += n
        if number and (number >= KEPT or size > MOST_KEPT):
            old.append(path)
    for path in old:
        with contextlib.suppress(OSError):
            os.unlink(path)
