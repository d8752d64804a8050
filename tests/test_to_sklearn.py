"""Estimators as scikit-learn's own MLPs and back: the same predictions, and training that goes on the same way.

Predictions are not equal bit for bit: our products add to the bias, input by input, while BLAS adds up in an order of its own
and the bias last. So they are compared within rounding, and labels exactly.
"""

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import NotFittedError

import fastdnn
from fastdnn import DNNClassifier, DNNRegressor, MLPClassifier, MLPRegressor, layers, losses, optimizers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ROUNDING = {"float64": 1e-13, "float32": 3e-6}


def data(task, dtype="float64"):
    if task == "multilabel":
        X, y = make_multilabel_classification(120, 8, n_classes=4, random_state=0)
    elif task in ("regression", "outputs"):
        X, y = make_regression(120, 8, n_targets=3 if task == "outputs" else 1, random_state=0)
        y = y / 100
    else:
        classes = {"binary": 2, "several": 4, "texts": 3}[task]
        X, y = make_classification(120, 8, n_informative=6, n_classes=classes, random_state=0)
        y = np.array(["ab", "c", "d"])[y] if task == "texts" else y
    return ((X - X.mean(0)) / X.std(0)).astype(dtype), y


SETTINGS = [  # (task, dtype, parameters)
    ("binary", "float64", {}),
    ("binary", "float32", {}),
    ("binary", "float64", {"solver": "sgd"}),
    ("binary", "float64", {"solver": "lbfgs"}),
    ("binary", "float64", {"early_stopping": True, "max_iter": 30}),
    ("several", "float64", {"activation": "tanh"}),
    ("several", "float32", {"activation": "tanh", "solver": "sgd", "learning_rate": "adaptive"}),
    ("several", "float64", {"activation": "logistic", "hidden_layer_sizes": (20, 10)}),
    ("several", "float64", {"activation": "identity", "hidden_layer_sizes": (7,)}),
    ("several", "float64", {"activation": ["relu", "relu"], "hidden_layer_sizes": (16, 8)}),
    ("several", "float64", {"hidden_layer_sizes": ()}),
    ("several", "float64", {"solver": "sgd", "learning_rate": "invscaling", "nesterovs_momentum": False}),
    ("several", "float64", {"batch_size": 16, "beta_1": 0.8, "epsilon": 1e-6, "alpha": 0.1}),
    ("texts", "float64", {"early_stopping": True, "solver": "sgd"}),
    ("texts", "float32", {"hidden_layer_sizes": (5, 5, 5)}),
    ("multilabel", "float64", {}),
    ("multilabel", "float32", {"activation": "logistic"}),
    ("multilabel", "float64", {"solver": "lbfgs"}),
    ("regression", "float64", {}),
    ("regression", "float32", {"solver": "sgd", "momentum": 0.5}),
    ("regression", "float64", {"solver": "lbfgs", "activation": "tanh"}),
    ("regression", "float64", {"early_stopping": True}),
    ("outputs", "float64", {"activation": "logistic"}),
    ("outputs", "float32", {"hidden_layer_sizes": (12, 6)}),
    ("outputs", "float64", {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2}),
    ("several", "float64", {"solver": "adamw", "dropout": 0.2, "clip_norm": 1.0}),
    ("binary", "float64", {"loss": "focal"}),
    ("regression", "float64", {"loss": "huber"}),
]


def fitted(task, dtype, parameters, more=None):
    X, y = data(task, dtype)
    cls = MLPRegressor if task in ("regression", "outputs") else MLPClassifier
    defaults = {"hidden_layer_sizes": (15,), "max_iter": 12, "random_state": 3}
    return cls(**(defaults | parameters | (more or {}))).fit(X, y), X, y


def assert_same(ours, theirs, X):
    name = "predict_proba" if hasattr(ours, "predict_proba") else "predict"
    mine, found = getattr(ours, name)(X), getattr(theirs, name)(X)
    assert mine.dtype == found.dtype
    np.testing.assert_allclose(found, mine, atol=ROUNDING[X.dtype.name], rtol=ROUNDING[X.dtype.name])
    if name == "predict_proba":
        np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))


