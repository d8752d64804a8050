"""Activation functions. To add one, add one class here; tests, docs and `Dense(activation=...)` pick it up by its name.

An activation is written with the vectors of `_simd` and the functions of `_math`, which emit machine code for whole
vectors:

    @activation
    class softsign(ActivationFunction):
        "x / (1 + |x|). Reference: Turian et al. 2009."

        def forward(x):
            return x / (1.0 + absolute(x))

        def derivative(y):
            return (1.0 - absolute(y)) * (1.0 - absolute(y))

`absolute` comes from `.._math`, `where(mask, a, b)` and comparisons from `.._simd`. `derivative` gets the output y, the
usual case, because then nothing else must be kept; with `needs_input = True` it gets the input x. It must be finite
wherever the function is, and NaN must give NaN. A user's own activation is such a class in the user's own file; pass its
instance, ``Dense(10, activation=softsign())``.
"""

import math

from .._jit import kernel
from .._math import absolute, exp, expm1_below, fma, log1p, maximum, minimum, normal_cdf, sigmoid
from .._math import tanh as vector_tanh
from .._rows import dot, row_op, scaled
from .._simd import offset, real, where
from ..gemm import epilogue_signature
from .activation_function import ActivationFunction, activation

# Of selu: the solution of mean 0 and variance 1 going to mean 0 and variance 1.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
# Of gelu_tanh: the argument of its tanh is sqrt(2 / pi) (x + CUBIC x^3).
TWICE, CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715


@activation
class identity(ActivationFunction):
    """x, the linear unit. Reference: Widrow & Hoff 1960, Adaptive switching circuits.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["identity"]([-2.0, 0.0, 3.0]).round(4)
    array([-2.,  0.,  3.])
    """


@activation
class relu(ActivationFunction):
    """max(x, 0). The derivative at 0 is 0. Reference: Glorot, Bordes & Bengio 2011.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["relu"]([-2.0, 0.0, 3.0]).round(4)
    array([0., 0., 3.])
    """

    clamps = True
    initializer = "he_uniform"

    def forward(x):
        return where(x < 0.0, 0.0, x)

    def derivative(y):
        return where(y.equals(0.0), 0.0, 1.0)


@activation
class leaky_relu(ActivationFunction):
    """x where x > 0, 0.01 x elsewhere. Reference: Maas, Hannun & Ng 2013.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["leaky_relu"]([-2.0, 0.0, 3.0]).round(4)
    array([-0.02,  0.  ,  3.  ])
    """

    initializer = "he_uniform"

    def forward(x):
        return where(x < 0.0, 0.01 * x, x)

    def derivative(y):
        return where(y > 0.0, 1.0, 0.01)


@activation
class elu(ActivationFunction):
    """x where x > 0, exp(x) - 1 elsewhere. Reference: Clevert, Unterthiner & Hochreiter 2016, arXiv:1511.07289.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["elu"]([-2.0, 0.0, 3.0]).round(4)
    array([-0.8647,  0.    ,  3.    ])
    """

    initializer = "he_uniform"

    def forward(x):
        return where(x < 0.0, expm1_below(minimum(x, 0.0)), x)

    def derivative(y):
        return where(y < 0.0, y + 1.0, 1.0)


@activation
class selu(ActivationFunction):
    """scale * (x where x > 0, alpha (exp(x) - 1) elsewhere), whose fixed point has mean 0 and variance 1.

    Reference: Klambauer et al. 2017, arXiv:1706.02515.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["selu"]([-2.0, 0.0, 3.0]).round(4)
    array([-1.5202,  0.    ,  3.1521])
    """

    initializer = "lecun_normal"

    def forward(x):
        return where(x < 0.0, SELU_SCALE * SELU_ALPHA * expm1_below(minimum(x, 0.0)), SELU_SCALE * x)

    def derivative(y):
        return where(y < 0.0, y + SELU_SCALE * SELU_ALPHA, SELU_SCALE)


@activation
class gelu(ActivationFunction):
    """x P(x), P being the distribution function of the standard normal (`gelu_tanh` is its approximation).

    Reference: Hendrycks & Gimpel 2016, arXiv:1606.08415.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["gelu"]([-2.0, 0.0, 3.0]).round(4)
    array([-0.0455,  0.    ,  2.996 ])
    """

    needs_input = True
    initializer = "he_uniform"

    def forward(x):
        return x * normal_cdf(x)

    def derivative(x):
        return fma(x, exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi)), normal_cdf(x))


