"""Long short-term memory."""

from .._jit import inner
from .._math import fma, gate_sigmoid, gate_tanh
from .._rows import row_op
from .._simd import offset
from .recurrent import Recurrent
from .recurrent_backward import backward_kernel
from .recurrent_forward import forward_kernel


@row_op(5, 6, exact=True)
def _step(i, f, g, o, c_before):
    i, f, g, o = gate_sigmoid(i), gate_sigmoid(f), gate_tanh(g), gate_sigmoid(o)
    c = fma(f, c_before, i * g)
    return i, f, g, o, c, o * gate_tanh(c)


@row_op(9, 6, exact=True)
def _back(i, f, g, o, c_before, c, dh, dc, dy):
    dh, t = dh + dy, gate_tanh(c)
    dc = fma(dh * o, fma(-t, t, 1.0), dc)
    di, df = dc * g * i * (1.0 - i), dc * c_before * f * (1.0 - f)
    return di, df, dc * i * fma(-g, g, 1.0), dh * t * o * (1.0 - o), 0.0, dc * f


@inner
def lstm_step(op, d, work, z, u, c_before, c, h_before, h):
    """Gates i, f, g, o in place, then c and h, of one sample."""
    n = op.units
    f, g, o = offset(z, n), offset(z, 2 * n), offset(z, 3 * n)
    _step(z, f, g, o, c_before, z, f, g, o, c, h, n)


@inner
def lstm_back(op, d, work, z, u, c_before, c, h_before, h, dh, dc, dy):
    """The gradient of the gates in their place; what goes on to the step before by c at dc, nothing at dh."""
    n = op.units
    f, g, o = offset(z, n), offset(z, 2 * n), offset(z, 3 * n)
    _back(z, f, g, o, c_before, c, dh, dc, dy, z, f, g, o, dh, dc, n)


class LSTM(Recurrent):
    """Long short-term memory: c = f c + i g, h = o tanh(c), with i, f, o = sigmoid and g = tanh of x W + h U + b.

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    return_sequences : bool, default=False
        Whether the output is h of all steps, (time, units), and not of the last one, (units,).
    go_backwards : bool, default=False
        Whether the steps are taken from the last to the first; the output then is in that order, too (Keras's rule).
    dropout : float, default=0.0
        Part of the features that are 0 in training, in [0, 1): the same in all steps of a sequence.
    recurrent_dropout : float, default=0.0
        The same of h where it goes into the gates of the next step. Reference: Gal & Ghahramani 2016, arXiv:1512.05287.
    truncate : int or None, default=None
        Steps through which the gradient goes back: it ends before the steps k, 2 k, ..., while h and c go on. Where all
        layers work step by step (up to the last output), and k divides the number of steps, only k of them are in memory.
    checkpoint : int, True or None, default=None
        Steps of a window, or the divisor of the number of steps that is nearest to it (True: to its square root): states
        are kept between windows only, and each goes forward a second time before its way back. The same gradient in the
        memory of one window, for a third more work. All recurrent layers must have the same, and the others before them
        work step by step. Reference: Chen et al. 2016, arXiv:1604.06174.
    use_bias : bool, default=True
        Whether there is a b.
    initializer, recurrent_initializer, bias_initializer : str or float
        Of W (Glorot's), of U (orthogonal, each gate by itself) and of b (0, and 1 for the forget gate: Jozefowicz et al.
        2015), see `Dense`.
    l1, l2, learning_rate_factor, max_norm
        As in `Dense`.

    Raises
    ------
    ValueError
        If an argument is out of its range, or (when the model is built) if samples are no sequences (time, features).

    Notes
    -----
    Weights "kernel" W of shape (features, 4 units), "recurrent_kernel" U of shape (units, 4 units), "bias" of shape
    (4 units,); the gates stand in PyTorch's order i, f, g, o. PyTorch's `weight_ih_l0` is W transposed, and its two biases
    add up to b. Cost of a step: 8 units (features + units) flops forward, twice that backward.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.LSTM(8, return_sequences=True), layers.LSTM(4)]).build((20, 3)).layout.shapes
    [(20, 3), (20, 8), (4,)]

    References
    ----------
    Hochreiter, S. & Schmidhuber, J. (1997). Long short-term memory. Neural Computation 9.
    Gers, F., Schmidhuber, J. & Cummins, F. (2000). Learning to forget. Neural Computation 12.
    """

    name = "lstm"
    gates, has_c = 4, True
    kernels = forward_kernel("lstm", lstm_step), backward_kernel("lstm", lstm_back)

    def bias_starts(self):
        forget = 1.0 if self.bias_initializer == "zeros" else self.bias_initializer
        return self.bias_initializer, forget, self.bias_initializer, self.bias_initializer
