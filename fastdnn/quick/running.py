"""Predictions from a snapshot: memory for it, addresses in its tables, calls."""

import ctypes

import numpy as np

from .._system import functions, ticks_per_second
from .files import LINE, SLACK, aligned_bytes
from .linking import addresses

CALL_ENTRIES = "time", "first", "last", "pieces", "next_piece", "stopped"  # of a table of `tables.INFER`, set for each call
DATA_ENTRIES = "x", "x_row", "x_column", "mask", "mask_row", "result"  # the same of `layers.base.DATA`
CLOCK, GIVE_WAY = "@clock", "@give_way"  # names for functions of the operating system
TYPES = {"ids": np.dtype(np.int64), "u1": np.dtype(np.uint8)}  # of numbers that are not of the network's float type
SLICE = 0.1  # seconds of a call: pending signals are looked at in between


class Snapshot:
    """A network as `taking.take` has written it down, its machine code linked; Python threads may share it.

    Parameters
    ----------
    stamp : str
        Of the sources that it is of.
    header, blobs
        As `files.read` gives them.

    Raises
    ------
    LookupError
        If this process cannot run it.
    """

    def __init__(self, stamp, header, blobs):
        codes = {name: blobs[number] for name, number in header["codes"].items()}
        self._at = addresses(stamp, codes, blobs[header["stand_ins"]], header["needs"])
        clock, _, _, give_way = functions()
        self._at |= {CLOCK: clock, GIVE_WAY: give_way}
        self._driver = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self._at[header["driver"]])
        self.dtype = np.dtype(header["float"])
        self.input_shape, self.output_shape = map(tuple, header["shapes"])
        self.header, self._blobs = header, blobs
        self._idle = {kind: [] for kind in header["programs"]}
        self._entries = [header["entries"][name] for name in CALL_ENTRIES]
        self._data_entries = [header["data_entries"][name] for name in DATA_ENTRIES]
        self._ticks = int(SLICE * ticks_per_second())

    def try_out(self):
        """Predict a sample of zeros by each program: a process that this ends does not come back."""
        result = np.empty((1, *self.output_shape), self.dtype)
        for kind in self.header["programs"]:
            X = np.zeros((1, *self.input_shape), TYPES.get(kind, self.dtype))
            mask = None if self.header["mask"] is None else np.ones((1, self.input_shape[0]), np.uint8)
            self.run((kind, X, mask), result, lambda: False)

    def run(self, samples, result, until):
        """Predict samples.

        Parameters
        ----------
        samples : Samples
            See `samples.as_samples`; at least one.
        result : ndarray of shape (n, *output_shape), C-contiguous
            Where the predictions are to stand.
        until : callable
            Asked after each SLICE whether to end here.

        Returns
        -------
        int
            Samples that have been predicted, the first ones: all but where `until` says so.
        """
        kind, X, mask = samples
        try:
            workspace = self._idle[kind].pop()
        except IndexError:
            workspace = Workspace(self.header["programs"][kind], self._blobs, self._at)
        job, data, n, first = workspace.job, workspace.data, len(X), 0
        x, x_row, x_column, mask_at, mask_row, result_at = self._data_entries
        data[x], data[x_row], data[x_column], data[result_at] = _address(X), X.size // n, 1, _address(result)
        data[mask_at], data[mask_row] = (0, 0) if mask is None else (_address(mask), mask.shape[1])
        time, start, last, pieces, next_piece, stopped = self._entries
        while first < n:
            count = -(-(n - first) // workspace.capacity)
            job[time], job[start], job[last], job[pieces], job[next_piece], job[stopped] = self._ticks, first, n, count, 0, 0
            workspace.gate.fill(0)
            self._driver(workspace.address)
            first += (n - first) * min(int(job[next_piece]), count) // count
            if first < n and until():
                break
        self._idle[kind].append(workspace)
        return first


def _address(array):
    return array.__array_interface__["data"][0]  # in a third of the time of array.ctypes.data


class Workspace:
    """Memory for one call at a time.

    Attributes
    ----------
    job, data, gate : int64 arrays
        Tables that a call fills in, see `tables.INFER`, `layers.base.DATA` and `_phases`.
    address : int
        Of `job`.
    capacity : int
        Samples of a piece.
    """

    def __init__(self, program, blobs, functions_at):
        self.capacity = program["capacity"]
        starts, size = [], 0
        for _, n, _, shared in program["regions"]:
            starts.append(size)
            size += 0 if shared else -(-(n + SLACK) // LINE) * LINE
        memory = aligned_bytes(size)
        base, bases, words = memory.ctypes.data, [], memory.view(np.int64)
        for (role, n, blob, shared), start in zip(program["regions"], starts, strict=True):
            bases.append(blobs[blob].ctypes.data if shared else base + start)
            if not shared and blob >= 0:
                memory[start : start + len(blobs[blob])] = blobs[blob]
            if role:
                setattr(self, role, words[start // 8 : (start + n) // 8])
        bases += [functions_at[name] for name in program["functions"]]
        region, cell, target, offset = blobs[program["relocations"]].view(np.int64).reshape(-1, 4).T
        words[np.array(starts)[region] // 8 + cell] = np.array(bases)[target] + offset
        self._memory, self.address = memory, self.job.ctypes.data
