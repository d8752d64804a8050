"""What the drop-in estimators say: warnings, errors, lines of verbose, and what interruptions leave."""

import io
import os
import signal
import subprocess
import sys
import threading

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network as peer
from sklearn.base import clone
from sklearn.datasets import load_iris, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from test_estimators import ESTIMATORS, fitted, problem

import fastdnn
from fastdnn import DNNClassifier, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_ctrl_c_leaves_a_usable_model(interruptible):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 50))
    model = MLPClassifier((256, 256), max_iter=10_000, random_state=0, tol=0)
    clone(model).set_params(max_iter=1).fit(X[:500], X[:500, 0] > 0)  # compiles: there the signal would end it all
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, X[:, 0] > 0)
    assert model.predict(X).shape == (20_000,)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("how", ["fit", "refit", "warm", "partial_fit"])
def test_diverging_training_raises_scikit_learns_error_and_leaves_nothing(how):
    X, y = make_regression(50, 5, random_state=0)
    model = MLPRegressor(solver="sgd", learning_rate_init=1e-6, activation="identity", max_iter=3, warm_start=how == "warm")
    if how != "fit":
        model.fit(X, y)
        expected, curve = model.predict(X), list(model.loss_curve_)
    model.set_params(learning_rate_init=1e6, max_iter=200)
    if how == "partial_fit":
        model.__dict__.pop("_optimizer")  # a new rate needs a new solver
    step = model.partial_fit if how == "partial_fit" else model.fit
    seen = []

    def until_it_diverges():
        for _ in range(200):
            step(X, y)
            seen.append((model.predict(X), list(model.loss_curve_)))

    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        until_it_diverges()
    if seen:
        expected, curve = seen[-1]
    if how == "fit":
        with pytest.raises(NotFittedError):
            model.predict(X)
    else:
        np.testing.assert_array_equal(model.predict(X), expected)
        assert model.loss_curve_ == curve


