"""An ensemble of networks for the matrix of a table: some of each recipe, trained on parts of the rows or on all of them."""

import copy
import math
import time
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ..fitting import fit
from ..preparing import prepare
from .features import VECTOR
from .members import Deadline, Judge, Unseen, side_by_side, valleys
from .recipe import Recipe

MOST_COMPARED = 200_000  # rows, up to which copies are looked for
EXPLAINED = 0.9  # share of the variance, from which on networks of all rows are better than those of parts
DRAWS = 20  # recipes that are drawn, one after the other, to find their weights
# Of the error, that a recipe must be good for, as each has networks to predict with. Networks of all rows differ less than
# those of parts, and mixing them gains less (energy 0.306, its best recipe alone 0.291).
GAIN, GAIN_OF_ALL = 0.01, 0.05
MOST_WEIGHED = 10_000  # rows, by which recipes are weighed


def parts_of(n, k, rng, strata=None):
    """(n,) numbers of k parts of about equal size, each with its share of every class."""
    parts, first = np.empty(n, int), 0
    for rows in [np.arange(n)] if strata is None else [np.flatnonzero(strata == c) for c in np.unique(strata)]:
        parts[rng.permutation(rows)] = (first + np.arange(len(rows))) % k
        first += len(rows)
    return parts


def parts_of_rows(Z, y, k, rng, strata=None):
    """`parts_of`, copies of a row being in the same part: otherwise networks would be judged by what they have seen.

    Equal rows with equal targets are copies where a column of many values tells rows apart, otherwise (few categories)
    chance. On a table of which each row was there three times the log loss of a test fell from 0.75 to 0.49.
    """
    if len(Z) <= MOST_COMPARED:
        rows = np.ascontiguousarray(np.concatenate([Z, np.asarray(y, np.float32).reshape(len(Z), -1)], axis=1))
        _, first, inverse = np.unique(rows.view(f"V{rows.shape[1] * 4}")[:, 0], return_index=True, return_inverse=True)
        tells = k <= len(first) < len(Z) and max(len(np.unique(column)) for column in Z.T) >= 0.5 * len(first)
        if tells:
            return parts_of(len(first), k, rng, None if strata is None else strata[first])[inverse]
    return parts_of(len(Z), k, rng, strata)


def explained(y, p):
    """Share of the variance of numbers that predictions explain, the least of the columns."""
    known = np.isfinite(p[:, 0])
    variance = np.var(y[known], axis=0)
    return float(np.min(1 - np.mean(np.square(y[known] - p[known]), axis=0) / np.where(variance > 0, variance, 1)))


@dataclass
class Kind:
    """The networks of one recipe.

    Attributes
    ----------
    recipe : Recipe
    weight : float
        Of their mean in the ensemble's predictions.
    judged : list of Model
        Networks from which a part of the rows was held out; number i from part i % folds.
    models : list of Model
        Those that predict: the same, or others that were trained on all rows.
    oof : ndarray of shape (n, k) or None
        Predictions of each row by those that were not trained on it, NaN where there are none.
    error : float
        Of these.
    epochs : list of int
        Of each of `models`, how many its weights have seen.
    curves : list of list of float
        Errors of the networks `judged`, epoch by epoch.
    """

    recipe: Recipe
    weight: float = 1.0
    judged: list = field(default_factory=list)
    models: list = field(default_factory=list)
    oof: np.ndarray | None = None
    error: float = math.nan
    epochs: list = field(default_factory=list)
    curves: list = field(default_factory=list)


