"""Steps that do not count: in gradients, losses, metrics, statistics and pools; lengths, and what is refused."""

import naive
import numpy as np
import pytest
from sequences import FEATURES, LENGTHS, STEPS, N, model_and_data, stack

from fastdnn import Model, layers, optimizers

MASKED = {
    "holes": [layers.LSTM(5, return_sequences=True), layers.Dense(3)],
    "last": [layers.Dense(4, "tanh"), layers.GRU(5), layers.Dense(3)],
    "both": [layers.Bidirectional(layers.GRU(5, return_sequences=True), merge="sum"), layers.SimpleRNN(3), layers.Dense(3)],
    "normalized": [
        layers.Dense(4),
        layers.BatchNorm(activation="tanh"),
        layers.LSTM(3, return_sequences=True),
        layers.Dense(3),
    ],
    "normalized and mixed": [layers.Dense(4), layers.BatchNorm(), layers.Conv1D(3, 2), layers.GlobalAvgPool1D()],
    "mean": [layers.Dense(4, "tanh"), layers.GlobalAvgPool1D(), layers.Dense(3)],
    "largest": [layers.Dense(4, "tanh"), layers.GlobalMaxPool1D(), layers.Dense(3)],
    "residual": [layers.Residual([layers.LayerNorm(), layers.GRU(4, return_sequences=True)]), layers.Dense(3)],
    "two ways": [
        layers.Residual([layers.GRU(5, return_sequences=True)], [layers.BatchNorm(), layers.LSTM(5, return_sequences=True)]),
        layers.Dense(3),
    ],
    "mixed and back": [
        layers.Residual([layers.Conv1D(5, 3, padding="same")], [layers.LSTM(5, return_sequences=True)]),
        layers.GlobalAvgPool1D(),
        layers.Dense(3),
    ],
    "dropped": [layers.LSTM(5, return_sequences=True, dropout=0.2, recurrent_dropout=0.3), layers.Dense(3)],
}


def with_holes(parts, dtype="float64", first=True):
    model, X, y = model_and_data([layers.Masking(), *parts], dtype)
    X[np.random.default_rng(1).random((N, STEPS)) < 0.4] = 0
    X[:, 3] += 0.1
    return model, X, y


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MASKED)
def test_gradient_with_steps_that_do_not_count(name, training):
    model, X, y = with_holes(MASKED[name])
    _, gradient = model.loss_and_grad(X, y, training=training)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y, training=training)[0], model.params)
    numeric[model.layout.padding()] = gradient[model.layout.padding()]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


SEEING = "normalized and mixed", "residual", "mixed and back"  # masked steps
BLIND = [name for name in MASKED if name not in SEEING]


@pytest.mark.parametrize("name", BLIND)
def test_what_does_not_count_makes_no_difference(name):
    """The numbers in masked steps, how many of them there are, and the other sequences of the batch."""
    model, X, y = model_and_data(MASKED[name])
    together = model.forward(X, lengths=LENGTHS)
    other = X.copy()
    other[np.arange(STEPS) >= LENGTHS[:, None]] = 7.0
    counted = np.arange(STEPS) < LENGTHS[:, None] if together.ndim == 3 else slice(None)
    np.testing.assert_array_equal(model.forward(other, lengths=LENGTHS)[counted], together[counted])
    loss, gradient = model.loss_and_grad(X, y, lengths=LENGTHS)
    again, other_gradient = model.loss_and_grad(other, y, lengths=LENGTHS)
    assert loss == again
    np.testing.assert_array_equal(gradient, other_gradient)
    for i, length in enumerate(LENGTHS):
        alone = Model(model.layers, loss="cross_entropy", dtype="float64").build((int(length), FEATURES))
        alone.params, alone.state[...] = model.params, model.state
        scores = alone.forward(np.ascontiguousarray(X[i : i + 1, :length]))
        np.testing.assert_array_equal(scores[0], together[i, :length] if together.ndim == 3 else together[i])


