"""An ensemble of networks for the matrix of a table: trained on parts of the rows, or on all of them, and averaged."""

import math
import time
from functools import partial

import numpy as np

from .features import VECTOR
from .members import Deadline, Judge, side_by_side, valleys


def parts_of(n, k, rng, strata=None):
    """(n,) numbers of k parts of about equal size, each with its share of every class."""
    parts, first = np.empty(n, int), 0
    for rows in [np.arange(n)] if strata is None else [np.flatnonzero(strata == c) for c in np.unique(strata)]:
        parts[rng.permutation(rows)] = (first + np.arange(len(rows))) % k
        first += len(rows)
    return parts


class Ensemble:
    """Networks of one recipe, and what they say together.

    Attributes
    ----------
    models : list of Model
        What predictions are averaged of.
    judged : list of Model
        Those that a part of the rows was held out of.
    parts : ndarray of shape (n,) or None
        Number of the part that a row belongs to; member i was not trained on part i % folds.
    oof : ndarray of shape (n, k) or None
        Predictions of each row by the members that were not trained on it.
    error : float
        Of `oof`; NaN where there is none.
    epochs : list of int
        Of each of `models`, the epoch whose weights it has.
    histories : list of History
        Of all fits.
    """

    def __init__(self, recipe, features, task, weight=None, seed=0, callbacks=(), seconds=math.inf, log=None):
        self.recipe, self._features, self._task, self.weight, self._seed = recipe, features, task, weight, seed
        self._callbacks, self._log, self._seconds = callbacks, log or (lambda text: None), seconds
        self.models, self.judged, self.parts, self.oof, self.error, self.histories = [], [], None, None, math.nan, []

    def fit(self, Z):
        """Train the members on the matrix Z, float32 of shape (n, columns)."""
        recipe, n, rng = self.recipe, len(Z), np.random.default_rng([self._seed, 0])
        began, rows = time.perf_counter(), np.arange(len(Z))
        self._first = {bins: self._first_layers(Z, bins) for bins in dict.fromkeys(recipe.bins)}
        self._seeds = rng.integers(2**31, size=2 * recipe.members)
        if not recipe.folds:
            self.models, self.epochs = self._train(Z, [(rows, None)] * recipe.members, None, began + self._seconds, 0), None
            return self._ended()
        self.parts = parts_of(n, recipe.folds, rng, self._task.strata)
        held = [self.parts == i % recipe.folds for i in range(recipe.members)]
        share = 0.5 if recipe.refits else 1.0
        jobs = [(rows[~out], rows[out]) for out in held]
        self.models = self._train(Z, jobs, None, began + share * self._seconds, 0)
        self.judged = self.models
        self._judge(Z, held)
        if recipe.refits and time.perf_counter() < began + self._seconds:
            epochs = self._joint_epoch()
            self._log(f"all {n} rows, {epochs} of {recipe.epochs} epochs")
            self.models = self._train(Z, [(rows, None)] * recipe.members, epochs, began + self._seconds, recipe.members)
        return self._ended()

    def _ended(self):
        for name in ("_task", "_callbacks", "_log", "_first", "_seeds", "_features", "_judges"):
            self.__dict__.pop(name, None)
        return self

    def _first_layers(self, Z, bins):
        """(layers that read the matrix, features that they make)"""
        edges = self._features.edges(Z, bins) if bins else {}
        width = self._features.n_dense + sum(len(e) - 1 for e in edges.values()) + VECTOR * len(self._features.n_levels)
        return self._features.layers(edges), width

    def _train(self, Z, jobs, epochs, until, first_seed):
        """The models of jobs (rows, held out rows or None), side by side; those that found no time are left out."""
        tasks = [partial(self._member, Z, i, *job, epochs, until, first_seed) for i, job in enumerate(jobs)]
        found = [member for member in side_by_side(tasks) if member is not None]
        self._judges = [judge for _, judge, _ in found if judge is not None]
        self.histories += [history for *_, history in found]
        return [model for model, *_ in found]

    def _member(self, Z, i, rows, held, epochs, until, first_seed, failed):
        """(model, judge or None, history) of one job; None if its time is over before it begins, unless it is the first."""
        if i and time.perf_counter() >= until:
            return None
        recipe, task = self.recipe, self._task
        layers, width = self._first[recipe.bins[i % len(recipe.bins)]]
        batch = min(recipe.batch_size, len(rows))
        steps = recipe.epochs * -(-len(rows) // batch)
        model = recipe.model(layers, width, task.n_outputs, task.loss(recipe), steps, int(self._seeds[first_seed + i]))
        judge = None if held is None else Judge(Z[held], task.judge(held, self.weight))
        callbacks = [*([] if judge is None else [judge]), *self._callbacks, Deadline(until, failed)]
        weight = None if self.weight is None else self.weight[rows]
        history = model.fit(Z[rows], task.targets(rows), epochs or recipe.epochs, batch, weight, callbacks=callbacks)
        model.optimizer = "sgd"  # which forgets the moments, twice the parameters' memory
        if judge is not None:
            self._log(f"network {i + 1}: error {judge.errors_[judge.best_epoch_ - 1]:.6g}, epoch {judge.best_epoch_}")
        return model, judge, history

    def _judge(self, Z, held):
        """Predictions of the rows by those that did not see them, and their error."""
        total, counts = 0.0, np.zeros(len(Z))
        for model, out in zip(self.judged, held, strict=False):
            p = np.zeros((len(Z), self._task.width))
            p[out] = self._task.final(model.predict(Z[out]))
            total, counts = total + p, counts + out
        known = counts > 0
        self.oof = np.full_like(total, np.nan)
        self.oof[known] = total[known] / counts[known, None]
        weight = None if self.weight is None else self.weight[known]
        self.error = self._task.error_of(self._task.y[known], self.oof[known], weight)

    def _joint_epoch(self):
        """The valley at which the mean error of all members is least, of those that all have reached."""
        curves = [judge.errors_ for judge in self._judges]
        last = min(map(len, curves))
        mean = np.mean([curve[:last] for curve in curves], axis=0)
        ends = [epoch for epoch in valleys(self.recipe.epochs) if epoch <= last] or [last]
        return min(ends, key=lambda epoch: (mean[epoch - 1], -epoch))

    def how(self):
        """In words, what the networks were trained on."""
        folds = self.recipe.folds
        if self.models is not self.judged:
            return "trained on all rows"
        return f"each trained on {folds - 1} of {folds} parts of the rows"

    def predict(self, Z, task):
        """Mean of the members' final predictions, float64 of shape (n, k)."""
        total = task.final(self.models[0].predict(Z))
        for model in self.models[1:]:
            total += task.final(model.predict(Z))
        return total / len(self.models)
