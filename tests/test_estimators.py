"""The drop-in estimators: scikit-learn's checks, views, copies, input forms, processes."""

import copy
import inspect
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network as peer
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    parametrize_with_checks,
)

import fastdnn
from fastdnn import MLPClassifier, MLPRegressor

ESTIMATORS = [MLPClassifier, MLPRegressor]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def problem(estimator, dtype=float):
    if estimator is MLPClassifier:
        X, y = make_classification(120, 12, n_informative=6, n_classes=3, random_state=0)
    else:
        X, y = make_regression(120, 12, n_targets=2, random_state=0)
        y = y / y.std()
    return X.astype(dtype), y


def fitted(estimator, dtype=float, **settings):
    return estimator(hidden_layer_sizes=(9, 7), max_iter=15, random_state=0, **settings).fit(*problem(estimator, dtype))


def probabilities(estimator, X):
    return estimator.predict_proba(X) if isinstance(estimator, MLPClassifier) else estimator.predict(X)


# ---------------------------------------------------------------- scikit-learn's own checks


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_parameter_validation(estimator):
    check_param_validation(estimator.__name__, estimator())


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_data_frame_column_names(estimator, settings):
    check_dataframe_column_names_consistency(estimator.__name__, estimator(**settings))


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_signature_is_scikit_learns(name):
    ours, theirs = globals()[name], getattr(peer, name)
    for method in ("__init__", "fit", "partial_fit", "predict", "score"):
        if method == "partial_fit":
            ours_, theirs_ = ours(solver="sgd").partial_fit, theirs(solver="sgd").partial_fit
        else:
            ours_, theirs_ = getattr(ours, method), getattr(theirs, method)
        ours_, theirs_ = inspect.signature(ours_).parameters, inspect.signature(theirs_).parameters
        assert list(ours_.values())[: len(theirs_)] == list(theirs_.values()), method
        extras = list(ours_.values())[len(theirs_) :]
        assert all(p.kind is p.KEYWORD_ONLY for p in extras), method
        assert not extras or method == "__init__"
    params = ours().get_params()
    assert {k: v for k, v in params.items() if k in theirs().get_params()} == theirs().get_params()
    assert ours().__sklearn_tags__() == theirs().__sklearn_tags__()
    assert ours()._parameter_constraints.keys() == params.keys()


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fitted_attributes_are_scikit_learns(estimator, solver, early_stopping):
    settings = {"max_iter": 5, "solver": solver, "early_stopping": early_stopping, "random_state": 0}
    X, y = problem(estimator)
    ours, theirs = estimator(**settings).fit(X, y), getattr(peer, estimator.__name__)(**settings).fit(X, y)

    def public(e):
        return {n for n in dir(e) if n.endswith("_") and not n.startswith("_") and hasattr(e, n)}

    assert public(ours) == public(theirs)
    for name in public(ours) - {"coefs_", "intercepts_"}:
        one, two = getattr(ours, name), getattr(theirs, name)
        assert type(one) is type(two) or (isinstance(one, float) and isinstance(two, float)), name
    assert ours.loss == theirs.loss


def test_unfitted():
    for estimator in ESTIMATORS:
        assert not hasattr(estimator(), "coefs_")
        with pytest.raises(NotFittedError):
            estimator().predict([[1.0]])
        assert not hasattr(estimator(solver="lbfgs"), "partial_fit")


# ---------------------------------------------------------------- weights are views


def via_pickle(estimator, folder):
    return pickle.loads(pickle.dumps(estimator))


def via_deepcopy(estimator, folder):
    return copy.deepcopy(estimator)


