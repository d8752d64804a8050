"""Dense layers against the oracle, and the initial values of their weights."""

import pickle

import naive
import numpy as np
import pytest

from fastdnn import Model, layers
from fastdnn.initializers import INITIALIZERS
from fastdnn.optimizers import OPTIMIZERS, SGD
from fastdnn.saving.plain import from_plain, known_types, to_plain


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


# ---------------------------------------------------------------- the bias's own rate


WEIGHTED = {
    "dense": lambda **rules: [layers.Dense(5, "tanh", **rules)],
    "spectral": lambda **rules: [layers.Dense(5, "tanh", spectral_norm=True, **rules)],
    "series": lambda **rules: [layers.Reshape((4, 3)), layers.Conv1D(5, 2, **rules), layers.Flatten()],
    "image": lambda **rules: [layers.Reshape((2, 2, 3)), layers.Conv2D(5, 2, **rules), layers.Flatten()],
    "transposed": lambda **rules: [layers.Reshape((2, 2, 3)), layers.Conv2DTranspose(2, 2, **rules), layers.Flatten()],
    "depthwise": lambda **rules: [layers.Reshape((2, 2, 3)), layers.DepthwiseConv2D(2, **rules), layers.Flatten()],
    "separable": lambda **rules: [layers.Reshape((2, 2, 3)), layers.SeparableConv2D(4, 2, **rules), layers.Flatten()],
}


def moves(make, optimizer, **rules):
    """dict of what two steps move the weights of the layer by."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 12)), rng.standard_normal(30)
    model = Model([*make(**rules), layers.Dense(1)], optimizer=optimizer, dtype="float64", random_state=0).build(12)
    before = {k: v.copy() for k, v in model.weights.items()}
    model.fit(X, y, epochs=2, batch_size=30)
    own = f"{0 if len(make()) == 1 else 1}."
    return {k.split(".")[-1]: v - before[k] for k, v in model.weights.items() if k.startswith(own)}


@pytest.mark.parametrize("name", WEIGHTED)
def test_the_bias_has_a_rate_of_its_own(name):
    make, tiny = WEIGHTED[name], SGD(1e-7)  # so that what one moves does not show in the other's gradient
    usual = moves(make, tiny)
    for rules, of_bias, of_kernel in (
        ({"bias_learning_rate_factor": 0.3}, 0.3, 1),
        ({"bias_learning_rate_factor": 0}, 0, 1),
        ({"learning_rate_factor": 0.5}, 0.5, 0.5),
        ({"learning_rate_factor": 0.0, "bias_learning_rate_factor": 2.0}, 2, 0),
    ):
        for key, found in moves(make, tiny, **rules).items():
            factor = of_bias if key == "bias" else of_kernel
            np.testing.assert_allclose(found, factor * usual[key], rtol=1e-3, atol=1e-13)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_leaves_a_frozen_bias_alone(name):
    found = moves(WEIGHTED["dense"], name, bias_learning_rate_factor=0)
    assert found["kernel"].all()
    assert not found["bias"].any()
    found = moves(WEIGHTED["dense"], name, learning_rate_factor=0, bias_learning_rate_factor=1)
    assert found["bias"].all()
    assert not found["kernel"].any()


def test_layers_of_before_have_no_rate_of_the_bias():
    old = layers.Dense(3, learning_rate_factor=0.5)
    del old.__dict__["bias_learning_rate_factor"]  # as pickles of before have it
    factors = [p.learning_rate_factor for p in pickle.loads(pickle.dumps(old)).parameters((2,))]
    assert factors == [0.5, 0.5]
    plain = to_plain(layers.Dense(3))
    assert plain == {"type": "Dense", "units": 3}
    assert from_plain(plain, known_types()) == layers.Dense(3, bias_learning_rate_factor=None)
    with pytest.raises(ValueError, match="bias_learning_rate_factor must be a number in"):
        layers.Dense(3, bias_learning_rate_factor=-1)
