"""Estimators for tables as ONNX models, beside themselves: all kinds of columns, with gaps and what is new."""

import numpy as np
import pandas as pd
import pytest
from onnx_tables import ABSENT, CATEGORIES, feeds, frame

from fastdnn import TabularClassifier, TabularRegressor

runs, exporting, _ = map(pytest.importorskip, ("onnx_runs", "fastdnn.onnx", "onnxruntime"))
dates = pytest.importorskip("fastdnn.onnx.dates")
to_onnx = exporting.to_onnx
TABLE, Y = frame(700)
OTHER, _ = frame(600, 5, new=True)  # with categories that fit has not seen


def fitted(cls, y, table=TABLE, **settings):
    usual = {"preset": "balanced", "epochs": 8, "n_models": 2, "random_state": 0}
    if table is TABLE:
        usual["categorical_features"] = CATEGORIES
    return cls(**usual | settings).fit(table, y)


def check(estimator, fed, table, **options):
    """Compare the export with the estimator; fed : function of the export that gives its inputs."""
    exported = to_onnx(estimator, **options)
    found = runs.runners(exported)
    assert len(found) == 2
    for run in found:
        *label, theirs = run(exported, fed(exported))
        ours = estimator.predict_proba(table) if label else estimator.predict(table).reshape(len(table), -1)
        assert theirs.dtype == np.float64
        assert theirs.shape == ours.shape
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)
        if label:
            np.testing.assert_array_equal(label[0], estimator.predict(table))
    return exported


# ---------------------------------------------------------------- all kinds of columns


