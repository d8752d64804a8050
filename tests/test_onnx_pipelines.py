"""Pipelines, unions, ensembles and searches with estimators of fastdnn in them as ONNX models, beside themselves."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier, VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, RobustScaler, StandardScaler

import fastdnn
from fastdnn import VariationalAutoencoder

runs, exporting, skl2onnx, _ = map(pytest.importorskip, ("onnx_runs", "fastdnn.onnx", "skl2onnx", "onnxruntime"))
to_onnx = exporting.to_onnx
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).standard_normal((600, 6)) * [1, 2, 3, 1, 5, 1] + [0, 1, 0, 5, 0, 0]
CLASSES = np.array(["a", "bb", "c"])[(X[:, 0] + X[:, 1] > 1).astype(int) + (X[:, 2] > 2)]
TWO = CLASSES != "a"
both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


def net(name="DNNClassifier"):
    small = {
        "MLP": {"hidden_layer_sizes": (16,), "max_iter": 8},
        "DNN": {"hidden_layer_sizes": (16,), "epochs": 8},
        "Tab": {"preset": "fast", "epochs": 6},
        "Aut": {"n_components": 3, "epochs": 3},
    }
    return getattr(fastdnn, name)(random_state=0, **small[name[:3]])


def check(model, samples, feeds, exported=None, **options):
    """Compare the export with the model, in all programs; returns the export."""
    exported = exported or to_onnx(model, **options)
    for run in (runs.in_onnxruntime, runs.in_reference):
        *label, theirs = run(exported, feeds)
        ours = getattr(model, "predict_proba" if label else "predict" if hasattr(model, "predict") else "transform")(samples)
        np.testing.assert_allclose(theirs, ours.reshape(len(theirs), -1), rtol=1e-5, atol=1e-5)
        if label:
            np.testing.assert_array_equal(label[0], model.predict(samples))
    return exported


MODELS = {
    "MLP": (lambda: make_pipeline(StandardScaler(), net("MLPClassifier")), CLASSES),
    "DNN": (lambda: make_pipeline(StandardScaler(), net()), TWO),
    "tabular": (lambda: make_pipeline(StandardScaler(), net("TabularClassifier")), CLASSES),
    "multilabel": (lambda: make_pipeline(StandardScaler(), net()), (X[:, :3] > 0).astype(int)),
    "numbers": (lambda: make_pipeline(StandardScaler(), net("MLPRegressor")), X[:, 0]),
    "several numbers": (lambda: make_pipeline(PCA(3), net("DNNRegressor")), X[:, :2]),
    "tabular numbers": (lambda: make_pipeline(StandardScaler(), net("TabularRegressor")), X[:, 0]),
    "codes": (lambda: make_pipeline(StandardScaler(), VariationalAutoencoder(2, epochs=2, random_state=0)), None),
    "union": (lambda: make_pipeline(FeatureUnion([("s", StandardScaler()), ("a", net("Autoencoder"))]), net()), CLASSES),
    "features": (lambda: make_pipeline(FeatureUnion([("s", PCA(2)), ("n", net())]), net("MLPClassifier")), CLASSES),
    "transfer": (lambda: make_pipeline(StandardScaler(), net("DNNRegressor"), LogisticRegression()), CLASSES == "c"),
    "voting": (
        lambda: VotingClassifier(
            [("a", make_pipeline(StandardScaler(), net())), ("b", net("TabularClassifier")), ("c", LogisticRegression())],
            voting="soft", flatten_transform=False,
        ),
        CLASSES,
    ),
    "voting numbers": (lambda: VotingRegressor([("a", net("MLPRegressor")), ("b", net("DNNRegressor"))]), X[:, 0]),
    "calibrated scores": (lambda: CalibratedClassifierCV(net(), cv=2), TWO.astype(int)),
    "calibrated scores of several": (lambda: CalibratedClassifierCV(net(), cv=2), CLASSES),
    "calibrated probabilities": (lambda: CalibratedClassifierCV(net("MLPClassifier"), cv=2), CLASSES),
    "stacking": (lambda: StackingClassifier([("a", net("MLPClassifier")), ("b", net())], cv=2), TWO),
    "bagging": (lambda: BaggingClassifier(net("MLPClassifier"), n_estimators=3, random_state=0), CLASSES),
    "outputs": (lambda: MultiOutputRegressor(net("MLPRegressor")), X[:, :2]),
    "search": (lambda: GridSearchCV(net("MLPClassifier"), {"alpha": [1e-3, 1e-1]}, cv=2), CLASSES),
    "search over a pipeline": (
        lambda: GridSearchCV(make_pipeline(StandardScaler(), net()), {"dnnclassifier__epochs": [2, 4]}, cv=2), CLASSES,
    ),
    "search in a pipeline": (lambda: make_pipeline(StandardScaler(), GridSearchCV(net(), {"epochs": [2, 4]}, cv=2)), CLASSES),
}  # fmt: skip


@both_types
@pytest.mark.parametrize("kind", MODELS)
def test_what_estimators_may_stand_in(kind, dtype):
    make, y = MODELS[kind]
    samples = X.astype(dtype)
    check(make().fit(samples, y), samples, {"X": samples}, X=samples[:1])


# ---------------------------------------------------------------- tables


def table(n, seed, new=False):
    """A frame with gaps, and targets; `new` has a city that others have not."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "age": rng.normal(40, 10, n),
        "pay": rng.lognormal(10, 1, n),
        "rooms": rng.integers(1, 6, n),
        "city": rng.choice(["Oslo", "Rome", "Lima"] + ["Paris"] * new, n),
        "kind": pd.Categorical(rng.choice(["x", "y"], n)),
    })  # fmt: skip
    y = frame["age"] + (frame["city"] == "Rome") * 10 + frame["rooms"] * 2 + rng.standard_normal(n)
    frame.loc[rng.random(n) < 0.1, "age"] = np.nan
    frame.loc[rng.random(n) < 0.1, "city"] = ""
    return frame, y.to_numpy()