def via_joblib(estimator, folder):
    joblib.dump(estimator, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


def via_memory_map(estimator, folder):
    joblib.dump(estimator, folder / "model.joblib")
    return joblib.load(folder / "model.joblib", mmap_mode="r")


def as_it_is(estimator, folder):
    return estimator


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", [as_it_is, via_pickle, via_deepcopy, via_joblib, via_memory_map])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_writing_weights_changes_predictions(estimator, way, dtype, tmp_path):
    X, y = problem(estimator, dtype)
    original = fitted(estimator, dtype)
    model = way(original, tmp_path)
    np.testing.assert_array_equal(probabilities(model, X), probabilities(original, X))
    if way is via_memory_map:
        assert not model.coefs_[0].flags.writeable
        model.coefs_[0] = model.coefs_[0]  # assigning makes the weights the model's own
    before = probabilities(model, X).copy()
    model.coefs_[0][:, 0] += 1  # in place
    changed = [probabilities(model, X).copy()]
    model.coefs_[1] = model.coefs_[1] * 2  # an item
    changed.append(probabilities(model, X).copy())
    model.intercepts_ = [b + 0.5 for b in model.intercepts_]  # the list
    changed.append(probabilities(model, X).copy())
    model.partial_fit(X, y)  # training goes on from there
    changed.append(probabilities(model, X).copy())
    for one, two in zip([before, *changed[:-1]], changed, strict=True):
        assert not np.array_equal(one, two)
    assert model.coefs_[0].dtype == dtype
    if way is not as_it_is:
        np.testing.assert_array_equal(probabilities(original, X), before)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_training_goes_on_after_a_memory_map(estimator, tmp_path):
    X, y = problem(estimator)
    model = fitted(estimator)
    other = via_memory_map(model, tmp_path)
    for each in (model, other):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(probabilities(model, X), probabilities(other, X))


def test_weights_of_a_wrong_shape_are_refused():
    model = fitted(MLPClassifier)
    before = model.coefs_[0].copy()
    with pytest.raises(ValueError, match="must have the shapes of the fitted network"):
        model.coefs_ = model.coefs_[:1]
    with pytest.raises(ValueError, match=r"item 1 must have the shapes"):
        model.coefs_[1] = np.zeros((2, 2))
    np.testing.assert_array_equal(model.coefs_[0], before)
    assert isinstance(model.coefs_, list)
    assert type(pickle.loads(pickle.dumps(model.coefs_))) is list


def test_pickle_holds_little_more_than_the_weights_and_their_moments():
    X, y = problem(MLPClassifier)
    model = MLPClassifier((512, 512), max_iter=1, random_state=0).fit(X, y)
    weights = sum(a.nbytes for a in model.coefs_ + model.intercepts_)
    assert len(pickle.dumps(model)) < 3.4 * weights  # scikit-learn's holds 4.0 times the weights


# ---------------------------------------------------------------- input


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_sparse_equals_dense(estimator, solver):
    X, y = problem(estimator)
    X[np.abs(X) < 0.7] = 0
    dense = estimator(max_iter=8, solver=solver, random_state=0, early_stopping=True).fit(X, y)
    for kind in (scipy.sparse.csr_matrix, scipy.sparse.csc_matrix, scipy.sparse.csr_array, scipy.sparse.csc_array):
        sparse = estimator(max_iter=8, solver=solver, random_state=0, early_stopping=True).fit(kind(X), y)
        np.testing.assert_array_equal(sparse.coefs_[0], dense.coefs_[0])
        np.testing.assert_array_equal(sparse.predict(kind(X)), dense.predict(X))


def test_a_wide_sparse_matrix_is_never_made_dense():
    import tracemalloc

    rows, features = 20_000, 5_000
    X = scipy.sparse.random_array((rows, features), density=1e-3, format="csr", dtype=np.float32, random_state=0)
    y = np.arange(rows) % 2
    tracemalloc.start()
    MLPClassifier((4,), max_iter=1, random_state=0).fit(X, y).predict(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * rows * features * 4


@pytest.mark.parametrize("targets", [np.float64, np.float32, int])
def test_computation_in_the_type_of_X(targets):
    X, y = make_regression(60, 5, random_state=0)
    for dtype in (np.float32, np.float64):
        model = MLPRegressor(max_iter=3, random_state=0).fit(X.astype(dtype), y.astype(targets))
        assert {a.dtype for a in model.coefs_ + model.intercepts_} == {np.dtype(dtype)}
        assert model.predict(X.astype(dtype)).dtype == dtype
    assert model.predict(X.astype(np.float32)).dtype == np.float64
    assert MLPRegressor(max_iter=3).fit(X.astype(np.float32), y).predict(X).dtype == np.float64
    assert MLPRegressor(max_iter=3).fit(X.astype(int), y).coefs_[0].dtype == np.float64


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_float32_is_close_to_float64(solver):
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    settings = {"max_iter": 20, "solver": solver, "random_state": 0, "learning_rate_init": 0.01}
    double, single = MLPClassifier(**settings).fit(X, y), MLPClassifier(**settings).fit(X.astype(np.float32), y)
    assert single.loss_ == pytest.approx(double.loss_, rel=1e-3)
    assert single.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_labels_of_any_kind():
    X, y = load_iris(return_X_y=True)
    expected = MLPClassifier(max_iter=20, random_state=0).fit(X, y).predict(X)
    for names in (np.array(["a", "b", "c"]), np.array(["a", "b", "c"], object), np.array([-1.0, 2.0, 9.0])):
        predicted = MLPClassifier(max_iter=20, random_state=0).fit(X, names[y].tolist()).predict(X)
        np.testing.assert_array_equal(predicted, names[expected])


def test_predict_methods_of_each_target():
    X, y = make_multilabel_classification(80, 10, random_state=0)
    multilabel = MLPClassifier(max_iter=30, random_state=0).fit(X, y)
    assert multilabel.predict(X).shape == multilabel.predict_proba(X).shape == y.shape
    np.testing.assert_array_equal(multilabel.predict(X), multilabel.predict_proba(X) > 0.5)
    binary = MLPClassifier(max_iter=30, random_state=0).fit(X, y[:, 0])
    p = binary.predict_proba(X)
    assert p.shape == (80, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(binary.predict_log_proba(X)), p)
    one_class = MLPClassifier(max_iter=3).fit(X, np.full(80, 7))
    assert (one_class.predict(X) == 7).all()
    assert one_class.predict_proba(X).shape == (80, 2)


# ---------------------------------------------------------------- scikit-learn's tools


def test_grid_search_on_memory_mapped_float32():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10_000, 64)).astype(np.float32)  # above 1 MB, so workers get read-only memory maps
    y = (np.abs(X[:, :4]).sum(axis=1) * 2).astype(int) % 3
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=2, random_state=0))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e-2]}, cv=2, n_jobs=2).fit(X, y)
    alone = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e-2]}, cv=2).fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert search.best_estimator_[-1].coefs_[0].dtype == np.float32


