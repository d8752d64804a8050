"""Tabular estimators on streams: one pass tells what is learned of the table, each network then reads the blocks anew."""

import math
import time
from functools import partial
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import _check_sample_weight, check_consistent_length

from ..data.blocks import Block, Blocks, BlockSource, as_stream, in_block, order_of
from ..fitting import fit
from ..streaming import prepare_stream
from ..tabular.features import Features
from ..tabular.recipe import recipes_of_stream
from ..tabular.statistics import TableStatistics, row_keys
from ..tabular.streamed import StreamedEnsemble


def stream_of_tables(X, y=None):
    """X as a `BlockSource`, if it is a stream; None for tables of any make, also for those that are refused."""
    if isinstance(X, BlockSource):
        return as_stream(X, y)
    if y is not None or hasattr(X, "__array__"):
        return None
    if isinstance(nw.from_native(X, pass_through=True), (nw.DataFrame, nw.LazyFrame)):
        return None
    return as_stream(X)


class Learned(NamedTuple):
    """What one pass has told: how a block of a table becomes one for networks."""

    estimator: Any
    reader: Any
    seed: int
    bar: np.uint64  # rows whose keys are not larger are held out
    mean: float  # of the weights
    factors: np.ndarray | None  # of the weights of each class
    n: int  # rows that are trained on

    def weigh(self, y, weight):
        """(n,) weights of rows, those of their classes counted in, 1 in the mean of all rows; None if there are neither."""
        if self.factors is not None:
            weight = self.factors[y] if weight is None else weight * self.factors[y]
        return None if weight is None else weight / self.mean

    def class_numbers(self, y, labels):
        """Targets of a block with the numbers of the classes of the stream."""
        if labels is None:
            return y
        numbers = {label: number for number, label in enumerate(self.estimator.classes_.tolist())}
        if new := [label for label in labels.tolist() if label not in numbers]:
            raise ValueError(f"y has the label {new[0]!r}, which was not there when the stream was read first")
        return np.array([numbers[label] for label in labels.tolist()])[y]

    def block(self, recipe, block, row):
        """(`Block` of the rows that are trained on or None, rows of the block), whose first row has that number."""
        numbers, codes = self.reader.transform(block.X)
        y, labels = self.estimator._targets_of_block(block.y)
        weight = weight_of(block, numbers)
        check_consistent_length(numbers, y)
        chosen = row_keys(self.seed, row, len(y)) > self.bar
        chosen &= True if weight is None else weight > 0
        if not chosen.any():
            return None, len(y)
        y, weight = self.class_numbers(y, labels)[chosen], None if weight is None else weight[chosen]
        Z = self.estimator._features.transform(numbers[chosen], codes[chosen])
        return Block(Z, self.estimator._task.targets(y, recipe), self.weigh(y, weight), place=block.place), len(chosen)


def weight_of(block, X):
    """The weights of a block's rows, (n,) float64, or None; ValueError if one is negative."""
    if block.sample_weight is None:
        return None
    settings = {"ensure_non_negative": True, "allow_all_zero_weights": True}  # in one of many blocks
    return _check_sample_weight(block.sample_weight, X, dtype=np.float64, **settings)


class TrainingRows(BlockSource):
    """The blocks of a stream of tables as networks take them, in another order of its parts for each seed.

    Parameters
    ----------
    source : BlockSource
        Of tables.
    firsts : list of int
        Number of the first row of each part of it, and of all rows.
    learned : Learned
        Of these rows.
    recipe : Recipe
        Of the networks.
    """

    def __init__(self, source, firsts, learned, recipe):
        self._source, self._firsts, self._learned, self._recipe = source, firsts, learned, recipe
        self.n_samples = learned.n

    def blocks(self, seed=None):
        parts, number = self._source.parts(), 0
        if len(parts) != len(self._firsts) - 1:
            raise ValueError(f"the stream has {len(parts)} parts now, {len(self._firsts) - 1} when it was read first")
        for k in order_of(len(parts), seed):
            row = self._firsts[k]
            for name, block in Blocks(parts[k]).numbered(first=number):
                with in_block(name):
                    found, n = self._learned.block(self._recipe, block, row)
                row, number = row + n, number + 1
                if found is not None:
                    yield found
            given, before = row - self._firsts[k], self._firsts[k + 1] - self._firsts[k]
            if given != before:
                raise ValueError(
                    f"the stream has given {given:,} rows where it gave {before:,} when it was read first: it must give the "
                    "same ones each time"
                )

    def train(self, model, **settings):
        """Fit a model to the rows; returns the `Fit`."""
        run = prepare_stream(model, self, **settings)
        fit(run, quiet=True)
        return run


