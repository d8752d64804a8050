"""Targets as users have them: types, sparse indicators, many classes, weights of classes, missing values."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor

from fastdnn import DNNClassifier, DNNRegressor, MLPClassifier, MLPRegressor, Model, layers
from fastdnn.callbacks import LambdaCallback

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 5))
Y = np.digitize(X[:, 0], [-0.6, 0.6])  # three classes
INDICATORS = (X[:, :3] > 0).astype(int)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# ---------------------------------------------------------------- types of predictions


@pytest.mark.parametrize(
    "samples",
    [
        X.astype(object),
        X.astype("float32"),
        X.astype("float16"),
        (10 * X).astype(int),
        X.tolist(),
        pd.DataFrame(X).astype(object),
        pd.DataFrame((10 * X).astype(int)).astype("Int64"),
        scipy.sparse.csr_matrix((10 * X).astype(int)),
        X[:, ::-1],
    ],
    ids=["object", "float32", "float16", "int", "list", "object frame", "Int64 frame", "sparse int", "strided"],
)
def test_predictions_have_the_type_that_scikit_learn_s_have(samples):
    for ours, theirs, y in ((MLPClassifier, TheirClassifier, Y), (MLPRegressor, TheirRegressor, X[:, 0])):
        settings = {"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0}
        mine, other = ours(**settings).fit(samples, y), theirs(**settings).fit(samples, y)
        for method in ("predict_proba", "predict_log_proba") if ours is MLPClassifier else ("predict",):
            result, wanted = getattr(mine, method)(samples), getattr(other, method)(samples)
            assert result.dtype == wanted.dtype
            np.testing.assert_allclose(result, wanted, rtol=2e-2 if result.dtype == np.float32 else 1e-6, atol=1e-6)


def test_one_type_in_fit_and_another_in_predict():
    single = MLPClassifier((3,), max_iter=1, random_state=0).fit(X.astype("float32"), Y)
    assert single.predict_proba(X.astype("float32")).dtype == np.float32
    assert single.predict_proba(X).dtype == single.predict_proba(X.astype(object)).dtype == np.float64


# ---------------------------------------------------------------- sparse indicators


@pytest.mark.parametrize("form", [scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_matrix])
def test_sparse_indicators_are_learned_like_dense_ones(form):
    for make in (
        lambda: DNNClassifier(epochs=3, early_stopping=True, scoring="f1_macro", random_state=0),
        lambda: DNNClassifier(epochs=3, callbacks=[LambdaCallback(lambda fit: fit.sample(5) and None)], random_state=0),
        lambda: MLPClassifier(max_iter=3, early_stopping=True, random_state=0),
    ):
        dense, sparse = make().fit(X, INDICATORS), make().fit(X, form(INDICATORS))
        np.testing.assert_array_equal(sparse.predict_proba(X), dense.predict_proba(X))
        assert scipy.sparse.issparse(sparse.predict(X))  # as scikit-learn's
        np.testing.assert_array_equal(sparse.predict(X).toarray(), dense.predict(X))
        assert sparse.score(X, form(INDICATORS)) == dense.score(X, INDICATORS)


def test_sparse_indicators_to_validate_with_and_to_go_on_with():
    sparse = scipy.sparse.csr_matrix(INDICATORS)
    clf = DNNClassifier(epochs=2, scoring="f1_micro", random_state=0).fit(X, sparse, X_val=X[:50], y_val=sparse[:50])
    assert 0 <= clf.history_["val_f1_micro"][-1] <= 1
    model = MLPClassifier(random_state=0).partial_fit(X, sparse, classes=[0, 1, 2]).partial_fit(X, sparse)
    assert model.predict_proba(X).shape == (120, 3)


@pytest.mark.parametrize(
    "fit",
    [
        lambda y: Model([layers.Dense(3)]).fit(X, y),
        lambda y: Model([layers.Dense(3)], loss="log_loss").fit(X, y),
        lambda y: Model([layers.Dense(3)], loss="cross_entropy").fit(X, y),
        lambda y: Model([layers.Dense(3)]).fit(X, INDICATORS, validation_data=(X, y)),
        lambda y: Model([layers.Dense(3)]).build(5).evaluate(X, y),
        lambda y: DNNRegressor(epochs=1).fit(X, y),
        lambda y: MLPRegressor(max_iter=1).fit(X, y),
        lambda y: MLPRegressor().partial_fit(X, y),
    ],
)
def test_sparse_targets_elsewhere_are_refused_by_name(fit):
    with pytest.raises(ValueError, match=r"y must be a dense array.*sparse matrix; use y\.toarray\(\)"):
        fit(scipy.sparse.csr_matrix(INDICATORS))


def test_indices_of_sparse_targets_are_checked():
    y = scipy.sparse.csr_matrix(INDICATORS)
    y.indices[3] = 1_000_000
    with pytest.raises(ValueError, match="y is not a valid CSR matrix"):
        DNNClassifier(epochs=1).fit(X, y)


# ---------------------------------------------------------------- many classes


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", [DNNClassifier, MLPClassifier])
def test_many_classes_take_no_indicators(kind, early_stopping):
    n, classes = 20_000, 2_000
    samples = RNG.standard_normal((n, 4)).astype("float32")
    labels = np.array([f"class {i:04}" for i in range(classes)])[np.arange(n) % classes]
    epochs = {"epochs": 1} if kind is DNNClassifier else {"max_iter": 1}
    model = kind(hidden_layer_sizes=(4,), early_stopping=early_stopping, random_state=0, **epochs)
    model.fit(samples, labels)  # kernels, caches
    tracemalloc.start()
    model.fit(samples, labels)
    score = model.score(samples, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 <= score < 0.1
    assert peak < 60e6  # n x classes numbers are 40 MB as booleans, 160 MB in float32


def test_labels_of_any_kind_come_back():
    for labels in (
        np.array(["b", "a", "c"])[Y],
        np.array([7, -3, 50])[Y],
        np.array([4.0, 2.0, 1.0])[Y],
        (Y > 0),
        np.array(["x", "z", "y"], object)[Y],
    ):
        for model in (DNNClassifier((), epochs=2), MLPClassifier((4,), max_iter=2)):
            model.set_params(random_state=0).fit(X, labels)
            assert set(model.predict(X)) <= set(labels)
            np.testing.assert_array_equal(model.classes_, np.unique(labels))


def test_metrics_of_many_predictions_are_those_of_all(monkeypatch):
    model = Model([layers.Dense(3)], loss="cross_entropy", random_state=0).build(5)
    weights = RNG.uniform(0, 1, 120)
    whole = model.evaluate(X, Y), model.evaluate(X, Y, weights)
    monkeypatch.setattr("fastdnn.inference.MOST_NUMBERS", 50)
    for a, b in zip(whole, (model.evaluate(X, Y), model.evaluate(X, Y, weights)), strict=True):
        assert a["accuracy"] == pytest.approx(b["accuracy"], rel=1e-12)
    clf = DNNClassifier([layers.Dense(4)], epochs=2, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(clf.predict(X), clf.classes_[clf.predict_proba(X).argmax(axis=1)])
    sparse = DNNClassifier(epochs=1, random_state=0).fit(scipy.sparse.csc_matrix(X), Y)
    np.testing.assert_array_equal(sparse.predict(scipy.sparse.csc_matrix(X)), sparse.predict(X))


# ---------------------------------------------------------------- weights of classes


def test_balanced_classes_of_which_one_weighs_nothing():
    weights = (Y != 2) * 1.0
    for fit in (
        lambda: DNNClassifier(class_weight="balanced", epochs=2, random_state=0).fit(X, Y, sample_weight=weights).model_,
        lambda: MLPClassifier(class_weight="balanced", max_iter=2, random_state=0).fit(X, Y, weights)._model,
    ):
        assert np.isfinite(fit().params).all()
    model = Model([layers.Dense(3)], loss="cross_entropy", random_state=0)
    assert np.isfinite(model.fit(X, Y, class_weight="balanced", sample_weight=weights)["loss"]).all()


def test_balanced_is_one_rule():
    from sklearn.utils.class_weight import compute_class_weight

    weights = RNG.uniform(0.5, 2, 120)
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=Y, sample_weight=weights)
    explicit = dict(enumerate(wanted))
    for given in ("balanced", explicit):
        models = [
            Model([layers.Dense(3)], loss="cross_entropy", random_state=0),
            DNNClassifier([], epochs=2, class_weight=given, random_state=0),
            MLPClassifier((4,), max_iter=2, class_weight=given, random_state=0),
        ]
        models[0].fit(X, Y, epochs=2, class_weight=given, sample_weight=weights)
        for model in models[1:]:
            model.fit(X, Y, weights)
        found = [models[0].params, models[1].model_.params, models[2]._model.params]
        if given == "balanced":
            balanced = found
    for a, b in zip(balanced, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("weights", [{0: -1.0, 1: 1.0, 2: 1.0}, {0: np.nan, 1: 1.0, 2: 1.0}, {0: np.inf, 1: 1, 2: 1}])
def test_bad_weights_of_classes_are_refused_by_name(weights):
    for fit in (
        lambda: Model([layers.Dense(3)], loss="cross_entropy").fit(X, Y, class_weight=weights),
        lambda: DNNClassifier(class_weight=weights).fit(X, Y),
        lambda: MLPClassifier(class_weight=weights).fit(X, Y),
    ):
        with pytest.raises(ValueError, match="class_weight must hold finite numbers >= 0"):
            fit()
    with pytest.raises(ValueError, match="class_weight must be a dict, 'balanced' or None, got 'balance'"):
        Model([layers.Dense(3)], loss="cross_entropy").fit(X, Y, class_weight="balance")
    with pytest.raises(ValueError, match="class_weight needs class numbers"):
        Model([layers.Dense(1)]).fit(X, X[:, :1], class_weight="balanced")


def plain_accuracy(estimator, X, y):
    return accuracy_score(y, estimator.predict(X))


def test_validation_knows_no_weights_of_classes():
    unequal = np.where(RNG.uniform(size=120) < 0.1, 1 - (X[:, 0] > 0), X[:, 0] > 1).astype(int)
    scoring = {"accuracy": make_scorer(accuracy_score), "own": plain_accuracy}
    settings = {"class_weight": "balanced", "scoring": scoring, "epochs": 3, "random_state": 0}
    held = DNNClassifier(early_stopping=True, validation_fraction=0.3, **settings).fit(X, unequal)
    given = DNNClassifier(**settings).fit(X, unequal, X_val=X[:40], y_val=unequal[:40])
    for history in (held.history_, given.history_):
        assert history["val_accuracy"] == history["val_own"]
    model = Model([layers.Dense(2)], loss="cross_entropy", random_state=0)
    history = model.fit(X, unequal, class_weight="balanced", validation_data=(X[:40], unequal[:40]), scoring=scoring)
    with_part = model.fit(X, unequal, class_weight="balanced", validation_fraction=0.3, scoring=scoring)
    for figures in (history, with_part):
        assert figures["val_accuracy"][-1] == figures["val_own"][-1]


def test_validation_knows_sample_weights():
    weights = RNG.uniform(0.1, 3, 120)
    model = Model([layers.Dense(3)], loss="cross_entropy", random_state=0)
    history = model.fit(
        X,
        Y,
        sample_weight=weights,
        class_weight="balanced",
        validation_fraction=0.25,
        validation_split="last",
        scoring="accuracy",
    )
    wanted = accuracy_score(Y[90:], model.predict(X[90:]).argmax(axis=1), sample_weight=weights[90:])
    assert history["val_accuracy"][-1] == pytest.approx(wanted)
    assert history["val_loss"][-1] == pytest.approx(model.evaluate(X[90:], Y[90:], weights[90:])["loss"])


def test_early_stopping_of_the_drop_in_knows_no_weights_of_classes():
    model = MLPClassifier((4,), early_stopping=True, class_weight={0: 100.0, 1: 1.0, 2: 1.0}, max_iter=1, random_state=0)
    plain = MLPClassifier((4,), early_stopping=True, max_iter=1, random_state=0, learning_rate_init=1e-12)
    model.set_params(learning_rate_init=1e-12)  # the same network, the same held-out samples
    assert model.fit(X, Y).validation_scores_ == plain.fit(X, Y).validation_scores_


# ---------------------------------------------------------------- small data and strange numbers


def test_early_stopping_where_a_class_has_no_room_in_the_part_held_out():
    labels = np.array([0] * 10 + [1] * 10 + [2])
    clf = DNNClassifier(early_stopping=True, epochs=3, random_state=0).fit(X[:21], labels)
    assert len(clf.history_["val_loss"]) == 3
    tiny = DNNClassifier(early_stopping=True, epochs=2, random_state=0).fit(X[:12], np.arange(12) % 6)
    assert tiny.n_epochs_ == 2
    with pytest.raises(ValueError, match="validation_split='random' asks least"):
        DNNClassifier(early_stopping=True, validation_split="stratified", epochs=3).fit(X[:21], labels)


def test_targets_whose_squares_overflow_are_refused():
    for dtype, value in (("float32", 1e30), ("float64", 1e200)):
        y = np.full(120, value)
        with pytest.raises(ValueError, match=r"y contains values up to .* whose squared errors are too large for float"):
            Model([layers.Dense(1)], dtype=dtype).fit(X, y)
    with pytest.raises(ValueError, match="y contains values up to"):
        DNNRegressor().fit(X.astype("float32"), np.full(120, -1e30))
    model = Model([layers.Dense(1)], loss="absolute_error", random_state=0)
    assert model.fit(X, np.full(120, 1e30))["loss"][0] == pytest.approx(1e30, rel=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "log_loss", "focal", "hinge", "quantile", "squared_error"])
def test_metrics_of_predictions_that_are_nan_are_nan(loss):
    n_out = 2 if loss == "cross_entropy" else 1
    model = Model([layers.Dense(n_out)], loss=loss, random_state=0).build(5)
    y = (X[:, 0] > 0).astype(int)
    assert all(np.isfinite(value) for value in model.evaluate(X, y).values())
    broken = X.copy()
    broken[3, 1] = np.nan
    assert all(np.isnan(value) for value in model.evaluate(broken, y).values())
