"""Windows of a series in time and what follows them, and the series in consecutive parts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from ..specs import check_count, check_number
from .sequences import as_reals


def windows(
    series: ArrayLike,
    length: int,
    horizon: int = 1,
    step: int = 1,
    target: int | Sequence[int] | slice | None = None,
    gap: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of a series and the steps to forecast from each, without a copy.

    Window i is ``series[i * step : i * step + length]``, its targets are the `horizon` steps that follow after `gap` others.

    Parameters
    ----------
    series : array-like of shape (time,) or (time, features)
        Integers or floats in the order of time. Missing values are not looked for: networks refuse them.
    length : int
        Steps of a window, at least 1.
    horizon : int, default=1
        Steps to forecast, at least 1.
    step : int, default=1
        Steps from the start of a window to that of the next, at least 1.
    target : int, sequence of int, slice or None, default=None
        Column or columns to forecast; None takes all. Columns of a data frame go by number, ``frame.columns.get_loc(name)``.
    gap : int, default=0
        Steps between a window and its first target, at least 0.

    Returns
    -------
    X : ndarray of shape (n, length, features)
        View of the series, not to be written to; features is 1 for a series of shape (time,). n is (time - length - gap -
        horizon) // step + 1.
    y : ndarray of shape (n, horizon) or (n, horizon, features)
        View, too; of the first shape for a series of shape (time,) and for one column. Of a sequence of columns a copy is
        made, of those columns, not of their windows. Estimators of scikit-learn's kind want ``y[:, 0]`` where it is (n, 1).

    Raises
    ------
    ValueError
        If an argument is none of these, or the series is too short for a window and its targets.

    Notes
    -----
    Targets of neighboring windows overlap, so that a random split trains on what it validates with, and even one by time
    shares some at the border. `split_series` splits before windows are cut; scikit-learn's
    ``TimeSeriesSplit(gap=math.ceil(horizon / step) - 1)`` splits windows so that no step is a target on both sides.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn.preprocessing import windows
    >>> X, y = windows(np.arange(6.0), length=3, horizon=2)
    >>> X[..., 0]
    array([[0., 1., 2.],
           [1., 2., 3.]])
    >>> y
    array([[3., 4.],
           [4., 5.]])

    References
    ----------
    Takens, F. (1981). Detecting strange attractors in turbulence. Lecture Notes in Mathematics 898 (delays as coordinates).
    """
    values = as_series(series)
    length, horizon, step = (check_count(n, v) for n, v in (("length", length), ("horizon", horizon), ("step", step)))
    ahead = length + check_count("gap", gap, 0)
    if len(values) < ahead + horizon:
        raise ValueError(
            f"series must have at least {ahead + horizon} steps for length={length}, gap={gap} and horizon={horizon}, got "
            f"{len(values)}"
        )
    table = values.reshape(len(values), -1)
    targets = values if target is None else columns(table, target)
    return cut(table[: len(table) - horizon - ahead + length], length, step), cut(targets[ahead:], horizon, step)


def cut(values, length, step):
    """View (n, length, ...) of an array (time, ...)."""
    return np.moveaxis(sliding_window_view(values, length, axis=0), -1, 1)[::step]


def columns(table, target):
    """Columns of an array (time, features): (time,) for an int, otherwise (time, columns)."""
    try:
        found = np.arange(table.shape[1])[None][:, target]
        good = found.size and found.ndim < 3 and np.asarray(target).dtype.kind in "iuO"  # O: a slice
    except (IndexError, TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"target must be columns of the series, 0 to {table.shape[1] - 1}, or None for all, got {target!r}")
    return table[:, target]


def as_series(series):
    """The series as an array of numbers; ValueError unless it has shape (time,) or (time, features)."""
    values = as_reals(series, "series")
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(f"series must have shape (time,) or (time, features), none of them 0, got {values.shape}")
    return values


def split_series(series: Any, sizes: Sequence[float], length: int = 0, gap: int = 0) -> tuple:
    """Consecutive parts of a series, the first to train on, say, and those that follow to validate and test with.

    Each part but the first begins ``length + gap`` steps early, with the end of the part before: so that the first target of
    its `windows` is the first step of its own. Windows look back into the part before, targets of two parts never are the
    same step.

    Parameters
    ----------
    series : array-like of shape (time,) or (time, features), or pandas Series or DataFrame
        In the order of time.
    sizes : sequence of int or of float
        Steps of each part, at least 1 each, or their shares of the series, in (0, 1]. Together they may be less than the
        series; what is left over is its end.
    length, gap : int, default=0
        Those of the `windows` that will be cut. With 0 and 0 parts do not overlap at all.

    Returns
    -------
    tuple of ndarray, or of Series or DataFrame
        The parts, of ``sizes[i] + length + gap`` steps (the first: of ``sizes[0]``); views where the series is an array. A
        scaler should see the first only: ``scaler.fit(parts[0])``.

    Raises
    ------
    ValueError
        If an argument is none of these, or the series is too short for the parts.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn.preprocessing import split_series, windows
    >>> train, test = split_series(np.arange(10), (0.7, 0.3), length=2)
    >>> train, test
    (array([0, 1, 2, 3, 4, 5, 6]), array([5, 6, 7, 8, 9]))

    The usual split of the data set ETTh1, hours of 12, 4 and 4 months; its last hours are in no part:

    >>> month, etth1 = 30 * 24, np.zeros((17420, 7))
    >>> parts = split_series(etth1, (12 * month, 4 * month, 4 * month), length=96)
    >>> [len(windows(part, length=96, horizon=24)[0]) for part in parts]
    [8521, 2857, 2857]

    References
    ----------
    Zhou, H. et al. (2021). Informer: Beyond efficient transformer for long sequence time-series forecasting. AAAI.
    arXiv:2012.07436 (ETTh1 and its split).
    """
    rows = series.iloc if hasattr(series, "iloc") else as_series(series)
    early = check_count("length", length, 0) + check_count("gap", gap, 0)
    ends = np.cumsum(check_sizes(sizes, len(series)))
    if early > ends[0] and len(ends) > 1:
        raise ValueError(f"length + gap must be at most the {ends[0]} steps of the first part, got {early}; enlarge it")
    starts = [0, *(ends[:-1] - early)]
    return tuple(rows[start:end] for start, end in zip(starts, ends, strict=True))


def check_sizes(sizes, time):
    """Steps of each part of a series of `time` steps; ValueError unless `sizes` are such, or shares, that fit into it."""
    if not isinstance(sizes, (Sequence, np.ndarray)) or isinstance(sizes, str) or not len(sizes):
        raise ValueError(f"sizes must be a sequence of steps or shares, one for each part, got {sizes!r}")
    if any(isinstance(size, (float, np.floating)) for size in sizes):
        shares = np.cumsum([check_number(f"sizes[{i}]", size, "(0, 1]") for i, size in enumerate(sizes)])
        # of the sums, so that shares of 1 in all leave no step; of 0.7 + 0.2 + 0.1, say, which is 0.9999999999999999
        steps = np.diff(np.rint(shares * time).astype(np.int64), prepend=0)
        if not steps.all():
            raise ValueError(f"sizes must leave each part at least one of the {time} steps of the series, got {sizes}")
    else:
        steps = np.array([check_count(f"sizes[{i}]", size) for i, size in enumerate(sizes)])
    if steps.sum() > time:
        raise ValueError(f"sizes must be at most the {time} steps of the series together, got {sizes}, {steps.sum()} steps")
    return steps
