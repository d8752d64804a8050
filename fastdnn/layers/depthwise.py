"""Depthwise and separable convolution of images: each channel by itself, then, if at all, all of them pixel by pixel."""

import math

import numpy as np

from .._jit import inner
from .._records import Record
from .._simd import copy, offset
from ..gemm import CLAMP, MASK, gemm_of_segments, whole_columns
from ..specs import check_count
from .activation_function import activated, call_on_tile, get_activation
from .base import ZEROS, Layer, dx_base, dy_base, fields, op_kernel
from .conv_products import axis_phases, bias_gradient, small_border
from .dense import DENSE, dense_op
from .dense_pairs import large_enough
from .depthwise_rows import depthwise_row, nine_gradients, one_gradient, three_gradients
from .weighted import Weighted
from .windows import WINDOW_FIELDS, axes_of, check_image, check_padding, check_sizes, slot_scratch, window_op

# Kernels; offsets in `params`; outputs of a channel. Bordered images, of input and output, each channel as often as it has
# outputs: elements from row to row, the first pixel inside, where that of the output stands in the scratch, and where the
# gradient of the input does before its channels are summed. Addresses of the places of the kernel (offsets in image and
# kernel), of the phases, and how many there are. Of the layer before, what dX is to be multiplied by.
DEPTHWISE = fields(
    *WINDOW_FIELDS, "gemm", "activation", "weight", "bias", "multiplier", "direct", "pitch", "inside", "out_pitch",
    "out_inside", "out_scratch", "aside", "places", "phases", "n_phases", "saved_before", "clamps_before",
    "derivative_before",
)  # fmt: skip

# Pixels of the input that see the same places of the kernel: the first, and how many; the address of their places and how
# many.
DEPTHWISE_PHASE = Record("row", "column", "rows", "columns", "places", "n_places", "start")
_phase_at = DEPTHWISE_PHASE.view


class DepthwiseConv2D(Weighted):
    """Convolution of each channel of an image (height, width, channels) by kernels of its own.

    Parameters
    ----------
    kernel_size, strides, padding
        As in `Conv2D`.
    depth_multiplier : int, default=1
        Outputs m of each channel; those of channel c are c m, ..., c m + m - 1.
    dilation_rate, activation, use_bias, initializer, bias_initializer, l1, l2, learning_rate_factor, max_norm
        As in `Conv2D`.
    bias_learning_rate_factor
        As in `Dense`.

    Notes
    -----
    Weights "kernel" of shape (height, width, channels, m) and "bias" of shape (channels m,).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.DepthwiseConv2D(3, padding="same")]).build((9, 9, 4)).layout.shapes[-1]
    (9, 9, 4)

    References
    ----------
    Howard, A. et al. (2017). MobileNets. arXiv:1704.04861.
    """

    name, record = "depthwise_conv2d", DEPTHWISE
    passing_gradients = True
    takes_windows = True
    kernel_name = "kernel"

    def __init__(
        self,
        kernel_size,
        strides=1,
        padding="valid",
        depth_multiplier=1,
        dilation_rate=1,
        activation="identity",
        use_bias=True,
        initializer=None,
        bias_initializer="zeros",
        l1=0.0,
        l2=0.0,
        learning_rate_factor=1.0,
        max_norm=None,
        bias_learning_rate_factor=None,
    ):
        self.kernel_size, self.strides = check_sizes("kernel_size", kernel_size, 2), check_sizes("strides", strides, 2)
        self.padding, self.dilation_rate = check_padding(padding, 2), check_sizes("dilation_rate", dilation_rate, 2)
        self.depth_multiplier = check_count("depth_multiplier", depth_multiplier)
        rules = l1, l2, learning_rate_factor, max_norm, bias_learning_rate_factor
        self._weigh(activation, use_bias, initializer, bias_initializer, *rules)

    def axes(self, input_shape):
        """The `Axis` of each axis of samples of that shape."""
        check_image(input_shape, 2)
        return axes_of(input_shape, self.kernel_size, self.strides, self.dilation_rate, self.padding)

    def output_shape(self, input_shape):
        return (*(a.out for a in self.axes(input_shape)), input_shape[-1] * self.depth_multiplier)

    def parameters(self, input_shape):
        places, channels, m = math.prod(self.kernel_size), input_shape[-1], self.depth_multiplier
        shape = *self.kernel_size, channels, m
        return self._kernel_and_bias(self.kernel_name, shape, (places, places * m), channels * m, last_axes=2)

    def flops(self, input_shape):
        return math.prod(self.output_shape(input_shape)) * (2 * math.prod(self.kernel_size) + 1)

    def emit(self, op, builder):
        axes, m = self.axes(builder.input_shape), self.depth_multiplier
        window_op(op, builder, axes, builder.input_shape[-1] * m)
        op.forward, op.backward, op.gradient = builder.addresses(depthwise_forward, depthwise_backward, depthwise_gradient)
        op.gemm, op.multiplier, op.adds = gemm_of_segments.address(builder.dtype), m, 1
        op.weight = builder.parameter(self.kernel_name)
        op.bias = builder.parameter("bias") if self.use_bias else -1
        depthwise_op(op, builder, axes)
        activated(op, builder, get_activation(self.activation), axes[0].out * axes[1].out)
        if builder.with_gradient and op.dx >= 0 and m == 1:
            op.derivative_before, op.saved_before, op.clamps_before = builder.take_derivative()
            op.derivative_before = 0 if op.clamps_before else op.derivative_before


