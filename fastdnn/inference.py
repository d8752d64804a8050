"""Samples through a network without training it: the program, tables and workspace that one call after the other uses."""

import math
import time

import numpy as np

from ._phases import prepare_phases
from ._system import ticks_per_second
from ._threads import get_num_threads
from .forward import infer, infer_one
from .layers.base import DATA, OP, Layer
from .program import Program, value_size
from .sharing import divide
from .tables import INFER
from .thread_choice import SLICE, thread_choice, worthwhile_threads

MOST_NUMBERS = 1 << 22  # predictions that are made at once where they are not the result
FEW_NUMBERS = 4096  # of samples and results that are copied to and from places of one's own
CHUNK_BYTES = 512 * 1024  # activations of the rows taken at once: about half of a second-level cache
PIECE_BYTES = 1 << 22  # of those that go on together, once they have one row a sample: weights are read for each piece


def chunks(n, n_outputs):
    """Slices of consecutive samples whose predictions, looked at only for what they say of each sample, are not too many."""
    rows = max(1, MOST_NUMBERS // n_outputs)
    return [slice(lo, min(lo + rows, n)) for lo in range(0, n, rows)]


ONE_REGIONS = 1  # parallel regions of one sample, whose threads meet at each op besides

STEP_ROWS = 8  # samples that recurrent layers take through their steps together: rows of the product of each step


class Inference:
    """A network bound to a workspace; one Python thread at a time may use it.

    Parameters
    ----------
    network : Network
        Built.
    dtype : numpy.dtype
        Float type of the network.
    kind : str
        Of the source of the samples, see `Source.kind`.
    masked : bool
        Whether it has a mask.

    Notes
    -----
    What a call needs is made here once. Few samples are copied to a place whose address is known, and so are their results:
    to ask NumPy for the address of an array takes 0.8 us, to copy a row 0.2, and the network with 64-100-10 units itself 1.
    """

    def __init__(self, network, dtype, kind, masked=False):
        layout = network.layout
        widest = max(map(value_size, layout.shapes[kind in ("csr", "ids") :]))
        wanted = max(layer.rows_at_once for _, layer in layout.leaves)
        least = STEP_ROWS if layout.goes_by_steps else max(1, wanted // layout.most_rows)
        self._chunk, whole = (max(least, size // (2 * widest * dtype.itemsize)) for size in (CHUNK_BYTES, PIECE_BYTES))
        self.capacity = min(256, whole if 0 < layout.first_whole <= len(layout.leaves) else self._chunk)
        self.kind, self.masked, self.itemsize, self.flops_per_row = kind, masked, dtype.itemsize, max(1, layout.flops)
        chunk = min(self._chunk, self.capacity)
        self._program = Program(layout, network.loss, kind, dtype, self.capacity, chunk=chunk, masked=masked)
        self.data, self._flag = np.zeros(DATA.size, np.int64), np.zeros(1, np.int64)
        self.data[DATA.flag] = self._flag.ctypes.data
        self._arrays = network.params, network.state
        self.data[DATA.state] = network.state.ctypes.data
        self._jobs = {}
        self._shapes = (math.prod(layout.shapes[0]),), layout.shapes[-1]  # of a sample and its result
        most = max(1, FEW_NUMBERS // max(map(math.prod, self._shapes)))
        self._few = min(most, self.capacity) if kind == "float" else 0
        self._places, self._kernel, self._call_of_few = None, None, (0, None)
        self._made_of, self._of_one, self._choices = (network, kind, dtype), {}, {}
        kernels = self._program.table[:-1, OP.forward].tobytes()  # which are other ones where products are narrow
        self._cost = self.flops_per_row, self.itemsize, hash(kernels)

    def rows(self, a):
        """Take samples from a dense float array (n, features) of the network's type."""
        row, column = a.strides
        data = self.data
        data[DATA.x], data[DATA.x_row], data[DATA.x_column] = a.ctypes.data, row // self.itemsize, column // self.itemsize

    def run(self, n, kernel, arrays):
        """Take n samples forward and end with `kernel` (an address); arrays {entry of data: address} is what it works on.

        Returns whether all the numbers of the samples were finite (not looked at in CSR matrices).
        """
        for entry, address in arrays.items():
            self.data[entry] = address
        program, flag = self._program, self._flag
        program.end_with(kernel)
        self._places = self._kernel = None  # whoever calls has written where the samples are
        flag[0] = 0
        if n == 1 and not self.masked and (choice := self._choice_of_one()).most > 1:
            self._one(kernel, choice)
            return not flag[0]
        if n <= self.capacity and self._most(n) == 1:  # one row takes 5 us
            if n:
                self._call(self._bound(1), 0, n, SLICE)
            return not flag[0]
        first, choice = 0, self._choice(n)
        while first < n:
            threads, seconds = choice.next()
            bound, began = self._bound(threads), time.perf_counter()
            end = self._call(bound, first, n, seconds)
            choice.took(threads, end - first, time.perf_counter() - began)
            first = end
        return not flag[0]

    def few(self, X, kernel, out=None):
        """As `run` for few samples, an array (n, features): (results, whether X was finite), or None if they are too many."""
        n = len(X)
        if not 0 < n <= self._few or self._most(n) > 1:
            return None
        choice = self._choice_of_one() if n == 1 else None
        if self._places is None:
            self._take_few()
        if self._kernel != kernel:
            self._program.end_with(kernel)
            self._kernel = kernel
        _, job, gate, address = self._bound(1)
        if self._call_of_few[0] != n:
            self._call_of_few = n, np.array([int(SLICE * ticks_per_second()), 0, n, 1, 0, 0])
        samples, results = self._places
        samples[:n] = X
        self._flag[0] = 0
        if choice is not None and choice.most > 1:
            self._one(kernel, choice)
        else:
            job[_CHANGING] = self._call_of_few[1]
            gate.fill(0)
            infer(1, address)
        if out is not None:
            out[...] = results[:n]
        return results[:n].copy() if out is None else out, not self._flag[0]

    def _choice_of_one(self):
        """The `ThreadChoice` for one sample, by the number of threads that may be used now."""
        n = get_num_threads()
        found = self._choices.get(n)
        if found is None:
            most = worthwhile_threads(self.flops_per_row, ONE_REGIONS, self.itemsize)
            found = self._choices[n] = thread_choice(most, (*self._cost, 1))
        return found

    def _one(self, kernel, choice):
        """Take one sample forward, whose place is known, by as many threads as are faster just now."""
        threads, _ = choice.next()
        if threads > 1 and threads not in self._of_one:
            self._of_one[threads] = OneSample(self, threads)
        began = time.perf_counter()
        if threads > 1:
            self._of_one[threads](kernel)
        else:
            _, job, gate, address = self._bound(1)
            job[_CHANGING] = int(SLICE * ticks_per_second()), 0, 1, 1, 0, 0
            gate.fill(0)
            infer(1, address)
        choice.took(threads, 1, time.perf_counter() - began)

    def _take_few(self):
        """Places for few samples and their results, from now on those of the kernels."""
        samples, results = (np.zeros((self._few, *shape), self._arrays[0].dtype) for shape in self._shapes)
        self.rows(samples)
        self.data[DATA.result] = results.ctypes.data
        self._places = samples, results

    def _most(self, n):
        """Threads worth using for n samples, each of which is one thread's."""
        return min(n, worthwhile_threads(self.flops_per_row * n, 1, self.itemsize)) if n > 1 else 1

    def _choice(self, n):
        """The `ThreadChoice` of all predictions that cost the same."""
        return thread_choice(self._most(n), (*self._cost, n.bit_length()))

    def _call(self, bound, first, last, seconds):
        """Take samples first..last forward until the time is up; returns the first that is not done."""
        threads, job, gate, address = bound
        pieces = -(-(last - first) // self.capacity)
        pieces = min(last - first, -(-pieces // threads) * threads)  # as many for each thread, all of about the same size
        gate[:] = 0
        job[_CHANGING] = int(seconds * ticks_per_second()), first, last, pieces, 0, 0
        infer(threads, address)
        return first + (last - first) * min(int(job[INFER.next_piece]), pieces) // pieces

    def _bound(self, threads):
        """(threads, table of a call on so many, its gate, the table's address)"""
        return self._jobs.get(threads) or self._bind(threads)

    def _bind(self, threads):
        infer.prepare(threads)
        job, program = np.zeros(INFER.size, np.int64), self._program
        gate, *kept = prepare_phases(job, threads)
        most = max(threads, *self._jobs, 1)
        self._arrays = (*self._arrays, kept)
        job[INFER.program], job[INFER.ops] = program.table.ctypes.data, len(program.table)
        job[INFER.data], job[INFER.params] = self.data.ctypes.data, self._arrays[0].ctypes.data
        job[INFER.work_bytes] = program.n_work * self.itemsize
        job[INFER.chunk], job[INFER.whole] = min(self._chunk, self.capacity), program.whole
        job[INFER.made : INFER.sample_bytes + 1] = [n * self.itemsize for n in program.boundary]
        self._jobs[threads] = threads, job, gate, job.ctypes.data
        for _, other, *_ in self._jobs.values():
            other[INFER.work] = program.workspace(most).ctypes.data
        return self._jobs[threads]


class OneSample:
    """One sample and several threads: a program of its own, whose ops are divided.

    Parameters
    ----------
    inference : Inference
        Whose tables of the samples and results are used.
    threads : int
        Shares of each op.
    """

    def __init__(self, inference, threads):
        network, kind, dtype = inference._made_of
        infer_one.prepare(threads)
        program = Program(network.layout, network.loss, kind, dtype, 1, slots=threads, chunk=1)
        self.divided, self._shared = divide(program, dtype, threads)
        self._job, self._threads, self._program = np.zeros(INFER.size, np.int64), threads, program
        self._gate, *self._kept = prepare_phases(self._job, threads)
        job = INFER.on(self._job)
        job.program, job.ops, job.data = program.table.ctypes.data, len(program.table), inference.data.ctypes.data
        job.params, job.work = inference._arrays[0].ctypes.data, program.workspace(1).ctypes.data
        job.whole = program.whole
        self._job[INFER.made : INFER.sample_bytes + 1] = [n * inference.itemsize for n in program.boundary]
        self._address = self._job.ctypes.data
        job.divided, job.shared = self.divided.ctypes.data, self._shared.ctypes.data

    def __call__(self, kernel):
        self._program.end_with(kernel)
        self._gate.fill(0)
        infer_one.at_once(self._threads, self._address)


_CHANGING = slice(INFER.time, INFER.stopped + 1)  # time, first, last, pieces, next_piece, stopped


# ---------------------------------------------------------------- a call


def is_plain(network, X):
    """Whether X is an array of samples that kernels can read as it is."""
    return (
        type(X) is np.ndarray
        and X.dtype == network.params.dtype
        and X.shape[1:] == network.layout.shapes[0]
        and not network.layers[0].takes_ids
        and type(network.layers[0]).mask is Layer.mask
        and (X.flags.c_contiguous or (X.ndim == 2 and X.strides[1] == X.itemsize and not X.strides[0] % X.itemsize))
    )


def check_out(network, n, out, X=None):
    """ValueError unless `out` is None or an array that kernels can write the results of n samples to, while they read X."""
    shape, dtype = (n, *network.layout.shapes[-1]), network.params.dtype
    if out is not None and not (
        isinstance(out, np.ndarray)
        and (out.shape, out.dtype) == (shape, dtype)
        and out.flags.c_contiguous
        and out.flags.writeable
        and out.flags.aligned
    ):
        what = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out must be a writable C-contiguous {dtype.name} array of shape {shape}, got {what}")
    if out is not None and X is not None and np.may_share_memory(X, out):
        raise ValueError("out must not be in the memory of X, which is read while out is written: give another array")


def plain(network, X, kernel, out=None):
    """(what `kernel` makes of the scores, whether X was finite) for an array that `is_plain`; out : where it is to stand."""
    dtype, inference = network.params.dtype, borrowed(network, "float")
    X = X if X.ndim == 2 else X.reshape(len(X), math.prod(X.shape[1:]))
    found = inference.few(X, kernel.address(dtype), out)
    if found is not None:
        network.idle.append(inference)
        return found
    result = np.empty((len(X), *network.layout.shapes[-1]), dtype) if out is None else out
    inference.rows(X)
    finite = inference.run(len(X), kernel.address(dtype), {DATA.result: result.ctypes.data})
    network.idle.append(inference)
    return result, finite


def results(network, source, kernel, out=None):
    """What `kernel` makes of the scores of the samples of a `Source`; out : where it is to stand."""
    if source.kind == "float" and source.mask is None:
        return plain(network, source.arrays[0], kernel, out)[0]
    result = np.empty((source.n, *network.layout.shapes[-1]), network.params.dtype) if out is None else out
    run_all(network, source, kernel, {DATA.result: result.ctypes.data})
    return result


def run_all(network, source, kernel, arrays):
    """Take all samples forward and end with `kernel`; arrays {entry of data: address} are what it reads and writes."""
    inference = borrowed(network, source.kind, source.mask is not None)
    source.fill(inference.data)
    inference.run(source.n, kernel.address(network.params.dtype), arrays)
    network.idle.append(inference)


def borrowed(network, kind, masked=False):
    """An `Inference` that no other Python thread uses meanwhile."""
    try:
        inference = network.idle.pop()
        if (inference.kind, inference.masked) == (kind, masked):
            return inference
    except IndexError:
        pass
    return Inference(network, network.params.dtype, kind, masked)
