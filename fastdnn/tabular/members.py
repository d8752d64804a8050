"""Networks of an ensemble, trained side by side on the threads; each is judged by rows that it is not trained on."""

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import numpy as np

from .._threads import config_context, get_num_threads
from ..callbacks import Callback


def valleys(epochs, cycles=4):
    """Epochs at whose end the rate of `CosLog` is about 0, in rising order."""
    return sorted({max(1, round(epochs * (2**k - 1) / (2**cycles - 1))) for k in range(1, cycles + 1)})


class Unseen(Callback):
    """Gives categories that no row of a fit has the mean of the vectors of its column's others, weighted by their rows.

    They have no gradient: with the random vectors that they begin with a prediction for a category that is new would be
    anything (RMSE 0.62 on a table of 30 levels, with the mean 0.01).
    """

    def __init__(self, counts):
        self._means = [(rows == 0, rows / rows.sum()) for rows in counts]  # of each column, the rows of each of its codes

    def on_fit_begin(self, fit):
        self.on_epoch_end(fit)

    def on_epoch_end(self, fit):
        (table,) = (view for key, view in fit.model.weights.items() if key.endswith("category_embedding.kernel"))
        first = 0
        for unseen, shares in self._means:
            vectors = table[first : first + len(shares)]
            vectors[unseen] = shares @ vectors
            first += len(shares)


class Judge(Callback):
    """Keeps the weights of the epoch with the least error of rows that are held out, the last one of several.

    Where a callback prunes the network no epoch before the end of that counts.

    Ends the fit at a valley of the schedule (a low of its rate) if nothing since the one before has beaten the best: what
    comes then seldom does, and takes most of the time.

    Attributes
    ----------
    errors_ : list of float
        After each epoch.
    best_epoch_ : int
        Counted from 1.
    """

    def __init__(self, X, error):
        self._X, self._error = X, error

    def on_fit_begin(self, fit):
        self.errors_, self.best_epoch_, self._params, self._mask = [], 0, None, fit.model.mask
        self._valleys = valleys(fit.epochs)

    def on_epoch_end(self, fit):
        error = float(self._error(fit.model.predict(self._X)))
        anew = not self.errors_ or fit.pruning or fit.model.mask is not self._mask
        if anew or error <= self.errors_[self.best_epoch_ - 1]:
            self.best_epoch_, self._params, self._mask = fit.epoch, fit.model.params.copy(), fit.model.mask
        self.errors_.append(error)
        fit.history.record(fit.epoch - 1, {"val_error": error})  # for callbacks that come after this one
        if fit.epoch in self._valleys[1:] and self.best_epoch_ <= self._valleys[self._valleys.index(fit.epoch) - 1]:
            return "the last valley of the schedule brought nothing"
        return None

    @property
    def error_(self):
        """The least error."""
        return self.errors_[self.best_epoch_ - 1] if self.errors_ else np.inf

    def on_fit_end(self, fit):
        if self._params is not None:
            fit.model.params[...] = self._params
            fit.model.clear_pruned()
        del self._X, self._error, self._params, self._mask


class Deadline(Callback):
    """Ends a fit when its time is over, or others that run beside it have failed; one that is needed has an epoch at least.

    Attributes
    ----------
    over_ : bool
        Whether the time was over before the fit was.
    """

    def __init__(self, until, failed, needed):
        self._until, self._failed, self._needed = until, failed, needed

    def on_fit_begin(self, fit):
        self.over_ = False

    def on_slice(self, fit, done):
        if self._failed.is_set():
            return "another network has failed"
        if fit.epoch < fit.epochs and time.perf_counter() >= self._until and not (self._needed and fit.epoch == 0):
            self.over_ = True
            return "the time limit is over"
        return None

    def on_epoch_end(self, fit):
        return self.on_slice(fit, 1.0)


def side_by_side(tasks):
    """Results of functions of one argument, an event, run on all threads, each on one.

    An error in one sets the event, and so does Ctrl-C: the others then end within about 0.1 s.
    """
    failed, n = threading.Event(), min(get_num_threads(), len(tasks))
    if n <= 1:
        return [task(failed) for task in tasks]

    def alone(task):
        if failed.is_set():
            return None
        try:
            with config_context(n_threads=1):
                return task(failed)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(n) as pool:
        futures = [pool.submit(alone, task) for task in tasks]
        try:
            waiting = futures
            while waiting:  # in short pieces, between which Python looks at signals
                _, waiting = wait(waiting, timeout=0.1, return_when=FIRST_EXCEPTION)
                if failed.is_set():
                    break
        except BaseException:
            failed.set()
            raise
        finally:
            if failed.is_set():
                for future in futures:
                    future.cancel()
        errors = [future.exception() for future in futures if not future.cancelled()]
        for error in errors:
            if error is not None:
                raise error
        return [future.result() for future in futures]
