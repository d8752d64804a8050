"""Fits of tabular estimators: the same bits, what comes after them, what ends them early; odd ones."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from mixed_table import every_estimator, fitted, frame, labels, numbers
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from fastdnn import TabularClassifier, TabularRegressor, config_context, search_space
from fastdnn.callbacks import Callback, EarlyStopping

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


# ---------------------------------------------------------------- fits that end early, and what comes of odd ones


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
