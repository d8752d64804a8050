"""From numbers and categories of a table to the matrix that a network gets, and the layers that read it."""

import numpy as np

from ..layers import CategoryEmbedding, Columns, PiecewiseLinear

ONE_HOT = 8  # categories, missing not counted, up to which a column gets a feature for each: RealMLP's rule
VECTOR = 8  # numbers of the vector of a category, where there are more
LARGEST = 1e100  # beyond which scaled numbers are cut off: their squares are finite
MODE = 0.1  # share of the most frequent value
MOST_QUANTILES = 100_000  # rows that quantiles are taken of


def smooth_clip(z):
    """z / sqrt(1 + (z / 3)^2), between -3 and 3; in place."""
    np.clip(z, -LARGEST, LARGEST, out=z)
    z /= np.sqrt(1 + np.square(z / 3))
    return z


def robust_scale(X):
    """(median, factor) of each column: 1 / the distance of the quartiles; see `_spread` where that is 0."""
    low, median, high = np.quantile(X, (0.25, 0.5, 0.75), axis=0)
    spread = high - low
    for j in np.flatnonzero(spread <= 0):
        spread[j] = _spread(X[:, j], median[j])
    with np.errstate(over="ignore", divide="ignore"):
        factor = np.where(spread > 0, 1 / spread, 0.0)
    return median, np.where(np.isfinite(factor), factor, 0.0)


def _spread(x, median):
    """Median distance of the values that are not the median, for columns that mostly are; half of the range of others."""
    rest = np.abs(x[x != median] - median)
    return np.median(rest) if len(rest) else 0.0