BAD_MATRIX = """
import sys, warnings; warnings.simplefilter("ignore")
import numpy as np, scipy.sparse, fastdnn
form, part, index = sys.argv[1:]
good = scipy.sparse.random(40, 6, 0.5, random_state=0, format="csr")
y = np.arange(40) % 2
bad = good.copy().asformat(form) if form != "bsr" else good.tobsr((2, 2))
array = getattr(bad, part).copy()
array[-1] = int(index)
setattr(bad, part, array)
model = fastdnn.MLPClassifier((4,), max_iter=2).fit(good, y)
for call in (model.fit, model.partial_fit, lambda X, y: model.predict(X), model.score):
    try:
        call(bad, y)
    except ValueError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("form", "part", "index"),
    [("csr", "indices", 10**6), ("csc", "indices", -3), ("coo", "row", 10**9), ("coo", "col", -1), ("bsr", "indices", 10**6),
     ("bsr", "indptr", -7), ("csr", "indptr", 10**6)],
)  # fmt: skip
def test_a_sparse_matrix_with_a_bad_index_is_an_error_not_a_crash(form, part, index):
    command = [sys.executable, "-c", BAD_MATRIX, form, part, str(index)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"X is not a valid {form.upper()} matrix") == 4


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_values_too_large_for_the_networks_float_type():
    X = np.random.default_rng(0).standard_normal((50, 3)).astype("float32")
    model = MLPClassifier((4,), max_iter=2).fit(X, X[:, 0] > 0)
    with pytest.raises(ValueError, match="too large for dtype"):
        model.predict(X.astype(float) * 1e300)


def test_warnings_and_prints(capsys):
    X, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached and the optimization hasn't converged"):
        MLPClassifier(max_iter=2).fit(X, y)
    with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger than sample size"):
        MLPClassifier(max_iter=2, batch_size=1000).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge"):
        MLPClassifier(max_iter=2, solver="lbfgs").fit(X, y)
    assert capsys.readouterr().out == ""
    settings = {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.9, "verbose": True, "n_iter_no_change": 1}
    printed = []
    for module in (MLPClassifier, peer.MLPClassifier):
        module(random_state=0, **settings).fit(X, y)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    for module in (MLPClassifier, peer.MLPClassifier):
        module(random_state=0, early_stopping=True, verbose=True, max_iter=30).fit(X, y)
        printed.append(capsys.readouterr().out)
    assert printed[2] == printed[3]


def test_zero_weights():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"[Ww]eight.*zero"):
        MLPClassifier().fit(X, y, sample_weight=np.zeros(150))
    weights = np.r_[np.zeros(50), np.ones(100)]
    with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
        MLPClassifier(batch_size=50, shuffle=False).fit(X, y, sample_weight=weights)


def test_user_set_weights_before_the_first_partial_fit():
    model = MLPRegressor(hidden_layer_sizes=(2,), activation="identity", solver="sgd", learning_rate_init=1e-12)
    model.coefs_, model.intercepts_ = [np.ones((3, 2)), np.ones((2, 1))], [np.zeros(2), np.zeros(1)]
    model.n_layers_, model.t_, model.n_iter_, model.loss_curve_, model.best_loss_ = 3, 0, 0, [], np.inf
    model.out_activation_, model._no_improvement_count, model.n_features_in_ = "identity", 0, 3
    model.partial_fit([[1.0, 2.0, 3.0]], [0.0])
    np.testing.assert_allclose(model.predict([[1.0, 2.0, 3.0]]), [12.0])


def test_pickles_go_through_a_buffer():
    buffer = io.BytesIO()
    joblib.dump(fitted(MLPRegressor), buffer)
    buffer.seek(0)
    X, _ = problem(MLPRegressor)
    np.testing.assert_array_equal(joblib.load(buffer).predict(X), fitted(MLPRegressor).predict(X))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(("one", "other"), [(500, 1), (1, 2), (2, 1)])
def test_another_number_of_outputs_is_refused(one, other, solver):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 3)), rng.standard_normal((200, 500))
    one_y, other_y = (y[:, :n].squeeze() for n in (one, other))
    settings = {"hidden_layer_sizes": (4,), "max_iter": 2, "warm_start": True, "random_state": 0}
    model = MLPRegressor(solver=solver, **settings).fit(X, one_y)
    before = model.predict(X)
    calls = [model.fit] if solver == "lbfgs" else [model.fit, model.partial_fit]
    for call in calls:
        with pytest.raises(ValueError, match="the network was built with layers of"):
            call(X, other_y)
        assert model.n_outputs_ == one
        np.testing.assert_array_equal(model.predict(X), before)


def test_parameters_changed_between_fits():
    X, y = load_iris(return_X_y=True)
    ours, theirs = (m.MLPClassifier(max_iter=5, random_state=0, warm_start=True).fit(X, y) for m in (fastdnn, peer))
    for model in (ours, theirs):
        model.set_params(activation="tanh")
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(ours.fit(X, y).loss_curve_, theirs.fit(X, y).loss_curve_, rtol=1e-6)
    with pytest.raises(ValueError, match="call fit with warm_start=False"):
        ours.set_params(hidden_layer_sizes=(3,)).fit(X, y)
    model = MLPRegressor(max_iter=2).partial_fit(X, y + 1.0)
    with pytest.raises(ValueError, match="call fit with warm_start=False"):
        model.set_params(loss="poisson").partial_fit(X, y + 1.0)


def test_validation_weights_all_zero():
    X, y = load_iris(return_X_y=True)
    messages = []
    for module in (fastdnn, peer):
        model = module.MLPClassifier(early_stopping=True, batch_size=135, shuffle=False, random_state=0)
        with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero number") as caught:
            model.fit(X, y, sample_weight=(np.arange(150) == 1) * 1.0)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_unfitted_after_a_failed_fit():
    model = MLPClassifier()
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0"):
        model.set_params(hidden_layer_sizes=(-1,)).fit([[1.0], [2.0]], [0, 1])
    with pytest.raises(NotFittedError):
        model.predict([[1.0]])
    model = fitted(MLPClassifier)
    del model.coefs_
    with pytest.raises(NotFittedError):
        model.predict(np.zeros((1, 12)))


def test_concurrent_lbfgs_fits_give_blas_its_threads_back():
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_info

    def counts():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = counts()
    X, y = problem(MLPRegressor)
    with ThreadPoolExecutor(4) as pool:
        fits = [pool.submit(MLPRegressor(solver="lbfgs", max_iter=20, alpha=a).fit, X, y) for a in range(8)]
        [f.result() for f in fits]
    assert counts() == before


def test_a_bad_sparse_matrix_leaves_the_fitted_model():
    X, y = problem(MLPClassifier)
    model = fitted(MLPClassifier)
    before = model.predict_proba(X)
    bad = scipy.sparse.csr_array(X)
    bad.indices[0] = 99
    with pytest.raises(ValueError, match="column indices"):
        model.fit(bad, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize("hidden", [(256, 256), (512,)])
def test_parity_at_widths_with_extra_padding(hidden):
    X, y = problem(MLPClassifier)
    settings = {"hidden_layer_sizes": hidden, "alpha": 1.0, "max_iter": 8, "random_state": 0, "batch_size": 50}
    ours, theirs = MLPClassifier(**settings).fit(X, y), peer.MLPClassifier(**settings).fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_misspelt_parameter_names_the_class(estimator):
    with pytest.raises(TypeError, match=f"{estimator.__name__}.__init__.* unexpected keyword argument 'hiden'"):
        estimator(hiden=3)


@pytest.mark.parametrize("scale", [1.0, 1e30])
@pytest.mark.parametrize("classifier", [MLPClassifier, DNNClassifier])
def test_numbers_that_are_no_classes_are_named_in_a_line(classifier, scale):
    X = np.random.default_rng(0).standard_normal((50, 3))
    with pytest.raises(ValueError, match=r"Unknown label type: continuous[^\n]*regressor") as error:
        classifier().fit(X, scale * X[:, 0])
    assert len(str(error.value)) < 200