@activation
class gelu_tanh(ActivationFunction):
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, which differs from gelu by 0.0005 at the most.

    For networks that were trained with it. Reference: Hendrycks & Gimpel 2016, arXiv:1606.08415.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["gelu_tanh"]([-2.0, 0.0, 3.0]).round(4)
    array([-0.0454,  0.    ,  2.9964])
    """

    needs_input = True
    initializer = "he_uniform"

    # (1 + tanh(u)) / 2 is the sigmoid of 2 u, which keeps its digits where it is small; beyond 40 it is 0 or 1.

    def forward(x):
        return x * sigmoid(x * fma(TWICE * CUBIC * x, x, x.e.constant(TWICE)))

    def derivative(x):
        t = maximum(minimum(x, 40.0), -40.0)
        s = sigmoid(t * fma(TWICE * CUBIC * t, t, t.e.constant(TWICE)))
        return s * fma(x * (1.0 - s), fma(3.0 * TWICE * CUBIC * t, t, t.e.constant(TWICE)), x.e.constant(1.0))


@activation
class silu(ActivationFunction):
    """x sigmoid(x), also called swish. Reference: Elfwing, Uchibe & Doya 2018, arXiv:1702.03118.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["silu"]([-2.0, 0.0, 3.0]).round(4)
    array([-0.2384,  0.    ,  2.8577])
    """

    needs_input = True
    initializer = "he_uniform"

    def forward(x):
        return x * sigmoid(x)

    def derivative(x):
        s = sigmoid(x)
        return s * fma(x, 1.0 - s, x.e.constant(1.0))


@activation
class mish(ActivationFunction):
    """x tanh(log(1 + exp(x))). Reference: Misra 2020, arXiv:1908.08681.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["mish"]([-2.0, 0.0, 3.0]).round(4)
    array([-0.2525,  0.    ,  2.9865])
    """

    needs_input = True
    initializer = "he_uniform"

    # With w = exp(x) the tangent is n / (n + 2), n = w (w + 2): no logarithm. Beyond 40 it is 1 in either float type.

    def forward(x):
        w = exp(minimum(x, 40.0))
        n = w * (w + 2.0)
        return x * (n / (n + 2.0))

    def derivative(x):
        w = exp(minimum(x, 40.0))
        n = w * (w + 2.0)
        return n / (n + 2.0) + x * (4.0 * ((n + 1.0) / (n + 2.0) / (n + 2.0))) * (w / (w + 1.0))


@activation
class tanh(ActivationFunction):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)). Reference: LeCun et al. 1998.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["tanh"]([-2.0, 0.0, 3.0]).round(4)
    array([-0.964 ,  0.    ,  0.9951])
    """

    def forward(x):
        return vector_tanh(x)

    def derivative(y):
        return 1.0 - y * y


@activation
class logistic(ActivationFunction):
    """1 / (1 + exp(-x)), also called sigmoid. Reference: Rumelhart, Hinton & Williams 1986.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["logistic"]([-2.0, 0.0, 3.0]).round(4)
    array([0.1192, 0.5   , 0.9526])
    """

    torch_name = "sigmoid"

    def forward(x):
        return sigmoid(x)

    def derivative(y):
        return y * (1.0 - y)


@activation
class softplus(ActivationFunction):
    """log(1 + exp(x)). Reference: Dugas et al. 2001.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["softplus"]([-2.0, 0.0, 3.0]).round(4)
    array([0.1269, 0.6931, 3.0486])
    """

    def forward(x):
        return maximum(x, 0.0) + log1p(exp(-absolute(x)))

    def derivative(y):
        return -expm1_below(-y)


@activation
class softsign(ActivationFunction):
    """x / (1 + |x|). Reference: Turian, Bergstra & Bengio 2009.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["softsign"]([-2.0, 0.0, 3.0]).round(4)
    array([-0.6667,  0.    ,  0.75  ])
    """

    def forward(x):
        return x / (1.0 + absolute(x))

    def derivative(y):
        return (1.0 - absolute(y)) * (1.0 - absolute(y))


@activation
class hard_swish(ActivationFunction):
    """x min(max(x + 3, 0), 6) / 6. Reference: Howard et al. 2019, arXiv:1905.02244.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["hard_swish"]([-2.0, 0.0, 3.0]).round(4)
    array([-0.3333,  0.    ,  3.    ])
    """

    needs_input = True
    initializer = "he_uniform"
    torch_name = "hardswish"

    def forward(x):
        return x * (minimum(maximum(x + 3.0, 0.0), 6.0) * (1 / 6))

    def derivative(x):
        return where(x < -3.0, 0.0, where(x > 3.0, 1.0, x * (1 / 3) + 0.5))


@activation
class relu6(ActivationFunction):
    """min(max(x, 0), 6). Reference: Krizhevsky 2010, Convolutional deep belief networks on CIFAR-10.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["relu6"]([-2.0, 3.0, 7.0]).round(4)
    array([0., 3., 6.])
    """

    initializer = "he_uniform"

    def forward(x):
        return minimum(maximum(x, 0.0), 6.0)

    def derivative(y):
        return where(y > 0.0, where(y < 6.0, 1.0, 0.0), 0.0)


# ---------------------------------------------------------------- functions of whole rows


@row_op(1, 0, reduce="max")
def row_max(z):
    return z


@row_op(1, 1, scalars=1, reduce="sum")
def exp_minus(z, top):
    p = exp(z - top)
    return p, p


@row_op(2, 1, scalars=1)
def _softmax_gradient(y, dy, mean):
    return y * (dy - mean)


@kernel(epilogue_signature)
def softmax_rows(x, y, rows, columns, ldx, ldy):
    """y = softmax of each row of x; x and y may be the same."""
    for i in range(rows):
        z, p = offset(x, i * ldx), offset(y, i * ldy)
        total = exp_minus(z, p, row_max(z, columns), columns)
        scaled(p, p, real(x, 1.0) / total, columns)


@kernel(epilogue_signature)
def softmax_rows_gradient(dy, saved, rows, columns, ldd, lds):
    """dy = y (dy - sum(y dy)) for each row, in builder, `saved` being y."""
    for i in range(rows):
        y, d = offset(saved, i * lds), offset(dy, i * ldd)
        _softmax_gradient(y, d, d, dot(y, d, columns), columns)


@activation
class softmax(ActivationFunction):
    """exp(x_j) / sum_k exp(x_k) over the values of a row. Reference: Bridle 1990.

    For hidden layers (attention, mixtures); a classifier's output layer has none, its loss "cross_entropy" comes with it.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.ACTIVATIONS["softmax"]([[0.0, 0.0], [0.0, 10000.0]])
    array([[0.5, 0.5],
           [0. , 1. ]])
    """

    by_rows = True
    forward_kernel, backward_kernel = softmax_rows, softmax_rows_gradient