TARGETS = {
    "strings": (TabularClassifier, np.where(np.median(Y) < Y, "high", "low"), {}),
    "classes": (TabularClassifier, np.digitize(Y, [2, 4]) - 5, {"preset": "fast"}),
    "labels": (TabularClassifier, np.stack([Y > 3, Y > 4, Y > 5], axis=1).astype(int), {}),
    "numbers": (TabularRegressor, Y, {}),
    "logarithms": (TabularRegressor, np.exp(Y), {"target_transform": "log"}),
    "several numbers": (TabularRegressor, np.stack([Y, Y**2], axis=1), {"n_bins": 0}),
    "quantiles": (TabularRegressor, Y, {"quantiles": (0.9, 0.1, 0.5)}),
    "a quantile": (TabularRegressor, Y, {"quantiles": 0.3, "preset": "fast"}),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_tables_with_columns_of_all_kinds(kind):
    cls, y, settings = TARGETS[kind]
    estimator = fitted(cls, y, **settings)
    assert len(set(estimator._reader.kinds_)) == 8
    exported = check(estimator, lambda exported: feeds(OTHER, exported), OTHER)
    assert [x.name for x in exported.graph.input] == [name for name in TABLE.columns if name != "nothing"]
    names = ["label_1", "probabilities"] if cls is TabularClassifier else ["variable"]  # there is a column "label"
    assert [x.name for x in exported.graph.output] == names


def test_inputs_say_what_they_take():
    exported = to_onnx(fitted(TabularRegressor, Y, preset="fast", epochs=1))
    said = {x.name: x.doc_string for x in exported.graph.input}
    assert said["size"] == "number; NaN where missing"
    assert said["city"] == "category, string: 'Lima', 'Oslo', 'Rome'; any other where missing"
    assert said["zip"].startswith("category, integer: 100, 101, 102, 103, 104, 105 and 14 more; any other")
    assert said["half"] == "category, number: 0.5, 1.0, 1.5; NaN where missing"
    assert said["zoned"] == f"nanoseconds since 1970 by the clocks of Europe/Berlin; {ABSENT} where missing"
    types = [x.type.tensor_type.elem_type for x in exported.graph.input]
    assert types == [11, 11, 11, 8, 8, 7, 7, 8, 7, 11, 8, 7, 7, 7, 7, 7, 11]


def test_everything_missing():
    estimator = fitted(TabularClassifier, Y > 3, preset="fast")
    nothing = OTHER.assign(**dict.fromkeys(OTHER))
    absent = {11: np.full((600, 1), np.nan), 8: np.full((600, 1), "", object), 7: np.full((600, 1), ABSENT)}
    check(estimator, lambda exported: {x.name: absent[x.type.tensor_type.elem_type] for x in exported.graph.input}, nothing)


def test_few_rows_and_one_class():
    table = pd.DataFrame({"a": [1.0, 2.0, None, 4.0] * 3, "b": list("xyzx") * 3})
    for y in ([0, 1, 0, 1] * 3, ["same"] * 12):
        check(fitted(TabularClassifier, y, table), lambda exported: feeds(table, exported), table)


def test_other_frames():
    polars = pytest.importorskip("polars")
    columns = {"a": [1.0, 2.0, None, 4.0], "b": ["x", "y", "z", None], "c": [True, False, None, True]}
    table = polars.DataFrame({name: values * 20 for name, values in columns.items()})
    estimator = fitted(TabularClassifier, [0, 1, 0, 1] * 20, table)
    check(estimator, lambda exported: feeds(table.to_pandas(), exported), table)


# ---------------------------------------------------------------- arrays


def numbers(n, seed=0):
    rng = np.random.default_rng(seed)
    table = rng.lognormal(0, 2, (n, 5))
    table[:, 3] = rng.integers(0, 4, n)
    table[:, 4] = rng.integers(0, 20, n)
    return np.where(rng.random((n, 5)) < 0.05, np.nan, table)


def test_numbers_are_one_input():
    table, more = numbers(600), numbers(600, 1)
    y = np.nan_to_num(table[:, 0]) > 1
    for categories in (None, [3, 4]):
        estimator = fitted(TabularClassifier, y, table, preset="fast", categorical_features=categories)
        exported = check(estimator, lambda exported: {"X": more}, more, columns=False)
        assert [x.name for x in exported.graph.input] == ["X"]
        columns = {f"x{i}": more[:, i : i + 1] for i in range(5)}
        check(estimator, lambda exported, columns=columns: columns, more, columns=True)
    assert [x.name for x in to_onnx(fitted(TabularClassifier, y, table, preset="fast", epochs=1)).graph.input] == ["X"]


def test_columns_that_are_no_numbers_cannot_be_one_input():
    estimator = fitted(TabularRegressor, Y, preset="fast", epochs=1)
    with pytest.raises(ValueError, match="column 'city' holds categories that are strings, which are not in an array"):
        to_onnx(estimator, columns=False)
    only_dates = fitted(TabularRegressor, Y, TABLE[["size", "day"]], preset="fast", epochs=1)
    with pytest.raises(ValueError, match="column 'day' holds dates, which are not in an array of floats: let each"):
        to_onnx(only_dates, columns=False)


def test_categories_that_onnx_has_not():
    table = pd.DataFrame({"key": [2**64, 2**64 + 1, 3, 0.5] * 20, "a": np.arange(80.0)}, dtype=object).astype({"a": float})
    estimator = fitted(TabularRegressor, np.arange(80.0), table, categorical_features=["key"], preset="fast", epochs=1)
    with pytest.raises(ValueError, match="column 'key' has categories that are neither integers of 64 bits nor float64"):
        to_onnx(estimator)


# ---------------------------------------------------------------- dates


def test_calendar_of_every_day_that_nanoseconds_reach():
    days = pd.date_range("1677-09-22", "2262-04-11", freq="D")
    moments = pd.Series(days + pd.to_timedelta(np.random.default_rng(0).integers(0, 86_400, len(days)), unit="s"))
    features = ["year", "month", "day", "weekday", "dayofyear", "hour", "minute", "days"]
    graph = exporting.Graph()
    x = graph.add_input("x", ("n", 1), np.int64)
    graph.add_output("y", dates.calendar_nodes(graph, x, features), ("n", 8), np.float64)
    nanoseconds = np.append(moments.astype("datetime64[ns]").to_numpy().view(np.int64), ABSENT)[:, None]
    exported = graph.model("calendar")
    for run in runs.runners(exported):
        (found,) = run(exported, {"x": nanoseconds})
        assert np.isnan(found[-1]).all()
        for feature, column in zip(features[:-1], found[:-1].T, strict=False):
            name = {"weekday": "day_of_week", "dayofyear": "day_of_year"}.get(feature, feature)
            np.testing.assert_array_equal(column, getattr(moments.dt, name))
        np.testing.assert_array_equal(found[:-1, -1], nanoseconds[:-1, 0] / (86_400 * 10**9))
