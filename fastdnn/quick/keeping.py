"""Where snapshots are: beside the kernels that they are made of, by what the predictor's file holds.

LLVM ends the process where it cannot link something, and a process that ends so each time it starts would be worse than one
that starts slowly. So a snapshot is "new" at first; the one process that uses it before all others calls it "tried" until it
has worked, and "ready" afterwards. What stays tried is not used again by this version of the package.
"""

import contextlib
import hashlib
import os
import struct
from typing import NamedTuple

import numpy as np

from .._stamp import base_folders, folder_name, host_target, package_stamp
from . import files

NEW, TRIED, READY = ".new", ".tried", ".ready"
KEPT = 32  # snapshots in a folder
MOST_HEADER = 1 << 22  # bytes of the header of a predictor's file


class Found(NamedTuple):
    """A snapshot; place : of its file without the ending     first : whether this process is to try it."""

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
    ValueError
        If it has no header.
    """
    with open(path, "rb") as file:
        size, start = os.fstat(file.fileno()).st_size, file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size, MOST_HEADER):
            raise ValueError("no file of a predictor")
        text = file.read(length)
    return hashlib.sha256(b"%d %b" % (size, text)).hexdigest()[:32]


def find(path):
    """What is `Found` for the predictor in the file at `path`, or None. What does not fit, or is damaged, is removed."""
    name = name_of(path)
    for base in base_folders(os.environ.get("NUMBA_CACHE_DIR")):
        place = os.path.join(base, folder_name(host_target()), name)
        ending, first = _claimed(place)
        if not ending:
            continue
        try:
            header, blobs = files.read(place + ending)
            if header["made_by"] == _made_by():
                return Found(header, blobs, place, first)
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


def has_snapshot(folder, path):
    """Whether there is one of the predictor in the file at `path`, or has been one that did not work."""
    place = os.path.join(folder, name_of(path))
    return any(os.path.exists(place + ending) for ending in (NEW, TRIED, READY))


def keep(folder, path, header, blobs):
    """Write a snapshot of the predictor in the file at `path`, whole or not at all; older ones make room."""
    content = files.as_file({**header, "made_by": _made_by()}, blobs)
    temporary = os.path.join(folder, f"{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, os.path.join(folder, name_of(path)) + NEW)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with os.scandir(folder) as entries:
        kept = [(entry.stat().st_mtime, entry.path) for entry in entries if entry.name.endswith((NEW, TRIED, READY))]
    for _, old in sorted(kept)[:-KEPT]:
        os.unlink(old)