def test_loss_and_metrics_are_means_over_the_steps_that_count():
    model, X, y = model_and_data(stack("gru", False, 1, True, 5))
    counted, weights = np.arange(STEPS) < LENGTHS[:, None], np.arange(1.0, N + 1)
    scores = model.predict(X, lengths=LENGTHS)
    of_steps = -np.log(np.take_along_axis(scores, y[..., None], -1))[..., 0]
    for weight, w in ((None, np.ones(N)), (weights, weights)):
        w = (w[:, None] * counted)[counted]
        expected = {
            "loss": np.average(of_steps[counted], weights=w),
            "accuracy": np.average((scores.argmax(-1) == y)[counted], weights=w),
        }
        assert model.evaluate(X, y, weight, lengths=LENGTHS) == pytest.approx(expected)
        assert model.loss_and_grad(X, y, weight, lengths=LENGTHS)[0] == pytest.approx(expected["loss"])


@pytest.mark.parametrize("name", MASKED)
def test_same_bits_on_any_number_of_threads(name, on_threads):
    model, X, y = with_holes(MASKED[name], "float32")
    X, y = np.tile(X, (20, 1, 1)), np.tile(y, (20, *[1] * (y.ndim - 1)))
    results = set()
    for threads in (1, 2, 3, 4):
        with on_threads(threads):
            model = Model([layers.Masking(), *MASKED[name]], loss="cross_entropy", random_state=0)
            loss = model.fit(X, y, epochs=3, batch_size=50)["loss"]
            results.add((model.params.tobytes(), model.state.tobytes(), model.predict(X).tobytes(), *loss))
    assert len(results) == 1


def test_lengths_reach_training_validation_and_prediction():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 20, 400)
    X = rng.standard_normal((400, 20, 1)).astype("float32")
    behind = np.arange(20) >= lengths[:, None]
    y = ((X[..., 0] * ~behind).sum(axis=1) > 0).astype(int)
    X[behind] = 50.0
    model = Model([layers.GRU(8), layers.Dense(2)], loss="cross_entropy", optimizer=optimizers.Adam(0.01), random_state=0)
    held_out = (X[300:], y[300:], None, lengths[300:])
    history = model.fit(X[:300], y[:300], 30, lengths=lengths[:300], validation_data=held_out)
    assert history["val_accuracy"][-1] > 0.9
    assert model.evaluate(*held_out)["accuracy"] == history["val_accuracy"][-1]
    again = Model(model.layers, loss="cross_entropy", optimizer=optimizers.Adam(0.01), random_state=0)
    history = again.fit(X, y, 30, lengths=lengths, validation_fraction=0.25)
    assert history["val_accuracy"][-1] > 0.85


def test_a_reshape_ends_a_mask():
    pooled = Model([layers.Reshape((400, 1)), layers.GlobalAvgPool1D()]).build((4, 100))
    sequences = Model([layers.Reshape((12, 1)), layers.GRU(2, return_sequences=True), layers.Dense(1)]).build((4, 3))
    for model in (pooled, sequences):
        X = np.zeros((1, *model.layout.shapes[0]))
        for call in (lambda m=model, X=X: m.forward(X, lengths=[2]), lambda m=model, X=X: m.fit(X, [[0]], lengths=[2])):
            with pytest.raises(ValueError, match=r"mean nothing to this network: they end at layer 0, Reshape|y must have"):
                call()


@pytest.mark.parametrize(
    ("parts", "X"),
    [([layers.Dense(1)], np.ones((2, 4))), ([layers.Flatten(), layers.Dense(1)], np.ones((2, 4, 3)))],
)
def test_lengths_that_mean_nothing(parts, X):
    with pytest.raises(ValueError, match="mean nothing to this network"):
        Model(parts).fit(X, [0.0, 1.0], lengths=[2, 3])


def test_vjp_takes_the_gradients_as_they_are_given():
    model = Model([layers.Masking(), layers.Dense(1)], dtype="float64").build((3, 1))
    model.weights["1.dense.kernel"][...] = 2
    dX, gradient = model.vjp([[[1.0], [2.0], [0.0]]], [[[5.0], [0.0], [0.0]]])
    np.testing.assert_array_equal(dX, [[[10.0], [0.0], [0.0]]])
    assert gradient[model.layout.entries[1].offset] == 5
    same, _ = Model.vjp(model, [[[1.0], [2.0], [7.0]]], [[[5.0], [0.0], [0.0]]], lengths=[2])
    np.testing.assert_array_equal(same, dX)


