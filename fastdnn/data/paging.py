"""Reading ahead in memory maps: the system is told which pages the next batches want."""

import mmap

import numpy as np

SMALL = 1 << 24  # bytes: a smaller map is there after a few batches, whoever asks for it
WINDOW = 1 << 26  # bytes of samples that are asked for ahead
GAP = 1 << 17  # bytes between two samples that are read along rather than left out


def mapping_of(array):
    """(mmap, offset of the array's first byte) of an array that stands in a memory map; None where it does not."""
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    if not isinstance(base, mmap.mmap) or not hasattr(base, "madvise"):
        return None
    start = np.frombuffer(base, np.uint8)
    return base, array.ctypes.data - start.ctypes.data


class ReadAhead:
    """Asks for the samples of an epoch in its order, a window before they are needed.

    Parameters
    ----------
    array : ndarray of shape (n, ...)
        C-contiguous, in a memory map.

    Notes
    -----
    The system reads while the engine computes. A call costs some microseconds for each sample of a map that is much larger
    than the window, nearly nothing where pages are there already.
    """

    def __init__(self, array):
        self._mapping, self._offset = mapping_of(array)
        self._row = array.strides[0]
        self._order, self._asked = None, 0

    @classmethod
    def of(cls, source):
        """A `ReadAhead` for a `Source`, None where its samples do not stand in a large memory map."""
        array = source.arrays[0]
        if len(source.arrays) > 1 or array.nbytes < SMALL or array.strides[0] <= 0 or mapping_of(array) is None:
            return None
        return cls(array)

    def begin(self, order):
        """The epoch's order; asks for its first samples."""
        self._order, self._asked = order, 0
        self.at(0.0)

    def at(self, done):
        """Ask for what comes after that part of the epoch, as far as nobody has yet."""
        order, rows = self._order, max(1, WINDOW // self._row)
        if order is None:
            return
        end = min(len(order), int(done * len(order)) + rows)
        if end - self._asked < rows // 4 and end < len(order):
            return
        wanted = np.sort(order[self._asked : end]) * self._row + self._offset
        self._asked = end
        if not len(wanted):
            return
        cuts = np.flatnonzero(np.diff(wanted) > GAP + self._row) + 1
        for first, last in zip(wanted[np.r_[0, cuts]], wanted[np.r_[cuts - 1, len(wanted) - 1]], strict=True):
            page = int(first) // mmap.PAGESIZE * mmap.PAGESIZE
            try:
                self._mapping.madvise(mmap.MADV_WILLNEED, page, int(last) + self._row - page)
            except OSError:  # of a map that has no file, on systems without swap: the samples come as they are needed
                self._order = None
                return
