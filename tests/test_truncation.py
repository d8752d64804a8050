"""Truncated and checkpointed sequences, in windows of their steps: the same gradient as of whole ones, in less memory."""

import numpy as np
import pytest

from fastdnn import Model, layers, optimizers

WINDOWED = {
    "one": [layers.LSTM(5, return_sequences=True, truncate=4), layers.Dense(3)],
    "stack": [
        layers.Dense(6, "tanh"),
        layers.LayerNorm(),
        layers.GRU(6, return_sequences=True, truncate=4),
        layers.PReLU(),
        layers.Residual([layers.LSTM(6, return_sequences=True, truncate=4), layers.Dense(6)]),
        layers.Residual([layers.Dense(5)], shortcut=[layers.GRU(5, return_sequences=True, truncate=4)]),
        layers.Dense(3),
    ],
    "single steps": [layers.SimpleRNN(5, return_sequences=True, truncate=1), layers.Dense(3)],
}


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("name", WINDOWED)
def test_windows_of_steps_give_the_same_gradient(name, ids, masked, loss, monkeypatch):
    """Truncated gradients of whole sequences, and of sequences that go through the network a window at a time."""
    rng = np.random.default_rng(0)
    parts = [layers.Embedding(9, 4), *WINDOWED[name]] if ids else WINDOWED[name]
    X = rng.integers(0, 9, (40, 12)) if ids else rng.standard_normal((40, 12, 4))
    y = rng.integers(0, 3, (40, 12)) if loss == "cross_entropy" else rng.standard_normal((40, 12, 3))
    lengths, weights = rng.integers(1, 13, 40) if masked else None, rng.random(40)
    found = []
    for whole in (False, True):
        with monkeypatch.context() as patch:
            if whole:
                patch.setattr("fastdnn.truncation.steps_of_windows", lambda layout: None)
            model = Model(parts, loss=loss, dtype="float64", optimizer=optimizers.SGD(0.1), random_state=0).build(X.shape[1:])
            value, gradient = model.loss_and_grad(X, y, weights, lengths=lengths)
            assert model.kept_program[1].windows == (1 if whole else 12 if name == "single steps" else 3)
            history = model.fit(X, y, 2, 16, weights, lengths=lengths)
            found.append((value, gradient, history["loss"], model.params))
    for windowed, whole in zip(*found, strict=True):
        np.testing.assert_allclose(windowed, whole, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("name", WINDOWED)
@pytest.mark.parametrize("ids", [False, True])
def test_a_program_in_windows_is_used_again(name, ids):
    """A second fit takes the program of the first, and the same steps from the same parameters."""
    rng = np.random.default_rng(0)
    parts = [layers.Embedding(9, 4), *WINDOWED[name]] if ids else WINDOWED[name]
    X = rng.integers(0, 9, (8, 12)) if ids else rng.standard_normal((8, 12, 4))
    model = Model(parts, "cross_entropy", optimizers.SGD(0.1), "float64", random_state=0).build(X.shape[1:])
    y, first, found = rng.integers(0, 3, (8, 12)), model.params.copy(), []
    for _ in range(3):
        model.params = first
        model.fit(X, y, batch_size=8, shuffle=False)
        found.append(model.params.copy())
    np.testing.assert_array_equal(found[1:], found[:-1])


def test_windows_of_steps_take_the_memory_of_one():
    parts = [layers.LSTM(64, return_sequences=True, truncate=10), layers.Dense(3)]
    X, y = np.random.default_rng(0).standard_normal((64, 100, 8), "float32"), np.arange(6400).reshape(64, 100) % 3
    sizes = []
    for truncate in (10, 100):
        layer = parts[0].replace(truncate=truncate)
        model = Model([layer, parts[1]], loss="cross_entropy", random_state=0)
        model.fit(X, y, batch_size=64)
        sizes.append(model.kept_program[1].n_work)
    assert sizes[0] < 0.15 * sizes[1]


CHECKPOINTED = {
    "scores of steps": [layers.LSTM(5, return_sequences=True, checkpoint=3), layers.Dense(3)],
    "one score": [layers.Dense(6, "tanh"), layers.GRU(5, checkpoint=True), layers.Dense(4, "relu"), layers.Dense(3)],
    "stack": [
        layers.LayerNorm(),
        layers.GRU(6, return_sequences=True, checkpoint=5),
        layers.Residual([layers.LSTM(6, return_sequences=True, checkpoint=5), layers.Dense(6)]),
        layers.Residual([layers.Dense(5)], shortcut=[layers.GRU(5, return_sequences=True, checkpoint=5)]),
        layers.SimpleRNN(4, checkpoint=5),
        layers.Dense(3),
    ],
    "single steps": [layers.LSTM(5, return_sequences=True, checkpoint=1), layers.Dense(3)],
    "last of a truncated one": [
        layers.LSTM(5, return_sequences=True, truncate=4),
        layers.GRU(5, truncate=4),
        layers.Dense(3),
    ],
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("name", CHECKPOINTED)
def test_checkpoints_give_the_same_gradient(name, ids, masked, monkeypatch):
    rng = np.random.default_rng(0)
    parts = [layers.Embedding(9, 4), *CHECKPOINTED[name]] if ids else CHECKPOINTED[name]
    X = rng.integers(0, 9, (40, 12)) if ids else rng.standard_normal((40, 12, 4))
    lengths, weights = rng.integers(1, 13, 40) if masked else None, rng.random(40)
    found = []
    for whole in (False, True):
        with monkeypatch.context() as patch:
            if whole:
                patch.setattr("fastdnn.truncation.steps_of_windows", lambda layout: None)
            model = Model(parts, loss="cross_entropy", dtype="float64", optimizer=optimizers.SGD(0.1), random_state=0)
            model.build(X.shape[1:])
            y = np.random.default_rng(1).integers(0, 3, (40, *model.layout.shapes[-1][:-1]))
            value, gradient = model.loss_and_grad(X, y, weights, lengths=lengths)
            all_at_once = whole or (masked and name == "last of a truncated one")  # some end before the last window
            assert (model.kept_program[1].windows == 1) == all_at_once
            history = model.fit(X, y, 2, 16, weights, lengths=lengths)
            found.append((value, gradient, history["loss"], model.params))
    for windowed, whole in zip(*found, strict=True):
        np.testing.assert_allclose(windowed, whole, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    "parts",
    [
        [layers.LSTM(3, return_sequences=True, checkpoint=True), layers.LSTM(3), layers.Dense(1)],
        [layers.Conv1D(3, 2), layers.LSTM(3, checkpoint=True), layers.Dense(1)],
        [layers.Bidirectional(layers.LSTM(3, checkpoint=True)), layers.Dense(1)],
        [layers.BatchNorm(), layers.LSTM(3, checkpoint=True), layers.Dense(1)],
    ],
)
def test_networks_without_checkpoints(parts):
    with pytest.raises(ValueError, match="checkpoint needs a network"):
        Model(parts).fit(np.arange(72.0).reshape(4, 9, 2), np.arange(4.0))
