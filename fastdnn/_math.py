"""Functions of vectors: bounds, exp, log, sigmoid, tanh, as polynomials with their error in units of the last place.

Each keeps NaN: a comparison with NaN is false, so `where(x < a, a, x)` passes it on.
"""

import math
import struct

from llvmlite import ir
from numba.core import cgutils

from ._simd import Vec, isa, where


def maximum(x, bound):
    return where(x < bound, bound, x)


def minimum(x, bound):
    return where(x > bound, bound, x)


def fma(a, b, c):
    """a * b + c, rounded once where the processor has the instruction. b and c may be Python numbers."""
    b, c = a._other(b), a._other(c)
    return a.e.call("fma", a, b, c) if isa().fma else a * b + c


def sqrt(x):
    return x.e.call("sqrt", x)


def reciprocal(x):
    """1 / x to 2 ulp for normal x > 0; infinity gives a very small number. NaN passes.

    AVX-512 has an estimate of 14 bits, whose Newton steps run beside a square root; division shares the root's unit.
    """
    e, x = x.e, minimum(x, 2.0**125 if x.e.bits == 32 else 2.0**1021)
    if isa().bytes < 64:
        return 1.0 / x
    name = f"llvm.x86.avx512.rcp14.p{'s' if e.bits == 32 else 'd'}.512"
    mask = ir.IntType(e.width)
    f = cgutils.get_or_insert_function(e.builder.module, ir.FunctionType(e.vector, [e.vector, e.vector, mask]), name)
    r = Vec(e, e.builder.call(f, [x.v, x.v, ir.Constant(mask, -1)]))
    for _ in range(1 if e.bits == 32 else 2):
        r = fma(r, fma(-x, r, 1.0), r)
    return r


def absolute(x):
    return x.e.call("fabs", x)


def with_sign(x, sign):
    return x.e.call("copysign", x, sign)


def polynomial(x, coefficients):
    """Horner's scheme, highest power first."""
    y = x.e.constant(coefficients[0])
    for c in coefficients[1:]:
        y = fma(y, x, c)
    return y


def _integers(e, value):
    return ir.Constant(e.integers, [value] * e.width)


def _float_bits(value, bits):
    """The bit pattern of a number in a float of that many bits, as a signed int."""
    kinds = ("<f", "<i") if bits == 32 else ("<d", "<q")
    return struct.unpack(kinds[1], struct.pack(kinds[0], value))[0]


def _power_of_two(e, n):
    """2**n for an integer vector n within the normal exponents."""
    bias, shift = (127, 23) if e.bits == 32 else (1023, 52)
    b = e.builder
    return Vec(e, b.bitcast(b.shl(b.add(n, _integers(e, bias)), _integers(e, shift)), e.vector))


# ln 2 in two parts: the first has zeros at its end, so that n times it is exact.
_LN2 = {32: (0.693145751953125, 1.428606765330187e-06), 64: (0.6931471803691238, 1.9082149292705877e-10)}


def exp(x):
    """e**x, at most 2 ulp; 0 and infinity where it leaves the range.

    Cody-Waite reduction to |r| <= ln(2)/2, Taylor polynomial of degree 7 (float32) or 13 (float64), and the power of two
    put back in two steps, so that subnormal results are right. Reference: Muller, Elementary Functions, ch. 11.
    """
    e = x.e
    low, high, degree = (-104.0, 89.0, 7) if e.bits == 32 else (-746.0, 710.0, 13)
    x = minimum(maximum(x, low), high)
    magic = 1.5 * 2.0 ** (23 if e.bits == 32 else 52)  # adding it rounds to an integer in the low bits
    shifted = fma(x, 1 / math.log(2), magic)
    n = e.builder.sub(shifted.bits(), _integers(e, _float_bits(magic, e.bits)))
    k = shifted - magic
    r = fma(k, -_LN2[e.bits][0], x)
    r = fma(k, -_LN2[e.bits][1], r)
    q = polynomial(r, [1 / math.factorial(i) for i in range(degree, 1, -1)])
    y = fma(q * r, r, r) + 1.0
    half = e.builder.ashr(n, _integers(e, 1))
    return y * _power_of_two(e, half) * _power_of_two(e, e.builder.sub(n, half))


def log(x):
    """Natural logarithm, at most 2 ulp; log(0) = -inf, NaN below 0.

    x = 2**k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), then log(1 + f) = f - s (f - R(s**2)), s = f / (2 + f), with the
    series of atanh for R. Reference: fdlibm e_log.c (Sun Microsystems, 1993).
    """
    e, b = x.e, x.e.builder
    bits, terms, tiny = (23, 5, 2.0**-126) if e.bits == 32 else (52, 11, 2.0**-1022)
    up = 2.0**bits
    subnormal = x < tiny
    scaled = where(subnormal, x * up, x)
    # Subtracting the bits of sqrt(1/2) puts the exponent's step where the mantissa passes it.
    offset = _float_bits(math.sqrt(0.5), e.bits)
    raw = b.sub(scaled.bits(), _integers(e, offset))
    k = b.ashr(raw, _integers(e, bits))
    mantissa = b.add(b.and_(raw, _integers(e, (1 << bits) - 1)), _integers(e, offset))
    f = Vec(e, b.bitcast(mantissa, e.vector)) - 1.0
    k = Vec(e, b.sitofp(k, e.vector))
    k = where(subnormal, k - float(bits), k)
    s = f / (f + 2.0)
    z = s * s
    r = z * polynomial(z, [2.0 / (2 * i + 1) for i in range(terms, 0, -1)])
    half = f * f * 0.5
    ln2_high, ln2_low = _LN2[e.bits]
    y = fma(k, ln2_high, f - (half - fma(s, half + r, k * ln2_low)))
    y = where(x.equals(0.0), -math.inf, y)
    y = where(x.equals(math.inf), math.inf, y)
    y = where(x < 0.0, math.nan, y)
    return where(x.is_nan(), x, y)


def log1p(x):
    """log(1 + x) for x >= 0 without loss of small x: the rounding of 1 + x is put back."""
    w = x + 1.0
    return log(w) + (x - (w - 1.0)) / w


def sigmoid_parts(x):
    """(1 / (1 + exp(-x)), exp(-|x|)): the exponential never overflows, so the sigmoid is right down to the subnormals."""
    u = exp(-absolute(x))
    return where(x < 0.0, u, where(x >= 0.0, 1.0, x)) / (1.0 + u), u


def sigmoid(x):
    """1 / (1 + exp(-x)), at most 3 ulp."""
    return sigmoid_parts(x)[0]


def tanh(x):
    """Hyperbolic tangent, at most 3 ulp.

    Below 0.625 the rational of Cephes (float64) or its polynomial (float32), above it 1 - 2 / (exp(2|x|) + 1).
    Reference: Moshier, Cephes Math Library, tanh.c and tanhf.c.
    """
    z = x * x
    if x.e.bits == 32:
        small = polynomial(z, (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1))
    else:
        top = polynomial(z, (-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3))
        bottom = (1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3)
        small = top / polynomial(z, bottom)
    small = fma(small * z, x, x)
    size = absolute(x)
    large = with_sign(1.0 - 2.0 / (exp(size + size) + 1.0), x)
    return where(size < 0.625, small, large)
