"""What all optimizers share: clipping, penalties, norms, averages, steps left out, schedules; L-BFGS."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from test_optimizers import problem

from fastdnn import Model, layers, schedules
from fastdnn._math import with_sign
from fastdnn._simd import where
from fastdnn.optimizers import (
    LBFGS,
    OPTIMIZERS,
    SGD,
    Adam,
    AdamW,
    Optimizer,
    ScheduleFreeAdamW,
    optimizer,
)
from fastdnn.optimizers.base import scalar_table


def stepped(optimizer, steps=3, dtype="float64", **fit):
    """(model before, model after some steps on one batch, gradients of the first step)."""
    before, X, y = problem(optimizer, dtype)
    after, _, _ = problem(optimizer, dtype)
    before.loss_and_grad(X, y)
    run = after.bind(X, y, batch_size=40)
    for _ in range(steps):
        run.epoch(**fit)
    return before, after, before.gradients


def test_clipping_by_norm():
    before, after, _ = stepped(SGD(1.0, clip_norm=0.1), 1)
    norm = np.linalg.norm(before.grads)
    assert norm > 0.1
    np.testing.assert_allclose(after.params, before.params - before.grads * 0.1 / norm, rtol=1e-10)
    before, after, _ = stepped(SGD(1.0, clip_norm=100.0), 1)
    np.testing.assert_allclose(after.params, before.params - before.grads, rtol=1e-10)


def test_clipping_by_value():
    before, after, _ = stepped(SGD(1.0, clip_value=0.05), 1)
    np.testing.assert_allclose(after.params, before.params - np.clip(before.grads, -0.05, 0.05), rtol=1e-10)


def test_penalties_are_in_the_loss_and_its_gradient_and_spare_biases():
    before, after, g = stepped(SGD(1.0, l1=0.2, l2=0.3), 1)
    for key, p in before.weights.items():
        decay = key.endswith("kernel")
        np.testing.assert_allclose(after.weights[key], p - (g[key] + decay * (0.2 * np.sign(p) + 0.3 * p)), rtol=1e-9)
    model, X, y = problem(SGD(1e-9, l1=0.2, l2=0.3))
    kernels = [w for key, w in before.weights.items() if key.endswith("kernel")]
    penalty = sum(0.2 * np.abs(w).sum() + 0.15 * (w**2).sum() for w in kernels)
    assert model.bind(X, y, batch_size=40).epoch() == pytest.approx(model.loss_and_grad(X, y)[0] + penalty, rel=1e-6)


def test_penalties_and_rates_of_layers():
    def network(**settings):
        rng = np.random.default_rng(0)
        shapes = [layers.Dense(5, activation="tanh", **settings), layers.Dense(1)]
        model = Model(shapes, optimizer=SGD(0.5), dtype="float64", random_state=0).build(6)
        return model, rng.standard_normal((40, 6)), rng.standard_normal(40)

    start, X, y = network()
    start.loss_and_grad(X, y)
    for settings in ({"l1": 0.1}, {"l2": 0.2}, {"learning_rate_factor": 0.3}, {"learning_rate_factor": 0.0}):
        model, _, _ = network(**settings)
        model.bind(X, y, batch_size=40).epoch()
        for key, p in start.weights.items():
            own = key.startswith("0")
            penalty = settings.get("l1", 0) * np.sign(p) + settings.get("l2", 0) * p
            g = start.gradients[key] + own * key.endswith("kernel") * penalty
            rate = 0.5 * (settings.get("learning_rate_factor", 1.0) if own else 1.0)
            np.testing.assert_allclose(model.weights[key], p - rate * g, rtol=1e-9, atol=1e-15)


def test_max_norm():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 6)), 10 * rng.standard_normal(64)
    shapes = [layers.Dense(50, activation="tanh", max_norm=0.2), layers.Dense(1)]
    model = Model(shapes, optimizer=SGD(0.1), random_state=0)
    model.fit(X, y, epochs=5, batch_size=8)
    norms = np.linalg.norm(model.weights["0.dense.kernel"], axis=0)
    assert norms.max() < 0.2 + 1e-5
    assert np.linalg.norm(model.weights["1.dense.kernel"]) > 0.5


def test_moving_average_of_the_parameters():
    model, X, y = problem(Adam(0.01, average=0.8))
    run, expected = model.bind(X, y, batch_size=40), model.params.copy()
    for _ in range(6):
        run.epoch()
        expected = 0.8 * expected + 0.2 * model.params
    np.testing.assert_allclose(model.averaged, expected, rtol=1e-10)
    assert problem(Adam())[0].averaged is None


@pytest.mark.parametrize("rules", [{}, {"clip_norm": 1.0}])
def test_steps_that_are_not_finite_are_left_out_and_counted(rules):
    model, X, y = problem(SGD(0.01, **rules), "float32", "identity")
    y = y.astype("float32")
    X[5] = 1e30  # one of four batches overflows
    reference, _, _ = problem(SGD(0.01, **rules), "float32", "identity")
    model.bind(X.astype("float32"), y, batch_size=10).epoch()
    rest = np.arange(10, 40)
    reference.bind(X.astype("float32")[rest], y[rest], batch_size=10).epoch()
    assert model.skipped_steps == 1
    np.testing.assert_array_equal(model.params, reference.params)
    diverged, _, _ = problem(SGD(0.01, skip_nonfinite=False, **rules), "float32", "identity")
    diverged.bind(X.astype("float32"), y, batch_size=10).epoch()
    assert rules or not np.isfinite(diverged.params).all()  # clipping makes 0 of an infinite norm's gradient


RULE_CASES = [
    {"clip_norm": 0.5},
    {"clip_value": 0.01},
    {"l1": 0.01, "l2": 0.02},
    {"weight_decay": 0.1},
    {"average": 0.9},
    {"clip_norm": 0.5, "average": 0.9, "l1": 0.01, "weight_decay": 0.1},
]


@pytest.mark.parametrize("rules", RULE_CASES, ids=str)
@pytest.mark.parametrize("kind", [SGD, AdamW, ScheduleFreeAdamW])
def test_same_bits_on_any_number_of_threads(kind, rules, on_threads):
    rng = np.random.default_rng(0)
    X, y, results = rng.standard_normal((300, 6)).astype("float32"), rng.standard_normal(300), set()
    for width in (30, 300):  # two shards and one
        results = set()
        free = kind is ScheduleFreeAdamW  # averages itself
        rules = {key: value for key, value in rules.items() if key != "average" or not free}
        for threads in (1, 2, 3, 4):
            with on_threads(threads):
                shapes = [
                    layers.Dense(width, activation="relu", max_norm=None if free else 1.0),
                    layers.Dense(width),
                    layers.Dense(1),
                ]
                model = Model(shapes, optimizer=kind(0.01, **rules), random_state=0)
                model.fit(X, y, epochs=3, batch_size=64)
                results.add((model.params.tobytes(), None if model.averaged is None else model.averaged.tobytes()))
        assert len(results) == 1


def test_schedule_free_predicts_with_the_average_and_trains_on():
    model, X, y = problem(ScheduleFreeAdamW(0.05))
    losses = [model.fit(X, y, epochs=20, batch_size=10)["loss"][-1] for _ in range(3)]
    assert losses[2] < losses[0]
    once, _, _ = problem(ScheduleFreeAdamW(0.05))
    once.fit(X, y, epochs=60, batch_size=10)
    np.testing.assert_array_equal(once.params, model.params)


def test_lbfgs_finds_the_least_squares():
    X, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    model = Model([layers.Dense(1)], optimizer=LBFGS(tolerance=1e-9), dtype="float64", random_state=0)
    history = model.fit(X, y, epochs=200)
    A = np.column_stack([X, np.ones(len(X))])
    exact = np.linalg.lstsq(A, y, rcond=None)[0]
    np.testing.assert_allclose(model.weights["0.dense.kernel"].ravel(), exact[:-1], rtol=1e-4, atol=1e-4)
    assert history["loss"][-1] <= history["loss"][0]
    ridge = Model([layers.Dense(1)], optimizer=LBFGS(l2=1.0), dtype="float64", random_state=0)
    ridge.fit(X, y, epochs=200)
    assert np.abs(ridge.params).sum() < np.abs(model.params).sum()


def test_an_optimizer_of_ones_own():
    @optimizer
    class SignDescent(Optimizer):
        """p <- p - rate sign(g)."""

        name, n_moments = "sign_descent", 0

        def __init__(self, learning_rate=0.01, **rules):
            super().__init__(learning_rate, **rules)

        def scalars(self, rates, steps):
            return scalar_table(len(steps), rates)

        def update(p, g, rate, *_):
            return (p - where(g.equals(0.0), 0.0, with_sign(rate, g)),)

    try:
        before, after, _ = stepped(SignDescent(0.5), 1)
        moved = after.params != before.params
        np.testing.assert_allclose((before.params - after.params)[moved], 0.5 * np.sign(before.grads[moved]), rtol=1e-12)
    finally:
        del OPTIMIZERS["sign_descent"]


def test_a_schedule_gives_each_step_its_rate():
    model, X, y = problem(SGD(schedules.Step(0.1, every=2, factor=0.5)))
    other, _, _ = problem(SGD(0.1))
    model.fit(X, y, epochs=2, batch_size=20, shuffle=False)
    run = [other.bind(X[a : a + 20], y[a : a + 20], batch_size=20) for a in (0, 20)]
    for batch, rate in ((0, 0.1), (1, 0.1), (0, 0.05), (1, 0.05)):
        run[batch].epoch(learning_rate=rate)
    np.testing.assert_allclose(model.params, other.params, rtol=1e-12)


def test_reduce_on_plateau_changes_the_rate():
    model, X, _ = problem(SGD(schedules.ReduceOnPlateau(0.1, factor=0.1, patience=1)))
    model.params = 0 * model.params
    with pytest.warns(ConvergenceWarning, match="the same target"):
        model.fit(X, np.zeros(40), epochs=6, batch_size=40)
    assert model.trained.plateau["factor"] == pytest.approx(0.01)


def test_max_norm_against_numpy():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 6)), 10 * rng.standard_normal(64)
    model = Model([layers.Dense(50, activation="tanh", max_norm=0.2), layers.Dense(1)], optimizer=SGD(0.1), dtype="float64")
    model.build(6)
    other = Model([layers.Dense(50, activation="tanh"), layers.Dense(1)], dtype="float64").build(6)
    other.params = model.params
    for start in range(0, 64, 8):
        rows = slice(start, start + 8)
        model.bind(X[rows], y[rows], batch_size=8).epoch()
        _, gradient = other.loss_and_grad(X[rows], y[rows])
        other.params = other.params - 0.1 * gradient
        W = other.weights["0.dense.kernel"]
        W *= np.minimum(1, 0.2 / np.linalg.norm(W, axis=0))
        np.testing.assert_allclose(model.params, other.params, rtol=1e-10, atol=1e-14)


def test_schedule_free_leaves_frozen_layers_alone_and_says_what_it_cannot_do():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6)), rng.standard_normal(40)
    model = Model(
        [layers.Dense(8, "tanh", learning_rate_factor=0.0), layers.Dense(1)],
        optimizer=ScheduleFreeAdamW(0.05),
        random_state=0,
    )
    model.build(6)
    before = model.weights["0.dense.kernel"].copy()
    model.fit(X, y, epochs=5, batch_size=10)
    np.testing.assert_array_equal(model.weights["0.dense.kernel"], before)
    for make in (
        lambda: ScheduleFreeAdamW(average=0.9),
        lambda: Model([layers.Dense(1, max_norm=1.0)], optimizer=ScheduleFreeAdamW()).fit(X, y),
    ):
        with pytest.raises(ValueError, match="cannot be used with ScheduleFreeAdamW"):
            make()


def test_lbfgs_says_what_it_cannot_do_and_calls_back():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6)), rng.standard_normal(40)
    for layer in (layers.Dropout(0.5), layers.BatchNorm(), layers.Dense(3, l1=0.1), layers.Dense(3, max_norm=1.0)):
        with pytest.raises(ValueError, match="LBFGS cannot train a network with"):
            Model([layers.Dense(6), layer, layers.Dense(1)], optimizer="lbfgs").fit(X, y)
    model = Model(
        [layers.Dense(4, "tanh", learning_rate_factor=0.0), layers.Dense(1)], optimizer="lbfgs", random_state=0
    ).build(6)
    before = model.weights["0.dense.kernel"].copy()
    history = model.fit(X, y, epochs=20, validation_data=(X, y), callbacks=[lambda _, history: len(history["loss"]) == 3])
    assert len(history["loss"]) == len(history["val_loss"]) == 3
    np.testing.assert_array_equal(model.weights["0.dense.kernel"], before)


def test_a_gradient_that_is_not_finite_is_left_out_though_the_loss_is_finite():
    model = Model([layers.Dense(2)], optimizer=SGD(0.1), random_state=0).build(1)
    model.params = 0 * model.params
    X = np.full((4, 1), 3e38, "float32")
    with pytest.warns(ConvergenceWarning):
        history = model.fit(X, np.full((4, 2), 10.0), batch_size=4)
    assert history["loss"] == [100.0]
    assert model.skipped_steps == 1
    assert not model.params.any()


def test_training_goes_on_after_a_step_left_out():
    model, X, y = problem(SGD(0.01), "float32", "identity")
    X = X.astype("float32")
    X[5] = 1e30
    with pytest.warns(ConvergenceWarning, match="4 of 16 steps were left out"):
        history = model.fit(X, y, epochs=4, batch_size=10)
    assert np.isfinite(history["loss"]).all()
    assert len(history["loss"]) == model.skipped_steps == 4


def test_a_schedule_runs_once_through_each_fit():
    first, X, y = problem(SGD(schedules.Polynomial(0.1)))
    other, _, _ = problem(SGD(schedules.Polynomial(0.1)))
    first.fit(X, y, epochs=1, batch_size=20, shuffle=False)
    first.fit(X, y, epochs=1, batch_size=20, shuffle=False)
    for _ in range(2):
        other.step = 0
        other.fit(X, y, epochs=1, batch_size=20, shuffle=False)
    np.testing.assert_array_equal(first.params, other.params)


def test_a_wrong_schedule_is_named():
    class Wrong(schedules.Constant):
        """One rate for all."""

        def rates(self, steps, total):
            return np.array([np.nan] * len(steps))

    model, X, y = problem(SGD(Wrong(0.1)))
    with pytest.raises(ValueError, match=r"Wrong\(rate=0.1\).rates must give"):
        model.fit(X, y)
