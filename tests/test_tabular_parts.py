"""What the tabular estimators are made of: features, targets, metrics, tasks, parts, recipes."""

import numpy as np
import pytest
import sklearn.metrics

from fastdnn.tabular import metrics
from fastdnn.tabular.ensemble import _joint_epoch, parts_of
from fastdnn.tabular.features import Features, robust_scale, smooth_clip
from fastdnn.tabular.members import valleys
from fastdnn.tabular.recipe import Recipe, recipes_for
from fastdnn.tabular.targets import TargetScale
from fastdnn.tabular.tasks import Classes, Quantiles, best_temperature, tempered

RNG = np.random.default_rng(0)


def features(numbers, codes=None, levels=()):
    codes = np.zeros((len(numbers), 0), np.int32) if codes is None else codes
    d = numbers.shape[1]
    return Features().fit(numbers, codes, levels, np.arange(d), d + np.arange(codes.shape[1])), codes


# ---------------------------------------------------------------- features


def test_numbers_are_scaled_by_median_and_quartiles_and_clipped():
    x = RNG.standard_normal((1001, 1)) * 50 + 300
    f, codes = features(x)
    z = (x - np.median(x)) / (np.quantile(x, 0.75) - np.quantile(x, 0.25))
    np.testing.assert_allclose(f.transform(x, codes), z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("huge", [1e30, 1e200, 1.7e308, -1.7e308])
def test_no_number_is_too_large(huge):
    x = RNG.standard_normal((50, 2))
    x[3, 0] = huge
    f, codes = features(x)
    Z = f.transform(x, codes)
    assert np.isfinite(Z).all()
    assert np.abs(Z).max() <= 3
    assert np.abs(Z[3, 0]) > 2.9


def test_constant_and_almost_constant_columns():
    x = np.zeros((100, 3))
    x[:, 1] = 7.0
    x[:5, 2] = [1, 2, 3, 4, 100]
    median, factor = robust_scale(x)
    np.testing.assert_array_equal(median, [0, 7, 0])
    np.testing.assert_allclose(factor, [0, 0, 1 / 3])  # the median distance of those that differ from the median


def test_missing_numbers_are_the_median_and_have_an_indicator():
    x = np.arange(20.0).reshape(10, 2)
    x[4, 1] = np.nan
    f, codes = features(x)
    Z = f.transform(x, codes)
    assert f.n_dense == 3
    np.testing.assert_array_equal(f.sources, [0, 1, 1])
    assert Z[4, 1] == 0
    assert (Z[:, 2] != 0).sum() == 1
    assert Z[4, 2] > 0
    new = np.full((1, 2), np.nan)  # the first column had no gap in the training rows: no indicator
    np.testing.assert_array_equal(f.transform(new, np.zeros((1, 0), np.int32))[0, :2], 0)


def test_categories_have_a_feature_each_two_of_them_one_and_many_a_code():
    codes = np.array([[1, 1, 1], [2, 2, 5], [0, 3, 9], [1, 0, 0]], np.int32)
    f, _ = features(np.zeros((4, 0)), codes, (2, 3, 9))
    Z = f.transform(np.zeros((4, 0)), codes)
    assert Z.shape == (4, 1 + 3 + 1)
    assert f.n_levels == [10]
    np.testing.assert_array_equal(Z[:, -1], codes[:, 2])
    np.testing.assert_array_equal(f.sources, [0, 1, 1, 1, 2])
    assert Z[0, 0] > Z[2, 0] > Z[1, 0]  # one of two, missing, the other
    assert (Z[3, 1:4] == Z[3, 1]).all()  # missing is none of three


def test_bins_have_about_equally_many_rows_and_follow_rare_values_beside_a_frequent_one():
    x = RNG.standard_normal((4000, 2))
    x[:3600, 1] = 0.0
    x[3600:, 1] = np.arange(400)
    f, codes = features(x)
    Z = f.transform(x, codes)
    edges = f.edges(Z, 8)
    counts, _ = np.histogram(Z[:, 0], edges[0])
    assert len(counts) == 8
    assert np.ptp(counts) < 10
    assert len(edges[1]) >= 8  # quantiles of the rows alone would be two


def test_smooth_clip_is_odd_and_bounded():
    z = np.linspace(-50, 50, 101)
    y = smooth_clip(z.copy())
    np.testing.assert_allclose(y, -y[::-1])
    assert (np.diff(y) > 0).all()
    assert np.abs(y).max() < 3


# ---------------------------------------------------------------- targets, metrics, tasks


@pytest.mark.parametrize("logarithm", [False, True])
def test_targets_and_back(logarithm):
    y = np.exp(RNG.standard_normal((200, 2)) * 2) * [1e-3, 1e6]
    scale = TargetScale(logarithm).fit(y)
    z = scale.transform(y)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(scale.inverse(z.astype(float)), y, rtol=1e-3, atol=1e-5 * y.std(axis=0).max())


def test_predictions_stay_near_the_training_targets():
    scale = TargetScale().fit(np.array([[0.0], [10.0]]))
    np.testing.assert_array_equal(scale.inverse(np.array([[-100.0], [100.0]])), [[0.0], [11.0]])
    scale = TargetScale(True).fit(np.array([[0.0], [10.0]]))
    assert scale.inverse(np.array([[1e6]])) == 11.0
    np.testing.assert_array_equal(TargetScale().fit(np.full((5, 1), 3.0)).inverse(np.array([[0.0]])), [[3.0]])


def test_weights_of_targets_are_repetitions():
    y, weight = RNG.standard_normal((30, 1)), RNG.integers(1, 4, 30)
    a, b = TargetScale().fit(y, weight.astype(float)), TargetScale().fit(np.repeat(y, weight, axis=0))
    np.testing.assert_allclose([a.mean, a.std], [b.mean, b.std])


def test_metrics_are_scikit_learns():
    y, weight = RNG.integers(0, 3, 200), RNG.random(200)
    p = RNG.dirichlet(np.ones(3), 200)
    known = {"sample_weight": weight}
    np.testing.assert_allclose(metrics.log_loss(y, p, weight), sklearn.metrics.log_loss(y, p, **known))
    np.testing.assert_allclose(
        metrics.error_rate(y, p, weight), 1 - sklearn.metrics.accuracy_score(y, p.argmax(1), sample_weight=weight)
    )
    expected = 1 - sklearn.metrics.roc_auc_score(y, p, multi_class="ovr")
    np.testing.assert_allclose(metrics.inverse_auc(y, p, None), expected)
    t, q = RNG.gamma(2.0, size=(200, 1)), RNG.gamma(2.0, size=(200, 1))
    np.testing.assert_allclose(metrics.rmse(t, q, weight), sklearn.metrics.root_mean_squared_error(t, q, **known))
    np.testing.assert_allclose(metrics.mae(t, q, weight), sklearn.metrics.mean_absolute_error(t, q, **known))
    np.testing.assert_allclose(
        metrics.rmsle(t, q, weight), sklearn.metrics.root_mean_squared_log_error(t, q, sample_weight=weight)
    )
    np.testing.assert_allclose(metrics.poisson(t, q, weight), sklearn.metrics.mean_poisson_deviance(t, q, **known))
    labels, scores = RNG.integers(0, 2, (50, 4)), RNG.random((50, 4))
    expected = np.mean([sklearn.metrics.log_loss(labels[:, j], scores[:, j]) for j in range(4)])
    np.testing.assert_allclose(metrics.binary_log_loss(labels, scores, None), expected)


def test_temperature_finds_the_one_that_the_probabilities_were_spoiled_with():
    scores = 2 * RNG.standard_normal((20_000, 3))
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) > RNG.random((20_000, 1))).argmax(axis=1)
    assert best_temperature(tempered(p, 2.0), y) == pytest.approx(0.5, rel=0.08)
    np.testing.assert_allclose(tempered(tempered(p, 2.0), 0.5), p, rtol=1e-9)
    np.testing.assert_array_equal(tempered(np.array([[0.0, 1.0]]), 0.5), [[0.0, 1.0]])