def test_padding_may_be_anything_finite():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 4, 2)), rng.random((6, 4, 1))
    for loss in ("poisson", "gamma", "squared_error", "huber"):
        model = Model([layers.Dense(1)], loss=loss, random_state=0).build((4, 2))
        expected = model.loss_and_grad(X, y + 0.1, lengths=[2] * 6)
        for padding in (-999.0, 1e4, -1e4, 1e20, -1e20):
            X[:, 2:] = padding
            value, gradient = model.loss_and_grad(X, y + 0.1, lengths=[2] * 6)
            assert value == expected[0]
            np.testing.assert_array_equal(gradient, expected[1])
            assert model.evaluate(X, y + 0.1, lengths=[2] * 6)["loss"] == pytest.approx(value)


def test_what_was_not_finite_once_is_forgotten():
    model = Model([layers.GRU(3, return_sequences=True), layers.Dense(2)], optimizer=optimizers.SGD(0.1), random_state=0)
    rng = np.random.default_rng(0)
    X, y, lengths = rng.standard_normal((32, 6, 4)), np.zeros((32, 6, 2)), rng.integers(1, 7, 32)
    model.train_on_batch(X, y)
    good = model.params.copy()
    model.weights["0.gru.recurrent_kernel"][...] = np.nan
    model.train_on_batch(X, y, lengths=[6] * 32)
    model.params = good
    skipped = model.skipped_steps
    for _ in range(3):
        model.train_on_batch(X, y, lengths=lengths)
    assert model.skipped_steps == skipped
    assert (model.params != good).any()


def test_a_gradient_ends_at_a_step_that_does_not_count():
    cell = layers.SimpleRNN(1, "identity", truncate=2, initializer=1.0, recurrent_initializer=1.0)
    model = Model([layers.Masking(), cell], dtype="float64").build((4, 1))
    gradient = model.input_gradient([[[1.0], [1.0], [0.0], [1.0]]], [0.0])
    np.testing.assert_array_equal(gradient.ravel(), [0.0, 0.0, 0.0, 3.0])


def test_scorers_see_lengths():
    rng = np.random.default_rng(0)
    X, y, lengths = rng.standard_normal((60, 6, 2)), rng.integers(0, 2, 60), rng.integers(1, 7, 60)
    model = Model([layers.GRU(3), layers.Dense(2)], loss="cross_entropy", random_state=0)
    held_out = X, y, None, lengths
    history = model.fit(X, y, 3, lengths=lengths, validation_data=held_out, scoring={"same": "accuracy"})
    assert history["val_same"] == history["val_accuracy"]


def test_gradients_from_elsewhere_reach_all_parameters():
    for parts, shape in (([layers.GRU(2), layers.Dense(1)], (4, 3)), ([layers.Embedding(5, 2), layers.LSTM(2)], (4,))):
        model = Model(parts, dtype="float64", optimizer=optimizers.SGD(1.0), random_state=0).build(shape)
        before = model.params.copy()
        model.apply_gradient(np.ones_like(before))
        moved = np.delete(before - model.params, model.layout.padding())
        np.testing.assert_allclose(moved, 1)


def test_mixing_refuses_sequences_of_unequal_length():
    with pytest.raises(ValueError, match="steps all count"):
        Model([layers.GRU(2), layers.Dense(1)]).fit(np.ones((4, 3, 1)), np.arange(4.0), mixup=1.0, lengths=[1, 2, 3, 3])


def test_a_failing_fit_builds_nothing():
    model = Model([layers.GRU(3, return_sequences=True, go_backwards=True)])
    with pytest.raises(ValueError, match="cannot turn masked sequences around"):
        model.fit(np.ones((4, 3, 1)), np.ones((4, 3, 3)), lengths=[1, 2, 3, 3])
    assert model.layout is None
