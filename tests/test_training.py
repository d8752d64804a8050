"""Slices, threads and weights of an epoch: what the engine and who calls it agree on."""

import numpy as np
import pytest

import fastdnn
from fastdnn import MLPRegressor, Model, engine, layers, optimizers
from fastdnn.binding import Binding
from fastdnn.sources import Source
from fastdnn.thread_choice import ThreadChoice
from fastdnn.training import Training

RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 6)).astype("float32")
Y = X @ RNG.standard_normal((6, 2)).astype("float32")


def network(optimizer="adam", hidden=(40, 20), dtype="float32"):
    found = [layers.Dense(units, activation="tanh") for units in hidden]
    return Model([*found, layers.Dense(2)], optimizer=optimizer, dtype=dtype, random_state=0).build(6)


# ---------------------------------------------------------------- what has one row a sample behind images and series


BEFORE = {
    "convolution": ([layers.Conv2D(3, 2, activation="tanh"), layers.Flatten()], (4, 3, 2)),
    "pooled": ([layers.Conv2D(20, 3, 2, 1), layers.GlobalAvgPool2D(), layers.Dense(5)], (5, 4, 3)),
    "series": ([layers.GRU(4, return_sequences=True), layers.LSTM(6), layers.Dense(7, "tanh")], (6, 3)),
    "steps": ([layers.Dense(4), layers.Flatten(), layers.Residual([layers.Dense(5)], [layers.Dense(5)])], (3, 2)),
}


@pytest.mark.parametrize("n", [1, 3, 90])
@pytest.mark.parametrize("name", BEFORE)
def test_batch_norm_behind_what_is_taken_in_chunks(name, n):
    """All layers before it go forward before its statistics are taken, those too that take all samples at once."""
    parts, shape = BEFORE[name]
    model = Model([*parts, layers.BatchNorm()], dtype="float64", random_state=0).build(shape)
    rng = np.random.default_rng(0)
    for view in (*model.weights.values(), *model.states.values()):
        view[...] = np.abs(view + 0.3 * rng.standard_normal(view.shape))
    samples = rng.standard_normal((n, *shape))
    targets = rng.standard_normal((n, *model.layout.shapes[-1]))
    before = Model(parts, dtype="float64").build(shape)
    before.weights.update({key: model.weights[key] for key in before.weights})
    values, (gamma, beta) = before.forward(samples), list(model.weights.values())[-2:]
    mean, var = model.states.values()
    for training in (False, True):
        if training and n > 1:
            mean, var = values.mean(axis=0), values.var(axis=0)
        scores = (values - mean) / np.sqrt(var + 1e-5) * gamma + beta
        loss, _ = model.loss_and_grad(samples, targets, training=training)
        assert loss == pytest.approx(0.5 * np.square(scores - targets).sum(axis=1).mean(), rel=1e-10)


# ---------------------------------------------------------------- threads


@pytest.fixture
def alone(monkeypatch):
    """Computations cut into as many shares as threads are asked for, on one thread: no helper ever comes."""

    def call(driver, n_threads, job):
        driver.compile()
        return driver._call(job)

    monkeypatch.setattr("fastdnn._jit.Driver.__call__", call)
    monkeypatch.setattr("fastdnn.thread_choice.launch_seconds", lambda: 0.0)
    monkeypatch.setattr(ThreadChoice, "next", lambda choice: (choice.most, 0.1))


@pytest.mark.parametrize("batch", [7, 32, 400])
def test_a_leader_whose_helpers_never_come_does_their_shares(batch, alone):
    results = []
    for threads in (1, 2, 5):
        with fastdnn.config_context(n_threads=threads):
            model = network(optimizers.AdamW(clip_norm=0.5), (40,))
            losses = model.fit(X, Y, epochs=3, batch_size=batch)["loss"]
            results.append((losses, model.params.copy(), model.predict(X)))
    for losses, params, predictions in results[1:]:
        assert losses == results[0][0]
        np.testing.assert_array_equal(params, results[0][1])
        np.testing.assert_array_equal(predictions, results[0][2])


def bound(threads):
    """(model, binding, (shares, values, scalars) of eight batches of 50) of a new network."""
    run = Training(network(), Source(X, "float32"), Y, None, 50)
    scalars = run.model.optimizer.step_scalars(np.arange(1, 9))
    return run.model, Binding(run, threads, update=True), (np.full(8, 1 / 50), np.zeros(8), scalars)


def called(call, first, arrays, seconds):
    """(batches done, rows of the next one) of a call that begins at batch `first`."""
    return call(first, 8, 0, 50, 400, tuple(array.ctypes.data for array in arrays), 0.0, seconds)


