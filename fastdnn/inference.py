"""Samples through a network without training it: the program, tables and workspace that one call after the other uses."""

import numpy as np

from . import engine
from .layers.base import DATA, FLAG, STATE, X_COLUMN, X_ROW, X
from .program import Program
from .training import worthwhile_threads

CHUNK_BYTES = 512 * 1024  # activations of the rows taken at once: about half of a second-level cache
SLICE_FLOPS = 4e9  # about 0.1 s, for Ctrl-C


class Inference:
    """A network bound to a workspace; one Python thread at a time may use it.

    Parameters
    ----------
    network : Network
        Built.
    dtype : numpy.dtype
        Float type of the network.
    sparse : bool
        Whether samples come as CSR matrices.

    Notes
    -----
    What a call needs is made here once: a call for one row takes about 5 us, of which the network with 64-100-10 units
    takes one half.
    """

    def __init__(self, network, dtype, sparse):
        layout = network.layout
        widest = max(int(np.prod(shape)) for shape in layout.shapes[sparse:])
        self.capacity = min(256, max(32, CHUNK_BYTES // (2 * widest * dtype.itemsize)))
        self.sparse, self.itemsize, self.flops_per_row = sparse, dtype.itemsize, max(1, 2 * layout.size)
        self._program = Program(layout, network.loss, sparse, dtype, self.capacity)
        self.data, self._at, self._flag = np.zeros(DATA, np.int64), np.zeros(engine.AT, np.int64), np.zeros(1, np.int64)
        self.data[FLAG] = self._flag.ctypes.data
        self._arrays = network.params, network.state
        self.data[STATE] = network.state.ctypes.data
        self._at[engine.PARAMS] = network.params.ctypes.data
        self._threads = 0

    def rows(self, a):
        """Take samples from a dense float array (n, features) of the network's type."""
        row, column = a.strides
        data = self.data
        data[X], data[X_ROW], data[X_COLUMN] = a.ctypes.data, row // self.itemsize, column // self.itemsize

    def run(self, n, kernel, arrays):
        """Take n samples forward and end with `kernel` (an address); arrays {entry of data: address} is what it works on.

        Returns whether all the numbers of the samples were finite (not looked at in CSR matrices).
        """
        for entry, address in arrays.items():
            self.data[entry] = address
        threads = worthwhile_threads(self.flops_per_row * n, 1, self.itemsize) if n > 1 else 1
        threads = min(threads, n)
        if threads > self._threads:
            self._threads = threads
            self._at[engine.WORK] = self._program.workspace(threads).ctypes.data
        program, flag = self._program, self._flag
        program.end_with(kernel)
        flag[0] = 0
        step = max(self.capacity * threads, int(SLICE_FLOPS / self.flops_per_row))
        for first in range(0, n, step):
            last = min(first + step, n)
            size = program.n_work * self.itemsize
            engine.infer(threads, program.table, self.data, self._at, size, self.capacity, first, last)
        return not flag[0]