TABLE, Y = table(600, 0)
OTHER, _ = table(700, 1, new=True)


def on_columns(last):
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(SimpleImputer(missing_values="", strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    parts = [("numbers", numbers, ["age", "pay", "rooms"]), ("texts", texts, ["city"]), ("kind", OneHotEncoder(), ["kind"])]
    return make_pipeline(ColumnTransformer(parts, sparse_threshold=0), last)


def feeds(frame, exported):
    types = {1: np.float32, 7: np.int64, 8: object, 11: np.float64}
    return {x.name: frame[[x.name]].to_numpy(types[x.type.tensor_type.elem_type]) for x in exported.graph.input}


@pytest.mark.parametrize(
    ("name", "y"),
    [
        ("MLPClassifier", np.digitize(Y, [45, 55])),
        ("DNNClassifier", np.where(Y > 50, "old", "young")),
        ("TabularClassifier", Y > 50),
        ("DNNRegressor", (Y - 50) / 10),
    ],
)
@both_types
def test_columns_of_a_frame(name, y, dtype):
    model = on_columns(net(name)).fit(TABLE, y)
    exported = to_onnx(model, X=TABLE.astype({"age": dtype, "pay": dtype}).head())
    assert [x.name for x in exported.graph.input] == list(TABLE.columns)
    check(model, OTHER, feeds(OTHER, exported), exported)


def test_probabilities_by_label_of_a_frame():
    model = on_columns(net()).fit(TABLE, Y > 50)
    p = model.predict_proba(OTHER)
    exported = to_onnx(model, X=TABLE.head(), zipmap=True)
    label, rows = runs.in_onnxruntime(exported, feeds(OTHER, exported))
    np.testing.assert_array_equal(label, model.predict(OTHER))
    np.testing.assert_allclose([[row[0], row[1]] for row in rows], p, atol=1e-6)
    exported = to_onnx(model, X=TABLE.head(), zipmap="columns")
    assert [x.name for x in exported.graph.output] == ["output_label", "i0", "i1"]
    np.testing.assert_allclose(np.stack(runs.in_onnxruntime(exported, feeds(OTHER, exported))[1:], axis=1), p, atol=1e-6)


# ---------------------------------------------------------------- skl2onnx itself, inputs, what is refused


def test_skl2onnx_takes_estimators_once_they_are_registered():
    samples = X.astype("float32")
    model = make_pipeline(StandardScaler(), net("MLPClassifier")).fit(samples, CLASSES)
    exporting.register_converters()
    exporting.register_converters()
    label, rows = runs.in_onnxruntime(skl2onnx.to_onnx(model, samples[:1], target_opset=17), {"X": samples})
    np.testing.assert_array_equal(label, model.predict(samples))
    np.testing.assert_allclose([[row[c] for c in "a bb c".split()] for row in rows], model.predict_proba(samples), atol=1e-6)
    options = {id(model): {"zipmap": False, "nocl": True}}
    numbers, _ = runs.in_onnxruntime(skl2onnx.to_onnx(model, samples[:1], options=options, target_opset=17), {"X": samples})
    np.testing.assert_array_equal(model.classes_[numbers], model.predict(samples))


def test_raw_scores():
    for y in (CLASSES, TWO):
        model = net().fit(X, y)
        exporting.register_converters()
        options = {id(model): {"zipmap": False, "raw_scores": True}}
        _, scores = runs.in_onnxruntime(skl2onnx.to_onnx(model, X[:1], options=options, target_opset=17), {"X": X})
        ours = model.decision_function(X)
        np.testing.assert_allclose(scores, ours if ours.ndim == 2 else np.stack([-ours, ours], axis=1), atol=1e-10)


@both_types
def test_without_samples_the_input_is_of_numbers_of_the_networks_type(dtype):
    samples = X.astype(dtype)
    model = make_pipeline(StandardScaler(), net("MLPClassifier")).fit(samples, CLASSES)
    exported = check(model, samples, {"X": samples})
    (x,) = exported.graph.input
    assert x.type.tensor_type.elem_type == {"float32": 1, "float64": 11}[dtype]
    assert x.type.tensor_type.shape.dim[1].dim_value == 6


def test_versions_of_operators():
    model = make_pipeline(StandardScaler(), net()).fit(X, CLASSES)
    for opset in (17, 18, 21):
        exported = check(model, X, {"X": X}, target_opset=opset)
        assert {o.domain: o.version for o in exported.opset_import}[""] == opset
    for opset in (16, skl2onnx.get_latest_tested_opset_version() + 1, 1000):
        with pytest.raises(ValueError, match="target_opset must be 17 to"):
            to_onnx(model, target_opset=opset)


def test_a_frame_needs_samples():
    model = on_columns(net()).fit(TABLE, Y > 50)
    text = "X must be given, some samples as predict takes them: the Pipeline was fitted to a frame, and its columns 'age', "
    with pytest.raises(ValueError, match=text):
        to_onnx(model)
    with pytest.raises(ValueError, match="column 'age' must hold numbers, booleans or strings for ONNX, got Datetime"):
        to_onnx(model, X=TABLE.assign(age=pd.Timestamp("2024-01-01")))


def test_strings_that_come_to_a_network():
    model = net("TabularRegressor").fit(TABLE[["city", "age"]], Y)
    both = VotingRegressor([("a", model)]).fit(TABLE[["city", "age"]], Y)
    with pytest.raises(ValueError, match="a TabularRegressor in a pipeline takes numbers, but 'city' holds strings"):
        to_onnx(both, X=TABLE[["city", "age"]])


def test_dictionaries_hold_float32():
    model = CalibratedClassifierCV(net("MLPClassifier"), cv=2).fit(X, CLASSES)
    with pytest.raises(ValueError, match="zipmap must be False or 'columns' where inputs are float64"):
        to_onnx(model, zipmap=True)


def test_imputers_whose_columns_are_others():
    model = make_pipeline(SimpleImputer(add_indicator=True), net("MLPRegressor"))
    model.fit(np.where(X > 4, np.nan, X), X[:, 0])
    with pytest.raises(ValueError, match="a SimpleImputer with add_indicator=True, or with a column without a value"):
        to_onnx(model)


# ---------------------------------------------------------------- scaled targets


@pytest.mark.parametrize(
    ("transforms", "y"),
    [
        ({"transformer": StandardScaler()}, X[:, 4]),
        ({"transformer": RobustScaler()}, X[:, 3:5]),
        ({"func": np.log1p, "inverse_func": np.expm1}, np.exp(X[:, 0])),
        ({"func": np.log, "inverse_func": np.exp}, np.exp(X[:, 0])),
        ({}, X[:, 0]),
    ],
)
@both_types
def test_scaled_targets(transforms, y, dtype):
    samples = X.astype(dtype)
    model = make_pipeline(StandardScaler(), TransformedTargetRegressor(net("DNNRegressor"), **transforms)).fit(samples, y)
    check(model, samples, {"X": samples})
    inside = TransformedTargetRegressor(make_pipeline(StandardScaler(), net("MLPRegressor")), **transforms).fit(samples, y)
    check(inside, samples, {"X": samples})


def test_scalers_that_onnx_has_not():
    model = TransformedTargetRegressor(net("DNNRegressor"), transformer=PowerTransformer()).fit(X, X[:, 0])
    with pytest.raises(ValueError, match=r"nothing is known of how ONNX says the way back of PowerTransformer\(\); take"):
        to_onnx(model)
