"""An ensemble of networks for a table that is not here as a whole, all judged by the same rows that are held out."""

import threading
import time

from .ensemble import Ensemble
from .members import Deadline, Judge


class StreamedEnsemble(Ensemble):
    """Networks that are trained one after the other, each on rows that come in a stream or lie elsewhere.

    Parameters
    ----------
    As of `Ensemble`; `task` and `weight` are of the rows that are held out.

    Attributes
    ----------
    As of `Ensemble`; `oof` are predictions of the rows that are held out, `parts` None.
    """

    def fit(self, sample, held, rows_of, counts):
        """Train the networks.

        Parameters
        ----------
        sample : ndarray of float32, shape (m, columns)
            The matrix of a sample of the rows, which bins are made of.
        held : ndarray of float32, shape (k, columns)
            That of the rows that are held out.
        rows_of : callable
            Gives, of a recipe, all others: how many they are, `n_samples`, and ``train(model, epochs=..., batch_size=...,
            callbacks=...)``, which fits a model to them and returns the `Fit`.
        counts : list of ndarray
            Of each column of codes, how many of these have each code.
        """
        self._begin()
        jobs = [(number, i) for number, kind in enumerate(self.kinds) for i in range(kind.recipe.members)]
        for place, (number, i) in enumerate(sorted(jobs, key=lambda job: job[1])):
            self._first_layers(sample, self._bins(number, i))
            found = self._member_of_rows(number, i, held, rows_of, counts, needed=not place)
            if found is not None:
                self._keep(self.kinds[number], held, *found)
        for kind in self.kinds:
            if kind.judged:
                kind.oof /= len(kind.judged)
                kind.models, kind.error = kind.judged, self._error(kind.oof)
        self._weigh()
        return self._over()

    def _keep(self, kind, held, model, judge, _, history):
        kind.judged.append(model)
        kind.epochs.append(judge.best_epoch_)
        kind.curves.append(judge.errors_)
        found = self._task.final(model.predict(held), kind.recipe)
        kind.oof = found if kind.oof is None else kind.oof + found
        self.histories.append(history)

    def _member_of_rows(self, number, i, held, rows_of, counts, needed):
        """What `_member` gives, trained on the rows that are not held out."""
        recipe, task = self.kinds[number].recipe, self._task
        if not needed and time.perf_counter() >= self._end:
            return None
        rows = rows_of(recipe)
        batch = min(recipe.batch_size, rows.n_samples)
        model, deadline = self._network(number, i, rows.n_samples, batch), Deadline(self._end, threading.Event(), needed)
        judge = Judge(held, task.judge(slice(None), recipe, self._weight))
        callbacks = self._watchers(counts, judge, deadline)
        run = rows.train(model, epochs=recipe.epochs, batch_size=batch, callbacks=callbacks)
        return self._trained(run, number, i, judge, deadline)

    def _refits(self, oof):
        return False

    def _rows_of(self, recipe):
        return f"all rows but {len(self.oof):,}"
