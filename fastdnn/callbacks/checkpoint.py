"""Callback that saves the model while it is being trained."""

import os
import string

from ..scoring import SMALLER_IS_BETTER
from ..specs import check_count
from .base import Callback


class ModelCheckpoint(Callback):
    """Save the model after epochs, with all that is needed to go on (`Model.load`, then ``fit(..., resume=True)``).

    A file is written beside its final name and renamed when it is whole: a process killed at any moment leaves the last
    whole checkpoint. It holds the epoch as it was; where `EarlyStopping` keeps the weights of the best one, they are in it
    too, and `Model.restore_best` puts them in place.

    Parameters
    ----------
    path : str or path-like
        The file. May contain "{epoch}" (from 1 on) and keys of the history, "best-{epoch:03d}-{val_loss:.3f}.fdnn"; its
        folder must exist.
    monitor : str or None, default=None
        Key of the history by which the best are chosen; None is "val_loss" where there is validation data, otherwise
        "loss".
    best_only : bool, default=True
        Whether to save only what is among the `keep` best so far. Otherwise the most recent are kept, and the state at the
        end of the fit is saved too, whatever ended it: what one resumes from.
    keep : int, default=1
        Number of files that stay; more than 1 needs "{epoch}" in the path. Files of earlier runs are left alone.
    every : int, default=1
        Look only after every so many epochs.

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

    def __init__(self, path, monitor=None, best_only=True, keep=1, every=1):
        self.path, self.monitor, self.best_only = path, monitor, bool(best_only)
        self.keep, self.every = check_count("keep", keep), check_count("every", every)
        fields = [name for _, name, _, _ in string.Formatter().parse(os.fspath(path)) if name is not None]
        if self.keep > 1 and "epoch" not in fields:
            raise ValueError(f"path must contain {{epoch}} to keep {self.keep} files, got {os.fspath(path)!r}")

    def on_fit_begin(self, fit):
        self._key = fit.monitored(self.monitor) if self.best_only else None
        self._sign = -1.0 if self._key in SMALLER_IS_BETTER else 1.0
        self.saved_, self._step = [], None
        folder = os.path.dirname(os.path.abspath(os.fspath(self.path)))
        if "{" not in folder and not os.path.isdir(folder):
            raise ValueError(f"path must be in a folder that exists, got {os.fspath(self.path)!r}")

    def on_epoch_end(self, fit):
        if fit.epoch % self.every == 0:
            self._save(fit, self._sign * fit.value(self._key) if self.best_only else float(fit.epoch))

    def on_fit_end(self, fit):
        if not self.best_only and fit.epoch and self._step != fit.model.step:
            self._save(fit, float(fit.epoch))

    def _save(self, fit, value):
        if not value == value or (len(self.saved_) == self.keep and value < self.saved_[0][0]):
            return
        if self.best_only and len(self.saved_) == self.keep and value == self.saved_[0][0]:
            return  # the first of equals stays
        values = {key: column[fit.epoch - 1] for key, column in fit.history.items() if len(column) >= fit.epoch}
        path = os.fspath(self.path).format(epoch=fit.epoch, **values)
        fit.model.save(path)
        self._step = fit.model.step
        self.saved_ = sorted([(v, p) for v, p in self.saved_ if p != path] + [(value, path)])
        while len(self.saved_) > self.keep:
            _, old = self.saved_.pop(0)
            if os.path.exists(old):
                os.remove(old)
