"""Networks step by step: the same bits as all steps at once, states that can be read, copied and set back."""

import copy

import numpy as np
import pytest

from fastdnn import Model, layers

NETWORKS = {
    "ids": ([layers.Embedding(20, 6), layers.LSTM(33, return_sequences=True), layers.Dense(20)], (12,)),
    "stack": (
        [
            layers.Dense(5, "relu"),
            layers.GRU(9, return_sequences=True, dropout=0.2),
            layers.BatchNorm(),
            layers.Residual([layers.SimpleRNN(9, return_sequences=True, recurrent_dropout=0.1)]),
            layers.Residual([layers.Dense(8)], shortcut=[layers.LSTM(8, return_sequences=True)]),
            layers.LayerNorm(),
            layers.Dense(3),
        ],
        (12, 4),
    ),
    "last": ([layers.GRU(5, return_sequences=True), layers.LSTM(4), layers.Dense(1, "tanh")], (12, 4)),
}


def made(name, dtype="float32", n=3):
    parts, shape = NETWORKS[name]
    loss = "cross_entropy" if name == "ids" else "squared_error"
    model = Model(parts, loss=loss, dtype=dtype, random_state=0).build(shape)
    rng = np.random.default_rng(1)
    X = rng.integers(0, 20, (n, *shape)) if len(shape) == 1 else rng.standard_normal((n, *shape)).astype(dtype)
    return model, X


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_are_those_of_a_prediction(name, dtype):
    model, X = made(name, dtype)
    for scores in (False, True):
        stepper, whole = model.stepper(3, scores), (model.forward if scores else model.predict)(X)
        by_steps = [stepper.step(X[:, t]) for t in range(12)]
        if name == "last":
            np.testing.assert_array_equal(by_steps[-1], whole)
        else:
            np.testing.assert_array_equal(np.stack(by_steps, axis=1), whole)


def test_states_are_kept_copied_and_set_back():
    model, X = made("stack")
    stepper = model.stepper(3)
    on_shortcut = [f"4.residual.shortcut.0.lstm.{name}" for name in "hc"]
    assert list(stepper.states) == ["1.gru.h", "3.residual.0.simple_rnn.h", *on_shortcut]
    first = [stepper.step(X[:, t]) for t in range(3)]
    other = stepper.copy()
    kept = {key: state.copy() for key, state in stepper.states.items()}
    following = stepper.step(X[:, 3])
    np.testing.assert_array_equal(other.step(X[:, 3]), following)
    for key, state in kept.items():
        stepper.states[key][...] = state
    np.testing.assert_array_equal(stepper.step(X[:, 3]), following)
    np.testing.assert_array_equal(copy.deepcopy(stepper).step(X[:, 4]), stepper.step(X[:, 4]))
    stepper.reset([1])
    other.reset()
    np.testing.assert_array_equal(stepper.step(X[:, 0])[1], first[0][1])
    np.testing.assert_array_equal(other.step(X[:, 0]), first[0])


def test_steps_follow_a_model_that_is_trained_on():
    model, X = made("ids")
    stepper = model.stepper(3)
    before = stepper.step(X[:, 0])
    model.fit(X, np.roll(X, -1, axis=1), epochs=2)
    stepper.reset()
    after = stepper.step(X[:, 0])
    assert (before != after).any()
    np.testing.assert_array_equal(after, model.predict(X)[:, 0])


def test_a_result_is_not_written_over():
    model, X = made("last")
    stepper = model.stepper(3)
    first = stepper.step(X[:, 0])
    kept = first.copy()
    stepper.step(X[:, 1])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1, 2], r"x must have shape \(3,\), what comes next of each sequence, got \(2,\)"),
        ([1.0, 2.0, 3.0], "x must hold integers, got float64"),
        ([1, 20, 3], "ids of 0 to 19 .* got 20 in row 1"),
        (["a", "b", "c"], "x must hold integers"),
        (np.zeros((3, 2), int), "x must have shape"),
    ],
)
def test_bad_steps_change_nothing(x, message):
    model, X = made("ids")
    stepper = model.stepper(3)
    stepper.step(X[:, 0])
    expected = stepper.copy().step(X[:, 1])
    with pytest.raises(ValueError, match=message):
        stepper.step(x)
    np.testing.assert_array_equal(stepper.step(X[:, 1]), expected)


@pytest.mark.parametrize(
    ("parts", "shape", "message"),
    [
        ([layers.Bidirectional(layers.GRU(3))], (5, 2), "layer 0, .*needs more than one step at once"),
        ([layers.GRU(3, go_backwards=True)], (5, 2), "needs more than one step"),
        ([layers.Conv1D(3, 1), layers.GRU(3)], (5, 2), "layer 0, Conv1D.* more than one step"),
        ([layers.GRU(3, return_sequences=True), layers.Flatten()], (5, 2), "layer 1, Flatten"),
        ([layers.Dense(3)], (5, 2), "no recurrent layer"),
    ],
)
def test_networks_without_single_steps(parts, shape, message):
    with pytest.raises(ValueError, match=message):
        Model(parts).build(shape).stepper()


def test_a_model_that_is_not_built_has_no_steps():
    with pytest.raises(ValueError, match="no parameters yet"):
        Model([layers.GRU(3)]).stepper()
