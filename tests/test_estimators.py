"""The drop-in estimators: scikit-learn's checks, views, copies, input forms, processes."""

import copy
import inspect
import pickle
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network as peer
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    parametrize_with_checks,
)

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
        alike = [p.replace(annotation=inspect.Parameter.empty) for p in ours_.values()]  # scikit-learn has no type hints
        assert alike[: len(theirs_)] == list(theirs_.values()), method
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
