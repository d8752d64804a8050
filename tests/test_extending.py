"""Parts of one's own that Python would take silently for something else: each is a TypeError that says what to write."""

import math

import numpy as np
import pytest

from fastdnn import Model, _jit, layers
from fastdnn import extending as e

X = np.random.default_rng(0).standard_normal((40, 3)).astype("float32")
Y = X[:, :1] * 2


@pytest.fixture(autouse=True)
def no_trace(monkeypatch):
    """Kernels that do not compile would be in the way of a `warmup` in this process."""
    monkeypatch.setattr(_jit, "KERNELS", list(_jit.KERNELS))


def output(forward, derivative=lambda x: 1.0 + 0.0 * x):
    """What a network of one activation makes of X, and its training."""
    own = type("Own", (e.ActivationFunction,), {"needs_input": True, "forward": forward, "derivative": derivative})
    model = Model([layers.Activation(own())], dtype="float32").build(3)
    return model.forward(X)


WRONG = {
    "if": (lambda x: x if x > 0.0 else 0.0 * x, "where"),
    "truth": (lambda x: x if x else 0.0 * x, "where"),
    "not": (lambda x: e.where(not x > 0.0, x, 0.0), "~mask"),
    "and": (lambda x: e.where(x > 0.0 and x < 1.0, x, 0.0), "mask & mask"),
    "chain": (lambda x: e.where(-1.0 < x < 1.0, x, 0.0), "chains"),
    "max": (lambda x: max(x, 0.0), "maximum"),
    "min": (lambda x: min(0.0, x), "minimum"),
    "equal": (lambda x: e.where(x == 0.0, x, 1.0), "equals"),
    "not equal": (lambda x: e.where(x != 0.0, x, 1.0), "equals"),
    "float": (lambda x: 0.0 * x + float(x), "functions of vectors"),
    "int": (lambda x: 0.0 * x + int(x), "functions of vectors"),
    "round": (lambda x: round(x), "functions of vectors"),
    "math": (lambda x: 0.0 * x + math.exp(x), "functions of vectors"),
    "numpy": (lambda x: np.exp(x), "ufunc"),
    "np.maximum": (lambda x: np.maximum(x, 0.0), "ufunc"),
    "abs": (lambda x: abs(x), "absolute"),
    "power": (lambda x: x**2, "multiply"),
    "item": (lambda x: x[0] + x, "items"),
    "items": (lambda x: sum(x), "items"),
    "length": (lambda x: x / len(x), "items"),
    "contains": (lambda x: e.where(0.0 in x, x, 1.0), "items"),
    "mask as number": (lambda x: (x > 0.0) * 1.0, "unsupported"),
    "mask in arithmetic": (lambda x: x * (x > 0.0), "number"),
    "mask returned": (lambda x: x > 0.0, "number"),
    "mask and number": (lambda x: e.where(x > 0.0 & 1, x, 1.0), "unsupported|number|mask"),
    "where without a mask": (lambda x: e.where(True, x, 1.0), "mask"),
    "nothing": (lambda x: None, "NoneType"),
    "too many": (lambda x: (x, x), "must return 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_answer_for_all_lanes_is_refused(name):
    forward, message = WRONG[name]
    with pytest.raises(TypeError, match=message):
        output(forward)


@pytest.mark.parametrize(
    ("forward", "right"),
    [
        (lambda x: e.where((x > -1.0) & (x < 1.0), x, 0.0), lambda x: np.where(abs(x) < 1, x, 0)),
        (lambda x: e.where((x < -1.0) | (x > 1.0), 2.0, x), lambda x: np.where(abs(x) > 1, 2, x)),
        (lambda x: e.where(~(x > 0.0), 1.0, x), lambda x: np.where(x > 0, x, 1)),
        (lambda x: np.float64(2.0) * x + np.float32(1.0), lambda x: 2 * x + 1),
        (lambda x: 3.0, lambda x: np.full_like(x, 3)),  # a number is a vector of it
    ],
)
def test_what_to_write_instead(forward, right):
    np.testing.assert_array_equal(output(forward), right(X))


def test_a_loss_and_an_optimizer_of_ones_own_are_refused_alike():
    class Hinged(e.Loss):
        def pointwise(z, y, a, b):
            r = z - y
            return (r, 0.5 * r * r) if r > 0.0 else (0.0 * r, 0.0 * r)

    class Halved(e.Loss):
        def pointwise(z, y, a, b):
            return z - y  # without the value

    class Sign(e.Optimizer):
        name, n_moments = "own_sign", 1

        def __init__(self):
            super().__init__(0.1)

        def scalars(self, rates, steps):
            return e.scalar_table(len(steps), rates)

        def update(p, g, v, rate, *_):
            return (p - rate if g > 0.0 else p + rate), v

    class Forgetful(Sign):
        name = "own_forgetful"

        def update(p, g, v, rate, *_):
            return (p - rate * g,)  # without the slot

    for kind, message in ((Hinged, "where"), (Halved, "must return 2|unpack|items")):
        with pytest.raises(TypeError, match=message):
            Model([layers.Dense(1)], loss=kind(), random_state=0).fit(X, Y)
    for kind, message in ((Sign, "where"), (Forgetful, "must return 3")):
        with pytest.raises(TypeError, match=message):
            Model([layers.Dense(1)], optimizer=e.optimizer(kind)(), random_state=0).fit(X, Y)
