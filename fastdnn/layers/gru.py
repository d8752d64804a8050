"""Gated recurrent units."""

from .._jit import inner
from .._math import fma, gate_sigmoid, gate_tanh
from .._rows import row_op
from .._simd import offset
from .recurrent import Recurrent
from .recurrent_backward import backward_kernel
from .recurrent_forward import forward_kernel


@row_op(7, 4, exact=True)
def _step(r, z, n, ur, uz, un, h_before):
    r, z = gate_sigmoid(r + ur), gate_sigmoid(z + uz)
    n = gate_tanh(fma(r, un, n))
    return r, z, n, fma(z, h_before - n, n)


@row_op(7, 7, exact=True)
def _back(r, z, n, un, h_before, dh, dy):
    dh = dh + dy
    dn = dh * (1.0 - z) * fma(-n, n, 1.0)
    dz = dh * (h_before - n) * z * (1.0 - z)
    dr = dn * un * r * (1.0 - r)
    return dr, dz, dn, dr, dz, dn * r, dh * z


@inner
def gru_step(op, d, work, z, u, c_before, c, h_before, h):
    """Gates r, z, n in place, then h, of one sample."""
    k = op.units
    zz, zn = offset(z, k), offset(z, 2 * k)
    _step(z, zz, zn, u, offset(u, k), offset(u, 2 * k), h_before, z, zz, zn, h, k)


@inner
def gru_back(op, d, work, z, u, c_before, c, h_before, h, dh, dc, dy):
    """The gradient of the gates in their place, and of what is kept apart; at dh what goes to h of the step before by z."""
    k = op.units
    zz, zn, un = offset(z, k), offset(z, 2 * k), offset(u, 2 * k)
    _back(z, zz, zn, un, h_before, dh, dy, z, zz, zn, u, offset(u, k), un, dh, k)


class GRU(Recurrent):
    """Gated recurrent units: h = (1 - z) n + z h, with r, z = sigmoid(x W + b + h U + c), n = tanh(x W + b + r (h U + c)).

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    return_sequences, go_backwards, dropout, recurrent_dropout, truncate, checkpoint, use_bias, initializer
        As in `LSTM`.
    recurrent_initializer : str, float
        As in `LSTM`.
    bias_initializer : str or float, default="zeros"
        Of both biases.
    l1, l2, learning_rate_factor, max_norm
        As in `Dense`.

    Raises
    ------
    ValueError
        If an argument is out of its range, or (when the model is built) if samples are no sequences (time, features).

    Notes
    -----
    Weights "kernel" W of shape (features, 3 units), "recurrent_kernel" U of shape (units, 3 units), "bias" b and
    "recurrent_bias" c of shape (3 units,); the gates stand in PyTorch's order r, z, n, and r multiplies h U + c (cuDNN's and
    PyTorch's form, Keras's `reset_after`). Cost of a step: 6 units (features + units) flops forward, twice that backward.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.GRU(8)]).build((20, 3)).layout.n_params
    312

    References
    ----------
    Cho, K. et al. (2014). Learning phrase representations using RNN encoder-decoder. arXiv:1406.1078.
    """

    name = "gru"
    gates, apart = 3, True
    kernels = forward_kernel("gru", gru_step), backward_kernel("gru", gru_back)
