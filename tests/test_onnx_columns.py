"""Pipelines on frames as ONNX models: columns of every type, in any order, and under any name."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from fastdnn import MLPClassifier, MLPRegressor

pd, runs = pytest.importorskip("pandas"), pytest.importorskip("onnx_runs")
pytest.importorskip("skl2onnx")
to_onnx = pytest.importorskip("fastdnn.onnx").to_onnx
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 90
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame({
    "rooms": RNG.integers(0, 9, N),
    "pay": RNG.random(N) * 100 + 2000,
    "new": RNG.random(N) < 0.5,
    "area": RNG.random(N).astype("float32"),
    "age": np.where(RNG.random(N) < 0.2, np.nan, RNG.random(N)),
    "city": RNG.choice(["Oslo", "Rome"], N),
    "code": RNG.integers(-1, 4, N),
    "seconds": 1_700_000_000 + RNG.integers(0, 1000, N),
})  # fmt: skip
Y = ((TABLE["pay"] > 2050) ^ TABLE["new"]).to_numpy(int)
TYPES = {1: np.float32, 7: np.int64, 8: object, 11: np.float64}


def check(model, frame, exported):
    """The probabilities, or the numbers, are those of the model."""
    inputs = {x.name: TYPES[x.type.tensor_type.elem_type] for x in exported.graph.input}
    assert list(inputs) == list(frame.columns)
    feeds = {name: frame[[name]].to_numpy(dtype) for name, dtype in inputs.items()}
    expected = model.predict_proba(frame) if hasattr(model, "predict_proba") else model.predict(frame)
    found = runs.in_onnxruntime(exported, feeds)[-1]
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-5)


def net():
    return MLPClassifier((8,), max_iter=3, random_state=0)


SCALERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler(clip=True),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(with_centering=False),
    RobustScaler(with_scaling=False),
]


@pytest.mark.parametrize("scaler", SCALERS, ids=repr)
def test_scalers_take_columns_of_any_types(scaler):
    for columns in (["rooms", "pay"], ["new", "area", "pay"], ["area"]):
        for first in (scaler, make_column_transformer((scaler, columns), (OneHotEncoder(sparse_output=False), ["rooms"]))):
            frame = TABLE[columns] if first is scaler else TABLE
            model = make_pipeline(first, MinMaxScaler(), net()).fit(frame, Y)
            check(model, frame, to_onnx(model, X=frame))


@pytest.mark.parametrize("columns", list(itertools.permutations(["rooms", "pay", "new"])), ids=str)
def test_the_order_of_columns_of_other_types(columns):
    parts = make_column_transformer((StandardScaler(), list(columns)), (OneHotEncoder(), ["city", "new"]))
    model = make_pipeline(parts, net()).fit(TABLE, Y)
    check(model, TABLE, to_onnx(model, X=TABLE))


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_numbers_that_are_large_beside_their_spread(dtype):
    frame = TABLE[["seconds", "rooms"]].astype(dtype)
    model = make_pipeline(StandardScaler(), net()).fit(frame, (TABLE["seconds"] % 1000 > 500).to_numpy())
    check(model, frame, to_onnx(model, X=frame))


@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder(), StandardScaler(), "passthrough"], ids=str)
def test_booleans(encoder):
    model = make_pipeline(make_column_transformer((encoder, ["new"])), net()).fit(TABLE, Y)
    exported = to_onnx(model, X=TABLE)
    check(model, TABLE, exported)
    assert exported.graph.input[2].type.tensor_type.elem_type == 7  # int64


IMPUTERS = [
    (SimpleImputer(), ["rooms", "age"]),
    (SimpleImputer(strategy="median"), ["age", "new", "area"][::2]),
    (SimpleImputer(), ["age", "rooms"]),
    (SimpleImputer(), ["rooms", "code"]),
    (SimpleImputer(missing_values=-1), ["code"]),
    (SimpleImputer(missing_values=-1, strategy="most_frequent"), ["code", "rooms"]),
    (SimpleImputer(missing_values=-1, strategy="constant", fill_value=7), ["code"]),
    (SimpleImputer(strategy="constant", fill_value=0.5), ["age", "pay"]),
    (SimpleImputer(strategy="most_frequent"), ["rooms"]),
]


@pytest.mark.parametrize(("imputer", "columns"), IMPUTERS, ids=str)
def test_imputers_take_columns_of_any_types(imputer, columns):
    ends = [StandardScaler()]
    if TABLE[columns].dtypes.map(lambda t: t.kind == "i").all() and imputer.strategy in ("most_frequent", "constant"):
        ends.append(OneHotEncoder())  # of what stays integers
    for end in ends:
        parts = make_column_transformer((make_pipeline(imputer, end), columns), (StandardScaler(), ["pay"]))
        model = make_pipeline(parts, net()).fit(TABLE, Y)
        check(model, TABLE, to_onnx(model, X=TABLE))
    bare = make_pipeline(imputer, StandardScaler(), net()).fit(TABLE[columns], Y)
    check(bare, TABLE[columns], to_onnx(bare, X=TABLE[columns]))


ENSEMBLES = [
    BaggingClassifier(net(), n_estimators=2, random_state=0),
    CalibratedClassifierCV(net(), cv=2),
    StackingClassifier([("a", net()), ("b", LogisticRegression())], cv=2),
    OneVsRestClassifier(net()),
    make_pipeline(FeatureUnion([("s", StandardScaler()), ("p", PCA(1))]), net()),
    make_pipeline(Normalizer(), net()),
]


@pytest.mark.parametrize("columns", [["rooms", "pay"], ["pay", "rooms"], ["area", "pay"], ["pay", "seconds"]], ids=str)
@pytest.mark.parametrize("model", ENSEMBLES, ids=lambda model: type(model).__name__)
def test_estimators_that_take_one_array_get_it_of_the_columns(model, columns):
    frame = TABLE[columns]
    model = clone(model).fit(frame, Y)
    check(model, frame, to_onnx(model, X=frame))


def test_what_searches_and_target_scaling_hold_unfitted():
    parts = make_column_transformer((StandardScaler(), ["rooms", "pay"]), (OneHotEncoder(), ["city"]))
    model = GridSearchCV(make_pipeline(parts, net()), {"mlpclassifier__alpha": [1e-4, 1e-2]}, cv=2).fit(TABLE, Y)
    check(model, TABLE, to_onnx(model, X=TABLE))
    regressor = make_pipeline(parts, MLPRegressor(hidden_layer_sizes=(8,), max_iter=3, random_state=0))
    model = TransformedTargetRegressor(regressor, transformer=StandardScaler()).fit(TABLE, TABLE["pay"])
    exported = to_onnx(model, X=TABLE)
    feeds = {x.name: TABLE[[x.name]].to_numpy(TYPES[x.type.tensor_type.elem_type]) for x in exported.graph.input}
    np.testing.assert_allclose(runs.in_onnxruntime(exported, feeds)[0].ravel(), model.predict(TABLE), rtol=1e-6)


@pytest.mark.parametrize("names", [["a b", "a_b", "größe", "1st", "x/y-z.w"], ["input", "variable", "X", "N0", "label2"]])
def test_inputs_have_the_names_of_the_columns(names):
    frame = TABLE[["rooms", "pay", "new", "area", "seconds"]].set_axis(names, axis=1)
    model = make_pipeline(StandardScaler(), net()).fit(frame, Y)
    check(model, frame, to_onnx(model, X=frame))


def test_isotonic_calibration_which_would_be_another_one_is_refused():
    model = make_pipeline(StandardScaler(), CalibratedClassifierCV(net(), method="isotonic", cv=2))
    with pytest.raises(ValueError, match="must have method='sigmoid' for ONNX, got 'isotonic'"):
        to_onnx(model.fit(TABLE[["rooms", "pay"]], Y), X=TABLE[["rooms", "pay"]])


def test_a_column_with_the_name_of_an_output():
    frame = TABLE[["rooms", "pay", "new"]].set_axis(["label", "a b", "fastdnn_columns"], axis=1)
    model = make_pipeline(StandardScaler(), net()).fit(frame, Y)
    assert [x.name for x in to_onnx(model, X=frame).graph.input] == ["label1", "a b", "fastdnn_columns1"]
    parts = make_column_transformer((StandardScaler(), ["label", "a b"]))
    model = make_pipeline(parts, net()).fit(frame, Y)
    assert [x.name for x in to_onnx(model, X=frame).graph.input] == ["label1", "a b", "fastdnn_columns"]


def test_frames_whose_columns_have_numbers_are_arrays():
    frame = TABLE[["rooms", "pay"]].set_axis([0, 1], axis=1)
    model = make_pipeline(StandardScaler(), net()).fit(frame, Y)
    found = runs.in_onnxruntime(to_onnx(model, X=frame), {"X": frame.to_numpy(float)})[1]
    np.testing.assert_allclose(found, model.predict_proba(frame), atol=1e-5)
