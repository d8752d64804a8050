"""The dense product and the transpose against naive oracles at odd sizes, with nothing written outside."""

import ctypes

import naive
import numpy as np
import pytest
from numba import types

from fastdnn.gemm import ALIGN, CLAMP, COLUMNS, MASK, gemm, padded, tile_shape, transpose
from fastdnn.layers import ACTIVATIONS

TILE = tile_shape(types.float32)[0]
SIZES = (1, 3, TILE - 1, TILE, TILE + 1, 17, 40)


def pointer(a):
    return a.ctypes.data_as(ctypes.POINTER(np.ctypeslib.as_ctypes_type(a.dtype)))


def block(a, dtype, extra_rows=0):
    """The matrix in a padded buffer, guarded by two rows of 99 behind it."""
    buffer = np.zeros((len(a) + extra_rows, padded(a.shape[1])), dtype)
    buffer[: len(a), : a.shape[1]] = a
    return np.vstack([buffer, np.full((2, buffer.shape[1]), 99, dtype)])


def product(A, B, init, dtype, turned=False, flags=0, activation=None, saved=None):
    m, k = A.shape[::-1] if turned else A.shape
    n = B.shape[1]
    a, b = block(A, dtype), block(B, dtype)
    c = block(np.zeros((m, n)), dtype)
    bias, y = block(init.reshape(1, -1), dtype), c if saved is None else block(saved, dtype)
    rsa, csa = (1, a.shape[1]) if turned else (a.shape[1], 1)
    epilogue = ACTIVATIONS[activation].forward_kernel.address(dtype) if activation else 0
    width = -(-n // COLUMNS) * COLUMNS
    gemm.compile(dtype).ctypes(
        pointer(a), pointer(b), pointer(c), pointer(bias), pointer(y), m, width, k, rsa, csa, b.shape[1], c.shape[1],
        y.shape[1], flags, epilogue,
    )  # fmt: skip
    assert (c[m:] == 99).all()
    assert (c[:m, width:] == 0).all()
    return c[:m, :n]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("n", [1, 9, 16, 17, 33, 55, 70])
@pytest.mark.parametrize("k", [1, 5, 64])
def test_product(m, n, k, dtype):
    rng = np.random.default_rng(m * 1000 + n * 10 + k)
    A, B, b = rng.standard_normal((m, k)), rng.standard_normal((k, n)), rng.standard_normal(n)
    A, B, b = (x.astype(dtype) for x in (A, B, b))
    close = {"rtol": 2e-6 if dtype == "float32" else 1e-14, "atol": (2e-6 if dtype == "float32" else 1e-14) * k}
    exact = naive.dense_forward(A, B, b)
    np.testing.assert_allclose(product(A, B, b, dtype), exact, **close)
    np.testing.assert_allclose(product(A.T.copy(), B, b, dtype, turned=True), exact, **close)
    np.testing.assert_allclose(product(A, B, b, dtype, flags=CLAMP), np.maximum(exact, 0), **close)
    saved = np.maximum(rng.standard_normal((m, n)), 0)
    np.testing.assert_allclose(product(A, B, b, dtype, flags=MASK, saved=saved), exact * (saved > 0), **close)
    np.testing.assert_allclose(product(A, B, b, dtype, activation="tanh"), np.tanh(exact), **close)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_has_the_same_bits_in_any_tile(dtype):
    rng = np.random.default_rng(0)
    A, B, b = rng.standard_normal((40, 70)), rng.standard_normal((70, 35)), rng.standard_normal(35)
    whole = product(A, B, b, dtype)
    for m in range(1, 40):
        np.testing.assert_array_equal(product(A[:m], B, b, dtype), whole[:m])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("flags", [0, CLAMP])
def test_nan_and_infinity_pass(flags, dtype):
    A, B = np.ones((3, 4)), np.ones((4, 5))
    A[1, 2] = np.nan
    A[2, 0] = np.inf
    c = product(A, B, np.zeros(5), dtype, flags=flags)
    np.testing.assert_array_equal(c[0], 4)
    assert np.isnan(c[1]).all()
    assert np.isposinf(c[2]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 17), (16, 16), (33, 20), (48, 100)])
def test_transpose(rows, columns, dtype):
    a = np.random.default_rng(0).standard_normal((rows, columns)).astype(dtype)
    source = block(a, dtype, extra_rows=-rows % ALIGN)
    target = block(np.zeros((columns, rows)), dtype, extra_rows=-columns % ALIGN)
    compiled = transpose.compile(dtype).ctypes
    compiled(pointer(source), pointer(target), rows, columns, source.shape[1], target.shape[1])
    np.testing.assert_array_equal(target[:columns, :rows], a.T)
    assert (target[-2:] == 99).all()


@pytest.mark.parametrize("n", [1, 15, 16, 17, 240, 256, 1024, 2048])
def test_padded(n):
    assert padded(n) >= n
    assert padded(n) % 16 == 0
    assert padded(n) % 256 != 0
