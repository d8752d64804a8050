"""How Tabular* estimators are fitted to the partitions of dask collections."""

import copy
import time
from functools import partial

import numpy as np

from ..data.blocks import Block, in_block
from ..estimators._restore import unchanged_on_error
from .driver import make_fleet, train
from .local import HasLocal
from .partitions import Tables, get_client, one_column, zipped
from .worker import named

TIMEOUT = 120.0  # seconds, see `fastdnn.distributed.fit`


def same(given):
    """What was given."""
    return given


# ---------------------------------------------------------------- on the workers


def rows_of(part, number, read):
    """(rows of a partition, those that count); ValueError if it has other columns than the others."""
    X, y, weights = part
    with named(f"partition {number}"):
        read.samples(X)
        n = max(X.shape[0], len(y))
        return n, n if weights is None else np.count_nonzero(np.asarray(weights, float) > 0)


def block_of(part):
    """A partition as a `Block`, single columns of targets and weights as (n,)."""
    X, y, weights = part
    return Block(X, one_column(y), one_column(weights))


def learned_from(part, number, shared):
    """`TableStatistics` of a partition, None of one without rows.

    shared : (estimator, seed, first rows of partitions, rows of all that count)
    """
    estimator, seed, firsts, n = shared
    if firsts[number] == firsts[number + 1]:
        return None
    with named(f"partition {number}"):
        statistics = estimator._statistics(seed, firsts[number])
        estimator._learn_block(statistics, block_of(part))
        statistics.trim(n)
        return statistics


def arrays_of(part, number, shared):
    """(X, y, weights or None) of the rows of a partition that are trained on, None where there are none.

    shared : (`Learned`, recipe, first rows of partitions)
    """
    learned, recipe, firsts = shared
    if firsts[number] == firsts[number + 1]:
        return None
    with named(f"partition {number}"):
        block, _ = learned.block(recipe, block_of(part), firsts[number])
        return None if block is None else (block.X, block.y, block.sample_weight)


# ---------------------------------------------------------------- on the client


def merged(tasks):
    """`TableStatistics` of all partitions, merged in their order; errors name the partition."""
    total = None
    for number, task in enumerate(tasks):
        found = task.result()
        with in_block(f"partition {number}"):
            if total is None:
                total = found
            elif found is not None:
                total.merge(found)
    return total


class PartitionRows:
    """Those rows of partitions that are not held out, which networks are trained on where they lie.

    Parameters
    ----------
    fleet : Fleet
        Of the partitions.
    firsts : list of int
        Number of the first row of each, and of all rows.
    counts : list of int
        Rows of each that are trained on.
    learned : Learned
        Of all rows.
    recipe : Recipe
        Of the networks.

    Attributes
    ----------
    n_samples : int
        How many rows they are.
    """

    def __init__(self, fleet, firsts, counts, learned, recipe):
        self._fleet, self._counts, self._shared = fleet, counts, (learned, recipe, firsts)
        self.n_samples = learned.n

    def train(self, model, *, epochs, batch_size, callbacks):
        """Fit a model to the rows; returns the `Fit`."""
        whole, runs, features = self._fleet, [], self._shared[0].estimator._features
        tasks = whole.tasks("arrays", arrays_of, whole.client.submit(same, self._shared, pure=False))
        parts = [task for task, n in zip(tasks, self._counts, strict=True) if n]
        lanes = None if whole.n_lanes is None else min(whole.n_lanes, len(parts))
        fleet = make_fleet(whole.client, parts, same, batch_size, lanes, whole.sync_every, whole.timeout)
        shape = (features.n_dense + len(features.n_levels),)
        train(model, fleet, shape, epochs=epochs, callbacks=callbacks, prepared=runs.append)
        return runs[0]


class DaskTabular(HasLocal):
    """Base of the Tabular* estimators for dask collections."""

    takes, reader = "tables", Tables

    def _fit_collections(self, X, y, sample_weight, client):
        self._check_collection(X)
        client = get_client(client)
        parts = client.compute(zipped(X, y, sample_weight))
        with unchanged_on_error(self, errors=BaseException):
            # The size of a batch is that of each recipe.
            return self._fit_partitions(make_fleet(client, parts, self.reader(X), 1, self.lanes, self.sync_every, TIMEOUT))

    def _fit_partitions(self, fleet):
        began, seed = time.perf_counter(), self._new_seed()
        rows, counts = np.transpose(fleet.client.gather(fleet.tasks("rows", rows_of, fleet.read)))
        firsts = np.cumsum([0, *rows]).tolist()
        if not firsts[-1]:
            raise ValueError("X must have at least one row, all its partitions are empty")
        shared = fleet.client.submit(same, (self._shell(), seed, firsts, counts.sum()), pure=False)
        total = merged(fleet.tasks("statistics", learned_from, shared))
        if not total.is_whole:
            held = total.sample()[-1][: total.n_held]
            counts -= np.bincount(np.searchsorted(firsts, held, "right") - 1, minlength=len(counts))
        return self._fitted_statistics(total, partial(self._rows_of, fleet, firsts, counts), seed, began)

    def _rows_of(self, fleet, firsts, counts, learned, recipe):
        return PartitionRows(fleet, firsts, counts, learned._replace(estimator=self._shell()), recipe)

    def _shell(self):
        """The local estimator with all that is needed to read blocks."""
        made = self._unfitted(callbacks=None, random_state=None)
        for name in ("classes_", "_multilabel", "_flat", "_features"):
            if name in self.__dict__:
                setattr(made, name, getattr(self, name))
        if "_task" in self.__dict__:
            made._task = copy.copy(self._task)
            made._task.forget()
        return made
