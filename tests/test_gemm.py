"""The dense product and the transpose against naive oracles at odd sizes, with nothing written outside."""

import ctypes

import naive
import numpy as np
import pytest
from numba import types

from fastdnn.gemm import ALIGN, CLAMP, COLUMNS, MASK, PRODUCT, gemm, gemm_of_segments, padded, tile_shape
from fastdnn.layers import ACTIVATIONS
from fastdnn.transpose import transpose

TILE = tile_shape(types.float32)[0]
SIZES = (1, 3, TILE - 1, TILE, TILE + 1, 17, 40)


def pointer(a):
    return a.ctypes.data_as(ctypes.POINTER(np.ctypeslib.as_ctypes_type(a.dtype)))


def block(a, dtype, extra_rows=0):
    """The matrix in a padded buffer, guarded by two rows of 99 behind it."""
    buffer = np.zeros((len(a) + extra_rows, padded(a.shape[1])), dtype)
    buffer[: len(a), : a.shape[1]] = a
    return np.vstack([buffer, np.full((2, buffer.shape[1]), 99, dtype)])


def run(dtype, a, b, c, init, y, **entries):
    """The kernel, told what the entries of `PRODUCT` say (0 where they say nothing)."""
    table = np.zeros(PRODUCT.size, np.int64)
    table[PRODUCT.blocks] = 1
    for name, value in entries.items():
        table[getattr(PRODUCT, name)] = value
    plain = entries["k1"] == entries["k2"] == 1 and not entries.get("ld_init")
    kernel = gemm if plain else gemm_of_segments
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 6)(kernel.address(dtype))
    call(*(x.ctypes.data for x in (a, b, c, init, y, table)))


def product(A, B, init, dtype, turned=False, flags=0, activation=None, saved=None):
    m, k = A.shape[::-1] if turned else A.shape
    n = B.shape[1]
    a, b = block(A, dtype), block(B, dtype)
    c = block(np.zeros((m, n)), dtype)
    bias, y = block(init.reshape(1, -1), dtype), c if saved is None else block(saved, dtype)
    rsa, csa = (1, a.shape[1]) if turned else (a.shape[1], 1)
    epilogue = ACTIVATIONS[activation].forward_kernel.address(dtype) if activation else 0
    width = -(-n // COLUMNS) * COLUMNS
    sizes = dict(m=m, n=width, k=k, k1=1, k2=1, rsa=rsa, csa=csa, ldb=b.shape[1], ldc=c.shape[1], ldy=y.shape[1])
    run(dtype, a, b, c, bias, y, **sizes, flags=flags, epilogue=epilogue)
    assert (c[m:] == 99).all()
    assert (c[:m, width:] == 0).all()
    return c[:m, :n]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("n", [1, 9, 16, 17, 33, 55, 70, 300])
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
@pytest.mark.parametrize(("m", "n"), [(1, 8), (5, 16), (TILE + 1, 40)])
@pytest.mark.parametrize(("k", "k1", "k2"), [(1, 1, 1), (3, 1, 4), (2, 3, 1), (1, 2, 3), (4, 3, 2)])
def test_segments_of_the_inner_dimension(m, n, k, k1, k2, dtype):
    """The formula of `gemm`, with segments that overlap in A and lie anywhere in B, on top of another matrix."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(m * 11 + 500).astype(dtype), rng.standard_normal((100, 48)).astype(dtype)
    init, c = rng.standard_normal((m, n + 3)).astype(dtype), np.zeros((m, n + 1), dtype)
    init, c = np.ascontiguousarray(init), np.ascontiguousarray(c)
    strides = dict(rsa=11, csa=2, ldb=2 * 48, a1=7, a2=31, b1=5 * 48, b2=17 * 48)
    run(dtype, a, b, c, init, c, m=m, n=n, k=k, k1=k1, k2=k2, ldc=n + 1, ldy=n + 1, ld_init=n + 3, **strides)
    exact = init[:, :n].astype(float)
    for s2, s1, s in np.ndindex(k2, k1, k):
        rows = a[np.arange(m) * 11 + 2 * s + 7 * s1 + 31 * s2]
        exact += np.outer(rows, b[2 * s + 5 * s1 + 17 * s2, :n])
    np.testing.assert_allclose(
        c[:, :n], exact, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-5 if dtype == "float32" else 1e-13
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_of_one_segment_is_a_plain_one_bit_for_bit(dtype):
    rng = np.random.default_rng(0)
    a, b, init = block(rng.standard_normal((40, 70)), dtype), block(rng.standard_normal((70, 35)), dtype), np.ones(64, dtype)
    found = [block(np.zeros((40, 35)), dtype) for _ in range(2)]
    ld = b.shape[1]
    table = np.zeros(PRODUCT.size, np.int64)
    table[PRODUCT.blocks] = 1
    for name, value in dict(m=40, n=40, k=70, k1=1, k2=1, rsa=a.shape[1], csa=1, ldb=ld, ldc=ld, ldy=ld).items():
        table[getattr(PRODUCT, name)] = value
    for kernel, c in zip((gemm, gemm_of_segments), found, strict=True):
        call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 6)(kernel.address(dtype))
        call(*(x.ctypes.data for x in (a, b, c, init, c, table)))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_adds_to_what_is_there(dtype):
    rng = np.random.default_rng(0)
    A, B, C = rng.standard_normal((20, 5)), rng.standard_normal((5, 16)), rng.standard_normal((20, 16))
    a, b, c = block(A, dtype), block(B, dtype), block(C, dtype)
    ld = c.shape[1]
    run(dtype, a, b, c, c, c, m=20, n=16, k=5, k1=1, k2=1, rsa=a.shape[1], csa=1, ldb=ld, ldc=ld, ldy=ld, ld_init=ld)
    np.testing.assert_allclose(c[:20, :16], C + A @ B, rtol=1e-4, atol=1e-5)
    assert (c[20:] == 99).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_has_the_same_bits_in_any_tile(dtype):
    rng = np.random.default_rng(0)
    A, B, b = rng.standard_normal((40, 70)), rng.standard_normal((70, 235)), rng.standard_normal(235)
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
