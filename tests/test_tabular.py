"""TabularClassifier and TabularRegressor: scikit-learn's checks, accuracy, tables, targets and weights."""

import numpy as np
import pandas as pd
import pytest
from mixed_table import every_estimator, fitted, frame, labels, numbers
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine, make_multilabel_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_param_validation, parametrize_with_checks

from fastdnn import TabularClassifier, TabularRegressor, search_space

# ---------------------------------------------------------------- scikit-learn's checks


@parametrize_with_checks([TabularClassifier("fast", epochs=64), TabularRegressor("fast", epochs=64)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@every_estimator
def test_parameter_validation(estimator):
    check_param_validation(estimator.__name__, estimator())


@every_estimator
def test_in_pipelines_and_searches(estimator):
    X, y = frame(200)
    y = labels(y) if estimator is TabularClassifier else y
    model = estimator("fast", epochs=8, random_state=0)
    grid = GridSearchCV(
        make_pipeline(FunctionTransformer(), model), {f"{estimator.__name__.lower()}__dropout": [0, 0.1]}, cv=2
    )
    assert np.isfinite(grid.fit(X, y).best_score_)
    space = search_space(model)
    found = RandomizedSearchCV(model, space, n_iter=2, cv=2, random_state=0).fit(X, y)
    assert set(found.best_params_) == set(space)
    assert np.isfinite(cross_val_score(model, X, y, cv=2)).all()


# ---------------------------------------------------------------- accuracy


def test_regression_is_accurate_without_settings():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    model = TabularRegressor(random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.28
    assert 40 < model.validation_score_ < 70


@pytest.mark.parametrize(("load", "least"), [(load_breast_cancer, 0.95), (load_wine, 0.95)])
def test_classification_is_accurate_without_settings(load, least):
    X, y = load(return_X_y=True, as_frame=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    model = TabularClassifier(random_state=0).fit(X, y)
    assert model.score(X_test, y_test) >= least
    assert log_loss(y_test, model.predict_proba(X_test)) < 0.2


def test_mixed_columns_are_understood():
    model, X, y = fitted(TabularRegressor, 1000, epochs=64)
    X_test, y_test = frame(500, 1)
    assert model.score(X_test, y_test) > 0.85
    assert model.score(X, y) > 0.9


# ---------------------------------------------------------------- tables


@every_estimator
@pytest.mark.parametrize("make", ["polars", "pyarrow"])
def test_frames_of_all_makes_give_the_same(estimator, make):
    pytest.importorskip(make)
    model, X, _ = fitted(estimator, epochs=4)
    if make == "polars":
        import polars

        other = polars.from_pandas(X)
    else:
        import pyarrow

        other = pyarrow.Table.from_pandas(X)
    again = clone(model).fit(other, model.predict(X) if is_classifier(model) else frame()[1])
    np.testing.assert_array_equal(numbers(model, other), numbers(model, X))
    np.testing.assert_allclose(numbers(again, other), numbers(again, X))


@every_estimator
def test_columns_in_another_order_and_one_row(estimator):
    model, X, _ = fitted(estimator, epochs=4)
    whole = numbers(model, X)
    np.testing.assert_array_equal(numbers(model, X[X.columns[::-1]]), whole)
    np.testing.assert_array_equal(numbers(model, X.iloc[[7]]), whole[[7]])
    np.testing.assert_array_equal(numbers(model, X.iloc[::-1]), whole[::-1])


@every_estimator
def test_what_fit_has_not_seen_is_no_error(estimator):
    model, X, _ = fitted(estimator, epochs=4)
    new = X.iloc[:5].copy()
    new.loc[:, "city"] = ["Paris", None, "Oslo", "Rome", "Lima"]
    new["nothing"] = 3.0
    new["noise"] = np.nan
    p = numbers(model, new)
    assert np.isfinite(p).all()
    new.loc[new.index[0], "city"] = None
    np.testing.assert_array_equal(numbers(model, new)[0], p[0])  # unknown is missing


@every_estimator
@pytest.mark.parametrize(
    ("column", "values", "error"),
    [
        ("size", lambda n: np.where(np.arange(n) == 3, np.inf, 1.0), "'size'.*inf|inf.*'size'"),
        ("rooms", lambda n: [3, "four"] * (n // 2), "'rooms'"),
        ("street", lambda n: [f"a long sentence about house number {i} in the town" for i in range(n)], "'street'"),
    ],
)
def test_what_is_wrong_with_a_column_names_it(estimator, column, values, error):
    X, y = frame()
    X[column] = pd.Series(values(len(X)), dtype=object if column != "size" else float)
    y = labels(y) if estimator is TabularClassifier else y
    with pytest.raises((ValueError, TypeError), match=error):
        estimator("fast", epochs=1).fit(X, y)


@every_estimator
def test_missing_and_additional_columns(estimator):
    model, X, _ = fitted(estimator, epochs=2)
    with pytest.raises(ValueError, match="city"):
        model.predict(X.drop(columns="city"))
    with pytest.raises(ValueError, match="more"):
        model.predict(X.assign(more=1))
    assert model.feature_names_in_.tolist() == X.columns.tolist()


@every_estimator
@pytest.mark.parametrize("n", [1, 2, 7, 49, 50, 60])
def test_few_rows(estimator, n):
    X, y = frame(n, 2)
    y = labels(y) if estimator is TabularClassifier else y
    model = estimator("fast", epochs=3, random_state=0).fit(X, y)
    assert np.isfinite(numbers(model, X)).all()
    assert (model.oof_predictions_ is None) == (n < 50)


def test_a_class_of_three_rows():
    X, y = frame(200)
    y = np.where(np.arange(200) < 3, "rare", "usual")
    model = TabularClassifier(n_models=3, epochs=3, random_state=0).fit(X, y)
    assert model.predict_proba(X).shape == (200, 2)
    one = TabularClassifier("fast", epochs=3).fit(X, np.full(200, 4))
    assert set(one.predict(X)) == {4}


@every_estimator
def test_the_users_data_stay_as_they_are(estimator):
    X, y = frame(100)
    X_before, y_before = X.copy(), y.copy()
    target = labels(y) if estimator is TabularClassifier else y
    model = estimator("fast", epochs=2).fit(X, target)
    model.predict(X), model.feature_importances_, model.explain(X.iloc[:3])
    pd.testing.assert_frame_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)


# ---------------------------------------------------------------- targets and weights


def test_quantiles_cover_and_do_not_cross():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (4000, 2))
    y = X[:, 0] + (1 + np.abs(X[:, 1])) * rng.standard_normal(4000)
    model = TabularRegressor("fast", quantiles=(0.1, 0.5, 0.9), epochs=32, random_state=0).fit(X[:3000], y[:3000])
    low, middle, high = model.predict(X[3000:]).T
    assert ((low <= middle) & (middle <= high)).all()
    assert 0.75 < np.mean((low <= y[3000:]) & (y[3000:] <= high)) < 0.85
    assert model.score(X[3000:], y[3000:]) > 0.1
    assert TabularRegressor("fast", quantiles=0.5, epochs=2).fit(X[:100], y[:100]).predict(X[:3]).shape == (3,)
    with pytest.raises(ValueError, match="one target"):
        TabularRegressor(quantiles=(0.1, 0.9)).fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="quantile"):
        TabularRegressor(quantiles=(0.1, 1.5)).fit(X, y)


def test_several_targets_and_labels():
    X, y = frame(200)
    Y = np.stack([y, -3 * y + 1], axis=1)
    model = TabularRegressor("fast", epochs=30, random_state=0).fit(X, Y)
    assert model.predict(X).shape == Y.shape == model.oof_predictions_.shape
    assert model.score(X, Y) > 0.5
    Z, L = make_multilabel_classification(300, 10, n_classes=4, random_state=0)
    clf = TabularClassifier("fast", epochs=30, random_state=0).fit(Z, L)
    assert clf.predict(Z).shape == clf.predict_proba(Z).shape == L.shape
    assert (clf.predict(Z) == L).mean() > 0.8


def test_counts_are_learned_as_logarithms_for_their_metric():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    y = rng.poisson(np.exp(1 + X[:, 0])).astype(float)
    model = TabularRegressor("fast", eval_metric="rmsle", epochs=32, random_state=0).fit(X, y)
    assert model.predict(X).min() >= 0
    assert model.validation_score_ < 0.6
    with pytest.raises(ValueError, match=">= 0"):
        TabularRegressor(eval_metric="poisson").fit(X, y - 5)


def test_sample_and_class_weights_count():
    X = np.zeros((400, 1))
    y = np.arange(400) % 4 == 0
    plain = TabularClassifier("fast", epochs=8, random_state=0).fit(X, y)
    even = TabularClassifier("fast", epochs=8, class_weight="balanced", random_state=0).fit(X, y)
    heavy = TabularClassifier("fast", epochs=8, random_state=0).fit(X, y, np.where(y, 9.0, 1.0))
    p = [model.predict_proba(X)[0, 1] for model in (plain, even, heavy)]
    np.testing.assert_allclose(p, [0.25, 0.5, 0.75], atol=0.05)
    numbers = TabularRegressor("fast", epochs=8, random_state=0).fit(X, y.astype(float), np.where(y, 3.0, 1.0))
    assert numbers.predict(X)[0] == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ValueError, match="weight"):
        numbers.fit(X, y.astype(float), np.zeros(400))


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "roc_auc", lambda y, p: float(np.mean((p[:, 0] - 0.5) ** 2))])
def test_metrics_of_classes(metric):
    model, _, _ = fitted(TabularClassifier, epochs=4, eval_metric=metric)
    assert 0 <= model.validation_score_ < 1
    assert "held out" in model.summary()
