"""What happened in a fit, epoch by epoch."""

import math

import numpy as np

from .scoring import smaller_is_better


class History(dict):
    """dict of lists, one value an epoch, in the order in which they were first recorded.

    Keys are "loss" (the mean over the epoch, penalties included), with validation data "val_loss" and a "val_..." for each
    metric, "rate" (of the last step), "gradient_norm" (mean over the steps, before clipping, where it was computed) and
    "seconds" (of the epoch, validation included); "sparsity" where it is pruned, the part that is 0 of what may be pruned.

    Attributes
    ----------
    stopped : str or None
        Why the fit ended before its last epoch, in words; None if it did not.
    notes : list of str
        What callbacks found worth saying, as "epoch 3: ...".
    restored : int or None
        Epoch, counted from 0, whose weights were put back at the end.
    restored_by : str or None
        The key whose best epoch that is: what the `EarlyStopping` that put them back monitors, the last one of several.
    scores : list of str
        Keys that scorers gave: of these the larger value is the better one, whatever they are called.

    Examples
    --------
    >>> from fastdnn.history import History
    >>> h = History()
    >>> h.add(loss=0.5)
    >>> h.add(loss=0.25)
    >>> h["loss"]
    [0.5, 0.25]
    >>> h.best("loss")
    1
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.stopped, self.notes, self.restored, self.restored_by, self.scores = None, [], None, None, []

    def __setstate__(self, state):
        self.__dict__.update({"restored_by": None, "scores": []} | state)  # pickles of before have not all

    def copy(self):
        """Another one with lists of its own."""
        new = History({key: list(values) for key, values in self.items()})
        new.__dict__.update({name: list(v) if isinstance(v, list) else v for name, v in vars(self).items()})
        return new

    __copy__ = copy

    def pruned(self, epoch):
        """Whether the network was pruned further in that epoch, so that those before cannot be compared with it."""
        parts = self.get("sparsity", [])
        return 0 < epoch < len(parts) and parts[epoch] > parts[epoch - 1]

    def add(self, **values):
        """Append a value to each named list."""
        for name, value in values.items():
            self.setdefault(name, []).append(value)

    def record(self, epoch, values):
        """Append the values of an epoch, counted from 0; lists that lack earlier epochs are filled up with NaN."""
        for name, value in values.items():
            column = self.setdefault(name, [])
            column.extend([math.nan] * (epoch - len(column)))
            column.append(value)

    @property
    def history(self):
        """Itself, as Keras names it."""
        return self

    def best(self, key, mode="auto"):
        """Number of the epoch, from 0 on, with the best value of `key`; the first of equals.

        Parameters
        ----------
        key : str
            One of the keys.
        mode : {"auto", "min", "max"}, default="auto"
            Whether the smallest or the largest value is the best. "auto" takes the smallest where the last part of the key
            is loss, error, rmse, mse, mae, mape, deviance, perplexity, nll, brier, norm, seconds or the like
            (`fastdnn.scoring.SMALLER_IS_BETTER`), and the largest otherwise, with "neg" in the key, and of all scorers'.

        Raises
        ------
        KeyError
            If there is no such key, or no number in its list.
        ValueError
            If the mode is another one.
        """
        values = np.array(self[key], float)
        if np.isnan(values).all():
            raise KeyError(f"the history of {key!r} has no number in it")
        return int(np.nanargmin(values) if smaller_is_better(key, mode, self.scores) else np.nanargmax(values))

    def to_frame(self):
        """A pandas DataFrame, one row an epoch, the index counting from 1. ImportError without pandas."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas") from error
        n = max(map(len, self.values()), default=0)
        frame = {key: values + [np.nan] * (n - len(values)) for key, values in self.items()}
        return pd.DataFrame(frame, index=pd.RangeIndex(1, n + 1, name="epoch"))

    def plot(self, ax=None, keys=None):
        """Draw the curves; see `fastdnn.TrainingCurveDisplay`, which is returned. ImportError without matplotlib."""
        from .displays import TrainingCurveDisplay

        return TrainingCurveDisplay(self).plot(ax=ax, keys=keys)
