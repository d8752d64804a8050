"""What PyTorch computes: live where it is installed, otherwise as it was when `goldens.npz` was written.

    FASTDNN_WRITE_GOLDENS=1 python -m pytest tests -k pytorch      writes the file anew, with PyTorch's version in it

A test gives a name and a function of `torch` that returns a list of arrays. Where PyTorch is there, what is in the file must
agree with it: neither goes out of date unseen.
"""

import atexit
import os
import pathlib

import numpy as np
import pytest

FILE = pathlib.Path(__file__).parent / "goldens.npz"
WRITING, _written = bool(os.environ.get("FASTDNN_WRITE_GOLDENS")), {}


def stored(name):
    """The arrays of that name in the file; a test that has none there fails, and says how to write them."""
    with np.load(FILE) as file:
        count = sum(key.startswith(f"{name}|") for key in file.files)
        if not count:
            pytest.fail(f"{FILE.name} has nothing of {name!r}: FASTDNN_WRITE_GOLDENS=1, where PyTorch is, writes it")
        return [file[f"{name}|{i}"] for i in range(count)]


def from_pytorch(name, compute):
    """`compute(torch)`, a list of arrays, or what it gave when the file was written."""
    try:
        import torch
    except ImportError:
        return stored(name)
    found = [np.asarray(a.detach() if hasattr(a, "detach") else a) for a in compute(torch)]
    if WRITING:
        _written.update((f"{name}|{i}", a) for i, a in enumerate(found))
        _written["version"] = np.array(torch.__version__)
    else:
        for live, kept in zip(found, stored(name), strict=True):
            np.testing.assert_allclose(live, kept, rtol=1e-9, atol=1e-12)
    return found


def _write():
    if _written:
        kept = dict(np.load(FILE)) if FILE.exists() else {}
        np.savez_compressed(FILE, **(kept | _written))


atexit.register(_write)