class FitsTableStreams:
    """How a Tabular estimator is fitted to a stream; the estimators give what depends on their task."""

    def _fitted_stream(self, stream):
        began, seed, number, firsts = time.perf_counter(), self._new_seed(), 0, [0]
        statistics = self._statistics(seed)
        for part in stream.parts():
            for name, block in Blocks(part).numbered(first=number):
                with in_block(name):
                    self._learn_block(statistics, block)
                number += 1
                if stream.one_pass and not statistics.is_whole:
                    raise ValueError(
                        f"a generator can be read once, and more than {statistics.most:,} rows are read several times: give "
                        "the function that makes it, or a list of its blocks"
                    )
            firsts.append(statistics.rows)
        return self._fitted_statistics(statistics, partial(TrainingRows, stream, firsts), seed, began)

    def _statistics(self, seed, first_row=0):
        """What learns from blocks, whose first row has that number."""
        return TableStatistics(seed, self.categorical_features, type(self).__name__, first_row)

    def _learn_block(self, statistics, block):
        """Let statistics learn from a block."""
        y, labels = self._targets_of_block(block.y)
        statistics.update(block.X, y.reshape(len(y), -1), labels, weight_of(block, y))

    def _fitted_statistics(self, statistics, rows_of, seed, began):
        """Fit the networks to rows that statistics have been told of.

        rows_of : gives, of a `Learned` and a recipe, those that are not held out, see `StreamedEnsemble.fit`
        """
        statistics.finish()
        reader = statistics.states.reader()
        self._take_names(reader)
        self._take_classes(statistics.targets)
        values, y, weight, rows = statistics.sample()
        numbers, codes = statistics.states.read(reader, values)
        if is_classifier(self):
            y = y.astype(np.int64) if self._multilabel else statistics.targets.classes()[1][y[:, 0].astype(int)]
        if statistics.is_whole:  # as if it had come as a table
            order = np.argsort(rows)
            weight, rows = None if weight is None else weight[order], rows[order]
            if rows[-1] >= statistics.rows:  # of parts that have numbers of their own
                rows = np.arange(len(rows))
            table = reader, numbers[order], codes[order], y[order], weight
            return self._fitted_rows(*table, began, seed, statistics.rows, rows)
        if self.refit:
            raise ValueError("refit must be None or False for a stream of so many rows: some are held out of all networks")
        if not numbers.shape[1] + codes.shape[1]:
            raise ValueError("X has no column with a value that is there: all are missing")
        factors, total = self._class_factors(statistics.targets)
        learned = Learned(self, reader, seed, statistics.bar, total / statistics.n, factors, statistics.n - statistics.n_held)
        return self._fitted_networks(statistics, learned, rows_of, numbers, codes, y, learned.weigh(y, weight), began)

    def _fitted_networks(self, statistics, learned, rows_of, numbers, codes, y, weight, began):
        """The same, with the rows of the sample; those that are held out come first."""
        reader, states, held = learned.reader, statistics.states, slice(statistics.n_held)
        of_held = None if weight is None else weight[held]
        self._reader, self._features = reader, Features().fit(
            numbers, codes, [len(c) for c in reader.categories_], reader.number_sources_, reader.category_sources_,
            states.missing[reader.number_sources_],
        )  # fmt: skip
        Z, scales = self._features.transform(numbers, codes), self._scales(statistics.targets, y, weight)
        self._task = self._make_task(y[held], of_held, scales)
        lowest = [] if scales is None else [statistics.targets.low[None]]  # which the sample need not have
        recipes = recipes_of_stream(
            learned.n, is_classifier(self), self.preset, self._settings(), self._logarithms(np.concatenate([y, *lowest]))
        )
        counts = [
            states.counts(reader)[j] - np.bincount(codes[held, j], minlength=n_levels)
            for j, n_levels in zip(self._features._coded, self._features.n_levels, strict=True)
        ]
        seconds = math.inf if self.time_limit is None else self.time_limit - (time.perf_counter() - began)
        self.ensemble_ = StreamedEnsemble(
            recipes, self._features, self._task, of_held, learned.seed, self._callbacks(), seconds, self._say
        )
        self.ensemble_.fit(Z, Z[held], partial(rows_of, learned), counts)
        self._finish_stream(numbers[held], codes[held], of_held)
        return self
