"""Kernels on one thread beside NumPy: pytest benchmarks/test_kernels.py --benchmark-enable

extra_info holds GFLOP/s of the dense products and nanoseconds an element of the functions.
"""

import ctypes

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fastdnn import Model, layers
from fastdnn.gemm import ALIGN, COLUMNS, gemm, padded
from fastdnn.layers.activations import ACTIVATIONS
from fastdnn.program import aligned

SHAPES = [(256, 1024, 1024), (128, 784, 512), (128, 512, 256), (200, 64, 100), (32, 16, 32)]


def matrix(rows, columns, dtype):
    stride = padded(columns)
    a = aligned((-(-rows // ALIGN) * ALIGN) * stride, dtype).reshape(-1, stride)
    a[:rows, :columns] = np.random.default_rng(0).standard_normal((rows, columns))
    return a


def product(m, k, n, dtype):
    """A function that multiplies (m, k) by (k, n) with the kernel, and its two matrices without padding."""
    a, b, c, bias = matrix(m, k, dtype), matrix(k, n, dtype), matrix(m, n, dtype), matrix(1, n, dtype) * 0
    p, long = ctypes.c_void_p, ctypes.c_int64
    call = ctypes.CFUNCTYPE(None, *[p] * 5, *[long] * 10)(gemm.address(dtype))
    addresses = [x.ctypes.data for x in (a, b, c, bias, c)]
    sizes = (m, -(-n // COLUMNS) * COLUMNS, k, a.shape[1], 1, b.shape[1], c.shape[1], c.shape[1])

    def run(keep=(a, b, c, bias)):
        call(*addresses, *sizes, 0, 0)
        return c[:m, :n]

    return run, np.ascontiguousarray(a[:m, :k]), np.ascontiguousarray(b[:k, :n])


@pytest.mark.parametrize("library", ["fastdnn", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_product(benchmark, shape, dtype, library):
    run, a, b = product(*shape, dtype)
    out = np.empty((shape[0], shape[2]), dtype)
    np.testing.assert_allclose(run(), a @ b, rtol=1e-3, atol=1e-3)
    with threadpool_limits(1):
        benchmark.pedantic(run if library == "fastdnn" else lambda: np.matmul(a, b, out=out), rounds=30, iterations=20)
    if benchmark.stats:
        benchmark.extra_info["gflops"] = 2 * np.prod(shape, dtype=float) / benchmark.stats.stats.median / 1e9


@pytest.mark.parametrize("library", ["fastdnn", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh(benchmark, dtype, library):
    x = aligned(1 << 14, dtype)
    x[:] = np.random.default_rng(0).standard_normal(len(x))
    y, p, long = aligned(len(x), dtype), ctypes.c_void_p, ctypes.c_int64
    kernel = ctypes.CFUNCTYPE(None, p, p, *[long] * 4)(ACTIVATIONS["tanh"].forward_kernel.address(dtype))
    addresses = (x.ctypes.data, y.ctypes.data)

    def run():
        kernel(*addresses, 1, len(x), len(x), len(x))

    run()
    np.testing.assert_allclose(y, np.tanh(x), rtol=1e-5, atol=1e-7)
    benchmark.pedantic(run if library == "fastdnn" else lambda: np.tanh(x, out=y), rounds=30, iterations=20)
    if benchmark.stats:
        benchmark.extra_info["ns_per_element"] = benchmark.stats.stats.median / len(x) * 1e9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_epoch(benchmark, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4096, 256)).astype(dtype), rng.integers(0, 10, 4096)
    shapes = [layers.Dense(256, activation="relu"), layers.Dense(128, activation="relu"), layers.Dense(10)]
    run = Model(shapes, loss="cross_entropy", dtype=dtype, random_state=0).training(X, y, batch_size=128)
    assert run.epoch() > 0
    benchmark.pedantic(run.epoch, rounds=10, iterations=1)
