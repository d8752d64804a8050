"""Callback that saves the model while it is being trained."""

import math
import os
import string
import time

import numpy as np

from ..scoring import check_mode
from ..specs import check_count, check_number, check_path
from .base import Callback


class ModelCheckpoint(Callback):
    """Save the model after epochs, with all that is needed to go on (`Model.load`, then ``fit(..., resume=True)``).

    A file is written beside its final name and renamed when it is whole: a process killed at any moment leaves the last
    whole checkpoint. It holds the epoch as it was; where `EarlyStopping` keeps the weights of the best one, they are in it
    too, and `Model.restore_best` puts them in place.

    Parameters
    ----------
    path : str or path-like
        The file. Its name may contain "{epoch}" (from 1 on) and keys of the history, "best-{epoch:03d}-{val_loss:.3f}.fdnn";
        its folder must exist. Fits at the same time, in a grid search, say, need paths of their own.
    monitor : str or None, default=None
        Key of the history by which the best are chosen; None is "val_loss" where there is validation data, otherwise
        "loss".
    best_only : bool, default=True
        Whether to save only what is among the `keep` best so far, those of a resumed fit included. Otherwise the most
        recent are kept, the last epoch of the fit among them whatever `every` is: what one resumes from.
    keep : int, default=1
        Number of files that stay; more than 1 needs "{epoch}" in the path. Files of earlier runs are left alone.
    every : int, default=1
        Look only after every so many epochs.
    mode : {"auto", "min", "max"}, default="auto"
        Whether the smallest or the largest value is the best. "auto" takes the smallest of losses and errors, by the last
        part of the key, and the largest of scores; see `fastdnn.history.History.best`.
    seconds : float or None, default=None
        With ``best_only=False``, for streams: save within an epoch, too, whenever so many seconds have passed, between two
        turns of the shuffle buffer, under the name of the epoch that is under way. ``fit(stream, resume=True)`` goes on
        there, and ends with the same bits.

    Attributes
    ----------
    saved_ : list of (float, str)
        Value and path of what is kept, the best (or most recent) last.

    Examples
    --------
    >>> from fastdnn.callbacks import ModelCheckpoint
    >>> ModelCheckpoint("best-{epoch}.fdnn", monitor="val_accuracy", keep=3)
    ModelCheckpoint(path='best-{epoch}.fdnn', monitor='val_accuracy', keep=3)
    """

    watches = True
    comes_last = True  # so that the file has what the others have found, and the reason why the fit ended

    def __init__(self, path, monitor=None, best_only=True, keep=1, every=1, mode="auto", seconds=None):
        self.path, self.monitor, self.best_only = check_path("path", path), monitor, bool(best_only)
        self.keep, self.every = check_count("keep", keep), check_count("every", every)
        self.mode = check_mode(mode)
        self.seconds = None if seconds is None else check_number("seconds", seconds, "[0, inf)")
        if self.best_only and self.seconds is not None:
            raise ValueError("seconds needs best_only=False: within an epoch nobody knows how good it will be")
        if self.keep > 1 and "epoch" not in self._fields:
            raise ValueError(f"path must contain {{epoch}} to keep {self.keep} files, got {self.path!r}")

    @property
    def _fields(self):
        """Names in the braces of the path."""
        return [name for _, name, _, _ in string.Formatter().parse(self.path) if name is not None]

    def check(self, fit):
        if self.best_only:
            fit.monitored(self.monitor)
        for name in self._fields:
            if name != "epoch":
                fit.monitored(name, "a field of path")
        folder = os.path.dirname(os.path.abspath(self.path))
        if not os.path.isdir(folder) or os.path.isdir(self.path):
            raise ValueError(f"path must be a file in a folder that exists, got {self.path!r}")

    def on_fit_begin(self, fit):
        self._key = fit.monitored(self.monitor) if self.best_only else None
        self._sign = fit.sign(self._key, self.mode) if self.best_only else 1.0
        self.saved_, self._step, self._seen, self._looked = [], None, None, time.monotonic()
        for epoch in range(self.every - 1, fit.epoch, self.every):  # of a resumed fit: what is there already
            values = fit.history.get(self._key, [])
            value = self._sign * values[epoch] if epoch < len(values) else math.nan
            path = self._name(fit, epoch)
            if any(map(fit.history.pruned, range(epoch + 1 - self.every, epoch + 1))):
                self._outdate()
            if self.best_only and value == value and os.path.exists(path):
                self.saved_ = sorted([(v, p) for v, p in self.saved_ if p != path] + [(value, path)])[-self.keep :]

    def _name(self, fit, epoch):
        """Path of the file of an epoch, counted from 0."""
        values = {key: column[epoch] for key, column in fit.history.items() if len(column) > epoch}
        return self.path.format(
            epoch=epoch + 1, **{name: values.get(name, math.nan) for name in self._fields if name != "epoch"}
        )

    def _outdate(self):
        """Take what is saved for worse than what comes: the network was pruned further."""
        self.saved_ = [(-math.inf, path) for _, path in self.saved_]

    def on_turn(self, fit):
        if (
            self.seconds is not None
            and time.monotonic() - self._looked >= self.seconds
            and np.isfinite(fit.model.params).all()
        ):
            path = self._name(fit, fit.epoch)  # of the epoch, at whose end it is written over, or deleted for another
            self.saved_ = [kept for kept in self.saved_ if kept[1] != path]
            self._save(fit, fit.epoch + 0.5, path)

    def on_epoch_end(self, fit):
        self._seen = fit.model.step
        ends = not self.best_only and (fit.history.stopped is not None or fit.epoch >= fit.epochs)
        if self.best_only and (fit.pruning or fit.history.pruned(fit.epoch - 1)):
            self._outdate()
        if fit.epoch % self.every == 0 or ends:
            value = self._sign * fit.value(self._key) if self.best_only else float(fit.epoch)
            self._save(fit, value, self._name(fit, fit.epoch - 1))

    def on_fit_end(self, fit):
        # Not in the middle of an epoch: the last whole one is what a fit can go on from as if it had not ended.
        if not self.best_only and fit.epoch and self._step != fit.model.step == self._seen:
            self._save(fit, float(fit.epoch), self._name(fit, fit.epoch - 1))

    def _save(self, fit, value, path):
        """Save if the value is among the best; the first of equals stays, and what has no numbers is no checkpoint."""
        full = len(self.saved_) == self.keep
        if not value == value or (full and value <= self.saved_[0][0]) or not np.isfinite(fit.model.params).all():
            return
        fit.model.save(path)
        self._step, self._looked = fit.model.step, time.monotonic()
        self.saved_ = sorted([(v, p) for v, p in self.saved_ if p != path] + [(value, path)])
        while len(self.saved_) > self.keep:
            _, old = self.saved_.pop(0)
            if os.path.exists(old):
                os.remove(old)
