"""What the drop-in estimators take beyond scikit-learn's parameters."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_classification
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.utils.estimator_checks import check_class_weight_classifiers, estimator_checks_generator

from fastdnn import MLPClassifier, MLPRegressor, Model, config_context, layers, losses, optimizers, schedules
from fastdnn.estimators._mlp_solver import SOLVERS
from fastdnn.layers import ACTIVATIONS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS = train_test_split(*load_digits(return_X_y=True), random_state=0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    X, X_test, y, y_test = DIGITS
    rate = 0.02 if activation == "softmax" else 0.001
    model = MLPClassifier((60,), activation=activation, learning_rate_init=rate, max_iter=60, random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.88


def test_one_activation_a_layer():
    X, y = load_diabetes(return_X_y=True)
    model = MLPRegressor(hidden_layer_sizes=(9, 8), activation=["gelu", "tanh"], max_iter=5, random_state=0).fit(X, y)
    assert [layer.activation for layer in model._model.layers[::2]] == ["gelu", "tanh", "identity"]
    z = layers.ACTIVATIONS["gelu"](X @ model.coefs_[0] + model.intercepts_[0])
    z = np.tanh(z @ model.coefs_[1] + model.intercepts_[1]) @ model.coefs_[2] + model.intercepts_[2]
    np.testing.assert_allclose(model.predict(X), z.ravel(), rtol=1e-10)
    with pytest.raises(ValueError, match="one for each of the 2 hidden layers"):
        model.set_params(activation=["gelu"]).fit(X, y)


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers(solver):
    X, X_test, y, y_test = DIGITS
    rate = {"sgd": 0.05, "adagrad": 0.05}.get(solver, 0.003)
    model = MLPClassifier((60,), solver=solver, learning_rate_init=rate, max_iter=40, random_state=0).fit(X / 16, y)
    assert model.score(X_test / 16, y_test) > 0.9


def test_dropout():
    X, X_test, y, y_test = DIGITS
    model = MLPClassifier((60, 50), dropout=[0.3, 0.0], max_iter=40, random_state=0).fit(X, y)
    assert [layer.rate for layer in model._model.layers[1::2]] == [0.3, 0.0]
    assert model.score(X_test, y_test) > 0.9
    assert [c.shape for c in model.coefs_] == [(64, 60), (60, 50), (50, 10)]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X_test), model.predict_proba(X_test))
    other = clone(model).set_params(random_state=1).fit(X, y)
    again = clone(model).fit(X, y)
    assert (again.coefs_[0] == model.coefs_[0]).all()
    assert (other.coefs_[0] != model.coefs_[0]).any()


def test_neutral_extras_change_nothing():
    X, _, y, _ = DIGITS
    plain = MLPClassifier((20,), max_iter=5, random_state=0).fit(X, y)
    neutral = MLPClassifier((20,), max_iter=5, random_state=0, dropout=[0.0], l1=0.0, loss="log_loss").fit(X, y)
    np.testing.assert_array_equal(plain.coefs_[0], neutral.coefs_[0])


def test_same_bits_on_any_number_of_threads():
    X, _, y, _ = DIGITS
    results = set()
    for n in (1, 2, 3):
        with config_context(n_threads=n):
            model = MLPClassifier(
                (60,), dropout=0.2, l1=1e-3, clip_norm=1.0, solver="adamw", schedule=schedules.OneCycle(0.01),
                class_weight="balanced", max_iter=3, random_state=0
            ).fit(X, y)  # fmt: skip
        results.add(model.coefs_[0].tobytes())
    assert len(results) == 1


def unbalanced():
    X, y = make_classification(600, 10, weights=[0.9], random_state=0)
    return X, np.array(["no", "yes"])[y]


def test_class_weight_is_sample_weight():
    X, y = unbalanced()
    settings = {"hidden_layer_sizes": (10,), "max_iter": 10, "random_state": 0}
    weighted = MLPClassifier(class_weight={"no": 1.0, "yes": 5.0}, **settings).fit(X, y)
    same = MLPClassifier(**settings).fit(X, y, sample_weight=np.where(y == "yes", 5.0, 1.0))
    np.testing.assert_array_equal(weighted.coefs_[0], same.coefs_[0])
    balanced = MLPClassifier(class_weight="balanced", **settings).fit(X, y)
    plain = MLPClassifier(**settings).fit(X, y)
    assert (balanced.predict(X) == "yes").sum() > (plain.predict(X) == "yes").sum()
    with pytest.raises(ValueError, match="needs all samples at once"):
        balanced.partial_fit(X, y)


def test_scikit_learns_check_of_class_weights_is_among_the_checks():
    names = [check.func.__name__ for _, check in estimator_checks_generator(MLPClassifier())]
    assert "check_class_weight_classifiers" in names
    check_class_weight_classifiers("MLPClassifier", MLPClassifier(max_iter=100))


def test_losses_of_the_classifier():
    X, y = unbalanced()
    model = MLPClassifier((10,), loss="focal", learning_rate_init=0.01, max_iter=60, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.9
    X, X_test, y, y_test = DIGITS
    smooth = MLPClassifier((50,), loss=losses.CrossEntropy(label_smoothing=0.1), max_iter=60, random_state=0).fit(X, y)
    plain = MLPClassifier((50,), max_iter=60, random_state=0).fit(X, y)
    assert smooth.score(X_test, y_test) > 0.9
    assert smooth.predict_proba(X_test).max() < plain.predict_proba(X_test).max()
    with pytest.raises(ValueError, match="does not fit several classes"):
        MLPClassifier(loss="focal").fit(X, y)


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "log_cosh", "quantile", "gamma"])
def test_losses_of_the_regressor(loss):
    X, y = load_diabetes(return_X_y=True)
    y = y / 100
    model = MLPRegressor(loss, (30,), learning_rate_init=0.01, max_iter=200, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.4


def test_several_quantiles():
    X, y = load_diabetes(return_X_y=True)
    y = y / 100
    model = MLPRegressor(losses.Quantile((0.1, 0.5, 0.9)), (30,), learning_rate_init=0.01, max_iter=200, random_state=0).fit(
        X, y
    )
    p = model.predict(X)
    assert p.shape == (len(X), 3)
    np.testing.assert_allclose((y[:, None] <= p).mean(axis=0), [0.1, 0.5, 0.9], atol=0.06)


def test_schedule():
    X, _, y, _ = DIGITS
    rates = {}

    class Watched(schedules.Polynomial):
        """Polynomial that notes its rates, some of which are asked for again where a slice has ended before them."""

        def rates(self, steps, total):
            made = super().rates(steps, total)
            rates.update(zip(steps.tolist(), made, strict=True))
            return made

    MLPClassifier((10,), schedule=Watched(0.01), max_iter=4, batch_size=300, random_state=0).fit(X, y)
    np.testing.assert_allclose([rates[step] for step in range(20)], 0.01 * (1 - np.arange(20) / 20))
    with pytest.raises(ValueError, match="takes the place of learning_rate"):
        MLPClassifier(schedule=schedules.Constant(0.1), solver="sgd", learning_rate="adaptive").fit(X, y)


def test_rules_reach_the_optimizer():
    X, y = load_diabetes(return_X_y=True)
    settings = {"hidden_layer_sizes": (10,), "max_iter": 20, "random_state": 0, "learning_rate_init": 0.01}
    plain = MLPRegressor(**settings).fit(X, y)
    sparse = MLPRegressor(l1=300.0, **settings).fit(X, y)
    assert np.abs(sparse.coefs_[0]).sum() < np.abs(plain.coefs_[0]).sum()
    for rule in ({"clip_norm": 1e-3}, {"clip_value": 1e-4}):
        moved = MLPRegressor(solver="sgd", **settings, **rule).fit(X, y)
        start = MLPRegressor(solver="sgd", **{**settings, "max_iter": 1}, **rule).fit(X, y)
        assert np.abs(moved.coefs_[0] - start.coefs_[0]).max() < 0.1
    decayed = MLPRegressor(solver="adamw", weight_decay=1.0, **settings).fit(X, y)
    assert np.abs(decayed.coefs_[0]).sum() < np.abs(MLPRegressor(solver="adamw", **settings).fit(X, y).coefs_[0]).sum()


@pytest.mark.parametrize("extra", [{"dropout": 0.5}, {"l1": 0.1}, {"clip_norm": 1.0}, {"schedule": schedules.Constant(0.1)}])
def test_lbfgs_says_what_it_cannot_do(extra):
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match=f"{next(iter(extra))} cannot be used with solver='lbfgs'"):
        MLPRegressor(solver="lbfgs", **extra).fit(X, y)


def test_searched():
    X, _, y, _ = DIGITS
    grid = {"dropout": [0.0, 0.2], "activation": ["relu", "silu"], "schedule": [None, schedules.OneCycle(0.01)]}
    search = GridSearchCV(MLPClassifier((20,), max_iter=15, batch_size=30, random_state=0), grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.8


def test_changing_dropout_and_activation_between_fits():
    X, X_test, y, _ = DIGITS
    model = MLPClassifier((20,), dropout=0.2, warm_start=True, max_iter=3, random_state=0).fit(X, y)
    before = model.predict_proba(X_test)
    np.testing.assert_array_equal(model.set_params(dropout=0.5).predict_proba(X_test), before)
    model.set_params(dropout=0.0, activation="silu").fit(X, y)
    assert [repr(layer) for layer in model._model.layers[:2]] == ["Dense(units=20, activation='silu')", "Dropout(rate=0.0)"]
    model.set_params(hidden_layer_sizes=(7, 7), activation=["relu", "relu"]).predict(X_test)  # of the next fit


@pytest.mark.parametrize(
    "names", [("sigmoid", "logistic"), (["logistic", "logistic"], "logistic"), (["relu", "relu"], "relu")]
)
def test_names_of_activations_that_mean_the_same(names):
    X, y = load_diabetes(return_X_y=True)
    a, b = (MLPRegressor(hidden_layer_sizes=(5, 4), activation=name, max_iter=3, random_state=0).fit(X, y) for name in names)
    np.testing.assert_array_equal(a.coefs_[0], b.coefs_[0])


def test_class_weights_that_do_not_fit():
    X, y = unbalanced()
    model = MLPClassifier((5,), class_weight={"yes": 3.0}, random_state=0)
    model.partial_fit(X[y == "no"], y[y == "no"], classes=["no", "yes"])
    for wrong in ({"yes": -1.0}, {"yes": np.nan}):
        with pytest.raises(ValueError, match="class_weight must hold finite numbers"):
            MLPClassifier((5,), class_weight=wrong).fit(X, y)
    labels = np.column_stack([y == "yes", y == "no"]).astype(int)
    assert MLPClassifier((5,), class_weight="balanced", max_iter=2).fit(X, labels).score(X, labels) >= 0
    with pytest.raises(ValueError, match="class_weight must be 'balanced' or None"):
        MLPClassifier((5,), class_weight={0: 1.0}).fit(X, labels)


def test_quantiles_are_scored_by_the_median():
    X, y = load_diabetes(return_X_y=True)
    y = y / 100
    settings = {"loss": losses.Quantile((0.1, 0.5, 0.9)), "learning_rate_init": 0.01, "random_state": 0}
    model = MLPRegressor(**settings, early_stopping=True, max_iter=100).fit(X, y)
    assert model.score(X, y) > 0.2


def test_a_loss_for_classes_is_refused_by_the_regressor():
    X, y = load_diabetes(return_X_y=True)
    for loss in (losses.CrossEntropy(), losses.Hinge(), losses.LogLoss()):
        with pytest.raises(ValueError, match="take a classifier"):
            MLPRegressor(loss).fit(X, y)


@pytest.mark.parametrize("dropout", [["a"], [None], [1.0], "much"])
def test_wrong_dropout_is_named(dropout):
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="dropout"):
        MLPRegressor(dropout=dropout).fit(X, y)


@pytest.mark.parametrize("of_estimator", [{"alpha": 4.0}, {"alpha": 0.0, "l1": 2.0}])
@pytest.mark.parametrize("where", ["layer", "optimizer"])
def test_penalties_of_estimators_are_those_of_layers_times_the_batch_size(of_estimator, where):
    samples, targets, batch = np.random.default_rng(0).standard_normal((60, 4)), np.arange(60) / 30 - 1, 20
    settings = {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0, "shuffle": False, "batch_size": batch}
    estimator = MLPRegressor(hidden_layer_sizes=(), **settings, **of_estimator, random_state=0).partial_fit(samples, targets)
    start = MLPRegressor(hidden_layer_sizes=(), **settings, random_state=0)
    start.set_params(learning_rate_init=1e-300).partial_fit(samples, targets)
    penalties = {"l2": of_estimator["alpha"] / batch, "l1": of_estimator.get("l1", 0.0) / batch}
    layer, rules = (penalties, {}) if where == "layer" else ({}, penalties)
    model = Model([layers.Dense(1, **layer)], optimizer=optimizers.SGD(0.1, **rules), dtype="float64").build(4)
    model.weights["0.dense.kernel"][...], model.weights["0.dense.bias"][...] = start.coefs_[0], start.intercepts_[0]
    loss = model.fit(samples, targets, batch_size=batch, shuffle=False)["loss"][0]
    assert loss == pytest.approx(estimator.loss_, rel=1e-12)
    np.testing.assert_allclose(model.weights["0.dense.kernel"], estimator.coefs_[0], rtol=1e-12, atol=1e-15)
