"""TabularClassifier and TabularRegressor: scikit-learn's checks, frames, what is refused, what comes after a fit."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_param_validation, parametrize_with_checks

from fastdnn import TabularClassifier, TabularRegressor, config_context, search_space
from fastdnn.callbacks import Callback, EarlyStopping

ESTIMATORS = [TabularClassifier, TabularRegressor]
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)


def frame(n=300, seed=0):
    """A table with numbers, gaps, categories, dates, and a column that says nothing; targets in numbers."""
    rng = np.random.default_rng(seed)
    size, city, day = rng.lognormal(3, 1, n), rng.choice(["Oslo", "Rome", "Lima"], n), rng.integers(0, 700, n)
    y = np.log(size) + (city == "Rome") * 2 + np.sin(day / 60) + 0.1 * rng.standard_normal(n)
    size[rng.random(n) < 0.1] = np.nan
    table = pd.DataFrame({
        "size": size,
        "city": city,
        "day": pd.Timestamp("2023-01-01") + pd.to_timedelta(day, unit="D"),
        "rooms": pd.array(rng.integers(1, 6, n), "Int64"),
        "new": rng.random(n) < 0.5,
        "street": [f"s{i}" for i in rng.integers(0, 30, n)],
        "noise": rng.standard_normal(n),
        "nothing": np.full(n, np.nan),
        "one": 1.0,
    })  # fmt: skip
    return table, y


def labels(y):
    return np.where(y > np.median(y), "high", "low")


def fitted(estimator, n=300, **settings):
    X, y = frame(n)
    settings = {"preset": "fast", "epochs": 30, "random_state": 0} | settings
    return estimator(**settings).fit(X, labels(y) if is_classifier(estimator()) else y), X, y


def numbers(model, X):
    return model.predict_proba(X) if is_classifier(model) else model.predict(X)


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


# ---------------------------------------------------------------- reproducibility


@every_estimator
def test_same_bits_on_any_number_of_threads(estimator):
    found = []
    for threads in (1, 2, 3, 4):
        with config_context(n_threads=threads):
            model, X, _ = fitted(estimator, preset="balanced", epochs=6, refit=True)
            found.append((numbers(model, X).tobytes(), model.oof_predictions_.tobytes()))
    assert len(set(found)) == 1


@every_estimator
def test_pickles_and_clones(estimator):
    model, X, _ = fitted(estimator, epochs=3)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(numbers(again, X), numbers(model, X))
    np.testing.assert_array_equal(again.feature_importances_, model.feature_importances_)
    with pytest.raises(NotFittedError):
        clone(model).predict(X)


@every_estimator
def test_a_fit_that_fails_changes_nothing(estimator):
    model, X, _ = fitted(estimator, epochs=2)
    before = numbers(model, X)
    with pytest.raises(ValueError, match="inf"):
        model.fit(X.assign(noise=np.inf), model.predict(X))
    np.testing.assert_array_equal(numbers(model, X), before)


def test_random_states_differ():
    (a, X, _), (b, *_) = fitted(TabularRegressor, epochs=3), fitted(TabularRegressor, epochs=3, random_state=1)
    assert (a.predict(X) != b.predict(X)).all()


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


# ---------------------------------------------------------------- after the fit


@every_estimator
def test_out_of_fold_predictions_are_of_networks_that_did_not_see_the_row(estimator):
    model, _X, y = fitted(estimator, preset="balanced", epochs=6)
    shape = (300, 2) if estimator is TabularClassifier else (300,)
    assert model.oof_predictions_.shape == shape
    assert np.isfinite(model.oof_predictions_).all()
    if estimator is TabularRegressor:
        assert model.validation_score_ == pytest.approx(np.sqrt(np.mean((model.oof_predictions_ - y) ** 2)))
    one, *_ = fitted(estimator, epochs=4)
    assert np.isfinite(one.oof_predictions_).reshape(300, -1).all(axis=1).mean() == pytest.approx(0.2)


@every_estimator
def test_importances_and_explanations_find_the_columns_that_matter(estimator):
    model, X, _ = fitted(estimator, 1000, epochs=48)
    assert set(np.argsort(model.feature_importances_)[-3:]) == {0, 1, 2}
    assert (model.feature_importances_[[7, 8]] == 0).all()
    shares = model.explain(X.iloc[:50])
    assert shares.shape == (50, 9)
    assert set(np.argsort(np.abs(shares).mean(axis=0))[-3:]) == {0, 1, 2}
    if estimator is TabularRegressor:
        difference = model.predict(X.iloc[:50])[:, None] - model.predict(X.iloc[:50])
        np.testing.assert_allclose(shares.sum(axis=1)[:, None] - shares.sum(axis=1), difference, atol=0.02)
        with pytest.raises(ValueError, match="target"):
            model.explain(X, target=1)
    else:
        low, high = (model.explain(X.iloc[:50], target=c).sum(axis=1) for c in ("low", "high"))
        assert np.corrcoef(high - low, np.log(model.predict_proba(X.iloc[:50])[:, 0]))[0, 1] > 0.9
        with pytest.raises(ValueError, match="target"):
            model.explain(X, target="middle")


@every_estimator
def test_summary_names_columns_and_networks(estimator):
    model, *_ = fitted(estimator, preset="balanced", epochs=3)
    text = model.summary()
    assert all(word in text for word in ("9 columns", "size", "datetime", "5 networks", "held out rows"))


@every_estimator
def test_time_limit_verbose_and_callbacks(estimator, capsys):
    class Count(Callback):
        def __init__(self):
            self.errors = []

        def on_epoch_end(self, fit):
            self.errors.append(fit.history["val_error"][-1])

    count = Count()
    model, X, _ = fitted(estimator, epochs=5, callbacks=[count])
    assert len(count.errors) == 5
    assert capsys.readouterr().out == ""
    model, *_ = fitted(estimator, preset="balanced", epochs=10_000, time_limit=0.5, verbose=1)
    assert np.isfinite(numbers(model, X)).all()
    assert "network 1" in capsys.readouterr().out


# ---------------------------------------------------------------- what a reviewer found


def mean_error(y, p):
    return float(np.mean(np.abs(np.ravel(y) - np.ravel(p))))


def test_each_network_has_callbacks_of_its_own():
    found = []
    for threads in (1, 2):
        with config_context(n_threads=threads):
            stop = EarlyStopping("val_error", patience=2)
            model, X, _ = fitted(TabularRegressor, preset="balanced", epochs=20, refit=False, callbacks=[stop])
            found.append(model.predict(X).tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("n", [40, 200])
@pytest.mark.parametrize("seconds", [1e-6, 0.2])
def test_there_is_a_network_however_short_the_time_is(n, seconds):
    model, X, _ = fitted(TabularRegressor, n, preset="balanced", epochs=3000, time_limit=seconds)
    assert np.isfinite(model.predict(X)).all()
    assert model.summary()
    assert all(len(kind.epochs) == len(kind.models) for kind in model.ensemble_.kinds)


def test_networks_of_all_rows_that_were_cut_short_are_left_out(monkeypatch):
    monkeypatch.setattr("fastdnn.tabular.ensemble._joint_epoch", lambda *_: 100_000)
    model, *_ = fitted(TabularRegressor, preset="balanced", epochs=3, refit=True, time_limit=1.0)
    assert all(kind.models is kind.judged for kind in model.ensemble_.kinds)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_fit_leaves_the_one_before(error, threads):
    def interrupt(model, history):
        raise error("stop")

    model, X, y = fitted(TabularRegressor, epochs=2)
    before = model.predict(X)
    with config_context(n_threads=threads), pytest.raises(error, match="stop"):
        model.set_params(preset="balanced", callbacks=[interrupt]).fit(X.drop(columns="city"), y)
    np.testing.assert_array_equal(model.predict(X), before)


def test_own_metrics_pickle():
    model, X, _ = fitted(TabularRegressor, epochs=2, eval_metric=mean_error)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    assert model.validation_score_ > 0
    with pytest.raises(ValueError, match="eval_metric"):
        fitted(TabularRegressor, eval_metric=lambda y, p: y - p)


def test_out_of_fold_predictions_have_a_row_for_each_given():
    X, y = frame()
    weight = np.where(np.arange(300) < 50, 0.0, 2.0)
    model = TabularRegressor(epochs=2, random_state=0).fit(X, y, weight)
    assert np.isnan(model.oof_predictions_[:50]).all()
    assert np.isfinite(model.oof_predictions_[50:]).all()
    large = TabularRegressor(epochs=2, random_state=0).fit(X, y, weight * 8e306)
    np.testing.assert_array_equal(large.predict(X), model.predict(X))


def test_a_category_that_is_new_is_the_mean_of_the_others():
    rng = np.random.default_rng(0)
    effect, c = rng.standard_normal(30), rng.integers(0, 30, 3000)
    X = pd.DataFrame({"c": [f"level {k}" for k in c], "a": rng.standard_normal(3000)})
    y = X["a"] + 2 * effect[c] + 0.1 * rng.standard_normal(3000)
    model = TabularRegressor("fast", epochs=64, random_state=0).fit(X, y)
    new = X.iloc[:200].assign(c="another")
    error = model.predict(new) - new["a"] - 2 * np.bincount(c, minlength=30) @ effect / 3000
    assert np.abs(error).mean() < 0.35


def test_recipes_are_mixed_whatever_the_number_of_networks():
    X, y = frame(400)
    model = TabularRegressor(n_models=3, epochs=16, target_transform="none", random_state=0).fit(X, np.exp(y))
    assert np.isnan(model.oof_predictions_).mean() == pytest.approx(0.4, abs=0.02)
    more = TabularRegressor(n_models=7, epochs=3, random_state=0).fit(X, y)
    assert np.isfinite(more.oof_predictions_).all()


def test_copies_of_a_row_are_not_held_out_of_what_has_them():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((150, 5)), rng.integers(0, 2, 150)  # nothing to learn
    three = TabularClassifier(epochs=64, random_state=0).fit(np.tile(X, (3, 1)), np.tile(y, 3))
    assert three.validation_score_ > 0.6  # log 2 is 0.69; with copies on both sides it is 0.1
    parts = three.ensemble_.parts.reshape(3, -1)
    assert (parts == parts[0]).all()
    few = TabularClassifier(epochs=2, random_state=0).fit(X.round() > 0, y)  # equal by chance
    assert np.ptp(np.bincount(few.ensemble_.parts)) <= 1


def test_networks_of_all_rows_where_numbers_are_predicted_well():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    for noise, quantiles, expected in ((0.01, None, True), (3.0, None, False), (0.01, (0.1, 0.9), False)):
        y = X @ [1, 2, 3] + noise * rng.standard_normal(400)
        model = TabularRegressor(epochs=60, quantiles=quantiles, random_state=0).fit(X, y)
        assert all((kind.models is not kind.judged) == expected for kind in model.ensemble_.kinds)


def test_one_class_takes_no_time_and_texts_are_no_numbers():
    X, y = frame(100)
    model = TabularClassifier(random_state=0).fit(X, np.full(100, "only"))
    assert len(model.ensemble_.histories) <= 5
    with pytest.raises(ValueError, match="TabularClassifier"):
        TabularRegressor().fit(X, labels(y))


def test_importances_are_of_the_error_that_is_shown():
    model, *_ = fitted(TabularClassifier, preset="balanced", epochs=16)
    assert model._held_error(*model._held[:2]) == pytest.approx(model.validation_score_)
    model, *_ = fitted(TabularRegressor, preset="balanced", epochs=16, quantiles=(0.2, 0.8))
    assert model._held_error(*model._held[:2]) == pytest.approx(model.validation_score_)


def test_quantiles_of_what_is_not_negative_are_not():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 2)), rng.exponential(size=400)
    assert TabularRegressor("fast", quantiles=(0.01, 0.5), epochs=16).fit(X, y).predict(3 * X).min() >= 0


@every_estimator
def test_tables_without_anything_and_numbers_at_the_end_of_the_range(estimator):
    y = np.arange(100) % 2
    with pytest.raises(ValueError, match="X has no column"):
        estimator().fit(np.full((100, 2), np.nan), y)
    X = np.random.default_rng(0).choice([-1e308, 1e308, 1.0], (100, 2))
    assert np.isfinite(numbers(estimator("fast", epochs=2).fit(X, y), X)).all()


def test_settings_that_mean_nothing_are_refused():
    X, y = frame(100)
    with pytest.raises(ValueError, match="n_bins"):
        TabularRegressor(n_bins=[]).fit(X, y)
    with pytest.raises(ValueError, match="eval_metric"):
        TabularClassifier(eval_metric="roc_auc").fit(np.zeros((60, 2)), np.eye(3)[np.arange(60) % 3].astype(int))
    with pytest.raises(ValueError, match="dates"):
        TabularRegressor().fit(X, X["day"])
    model = TabularClassifier("fast", eval_metric="roc_auc", epochs=2).fit(X, np.full(100, "one"))
    assert np.isfinite(model.validation_score_)


def test_hidden_layers_by_rule():
    model, *_ = fitted(TabularRegressor, epochs=2, hidden_layer_sizes=(2.0, 8), n_bins=0)
    width = model.ensemble_.models[0].layout.shapes
    assert width[-3][0] == 2 * width[-4][0]
    assert width[-2] == (8,)
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        fitted(TabularRegressor, hidden_layer_sizes=(0,))
    with pytest.raises(ValueError, match="n_bins"):
        fitted(TabularRegressor, n_bins=(-1,))
    with pytest.raises(ValueError, match="estimator"):
        search_space(Callback)


def test_no_warnings_by_default():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(TabularRegressor, epochs=2)
