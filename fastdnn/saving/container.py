"""Files of named arrays that cannot execute code: the safetensors layout, read with every check and written atomically.

8 bytes little endian: length of the header. The header: a JSON object {name: {"dtype", "shape", "data_offsets"}} with
"__metadata__" {str: str}. Then the arrays' bytes, one after the other, without gaps, to the end of the file.

Reference: https://github.com/huggingface/safetensors; what is checked is what its `tensor.rs` checks, and the length of the
header is bounded more tightly, for nothing but names and settings stands in ours.
"""

import contextlib
import hashlib
import json
import math
import os
import secrets
import struct
import time

import numpy as np

from .errors import ModelFormatError

MAX_HEADER = 1 << 21
MAX_RANK = 8
DTYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
PACKED_DTYPES = DTYPES | {"BF16": np.dtype("<u2"), "I8": np.dtype("i1"), "I32": np.dtype("<i4")}  # bfloat16 as its bits
NAMES = {dtype: name for name, dtype in PACKED_DTYPES.items()}


def write(path, metadata, arrays):
    """Write a file, whole or not at all.

    Parameters
    ----------
    path : str
        Replaced in one go once the new file is whole and on the disk; where it is a link, what that leads to is.
    metadata : dict of str -> str
        Short texts; "sha256" is added, of them and of the arrays.
    arrays : dict of str -> ndarray of a type in `PACKED_DTYPES`
        Written in this order.

    Raises
    ------
    OSError
        If it cannot be written, or does not read back as it was: what was there stays, and nothing is left behind.
    """
    header, start = {}, 0
    for name, array in arrays.items():
        end = start + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    digest = checksum(metadata)
    for array in arrays.values():
        digest.update(_bytes_of(array))
    header = {"__metadata__": {**metadata, "sha256": digest.hexdigest()}, **header}
    text = json.dumps(header, allow_nan=False).encode()
    text += b" " * (-len(text) % 64)
    if len(text) > MAX_HEADER:
        raise ValueError(f"the model's settings take {len(text)} bytes, {MAX_HEADER} being the most that a file may hold")
    with replacing(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(_bytes_of(array))
        file.flush()
        _verify(file.name)


def _verify(path):
    """OSError unless the file is whole."""
    try:
        with open(path, "rb") as file:
            for _ in PackedReader(file).arrays():
                pass
    except ModelFormatError as error:
        raise OSError(f"what was written does not read back ({error}); is the disk sound, did the arrays change?") from error


def _bytes_of(array):
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def checksum(metadata):
    """A SHA-256 that has taken in the texts (but "sha256")."""
    texts = sorted((key, value) for key, value in metadata.items() if key != "sha256")
    return hashlib.sha256(json.dumps(texts).encode())


@contextlib.contextmanager
def replacing(path):
    """A new binary file that takes the place of `path` when the block ends well, and otherwise leaves no trace.

    The bytes are on the disk before the name is: after a crash of the process or the machine there is the old file or the
    new one, whole.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    if os.path.isdir(path):
        raise IsADirectoryError(f"path is a folder, {path!r}; give the name of a file in it")
    prefix = f".{os.fsencode(name)[:80].decode('utf-8', 'ignore')}."  # a name may have 255 bytes
    _sweep(folder, prefix)
    temporary = os.path.join(folder, f"{prefix}{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):  # the permissions of what is replaced, if there is something
            os.chmod(temporary, os.stat(path).st_mode & 0o777)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if os.name == "posix":
        with contextlib.suppress(OSError):  # the file is in its place; not every file system knows this
            directory = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)


def _sweep(folder, prefix):
    """Remove what processes that were killed while they wrote have left, an hour ago or more."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(".tmp"):
                with contextlib.suppress(OSError):  # another thread may have moved it just now
                    if time.time() - entry.stat().st_mtime > 3600:
                        os.unlink(entry.path)


class Container:
    """A file of the layout, whoever wrote it, opened for reading, its header checked; the arrays are read one by one.

    Attributes
    ----------
    max_header : int
        Most bytes of a header, of the class.
    dtypes : dict of str -> dtype
        What the arrays may be, of the class.
    size : int
        Bytes of the file.
    metadata : dict of str -> str
    shapes : dict of str -> tuple
        Of the arrays, in the file's order.
    kinds : dict of str -> str
        Names of their types, keys of `dtypes`.

    Raises
    ------
    ModelFormatError
        If the file is not of this layout, or not whole.
    OSError
        If it cannot be read.
    """

    max_header, dtypes = MAX_HEADER, DTYPES

    def __init__(self, file, max_bytes=None):
        self._file = file
        self.size = size = os.fstat(file.fileno()).st_size
        if max_bytes is not None and size > max_bytes:
            raise ModelFormatError(f"the file has {size} bytes, max_bytes being {max_bytes}")
        length = file.read(8)
        if len(length) < 8:
            raise ModelFormatError("the file is shorter than 8 bytes")
        (length,) = struct.unpack("<Q", length)
        if length > min(self.max_header, size - 8):
            raise ModelFormatError(
                f"a header of {length} bytes does not fit a file of {size}, or is larger than {self.max_header}"
            )
        text = file.read(length)
        if len(text) != length or not text.startswith(b"{"):
            raise ModelFormatError("the header is no JSON object")
        header = parse(text)
        self.metadata = header.pop("__metadata__", {})
        if not isinstance(self.metadata, dict) or not all(isinstance(v, str) for v in self.metadata.values()):
            raise ModelFormatError("the header's __metadata__ must map texts to texts")
        self.shapes, self.kinds, end = {}, {}, 0
        for name, entry in sorted(header.items(), key=_start):
            self.shapes[name], self.kinds[name], end = _check_entry(name, entry, end, self.dtypes)
        if 8 + length + end != size:
            raise ModelFormatError(
                f"the arrays end at byte {8 + length + end}, the file at {size}: it is cut off, or has more"
            )

    def arrays(self):
        """Pairs (name, array) in the file's order."""
        for name, shape in self.shapes.items():
            array = np.empty(shape, self.dtypes[self.kinds[name]])
            if self._file.readinto(memoryview(array.reshape(-1).view(np.uint8))) != array.nbytes:
                raise ModelFormatError("the file ended while it was being read")
            yield name, array


class Reader(Container):
    """One that `write` wrote: its arrays have a checksum."""

    def arrays(self):
        """Pairs (name, array) in the file's order; the last one is followed by the check of the checksum."""
        digest = checksum(self.metadata)
        for name, array in super().arrays():
            digest.update(memoryview(array.reshape(-1).view(np.uint8)))
            yield name, array
        if digest.hexdigest() != self.metadata.get("sha256"):
            raise ModelFormatError("the checksum does not fit: the file is damaged")


class PackedReader(Reader):
    """One whose arrays may be narrower than floats."""

    dtypes = PACKED_DTYPES


def parse(text):
    """A JSON object from bytes or a str, as strict as can be: no name twice, no NaN, nothing that Python alone reads."""

    def unique(pairs):
        found = dict(pairs)
        if len(found) != len(pairs):
            last = {name: i for i, (name, _) in enumerate(pairs)}
            twice = next(name for i, (name, _) in enumerate(pairs) if last[name] != i)
            raise ModelFormatError(f"the header has the name {twice[:80]!r} twice")
        return found

    def refuse(constant):
        raise ModelFormatError(f"the header has the number {constant}")

    try:
        value = json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text, object_pairs_hook=unique, parse_constant=refuse
        )
    except ModelFormatError:
        raise
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ModelFormatError(f"the header is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise ModelFormatError("the header is no JSON object")
    return value


def _start(item):
    """Where an array's bytes start, to sort the header's entries by; what is no number comes first and is found out."""
    entry = item[1]
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    good = isinstance(offsets, list) and len(offsets) == 2 and all(type(n) is int for n in offsets)
    return tuple(offsets) if good else (-1, -1)


def _check_entry(name, entry, begin, dtypes):
    """(shape, name of the dtype, end) of an array whose bytes must begin at `begin`."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"} or _start((name, entry))[0] < 0:
        raise ModelFormatError(f"the header's entry of {name[:80]!r} must have a dtype, a shape and two data_offsets")
    shape, dtype = entry["shape"], entry["dtype"]
    if not isinstance(dtype, str) or dtype not in dtypes:
        raise ModelFormatError(f"the dtype of {name[:80]!r} must be one of {sorted(dtypes)}, got {str(dtype)[:80]!r}")
    good = isinstance(shape, list) and len(shape) <= MAX_RANK and all(type(n) is int and 0 <= n < 1 << 48 for n in shape)
    if not good or math.prod(n or 1 for n in shape) >= 1 << 48:  # NumPy has no such arrays, not even empty ones
        raise ModelFormatError(f"the shape of {name[:80]!r} must be at most {MAX_RANK} numbers >= 0")
    size = dtypes[dtype].itemsize * math.prod(shape)  # Python's integers do not overflow
    first, end = entry["data_offsets"]
    if first != begin or end - first != size:
        raise ModelFormatError(f"the bytes of {name[:80]!r} do not fit its shape or overlap with others")
    return tuple(shape), dtype, end
