"""Windows of series in time, without a copy, and consecutive parts without a step in common; what is refused."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import TimeSeriesSplit

from fastdnn.preprocessing import split_series, windows


def message(text):
    return pytest.raises(ValueError, match=re.escape(text))


def by_hand(series, length, horizon, step, gap):
    """(X, y) of windows, one after the other."""
    starts = range(0, len(series) - length - gap - horizon + 1, step)
    first = length + gap
    return [series[i : i + length] for i in starts], [series[i + first : i + first + horizon] for i in starts]


@pytest.mark.parametrize(
    ("length", "horizon", "step", "gap"), [(1, 1, 1, 0), (5, 3, 1, 0), (4, 2, 3, 0), (4, 2, 3, 5), (12, 8, 7, 0)]
)
def test_windows_in_the_order_of_time(length, horizon, step, gap):
    table = np.arange(60.0).reshape(20, 3)
    X, y = windows(table, length, horizon, step, gap=gap)
    X_expected, y_expected = by_hand(table, length, horizon, step, gap)
    assert len(X) == len(y) == (20 - length - gap - horizon) // step + 1
    np.testing.assert_array_equal(X, X_expected)
    np.testing.assert_array_equal(y, y_expected)
    X_line, y_line = windows(table[:, 0], length, horizon, step, gap=gap)
    np.testing.assert_array_equal(X_line, X[..., :1])
    np.testing.assert_array_equal(y_line, y[..., 0])


def test_windows_share_memory_and_type():
    for series in (np.arange(50, dtype=np.float32).reshape(25, 2), np.arange(25), np.zeros((25, 2), order="F")):
        for target in (None, 0, slice(0, 1)):
            X, y = windows(series, 4, 2, target=target)
            assert np.shares_memory(X, series)
            assert np.shares_memory(y, series)
            assert X.dtype == y.dtype == series.dtype
            assert not X.flags.writeable


def test_windows_much_larger_than_memory():
    X, y = windows(np.zeros((300_000, 100)), 10_000, 5_000)
    assert X.shape == (285_001, 10_000, 100)  # 2 TB
    assert y.shape == (285_001, 5_000, 100)


@pytest.mark.parametrize("ids", [[16777217, 3, 2, 1], np.uint64([16777217, 3, 2, 1])])
def test_windows_of_ids_stay_integers(ids):
    X, y = windows(ids, 2)
    assert X.dtype.kind in "iu"
    assert X.tolist() == [[[16777217], [3]], [[3], [2]]]
    assert y.tolist() == [[2], [1]]


@pytest.mark.parametrize("target", [1, -1, [1], (2, 0), slice(1, None), np.array([0, 0]), range(2)])
def test_targets(target):
    table = np.arange(30).reshape(10, 3)
    _, y = windows(table, 2, 3, target=target)
    np.testing.assert_array_equal(y, by_hand(table[:, target], 2, 3, 1, 0)[1])
    np.testing.assert_array_equal(windows(pd.DataFrame(table), 2, 3, target=target)[1], y)


@pytest.mark.parametrize("target", [3, -4, [], "a", 1.0, True, [0, 3], [True, False, True], [[0, 1]], slice(9, None)])
def test_targets_that_are_no_columns(target):
    with message("target must be columns of the series, 0 to 2, or None for all, got"):
        windows(np.zeros((10, 3)), 2, target=target)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((np.zeros(6), 4, 3), "series must have at least 7 steps for length=4, gap=0 and horizon=3, got 6"),
        ((np.zeros(6), 4, 1, 1, None, 2), "series must have at least 7 steps for length=4, gap=2 and horizon=1, got 6"),
        ((np.zeros(6), 0), "length must be an integer >= 1, got 0"),
        ((np.zeros(6), 2, 0), "horizon must be an integer >= 1, got 0"),
        ((np.zeros(6), 2, 1, 0), "step must be an integer >= 1, got 0"),
        ((np.zeros(6), 2, 1, 1, None, -1), "gap must be an integer >= 0, got -1"),
        ((np.zeros(6), 2.0), "length must be an integer >= 1, got 2.0"),
        ((np.zeros((2, 2, 2)), 2), "series must have shape (time,) or (time, features)"),
        (([], 2), "series must have shape (time,) or (time, features), none of them 0, got (0,)"),
        ((["a", "b"], 1), "series must hold real numbers, got the string 'a'"),
        (([1, None], 1), "series contains missing values (None)"),
    ],
)
def test_windows_that_do_not_fit(arguments, text):
    with message(text):
        windows(*arguments)
    assert len(windows(np.zeros(7), 4, 3)[0]) == 1


@pytest.mark.parametrize(("horizon", "step"), [(1, 1), (3, 1), (4, 2), (3, 5)])
def test_scikit_learns_splits_in_time_with_a_gap(horizon, step):
    _, y = windows(np.arange(100), 5, horizon, step)
    for train, test in TimeSeriesSplit(3, gap=math.ceil(horizon / step) - 1).split(y):
        assert y[train].max() < y[test].min()
        assert step > horizon or y[train].max() + step >= y[test].min()  # no wider than needed


# ---------------------------------------------------------------- split_series


@pytest.mark.parametrize(("length", "gap", "horizon"), [(1, 0, 1), (6, 0, 4), (6, 3, 4)])
@pytest.mark.parametrize("sizes", [(50, 20, 20), (0.5, 0.3, 0.2)])
def test_targets_of_parts_follow_each_other(sizes, length, gap, horizon):
    series, seen = np.arange(100), 0
    parts = split_series(series, sizes, length, gap)
    steps = [round(100 * size) if size < 1 else size for size in sizes]
    for number, (part, size) in enumerate(zip(parts, steps, strict=True)):
        assert np.shares_memory(part, series)
        X, y = windows(part, length, horizon, gap=gap)
        assert y.min() == (seen if number else length + gap)
        assert y.max() == seen + size - 1
        assert (X.max(axis=(1, 2)) + gap < y[:, 0]).all()
        seen += size


def test_split_of_etth1():
    series, month = np.arange(17420), 30 * 24
    train, val, test = split_series(series, (12 * month, 4 * month, 4 * month), length=96)
    assert (train[0], train[-1]) == (0, 8639)  # borders of the code of Informer, data/data_loader.py
    assert (val[0], val[-1]) == (8640 - 96, 8640 + 2880 - 1)
    assert (test[0], test[-1]) == (8640 + 2880 - 96, 8640 + 5760 - 1)


def test_shares_leave_no_step_and_frames_stay_frames():
    for time in (7, 10, 99, 1001):
        parts = split_series(np.arange(time), (0.7, 0.2, 0.1))
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(time))
    frame = pd.DataFrame({"a": range(10)}, index=pd.date_range("2020", periods=10))
    train, test = split_series(frame, (0.6, 0.4), length=2)
    assert list(train["a"]) == [0, 1, 2, 3, 4, 5]
    assert list(test["a"]) == [4, 5, 6, 7, 8, 9]
    assert test.index[0] == pd.Timestamp("2020-01-05")
    assert [len(part) for part in split_series([1, 2, 3], [2])] == [2]
    assert [len(part) for part in split_series([1, 2, 3], [2, 1], length=2)] == [2, 3]  # all that the first part has


@pytest.mark.parametrize(
    ("sizes", "length", "text"),
    [
        ((6, 5), 0, "sizes must be at most the 10 steps of the series together, got (6, 5), 11 steps"),
        ((0.7, 0.4), 0, "sizes must be at most the 10 steps of the series together, got (0.7, 0.4), 11 steps"),
        ((5, 0), 0, "sizes[1] must be an integer >= 1, got 0"),
        ((0.5, 0.0), 0, "sizes[1] must be a number in (0, 1], got 0.0"),
        ((0.5, 3), 0, "sizes[1] must be a number in (0, 1], got 3"),
        ((0.9, 0.01), 0, "sizes must leave each part at least one of the 10 steps of the series, got (0.9, 0.01)"),
        ((), 0, "sizes must be a sequence of steps or shares"),
        (5, 0, "sizes must be a sequence of steps or shares"),
        ("12", 0, "sizes must be a sequence of steps or shares"),
        ((5, 5), 6, "length + gap must be at most the 5 steps of the first part, got 6"),
        ((5, 5), -1, "length must be an integer >= 0, got -1"),
    ],
)
def test_parts_that_do_not_fit(sizes, length, text):
    with message(text):
        split_series(np.arange(10), sizes, length)
