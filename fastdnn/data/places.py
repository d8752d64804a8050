"""Places for the samples that a shuffle buffer holds: arrays that kernels read, or parts of CSR matrices."""

from typing import NamedTuple

import numpy as np
import scipy.sparse

from ..sources import Source


class Samples(NamedTuple):
    """Checked samples, as `Training.take` has them."""

    source: Source
    targets: np.ndarray
    sample_weight: np.ndarray | None


class Places:
    """Arrays of `count` places, laid out for samples like those that come first.

    Parameters
    ----------
    samples : Samples
        At least one.
    width : int
        Targets of a sample.
    count : int
        Places.
    """

    def __init__(self, samples, width, count):
        first = samples.source
        self._width, self.count = width, count
        self._room = len(samples.targets) - first.n * width  # behind the last target: kernels read whole vectors
        self.targets = np.zeros(count * width + self._room, samples.targets.dtype)
        self.sample_weight = None if samples.sample_weight is None else np.zeros(count)
        self.source = self._made(first, count)

    def _made(self, first, count):
        dense = np.zeros((count, *first.shape), first.arrays[0].dtype)
        source = Source(dense, first.dtype, ids=first.kind == "ids")
        source.mask = None if first.mask is None else np.zeros((count, *first.mask.shape[1:]), np.uint8)
        source.is_checked, self._rows = True, dense.reshape(count, -1)
        return source

    @property
    def row_bytes(self):
        """Bytes of a place."""
        parts = [*self.source.arrays, self.rows_of_targets]
        parts += [a for a in (self.source.mask, self.sample_weight) if a is not None]
        return max(1, sum(a.nbytes for a in parts) // self.count)

    @property
    def rows_of_targets(self):
        """The targets, a row for each place."""
        return self.targets[: self.count * self._width].reshape(self.count, self._width)

    def write(self, places, samples, lo, hi):
        """Put samples lo..hi into places; ValueError where they are of another kind than the first ones."""
        self.check(samples)
        self._write_samples(places, samples.source, lo, hi)
        width = self._width
        self.rows_of_targets[places] = samples.targets[lo * width : hi * width].reshape(-1, width)
        if self.sample_weight is not None:
            self.sample_weight[places] = samples.sample_weight[lo:hi]
        if self.source.mask is not None:
            self.source.mask[places] = samples.source.mask[lo:hi]

    def _write_samples(self, places, source, lo, hi):
        self._rows[places] = source.arrays[0][lo:hi].reshape(hi - lo, -1)

    def check(self, samples):
        """ValueError where samples are of another kind than the first ones."""
        new, ours = samples.source, self.source
        if new.sparse != ours.sparse:
            kinds = {True: "a sparse matrix", False: "dense"}
            raise ValueError(f"X is {kinds[new.sparse]}, in the blocks before it was {kinds[ours.sparse]}")
        if not new.sparse and not np.can_cast(new.arrays[0].dtype, ours.arrays[0].dtype):
            raise ValueError(
                f"X has dtype {new.arrays[0].dtype}, which does not fit into the {ours.arrays[0].dtype} of the first block; "
                "give all blocks one dtype"
            )
        if samples.targets.dtype != self.targets.dtype:
            kinds = [
                "class numbers" if dtype.kind == "i" else "numbers" for dtype in (samples.targets.dtype, self.targets.dtype)
            ]
            raise ValueError(f"y holds {kinds[0]}, in the blocks before {kinds[1]}")
        for what, one, other in (
            ("sample_weight", samples.sample_weight, self.sample_weight),
            ("lengths", new.mask, ours.mask),
        ):
            if (one is None) != (other is None):
                raise ValueError(f"there must be {what} in all blocks or in none")

    def bound(self, places):
        """(source, targets, weights, order) with which the samples at those places are trained on in that order."""
        return self.source, self.targets, self.sample_weight, places


class SparsePlaces(Places):
    """The same for rows of CSR matrices, which have no places: those that wait are one matrix, those that come are lists."""

    def _made(self, first, count):
        self._parts, self._at, self._dtype = [], np.zeros(0, np.int64), first.dtype
        self._bytes_of_samples = sum(a.nbytes for a in first.arrays) // first.n  # in the mean: one may have few numbers
        return first.take(slice(0, 1))

    @property
    def row_bytes(self):
        return max(1, self._bytes_of_samples + self.rows_of_targets.nbytes // self.count)

    def _write_samples(self, places, source, lo, hi):
        self._parts.append((np.array(places), source.take(slice(lo, hi))))

    def bound(self, places):
        parts = [part for _, part in self._parts]
        matrices = [scipy.sparse.csr_array((v, i, p), (s.n, *s.shape)) for s in parts for v, p, i in [s.arrays]]
        at = np.concatenate([at for at, _ in self._parts])
        whole = scipy.sparse.vstack(matrices, format="csr") if len(matrices) > 1 else matrices[0]
        row_of = np.full(self.count, -1)
        row_of[at] = np.arange(len(at))
        rows = row_of[places]
        rest = np.ones(len(at), bool)
        rest[rows] = False
        self._parts = [(at[rest], Source(whole[rest], self._dtype))] if rest.any() else []
        targets, weights = np.zeros(len(places) * self._width + self._room, self.targets.dtype), self.sample_weight
        targets[: len(places) * self._width] = self.rows_of_targets[places].ravel()
        return Source(whole[rows], self._dtype), targets, None if weights is None else weights[places], np.arange(len(places))


def places_for(samples, width, count):
    """`Places` or `SparsePlaces`, whichever these samples need."""
    return (SparsePlaces if samples.source.sparse else Places)(samples, width, count)
