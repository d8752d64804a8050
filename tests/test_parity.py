"""The same random_state gives scikit-learn's own trajectory: loss curve, weights and number of epochs, in float64."""

import warnings

import numpy as np
import pytest
import sklearn.neural_network as peer
from sklearn.exceptions import ConvergenceWarning

import fastdnn

SOLVERS = ("lbfgs", "sgd", "adam")
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
TASKS = ("binary", "multiclass", "multilabel", "regression", "multioutput", "poisson")
VARIATIONS = {
    "plain": {},
    "early_stopping": {"early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 4},
    "invscaling": {"learning_rate": "invscaling", "power_t": 0.3},
    "adaptive": {"learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 0.05},
    "odd_batch": {"batch_size": 37},
    "no_shuffle": {"shuffle": False, "batch_size": 64},
    "plain_momentum": {"nesterovs_momentum": False, "momentum": 0.5},
    "strong_l2": {"alpha": 2.0},
    "deep": {"hidden_layer_sizes": (9, 17, 5)},
    "no_hidden": {"hidden_layer_sizes": ()},
    "sample_weight": {},
    "warm_start": {"warm_start": True},
    "partial_fit": {},
    "fit_then_partial_fit": {},
}
SGD_ONLY = ("invscaling", "adaptive", "plain_momentum")
STOCHASTIC_ONLY = (*SGD_ONLY, "early_stopping", "odd_batch", "no_shuffle", "partial_fit", "fit_then_partial_fit")


def data(task):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((211, 7))
    scores = X @ rng.standard_normal((7, 3)) + np.sin(3 * X[:, :3])
    return X, {
        "binary": np.where(scores[:, 0] > 0, "yes", "no"),
        "multiclass": np.array([30, 10, 20])[scores.argmax(axis=1)],
        "multilabel": (scores > 0).astype(int),
        "regression": scores[:, 0],
        "multioutput": scores,
        "poisson": rng.poisson(np.exp(np.clip(0.5 * scores[:, 0], -2, 2))).astype(float),
    }[task]


def trained(module, solver, activation, task, variation, dtype=np.float64):
    X, y = data(task)
    X = X.astype(dtype)
    regression = task in ("regression", "multioutput", "poisson")
    settings = {"hidden_layer_sizes": (12,), "max_iter": 12, "learning_rate_init": 0.01, "random_state": 3}
    settings |= {"solver": solver, "activation": activation} | VARIATIONS[variation]
    if task == "poisson":
        settings["loss"] = "poisson"
    estimator = (module.MLPRegressor if regression else module.MLPClassifier)(**settings)
    weights = np.linspace(0.1, 2.0, len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if variation == "partial_fit":
            for i in range(12):
                known = {} if regression else {"classes": np.arange(3) if task == "multilabel" else np.unique(y)}
                estimator.partial_fit(X[i % 3 :: 2], y[i % 3 :: 2], **known)
        elif variation == "sample_weight":
            estimator.fit(X, y, sample_weight=weights)
        else:
            estimator.fit(X, y)
            if variation == "warm_start":
                estimator.fit(X, y)
            if variation == "fit_then_partial_fit":
                for _ in range(3):
                    estimator.partial_fit(X, y)
    return estimator, X


def applies(solver, variation):
    """Whether the variation changes anything for the solver."""
    return not ((solver == "lbfgs" and variation in STOCHASTIC_ONLY) or (solver == "adam" and variation in SGD_ONLY))


CASES = [(s, a, t, v) for s in SOLVERS for a in ACTIVATIONS for t in TASKS for v in VARIATIONS if applies(s, v)]


@pytest.mark.parametrize(("solver", "activation", "task", "variation"), CASES)
def test_trajectory(solver, activation, task, variation):
    ours, X = trained(fastdnn, solver, activation, task, variation)
    theirs, _ = trained(peer, solver, activation, task, variation)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    close = {"rtol": 1e-6, "atol": 1e-9}
    np.testing.assert_allclose(ours.loss_, theirs.loss_, **close)
    if solver != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, **close)
        assert ours._optimizer.learning_rate == pytest.approx(theirs._optimizer.learning_rate) or solver == "adam"
        assert (ours.validation_scores_ is None) == (theirs.validation_scores_ is None)
        if ours.validation_scores_ is not None:
            np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, **close)
            assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
        else:
            assert ours.best_loss_ == pytest.approx(theirs.best_loss_)
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, **close)
    np.testing.assert_allclose(predictions(ours, X), predictions(theirs, X), **close)
    np.testing.assert_array_equal(ours.predict(X[:9]).shape, theirs.predict(X[:9]).shape)


def predictions(estimator, X):
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)
