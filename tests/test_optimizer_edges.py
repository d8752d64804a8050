"""Gradients at the ends of the float types, and weights that are assigned between fits."""

import copy
import pickle

import numpy as np
import pytest

from fastdnn import MLPRegressor, Model, config_context, layers
from fastdnn.optimizers import SGD, Adam, ScheduleFreeAdamW
from fastdnn.saving import state

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 5)).astype("float32")
Y = (X @ RNG.standard_normal((5, 1))).astype("float32")


def linear(optimizer, dtype="float32"):
    return Model([layers.Dense(1)], optimizer=optimizer, dtype=dtype, random_state=0)


@pytest.mark.parametrize("size", [1e10, 1e18, 1e20, 1e30, 1e36])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_gradient_whose_squares_leave_float32_is_clipped(size, threads):
    x = (X * size).astype("float32")
    model = Model([layers.Dense(1)], loss="absolute_error", optimizer=SGD(1.0, clip_norm=0.5), random_state=0).build(5)
    gradient, before = model.loss_and_grad(x, Y)[1].astype(float), model.params.copy()
    with config_context(n_threads=threads):
        history = model.fit(x, Y, batch_size=64, shuffle=False)
    norm = np.sqrt((gradient**2).sum())
    assert model.skipped_steps == 0
    assert norm > 0.1 * size
    np.testing.assert_allclose(history["gradient_norm"], norm, rtol=1e-5)
    np.testing.assert_allclose(model.params - before, -0.5 * gradient / norm, rtol=1e-4, atol=1e-6)


def test_weights_whose_squares_leave_float32_are_shortened():
    """max_norm made zeros of them."""
    model = Model([layers.Dense(1, max_norm=2.0)], loss="absolute_error", optimizer=SGD(1e-9), random_state=0).build(5)
    kernel = np.array([[3e25], [4e25], [0], [0], [0]])
    model.weights["0.dense.kernel"] = kernel
    model.fit(X, Y, batch_size=64)
    np.testing.assert_allclose(model.weights["0.dense.kernel"], kernel / 2.5e25, rtol=1e-6, atol=1e-7)


def test_an_infinite_gradient_is_still_left_out():
    model = linear(SGD(0.1, clip_norm=1.0)).build(5)
    model.weights["0.dense.kernel"][...] = 3e38
    before = model.params.copy()
    with pytest.warns(RuntimeWarning, match="the loss is nan"):
        model.fit(X * 100, Y)
    np.testing.assert_array_equal(model.params, before)


ASSIGNMENTS = {
    "key": lambda m, a: m.weights.__setitem__("0.dense.kernel", a),
    "view": lambda m, a: m.weights["0.dense.kernel"].__setitem__(..., a),
    "flat": lambda m, a: m.layout.views(m.params)["0.dense.kernel"].__setitem__(..., a),
}


@pytest.mark.parametrize("how", ASSIGNMENTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_assigned_weights_are_where_schedule_free_goes_on(how, dtype):
    model = linear(ScheduleFreeAdamW(1e-6), dtype)
    model.fit(X, Y, epochs=3)
    new = np.full((5, 1), 7.0)
    bias = model.weights["0.dense.bias"].copy()
    z_of_bias = model.layout.views(model.moments[: model.layout.size])["0.dense.bias"].copy()
    ASSIGNMENTS[how](model, new)
    np.testing.assert_allclose(model.predict(X), X @ new + bias, rtol=1e-4, atol=1e-4)
    model.fit(X, Y)
    np.testing.assert_allclose(model.weights["0.dense.kernel"], new, atol=1e-4)  # not drawn back to the old z
    views = model.layout.views(model.moments[: model.layout.size])
    np.testing.assert_allclose(views["0.dense.kernel"], new, atol=1e-4)
    np.testing.assert_allclose(views["0.dense.bias"], z_of_bias, atol=1e-4)  # what was not assigned goes on


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: m.copy()])
def test_assigned_weights_of_copies(again):
    model = linear(ScheduleFreeAdamW(1e-6))
    model.fit(X, Y, epochs=3)
    other = again(model)
    other.weights["0.dense.kernel"] = np.full((5, 1), 7.0)
    other.fit(X, Y)
    np.testing.assert_allclose(other.weights["0.dense.kernel"], 7, atol=1e-4)


def test_assigned_weights_of_files(tmp_path):
    model = linear(ScheduleFreeAdamW(1e-6))
    model.fit(X, Y, epochs=3)
    model.weights["0.dense.kernel"] = np.full((5, 1), 7.0)
    model.save(tmp_path / "m")  # assigned before, noticed after
    loaded = Model.load(tmp_path / "m")
    loaded.fit(X, Y)
    np.testing.assert_allclose(loaded.weights["0.dense.kernel"], 7, atol=1e-4)
    model.fit(X, Y)
    np.testing.assert_array_equal(loaded.params, model.params)


def test_assigned_weights_of_drop_in_estimators():
    net = MLPRegressor(hidden_layer_sizes=(), solver="schedule_free_adamw", learning_rate_init=1e-6, random_state=0)
    for _ in range(3):
        net.partial_fit(X, Y[:, 0])
    net.coefs_[0] = np.full((5, 1), 7.0)
    net.partial_fit(X, Y[:, 0])
    np.testing.assert_allclose(net.coefs_[0], 7, atol=1e-4)


def test_without_an_assignment_nothing_changes():
    """Two fits of an epoch are one of two, bit for bit."""
    one, two = linear(ScheduleFreeAdamW(0.1)), linear(ScheduleFreeAdamW(0.1))
    one.fit(X, Y, epochs=2)
    two.fit(X, Y)
    two.fit(X, Y)
    np.testing.assert_array_equal(one.params, two.params)
    np.testing.assert_array_equal(one.moments, two.moments)


def test_ordinary_gradients_have_the_same_norm_as_before():
    model = linear(Adam(1e-3))
    gradient = model.bind(X, Y).loss_and_grad() and model.grads.astype(float)
    history = model.fit(X, Y, batch_size=64)
    np.testing.assert_allclose(history["gradient_norm"], np.sqrt((gradient**2).sum()), rtol=1e-6)


def test_a_file_of_before_that_lacks_what_an_epoch_left(tmp_path, monkeypatch):
    model = linear(ScheduleFreeAdamW(0.1))
    model.fit(X, Y, epochs=2)
    memory = state._memory
    monkeypatch.setattr(state, "_memory", lambda m: {k: a for k, a in memory(m).items() if not k.startswith("slot2")})
    model.save(tmp_path / "m.fdnn")
    loaded = Model.load(tmp_path / "m.fdnn")
    np.testing.assert_array_equal(loaded.moments, model.moments)
    assert loaded.fit(X, Y, epochs=4, resume=True)["loss"] == model.fit(X, Y, epochs=4, resume=True)["loss"]