@pytest.mark.parametrize(("task", "dtype", "parameters"), SETTINGS)
def test_predictions_are_the_same(task, dtype, parameters):
    ours, X, _ = fitted(task, dtype, parameters)
    theirs = ours.to_sklearn()
    assert type(theirs).__module__.startswith("sklearn.neural_network")
    assert_same(ours, theirs, X)
    for name, value in vars(ours).items():  # what is left of the fit, in both
        if not name.startswith("_") and name.endswith("_") and name not in ("history_", "callbacks_"):
            np.testing.assert_array_equal(getattr(theirs, name), value)


@pytest.mark.parametrize(("task", "dtype", "parameters"), SETTINGS[:25])
def test_back_again(task, dtype, parameters):
    ours, X, y = fitted(task, dtype, parameters)
    back = type(ours).from_sklearn(ours.to_sklearn())
    for a, b in zip(ours.coefs_ + ours.intercepts_, back.coefs_ + back.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours.predict(X), back.predict(X))
    if ours.solver != "lbfgs" and not ours.early_stopping:
        for estimator in (ours, back):
            estimator.partial_fit(X, y).partial_fit(X, y)
        np.testing.assert_array_equal(ours.loss_curve_, back.loss_curve_)
        assert back.t_ == ours.t_


GOES_ON = [s for s in SETTINGS[:25] if s[1] == "float64" and s[2].get("solver") != "lbfgs" and "early_stopping" not in s[2]]


@pytest.mark.parametrize(("task", "dtype", "parameters"), GOES_ON)
def test_partial_fit_goes_on_the_same_way(task, dtype, parameters):
    ours, X, y = fitted(task, dtype, parameters)
    theirs = ours.to_sklearn()
    for _ in range(5):
        ours.partial_fit(X, y)
        theirs.partial_fit(X, y)
    np.testing.assert_allclose(theirs.loss_curve_, ours.loss_curve_, rtol=1e-8)
    assert (theirs.t_, theirs.n_iter_) == (ours.t_, ours.n_iter_)
    assert theirs._optimizer.learning_rate == pytest.approx(ours._optimizer.learning_rate) or ours.solver == "adam"
    for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-8)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("task", ["several", "outputs"])
def test_warm_start_goes_on_the_same_way(task, solver):
    ours, X, y = fitted(task, "float64", {"solver": solver, "warm_start": True, "activation": "tanh"})
    theirs = ours.to_sklearn()
    ours.fit(X, y)
    theirs.fit(X, y)
    np.testing.assert_allclose(theirs.loss_, ours.loss_, rtol=1e-7)
    for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-6)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("task", ["binary", "texts", "multilabel", "regression"])
def test_a_fit_of_scikit_learn_goes_on_here(task, solver):
    X, y = data(task)
    cls = sklearn.neural_network.MLPRegressor if task == "regression" else sklearn.neural_network.MLPClassifier
    settings = {"hidden_layer_sizes": (12, 7), "activation": "tanh", "random_state": 0, "max_iter": 10, "batch_size": 30}
    theirs = cls(solver=solver, **settings).fit(X, y)
    before = [c.copy() for c in theirs.coefs_]
    ours = getattr(fastdnn, cls.__name__).from_sklearn(theirs)
    assert_same(ours, theirs, X)
    for _ in range(4):
        ours.partial_fit(X, y)
    assert all((a == b).all() for a, b in zip(before, theirs.coefs_, strict=True))
    for _ in range(4):
        theirs.partial_fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-8)
    assert ours.get_params()["hidden_layer_sizes"] == (12, 7)


def test_frames_keep_their_names():
    pd = pytest.importorskip("pandas")
    X, y = data("texts")
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(8)])
    ours = MLPClassifier((5,), max_iter=3, random_state=0).fit(frame, y)
    theirs = ours.to_sklearn()
    np.testing.assert_array_equal(theirs.feature_names_in_, frame.columns)
    np.testing.assert_array_equal(theirs.predict(frame), ours.predict(frame))
    np.testing.assert_array_equal(MLPClassifier.from_sklearn(theirs).feature_names_in_, frame.columns)


# ---------------------------------------------------------------- networks of any layers

EXPRESSED = [
    [layers.Dense(12, "relu"), layers.Dropout(0.3), layers.Dense(8, "relu")],
    [layers.Dense(12, use_bias=False), layers.BatchNorm(), layers.Activation("tanh"), layers.Dense(6, "tanh")],
    [layers.Dense(12, "relu"), layers.BatchNorm(), layers.Dense(8), layers.BatchNorm(activation="relu")],
    [layers.Rescaling(0.5, 1.0), layers.BatchNorm(), layers.Dense(9, "logistic"), layers.Scale(initializer=0.7)],
    [layers.Dense(12, "relu", spectral_norm=True)],
    [],
]


