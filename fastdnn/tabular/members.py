"""Networks of an ensemble, trained side by side on the threads; each is judged by rows that it is not trained on."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .._threads import config_context, get_num_threads
from ..callbacks import Callback


def valleys(epochs, cycles=4):
    """Epochs at whose end the rate of `CosLog` is about 0, in rising order."""
    return sorted({max(1, round(epochs * (2**k - 1) / (2**cycles - 1))) for k in range(1, cycles + 1)})


class Judge(Callback):
    """Keeps the weights of the epoch with the least error of rows that are held out, the last one of several.

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
        self.errors_, self.best_epoch_, self._params = [], 0, None
        self._valleys = valleys(fit.epochs)

    def on_epoch_end(self, fit):
        error = float(self._error(fit.model.predict(self._X)))
        if not self.errors_ or error <= self.errors_[self.best_epoch_ - 1]:
            self.best_epoch_, self._params = fit.epoch, fit.model.params.copy()
        self.errors_.append(error)
        fit.history.record(fit.epoch - 1, {"val_error": error})  # for callbacks that come after this one
        if fit.epoch in self._valleys[1:] and self.best_epoch_ <= self._valleys[self._valleys.index(fit.epoch) - 1]:
            return "the last valley of the schedule brought nothing"
        return None

    @property
    def error_(self):
        """The least error."""
        return self.errors_[self.best_epoch_ - 1]

    def on_fit_end(self, fit):
        if self._params is not None:
            fit.model.params[...] = self._params
        del self._X, self._error, self._params


class Deadline(Callback):
    """Ends a fit when its time is over, or others that run beside it have failed."""

    def __init__(self, until, failed):
        self._until, self._failed = until, failed

    def on_slice(self, fit, done):
        if self._failed.is_set():
            return "another network has failed"
        return "the time limit is over" if time.perf_counter() >= self._until else None

    def on_epoch_end(self, fit):
        return self.on_slice(fit, 1.0)


def side_by_side(tasks):
    """Results of functions of one argument, an event, run on all threads, each on one; an error in one sets the event."""
    failed, n = threading.Event(), min(get_num_threads(), len(tasks))
    if n == 1:
        return [task(failed) for task in tasks]

    def alone(task):
        with config_context(n_threads=1):
            if failed.is_set():
                return None
            return task(failed)

    with ThreadPoolExecutor(n) as pool:
        futures = [pool.submit(alone, task) for task in tasks]
        try:
            return [future.result() for future in futures]
        except BaseException:  # Ctrl-C as well: the others end within 0.1 s
            failed.set()
            raise
