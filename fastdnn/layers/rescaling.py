"""Numbers in another range: what images of bytes need before anything else."""

from .._math import fma
from .._rows import row_op
from .._simd import doubles_at, offset, real
from ..specs import check_number
from .base import Layer, fields, op_kernel

RESCALING = fields("constants")  # address of scale and offset


class Rescaling(Layer):
    """y = scale x + offset, with the same two numbers everywhere, in training as in inference.

    As one of the first layers, before samples of 8 or 16 bits, it costs nothing: they are scaled as they become floats.

    Parameters
    ----------
    scale : float
        ``1 / 255`` takes bytes to [0, 1].
    offset : float, default=0.0
        ``Rescaling(1 / 127.5, -1)`` takes bytes to [-1, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers
    >>> images = np.array([[0, 51, 255]], np.uint8)
    >>> Model([layers.Rescaling(1 / 255)]).build(3).forward(images).round(3)
    array([[0. , 0.2, 1. ]], dtype=float32)

    References
    ----------
    Keras's layer of the same name.
    """

    name, record = "rescaling", RESCALING

    def __init__(self, scale, offset=0.0):
        self.scale, self.offset = check_number("scale", scale, "(-inf, inf)"), check_number("offset", offset, "(-inf, inf)")

    @property
    def affine(self):
        """(scale, offset)"""
        return self.scale, self.offset

    def emit(self, op, builder):
        builder.in_place(op)
        op.forward, op.constants = rescaling_forward.address(builder.dtype), builder.constants(self.scale, self.offset)
        op.y = builder.new_rows(op.n_out)
        if builder.with_gradient:
            op.dy, op.backward = builder.new_deltas(op.n_out), rescaling_backward.address(builder.dtype)


@row_op(1, 1, scalars=2)
def _affine(x, scale, shift):
    return fma(x, scale, shift)


@row_op(1, 1, scalars=1, whole=True)
def _times(dy, scale):
    return dy * scale


@op_kernel(RESCALING)
def rescaling_forward(op, data, params, grads, work, start, lo, n):
    """Y = scale X + offset for rows lo..lo+n; writes its own rows of Y."""
    ld, constants = op.ld_out, doubles_at(op.constants)
    scale, shift = real(work, constants[0]), real(work, constants[1])
    for i in range(lo, lo + n):
        _affine(offset(work, op.x + i * ld), offset(work, op.y + i * ld), scale, shift, op.n_out)


@op_kernel(RESCALING)
def rescaling_backward(op, data, params, grads, work, start, lo, n):
    """dX = scale dY for rows lo..lo+n; writes its own rows of dX."""
    ld = op.ld_out
    if op.dx >= 0:
        scale = real(work, doubles_at(op.constants)[0])
        _times(offset(work, op.dy + lo * ld), offset(work, op.dx + lo * ld), scale, n * ld)
