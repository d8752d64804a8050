"""Dense layers of frozen predictors of which only the weights that are not 0 are kept: against NumPy, and row by row."""

import pickle

import numpy as np
import pytest

from fastdnn import Model, ModelFormatError, compress, layers
from fastdnn.frozen.sparse_dense import LEAST_ZEROS, SparseDense, sparse
from fastdnn.predictor import load

SIZES = [(1, 1), (3, 17), (16, 16), (33, 70), (100, 9), (300, 40)]


def matrix(n_in, n_out, zeros, dtype, seed=0):
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((n_in, n_out)).astype(dtype)
    kernel[rng.random(kernel.shape) < zeros] = 0
    return kernel, rng.standard_normal(n_out).astype(dtype)


def network(n_in, n_out, dtype="float32", activation="identity", zeros=0.8, shape=None):
    """(model of one layer, kernel, bias)"""
    kernel, bias = matrix(n_in, n_out, zeros, dtype)
    layer = SparseDense(n_in, n_out, dtype, activation).take(kernel, bias)
    return Model([layer], dtype=dtype).build(shape or n_in, initialize=False), kernel, bias


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
@pytest.mark.parametrize("n", [1, 5, 16, 97, 200])
def test_equals_the_product(n_in, n_out, n, dtype):
    model, kernel, bias = network(n_in, n_out, dtype)
    X = np.random.default_rng(1).standard_normal((n, n_in)).astype(dtype)
    wanted, sizes = X.astype(float) @ kernel.astype(float) + bias, np.abs(X) @ np.abs(kernel) + np.abs(bias)
    assert (np.abs(model.forward(X) - wanted) <= 8 * np.finfo(dtype).eps * sizes).all()


@pytest.mark.parametrize("activation", ["relu", "tanh", "softmax", "gelu"])
def test_activations_are_those_of_a_dense_layer(activation):
    model, kernel, bias = network(50, 30, activation=activation)
    dense = Model([layers.Dense(30, activation)]).build(50)
    dense.weights.update({"0.dense.kernel": kernel, "0.dense.bias": bias})
    X = np.random.default_rng(2).standard_normal((40, 50)).astype("float32")
    np.testing.assert_allclose(model.forward(X), dense.forward(X), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_does_not_depend_on_the_others(dtype):
    model, _, _ = network(150, 37, dtype, "relu")
    X = np.random.default_rng(3).standard_normal((300, 150)).astype(dtype)
    whole = model.forward(X)
    for n in (1, 2, 15, 16, 17, 31, 33, 64, 96, 97, 255):
        np.testing.assert_array_equal(model.forward(X[:n]), whole[:n])
    np.testing.assert_array_equal(np.concatenate([model.forward(x[None]) for x in X[:20]]), whole[:20])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 40])
def test_what_is_not_finite_makes_its_row_nan_and_no_other(bad, n):
    model, _, _ = network(60, 20, zeros=1.0, activation="relu")
    X = np.ones((n, 60), "float32")
    X[0, 7] = bad
    found = model.forward(X)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1:]).all()


def test_sequences_and_layers_behind():
    kernel, bias = matrix(8, 24, 0.9, "float32")
    first = SparseDense(8, 24, activation="relu").take(kernel, bias)
    model = Model([first, layers.Dense(3), layers.Flatten(), layers.Dense(2)], random_state=0).build((11, 8))
    dense = Model([layers.Dense(24, "relu"), *model.layers[1:]]).build((11, 8))
    dense.weights.update({"0.dense.kernel": kernel, "0.dense.bias": bias} | dict(model.weights))
    X = np.random.default_rng(4).standard_normal((50, 11, 8)).astype("float32")
    np.testing.assert_allclose(model.forward(X), dense.forward(X), atol=1e-5)
    assert model.layout.flops < dense.layout.flops


def test_arrays_and_pickles():
    model, kernel, _ = network(70, 33)
    X = np.random.default_rng(5).standard_normal((20, 70)).astype("float32")
    before = model.forward(X)
    np.testing.assert_array_equal(model.layers[0].kernel_, kernel)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).forward(X), before)
    shapes = model.layers[0].array_shapes((70,))
    for name, array in model.layers[0].arrays_.items():
        shape, dtype = shapes[name]
        assert array.dtype == dtype
        assert array.shape == tuple(m if n is None else n for n, m in zip(shape, array.shape, strict=True))


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("indices", 0, -1), ("indices", 3, 70), ("starts", 0, 1), ("starts", 5, 100_000), ("starts", -1, 3)],
)
def test_arrays_that_do_not_fit_are_refused(name, place, value):
    layer = network(70, 33)[0].layers[0]
    layer.check_arrays()
    layer.arrays_[name][place] = value
    with pytest.raises(ModelFormatError, match="do not fit"):
        layer.check_arrays()


def test_frozen_networks_are_sparse(tmp_path):
    net = [layers.Dense(64, use_bias=False), layers.BatchNorm(activation="relu"), layers.Dropout(0.1), layers.Dense(3)]
    model = compress.prune(Model(net, loss="cross_entropy", random_state=0).build(30), 0.9)
    X = np.random.default_rng(6).standard_normal((50, 30)).astype("float32")
    predictor = model.freeze()
    assert [type(layer) for layer in predictor.model.layers] == [SparseDense, SparseDense]
    np.testing.assert_allclose(predictor.predict(X), model.predict(X), atol=1e-6)
    predictor.save(tmp_path / "p.fdnn")
    np.testing.assert_array_equal(load(tmp_path / "p.fdnn").predict(X), predictor.predict(X))
    assert predictor.nbytes < 0.4 * 4 * model.layout.n_params
    np.testing.assert_allclose(model.freeze("int8").predict(X), model.predict(X), atol=0.1)
    assert "SparseDense(features=30, units=64" in predictor.summary()


def test_it_takes_the_place_of_dense_layers_with_many_zeros():
    kernel, bias = matrix(40, 30, LEAST_ZEROS + 0.1, "float32")
    found = sparse(layers.Dense(30, "relu", l2=0.1), kernel, bias, "float32")
    assert (found.features, found.units, found.activation) == (40, 30, "relu")
    full, _ = matrix(40, 30, LEAST_ZEROS - 0.2, "float32")
    assert sparse(layers.Dense(30), full, bias, "float32") is None
    assert sparse(layers.Conv1D(30, 1), kernel[None], bias, "float32") is None


def test_what_does_not_fit_is_refused():
    layer = SparseDense(4, 3).take(*matrix(4, 3, 0.5, "float32"))
    with pytest.raises(ValueError, match="must have 4 numbers"):
        Model([layer]).build(5)
    with pytest.raises(ValueError, match="dtype must be"):
        SparseDense(4, 3, "int8")
    with pytest.raises(ValueError, match="only predicts"):
        Model([layer]).build(4).loss_and_grad(np.zeros((2, 4)), np.zeros((2, 3)))
