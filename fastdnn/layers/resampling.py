"""Images in another size: a border of zeros, pixels repeated."""

from .._rows import add_whole
from .._simd import copy, offset
from .base import ZEROS, Layer, fields, op_kernel
from .windows import WINDOW_FIELDS, Axis, check_image, check_padding, check_sizes, window_op

RESAMPLE = fields(*WINDOW_FIELDS)  # kernel_height, kernel_width: how often a pixel is repeated


class ZeroPadding2D(Layer):
    """An image (height, width, channels) with a border of zeros.

    Parameters
    ----------
    padding : int or pairs of int, default=1
        Zeros on all sides, or (top and bottom, left and right), or ((top, bottom), (left, right)).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.ZeroPadding2D(((1, 0), (2, 2)))]).build((5, 5, 3)).layout.shapes[-1]
    (6, 9, 3)

    References
    ----------
    Keras's layer of the same name.
    """

    name, record = "zero_padding2d", RESAMPLE
    takes_windows = True

    def __init__(self, padding=1):
        self.padding = check_padding(padding, 2, ())

    def output_shape(self, input_shape):
        check_image(input_shape, 2)
        (top, bottom), (left, right) = self.padding
        return top + input_shape[0] + bottom, left + input_shape[1] + right, input_shape[2]

    def emit(self, op, builder):
        height, width, channels = builder.input_shape
        (top, _), (left, _) = self.padding
        out = self.output_shape(builder.input_shape)
        axes = Axis(height, 1, 1, 1, top, 0, out[0]), Axis(width, 1, 1, 1, left, 0, out[1])
        window_op(op, builder, axes, channels)
        op.forward, op.backward = builder.addresses(pad_forward, pad_backward)


class UpSampling2D(Layer):
    """An image (height, width, channels) with each pixel repeated.

    Parameters
    ----------
    size : int or pair of int, default=2
        How often, down and to the right.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.UpSampling2D((2, 3))]).build((5, 5, 3)).layout.shapes[-1]
    (10, 15, 3)

    References
    ----------
    Keras's layer of the same name, interpolation "nearest".
    """

    name, record = "up_sampling2d", RESAMPLE
    takes_windows = True

    def __init__(self, size=2):
        self.size = check_sizes("size", size, 2)

    def output_shape(self, input_shape):
        check_image(input_shape, 2)
        return input_shape[0] * self.size[0], input_shape[1] * self.size[1], input_shape[2]

    def emit(self, op, builder):
        out = self.output_shape(builder.input_shape)
        axes = [Axis(n, k, 1, 1, 0, 0, m) for n, k, m in zip(builder.input_shape, self.size, out, strict=False)]
        window_op(op, builder, axes, builder.input_shape[-1])
        op.forward, op.backward = builder.addresses(repeat_forward, repeat_backward)


@op_kernel(RESAMPLE)
def pad_forward(op, data, params, grads, work, start, lo, n):
    """Y = X in a border of zeros for samples lo..lo+n; writes its own samples of Y."""
    ld, zeros = op.ld_in, offset(work, ZEROS)
    for i in range(lo, lo + n):
        for r in range(op.out_height):
            k = r - op.top
            for c in range(op.out_width):
                m = c - op.left
                inside = 0 <= k < op.height and 0 <= m < op.width
                source = offset(work, op.x + i * op.sample + (k * op.width + m) * ld) if inside else zeros
                copy(source, offset(work, op.y + ((i * op.out_height + r) * op.out_width + c) * ld), ld)


@op_kernel(RESAMPLE)
def pad_backward(op, data, params, grads, work, start, lo, n):
    """dX = the inside of dY for samples lo..lo+n; writes its own samples of dX."""
    ld = op.ld_in
    if op.dx >= 0:
        for i in range(lo, lo + n):
            for r in range(op.height):
                source = offset(work, op.dy + ((i * op.out_height + r + op.top) * op.out_width + op.left) * ld)
                copy(source, offset(work, op.dx + i * op.sample + r * op.width * ld), op.width * ld)


@op_kernel(RESAMPLE)
def repeat_forward(op, data, params, grads, work, start, lo, n):
    """Y = each pixel of X kernel_height * kernel_width times for samples lo..lo+n; writes its own samples of Y."""
    ld = op.ld_in
    for i in range(lo, lo + n):
        for r in range(op.out_height):
            for c in range(op.out_width):
                pixel = r // op.kernel_height * op.width + c // op.kernel_width
                target = offset(work, op.y + ((i * op.out_height + r) * op.out_width + c) * ld)
                copy(offset(work, op.x + i * op.sample + pixel * ld), target, ld)


@op_kernel(RESAMPLE)
def repeat_backward(op, data, params, grads, work, start, lo, n):
    """dX = sum of dY over the copies of a pixel for samples lo..lo+n; writes its own samples of dX."""
    ld = op.ld_in
    if op.dx >= 0:
        for i in range(lo, lo + n):
            for k in range(op.height * op.width):
                copy(offset(work, ZEROS), offset(work, op.dx + i * op.sample + k * ld), ld)
            for r in range(op.out_height):
                for c in range(op.out_width):
                    pixel = r // op.kernel_height * op.width + c // op.kernel_width
                    dx = offset(work, op.dx + i * op.sample + pixel * ld)
                    dy = offset(work, op.dy + ((i * op.out_height + r) * op.out_width + c) * ld)
                    add_whole(dx, dy, dx, ld)
