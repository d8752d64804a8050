"""Callbacks that end a fit: no improvement, a value that is good enough, time."""

import math
import time

from ..scoring import check_mode
from ..specs import check_count, check_number
from .base import Callback


class EarlyStopping(Callback):
    """Stop when a value has not improved for some epochs, and put the weights of the best epoch back.

    Parameters
    ----------
    monitor : str or None, default=None
        Key of the history: "loss", "val_loss", "val_roc_auc", ... None is "val_loss" where there is validation data,
        otherwise "loss".
    patience : int, default=10
        Epochs without improvement that are borne, >= 1.
    min_delta : float, default=0.0
        By how much the best value must be surpassed to count, >= 0.
    threshold : float or None, default=None
        A value that is good enough: the fit ends as soon as it is reached.
    restore_best : bool, default=True
        Whether the parameters (and running statistics) of the best epoch are put back at the end, bit for bit, whatever
        ended the fit. A fit that is resumed without knowing them (its callbacks did not keep them) begins to judge with
        the epoch that it goes on from. Each callback keeps the best weights by its own monitor; where there are
        several, the last one's are put back, and `history.restored` and `history.restored_by` say which epoch and by which.
    mode : {"auto", "min", "max"}, default="auto"
        Whether the smallest or the largest value is the best. "auto" takes the smallest of losses and errors, by the last
        part of the key, and the largest of scores; see `fastdnn.history.History.best`.

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

    watches = True

    def __init__(self, monitor=None, patience=10, min_delta=0.0, threshold=None, restore_best=True, mode="auto"):
        self.monitor, self.patience = monitor, check_count("patience", patience)
        self.min_delta = check_number("min_delta", min_delta, "[0, inf)")
        self.threshold = None if threshold is None else check_number("threshold", threshold, "[-inf, inf]")
        self.restore_best, self.mode, self._best = bool(restore_best), check_mode(mode), None

    def check(self, fit):
        fit.monitored(self.monitor)

    def on_fit_begin(self, fit):
        self._key = fit.monitored(self.monitor)
        self._sign = fit.sign(self._key, self.mode)
        self.best_, self.best_epoch_ = -self._sign * math.inf, None
        values = fit.history.get(self._key, [])
        for epoch, value in enumerate(values):
            if fit.history.pruned(epoch):
                self._forget()
            self._better(epoch, value)
        self._best = fit.best_of(self.best_epoch_) if self.restore_best else None
        self._since = -1
        if self._best is not None and self._best.params is None and self.best_epoch_ is not None:
            self._know_the_best(fit, values)

    def _know_the_best(self, fit, values):
        """Keep the weights there are now, where those of the best epoch are not known: as the best, if they have a value."""
        now = fit.epoch - 1 if fit.history.restored is None else fit.history.restored
        if self.best_epoch_ != now:
            value = float(values[now]) if now < len(values) else math.nan
            known = value == value
            self.best_, self.best_epoch_ = (value, now) if known else (-self._sign * math.inf, None)
            self._since = fit.epoch - 1
        if self.best_epoch_ is not None:
            self._best.keep(fit.model.network, now)

    def _forget(self):
        """Begin to judge anew, with a network that was pruned further: it is not to be compared with those of before."""
        self.best_, self.best_epoch_ = -self._sign * math.inf, None

    def _better(self, epoch, value):
        better = self._sign * (value - self.best_) > self.min_delta if self.best_epoch_ is not None else value == value
        if better:
            self.best_, self.best_epoch_ = float(value), epoch
        return better

    def on_epoch_end(self, fit):
        value = fit.value(self._key)
        if fit.pruning or fit.history.pruned(fit.epoch - 1):
            self._forget()
            self._since = fit.epoch - 1
        if self._better(fit.epoch - 1, value) and self.restore_best:
            self._best.keep(fit.model.network, self.best_epoch_)
        if fit.pruning:  # what is to come is what is wanted
            return None
        if self.threshold is not None and self._sign * (value - self.threshold) >= 0:
            return f"{self._key} reached {value:.6g}, the threshold being {self.threshold:.6g}"
        waited = fit.epoch - 1 - max(self._since, -1 if self.best_epoch_ is None else self.best_epoch_)
        if waited >= self.patience:
            best = "never had a number" if self.best_epoch_ is None else f"was best in epoch {self.best_epoch_ + 1}"
            return f"{self._key} {best} and has not improved for {waited} epochs (patience {self.patience})"
        return None

    def on_fit_end(self, fit):
        if self._best is not None:
            fit.restore(self._best, self._key)
        self._best = None


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
        self.seconds = check_number("seconds", seconds, "(0, inf]")

    def on_fit_begin(self, fit):
        self._until = time.perf_counter() + self.seconds

    def on_slice(self, fit, done):
        return f"the time limit of {self.seconds:g} s is over" if time.perf_counter() >= self._until else None

    def on_epoch_end(self, fit):
        return self.on_slice(fit, 1.0)
