"""What an activation function is, and how to find one by its name. The functions themselves stand in `activations`."""

import ctypes

import numpy as np

from .._jit import kernel_from
from .._rows import row_op
from .._simd import caller, offset
from ..gemm import ALIGN, epilogue_signature

ACTIVATIONS = {}  # name -> ActivationFunction instance
ALIASES = {"sigmoid": "logistic"}  # other names of the same functions


class ActivationFunction:
    """One activation function; called with numbers it gives its values, computed by the kernel that networks use.

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
    by_rows : bool
        Whether a value depends on the whole row; then the class gives its two kernels itself.
    torch_name : str or None
        Name of the same function in PyTorch if it differs, for the tests.
    """

    needs_input = False
    clamps = False
    by_rows = False
    initializer = "glorot_uniform"
    torch_name = None

    def __init__(self):
        cls = type(self)
        self.name = cls.__name__
        self.is_identity = "forward" not in vars(cls) and not self.by_rows
        if not self.is_identity and not self.by_rows:
            forward, derivative = row_op(1, 1)(cls.forward), row_op(2, 1)(_chained(cls.derivative))
            self.forward_kernel = kernel_from(
                _activate, f"{self.name}_forward", epilogue_signature, cls.forward, apply=forward
            )
            self.backward_kernel = kernel_from(
                _derive, f"{self.name}_backward", epilogue_signature, cls.derivative, apply=derivative
            )

    def __call__(self, x):
        """Values at the numbers x (rows of the last dimension where the function is one of rows), a float64 array."""
        x = np.asarray(x, np.float64)
        n = x.shape[-1] if self.by_rows else x.size
        rows = x.size // n if n else 0
        padded = np.zeros((rows, -(-n // ALIGN) * ALIGN))
        padded[:, :n] = x.reshape(rows, n)
        if not self.is_identity:
            run = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 6)(self.forward_kernel.address("float64"))
            run(padded.ctypes.data, padded.ctypes.data, rows, n, padded.shape[1], padded.shape[1])
        return padded[:, :n].reshape(x.shape)

    def __repr__(self):
        return f"{self.name}()"

    def __reduce__(self):
        return type(self), ()  # kernels are made anew

    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return hash(type(self))


call_on_tile = caller(epilogue_signature, 6)


def activated(op, builder, f, rows=None, apart=False):
    """Fill in what an op with places for its output does with it: f, in its products' epilogue or after them.

    rows : of a sample of the output, those of the input by default
    apart : whether f is applied after the products whatever it is
    """
    op.clamps, op.by_rows, op.saved = f.clamps, f.by_rows, op.y
    if not f.is_identity:
        if apart or not f.clamps:
            op.activation = f.forward_kernel.address(builder.dtype)
        if builder.with_gradient:
            op.derivative = f.backward_kernel.address(builder.dtype)
            if f.needs_input:
                op.saved = builder.new_rows(op.n_out, rows)


def apply(*args):
    """Placeholder in the templates below for the activation at hand, a `row_op`."""


def _activate(x, y, rows, columns, ldx, ldy):
    """y = f(x) for a block of rows x columns; x and y may be the same."""
    for i in range(rows):
        apply(offset(x, i * ldx), offset(y, i * ldy), columns)


def _derive(dy, saved, rows, columns, ldd, lds):
    """dy *= f'(saved), in builder, for a block of rows x columns."""
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
    """The `ActivationFunction` of that name, or itself; ValueError with the list of names if there is none."""
    if isinstance(name, ActivationFunction):
        return name
    if not isinstance(name, str) or ALIASES.get(name, name) not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {sorted([*ACTIVATIONS, *ALIASES])}, got {name!r}")
    return ACTIVATIONS[ALIASES.get(name, name)]


def check_activation(given):
    """What a layer keeps of an activation: its name in the table, or the user's own instance."""
    function = get_activation(given)
    return function.name if ACTIVATIONS.get(function.name) is function else function
