"""Dense layers of one output, whose kernel stands in one row."""

import pickle

import naive
import numpy as np
import pytest
import scipy.sparse as sp

import fastdnn
from fastdnn import Model, layers
from fastdnn.callbacks import EarlyStopping
from fastdnn.compress.quantization import quantizable
from fastdnn.narrowing import MOST_QUADS
from fastdnn.optimizers import LBFGS, SGD, Adam

WIDTHS = 1, 7, 8, 16, 23, 40, 256


def data(n, width, dtype="float64"):
    rng = np.random.default_rng(width)
    return rng.standard_normal((n, width)).astype(dtype), rng.standard_normal(n).astype(dtype)


def in_one_row(model):
    """Keys of the kernels that stand in one row."""
    return [e.key for e in model.layout.entries if len(e.shape) > 1 and e.rows == 1 < e.shape[0]]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("before", ["logistic", "relu"])
def test_values_and_gradients(width, before):
    X, y = data(37, 9)
    model = Model([layers.Dense(width, before), layers.Dense(1, "tanh")], dtype="float64", random_state=1).build(9)
    w = model.weights
    w["0.dense.bias"] = np.linspace(-1, 1, width)
    hidden = X @ w["0.dense.kernel"] + w["0.dense.bias"]
    hidden = 1 / (1 + np.exp(-hidden)) if before == "logistic" else np.maximum(hidden, 0)
    expected = np.tanh(hidden @ w["1.dense.kernel"] + w["1.dense.bias"])
    np.testing.assert_allclose(model.forward(X), expected, rtol=1e-12, atol=1e-15)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y)[0], model.params)
    model.loss_and_grad(X, y)
    own = np.setdiff1d(np.arange(model.layout.size), model.layout.padding())
    np.testing.assert_allclose(model.grads[own], numeric[own], rtol=1e-6, atol=1e-9)
    # The layer before leaves numbers in the padding of its rows, logistic(0): none of them may move a parameter.
    assert not model.grads[model.layout.padding()].any()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_the_first_layer_it_is_a_linear_model(sparse, dtype):
    X, y = data(90, 23, dtype)
    X[np.abs(X) < 0.8] = 0
    start = Model([layers.Dense(1)], dtype=dtype, random_state=0).build(23).weights["0.dense.kernel"][:, 0].astype(float)
    model = Model([layers.Dense(1)], dtype=dtype, random_state=0, optimizer=SGD(0.05, momentum=0.0))
    model.fit(sp.csr_matrix(X) if sparse else X, y, epochs=1, batch_size=90)
    error = X.astype(float) @ start - y
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(model.weights["0.dense.kernel"][:, 0], start - 0.05 * X.T.astype(float) @ error / 90, **close)
    np.testing.assert_allclose(model.weights["0.dense.bias"], -0.05 * error.mean(), **close)


@pytest.mark.parametrize("shape", [(30,), (5, 30), (3, 4, 30)])
def test_the_same_bits_on_any_number_of_threads(shape):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, *shape)).astype("float32")
    y = rng.standard_normal((300, *shape[:-1], 1)).astype("float32")
    found = []
    for n in (1, 2, 3, 4):
        with fastdnn.config_context(n_threads=n):
            model = Model([layers.Dense(60, "tanh"), layers.Dense(1)], random_state=0)
            model.fit(X, y, epochs=2, batch_size=64)
            found.append((model.params.tobytes(), model.predict(X).tobytes()))
    assert len(set(found)) == 1


def test_samples_that_are_not_finite_stay_with_themselves():
    X, y = data(40, 12, "float32")
    model = Model([layers.Dense(5, "elu"), layers.Dense(1)], random_state=0)
    model.fit(X, y, epochs=1)
    before = model.forward(X)
    X[7, 3] = np.nan
    after = model.forward(X)
    assert np.isnan(after[7]).all()
    np.testing.assert_array_equal(np.delete(after, 7, axis=0), np.delete(before, 7, axis=0))


def test_what_looks_at_the_columns_of_a_kernel_has_columns():
    assert in_one_row(Model([layers.Dense(1)]).build(20)) == ["0.dense.kernel"]
    limited = Model([layers.Dense(1, max_norm=0.5)], random_state=0, optimizer=SGD(1.0))
    X, y = data(60, 20, "float32")
    limited.fit(X, 10 * y, epochs=2)
    assert in_one_row(limited) == []
    assert np.linalg.norm(limited.weights["0.dense.kernel"]) == pytest.approx(0.5, rel=1e-5)
    normed = Model([layers.Dense(1, spectral_norm=True)], random_state=0).build(20)
    assert in_one_row(normed) == []


def test_lbfgs_and_files(tmp_path):
    X, y = data(60, 20)
    model = Model([layers.Dense(6, "tanh"), layers.Dense(1)], dtype="float64", random_state=0, optimizer=LBFGS())
    history = model.fit(X, y, epochs=30)
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    model.save(tmp_path / "model.fdnn")
    again = Model.load(tmp_path / "model.fdnn")
    assert again.params.tobytes() == model.params.tobytes()
    assert again.weights["1.dense.kernel"].shape == (6, 1)


def test_pickles_of_before_have_their_parameters_where_they_stand_now(monkeypatch):
    """Kernels of one output were matrices of rows of 16 numbers."""
    X, y = data(60, 20, "float32")

    def trained(epochs):
        stack = [layers.Dense(6, "tanh"), layers.Dense(1), layers.Dense(4), layers.Dense(1)]
        model = Model(stack, random_state=0, optimizer=Adam(average=0.9))
        held_out = X, y
        model.fit(X, y, epochs=epochs, validation_data=held_out, callbacks=[EarlyStopping(patience=100)])
        return model

    with monkeypatch.context() as before:
        before.setattr(
            layers.Dense, "parameters", lambda self, shape: self._kernel_and_bias("kernel", (shape[-1], self.units))
        )
        old = trained(2)
        old.mask = old.params != 0
        assert in_one_row(old) == []
        pickled, predicted, averaged = pickle.dumps(old), old.predict(X), old.averaged.sum()
    model = pickle.loads(pickled)
    assert in_one_row(model) == ["1.dense.kernel", "3.dense.kernel"]
    assert model.params.size == model.layout.size < old.params.size
    np.testing.assert_allclose(model.predict(X), predicted, rtol=1e-5)
    np.testing.assert_allclose(model.averaged.sum(), averaged, rtol=1e-5)
    assert not model.mask[model.layout.padding()].any()
    assert not model.moments.reshape(-1, model.layout.size)[:, model.layout.padding()].any()
    model.fit(X, y, epochs=4, resume=True)
    np.testing.assert_allclose(model.predict(X), trained(4).predict(X), rtol=1e-3, atol=1e-4)


def test_bytes_are_for_as_many_inputs_as_their_sums_hold():
    keys = [quantizable(Model([layers.Dense(1)]).build(n)) for n in (MOST_QUADS, MOST_QUADS + 1)]
    assert keys == [["0.dense.kernel"], []]


def test_the_parameters_have_no_room_for_more_outputs():
    layout = Model([layers.Dense(1)]).build(300).layout
    assert layout.size == 304 + 16
