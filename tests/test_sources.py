"""Sources: samples of every number type and in chunks, read where they stand; integers that are ids."""

import gc
import tracemalloc
from unittest import mock

import numpy as np
import pytest
import scipy.sparse

from fastdnn import Model, layers
from fastdnn._simd import integers_at
from fastdnn.gather import NARROW
from fastdnn.layers.base import OP, Layer, op_kernel, sample
from fastdnn.sources import Source

DTYPES = ["u1", "i1", "u2", "i2", "f2", "bool"]


def numbers(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype == "f2":
        return rng.standard_normal(shape).astype("f2")
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


@mock.patch("fastdnn.planning.MANY_SHARDS", 1)  # one shard: the workspace keeps all its samples
def first_layer_gets(X, dtype):
    """What an identity network makes of the samples, in inference and, through a gradient, in training."""
    model = Model([layers.Activation("identity")], dtype=dtype).build(X.shape[1:])
    y = np.zeros((len(X), *X.shape[1:]))
    run = model.bind(X, y, None, len(X))
    run.loss_and_grad()
    row = run.program.table[0]
    ld, width = row[OP.ld_out], X.shape[-1]
    rows = len(X) * int(np.prod(X.shape[1:-1]))
    return model.forward(X), run.program.work[row[OP.y] : row[OP.y] + rows * ld].reshape(rows, ld)[:, :width].reshape(X.shape)


@pytest.mark.parametrize("shape", [(1,), (7,), (16,), (33,), (3, 5), (4, 4, 3), (28, 28)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("floats", ["float32", "float64"])
def test_narrow_numbers_become_the_floats_that_astype_gives(dtype, shape, floats):
    X = numbers(dtype, (19, *shape))
    for found in first_layer_gets(X, floats):
        np.testing.assert_array_equal(found, X.astype(floats))


def test_every_float16_is_exact_also_what_is_no_number():
    X = np.arange(1 << 16).astype(np.uint16).view(np.float16).reshape(-1, 16)
    for floats in ("float32", "float64"):
        found = Model([layers.Activation("identity")], dtype=floats).build(16).forward(X)
        np.testing.assert_array_equal(found, X.astype(floats))
        np.testing.assert_array_equal(np.signbit(found[X != 0]), np.signbit(X[X != 0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_reversed_read_only_and_mapped(dtype, tmp_path):
    X = numbers(dtype, (40, 12))
    model = Model([layers.Dense(3)], random_state=0).build(12)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    expected = model.forward(X.astype("float32"))
    for form in (X[::-1][::-1], np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], np.repeat(X, 2, axis=1)[:, ::2], mapped):
        np.testing.assert_array_equal(model.forward(form), expected)
    swapped = X.astype(X.dtype.newbyteorder())
    np.testing.assert_array_equal(model.forward(swapped), expected)


@pytest.mark.parametrize("dtype", sorted(NARROW))
def test_training_on_narrow_numbers_is_training_on_floats(dtype):
    X = numbers(dtype, (300, 9))
    X = (X // 64 if dtype != "f2" else X).astype(dtype)
    y = np.random.default_rng(1).integers(0, 3, 300)
    found = []
    for samples in (X, X.astype("float32")):
        model = Model([layers.Dense(16, "tanh"), layers.Dense(3)], loss="cross_entropy", random_state=0)
        history = model.fit(samples, y, epochs=3, batch_size=32, validation_fraction=0.2)
        found.append((model.params.copy(), history["val_loss"], model.evaluate(samples, y), model.predict(samples)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1:3] == found[1][1:3]
    np.testing.assert_array_equal(found[0][3], found[1][3])


@pytest.mark.parametrize("front", [[], [layers.Flatten()], [layers.Reshape((6, 4))]], ids=["plain", "flatten", "reshape"])
def test_rescaling_of_bytes_as_they_are_gathered(front):
    X = numbers("u1", (50, 3, 8))
    stack = [*front, layers.Rescaling(1 / 255, -0.5), layers.Dense(5, "relu"), layers.Flatten(), layers.Dense(2)]
    model = Model(stack, random_state=0).build((3, 8))
    y = np.random.default_rng(0).standard_normal((50, 2))
    assert not model.bind(X, y).program.table[len(front) + 1, OP.forward]  # nothing left to do for the layer
    np.testing.assert_allclose(model.forward(X), model.forward(X.astype("float32")), rtol=1e-5, atol=1e-6)
    (loss, gradient), (expected, exact) = model.loss_and_grad(X, y), model.loss_and_grad(X.astype("float32"), y)
    assert loss == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, exact, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model.input_gradient(X, y), model.input_gradient(X.astype("float32"), y), rtol=1e-4, atol=1e-7)


def peak_bytes(call):
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_no_float_copy_of_bytes():
    X, y = numbers("u1", (20_000, 784)), np.random.default_rng(0).integers(0, 10, 20_000)
    stack = [layers.Rescaling(1 / 127.5, -1), layers.Dense(16, "tanh"), layers.Dense(10)]
    model = Model(stack, loss="cross_entropy", random_state=0)
    assert peak_bytes(lambda: model.fit(X, y, epochs=1, batch_size=200)) < X.nbytes / 2  # as floats it is four times X
    assert peak_bytes(lambda: model.predict(X)) < X.nbytes / 2
    assert peak_bytes(lambda: model.evaluate(X, y)) < X.nbytes / 2


# ---------------------------------------------------------------- ids


@op_kernel(OP)
def last_bits(op, data, params, grads, work, start, lo, n):
    """The last three decimal digits of each id, one row of them for each sample."""
    for i in range(lo, lo + n):
        ids = integers_at(data.x, sample(data, start + i) * data.x_row)
        for j in range(op.n_out):
            work[op.y + i * op.ld_out + j] = ids[j * data.x_column] % 1000


class LastDigits(Layer):
    """A first layer that reads ids itself."""

    name, takes_ids = "last_digits", True

    def emit(self, op, builder):
        builder.in_place(op)
        assert builder.reads == "ids"
        op.y, op.forward = builder.new_rows(op.n_out), last_bits.address(builder.dtype)

    def check_ids(self, ids):
        if ids.size and ids.min() < 0:
            raise ValueError(f"ids must be >= 0, got {ids.min()}")


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_ids_stay_themselves(dtype, order):
    X = np.array([[2**24 + 1, 5, 1000], [2**31 - 1, 2**24 + 3, 0]], dtype, order=order)
    model = Model([LastDigits(), layers.Dense(1)], random_state=0).build(3)
    np.testing.assert_array_equal(model.forward(X, layer=0), X % 1000)
    many = np.repeat(X, 300, axis=0)
    model.fit(many, many[:, 0] % 7, epochs=1)  # the gather for training has no part in it either
    np.testing.assert_array_equal(model.forward(many, layer=0), many % 1000)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1.0, 2.0, 3.0]], "X must hold integers for a first layer that takes ids, got float64"),
        ([["a", "b", "c"]], "X must hold integers"),
        ([[-1, 0, 2]], "ids must be >= 0, got -1"),
        ([[1, 2]], "X must hold samples of shape"),
        ([1, 2, 3], r"X must hold ids of shape \(n, time\)"),
    ],
)
def test_what_is_no_id(X, message):
    with pytest.raises(ValueError, match=message):
        Model([LastDigits(), layers.Dense(1)]).build(3).predict(np.array(X))


def test_gradients_with_respect_to_ids_do_not_exist():
    model = Model([LastDigits(), layers.Dense(1)]).build(3)
    with pytest.raises(ValueError, match="with respect to ids do not exist"):
        model.input_gradient([[1, 2, 3]], [0.0])
    with pytest.raises(ValueError, match=r"use X.toarray\(\)"):
        Model([layers.Dense(1)]).build(3).input_gradient(scipy.sparse.eye_array(3).tocsr(), np.zeros(3))


# ---------------------------------------------------------------- chunks


@pytest.mark.parametrize("sizes", [[50], [1, 20, 29], [10, 0, 40]], ids=str)
@pytest.mark.parametrize("shape", [(6,), (3, 5)])
def test_chunks_are_one_array_after_the_other(sizes, shape):
    X, y = np.random.default_rng(0).standard_normal((50, *shape)), np.random.default_rng(1).standard_normal(50)
    chunks = np.split(X, np.cumsum(sizes)[:-1])
    found = []
    for samples in (X, Source.of_chunks(chunks, "float64")):
        model = Model([layers.Flatten(), layers.Dense(7, "tanh"), layers.Dense(1)], dtype="float64", random_state=0)
        history = model.fit(samples, y, epochs=2, batch_size=8, validation_fraction=0.3)
        found.append((model.params.copy(), history["val_loss"], model.predict(samples)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    np.testing.assert_array_equal(found[0][2], found[1][2])


def test_chunks_that_do_not_fit_or_hold_nan():
    with pytest.raises(ValueError, match="chunks must be a list of arrays"):
        Source.of_chunks([np.ones((3, 2)), np.ones((3, 4))], "float64")
    bad = Source.of_chunks([np.ones((3, 2)), np.full((3, 2), np.nan)], "float32")
    with pytest.raises(ValueError, match="X contains NaN"):
        Model([layers.Dense(1)]).fit(bad, np.zeros(6))


@pytest.mark.parametrize("kind", ["float", "u1", "csr", "chunks"])
def test_samples_that_are_all_the_same(kind):
    X = np.ones((9, 4))
    other = X.copy()
    other[4, 2] = 3
    make = {
        "float": lambda X: Source(X, "float32"),
        "u1": lambda X: Source(X.astype("u1"), "float32"),
        "csr": lambda X: Source(scipy.sparse.csr_array(X), "float32"),
        "chunks": lambda X: Source.of_chunks([X[:3], X[3:]], "float32"),
    }[kind]
    assert make(X).kind == kind
    assert make(X).all_same()
    assert not make(other).all_same()
