"""Callbacks that change the learning rate."""

from ..schedules import ReduceOnPlateau, get_schedule
from ..scoring import check_mode
from ..specs import check_count, check_number
from .base import Callback


class ReduceLROnPlateau(Callback):
    """Multiply the learning rate by a factor whenever a value has stopped improving.

    The schedule `fastdnn.schedules.ReduceOnPlateau` does so by the loss; this works on top of any rate or schedule and by
    any key of the history.

    Parameters
    ----------
    monitor : str or None, default=None
        Key of the history; None is "val_loss" where there is validation data, otherwise "loss".
    factor : float, default=0.1
        In (0, 1).
    patience : int, default=10
        Epochs without improvement that are borne, >= 0.
    min_delta : float, default=1e-4
        Part of the best value by which it must be surpassed to count, in [0, 1].
    min_rate : float, default=0.0
        Never below it, >= 0; compared with the rate (the schedule's first or highest) that all else is relative to.
    mode : {"auto", "min", "max"}, default="auto"
        Whether smaller or larger values are better. "auto" takes the smaller ones of losses and errors, by the last part of
        the key, and the larger ones of scores; see `fastdnn.history.History.best`.

    Raises
    ------
    ValueError
        When a fit begins whose steps have no rate: L-BFGS finds their length by a line search.

    Examples
    --------
    >>> from fastdnn.callbacks import ReduceLROnPlateau
    >>> ReduceLROnPlateau("val_accuracy", factor=0.5)
    ReduceLROnPlateau(monitor='val_accuracy', factor=0.5)

    References
    ----------
    Keras's callback and PyTorch's scheduler of the same name.
    """

    watches = True

    def __init__(self, monitor=None, factor=0.1, patience=10, min_delta=1e-4, min_rate=0.0, mode="auto"):
        self.monitor, self.factor = monitor, check_number("factor", factor, "(0, 1)")
        self.patience, self.min_delta = check_count("patience", patience, 0), check_number("min_delta", min_delta, "[0, 1]")
        self.min_rate = check_number("min_rate", min_rate, "[0, inf]")
        self.mode = check_mode(mode)

    def check(self, fit):
        fit.monitored(self.monitor)
        if not fit.has_rate:
            raise ValueError(
                "ReduceLROnPlateau needs an optimizer with a learning rate, and L-BFGS has none; leave it out of callbacks, "
                "or take AdamW or SGD"
            )

    def on_fit_begin(self, fit):
        self._key = fit.monitored(self.monitor)
        self._sign = fit.sign(self._key, self.mode)
        rate = get_schedule(fit.model.optimizer.learning_rate).rate
        self._rule = ReduceOnPlateau(rate, self.factor, self.patience, self.min_delta, min(self.min_rate, rate))
        self._state = {}
        for value in fit.history.get(self._key, []):  # of a resumed fit, whose rate has been reduced already
            self._observe(value)

    def _observe(self, value):
        """Take note of a value; returns the factor by which the rate is to change."""
        before = self._state.get("factor", 1.0)
        self._rule.observe(-self._sign * value, self._state)
        return self._state.get("factor", 1.0) / before

    def on_epoch_end(self, fit):
        fit.model.trained.rate_factor *= self._observe(fit.value(self._key))
