"""Dense layers against the oracle, and the initial values of their weights."""

import naive
import numpy as np
import pytest

from fastdnn import Model, layers
from fastdnn.initializers import INITIALIZERS


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("units", [1, 3, 16, 17, 31])
@pytest.mark.parametrize("features", [1, 15, 16, 50])
def test_dense_against_the_oracle(features, units, use_bias):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((7, features))
    model = Model([layers.Dense(units, use_bias=use_bias)], dtype="float64", random_state=0).build(features)
    W = model.weights["0.dense.kernel"]
    b = rng.standard_normal(units) if use_bias else np.zeros(units)
    if use_bias:
        model.weights["0.dense.bias"][...] = b
    assert len(model.weights) == 1 + use_bias
    np.testing.assert_allclose(model.forward(X), naive.dense_forward(X, W, b), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializers(name):
    model = Model([layers.Dense(300, initializer=name)], dtype="float64", random_state=0).build(200)
    W = model.weights["0.dense.kernel"]
    if name == "orthogonal":
        np.testing.assert_allclose(W @ W.T, np.eye(200), atol=1e-12)
        return
    mean = {"ones": 1}.get(name, 0)
    variance = {"glorot": 2 / 500, "he": 2 / 200, "lecun": 1 / 200, "zeros": 0, "ones": 0}[name.split("_")[0]]
    assert W.var() == pytest.approx(variance, rel=0.03)
    assert W.mean() == pytest.approx(mean, abs=0.01)
    if name.endswith("uniform"):
        assert np.abs(W).max() <= np.sqrt(3 * variance)


def test_a_number_as_initializer_and_the_default_of_each_activation():
    model = Model([layers.Dense(3, initializer=0.5, bias_initializer="ones"), layers.Dense(2)]).build(4)
    assert (model.weights["0.dense.kernel"] == 0.5).all()
    assert (model.weights["0.dense.bias"] == 1).all()
    for activation, gain in (("relu", 2 / 200), ("selu", 1 / 200), ("tanh", 2 / 500)):
        W = Model([layers.Dense(300, activation)], random_state=0).build(200).weights["0.dense.kernel"]
        assert W.var() == pytest.approx(gain, rel=0.03)
