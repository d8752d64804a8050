"""Frozen estimators: what the estimator predicts, its checks, pipelines, files."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from mixed_table import fitted, frame
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from fastdnn import (
    DNNClassifier,
    DNNRegressor,
    MLPClassifier,
    MLPRegressor,
    TabularClassifier,
    TabularRegressor,
    layers,
    losses,
)
from fastdnn.frozen.estimators import FrozenClassifier, FrozenRegressor
from fastdnn.predictor import load

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 6)).astype("float32")
NUMBERS = (np.argmax(X[:, :3], axis=1)).astype(int)
INDICATORS = (X[:, :4] > 0).astype(int)
TARGETS = np.stack([X[:, 0] * 2 + 30, X[:, 1] - X[:, 2]], axis=1)
IDS = RNG.integers(1, 20, (90, 7))
IDS[:, 5:] *= RNG.integers(0, 2, (90, 1))
IMAGES = RNG.standard_normal((90, 6, 6, 2)).astype("float32")
EMBEDDING = [layers.Embedding(20, 4, mask_zero=True), layers.GRU(5)]
STEPS = [layers.Embedding(20, 4, mask_zero=True), layers.GRU(5, return_sequences=True)]
CONVOLUTION = [layers.Conv2D(4, 3), layers.BatchNorm(activation="relu"), layers.Flatten(), layers.Dropout(0.1)]
OF_STEPS = np.array(["x", "y", "z"])[IDS % 3]

CLASSIFIERS = {
    "several": (MLPClassifier((9,), max_iter=4), X, NUMBERS),
    "strings": (MLPClassifier((9, 5), max_iter=4), X, np.array(["a", "bc", "ü"])[NUMBERS]),
    "objects": (MLPClassifier((9,), max_iter=4), X, np.array(["a", "bc", "ü"], object)[NUMBERS]),
    "two": (MLPClassifier((9,), max_iter=4, activation="tanh"), X, np.array([-3, 7])[NUMBERS % 2]),
    "booleans": (MLPClassifier((9,), max_iter=4), X, NUMBERS > 0),
    "one": (MLPClassifier((9,), max_iter=4), X, NUMBERS * 0),
    "labels": (MLPClassifier((9,), max_iter=4), X, INDICATORS),
    "focal": (DNNClassifier(hidden_layer_sizes=(9,), loss="focal", epochs=3), X, NUMBERS > 0),
    "images": (DNNClassifier(CONVOLUTION, epochs=3), IMAGES, NUMBERS),
    "ids": (DNNClassifier(EMBEDDING, epochs=3), IDS, NUMBERS * 10.0),
    "steps": (DNNClassifier(STEPS, epochs=3), IDS, OF_STEPS),
    "two of steps": (DNNClassifier(STEPS, epochs=3), IDS, OF_STEPS == "x"),
}
REGRESSORS = {
    "one": (MLPRegressor(hidden_layer_sizes=(9,), max_iter=4), X, TARGETS[:, 0]),
    "several": (MLPRegressor(hidden_layer_sizes=(9,), max_iter=4), X, TARGETS),
    "poisson": (MLPRegressor("poisson", (9,), max_iter=4), X, NUMBERS),
    "quantiles": (DNNRegressor(epochs=3, loss=losses.Quantile((0.1, 0.5, 0.9))), X, TARGETS[:, 0]),
    "images": (DNNRegressor(CONVOLUTION, epochs=3), IMAGES, TARGETS),
    "steps": (DNNRegressor(STEPS, epochs=3), IDS, IDS / 20),
}


def made(cases, name):
    estimator, samples, targets = cases[name]
    return clone(estimator).set_params(random_state=0).fit(samples, targets), samples, targets


def through_file(frozen, tmp_path):
    frozen.save(tmp_path / "e.fdnn")
    return load(tmp_path / "e.fdnn")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, tmp_path):
    estimator, samples, targets = made(CLASSIFIERS, name)
    frozen = estimator.freeze()
    for each in (frozen, through_file(frozen, tmp_path), pickle.loads(pickle.dumps(frozen))):
        assert type(each) is FrozenClassifier
        np.testing.assert_allclose(each.predict_proba(samples), estimator.predict_proba(samples), atol=1e-6)
        np.testing.assert_array_equal(each.predict(samples), estimator.predict(samples))
        np.testing.assert_array_equal(each.classes_, estimator.classes_)
        assert each.classes_.dtype == estimator.classes_.dtype
        assert each.predict(samples).dtype == estimator.predict(samples).dtype
        assert each.n_features_in_ == estimator.n_features_in_
        assert hasattr(each, "decision_function") == hasattr(estimator, "decision_function")
        if hasattr(estimator, "decision_function"):
            expected = estimator.decision_function(samples)
            np.testing.assert_allclose(each.decision_function(samples), expected, atol=1e-5)
        if "steps" in name:
            with pytest.raises(ValueError, match="each step"):
                each.score(samples, targets)
        else:
            assert each.score(samples, targets) == estimator.score(samples, targets)


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors(name, tmp_path):
    estimator, samples, targets = made(REGRESSORS, name)
    frozen, expected = estimator.freeze(), estimator.predict(samples)
    for each in (frozen, through_file(frozen, tmp_path), pickle.loads(pickle.dumps(frozen))):
        assert type(each) is FrozenRegressor
        assert each.predict(samples).shape == expected.shape
        np.testing.assert_allclose(each.predict(samples), expected, rtol=1e-6, atol=1e-6)
        if name != "steps":
            assert each.score(samples, targets) == pytest.approx(estimator.score(samples, targets), abs=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "int8"])
def test_types(dtype):
    digits, numbers = load_digits(return_X_y=True)
    estimator = MLPClassifier((40,), max_iter=15, random_state=0).fit(digits, numbers)
    frozen = estimator.freeze(dtype, calibration=digits[::3].tolist() if dtype == "int8" else None)
    difference = np.abs(frozen.predict_proba(digits) - estimator.predict_proba(digits)).max()
    assert difference < {"float64": 1e-14, "float32": 1e-5, "bfloat16": 0.1, "int8": 0.1}[dtype]
    assert (frozen.predict(digits) == estimator.predict(digits)).mean() > 0.99
    assert frozen.predict_proba(digits).dtype == ("float64" if dtype == "float64" else "float32")


def test_labels_of_many_classes_come_in_pieces(monkeypatch):
    estimator, samples, _ = made(CLASSIFIERS, "strings")
    monkeypatch.setattr("fastdnn.frozen.estimators.MOST_NUMBERS", 30)
    np.testing.assert_array_equal(estimator.freeze().predict(samples), estimator.predict(samples))
    sparse = scipy.sparse.csc_matrix(samples * (samples > 1))
    np.testing.assert_array_equal(estimator.freeze().predict(sparse), estimator.predict(sparse))


# ---------------------------------------------------------------- tables


TABLES = {
    "classes": (TabularClassifier, {}, None),
    "classes of parts": (TabularClassifier, {"preset": "balanced", "n_models": 2, "epochs": 8}, None),
    "labels": (TabularClassifier, {}, lambda y: np.stack([y > 3, y > 4], axis=1).astype(int)),
    "numbers": (TabularRegressor, {}, None),
    "logarithms": (TabularRegressor, {"target_transform": "log"}, lambda y: np.exp(y)),
    "several": (TabularRegressor, {}, lambda y: np.stack([y, 2 * y], axis=1)),
    "quantiles": (TabularRegressor, {"preset": "balanced", "quantiles": (0.9, 0.1), "n_models": 2, "epochs": 8}, None),
    "median": (TabularRegressor, {"quantiles": 0.5}, None),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name, tmp_path):
    cls, settings, change = TABLES[name]
    estimator, table, y = fitted(cls, 150, **{"epochs": 8} | settings)
    if change is not None:
        estimator.fit(table, change(y))
    table, _ = frame(60, seed=1)
    table["city"] = ["Oslo", "Bergen", None] * 20
    frozen = estimator.freeze()
    for each in (frozen, through_file(frozen, tmp_path), pickle.loads(pickle.dumps(frozen))):
        if cls is TabularClassifier:
            np.testing.assert_allclose(each.predict_proba(table), estimator.predict_proba(table), atol=1e-6)
        expected = estimator.predict(table)
        assert each.predict(table).dtype == expected.dtype
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(each.predict(table), expected, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(each.predict(table), expected)
        turned = table[table.columns[::-1]]
        np.testing.assert_array_equal(each.predict(turned), each.predict(table))
        np.testing.assert_array_equal(each.predict(pl.from_pandas(table)), each.predict(table))
        assert "FrozenTable" in repr(each)
        with pytest.raises(ValueError, match="X lacks column 'city', which was there in fit"):
            each.predict(table.drop(columns="city"))


def test_tables_of_arrays_ordered_categories_and_times(tmp_path):
    n = 80
    rng = np.random.default_rng(0)
    sizes = pd.CategoricalDtype(["S", "M", "L", "XL"], ordered=True)
    table = pd.DataFrame({
        "size": pd.Series(rng.choice(["S", "M", "L"], n)).astype(sizes),
        "when": pd.date_range("2024-01-01", periods=n, freq="7h", tz="Europe/Berlin"),
        "code": rng.integers(0, 20, n),
        "long": pd.to_timedelta(rng.integers(0, 90, n), unit="h"),
        "mixed": [1 if i % 3 else "one" for i in range(n)],
    })  # fmt: skip
    y = table["code"].to_numpy() + 3.0 * table["size"].cat.codes.to_numpy()
    estimator = TabularRegressor("fast", epochs=4, random_state=0, categorical_features=["code", "mixed"]).fit(table, y)
    each = through_file(estimator.freeze(), tmp_path)
    table.loc[3, "size"], table.loc[4, "code"] = "XL", 99
    np.testing.assert_allclose(each.predict(table), estimator.predict(table), rtol=1e-6)
    numbers = rng.standard_normal((n, 3))
    estimator = TabularClassifier("fast", epochs=2, random_state=0).fit(numbers, numbers[:, 0] > 0)
    each = through_file(estimator.freeze("int8", calibration=numbers), tmp_path)
    assert np.abs(each.predict_proba(numbers) - estimator.predict_proba(numbers)).max() < 0.1
    with pytest.raises(ValueError, match="X has 2 features, but TabularClassifier is expecting 3 features"):
        each.predict(numbers[:, :2])


# ---------------------------------------------------------------- checks


NAMED = pd.DataFrame(X, columns=list("abcdef"))
BAD = {
    "columns": (X, X[:, :5]),
    "NaN": (X, np.where(X > 2, np.nan, X)),
    "infinity": (X, np.where(X > 2, np.inf, X)),
    "too large": (X, X.astype(float) * 1e300),
    "one row": (X, X[0]),
    "no rows": (X, X[:0]),
    "strings": (X, X.astype(str)),
    "texts": (X, [["a"] * 6]),
    "unequal": (X, [[1.0] * 6, [2.0] * 5]),
    "complex": (X, X * 1j),
    "four axes": (IMAGES, IMAGES[:, 0]),
    "images": (IMAGES, IMAGES * np.nan),
    "other names": (NAMED, NAMED.rename(columns={"a": "z"})),
    "another order": (NAMED, NAMED[NAMED.columns[::-1]]),
    "missing column": (NAMED, NAMED.drop(columns="b")),
    "negative ids": (IDS, -IDS),
    "large ids": (IDS, IDS + 20),
    "floats for ids": (IDS, IDS + 0.5),
    "texts for ids": (IDS, IDS.astype(str)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_samples_are_refused_as_the_estimator_refuses_them(name):
    samples, bad = BAD[name]
    net = {"i": EMBEDDING, "f": CONVOLUTION}[samples.dtype.kind] if samples is IDS or samples is IMAGES else None
    estimator = DNNClassifier(net, hidden_layer_sizes=(3,), epochs=1, random_state=0).fit(samples, NUMBERS)
    with pytest.raises((ValueError, TypeError)) as expected:
        estimator.predict(bad)
    with pytest.raises(expected.type) as found:
        estimator.freeze().predict(bad)
    assert str(found.value).replace("FrozenClassifier", "DNNClassifier") == str(expected.value)


@pytest.mark.parametrize("samples", [X.tolist(), X.astype("f8"), X.astype("f2"), (X * 9).astype("i4"), X[:, ::-1], X > 0])
def test_samples_of_other_types(samples):
    estimator, _, _ = made(CLASSIFIERS, "several")
    np.testing.assert_allclose(estimator.freeze().predict_proba(samples), estimator.predict_proba(samples), atol=1e-6)


def test_names_of_columns():
    estimator = MLPClassifier((4,), max_iter=2, random_state=0).fit(NAMED, NUMBERS)
    frozen = estimator.freeze()
    np.testing.assert_array_equal(frozen.feature_names_in_, list("abcdef"))
    np.testing.assert_array_equal(frozen.predict(NAMED), estimator.predict(NAMED))
    with pytest.warns(UserWarning, match="X does not have valid feature names, but FrozenClassifier was fitted"):
        frozen.predict(X)


def test_what_cannot_be_frozen():
    with pytest.raises(NotFittedError):
        MLPClassifier().freeze()
    with pytest.raises(NotFittedError):
        TabularRegressor().freeze()
    estimator, _, _ = made(CLASSIFIERS, "several")
    with pytest.raises(ValueError, match="dtype must be one of"):
        estimator.freeze("int4")
    with pytest.raises(ValueError, match="5 features"):
        estimator.freeze("int8", calibration=X[:, :5])
    assert not hasattr(estimator.freeze(), "decision_function")


# ---------------------------------------------------------------- scikit-learn


def test_in_pipelines():
    labels = np.array(["a", "b", "c"])[NUMBERS]
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((9,), max_iter=5, random_state=0)).fit(X, labels)
    frozen = Pipeline([*pipeline.steps[:-1], ("predict", pipeline[-1].freeze())])
    np.testing.assert_array_equal(frozen.predict(X), pipeline.predict(X))
    np.testing.assert_array_equal(frozen.classes_, ["a", "b", "c"])
    assert frozen.score(X, labels) == pipeline.score(X, labels)
    assert frozen[:-1].fit_transform(X).shape == X.shape
    assert clone(frozen)[-1] is frozen[-1] is frozen.fit(X, labels)[-1]
    assert is_classifier(frozen)
    assert "FrozenClassifier" in repr(frozen)
    assert "FrozenClassifier" in frozen._repr_html_()
    assert cross_val_score(frozen, X, labels, cv=3).shape == (3,)
    calibrated = CalibratedClassifierCV(frozen[-1], cv=3).fit(X, labels)
    assert calibrated.predict_proba(X).shape == (90, 3)


def test_kinds_of_estimators():
    classifier, *_ = made(CLASSIFIERS, "several")
    regressor, *_ = made(REGRESSORS, "several")
    assert is_classifier(classifier.freeze())
    assert is_regressor(regressor.freeze())
    assert not is_regressor(classifier.freeze())
