"""Predictions: few samples, many, in turns with evaluations; what one call leaves behind is not the next one's."""

import numpy as np
import pytest
from test_model import data, network

from fastdnn import Model, layers
from fastdnn.inference import FEW_NUMBERS, Inference


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [1, 6, 100])
def test_any_number_of_rows_gives_the_same_as_each_alone(features, dtype):
    X, _ = data(2 * FEW_NUMBERS // features + 3, features, dtype=dtype)
    model = network((9,), features=features, dtype=dtype)
    alone = np.concatenate([model.predict(X[i : i + 1]) for i in range(40)])
    for n in (1, 2, 7, 40, FEW_NUMBERS // features, FEW_NUMBERS // features + 1, len(X)):
        np.testing.assert_array_equal(model.predict(X[:n])[:40], alone[:n])


def test_results_are_the_callers_own():
    X, _ = data()
    model = network()
    first = model.predict(X[:2])
    kept = first.copy()
    model.predict(X[2:4])
    np.testing.assert_array_equal(first, kept)
    first[...] = 0
    np.testing.assert_array_equal(model.predict(X[:2]), kept)


def test_predictions_scores_and_evaluations_in_turns():
    X, y = data(3000)
    model = network()
    few, many, scores = model.predict(X[:5]), model.predict(X), model.forward(X[:5])
    loss = model.evaluate(X, y)
    for _ in range(2):
        assert model.evaluate(X, y) == loss
        np.testing.assert_array_equal(model.predict(X[:5]), few)
        np.testing.assert_array_equal(model.forward(X[:5]), scores)
        np.testing.assert_array_equal(model.predict(X), many)
        np.testing.assert_array_equal(model.predict(X[::-1][:5][::-1]), many[-5:])
        np.testing.assert_array_equal(model.predict(np.asfortranarray(X[:5])), few)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 5, 2000])
def test_numbers_that_are_not_finite_are_seen_wherever_they_stand(n, bad):
    X, _ = data(n)
    model = network()
    for i, j in ((0, 0), (n - 1, 5), (n // 2, 3)):
        hurt = X.copy()
        hurt[i, j] = bad
        assert model.predict_plain(hurt)[1] is False
        assert model.predict_plain(X)[1] is True


def test_new_parameters_count_at_once():
    X, _ = data()
    model = network()
    before = model.predict(X[:1])
    model.params = 2 * model.params
    after = model.predict(X[:1])
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(model.copy().predict(X[:1]), after)


def test_workspaces_are_as_large_as_asked_for_and_not_more():
    """About half of a second-level cache of activations; a sample of many rows counts as many."""
    small = Model([layers.Dense(8), layers.Dense(3)]).build(5)
    wide = Model([layers.Dense(4096), layers.Dense(3)]).build(5)
    long = Model([layers.Dense(64), layers.Dense(3)]).build((500, 5))
    rows = [Inference(m.network, m.dtype, "float").capacity for m in (small, wide, long)]
    assert rows[0] == 256
    assert rows[1] < 64
    assert 1 <= rows[2] < 32
    for model, n in zip((small, wide, long), rows, strict=True):
        inference = Inference(model.network, model.dtype, "float")
        assert inference._program.n_work * model.dtype.itemsize < 8e6
        assert inference._program.rows == n
