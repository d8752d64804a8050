"""Kernels on one thread beside NumPy: pytest benchmarks/test_kernels.py --benchmark-enable

extra_info holds the dense products' GFLOP/s and share of the peak of fused multiply-adds (measured in the same run), and the
nanoseconds an element of the functions and of the update.
"""

import ctypes

import numpy as np
import pytest
from limits import fma_peak
from threadpoolctl import threadpool_limits

from fastdnn import _math
from fastdnn._jit import kernel_from
from fastdnn._rows import row_op
from fastdnn.gemm import COLUMNS, PRODUCT, epilogue_signature, gemm, padded
from fastdnn.layers.activation_function import _activate
from fastdnn.layout import aligned
from fastdnn.optimizers import Adam
from fastdnn.optimizers.base import SCALARS

# m, k, n of A (m, k) B (k, n): forward products as they occur, small and odd ones among them.
SHAPES = [(512, 1024, 1024), (256, 2048, 2048), (128, 784, 512), (256, 128, 128), (200, 64, 100), (32, 16, 32), (77, 37, 83)]
POINTER, LONG = ctypes.c_void_p, ctypes.c_int64


@pytest.fixture(scope="session")
def peak():
    """Flops a second of one thread at best, for a float type."""
    return {dtype: fma_peak(dtype) for dtype in ("float32", "float64")}


def matrix(rows, columns, dtype):
    stride = padded(columns)
    a = aligned((rows + 1) * stride, dtype)[: rows * stride].reshape(rows, stride)
    a[:, :columns] = np.random.default_rng(0).standard_normal((rows, columns))
    return a


def product(m, k, n, dtype, turned):
    """A function that multiplies (m, k) by (k, n) with the kernel, and its two matrices without padding."""
    a, b, c, bias = (
        matrix(*((k, m) if turned else (m, k)), dtype),
        matrix(k, n, dtype),
        matrix(m, n, dtype),
        matrix(1, n, dtype),
    )
    bias[...] = 0
    call = ctypes.CFUNCTYPE(None, *[POINTER] * 6)(gemm.address(dtype))
    table = np.zeros(PRODUCT.size, np.int64)
    p = PRODUCT.on(table)
    p.m, p.n, p.k, p.k1, p.k2 = m, -(-n // COLUMNS) * COLUMNS, k, 1, 1
    p.rsa, p.csa = (1, a.shape[1]) if turned else (a.shape[1], 1)
    p.ldb, p.ldc, p.ldy = b.shape[1], c.shape[1], c.shape[1]
    addresses = [x.ctypes.data for x in (a, b, c, bias, c, table)]

    def run(keep=(a, b, c, bias, table)):
        call(*addresses)
        return c[:, :n]

    return run, (a[:, :m].T if turned else a[:, :k]), np.ascontiguousarray(b[:, :n])


@pytest.mark.parametrize("library", ["fastdnn", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["forward", "weight gradient"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_product(benchmark, shape, kind, dtype, library, peak):
    m, k, n = shape if kind == "forward" else (shape[1], shape[0], shape[2])
    run, a, b = product(m, k, n, dtype, turned=kind != "forward")
    out = np.empty((m, n), dtype)
    np.testing.assert_allclose(run(), a @ b, rtol=1e-3, atol=1e-3)
    with threadpool_limits(1):
        benchmark.pedantic(run if library == "fastdnn" else lambda: np.matmul(a, b, out=out), rounds=30, iterations=10)
    if benchmark.stats:
        rate = 2.0 * m * n * k / benchmark.stats.stats.median
        benchmark.extra_info |= {"gflops": rate / 1e9, "share_of_peak": rate / peak[dtype]}


FUNCTIONS = {"exp": np.exp, "log": np.log, "tanh": np.tanh, "sigmoid": lambda x, out: np.divide(1, 1 + np.exp(-x), out=out)}
KERNELS = {
    name: kernel_from(_activate, f"{name}_benchmark", epilogue_signature, getattr(_math, name), apply=row_op(1, 1)(body))
    for name in FUNCTIONS
    for body in [getattr(_math, name)]
}


@pytest.mark.parametrize("library", ["fastdnn", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(benchmark, name, dtype, library):
    x, y = aligned(1 << 12, dtype), aligned(1 << 12, dtype)
    x[:] = np.abs(np.random.default_rng(0).standard_normal(len(x))) + 0.01
    kernel = ctypes.CFUNCTYPE(None, POINTER, POINTER, *[LONG] * 4)(KERNELS[name].address(dtype))
    addresses, n = (x.ctypes.data, y.ctypes.data), len(x)

    def run():
        kernel(*addresses, 1, n, n, n)

    run()
    np.testing.assert_allclose(y, FUNCTIONS[name](x, out=np.empty_like(x)), rtol=1e-5, atol=1e-7)
    benchmark.pedantic(run if library == "fastdnn" else lambda: FUNCTIONS[name](x, out=y), rounds=50, iterations=50)
    if benchmark.stats:
        benchmark.extra_info["ns_per_element"] = benchmark.stats.stats.median / n * 1e9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1 << 12, 1 << 19, 1 << 22])
def test_adam_update(benchmark, n, dtype):
    params, grads, moments = aligned(n, dtype), aligned(n, dtype), aligned(2 * n, dtype)
    grads[:] = np.random.default_rng(0).choice([-0.5, 2.0], n)
    numbers = Adam(1e-3).step_scalars(np.array([1]))
    assert numbers.shape == (1, SCALARS.size)
    kernel = ctypes.CFUNCTYPE(ctypes.c_double, LONG, LONG, *[POINTER] * 3, *[LONG] * 3, ctypes.c_double)(
        Adam.update_kernel.address(dtype)
    )
    arrays = [a.ctypes.data for a in (numbers, params, grads, moments)]
    arrays.insert(1, 0)
    kernel(*arrays, n, 0, n, 0.0)
    np.testing.assert_allclose(params, -1e-3 * np.sign(grads), rtol=1e-2)
    benchmark.pedantic(lambda: kernel(*arrays, n, 0, n, 0.0), rounds=20, iterations=max(1, (1 << 19) // n))
    if benchmark.stats:
        benchmark.extra_info["ns_per_parameter"] = benchmark.stats.stats.median / n * 1e9
