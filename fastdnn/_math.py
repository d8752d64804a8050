"""Functions of vectors: bounds, exp, log, sigmoid, tanh, as polynomials with their error in units of the last place.

Each keeps NaN: a comparison with NaN is false, so `where(x < a, a, x)` passes it on.
"""

import math
import struct

from llvmlite import ir
from numba.core import cgutils

from ._isa import isa
from ._simd import Vec, where


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


# tanh(x) / x as a quotient of polynomials in x^2 on [0, 8.3]: the least largest relative error, 1e-8, by Lawson's algorithm.
_TANH_TOP = 1.464834221989592e-08, 2.150855515586466e-05, 3.549172744772478e-03, 1.3425873498544647e-01, 9.999999906782947e-01
_TANH_BOTTOM = 8.295142344625259e-07, 3.373956347272982e-04, 2.607996337967341e-02, 4.675919832946674e-01, 1.0


def gate_tanh(x):
    """Hyperbolic tangent of recurrent cells, at most 6 ulp of float32 in half of `tanh`'s time; that one for float64.

    A cell of 64 units takes five of them for each unit and step: a fifth of a step.
    """
    if x.e.bits == 64:
        return tanh(x)
    x = minimum(maximum(x, -8.3), 8.3)
    z = x * x
    return x * polynomial(z, _TANH_TOP) * reciprocal(polynomial(z, _TANH_BOTTOM))


def gate_sigmoid(x):
    """1 / (1 + exp(-x)) of recurrent cells, to 1e-7; `sigmoid` for float64."""
    if x.e.bits == 64:
        return sigmoid(x)
    return fma(gate_tanh(x * 0.5), 0.5, x.e.constant(0.5))


def expm1_below(x):
    """exp(x) - 1 for x <= 1 without loss of small x, at most 3 ulp: 2 t / (1 - t) with t = tanh(x / 2)."""
    t = tanh(x * 0.5)
    return (t + t) / (1.0 - t)


def expm1(x):
    """exp(x) - 1 without loss of small x, at most 3 ulp."""
    return where(x > 1.0, exp(x) - 1.0, expm1_below(minimum(x, 1.0)))


# pi / 2 in three parts: the first two have zeros at their ends, so that some thousand (some 100,000) times them is exact.
_HALF_PI = {
    32: (1.5703125, 4.837512969970703e-04, 7.549790126404332e-08),
    64: (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21),
}


def _sine(x, quarters):
    """sin(x + quarters pi / 2) for 0 or 1 quarters: x = m pi / 2 + r, |r| <= pi / 2, with m even or odd, then +-sin(r).

    Cody-Waite reduction by half turns and the Taylor polynomial of degree 13 (float32) or 21 (float64), so that there is one
    polynomial and no choice between two. Beyond the bounds of r it gives some number between -1 and 1. Reference: Muller,
    Elementary Functions, ch. 11.
    """
    e = x.e
    b, magic, degree = e.builder, 1.5 * 2.0 ** (23 if e.bits == 32 else 52), 13 if e.bits == 32 else 21
    shifted = fma(x, 1 / math.pi, -0.5 * quarters) + magic  # adding it rounds to an integer in the low bits
    k = shifted - magic
    m, sign = k + k + float(quarters), 1 - 2 * quarters
    r = x if sign > 0 else -x  # of odd m the half turns have the other sign
    for part in _HALF_PI[e.bits]:
        r = fma(m, -sign * part, r)
    r = minimum(maximum(r, -1.6), 1.6)
    z = r * r
    y = fma(z * r, polynomial(z, [(-1.0) ** (i // 2) / math.factorial(i) for i in range(degree, 2, -2)]), r)
    odd = b.shl(shifted.bits(), _integers(e, e.bits - 1))
    return Vec(e, b.bitcast(b.xor(y.bits(), odd), e.vector))


def sin(x):
    """Sine, to 1.3e-7 (float32) or 3e-16 (float64) for |x| <= 12,000, or 1,000,000; some number between -1 and 1 beyond."""
    return _sine(x, 0)


def cos(x):
    """Cosine, as exact as `sin`."""
    return _sine(x, 1)


# log(erfc(z) exp(z^2) / t) with t = 2 / (2 + z) as a polynomial in 2 t - 1, highest power first: its Chebyshev
# interpolation, from scipy.special.erfcx. Reference for the form: Press et al., Numerical Recipes, 3rd ed., section 6.2.2.
_ERFC = {
    32: (
        -9.2464578e-05,
        8.508317e-06,
        0.00058807169,
        -0.000229192261,
        -0.002303143466,
        0.001795201494,
        0.008815156956,
        -0.009880431638,
        -0.046894781015,
        0.047343940395,
        0.672643212486,
        -0.671794092776,
    ),
    64: (
        -1.0514932294045725e-07,
        5.617602578093929e-08,
        6.802410127655155e-07,
        -3.6282806597169385e-07,
        -1.9211006621199274e-06,
        1.0394677144264986e-06,
        2.9782305289465457e-06,
        -1.575760127399272e-06,
        -2.2617808891452794e-06,
        1.628928866774651e-07,
        -3.5224901430117264e-07,
        7.5795736095536145e-06,
        -1.1913061752561453e-06,
        -2.9728331098098233e-05,
        3.221704642946347e-05,
        7.125493918702652e-05,
        -0.0001744174136640888,
        -9.370414408212348e-05,
        0.0006736971586048335,
        -0.00014625102175897949,
        -0.002345814339227604,
        0.0017589338877611906,
        0.00882493866091493,
        -0.009872689379782215,
        -0.04689561023390031,
        0.04734330684210935,
        0.6726432239776773,
        -0.6717940840566927,
    ),
}


def normal_cdf(x):
    """Distribution function of the standard normal, 0.5 erfc(-x / sqrt(2)); relative error as of exp, also far below 0."""
    z = absolute(x) * math.sqrt(0.5)
    t = 2.0 / (z + 2.0)
    tail = 0.5 * t * exp(polynomial(t + t - 1.0, _ERFC[x.e.bits]) - z * z)
    return where(x < 0.0, tail, where(x >= 0.0, 1.0 - tail, x))


def inverse_normal(u):
    """The number below which the standard normal lies with probability u, 0 < u < 1, to 1e-6: enough for noise.

    sqrt(2) erfinv(2 u - 1). Reference: Giles 2010, Approximating the erfinv function, GPU Computing Gems 2.
    """
    x = u + u - 1.0
    w = -log((1.0 - x) * (1.0 + x))
    middle = polynomial(w - 2.5, (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
                                  -0.00125372503, -0.00417768164, 0.246640727, 1.50140941))  # fmt: skip
    tail = polynomial(sqrt(w) - 3.0, (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
                                      -0.0076224613, 0.00943887047, 1.00167406, 2.83297682))  # fmt: skip
    return math.sqrt(2) * x * where(w < 5.0, middle, tail)
