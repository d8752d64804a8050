"""Activation functions. To add one, add one class here; tests, docs and `Dense(activation=...)` pick it up by its name.

An activation is written with the vectors of `_simd` and the functions of `_math`, which emit machine code for whole
vectors:

    @activation
    class softsign(Activation):
        "x / (1 + |x|). Reference: Turian et al. 2009."

        def forward(x):
            return x / (1.0 + absolute(x))

        def derivative(y):
            return (1.0 - absolute(y)) * (1.0 - absolute(y))

`absolute` comes from `.._math`, `where(mask, a, b)` and comparisons from `.._simd`. `derivative` gets the output y, the
usual case, because then nothing else must be kept; with `needs_input = True` it gets the input x. It must be finite
wherever the function is, and NaN must give NaN.
"""

from .._jit import kernel_from
from .._math import sigmoid
from .._math import tanh as vector_tanh
from .._simd import offset, row_op, where
from ..gemm import epilogue_signature

ACTIVATIONS = {}  # name -> Activation instance


class Activation:
    """One activation function.

    Attributes
    ----------
    name : str
        Its name, that of the class.
    needs_input : bool
        Whether `derivative` is a function of the input rather than of the output.
    clamps : bool
        Whether it is max(x, 0): the dense product then applies it in registers.
    initializer : str
        Default initializer of the weights before it (see `fastdnn.rng`).
    torch_name : str or None
        Name of the same function in PyTorch if it differs, for the tests.
    """

    needs_input = False
    clamps = False
    initializer = "glorot_uniform"
    torch_name = None

    def __init__(self):
        cls = type(self)
        self.name = cls.__name__
        self.is_identity = "forward" not in vars(cls)
        if not self.is_identity:
            forward, derivative = row_op(1, 1)(cls.forward), row_op(2, 1)(_chained(cls.derivative))
            self.forward_kernel = kernel_from(
                _activate, f"{self.name}_forward", epilogue_signature, cls.forward, apply=forward
            )
            self.backward_kernel = kernel_from(
                _derive, f"{self.name}_backward", epilogue_signature, cls.derivative, apply=derivative
            )

    def __repr__(self):
        return f"<activation {self.name}>"


def apply(*args):
    """Placeholder in the templates below for the activation at hand, a `row_op`."""


def _activate(x, y, rows, columns, ldx, ldy):
    """y = f(x) for a block of rows x columns; x and y may be the same."""
    for i in range(rows):
        apply(offset(x, i * ldx), offset(y, i * ldy), columns)


def _derive(dy, saved, rows, columns, ldd, lds):
    """dy *= f'(saved), in place, for a block of rows x columns."""
    for i in range(rows):
        apply(offset(saved, i * lds), offset(dy, i * ldd), offset(dy, i * ldd), columns)


def _chained(derivative):
    def chained(saved, dy):
        return derivative(saved) * dy

    chained.__name__ = f"{derivative.__qualname__.split('.')[0]}_chained"
    return chained


def activation(cls):
    """Class decorator: put an activation into the table, under its class's name."""
    ACTIVATIONS[cls.__name__] = cls()
    return cls


def get_activation(name):
    """The `Activation` of that name; ValueError with the list of names if there is none."""
    if isinstance(name, Activation):
        return name
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


@activation
class identity(Activation):
    """x."""


@activation
class relu(Activation):
    """max(x, 0). Reference: Glorot, Bordes & Bengio 2011. The derivative at 0 is 0."""

    clamps = True
    initializer = "he_uniform"

    def forward(x):
        return where(x < 0.0, 0.0, x)

    def derivative(y):
        return where(y.equals(0.0), 0.0, 1.0)


@activation
class logistic(Activation):
    """1 / (1 + exp(-x)), also called sigmoid."""

    torch_name = "sigmoid"

    def forward(x):
        return sigmoid(x)

    def derivative(y):
        return y * (1.0 - y)


@activation
class tanh(Activation):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""

    def forward(x):
        return vector_tanh(x)

    def derivative(y):
        return 1.0 - y * y
