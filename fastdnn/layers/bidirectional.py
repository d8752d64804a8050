"""A recurrent layer in both directions."""

from .base import Layer
from .noise import SpatialDropout
from .recurrent import Recurrent, check_sequence, recurrent_op
from .recurrent_rows import RECURRENT

MERGES = "concat", "sum"


class Bidirectional(Layer):
    """A recurrent layer and another one like it that goes backwards, on the same sequences.

    Parameters
    ----------
    layer : LSTM, GRU or SimpleRNN
        What each direction does, with weights of its own.
    merge : {"concat", "sum"}, default="concat"
        Whether their outputs stand side by side, the forward one first, or are added.

    Raises
    ------
    ValueError
        If `layer` is no recurrent layer, or goes backwards itself.

    Notes
    -----
    With ``return_sequences`` both outputs of a step stand at that step, as in PyTorch and Keras; otherwise that of the
    backward direction is the one after the first step. Weights are those of the layer, "forward_kernel" and
    "backward_kernel", ...

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.Bidirectional(layers.GRU(8))]).build((20, 3)).layout.shapes[-1]
    (16,)

    References
    ----------
    Schuster, M. & Paliwal, K. (1997). Bidirectional recurrent neural networks. IEEE Trans. Signal Processing 45.
    """

    name, record = "bidirectional", RECURRENT
    takes_windows = recurrent = sees_mask = True

    def __init__(self, layer, merge="concat"):
        if not isinstance(layer, Recurrent):
            raise ValueError(f"layer must be a recurrent layer (LSTM, GRU, SimpleRNN), got {layer!r}")
        if layer.go_backwards:
            raise ValueError(f"layer must go forwards, one of the two directions goes backwards; got {layer!r}")
        if merge not in MERGES:
            raise ValueError(f"merge must be one of {MERGES}, got {merge!r}")
        self.layer, self.merge = layer, merge

    def leaves(self, key):
        dropped = [(key, SpatialDropout(self.layer.dropout))] if self.layer.dropout else []
        return [*dropped, (key, self)]

    def output_shape(self, input_shape):
        check_sequence(input_shape)
        *steps, width = self.layer.output_shape(input_shape)
        return (*steps, 2 * width if self.merge == "concat" else width)

    def parameters(self, input_shape):
        found = (self.layer.cell_parameters(input_shape[-1], prefix) for prefix in ("forward_", "backward_"))
        return [p for parameters in found for p in parameters]

    def widest_row(self, input_shape):
        return self.layer.widest_row(input_shape)

    def flops(self, input_shape):
        return 2 * self.layer.cell_flops(input_shape)

    def emit(self, op, builder):
        recurrent_op(op, builder, self.layer, [("forward_", False), ("backward_", True)], self.merge)
