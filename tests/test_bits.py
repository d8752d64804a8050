"""Bits: results depend neither on the number of threads, nor on where an epoch or a batch is cut; seeds decide."""

import naive
import numpy as np
import pytest
import scipy.sparse
from test_model import THREADS, data, network

import fastdnn
from fastdnn import thread_choice
from fastdnn.planning import PIECE


@pytest.fixture
def always_threads(monkeypatch):
    """Threads even where they do not pay or where the machine is busy."""
    monkeypatch.setattr(thread_choice, "launch_seconds", lambda: 0.0)
    monkeypatch.setattr(thread_choice.ThreadChoice, "next", lambda choice: (choice.most, thread_choice.SLICE))


# rows, features, hidden, outputs, batch: odd ones, then those that the benchmarks train.
@pytest.mark.parametrize(
    ("rows", "features", "hidden", "outputs", "batch", "dtype"),
    [
        (700, 40, (150, 90), 5, 128, "float32"),
        (700, 40, (150, 90), 5, 128, "float64"),
        (5000, 40, (64,), 5, 3000, "float32"),
        (5000, 40, (64,), 5, 3000, "float64"),
        (200, 40, (300,), 5, 33, "float64"),
        (401, 64, (100,), 10, 200, "float32"),
        (100, 16, (32, 32), 2, 32, "float32"),
        (400, 104, (128, 64), 2, 128, "float32"),
        (600, 8, (256, 256, 256), 1, 256, "float32"),
        (300, 784, (512, 256), 10, 128, "float32"),
        (300, 784, (512, 256), 10, 128, "float64"),
        (600, 64, (128,) * 16, 10, 256, "float32"),
        (600, 256, (1024, 1024, 1024), 10, 512, "float32"),
    ],
    ids=str,
)
def test_same_bits_on_any_number_of_threads(rows, features, hidden, outputs, batch, dtype, always_threads):
    X, y = data(rows, features, max(outputs, 2), dtype)
    results = []
    for n in THREADS:
        with fastdnn.config_context(n_threads=n):
            loss = "cross_entropy" if outputs > 1 else "squared_error"
            model = network(hidden, outputs, loss, dtype, features, activation="relu" if rows % 3 else "tanh")
            history = model.fit(X, y, epochs=2, batch_size=batch)
            results.append((model.params.copy(), history["loss"], model.predict(X), model.loss_and_grad(X, y)))
    for params, losses, predictions, (loss, gradient) in results[1:]:
        np.testing.assert_array_equal(params, results[0][0])
        assert losses == results[0][1]
        np.testing.assert_array_equal(predictions, results[0][2])
        assert loss == results[0][3][0]
        np.testing.assert_array_equal(gradient, results[0][3][1])


@pytest.mark.parametrize("batch", [10, PIECE + 1, 5 * PIECE])
def test_no_bit_depends_on_where_an_epoch_is_cut(batch, monkeypatch):
    """Slices are as long as the clock allows, so Ctrl-C is heard; one engine call is one slice."""
    X, y = data(5 * PIECE)
    found = []
    for seconds in (1e9, 1e-9):
        monkeypatch.setattr(thread_choice.ThreadChoice, "next", lambda choice, s=seconds: (choice.most, s))
        calls, driver = [], type(fastdnn.engine.train)
        call = driver.__call__
        monkeypatch.setattr(driver, "__call__", lambda self, *a, c=calls, f=call: [c.append(a), f(self, *a)])
        model = network((30,))
        losses = model.fit(X, y, epochs=2, batch_size=batch)["loss"]
        found.append((losses, model.params.copy(), *model.loss_and_grad(X, y), len(calls)))
        monkeypatch.setattr(driver, "__call__", call)
    (whole, params, loss, gradient, few), (cut, *others, many) = found
    assert cut == whole
    np.testing.assert_array_equal(others[0], params)
    assert others[1] == loss
    np.testing.assert_array_equal(others[2], gradient)
    assert many >= few + 10


def test_a_batch_larger_than_the_workspace_is_one_batch():
    X, y = data(3 * PIECE + 7)
    model = network()
    loss, gradient = model.loss_and_grad(X, y)
    assert loss == pytest.approx(naive.loss("cross_entropy", model.forward(X), y), rel=1e-12)
    parts = [model.loss_and_grad(X[i : i + 100], y[i : i + 100])[1] * len(X[i : i + 100]) for i in range(0, len(X), 100)]
    np.testing.assert_allclose(gradient, np.sum(parts, axis=0) / len(X), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_alone_is_the_row_in_a_batch(dtype):
    X, _ = data(600, dtype=dtype)
    model = network(dtype=dtype)
    whole = model.predict(X)
    for i in (0, 1, 299, 599):
        np.testing.assert_array_equal(model.predict(X[i : i + 1])[0], whole[i])


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("width", [240, 256, 512])
def test_padding_stays_zero_and_out_of_the_loss(width, form, always_threads):
    X, y = data(300, 20)
    losses = set()
    for n in THREADS:
        with fastdnn.config_context(n_threads=n):
            model = network((width, width), features=20)
            run = model.bind(form(X), y, batch_size=100)
            before = sum(float((w.astype(float) ** 2).sum()) for k, w in model.weights.items() if k.endswith("kernel"))
            plain = network((width, width), features=20).bind(form(X), y, batch_size=300).epoch()
            penalized = network((width, width), features=20).bind(form(X), y, batch_size=300).epoch(l2=3.0)
            assert penalized - plain == pytest.approx(0.5 * 3.0 / 300 * before, rel=1e-9)
            losses.add(tuple(run.epoch(l2=1.0) for _ in range(3)))
            assert not model.params[model.layout.padding()].any()
    assert len(losses) == 1


def test_reproducible_and_seeded():
    X, y = data()
    one, two, other = (network(seed=s).fit(X, y, epochs=3)["loss"] for s in (1, 1, 2))
    assert one == two != other