def depthwise_op(op, builder, axes):
    """Fill in the bordered images, and the places of the kernel in them."""
    rows, columns = axes
    ld, (height, width) = op.ld_out, (a.before + a.size + a.after for a in axes)
    op.direct = op.multiplier == 1 and (height, width) == (rows.size, columns.size)
    op.pitch = width * ld
    op.inside = rows.before * op.pitch + columns.before * ld
    size = 0 if op.direct else height * op.pitch
    (top, bottom), (left, right) = (small_border(a) for a in axes)
    op.out_scratch, op.out_pitch = size, (left + columns.out + right) * ld
    op.out_inside = top * op.out_pitch + left * ld
    size += (top + rows.out + bottom) * op.out_pitch
    op.aside, size = size, size + (rows.size * columns.size * ld if op.multiplier > 1 else 0)
    builder.new_scratch(op, size)
    places = [
        (i * rows.dilation * op.pitch + j * columns.dilation * ld, (i * columns.kernel + j) * ld)
        for i in range(rows.kernel)
        for j in range(columns.kernel)
    ]
    op.places = builder.integers(places)
    phases = []
    for row, n_rows, tap_h, taps_h, step_h, back_h, start_h in axis_phases(rows):
        for column, n_columns, tap_w, taps_w, step_w, back_w, start_w in axis_phases(columns):
            seen = [
                (
                    -(i * back_h * op.out_pitch + j * back_w * ld),
                    ((tap_h + i * step_h) * columns.kernel + tap_w + j * step_w) * ld,
                )
                for i in range(taps_h)
                for j in range(taps_w)
            ]
            start = op.out_inside + start_h * op.out_pitch + start_w * ld
            table = builder.integers(np.array(seen, np.int64).reshape(-1, 2))
            phases.append((row, column, n_rows, n_columns, table, len(seen), start if seen else 0))
    op.phases, op.n_phases = builder.integers(phases), len(phases)


