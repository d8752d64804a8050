"""Vector functions: error in units of the last place, special values, and rows that are no multiple of a vector."""

import ctypes

import numpy as np
import pytest
from numba import types

from fastdnn import _math
from fastdnn._isa import isa
from fastdnn._jit import kernel_from
from fastdnn._rows import row_op

ULP = {"exp": 2, "log": 2, "tanh": 3, "sigmoid": 3, "log1p": 2}
REFERENCE = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "log1p": np.log1p,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def apply(*args):
    """Placeholder in `run` for the function at hand."""


def run(x, y, n):
    apply(x, y, n)


def signature(real):
    return types.void(types.CPointer(real), types.CPointer(real), types.intp)


def reduction(real):
    return real(types.CPointer(real), types.intp)


def reduce(x, n):
    return apply(x, n)


FUNCTIONS = {
    name: kernel_from(run, name, signature, getattr(_math, name), apply=row_op(1, 1)(getattr(_math, name))) for name in ULP
}


def call(kernel, *args):
    arrays = [a.ctypes.data_as(ctypes.POINTER(np.ctypeslib.as_ctypes_type(a.dtype))) for a in args[:-1]]
    return kernel.compile(args[0].dtype).ctypes(*arrays, args[-1])


def values(name, dtype, n=200_000):
    rng = np.random.default_rng(0)
    widest = 88.0 if dtype == "float32" else 708.0
    if name in ("log", "log1p"):
        x = np.concatenate([np.exp(rng.uniform(-widest, widest, n)), rng.uniform(0.3, 3, n)])
    elif name == "exp":
        x = rng.uniform(-1.16 * widest, 1.02 * widest, n)
    else:
        x = rng.standard_normal(n) * np.exp(rng.uniform(-12, 4, n))
    return x[: len(x) // 16 * 16].astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ULP)
def test_error_in_ulp(name, dtype):
    x = values(name, dtype)
    y = np.empty_like(x)
    call(FUNCTIONS[name], x, y, len(x))
    with np.errstate(all="ignore"):
        exact = REFERENCE[name](x.astype(np.longdouble))
        rounded = exact.astype(dtype)
        error = np.abs(y.astype(np.longdouble) - exact) / np.spacing(np.abs(rounded))
    finite = np.isfinite(rounded)
    assert error[finite].max() <= ULP[name]
    np.testing.assert_array_equal(y[~finite], rounded[~finite])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ULP)
def test_special_values(name, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 1e-40, 1, 2, 3, 4, 5, 6, 7, 8], dtype)
    if name == "log1p":
        x = np.where(x < 0, 0, np.where(np.isinf(x), 1, x)).astype(dtype)
    y = np.empty_like(x)
    call(FUNCTIONS[name], x, y, len(x))
    with np.errstate(all="ignore"):
        expected = REFERENCE[name](x.astype(np.longdouble)).astype(dtype)
    np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(dtype).eps)


WAVES = {
    name: kernel_from(run, name, signature, getattr(_math, name), apply=row_op(1, 1)(getattr(_math, name)))
    for name in ("sin", "cos")
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WAVES)
def test_error_of_waves(name, dtype):
    rng, largest = np.random.default_rng(0), 1.2e4 if dtype == "float32" else 1e6
    quarters = np.arange(-6000, 6000) * (np.pi / 2)  # where they are 0, 1 or -1
    scales = np.exp(rng.uniform(-12, np.log(largest), 100_000))
    x = np.concatenate([quarters, rng.uniform(-1, 1, 100_000) * scales, rng.uniform(-largest, largest, 100_000)])
    x = x[: len(x) // 16 * 16].astype(dtype)
    y = np.empty_like(x)
    call(WAVES[name], x, y, len(x))
    exact = getattr(np, name)(x.astype(np.longdouble))
    error = np.abs(y.astype(np.longdouble) - exact)
    assert error.max() < (1.3e-7 if dtype == "float32" else 3e-16)
    if name == "sin":
        small = np.abs(x) < 0.1
        np.testing.assert_allclose(y[small], exact[small].astype(dtype), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WAVES)
def test_special_values_of_waves(name, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 3e38, 1e7, -1e8, 1e-40, 1e16, 5, 6, 7, 8], dtype)
    y = np.empty_like(x)
    call(WAVES[name], x, y, len(x))
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.longdouble)).astype(dtype)
    np.testing.assert_allclose(y[[0, 1, 2, 3, 4, 10, 12, 13, 14, 15]], exact[[0, 1, 2, 3, 4, 10, 12, 13, 14, 15]], rtol=1e-6)
    assert (np.abs(y[3:]) < 1 + 1e-3).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 3, 15, 16, 17, 33])
def test_row_op_pads_with_zeros_and_writes_no_further(n, dtype):
    x, y = np.full(64, 2.0, dtype), np.full(64, -7.0, dtype)
    call(FUNCTIONS["exp"], x, y, n)
    width = isa().width(types.float32 if dtype == "float32" else types.float64)
    written = -(-n // width) * width
    np.testing.assert_allclose(y[:n], np.exp(2.0), rtol=1e-6)
    np.testing.assert_array_equal(y[n:written], 0)
    np.testing.assert_array_equal(y[written:], -7)


SUM = kernel_from(reduce, "sum_of", reduction, _math.absolute, apply=row_op(1, 0, reduce="sum")(_math.absolute))
MAX = kernel_from(reduce, "max_of", reduction, _math.absolute, apply=row_op(1, 0, reduce="max")(_math.absolute))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 5, 16, 31, 48])
def test_reductions_ignore_the_padding(n, dtype):
    x = np.arange(1, 65).astype(dtype)
    assert call(SUM, x, n) == n * (n + 1) / 2
    assert call(MAX, x, n) == n
