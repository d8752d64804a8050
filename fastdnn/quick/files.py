"""Files of snapshots: a checksum, a header in JSON, and arrays of bytes on cache lines; no code is run by reading one.

16 bytes that say what it is; a SHA-256 of all that follows; 8 bytes little endian, the length of the header; the header, an
object with "blobs", pairs (start, bytes) of the arrays in the file. Behind each array are zeros: kernels read beyond rows.
"""

import hashlib
import json
import os
import struct

import numpy as np

MAGIC = b"fastdnn-ready-1\n"
LINE, SLACK = 128, 128  # bytes at whose multiples arrays start, and that are behind the end of one at the least
HEADER_AT = len(MAGIC) + 32 + 8
MOST_BYTES = 1 << 29  # of a snapshot


def aligned_bytes(n):
    """n zero bytes, starting at a multiple of LINE."""
    raw = np.zeros(n + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + n]


def as_file(header, blobs):
    """The bytes of a snapshot; blobs : arrays of bytes."""
    text = b""
    for _ in range(2):  # the first time to learn how long the header is
        start, places = HEADER_AT + _ceiling(len(text) + 64 * len(blobs)), []
        for blob in blobs:
            start = _ceiling(start)
            places.append((start, len(blob)))
            start += len(blob) + SLACK
        text = json.dumps({**header, "blobs": places, "size": start}, allow_nan=False).encode()
    found = np.zeros(start, np.uint8)
    for (place, n), blob in zip(places, blobs, strict=True):
        found[place : place + n] = np.frombuffer(blob, np.uint8)
    found[HEADER_AT : HEADER_AT + len(text)] = np.frombuffer(text, np.uint8)
    found[HEADER_AT - 8 : HEADER_AT] = np.frombuffer(struct.pack("<Q", len(text)), np.uint8)
    found[: len(MAGIC)] = np.frombuffer(MAGIC, np.uint8)
    digest = hashlib.sha256(found[HEADER_AT - 8 :]).digest()
    found[len(MAGIC) : HEADER_AT - 8] = np.frombuffer(digest, np.uint8)
    return found


def _ceiling(n):
    return -(-n // LINE) * LINE


def read(path):
    """(header, blobs) of a file, the blobs as writable views of the memory that it was read to.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is not whole.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not HEADER_AT < size <= 2 * MOST_BYTES:
            raise ValueError("no snapshot")
        content = aligned_bytes(size)
        if file.readinto(content) != size or bytes(content[: len(MAGIC)]) != MAGIC:
            raise ValueError("no snapshot, or not whole")
    if hashlib.sha256(content[HEADER_AT - 8 :]).digest() != bytes(content[len(MAGIC) : HEADER_AT - 8]):
        raise ValueError("a damaged snapshot")
    (length,) = struct.unpack("<Q", content[HEADER_AT - 8 : HEADER_AT])
    header = json.loads(bytes(content[HEADER_AT : HEADER_AT + length]))
    return header, [content[start : start + n] for start, n in header["blobs"]]
