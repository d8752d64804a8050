"""Steps of sequences that do not count: how kernels ask for them, and the layer that finds them in samples."""

from .._jit import inner
from .._simd import bytes_at
from ..specs import check_number
from .base import Layer, sample


@inner
def step_counts(data, position, steps):
    """Whether the row at `position` of the order, rows counted, is a step that counts; a sample has `steps` of them."""
    return bytes_at(data.mask, sample(data, position // steps) * data.mask_row + data.first_step + position % steps)[0] != 0


class Masking(Layer):
    """Steps of a sequence in which all features are `value` do not count.

    They keep the state of recurrent layers, whose output there is 0, and count in no loss, no metric, no batch statistics and
    no global pooling. The mask goes on through layers that work step by step, and ends where steps become others: at
    convolutions, pooling, Flatten, or a recurrent layer that gives its last output only.

    Parameters
    ----------
    value : float, default=0.0
        A finite number.

    Raises
    ------
    ValueError
        If value is no finite number; when the model is built, if it is not the first layer; when it is used, if no step of a
        sample counts.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> m = Model([layers.Masking(), layers.GlobalAvgPool1D()]).build((3, 2))
    >>> m.forward([[[1, 2], [3, 0], [0, 0]]])
    array([[2., 1.]], dtype=float32)

    References
    ----------
    Keras's layer of the same name.
    """

    name = "masking"

    def __init__(self, value=0.0):
        self.value = check_number("value", value, "(-inf, inf)")

    def output_shape(self, input_shape):
        if len(input_shape) != 2:
            raise ValueError(f"samples must be sequences (time, features), got the shape {tuple(input_shape)}")
        return input_shape

    def mask(self, X):
        return (X != self.value).any(axis=-1)

    def emit(self, op, builder):
        if builder.number:
            raise ValueError(f"{self!r} must be the first layer: it looks at samples as they are given")
        builder.in_place(op)
