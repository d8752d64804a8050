"""A fit whose model is of little use ends with a warning that says what happened, and with a model that predicts."""

import pathlib
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fastdnn import DNNClassifier, DNNRegressor, MLPClassifier, MLPRegressor, Model, layers, optimizers
from fastdnn.callbacks import EarlyStopping

X, Y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
SUM = X[:, :20].sum(axis=1)


def said(fit, category=ConvergenceWarning):
    """What `fit` returns, and the texts of the warnings; all of them point to this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = fit()
    assert all(issubclass(w.category, category) for w in caught)
    assert {pathlib.Path(w.filename).name for w in caught} <= {"test_convergence.py"}
    return result, [str(w.message) for w in caught]


def network(n=1, activation="relu", **settings):
    hidden = [layers.Dense(32, activation=activation) for _ in range(n)]
    return Model([*hidden, layers.Dense(10)], loss="cross_entropy", random_state=0, **settings)


def test_steps_left_out_are_counted_and_explained():
    raw = np.exp(np.random.default_rng(0).normal(0, 4, (640, 8))) * 1e4
    model = Model([layers.Dense(16, activation="relu"), layers.Dense(1)], optimizer=optimizers.SGD(1.0), random_state=0)
    _, texts = said(lambda: model.fit(raw, raw[:, 0], batch_size=10), Warning)
    (text,) = [t for t in texts if "left out" in t]
    assert text.startswith(f"{model.skipped_steps} of {model.step} steps were left out")
    assert model.skipped_steps > 50
    for word in ("unit variance", "learning rate than 1.0", "clip_norm"):
        assert word in text


def test_only_the_steps_of_this_fit_count():
    model, wrong = Model([layers.Dense(1)], dtype="float32", random_state=0), X.copy()
    wrong[::600] = 1e30  # the square of its score is infinite in float32
    _, (text,) = said(lambda: model.fit(wrong, SUM, batch_size=200, shuffle=False))
    assert text.startswith("3 of 9 steps were left out")
    model.fit(X, SUM, batch_size=200)
    assert model.skipped_steps == 3


def test_one_step_in_a_thousand_is_borne():
    weights = np.ones(2000)
    model = Model([layers.Dense(1)], dtype="float32", random_state=0)
    x = np.random.default_rng(0).standard_normal((2000, 3))
    y = x[:, 0].copy()
    x[7] = 1e30  # the square of its score is infinite in float32
    _, texts = said(lambda: model.fit(x, y, batch_size=1, sample_weight=weights))
    assert model.skipped_steps <= 1
    assert texts == []


def test_an_optimizer_s_memory_that_is_infinite():
    x = np.random.default_rng(0).standard_normal((64, 3)) * 1e15
    model = Model([layers.Dense(1)], optimizer=optimizers.Adam(1e-9), dtype="float32", random_state=0)
    _, texts = said(lambda: model.fit(x, x[:, 0], batch_size=64))
    assert any("will not move again" in t for t in texts)
    clipped = Model([layers.Dense(1)], optimizer=optimizers.Adam(1e-9, clip_norm=1.0), dtype="float32", random_state=0)
    assert said(lambda: clipped.fit(x, x[:, 0], batch_size=64))[1] == []


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu"])
def test_300_layers_without_normalization(activation):
    model, texts = network(300, activation), None
    _, texts = said(lambda: model.fit(X, Y, epochs=2, batch_size=64))
    assert len(texts) == 1
    assert "the same for all samples from layer" in texts[0]
    assert "LayerNorm" in texts[0]
    np.testing.assert_allclose(model.predict(X).sum(axis=1), 1, rtol=1e-5)


def test_the_layer_from_which_on_nothing_differs_is_the_first_such_one():
    stack = [layers.Dense(8, activation="tanh"), layers.Dense(8, activation="relu"), layers.Dense(10)]
    model = Model(stack, loss="cross_entropy", optimizer=optimizers.SGD(1e-9), random_state=0).build(64)
    model.weights["1.dense.bias"][...] = -1e3
    _, (text,) = said(lambda: model.fit(X, Y))
    assert "from layer 1 (dense) on" in text


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_samples_that_are_all_zero(form):
    model = network()
    _, (text,) = said(lambda: model.fit(form(0 * X), Y, epochs=200, batch_size=600))
    assert text.startswith("all 1797 samples are the same")
    np.testing.assert_allclose(model.predict(form(0 * X))[0], np.bincount(Y) / len(Y), atol=0.01)  # the shares, learned


def test_one_sample_and_one_class():
    model = network()
    _, (text,) = said(lambda: model.fit(X[:1], Y[:1], epochs=200))
    assert text.startswith("there is only one sample")
    assert model.predict(X[:1]).argmax() == Y[0]
    model = network()
    _, (text,) = said(lambda: model.fit(X, 0 * Y + 3, epochs=3))
    assert text.startswith("all 1797 samples are of one class")
    assert (model.predict(X).argmax(axis=1) == 3).all()


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [(0 * X, SUM, "are the same"), (X, 0 * SUM + 2, "have the same target"), (X[:1], SUM[:1], "only one sample")],
)
def test_regression(x, y, message):
    net, (text,) = said(lambda: DNNRegressor(hidden_layer_sizes=(8,), epochs=3, random_state=0).fit(x, y))
    assert message in text
    assert np.isfinite(net.predict(x)).all()


def test_classifiers():
    net, (text,) = said(lambda: DNNClassifier(hidden_layer_sizes=(8,), epochs=2, random_state=0).fit(0 * X, Y))
    assert "are the same" in text
    assert np.isfinite(net.predict_proba(X)).all()
    deep = DNNClassifier(hidden_layer_sizes=(16,) * 300, epochs=2, random_state=0)
    assert "the same for all samples from layer" in said(lambda: deep.fit(X, Y))[1][0]


def test_drop_in_estimators_speak_where_the_model_is_of_no_use_and_scikit_learn_does_elsewhere():
    deep = MLPClassifier((16,) * 100, random_state=0, n_iter_no_change=3, tol=1.0)
    _, (text,) = said(lambda: deep.fit(X, Y))
    assert "the same for all samples from layer" in text
    settings = {"hidden_layer_sizes": (8,), "random_state": 0, "n_iter_no_change": 2, "tol": 1e9}
    for x, y in ((0 * X, Y), (X[:1], Y[:1]), (X, 0 * Y)):  # as silent as scikit-learn
        MLPClassifier(**settings).fit(x, y)
        MLPRegressor(**settings).fit(x, y)


@pytest.mark.parametrize("shift", [0, 1e6])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_model_that_learns_is_not_talked_about(shift, optimizer):
    network().fit(X, Y)  # warnings are errors
    network().fit(X, Y, epochs=2, validation_fraction=0.2, callbacks=[EarlyStopping()])
    DNNRegressor(hidden_layer_sizes=(8,), epochs=3, optimizer=optimizer, random_state=0).fit(X, SUM + shift)


def test_rare_classes_and_far_targets_are_no_reason():
    rare = (np.arange(len(X)) == 900).astype(int)
    Model([layers.Dense(8, activation="relu"), layers.Dense(2)], loss="cross_entropy", random_state=0).fit(X, rare, epochs=20)
    far = SUM.copy()
    far[0] = 1e6
    DNNRegressor(hidden_layer_sizes=(8,), epochs=3, random_state=0).fit(X, far)


def test_what_comes_in_pieces_is_not_judged_by_a_piece():
    net = DNNClassifier(hidden_layer_sizes=(8,), random_state=0)
    for i in range(20):
        net.partial_fit(X[i : i + 1], Y[i : i + 1], classes=np.arange(10))
    model = network()
    model.fit(X, Y)
    model.fit(X[:1], Y[:1], epochs=2, resume=True)