@pytest.mark.parametrize("net", EXPRESSED)
@pytest.mark.parametrize("task", ["several", "binary", "outputs"])
def test_networks_of_dense_layers(net, task):
    X, y = data(task)
    cls = DNNRegressor if task == "outputs" else DNNClassifier
    ours = cls(net, epochs=5, batch_size=24, random_state=0).fit(X, y)
    theirs = ours.to_sklearn()
    assert theirs.n_iter_ == 5
    assert_same(ours, theirs, X)
    theirs.partial_fit(X, y)
    assert len(theirs.loss_curve_) == 6


def test_moments_of_a_network_go_along():
    X, y = data("several")
    net = [layers.Dense(12, "relu"), layers.Dense(8, "relu")]
    ours = DNNClassifier(net, epochs=4, optimizer=optimizers.Adam(0.01, epsilon=1e-7), random_state=0).fit(X, y)
    theirs = ours.to_sklearn()
    assert theirs._optimizer.t == ours.model_.step == 4
    views = ours.model_.layout.views(ours.model_.moments.reshape(2, -1)[1])
    np.testing.assert_array_equal(theirs._optimizer.vs[1], views["1.dense.kernel"])
    assert (theirs.solver, theirs.learning_rate_init, theirs.epsilon, theirs.alpha) == ("adam", 0.01, 1e-7, 0.0)


@pytest.mark.parametrize("optimizer", [optimizers.Adam(0.01), optimizers.SGD(0.1, momentum=0.9)], ids=repr)
def test_moments_go_along_where_a_layer_has_no_bias(optimizer):
    X, y = data("several")
    net = [layers.Dense(6, "relu", use_bias=False), layers.Dense(6, "relu"), layers.Dense(6, "relu", use_bias=False)]
    ours = DNNClassifier(net, epochs=4, optimizer=optimizer, random_state=0).fit(X, y)
    theirs = ours.to_sklearn()
    found = theirs._optimizer.ms if theirs.solver == "adam" else theirs._optimizer.velocities
    views = ours.model_.layout.views(ours.model_.moments.reshape(ours.model_.optimizer.n_arrays, -1)[0])
    expected = [views[f"{i}.dense.kernel"] for i in range(4)]
    expected += [views.get(f"{i}.dense.bias", np.zeros(6)) for i in range(4)]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    theirs.partial_fit(X, y)


@pytest.mark.parametrize(
    ("net", "what"),
    [
        ([layers.Dense(8, "relu"), layers.Dense(8, "tanh")], "Dense.*activation='tanh'"),
        ([layers.Dense(8, "gelu")], "Dense.*activation='gelu'"),
        ([layers.Dense(8, "relu"), layers.LayerNorm()], "LayerNorm"),
        ([layers.Residual([layers.Dense(8, "relu")])], "Residual"),
        ([layers.Reshape((8, 1)), layers.Conv1D(4, 3), layers.Flatten()], "Reshape"),
        ([layers.Dense(8), layers.PReLU()], "PReLU"),
    ],
)
def test_what_scikit_learn_cannot_express_is_named(net, what):
    X, y = data("several")
    with pytest.raises(ValueError, match=f"{what}.*cannot be expressed by scikit-learn"):
        DNNClassifier(net, epochs=1, random_state=0).fit(X, y).to_sklearn()


def test_other_errors():
    X, y = data("regression")
    with pytest.raises(ValueError, match="cannot be expressed"):
        MLPRegressor(loss=losses.Quantile((0.1, 0.9)), activation="selu", max_iter=2).fit(X, y).to_sklearn()
    with pytest.raises(NotFittedError):
        MLPClassifier().to_sklearn()
    with pytest.raises(NotFittedError):
        MLPClassifier.from_sklearn(sklearn.neural_network.MLPClassifier())
    with pytest.raises(ValueError, match=r"sklearn\.neural_network\.MLPClassifier, got MLPRegressor"):
        MLPClassifier.from_sklearn(sklearn.neural_network.MLPRegressor().fit(X, y))
    with pytest.raises(ValueError, match="takes vectors"):
        DNNRegressor([layers.Flatten()], epochs=1).fit(X.reshape(-1, 4, 2), y).to_sklearn()
