"""What one pass over the blocks of a table tells: its columns, exact figures of its targets, and a sample of its rows."""

import math

import numpy as np

from ..preprocessing.table_states import TableStates

MOST_SAMPLED, SAMPLE_BYTES = 100_000, 1 << 28  # rows of a sample, and the bytes that they may take
MOST_HELD, SHARE_HELD = 50_000, 10  # rows that are held out: one of so many, at most so many
CHUNK = 8192  # rows that are added up at once: sums do not depend on how rows are cut into blocks


def row_keys(seed, first, n):
    """(n,) uint64, no two the same: a random number for each row, by its number. Reference: Steele et al. 2014, SplitMix."""
    z = np.arange(first, first + n, dtype=np.uint64)
    z += np.random.SeedSequence([seed, 1]).generate_state(1, np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class RowSample:
    """The rows of the smallest keys: a uniform sample without replacement, whatever the order of the rows.

    Parameters
    ----------
    most : int
        Rows.
    """

    def __init__(self, most):
        self.most, self._bar, self._parts, self._n = most, np.uint64(2**64 - 1), [], 0

    def add(self, keys, rows):
        """Consider rows, float64 of shape (n, k)."""
        chosen = keys <= self._bar
        self._parts.append((keys[chosen], rows[chosen]))
        self._n += int(chosen.sum())
        if self._n > self.most + self.most // 4:
            self._shrink()

    def _shrink(self):
        keys, rows = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        order = np.argsort(keys)[: self.most]
        self._parts, self._n = [(keys[order], rows[order])], len(order)
        if self._n == self.most:
            self._bar = keys[order[-1]]

    def rows(self):
        """(keys in rising order, their rows)"""
        self._shrink()
        return self._parts[0]

    def trim(self, n):
        """Let go of all rows but n; more may come."""
        keys, rows = self.rows()
        self._parts, self._n = [(keys[:n].copy(), rows[:n].copy())], min(n, len(keys))


class Moments:
    """Weighted mean and deviation, least and largest value of the columns of what comes in chunks.

    Reference: Chan, Golub & LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances.
    """

    def __init__(self):
        self.weight, self.mean, self._squares, self.low, self.high = 0.0, 0.0, 0.0, np.inf, -np.inf

    def add(self, y, weight):
        """Take y, (n, k), of weights (n,)."""
        total = weight.sum()
        mean = weight @ y / total
        self._join(total, mean, weight @ np.square(y - mean), y.min(axis=0), y.max(axis=0))

    def merge(self, other):
        """Take what another has taken."""
        if other.weight:
            self._join(other.weight, other.mean, other._squares, other.low, other.high)

    def _join(self, weight, mean, squares, low, high):
        total, step = self.weight + weight, mean - self.mean
        self._squares = self._squares + squares + np.square(step) * (self.weight * weight / total)
        self.mean = self.mean + step * (weight / total)
        self.weight, self.low, self.high = total, np.minimum(self.low, low), np.maximum(self.high, high)

    @property
    def std(self):
        """(k,) standard deviation, 1 of a constant: see `targets.weighted_moments`."""
        std, largest = np.sqrt(self._squares / self.weight), np.maximum(np.abs(self.low), np.abs(self.high))
        return np.where(std > 1e-12 * np.maximum(1e-300, largest), std, 1.0)


class LabelCounts:
    """The labels of a classification, numbered as they come, and the weight of the rows of each."""

    def __init__(self):
        self.places, self.weights, self._dtype = {}, np.zeros(0), None

    def number(self, labels):
        """(k,) numbers of labels; ValueError where they are of another kind than those before."""
        self._look_at(labels.dtype)
        return np.array([self.places.setdefault(label, len(self.places)) for label in labels.tolist()], int)

    def _look_at(self, dtype):
        kinds = {d.kind if d.kind in "USO" else "number" for d in (dtype, self._dtype or dtype)}
        if len(kinds) > 1:
            raise ValueError(f"y has the type {dtype}, in the blocks before {self._dtype}: give all labels one type")
        self._dtype = dtype if self._dtype is None else np.result_type(dtype, self._dtype)

    def add(self, y, weight):
        """Take numbers of labels, (n, 1), of weights (n,)."""
        self.weights = np.pad(self.weights, (0, len(self.places) - len(self.weights)))
        self.weights += np.bincount(y[:, 0].astype(int), weight, minlength=len(self.weights))

    def merge(self, other):
        """Take what another has counted; returns the numbers that its labels have here."""
        table = self.number(np.array(list(other.places), other._dtype))
        self.weights = np.pad(self.weights, (0, len(self.places) - len(self.weights)))
        np.add.at(self.weights, table[: len(other.weights)], other.weights)
        return table

    def classes(self):
        """(classes in their order, for each number of a label that of its class, the weight of each class)"""
        classes, numbers = np.unique(np.array(list(self.places), self._dtype), return_inverse=True)
        weights = np.zeros(len(classes))
        weights[numbers] = self.weights
        return classes, numbers, weights


class TableStatistics:
    """What the blocks of a table tell. It pickles, and takes what others have been told by other blocks.

    Parameters
    ----------
    seed : int
        Key of the sample: with the number of a row it says whether that is in it.
    categorical_features, estimator_name
        Of the `TableReader`.
    first_row : int, default=0
        Number of the first row, where several look at different rows: their numbers must differ.

    Attributes
    ----------
    states : TableStates
        Of the columns, exact.
    targets : LabelCounts or Moments
        Of the targets, exact.
    rows : int
        That have come.
    n : int
        That count: whose weight is not 0.
    weighted : bool
        Whether the blocks have weights.

    Notes
    -----
    The sample is of at most 100,000 rows (fewer where a row has more than 335 columns); all are in it where there are no
    more. A quantile q of m of them is one of all rows of a rank q +- sqrt(q (1 - q) / m), one standard deviation: 0.0016 for
    the median.
    """

    def __init__(self, seed, categorical_features, estimator_name, first_row=0):
        self.states, self.targets = TableStates(categorical_features, estimator_name), None
        self._seed, self._first, self.rows, self.weighted, self._width = seed, first_row, 0, None, None
        self._sample, self._waiting = None, np.zeros((0, 0))

    @property
    def n(self):
        return self.states.n

    @property
    def most(self):
        """Rows of the sample."""
        return self._sample.most

    @property
    def is_whole(self):
        """Whether the sample is all rows."""
        return self.n <= self._sample.most

    def update(self, X, y, labels=None, weight=None):
        """Take a block.

        Parameters
        ----------
        X : table
        y : ndarray of shape (n, k)
            Numbers, label indicators, or positions in `labels`.
        labels : ndarray or None
            Of a classification.
        weight : ndarray of shape (n,) or None
        """
        if self.targets is not None:
            self._compare(y, labels, weight)
        chosen = slice(None) if weight is None or (weight > 0).all() else weight > 0

        def counted(n):
            if n != len(y) or (weight is not None and n != len(weight)):
                given = f"X has {n} rows, y {len(y)}" + ("" if weight is None else f", sample_weight {len(weight)}")
                raise ValueError(f"X, y and sample_weight must have as many rows: {given}")
            return chosen

        values = self.states.update(X, counted)
        if self.targets is None:
            self.targets = Moments() if labels is None else LabelCounts()
            self.weighted, self._width = weight is not None, y.shape[1]
            columns = values.shape[1] + self._width + 2
            self._sample = RowSample(max(1, min(MOST_SAMPLED, SAMPLE_BYTES // (8 * columns))))
            self._waiting = np.zeros((0, self._width + 1))
        numbers = np.arange(self._first + self.rows, self._first + self.rows + len(y))
        rest = np.ones((len(y), self._width + 2))
        rest[:, :-2] = y if labels is None else self.targets.number(labels)[y]
        rest[:, -2] = 1.0 if weight is None else weight
        rest[:, -1] = numbers
        keys = row_keys(self._seed, numbers[0], len(y))[chosen]
        self._sample.add(keys, np.concatenate([values[chosen], rest[chosen]], axis=1))
        self._add_up(rest[chosen, :-1])
        self.rows += len(y)

    def _compare(self, y, labels, weight):
        if (labels is None) != isinstance(self.targets, Moments) or y.shape[1] != self._width:
            raise ValueError(f"y has {y.shape[1]} columns, in the blocks before {self._width}, or is of another kind")
        if (weight is not None) != self.weighted:
            raise ValueError("there must be sample_weight in all blocks or in none")

    def _add_up(self, rows, rest=False):
        """Let targets and weights count, in chunks of the same rows however blocks are cut; with the rest at the end."""
        rows = np.concatenate([self._waiting, rows])
        last = len(rows) if rest else len(rows) - len(rows) % CHUNK
        for lo in range(0, last, CHUNK):
            part = rows[lo : min(lo + CHUNK, last)]
            self.targets.add(part[:, :-1], part[:, -1])
        self._waiting = rows[last:].copy()

    def merge(self, other):
        """Take what other statistics have learned from other rows."""
        if other.targets is None:
            return
        if self.targets is None:
            self.__dict__.update(other.__dict__)
            return
        if type(self.targets) is not type(other.targets) or (self._width, self.weighted) != (other._width, other.weighted):
            raise ValueError("y and sample_weight must be of one kind in all blocks")
        for statistics in (self, other):
            statistics._add_up(statistics._waiting[:0], True)
        keys, rows = other._sample.rows()
        rows = rows.copy()
        tables = self.states.merge(other.states)
        renumbered = self.targets.merge(other.targets)
        for column, table in enumerate(tables):
            if len(table):
                known = ~np.isnan(rows[:, column])
                rows[known, column] = table[rows[known, column].astype(int)]
        if renumbered is not None:
            rows[:, -3] = renumbered[rows[:, -3].astype(int)]
        self._sample.add(keys, rows)
        self.rows += other.rows

    def trim(self, n):
        """Let go of the rows that will not be in the sample of n rows that count, of which these are some.

        That sample has m of these on average; rows are kept for m + 50 + 8 sqrt(m), which are too few in one case of 10**15.
        """
        m = self.most * min(1.0, self.n / max(1, n))
        self._sample.trim(math.ceil(m + 50 + 8 * math.sqrt(m)))

    def finish(self):
        """Let the last rows count; ValueError if there are none."""
        if not self.n:
            raise ValueError(
                "the stream has no blocks" if not self.rows
                else "sample_weight must have at least one number > 0: all samples have weight 0"
            )  # fmt: skip
        self._add_up(self._waiting[:0], True)

    def sample(self):
        """(values, y, weight or None, numbers) of the rows of the sample; those that are held out are the first."""
        _, rows = self._sample.rows()
        values, y, weight, numbers = np.split(rows, [-self._width - 2, -2, -1], axis=1)
        return values, y, weight[:, 0] if self.weighted else None, numbers[:, 0].astype(int)

    @property
    def n_held(self):
        """Rows that are held out: those of the smallest keys of the sample."""
        return min(MOST_HELD, self.n // SHARE_HELD, self._sample.most // 2)

    @property
    def bar(self):
        """The largest key of these."""
        return self._sample.rows()[0][self.n_held - 1]