def test_a_helper_that_comes_after_the_end_leaves():
    model, call, arrays = bound(3)
    before = model.params.copy()
    assert called(call, 0, arrays, 60.0) == (8, 0)
    after = model.params.copy()
    assert (after != before).any()
    engine.train._call(call.address)  # the gate has not been opened again
    np.testing.assert_array_equal(model.params, after)


def test_a_call_of_the_engine_ends_when_its_time_is_up():
    model, call, arrays = bound(1)
    shares, values, scalars = arrays
    assert called(call, 0, arrays, 0.0) == (1, 0)
    assert values[0] > 0 == values[1]
    assert called(call, 1, (shares, values, scalars[1:].copy()), 60.0) == (7, 0)
    whole, call, arrays = bound(2)
    assert called(call, 0, arrays, 60.0) == (8, 0)
    np.testing.assert_array_equal(values, arrays[1])
    np.testing.assert_array_equal(model.params, whole.params)


def test_predictions_end_when_their_time_is_up(monkeypatch):
    model = network()
    expected, calls = model.predict(X), []
    monkeypatch.setattr(ThreadChoice, "next", lambda choice: (choice.most, 0.0))
    driver = type(engine.train)
    call = driver.__call__
    monkeypatch.setattr(driver, "__call__", lambda self, *args: [calls.append(args), call(self, *args)])
    many = np.tile(X, (40, 1))
    np.testing.assert_array_equal(model.predict(many), np.tile(expected, (40, 1)))
    assert len(calls) > 10


# ---------------------------------------------------------------- sample weights


def sparse_weights():
    weights = np.zeros(400)
    weights[::10] = 1
    return weights


@pytest.mark.parametrize("batch", [1, 7, 64, 400])
@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_s_loss_weighs_batches_by_their_weights(batch, shuffle):
    weights = sparse_weights() * RNG.uniform(1, 3, 400)
    model = network(optimizers.SGD(1e-12), dtype="float64")
    history = model.fit(X, Y, epochs=1, batch_size=batch, sample_weight=weights, shuffle=shuffle)
    assert history["loss"][0] == pytest.approx(model.evaluate(X, Y, weights)["loss"], rel=1e-9)


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.Adam(0.1, weight_decay=0.1, l2=0.1, average=0.9),
        optimizers.SGD(0.1, momentum=0.9, clip_norm=1.0),
        optimizers.ScheduleFreeAdamW(0.1),
    ],
    ids=repr,
)
def test_a_batch_without_weights_moves_nothing(optimizer):
    weights = np.zeros(400)
    weights[:50] = 1
    short, long = network(optimizer.replace()), network(optimizer.replace())
    short.fit(X[:50], Y[:50], batch_size=50, shuffle=False, sample_weight=weights[:50])
    long.fit(X, Y, batch_size=50, shuffle=False, sample_weight=weights)
    np.testing.assert_array_equal(long.params, short.params)
    np.testing.assert_array_equal(long.moments, short.moments)
    if long.averaged is not None:
        np.testing.assert_array_equal(long.averaged, short.averaged)
    assert long.history["loss"] == short.history["loss"]
    assert long.step == 8


def test_accumulated_batches_without_weights_move_nothing():
    weights = np.zeros(400)
    weights[:100] = 1
    short, long = network(), network()
    short.fit(X[:100], Y[:100], batch_size=25, accumulate=4, shuffle=False)
    long.fit(X, Y, batch_size=25, accumulate=4, shuffle=False, sample_weight=weights)
    np.testing.assert_array_equal(long.params, short.params)


def test_class_weights_count_like_sample_weights():
    y = (X[:, 0] > 1).astype(int)
    model = Model([layers.Dense(2)], loss="cross_entropy", optimizer=optimizers.SGD(1e-12), dtype="float64", random_state=0)
    loss = model.fit(X, y, batch_size=16, class_weight={0: 0.0, 1: 2.0})["loss"][0]
    assert loss == pytest.approx(model.evaluate(X, y, y * 2.0)["loss"], rel=1e-9)


def test_the_drop_in_estimators_count_rows_as_scikit_learn_does():
    from sklearn.neural_network import MLPRegressor as Theirs

    weights = np.where(np.arange(400) % 10 == 0, 1.0, 0.01)
    settings = {"hidden_layer_sizes": (8,), "max_iter": 3, "batch_size": 32, "random_state": 0, "tol": 0.0}
    with pytest.warns(match="Maximum iterations"):
        ours = MLPRegressor(**settings).fit(X.astype(float), Y, weights)
    with pytest.warns(match="Maximum iterations"):
        theirs = Theirs(**settings).fit(X.astype(float), Y, weights)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
