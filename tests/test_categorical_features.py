"""Columns of tables that the user names as categories, whatever they hold."""

import numpy as np
import pandas as pd
import pytest
from table_makes import NAN, message, read

from fastdnn.preprocessing.table import TableReader


@pytest.mark.parametrize("many", [1, 40])
def test_a_named_column_may_mix(many):
    values = np.array([10, "a", 2.0, None, "10", True, 2.5], object)
    reader, _, codes = read(np.tile(values, many), ["a"])
    assert reader.kinds_ == ["category"]
    assert reader.categories_ == [["1", "10", "2", "2.5", "a"]]
    assert codes.ravel().tolist() == [2, 5, 3, 0, 2, 1, 4] * many
    assert reader.transform(pd.DataFrame({"a": [10.0, 2, NAN, 1] * many}))[1].ravel().tolist() == [2, 3, 0, 1] * many
    with message("column 'a' holds a list in row 1, [1]", TypeError):
        read(np.array([1, [1], 2], object), ["a"])


def test_named_dates_are_categories_by_their_texts():
    dates = pd.to_datetime(["2020-01-02", "2020-01-01", None])
    reader, _, codes = read(dates, ["a"])
    assert codes.ravel().tolist() == [2, 1, 0]
    assert reader.transform(pd.DataFrame({"a": dates.repeat(50)}))[1].ravel().tolist() == [2] * 50 + [1] * 50 + [0] * 50
    reader = TableReader([0]).fit(np.array(["2020-01-02", "2020-01-01"], "M8[ns]")[:, None])
    assert reader.categories_ == [["2020-01-01 00:00:00", "2020-01-02 00:00:00"]]
    reader, _, codes = read(pd.to_timedelta([3, 1, 3], "D"), ["a"])
    assert codes.ravel().tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("from_dtype", "c"),
        (None, "c"),
        ([], "c"),
        (np.array([]), "c"),
        (["a"], "ac"),
        (("a", "c"), "ac"),
        (pd.Index(["b"]), "bc"),
        ([0], "ac"),
        (np.array([0, 1]), "abc"),
        ([True, False, False], "ac"),
        (np.array([False, True, True]), "bc"),
        (np.array(["a", "b"], object), "abc"),
    ],
)
def test_categorical_features(features, expected):
    frame = pd.DataFrame({"a": [1, 2], "b": [1.5, 2.5], "c": ["x", "y"]})
    reader = TableReader(features).fit(frame)
    assert reader.category_names_ == list(expected)
    assert reader.number_names_ == [name for name in "abc" if name not in expected]
    if features is None or not any(isinstance(feature, str) for feature in features):
        assert TableReader(features).fit(frame.to_numpy()).category_names_ == [f"x{'abc'.index(name)}" for name in expected]


@pytest.mark.parametrize(
    ("features", "text"),
    [
        (
            "a",
            "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, got 'a'; put a",
        ),
        (
            np.array("a"),
            "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, got a",
        ),
        (3, "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, got 3"),
        ([1.5], "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, got [1.5]"),
        (
            ["a", 0],
            "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, got ['a', 0]",
        ),
        (["d"], "categorical_features must hold names of columns of X, got 'd'; X has columns 'a', 'b', 'c'"),
        ([3], "categorical_features must hold positions of 0 to 2, got 3"),
        ([-1], "categorical_features must hold positions of 0 to 2, got -1"),
        ([True], "categorical_features must have a boolean for each of the 3 columns of X, got 1"),
    ],
)
def test_categorical_features_that_are_none(features, text):
    with message(text):
        TableReader(features).fit(pd.DataFrame({"a": [1], "b": [1], "c": [1]}))
    with message("categorical_features must hold positions or booleans for an array, which has no names, got ['x0']"):
        TableReader(["x0"]).fit(np.ones((2, 2)))