class SeparableConv2D(Weighted):
    """`DepthwiseConv2D` without bias, then a convolution of single pixels: y = f(depthwise(x) P + b).

    Parameters
    ----------
    filters : int
        Channels of the output, at least 1.
    kernel_size, strides, padding, dilation_rate, depth_multiplier
        Of the depthwise convolution.
    activation, use_bias, initializer, bias_initializer, l1, l2, learning_rate_factor, max_norm
        As in `Dense`; max_norm is that of the pointwise weights into one output channel.
    bias_learning_rate_factor
        As in `Dense`.

    Notes
    -----
    Weights "depthwise" of shape (height, width, channels, m), "pointwise" of shape (1, 1, channels m, filters) and "bias" of
    shape (filters,).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> list(Model([layers.SeparableConv2D(8, 3)]).build((9, 9, 4)).weights)[:2]
    ['0.separable_conv2d.depthwise', '0.separable_conv2d.pointwise']

    References
    ----------
    Chollet, F. (2017). Xception: deep learning with depthwise separable convolutions. arXiv:1610.02357.
    """

    name = "separable_conv2d"
    takes_windows = True

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        dilation_rate=1,
        depth_multiplier=1,
        activation="identity",
        use_bias=True,
        initializer=None,
        bias_initializer="zeros",
        l1=0.0,
        l2=0.0,
        learning_rate_factor=1.0,
        max_norm=None,
        bias_learning_rate_factor=None,
    ):
        self.filters = check_count("filters", filters)
        rules = l1, l2, learning_rate_factor, max_norm, bias_learning_rate_factor
        self._weigh(activation, use_bias, initializer, bias_initializer, *rules)
        settings = kernel_size, strides, padding, depth_multiplier, dilation_rate, "identity", False, initializer, "zeros"
        spatial = Depthwise(*settings, l1, l2, learning_rate_factor)
        for setting in ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier"):
            setattr(self, setting, getattr(spatial, setting))
        self._spatial = spatial

    def leaves(self, key):
        return [(key, self._spatial), (key, Pointwise(self))]

    def output_shape(self, input_shape):
        return (*self._spatial.output_shape(input_shape)[:-1], self.filters)


class Depthwise(DepthwiseConv2D):
    """The first half of a `SeparableConv2D`."""

    name, kernel_name = "depthwise", "depthwise"


class Pointwise(Layer):
    """The second half of a `SeparableConv2D`.

    Parameters
    ----------
    separable : SeparableConv2D
        The whole, whose settings it has.
    """

    name, record = "pointwise", DENSE
    passing_gradients = True

    def __init__(self, separable):
        self.separable = separable

    def __repr__(self):
        return repr(self.separable)

    def output_shape(self, input_shape):
        return (*input_shape[:-1], self.separable.filters)

    def parameters(self, input_shape):
        n_in, filters = input_shape[-1], self.separable.filters
        return self.separable._kernel_and_bias("pointwise", (1, 1, n_in, filters), (n_in, filters))

    def has_pairs(self, input_shape):
        return large_enough(input_shape[-1], self.separable.filters)

    def emit(self, op, builder):
        dense_op(op, builder, self.separable, self.separable.filters, "pointwise")


# ---------------------------------------------------------------- kernels


@inner
def repeated(op, source, target):
    """Channels of a pixel, each `multiplier` times."""
    for c in range(op.n_in):
        for k in range(op.multiplier):
            target[c * op.multiplier + k] = source[c]


@inner
def bordered_input(op, data, work, image):
    """The image with its border, its channels as often as they have outputs."""
    if op.direct:
        return image
    scratch = slot_scratch(op, data, work, 0)
    for r in range(op.height):
        source, target = offset(image, r * op.row), offset(scratch, op.inside + r * op.pitch)
        if op.multiplier == 1:
            copy(source, target, op.width * op.ld_out)
        else:
            for c in range(op.width):
                repeated(op, offset(source, c * op.ld_in), offset(target, c * op.ld_out))
    return scratch