def test_quantiles_are_in_their_order_whatever_the_network_says():
    y = RNG.standard_normal((100, 1))
    task = Quantiles(y, (0.9, 0.1, 0.5))
    p = task.final(RNG.standard_normal((20, 3)).astype(np.float32), Recipe())
    assert (p[:, 1] <= p[:, 2]).all()
    assert (p[:, 2] <= p[:, 0]).all()


def test_predictions_that_are_no_numbers_are_infinitely_bad():
    task = Classes(np.array([0, 1]), metrics.log_loss)
    assert task.error_of(task.y, np.array([[0.5, 0.5], [np.nan, 0.5]])) == np.inf


# ---------------------------------------------------------------- parts, schedules, recipes


@pytest.mark.parametrize("strata", [None, np.repeat([0, 1, 2], [90, 10, 3])])
def test_parts_are_about_equal_and_have_their_share_of_every_class(strata):
    parts = parts_of(103, 5, np.random.default_rng(1), strata)
    assert np.ptp(np.bincount(parts)) <= 1
    for c in () if strata is None else (0, 1, 2):
        assert np.ptp(np.bincount(parts[strata == c], minlength=5)) <= 1


def test_the_joint_epoch_is_a_valley():
    assert valleys(256) == [17, 51, 119, 256]
    curve = np.linspace(1, 0.5, 119)
    curve[50] = 0.1
    assert _joint_epoch([curve, [*curve, 0.0]], 256) == 51
    assert _joint_epoch([[3.0, 2.0]], 256) == 2  # none reached one: as far as they came


def test_recipes_follow_the_number_of_rows_and_what_the_user_says():
    assert [r.folds for r in recipes_for(20, True, "balanced", {})] == [0]
    assert [r.refits for r in recipes_for(500, False, "balanced", {})] == [None, None, None]
    assert not any(r.refits for r in recipes_for(500, True, "balanced", {}))
    assert len(recipes_for(10_000, True, "balanced", {})) == 3
    assert len(recipes_for(10_000, True, "fast", {})) == 1
    given = {"hidden_layer_sizes": (7,), "dropout": 0.5, "n_bins": (9,), "label_smoothing": 0.2}  # nothing is left to try
    (recipe,) = recipes_for(10_000, True, "balanced", given)
    assert (recipe.hidden, recipe.dropout, recipe.bins, recipe.label_smoothing) == ((7,), 0.5, (9,), 0.2)
    assert "hidden=(7,)" in str(recipe)
    assert Recipe().members == 5


@pytest.mark.parametrize(("n", "preset", "members"), [(500, "fast", 1), (500, "balanced", 10), (10_000, "balanced", 5)])
def test_quantiles_of_few_rows_are_calibrated_by_two_networks_that_have_not_seen_a_row(n, preset, members):
    recipes = recipes_for(n, False, preset, {}, spreads=True)
    assert {(r.members, r.folds) for r in recipes} == {(members, 5)}
    assert {r.members for r in recipes_for(n, False, preset, {"n_models": 3}, spreads=True)} == {3}
    assert {r.members for r in recipes_for(20, False, "balanced", {}, spreads=True)} == {5}  # none is held out