def test_scores_and_clones():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier((10,), max_iter=100, learning_rate_init=0.01, random_state=0)
    scores = cross_val_score(model, X, y)
    assert scores.mean() > 0.8
    copied = clone(model.fit(X, y))
    assert not hasattr(copied, "coefs_")
    assert copied.get_params() == model.get_params()


def test_metadata_routing():
    X, y = load_iris(return_X_y=True)
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier((5,), max_iter=5, random_state=0).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        result = cross_validate(model, X, y, params={"sample_weight": np.ones(len(y))})
        assert len(result["test_score"]) == 5
        assert MLPClassifier(solver="sgd").set_partial_fit_request(sample_weight=True, classes=True)


def test_html_representation():
    text = fitted(MLPClassifier)._repr_html_()
    assert "MLPClassifier" in text
    assert "coefs_" in text
    assert "coefs_" not in MLPClassifier()._repr_html_()
    assert repr(MLPClassifier(alpha=1)) == "MLPClassifier(alpha=1)"


def test_feature_names():
    pandas = pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True)
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = MLPClassifier(max_iter=5, early_stopping=True).fit(frame, pandas.Series(y))
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(frame)


# ---------------------------------------------------------------- messages


def test_ctrl_c_leaves_a_usable_model(interruptible):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 50))
    model = MLPClassifier((256, 256), max_iter=10_000, random_state=0, tol=0)
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