@op_kernel(DEPTHWISE)
def depthwise_forward(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(X W + b) channel by channel. 2 * places * pixels * channels flops; writes its own samples of Y.

    X, Y : (n, height, width, channels)     W : (places, channels * multiplier)
    """
    ld, columns, pixels = op.ld_out, whole_columns(op.n_out), op.out_height * op.out_width
    bias, w = offset(params, op.bias) if op.bias >= 0 else offset(work, ZEROS), offset(params, op.weight)
    for i in range(lo, lo + n):
        image = bordered_input(op, data, work, offset(work, op.x + i * op.sample))
        z, y = offset(work, op.saved + i * pixels * ld), offset(work, op.y + i * pixels * ld)
        for r in range(op.out_height):
            x, target = offset(image, r * op.stride_h * op.pitch), offset(z, r * op.out_width * ld)
            depthwise_row(
                x, w, target, bias, target, op.places, op.kernel_height * op.kernel_width, op.out_width, op.stride_w * ld, ld,
                columns, CLAMP if op.clamps else 0
            )  # fmt: skip
        if op.activation:
            call_on_tile(op.activation, z, y, pixels, op.n_out if op.by_rows else columns, ld, ld)


@op_kernel(DEPTHWISE)
def depthwise_backward(op, data, params, grads, work, start, lo, n):
    """dX from dY for samples lo..lo+n, times f' of the layer before; writes its own samples of dX (and dY)."""
    ld, columns, pixels = op.ld_out, whole_columns(op.n_out), op.out_height * op.out_width
    if op.derivative:
        dy, saved = offset(work, dy_base(op, data) + lo * pixels * ld), offset(work, op.saved + lo * pixels * ld)
        call_on_tile(op.derivative, dy, saved, n * pixels, op.n_out if op.by_rows else columns, ld, ld)
    if op.dx < 0:
        return
    w, zeros = offset(params, op.weight), offset(work, ZEROS)
    for i in range(lo, lo + n):
        dy, dx = slot_scratch(op, data, work, op.out_scratch), offset(work, dx_base(op, data) + i * op.sample)
        saved = offset(work, op.saved_before + i * op.sample)
        for r in range(op.out_height):
            source = offset(work, dy_base(op, data) + (i * pixels + r * op.out_width) * ld)
            copy(source, offset(dy, op.out_inside + r * op.out_pitch), op.out_width * ld)
        target = slot_scratch(op, data, work, op.aside) if op.multiplier > 1 else dx
        for f in range(op.n_phases):
            phase = _phase_at(op.phases, f)
            for r in range(phase.rows):
                at = ((phase.row + r * op.stride_h) * op.width + phase.column) * ld
                depthwise_row(
                    offset(dy, phase.start + r * op.out_pitch), w, offset(target, at), zeros, offset(saved, at), phase.places,
                    phase.n_places, phase.columns, ld, op.stride_w * ld, columns, MASK if op.clamps_before else 0
                )  # fmt: skip
        if op.multiplier > 1:
            for k in range(op.height * op.width):
                sum_of_outputs(op, offset(target, k * ld), offset(dx, k * op.ld_in))
        elif op.derivative_before:
            call_on_tile(op.derivative_before, dx, saved, op.height * op.width, columns, ld, ld)


@inner
def sum_of_outputs(op, source, target):
    """Gradients of a channel's outputs, added up."""
    for c in range(op.n_in):
        total = source[c * op.multiplier]
        for k in range(1, op.multiplier):
            total += source[c * op.multiplier + k]
        target[c] = total


@op_kernel(DEPTHWISE)
def depthwise_gradient(op, data, params, grads, work, start, lo, n):
    """dW over the samples of a shard, all of it, or with the unit behind its rows the bias; adds where data.adds says so."""
    ld, pixels, places = op.ld_out, op.out_height * op.out_width, op.kernel_height * op.kernel_width
    if lo >= places:
        bias_gradient(op, data, work, grads, pixels)
        return
    target, columns = offset(grads, op.weight), whole_columns(op.n_out)
    if not data.adds:
        for t in range(places):
            copy(offset(work, ZEROS), offset(target, t * ld), ld)
    x_step, x_row, dy_row = op.stride_w * ld, op.stride_h * op.pitch, op.out_width * ld
    for i in range(data.first_row, data.first_row + data.rows):
        x = bordered_input(op, data, work, offset(work, op.x + i * op.sample))
        dy, t = offset(work, dy_base(op, data) + i * pixels * ld), 0
        while t < places:
            taps, rows, width = op.places + 16 * t, op.out_height, op.out_width
            if places - t >= 9:
                nine_gradients(x, dy, target, taps, rows, width, x_step, ld, x_row, dy_row, columns)
                t += 9
            elif places - t >= 3:
                three_gradients(x, dy, target, taps, rows, width, x_step, ld, x_row, dy_row, columns)
                t += 3
            else:
                one_gradient(x, dy, target, taps, rows, width, x_step, ld, x_row, dy_row, columns)
                t += 1
