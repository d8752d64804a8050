"""Dropout and noise: rates, moments, and random numbers that differ wherever they are to."""

import numpy as np
import pytest
from pytorch_forms import N_IN

from fastdnn import Model, layers
from fastdnn.layers.base import OP


def noised(layer, rows=400, features=333, dtype="float64", seed=3):
    """What the layer makes of ones in training: the gradient of the sum of its outputs, or the outputs themselves."""
    model = Model([layers.Dense(features, initializer=0.0, bias_initializer="ones"), layer], dtype=dtype, random_state=seed)
    model.build(1)
    run = model.bind(np.zeros((rows, 1)), np.zeros((rows, features)), None, rows)
    run.loss_and_grad()
    row = run.program.table[2]
    ld = row[OP.ld_out]
    return run.program.work[row[OP.y] : row[OP.y] + rows * ld].reshape(rows, ld)[:, :features].copy()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_keeps_the_mean_and_has_its_rate(rate):
    y = noised(layers.Dropout(rate))
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - rate)])
    assert abs((y == 0).mean() - rate) < 4 * deviation
    assert abs(y.mean() - 1) < 4 * deviation / (1 - rate)
    for axis in (0, 1):  # no row and no column stands out
        share = (y == 0).mean(axis=axis)
        assert abs(share - rate).max() < 6 * np.sqrt(rate * (1 - rate) / y.shape[axis])


def test_dropout_masks_differ_by_layer_step_row_and_seed():
    model = Model([layers.Dropout(0.5), layers.Dropout(0.5), layers.Dense(1)], random_state=0).build(500)
    run = model.bind(np.ones((2, 500)), np.zeros(2), None, 2)
    masks = []
    for _ in range(2):
        run.epoch()
        for o in (1, 2):
            row = run.program.table[o]
            masks += list(run.program.work[row[OP.saved] : row[OP.saved] + 2 * row[OP.ld_out]].reshape(2, -1)[:, :500].copy())
    masks.append(noised(layers.Dropout(0.5), 1, 500, seed=4)[0])
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert 0.35 < np.mean((a == 0) == (b == 0)) < 0.65


def test_alpha_dropout_keeps_mean_and_variance_of_selu_networks():
    model = Model([layers.AlphaDropout(0.2)], dtype="float64", random_state=0).build(300)
    X = np.random.default_rng(0).standard_normal((500, 300))
    run = model.bind(X, X, None, 500)
    run.loss_and_grad()
    row = run.program.table[1]
    y = run.program.work[row[OP.y] : row[OP.y] + 500 * row[OP.ld_out]].reshape(500, -1)[:, :300]
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.02


def test_gaussian_noise_is_normal():
    scipy_stats = pytest.importorskip("scipy.stats")
    y = (noised(layers.GaussianNoise(0.5), rows=100) - 1) / 0.5
    assert scipy_stats.kstest(y.ravel(), "norm").pvalue > 1e-3


def test_nothing_random_in_inference():
    X = np.random.default_rng(7).standard_normal((10, N_IN))
    noisy = Model([layers.Dense(4), layers.Dropout(0.5), layers.AlphaDropout(0.5), layers.GaussianNoise(1.0)], random_state=0)
    plain = Model([layers.Dense(4)], random_state=0)
    np.testing.assert_array_equal(noisy.build(N_IN).forward(X), plain.build(N_IN).forward(X))
