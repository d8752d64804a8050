"""Callbacks that write down or show what happens."""

import csv

from ..specs import check_path
from .base import Callback


class CSVLogger(Callback):
    """Append the history to a CSV file, a row an epoch.

    Parameters
    ----------
    path : str or path-like
        The file; its folder must exist. Columns are "epoch" (from 1 on) and the keys of the history after the first epoch.
    append : bool, default=False
        Whether to go on in a file that exists, with the columns in its first row; a resumed fit always does, after the
        rows of the epochs that it goes on from.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from fastdnn.callbacks import CSVLogger
    >>> CSVLogger("log.csv")
    CSVLogger(path='log.csv')
    """

    def __init__(self, path, append=False):
        self.path, self.append = check_path("path", path), bool(append)

    def check(self, fit):
        with open(self.path, "a", encoding="utf-8"):  # fails now, not after the first epoch
            pass

    def on_fit_begin(self, fit):
        rows = []
        if self.append or fit.epoch:
            with open(self.path, newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file))
        self._columns = rows[0] if rows else None
        if fit.epoch and not self.append:
            rows = rows[:1] + [row for row in rows[1:] if row and row[0].isdigit() and int(row[0]) <= fit.epoch]
        with open(self.path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    def on_epoch_end(self, fit):
        # Opened for each row: a file kept open would neither pickle nor survive a killed process.
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if self._columns is None:
                self._columns = ["epoch", *fit.history]
                writer.writerow(self._columns)
            values = {key: values[fit.epoch - 1] for key, values in fit.history.items() if len(values) >= fit.epoch}
            writer.writerow([fit.epoch, *(values.get(key, "") for key in self._columns[1:])])


class LambdaCallback(Callback):
    """Functions of your own.

    Parameters
    ----------
    on_epoch_end : callable or None, default=None
        Called as ``on_epoch_end(fit)`` after each epoch; a true result ends the fit, a string as the reason.
    on_fit_begin, on_fit_end : callable or None, default=None
        Called as ``f(fit)`` before the first epoch and after the last.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers
    >>> from fastdnn.callbacks import LambdaCallback
    >>> stop = LambdaCallback(lambda fit: "enough" if fit.epoch == 3 else None)
    >>> model = Model([layers.Dense(1)], random_state=0)
    >>> model.fit(np.eye(8, dtype="float32"), np.arange(8), epochs=100, callbacks=[stop]).stopped
    'enough'
    """

    def __init__(self, on_epoch_end=None, on_fit_begin=None, on_fit_end=None):
        # Not under the names of the methods, which they would hide.
        self._functions = {"on_epoch_end": on_epoch_end, "on_fit_begin": on_fit_begin, "on_fit_end": on_fit_end}
        for name, function in self._functions.items():
            if function is not None and not callable(function):
                raise ValueError(f"{name} must be a function of the Fit or None, got {function!r}")

    def settings(self):
        return dict(self._functions)

    def _public(self):
        return self._functions

    def _call(self, name, fit):
        function = self._functions[name]
        return None if function is None else function(fit)

    def on_fit_begin(self, fit):
        self._call("on_fit_begin", fit)

    def on_epoch_end(self, fit):
        return self._call("on_epoch_end", fit)

    def on_fit_end(self, fit):
        self._call("on_fit_end", fit)
