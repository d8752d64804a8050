"""The plain recurrent layer: h = f(x W + h U + b)."""

from .._jit import inner
from .._rows import row_op
from .activation_function import call_on_tile, check_activation, get_activation
from .recurrent import Recurrent
from .recurrent_backward import backward_kernel
from .recurrent_forward import forward_kernel
from .recurrent_rows import copied, summed


@row_op(1, 1, exact=True)
def _nothing(x):
    return 0.0


@inner
def rnn_step(op, d, work, z, u, c_before, c, h_before, h):
    """h = f(z), of one sample."""
    if op.activation:
        call_on_tile(op.activation, z, h, 1, op.units, op.ld_h, op.ld_h)
    else:
        copied(z, h, op.units)


@inner
def rnn_back(op, d, work, z, u, c_before, c, h_before, h, dh, dc, dy):
    """dh f' in place of z, and nothing at dh."""
    summed(dh, dy, dh, op.units)
    if op.cell_derivative:
        call_on_tile(op.cell_derivative, dh, z if op.by_input else h, 1, op.units, op.ld_h, op.ld_h)
    copied(dh, z, op.units)
    _nothing(dh, dh, op.units)


class SimpleRNN(Recurrent):
    """Recurrent layer h = f(x W + h U + b).

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    activation : str or ActivationFunction, default="tanh"
        f, one that works number by number.
    return_sequences, go_backwards, dropout, recurrent_dropout, truncate, checkpoint, use_bias, initializer
        As in `LSTM`.
    recurrent_initializer : str, float
        As in `LSTM`.
    bias_initializer : str or float, default="zeros"
        Of b.
    l1, l2, learning_rate_factor, max_norm
        As in `Dense`.

    Raises
    ------
    ValueError
        If an argument is out of its range, or (when the model is built) if samples are no sequences (time, features).

    Notes
    -----
    Weights "kernel" W of shape (features, units), "recurrent_kernel" U of shape (units, units), "bias" b of shape (units,).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.SimpleRNN(8)]).build((20, 3)).layout.n_params
    96

    References
    ----------
    Elman, J. (1990). Finding structure in time. Cognitive Science 14.
    """

    name = "simple_rnn"
    kernels = forward_kernel("simple_rnn", rnn_step), backward_kernel("simple_rnn", rnn_back)

    def __init__(self, units, activation="tanh", return_sequences=False, go_backwards=False, **rules):
        super().__init__(units, return_sequences, go_backwards, **rules)
        self.activation = check_activation(activation)
        if get_activation(self.activation).by_rows:
            raise ValueError(f"activation must work number by number, got {activation!r}")

    def cell_op(self, op, builder):
        f = get_activation(self.activation)
        if not f.is_identity:
            op.activation = f.forward_kernel.address(builder.dtype)
            op.cell_derivative, op.by_input = f.backward_kernel.address(builder.dtype), f.needs_input
