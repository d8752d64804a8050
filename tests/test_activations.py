"""Every activation, from the table: gradient, dtype, extremes, PyTorch. A new one is tested without a new test."""

import pickle

import naive
import numpy as np
import pytest
from goldens import from_pytorch

from fastdnn import Model, layers
from fastdnn.layers.activation_function import ACTIVATIONS

EXTREMES = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-38, 88, -88, 89, -89, 1e4, -1e4, 1e30, -1e30])


def data(dtype="float64", rows=23, features=5):
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, features)).astype(dtype), rng.standard_normal((rows, 2))


def two_layers(activation, dtype="float64"):
    return Model([layers.Dense(19, activation=activation), layers.Dense(2)], dtype=dtype, random_state=1).build(5)


def alone(activation, x, dtype="float64"):
    """The activation of the numbers x, through a one-unit layer with weight 1."""
    model = Model([layers.Dense(1, activation=activation)], dtype=dtype).build(1)
    model.weights["0.dense.kernel"][...] = 1
    return model.forward(np.reshape(x, (-1, 1)).astype(dtype)).ravel()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_of_the_activation(activation):
    X, y = data()
    model = two_layers(activation)
    _, gradient = model.loss_and_grad(X, y)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y)[0], model.params)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32_is_float64_up_to_rounding(activation):
    X, y = data("float32")
    single, double = two_layers(activation, "float32"), two_layers(activation)
    double.params[...] = single.params
    loss, gradient = single.loss_and_grad(X, y)
    exact, exact_gradient = double.loss_and_grad(X.astype(float), y)
    assert gradient.dtype == single.forward(X).dtype == single.predict(X).dtype == np.float32
    np.testing.assert_allclose(loss, exact, rtol=2e-4)
    np.testing.assert_allclose(single.forward(X), double.forward(X), rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(gradient, exact_gradient, rtol=2e-4, atol=2e-4 * np.abs(exact_gradient).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_extreme_inputs_stay_finite_and_nan_stays_nan(activation, dtype):
    assert np.isfinite(alone(activation, EXTREMES, dtype)).all()
    assert np.isnan(alone(activation, [1.0, np.nan], dtype)).tolist() == [False, True]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_is_nan_for_nan_and_finite_for_extremes(activation, dtype):
    model = Model([layers.Dense(3, activation=activation), layers.Dense(1)], dtype=dtype, random_state=0).build(1)
    with np.errstate(over="ignore", invalid="ignore"):
        for x in (1e4, -1e4):
            assert np.isfinite(model.loss_and_grad([[x]], [0.0])[1]).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_same_as_pytorch(activation):
    X, y = data()
    model = two_layers(activation)
    loss, _ = model.loss_and_grad(X, y)

    def compute(torch):
        name = ACTIVATIONS[activation].torch_name or activation
        peer = next((getattr(m, name) for m in (torch.nn.functional, torch) if hasattr(m, name)), None)
        if activation == "identity":
            peer = lambda x: x  # noqa: E731
        if activation == "gelu_tanh":
            peer = lambda x: torch.nn.functional.gelu(x, approximate="tanh")  # noqa: E731
        if activation == "softmax":
            peer = lambda x: torch.softmax(x, dim=1)  # noqa: E731
        assert peer is not None, f"set torch_name of {activation}, or write its formula here if PyTorch has none"
        W1, b1, W2, b2 = weights = [torch.tensor(w, requires_grad=True) for w in model.weights.values()]
        scores = peer(torch.tensor(X) @ W1 + b1) @ W2 + b2
        expected = 0.5 * ((scores - torch.tensor(y)) ** 2).sum(dim=1).mean()
        expected.backward()
        return expected, scores, *(w.grad for w in weights)

    expected, scores, *gradients = from_pytorch(f"activations {activation}", compute)
    np.testing.assert_allclose(model.forward(X), scores, rtol=1e-9)
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    for ours, theirs in zip(model.gradients.values(), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_is_documented(activation):
    assert type(ACTIVATIONS[activation]).__doc__


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_layer_of_its_own_is_the_one_within_dense(activation, dtype):
    X, y = data(dtype)
    fused = two_layers(activation, dtype)
    split = Model([layers.Dense(19), layers.Activation(activation), layers.Dense(2)], dtype=dtype, random_state=1).build(5)
    split.params = fused.params
    np.testing.assert_array_equal(split.forward(X), fused.forward(X))
    np.testing.assert_allclose(split.loss_and_grad(X, y)[1], fused.loss_and_grad(X, y)[1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("activation", [a for a in ACTIVATIONS if a != "softmax"])
def test_calling_an_activation_gives_its_values(activation):
    x = np.array([[-1e4, -3.0, -0.5], [0.0, 0.5, 1e4]])
    np.testing.assert_array_equal(ACTIVATIONS[activation](x).ravel(), alone(activation, x.ravel()))


def test_aliases_and_instances_of_activations():
    assert layers.Dense(2, activation="sigmoid") == layers.Dense(2, activation="logistic")
    assert layers.Dense(2, activation=ACTIVATIONS["relu"]) == layers.Dense(2, activation="relu")


def test_user_activations_pickle():
    model = Model([layers.Dense(4, activation=Wavy()), layers.Dense(1)], random_state=0).build(3)
    again = pickle.loads(pickle.dumps(model))
    X = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(again.forward(X), model.forward(X))


class Wavy(layers.ActivationFunction):
    """x + x^2."""

    needs_input = True

    def forward(x):
        return x + x * x

    def derivative(x):
        return 1.0 + 2.0 * x