class Features:
    """Robustly scaled, smoothly clipped numbers, indicators of what is missing, categories; all as float32.

    Columns of the matrix: the numbers, an indicator for each number that was missing somewhere in the training rows,
    one feature for each category of columns with few, +1 and -1 for two, and at last the codes of the others, which become
    trained vectors. What is missing is the median of the numbers, 0 in all features of a category. All but the codes
    are scaled by median and quartiles and clipped. Reference: Holzmueller et al. 2024 (RealMLP), arXiv:2407.04491.

    Attributes
    ----------
    n_numbers : int
        Numbers, the first columns of the matrix.
    n_dense : int
        Columns before the codes.
    sources : ndarray of int
        For each column of the matrix the number of the column of the table that it comes from.
    """

    def fit(self, numbers, codes, n_levels, number_sources, code_sources, missing=None):
        """Learn from (n, k) numbers with NaN and (n, c) codes, of which column j has 0 to n_levels[j].

        number_sources, code_sources : of each of their columns, the column of the table
        missing : where these are a sample of the rows, (k,) bool: which numbers are missing in some row of all
        """
        n, self.n_numbers = numbers.shape
        sample = numbers if n <= MOST_QUANTILES else numbers[:: -(-n // MOST_QUANTILES)]
        self._middle = np.array([_median(column) for column in numbers.T])
        self._flagged = np.flatnonzero(np.isnan(numbers).any(axis=0) if missing is None else missing)
        self._lay_out(n_levels)
        center, factor = robust_scale(self._filled(sample)) if self.n_numbers else (np.zeros(0), np.zeros(0))
        rest = np.concatenate([np.isnan(numbers[:, self._flagged]).astype(float), *self._hot_columns(codes)], axis=1)
        rest_center, rest_factor = robust_scale(rest) if rest.shape[1] else (np.zeros(0), np.zeros(0))
        if missing is not None:
            self._scale_rare(rest_center, rest_factor)
        self._center, self._factor = np.r_[center, rest_center], np.r_[factor, rest_factor]
        self.n_dense = len(self._center)
        self.sources = np.concatenate(
            [
                number_sources,
                np.asarray(number_sources)[self._flagged],
                *([code_sources[j]] * self._tables[i].shape[1] for i, j in enumerate(self._hot)),
                np.asarray(code_sources)[self._coded],
            ]
        ).astype(int)
        return self

    def _scale_rare(self, center, factor):
        """Give a factor to what no row of a sample has, but some row of all: a missing number, a category."""
        possible = [np.array([0.0, 1.0])] * len(self._flagged)
        possible += [column for table in self._tables for column in table[1:].T]
        for j in np.flatnonzero(factor == 0):
            spread = _spread(possible[j], center[j])
            factor[j] = 1 / spread if spread else 0.0

    def _lay_out(self, n_levels):
        """What the columns of codes become, by how many levels they have."""
        levels = np.asarray(n_levels, int)
        self._hot = np.flatnonzero((levels >= 1) & (levels <= ONE_HOT))
        self._coded = np.flatnonzero(levels > ONE_HOT)
        self._tables = [_one_hot(levels[j]) for j in self._hot]
        self.n_levels = [int(levels[j]) + 1 for j in self._coded]

    def plain(self):
        """What `transform` needs beside the numbers of levels, as JSON has it."""
        learned = {"middle": self._middle, "flagged": self._flagged, "center": self._center, "factor": self._factor}
        return {name: array.tolist() for name, array in learned.items()}

    @classmethod
    def of_plain(cls, plain, n_levels):
        """Features that transform as those that `plain` is of, but know no `sources`; ValueError if they do not fit."""
        features = cls()
        features._lay_out(n_levels)
        middle, center, factor = (_finite(plain[name]) for name in ("middle", "center", "factor"))
        flagged = np.array(plain["flagged"], int).reshape(-1)
        n_dense = len(middle) + len(flagged) + sum(table.shape[1] for table in features._tables)
        wrong = ((flagged < 0) | (flagged >= len(middle))).any()
        if wrong or not len(center) == len(factor) == n_dense:
            raise ValueError(f"features of {len(middle)} numbers and {len(n_levels)} categories do not fit each other")
        features._middle, features._flagged, features._center, features._factor = middle, flagged, center, factor
        features.n_numbers, features.n_dense = len(middle), n_dense
        return features

    def _filled(self, numbers):
        """The numbers, medians where they are missing, cut off where their differences would be infinite."""
        return np.clip(np.where(np.isnan(numbers), self._middle, numbers), -LARGEST, LARGEST)

    def _hot_columns(self, codes):
        return [table[codes[:, j]] for j, table in zip(self._hot, self._tables, strict=True)]

    def transform(self, numbers, codes):
        """The matrix, float32 of shape (n, n_dense + codes)."""
        k = self.n_numbers
        Z = np.empty((len(numbers), self.n_dense))
        missing = np.isnan(numbers)
        Z[:, :k] = self._filled(numbers)
        Z[:, k : k + len(self._flagged)] = missing[:, self._flagged]
        at = k + len(self._flagged)
        for part in self._hot_columns(codes):
            Z[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        Z -= self._center
        with np.errstate(over="ignore"):
            Z *= self._factor
        out = np.empty((len(Z), self.n_dense + len(self._coded)), np.float32)
        out[:, : self.n_dense] = smooth_clip(Z)
        out[:, self.n_dense :] = codes[:, self._coded]
        return out

    def edges(self, matrix, n_bins):
        """dict of column -> edges of bins with about equally many rows, of numbers that take more than two values."""
        found = {}
        sample = matrix[:: -(-len(matrix) // MOST_QUANTILES), : self.n_numbers]
        for j in range(self.n_numbers):
            distinct, counts = np.unique(sample[:, j], return_counts=True)
            crowded = (
                np.quantile(distinct, np.linspace(0, 1, n_bins + 1))
                if counts.max() > MODE * len(sample)
                else distinct[[0, -1]]
            )
            rows = np.quantile(sample[:, j], np.linspace(0, 1, n_bins + 1))
            edges = np.unique(np.r_[rows, crowded].astype(np.float32))
            if len(edges) > 2:
                found[j] = tuple(map(float, edges))
        return found

    def layers(self, edges):
        """The first layer: the columns as they are, the numbers of `edges` also encoded in bins, codes as vectors."""
        groups = [(range(self.n_dense), [])] if self.n_dense else []
        if edges:
            groups.append((tuple(edges), [PiecewiseLinear(tuple(edges.values()))]))
        if self.n_levels:
            codes = range(self.n_dense, self.n_dense + len(self.n_levels))
            groups.append((codes, [CategoryEmbedding(self.n_levels, VECTOR)]))
        return [Columns(groups)] if len(groups) > 1 or not self.n_dense else []


def _finite(values):
    """float64 array (n,) of a list of numbers; ValueError if one is not finite."""
    array = np.array(values, np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError("features must be lists of finite numbers")
    return array


def _median(column):
    known = column[~np.isnan(column)]
    return np.median(known) if len(known) else 0.0


def _one_hot(levels):
    """(levels + 1, k) features of each code, those of code 0 being 0."""
    if levels == 2:
        return np.array([[0.0], [1.0], [-1.0]])
    return np.concatenate([np.zeros((1, levels)), np.eye(levels)])