class Ensemble:
    """Networks of one or several recipes, and what they say together.

    Parameters
    ----------
    recipes : list of Recipe
        What is tried; all have the same number of parts.
    features : Features
        Of the matrix.
    task : Task
        What is learned.
    weight : ndarray of shape (n,) or None
        Of the rows.
    seed : int
        Of parts and networks.
    callbacks : list of Callback
        Of each network's fit.
    seconds : float
        For all.
    log : callable
        Is told in a line of each network.

    Attributes
    ----------
    kinds : list of Kind
        Those that have a weight.
    parts : ndarray of shape (n,) or None
        Number of the part that a row belongs to.
    oof : ndarray of shape (n, k) or None
        Predictions of each row by networks that were not trained on it; NaN where there are none.
    error : float
        Of these; NaN without them.
    histories : list of History
        Of all fits.
    """

    def __init__(self, recipes, features, task, weight=None, seed=0, callbacks=(), seconds=math.inf, log=None):
        self._recipes, self._features, self._task, self._weight, self._seed = recipes, features, task, weight, seed
        self._callbacks, self._log, self._seconds = callbacks, log or (lambda text: None), seconds
        self.kinds, self.parts, self.oof, self.error, self.histories = [], None, None, math.nan, []

    @property
    def judged(self):
        """All networks that a part of the rows was held out of."""
        return [model for kind in self.kinds for model in kind.judged]

    @property
    def models(self):
        """All networks that predict."""
        return [model for kind in self.kinds for model in kind.models]

    def fit(self, Z):
        """Train the networks on the matrix Z, float32 of shape (n, columns)."""
        rng, folds, rows = self._begin(), self._recipes[0].folds, np.arange(len(Z))
        if folds:
            self.parts = parts_of_rows(Z, self._task.y, folds, rng, self._task.strata)
            self._train_parts(Z, rows)
            self._weigh()
        if not folds or self._refits(self.oof):
            self._train_all(Z, rows)
        return self._over()

    def _begin(self):
        """Begin a fit; returns the generator of its random numbers."""
        rng = np.random.default_rng([self._seed, 0])
        self._end, self._firsts = time.perf_counter() + self._seconds, {}
        most = 2 * max(recipe.members for recipe in self._recipes)
        self._seeds = rng.integers(2**31, size=(len(self._recipes), most))
        self.kinds = [Kind(recipe) for recipe in self._recipes]
        return rng

    def _over(self):
        """Forget what only a fit needs."""
        for name in ("_recipes", "_features", "_task", "_weight", "_callbacks", "_log", "_end", "_firsts", "_seeds"):
            delattr(self, name)
        return self

    # ------------------------------------------------------------ training

    def _refits(self, oof):
        """Whether networks of all rows take the place of those of parts, whose predictions are `oof`.

        More rows count for more than the mean of more networks where the numbers are predicted well (RMSE of energy 0.33 ->
        0.31, of concrete 3.96 -> 3.75), and for less where there is much noise (diabetes 55.5 -> 56.9). The spread of
        quantiles is that of networks which have not seen a row.
        """
        if self.kinds[0].recipe.refits is not None:
            return self.kinds[0].recipe.refits
        return self._task.refits and explained(self._task.y, oof) >= EXPLAINED

    def _train_parts(self, Z, rows):
        """Train the networks from which parts are held out; the first of each recipe in any case, while there is time."""
        refits, until = self.kinds[0].recipe.refits is not False, self._end
        until -= 0.5 * self._seconds if refits and math.isfinite(self._seconds) else 0.0
        jobs = [(number, i) for number, kind in enumerate(self.kinds) for i in range(kind.recipe.members)]
        jobs.sort(key=lambda job: job[1])
        held = [self.parts == i % self._recipes[0].folds for i in range(max(i for _, i in jobs) + 1)]
        found = self._side_by_side(Z, [(*job, rows[~held[job[1]]], rows[held[job[1]]], until, None) for job in jobs], True)
        counts = {}
        for (number, i), model, judge, _ in found:
            kind, out = self.kinds[number], held[i]
            kind.judged.append(model)
            kind.epochs.append(judge.best_epoch_)
            if kind.oof is None:
                kind.oof, counts[number] = np.zeros((len(Z), self._task.width)), np.zeros(len(Z))
            kind.oof[out] += self._task.final(model.predict(Z[out]), kind.recipe)
            counts[number] += out
            kind.curves.append(judge.errors_)
        for number, count in counts.items():
            kind, known = self.kinds[number], count > 0
            kind.models = kind.judged
            kind.oof[known] /= count[known, None]
            kind.oof[~known] = np.nan
            kind.error = self._error(kind.oof)

    def _train_all(self, Z, rows):
        """Train networks on all rows: as long as was best for those of the parts together, or for the whole schedule."""
        jobs, lengths = [], []
        for number, kind in enumerate(self.kinds):
            length = _joint_epoch(kind.curves, kind.recipe.epochs) if kind.judged else kind.recipe.epochs
            jobs += [(number, kind.recipe.members + i, rows, None, self._end, length) for i in range(kind.recipe.members)]
            lengths.append(length)
        found = self._side_by_side(Z, jobs, not self.judged)
        for number, kind in enumerate(self.kinds):
            # A network that was cut short is worse than those of the parts, which have had their time.
            models = [model for (other, _), model, _, over in found if other == number and not (over and kind.judged)]
            if models:
                kind.models, kind.epochs = models, [lengths[number]] * len(models)
                self._log(f"{len(models)} networks on all rows, {lengths[number]} epochs")
        self.kinds = [kind for kind in self.kinds if kind.models]

    def _side_by_side(self, Z, jobs, needed):
        """((number of the recipe, of the network), model, judge or None, whether it was cut short), on all threads.

        Of the jobs that have found time; the first has some in any case if it is `needed`.
        """
        for number, i, *_ in jobs:
            self._first_layers(Z, self._bins(number, i))
        found = side_by_side([partial(self._member, Z, *job, needed and not k) for k, job in enumerate(jobs)])
        self.histories += [history for *_, history in filter(None, found)]
        return [(job[:2], *member[:3]) for job, member in zip(jobs, found, strict=True) if member is not None]

    def _bins(self, number, i):
        recipe = self.kinds[number].recipe
        return recipe.bins[i % recipe.members % len(recipe.bins)]

    def _first_layers(self, Z, bins):
        """(layers that read the matrix, features that they make)"""
        if bins not in self._firsts:
            edges = self._features.edges(Z, bins) if bins else {}
            width = self._features.n_dense + sum(len(e) - 1 for e in edges.values()) + VECTOR * len(self._features.n_levels)
            self._firsts[bins] = self._features.layers(edges), width
        return self._firsts[bins]

    def _member(self, Z, number, i, rows, held, until, epochs, needed, failed):
        """(model, judge or None, whether it was cut short, history) of a network; None if there is no time for an epoch."""
        recipe, task = self.kinds[number].recipe, self._task
        if not needed and time.perf_counter() >= until:
            return None
        batch = min(recipe.batch_size, len(rows))
        model, deadline = self._network(number, i, len(rows), batch), Deadline(until, failed, needed)
        judge = None if held is None else Judge(Z[held], task.judge(held, recipe, self._weight))
        n_levels, codes = self._features.n_levels, Z[rows, self._features.n_dense :].astype(int)
        counts = [np.bincount(column, minlength=n).astype(float) for column, n in zip(codes.T, n_levels, strict=True)]
        weight = None if self._weight is None else self._weight[rows]
        run = prepare(
            model, Z[rows], task.targets(task.y[rows], recipe), epochs=epochs or recipe.epochs, batch_size=batch,
            sample_weight=weight, callbacks=self._watchers(counts, judge, deadline),
        )  # fmt: skip
        fit(run, quiet=True)
        return self._trained(run, number, i, judge, deadline)

    def _network(self, number, i, n, batch):
        """A network of a recipe for n rows, not yet trained."""
        recipe, (layers, width) = self.kinds[number].recipe, self._firsts[self._bins(number, i)]
        steps, seed = recipe.epochs * -(-n // batch), int(self._seeds[number, i])
        return recipe.model(layers, width, self._task.n_outputs, self._task.loss(recipe), steps, seed)

    def _watchers(self, counts, judge, deadline):
        """The callbacks of a fit; counts : see `Unseen`."""
        own = map(copy.copy, self._callbacks)  # each network's own: they remember
        return [*([Unseen(counts)] if counts else []), *([judge] if judge else []), *own, deadline]

    def _trained(self, run, number, i, judge, deadline):
        """What `_member` returns, after the fit `run`."""
        if not run.epoch:
            return None
        run.model.optimizer = "sgd"  # which forgets the moments, twice the parameters' memory
        if judge is not None:
            self._log(f"recipe {number + 1}, network {i + 1}: error {judge.error_:.6g} in epoch {judge.best_epoch_}")
        return run.model, judge, deadline.over_, run.history

    # ------------------------------------------------------------ what they say together

    def _error(self, oof):
        known = np.isfinite(oof[:, 0])
        weight = None if self._weight is None else self._weight[known]
        return self._task.error_of(self._task.y[known], self._task.calibrated(oof[known], known, weight), weight)

    def _weigh(self):
        """Find the weights of the recipes; those without which the error hardly grows are left out."""
        kinds = [kind for kind in self.kinds if kind.judged]
        known = np.all([np.isfinite(kind.oof[:, 0]) for kind in kinds], axis=0)
        if not known.any():  # there was not even time for the same part
            kinds, known = kinds[:1], np.isfinite(kinds[0].oof[:, 0])
        rows = np.flatnonzero(known)
        rows = rows[:: -(-len(rows) // MOST_WEIGHED)]
        weights, error = self._mixture(kinds, rows)
        gain = GAIN_OF_ALL if self._refits(sum(w * kind.oof for w, kind in zip(weights, kinds, strict=True))) else GAIN
        while len(kinds) > 1:
            fewer = [self._mixture(kinds[:i] + kinds[i + 1 :], rows) for i in range(len(kinds))]
            i = int(np.argmin([other for _, other in fewer]))
            if not fewer[i][1] <= error / (1 - gain):
                break
            kinds, (weights, error) = kinds[:i] + kinds[i + 1 :], fewer[i]
        for kind, weight in zip(kinds, weights, strict=True):
            kind.weight = weight
        self.kinds = [kind for kind in kinds if kind.weight]
        self.oof = sum(kind.weight * kind.oof for kind in self.kinds)
        self.error = self._error(self.oof)

    def _mixture(self, kinds, rows):
        """(weights, error) of recipes, drawn again and again, each time the one that makes the error of the mean least.

        Reference: Caruana et al. 2004, Ensemble selection from libraries of models.
        """
        parts = [np.full_like(kind.oof, np.nan) for kind in kinds]
        for part, kind in zip(parts, kinds, strict=True):
            part[rows] = kind.oof[rows]
        counts, total, best, chosen = np.zeros(len(kinds)), 0.0, math.inf, None
        for drawn in range(1, (DRAWS if len(kinds) > 1 else 1) + 1):
            errors = [self._error((total + part) / drawn) for part in parts]
            k = int(np.argmin(errors))
            total, counts[k] = total + parts[k], counts[k] + 1
            if chosen is None or errors[k] < best:
                best, chosen = errors[k], counts / drawn
        return chosen.tolist(), best

    def predict(self, Z, task):
        """Mean of the networks' final predictions, float64 of shape (n, k)."""
        total = 0.0
        for kind in self.kinds:
            for model in kind.models:
                p = task.final(model.predict(Z), kind.recipe)
                p *= kind.weight / len(kind.models)
                total = total + p
        return total

    def predict_held(self, Z, task, parts):
        """The same by networks that were not trained on the rows, which belong to `parts`; by all without parts."""
        if parts is None:
            return self.predict(Z, task)
        total = np.zeros((len(Z), task.width))
        for kind in self.kinds:
            p, counts = np.zeros_like(total), np.zeros((len(Z), 1))
            for i, model in enumerate(kind.judged):
                rows = parts == i % kind.recipe.folds
                p[rows] += task.final(model.predict(Z[rows]), kind.recipe)
                counts[rows] += 1
            with np.errstate(invalid="ignore"):
                total += kind.weight * p / counts
        return total

    def how(self):
        """In words, a line for each recipe, how the networks came about."""
        lines = []
        for kind in self.kinds:
            recipe, n_params = kind.recipe, kind.models[0].layout.n_params
            rows = self._rows_of(recipe) if kind.models is kind.judged else "all rows"
            epochs = ", ".join(map(str, kind.epochs))
            lines.append(f"{len(kind.models)} networks, weight {kind.weight:.2f}, on {rows}, epochs {epochs}")
            lines.append(f"  {n_params:,} parameters in the first: {recipe}")
        return lines

    def _rows_of(self, recipe):
        """In words, what the networks were trained on from which rows were held out."""
        return f"{recipe.folds - 1} of {recipe.folds} parts of the rows"


def _joint_epoch(curves, epochs):
    """The valley of the schedule at which the mean of the error curves is least, of those that all of them reach."""
    last = min(map(len, curves))
    mean = np.mean([curve[:last] for curve in curves], axis=0)
    ends = [epoch for epoch in valleys(epochs) if epoch <= last] or [last]
    return min(ends, key=lambda epoch: (mean[epoch - 1], -epoch))
