"""Estimators over one network as ONNX models, beside themselves: labels, probabilities, numbers, codes."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from fastdnn import (
    Autoencoder,
    DNNClassifier,
    DNNRegressor,
    MLPClassifier,
    MLPRegressor,
    VariationalAutoencoder,
    layers,
    losses,
)

runs, exporting, _ = map(pytest.importorskip, ("onnx_runs", "fastdnn.onnx", "onnxruntime"))
to_onnx = exporting.to_onnx
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).standard_normal((600, 6))
CLASSES = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
TARGETS = {
    "binary": CLASSES > 0,
    "strings": np.array(["no", "perhaps", "yes"])[CLASSES],
    "two strings": np.array(["no", "yes"], object)[CLASSES % 2],
    "negative": -3 * CLASSES - 1,
    "whole floats": CLASSES.astype(float),
    "multilabel": (X[:, :3] > 0.3).astype(int),
    "one class": np.full(600, 7),
}
BOUNDS = {"float32": 1e-5, "float64": 1e-12}
both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


def classifier(cls, **settings):
    usual = {"max_iter": 20} if cls is MLPClassifier else {"epochs": 20}
    return cls(hidden_layer_sizes=(16,), random_state=0, **usual | settings)


def regressor(cls, **settings):
    usual = {"max_iter": 20} if cls is MLPRegressor else {"epochs": 20}
    return cls(hidden_layer_sizes=(16,), random_state=0, **usual | settings)


def outputs(estimator, samples, **options):
    """Of each program that can run the exported estimator, its outputs by their names."""
    exported = to_onnx(estimator, **options)
    names, found = [output.name for output in exported.graph.output], runs.runners(exported, all_steps=False)
    assert found
    return [dict(zip(names, run(exported, {"X": samples}), strict=True)) for run in found]


def close(theirs, ours):
    assert theirs.shape == ours.shape
    assert theirs.dtype == ours.dtype
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=BOUNDS[ours.dtype.name] * max(1, np.abs(ours).max()))


# ---------------------------------------------------------------- classifiers


@both_types
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("cls", [MLPClassifier, DNNClassifier])
def test_labels_and_probabilities(cls, kind, dtype):
    samples = X.astype(dtype)
    clf = classifier(cls).fit(samples, TARGETS[kind])
    for found in outputs(clf, samples):
        close(found["probabilities"], clf.predict_proba(samples))
        assert found["label"].dtype in (np.int64, object)
        assert found["label"].shape == TARGETS[kind].shape
        np.testing.assert_array_equal(found["label"].astype(TARGETS[kind].dtype), clf.predict(samples))
    assert len(outputs(clf, samples)) == 2


def test_of_equal_probabilities_the_first_one_wins():
    clf = classifier(DNNClassifier, epochs=1).fit(X, TARGETS["strings"])
    clf.model_.params[:] = 0
    for found in outputs(clf, X):
        assert set(found["label"]) == {"no"} == set(clf.predict(X))
    two = classifier(DNNClassifier, epochs=1).fit(X, TARGETS["two strings"])
    two.model_.params[:] = 0
    for found in outputs(two, X):
        assert set(found["label"]) == {"no"} == set(two.predict(X))


@both_types
@pytest.mark.parametrize("kind", ["strings", "binary", "negative", "multilabel"])
def test_probabilities_by_label(kind, dtype):
    samples = X.astype(dtype)
    clf = classifier(DNNClassifier, epochs=5).fit(samples, TARGETS[kind])
    p, classes = clf.predict_proba(samples), clf.classes_.tolist()
    label, rows = runs.in_onnxruntime(to_onnx(clf, zipmap=True), {"X": samples})
    np.testing.assert_array_equal(label, clf.predict(samples))
    assert [set(row) for row in rows] == [set(classes)] * 600
    np.testing.assert_allclose([[row[c] for c in classes] for row in rows], p, atol=1e-6)
    for found in outputs(clf, samples, zipmap="columns"):
        names = [f"{'s' if kind == 'strings' else 'i'}{c if kind == 'strings' else int(c)}" for c in classes]
        assert list(found) == ["label", *names]
        np.testing.assert_allclose(np.stack([found[name] for name in names], axis=1), p, atol=1e-6)


@pytest.mark.parametrize("kind", ["strings", "binary", "multilabel"])
def test_decision_function(kind):
    clf = classifier(DNNClassifier).fit(X, TARGETS[kind])
    for found in outputs(clf, X, raw_scores=True):
        assert list(found) == ["label", "probabilities", "scores"]
        close(found["scores"], clf.decision_function(X))


def test_losses_of_classifiers():
    for loss, y in ((losses.CrossEntropy(label_smoothing=0.1), CLASSES), ("focal", CLASSES > 0)):
        clf = classifier(DNNClassifier, loss=loss).fit(X, y)
        for found in outputs(clf, X):
            close(found["probabilities"], clf.predict_proba(X))


def test_weights_that_a_user_has_set():
    clf = classifier(MLPClassifier).fit(X, CLASSES)
    clf.coefs_ = [2 * c for c in clf.coefs_]
    for found in outputs(clf, X):
        close(found["probabilities"], clf.predict_proba(X))


# ---------------------------------------------------------------- samples of other shapes


RNG = np.random.default_rng(1)
SEQUENCES = np.where(np.arange(9)[:, None] < RNG.integers(1, 10, 600)[:, None, None], RNG.standard_normal((600, 9, 3)), 0)
SHAPES = {
    "images": ([layers.Conv2D(4, 3, activation="relu"), layers.Flatten()], RNG.standard_normal((600, 8, 8, 1))),
    "masked": ([layers.Masking(), layers.LSTM(5)], SEQUENCES),
    "recurrent": ([layers.GRU(5)], RNG.standard_normal((600, 9, 3))),
    "ids": ([layers.Embedding(20, 4, mask_zero=True), layers.LSTM(5)], RNG.integers(1, 20, (600, 7))),
}  # fmt: skip


@pytest.mark.parametrize("kind", SHAPES)
def test_images_and_sequences(kind):
    parts, samples = SHAPES[kind]
    samples = samples if kind == "ids" else samples.astype("float32")
    clf = DNNClassifier(parts, epochs=2, random_state=0).fit(samples, TARGETS["strings"])
    regr = DNNRegressor(parts, epochs=2, random_state=0).fit(samples, X[:, :2])
    for found in outputs(clf, samples):
        close(found["probabilities"], clf.predict_proba(samples))
        np.testing.assert_array_equal(found["label"], clf.predict(samples))
    for found in outputs(regr, samples):
        close(found["variable"], regr.predict(samples))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_labels_of_steps(n_classes):
    samples, y = SEQUENCES.astype("float32"), np.digitize(SEQUENCES[..., 0], [-0.5, 0.5][: n_classes - 1])
    clf = DNNClassifier([layers.Masking(), layers.LSTM(5, return_sequences=True)], epochs=2, random_state=0).fit(samples, y)
    for found in outputs(clf, samples):
        assert found["label"].shape == (600, 9)
        close(found["probabilities"], clf.predict_proba(samples))
        np.testing.assert_array_equal(found["label"], clf.predict(samples))
    with pytest.raises(ValueError, match="zipmap must be False"):
        to_onnx(clf, zipmap=True)


# ---------------------------------------------------------------- numbers and codes


NUMBERS = {
    "one": ("squared_error", X[:, 0]),
    "a column": ("squared_error", X[:, :1]),
    "several": ("huber", X[:, :2]),
    "counts": ("poisson", np.exp(X[:, 0])),
    "quantiles": (losses.Quantile((0.1, 0.5, 0.9)), X[:, 0]),
}


@both_types
@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("cls", [MLPRegressor, DNNRegressor])
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_numbers(cls, kind, dtype):
    loss, y = NUMBERS[kind]
    samples = X.astype(dtype)
    regr = regressor(cls, loss=loss).fit(samples, y)
    for found in outputs(regr, samples):
        close(found["variable"], regr.predict(samples).reshape(600, -1))


@both_types
@pytest.mark.parametrize("cls", [Autoencoder, VariationalAutoencoder])
@pytest.mark.parametrize("shape", [(6,), (3, 2)])
def test_codes(cls, shape, dtype):
    samples = X.reshape(600, *shape).astype(dtype)
    coder = cls(2, hidden_layer_sizes=(8,), noise=0.1, epochs=5, random_state=0).fit(samples)
    for found in outputs(coder, samples):
        close(found["codes"], coder.transform(samples))
        close(found["reconstruction"], coder.inverse_transform(coder.transform(samples)))
        np.testing.assert_allclose(found["error"], coder.reconstruction_error(samples), rtol=1e-5)


# ---------------------------------------------------------------- what is refused


def test_options_of_other_estimators_are_refused():
    clf, regr = classifier(MLPClassifier).fit(X, CLASSES), regressor(MLPRegressor).fit(X, X[:, 0])
    for estimator, options, text in (
        (regr, {"zipmap": True}, "zipmap must be False for a MLPRegressor, which has no classes, got True"),
        (clf, {"zipmap": "column"}, "zipmap must be False, True or 'columns', got 'column'"),
        (clf, {"raw_scores": True}, "raw_scores must be False for a MLPClassifier, which has no decision_function"),
        (clf, {"columns": True}, "columns must be None for a MLPClassifier"),
    ):
        with pytest.raises(ValueError, match=text):
            to_onnx(estimator, **options)
    with pytest.raises(NotFittedError):
        to_onnx(MLPClassifier())


def test_labels_that_onnx_has_not():
    clf = classifier(DNNClassifier, epochs=1).fit(X, TARGETS["binary"])
    clf.classes_ = np.array([0, 2**63], np.uint64)
    with pytest.raises(ValueError, match="class labels must be strings or whole numbers of 64 bits for ONNX, got 92233"):
        to_onnx(clf)
