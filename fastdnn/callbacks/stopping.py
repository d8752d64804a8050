"""Callbacks that end a fit: no improvement, a value that is good enough, time."""

import math
import time

from ..scoring import SMALLER_IS_BETTER
from ..specs import check_count, check_number
from .base import Callback


class EarlyStopping(Callback):
    """Stop when a value has not improved for some epochs, and put the weights of the best epoch back.

    Parameters
    ----------
    monitor : str or None, default=None
        Key of the history: "loss", "val_loss", "val_roc_auc", ... Losses are better when smaller, scores when larger.
        None is "val_loss" where there is validation data, otherwise "loss".
    patience : int, default=10
        Epochs without improvement that are borne, >= 1.
    min_delta : float, default=0.0
        By how much the best value must be surpassed to count, >= 0.
    threshold : float or None, default=None
        A value that is good enough: the fit ends as soon as it is reached.
    restore_best : bool, default=True
        Whether the parameters (and running statistics) of the best epoch are put back at the end, bit for bit, whatever
        ended the fit. A fit that is resumed without knowing them (its callbacks did not keep them) begins to judge with
        the epoch that it goes on from.

    Attributes
    ----------
    best_ : float
        The best value so far.
    best_epoch_ : int or None
        Its epoch, counting from 0.

    Examples
    --------
    >>> from fastdnn.callbacks import EarlyStopping
    >>> EarlyStopping("val_accuracy", patience=5)
    EarlyStopping(monitor='val_accuracy', patience=5)

    References
    ----------
    Prechelt, L. (1998). Early stopping - but when? In: Neural Networks: Tricks of the Trade. Springer.
    """

    def __init__(self, monitor=None, patience=10, min_delta=0.0, threshold=None, restore_best=True):
        self.monitor, self.patience = monitor, check_count("patience", patience)
        self.min_delta = check_number("min_delta", min_delta, 0, math.inf, high_open=True)
        self.threshold = None if threshold is None else check_number("threshold", threshold, -math.inf, math.inf)
        self.restore_best = bool(restore_best)

    def check(self, fit):
        fit.monitored(self.monitor)

    def on_fit_begin(self, fit):
        self._key = fit.monitored(self.monitor)
        self._sign = -1.0 if self._key in SMALLER_IS_BETTER else 1.0
        self.best_, self.best_epoch_ = -self._sign * math.inf, None
        values = fit.history.get(self._key, [])
        for epoch, value in enumerate(values):
            self._better(epoch, value)
        if not self.restore_best or self.best_epoch_ is None:
            fit.model.best = None
        elif fit.model.best is None:  # the weights of the best epoch are not known, unless they are those there are now
            if self.best_epoch_ not in (fit.history.restored, fit.epoch - 1):
                self.best_, self.best_epoch_ = float(values[-1]), len(values) - 1
            fit.model.keep_best()

    def _better(self, epoch, value):
        better = self._sign * (value - self.best_) > self.min_delta if self.best_epoch_ is not None else value == value
        if better:
            self.best_, self.best_epoch_ = float(value), epoch
        return better

    def on_epoch_end(self, fit):
        value = fit.value(self._key)
        if self._better(fit.epoch - 1, value) and self.restore_best:
            fit.model.keep_best()
        if self.threshold is not None and self._sign * (value - self.threshold) >= 0:
            return f"{self._key} reached {value:.6g}, the threshold being {self.threshold:.6g}"
        waited = fit.epoch - 1 - (-1 if self.best_epoch_ is None else self.best_epoch_)
        if waited >= self.patience:
            best = "never had a number" if self.best_epoch_ is None else f"was best in epoch {self.best_epoch_ + 1}"
            return f"{self._key} {best} and has not improved for {waited} epochs (patience {self.patience})"
        return None

    def on_fit_end(self, fit):
        if self.restore_best:
            fit.history.restored = self.best_epoch_
            fit.model.restore_best()


class TimeLimit(Callback):
    """Stop after some seconds, within an epoch if need be.

    Parameters
    ----------
    seconds : float
        Counted from the start of the fit, compilation included; > 0. An epoch that is cut short counts, with the mean loss
        of its batches so far; what is over the limit is at most about 0.1 s and a validation.

    Examples
    --------
    >>> from fastdnn.callbacks import TimeLimit
    >>> TimeLimit(60)
    TimeLimit(seconds=60.0)
    """

    def __init__(self, seconds):
        self.seconds = check_number("seconds", seconds, 0, math.inf, low_open=True)

    def on_fit_begin(self, fit):
        self._until = time.perf_counter() + self.seconds

    def on_slice(self, fit, done):
        return f"the time limit of {self.seconds:g} s is over" if time.perf_counter() >= self._until else None

    def on_epoch_end(self, fit):
        return self.on_slice(fit, 1.0)
