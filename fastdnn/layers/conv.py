"""Convolution of images and series."""

import math

from .._rows import add
from .._simd import offset, pointer_at
from ..gemm import CLAMP, MASK, new_product, padded, whole_blocks, whole_columns
from ..specs import check_count
from .activation_function import activated, call_on_tile, get_activation
from .base import ZEROS, dx_base, dy_base, op_kernel
from .conv_pairs import CONV_PAIRS, conv_pairs_op, fills_words
from .conv_products import (
    CONV,
    add_columns,
    bias_gradient,
    clear_padding,
    conv_op,
    correlate,
    kernel_gradient,
    large_image,
    small_image,
    spread,
    turn,
    turned_op,
)
from .dense import DENSE, dense_op
from .dense_pairs import large_enough
from .narrow_products import narrow_correlate, narrow_kernel_gradient, narrow_op, narrow_spread
from .weighted import Weighted
from .windows import (
    axes_of,
    check_image,
    check_padding,
    check_sizes,
    copy_columns,
    slot_scratch,
    window_op,
)


class Conv(Weighted):
    """Base of the convolutions: what they are told, and their parameters, in any number of dimensions."""

    record = CONV
    passing_gradients = True
    takes_windows = takes_packed = mixes_steps = True
    dims = 2
    paddings = "valid", "same"

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        dilation_rate=1,
        groups=1,
        activation="identity",
        use_bias=True,
        initializer=None,
        bias_initializer="zeros",
        l1=0.0,
        l2=0.0,
        learning_rate_factor=1.0,
        max_norm=None,
        spectral_norm=False,
        bias_learning_rate_factor=None,
    ):
        self.spectral_norm = bool(spectral_norm)
        self.filters, self.groups = check_count("filters", filters), check_count("groups", groups)
        self.kernel_size = check_sizes("kernel_size", kernel_size, self.dims)
        self.strides = check_sizes("strides", strides, self.dims)
        self.padding = check_padding(padding, self.dims, self.paddings)
        self.dilation_rate = check_sizes("dilation_rate", dilation_rate, self.dims)
        if self.filters % self.groups:
            raise ValueError(f"filters must be a multiple of groups, got {self.filters} and {self.groups}")
        rules = l1, l2, learning_rate_factor, max_norm, bias_learning_rate_factor
        self._weigh(activation, use_bias, initializer, bias_initializer, *rules)

    def axes(self, input_shape):
        """The `Axis` of each axis of samples of that shape; ValueError if they do not fit."""
        check_image(input_shape, self.dims)
        if input_shape[-1] % self.groups:
            raise ValueError(
                f"the channels of a sample, the last of {tuple(input_shape)}, must be a multiple of groups={self.groups}"
            )
        return axes_of(input_shape, self.kernel_size, self.strides, self.dilation_rate, self.padding)

    def output_shape(self, input_shape):
        return (*(a.out for a in self.axes(input_shape)[-self.dims :]), self.filters)

    def parameters(self, input_shape):
        places, inputs = math.prod(self.kernel_size), input_shape[-1] // self.groups
        fans = places * inputs, places * self.filters // self.groups
        return self._kernel_and_bias("kernel", (*self.kernel_size, inputs, self.filters), fans)

    def flops(self, input_shape):
        inputs = math.prod(self.kernel_size) * input_shape[-1] // self.groups
        return math.prod(self.output_shape(input_shape)) * (2 * inputs + 1)

    def is_plain_product(self, axes):
        """Whether each pixel is multiplied by itself: a dense layer on the last axis."""
        return self.groups == 1 and all(a.kernel == a.stride == 1 and a.before == a.after == 0 for a in axes)

    def has_pairs(self, input_shape):
        if self.is_plain_product(self.axes(input_shape)):
            return large_enough(input_shape[-1], self.filters)
        return fills_words(input_shape[-1], self.filters, self.groups)

    def emit(self, op, builder):
        axes = self.axes(builder.input_shape)
        if self.is_plain_product(axes) and not builder.packed:
            dense_op(DENSE.on(op.table), builder, self, self.filters)
            return
        if builder.has_pairs and self.has_pairs(builder.input_shape):
            conv_pairs_op(CONV_PAIRS.on(op.table), builder, self, axes)
            return
        window_op(op, builder, axes, self.filters)
        op.forward, op.backward, op.gradient = builder.addresses(conv_forward, conv_backward, conv_gradient)
        op.groups, op.large, op.small = self.groups, op.n_in // self.groups, self.filters // self.groups
        op.weight, op.adds = builder.parameter("kernel"), 1
        op.bias = builder.parameter("bias") if self.use_bias else -1
        op.ld_turned = padded(op.large)
        conv_op(op, builder, axes, op.large, op.small * op.ld_turned, narrow_op)
        activated(op, builder, get_activation(self.activation), axes[0].out * axes[1].out, apart=op.ragged)
        if builder.with_gradient and op.dx >= 0:
            op.refresh = conv_refresh.address(builder.dtype)
            turned_op(op, builder, math.prod(self.kernel_size), op.large, op.small)
            if not op.aside:
                op.derivative_before, op.saved_before, op.clamps_before = builder.take_derivative()
                op.derivative_before = 0 if op.clamps_before else op.derivative_before


class Conv2D(Conv):
    """Convolution of images (height, width, channels), y[r, c] = f(sum over i, j of x[r s + i d, c s + j d] W[i, j] + b).

    Parameters
    ----------
    filters : int
        Channels of the output, at least 1.
    kernel_size : int or pair of int
        Height and width of the kernel.
    strides : int or pair of int, default=1
        Steps s of the kernel, down and to the right.
    padding : {"valid", "same"}, int or pairs of int, default="valid"
        Border of zeros: none; Keras's "same" (ceil(size / stride) outputs; of an odd number of zeros the last is at the end,
        which with strides is not PyTorch's ``padding=k // 2``); or a number for all sides, or (top and bottom, left and
        right), or ((top, bottom), (left, right)), as in PyTorch.
    dilation_rate : int or pair of int, default=1
        Distance d of the places of the kernel.
    groups : int, default=1
        Into which the channels of input and output are divided; each group of outputs sees its group of inputs.
    activation, use_bias, initializer, bias_initializer, l1, l2, learning_rate_factor, max_norm, spectral_norm
        As in `Dense`; max_norm is that of the weights into one output channel.
    bias_learning_rate_factor
        As in `Dense`.

    Raises
    ------
    ValueError
        If an argument is out of its range, or (when the model is built) if samples are no images or smaller than the kernel.

    Notes
    -----
    Weights "kernel" of shape (height, width, channels / groups, filters) and "bias" of shape (filters,). Cost of a sample: 2
    flops for each weight of the kernel and pixel of the output forward, twice that backward.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.Conv2D(8, 3, strides=2, padding="same")]).build((28, 28, 1)).layout.shapes[-1]
    (14, 14, 8)

    References
    ----------
    LeCun, Y. et al. (1998). Gradient-based learning applied to document recognition. Proc. IEEE 86.
    Dumoulin, V. & Visin, F. (2016). A guide to convolution arithmetic for deep learning. arXiv:1603.07285.
    """

    name = "conv2d"


class Conv1D(Conv):
    """Convolution of series (time, channels): `Conv2D` along one axis.

    Parameters
    ----------
    filters, kernel_size, strides, padding, dilation_rate, groups, activation, use_bias, initializer, bias_initializer, l1, l2
        As in `Conv2D`, with one number for kernel, stride and dilation. Padding "causal" is all before the first step, so
        that no output sees what comes after it; pairs are (before, after).
    learning_rate_factor, max_norm, spectral_norm, bias_learning_rate_factor
        As in `Dense`.

    Notes
    -----
    Weights "kernel" of shape (size, channels / groups, filters) and "bias" of shape (filters,).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.Conv1D(8, 5, padding="causal")]).build((100, 3)).layout.shapes[-1]
    (100, 8)

    References
    ----------
    Wang, Z., Yan, W. & Oates, T. (2017). Time series classification from scratch with deep neural networks. arXiv:1611.06455.
    van den Oord, A. et al. (2016). WaveNet. arXiv:1609.03499 (causal).
    """

    name = "conv1d"
    dims = 1
    paddings = "valid", "same", "causal"


# ---------------------------------------------------------------- kernels


@op_kernel(CONV)
def conv_forward(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(convolution of X[lo:lo+n] by W + b); writes its own samples of Y (and of X W + b if that is kept).

    X : (n, height, width, n_in), pixels `pixel` apart     W : (places, n_in / groups, n_out)     Y : stride ld_out
    """
    ld, pixels, p, zeros = op.ld_out, op.out_height * op.out_width, new_product(), offset(work, ZEROS)
    bias = offset(params, op.bias) if op.bias >= 0 else zeros
    p.flags, p.epilogue = CLAMP if op.clamps else 0, 0 if op.by_rows else op.activation
    for i in range(lo, lo + n):
        image = offset(work, op.x + i * op.sample)
        z, y = offset(work, op.saved + i * pixels * ld), offset(work, op.y + i * pixels * ld)
        for group in range(op.groups):
            large, at = large_image(op, data, work, image, group), group * op.small
            matrix = offset(params, op.weight + at)
            if op.narrow_small:
                narrow_correlate(op, data, work, large, matrix, ld, z, bias, CLAMP if op.clamps else 0)
            elif op.ragged:
                aside, apart = slot_scratch(op, data, work, op.aside), whole_blocks(op.small)
                p.flags, p.epilogue = 0, 0
                correlate(op, p, large, matrix, ld, aside, apart, zeros, aside)
                copy_columns(aside, apart, offset(z, at), ld, pixels, op.small)
            else:
                correlate(op, p, large, matrix, ld, offset(z, at), ld, offset(bias, at), offset(y, at))
        if op.ragged:
            for r in range(pixels):
                add(offset(z, r * ld), bias, offset(z, r * ld), op.n_out)
        if op.activation and (op.by_rows or op.ragged or op.narrow_small):
            call_on_tile(op.activation, z, y, pixels, op.n_out, ld, ld)


@op_kernel(CONV)
def conv_backward(op, data, params, grads, work, start, lo, n):
    """dX from dY for samples lo..lo+n, times f' of the layer before; writes its own samples of dX (and dY).

    dY *= f' first where no layer after this one did it.
    """
    ld, pixels = op.ld_out, op.out_height * op.out_width
    dy = offset(work, dy_base(op, data) + lo * pixels * ld)
    if op.derivative:
        columns = op.n_out if op.by_rows else whole_columns(op.n_out)
        call_on_tile(op.derivative, dy, offset(work, op.saved + lo * pixels * ld), n * pixels, columns, ld, ld)
    if op.dx >= 0:
        p, zeros, places = new_product(), offset(work, ZEROS), op.kernel_height * op.kernel_width
        apart = whole_blocks(op.large) if op.ragged else op.ld_in
        p.flags, p.epilogue = MASK if op.clamps_before else 0, op.derivative_before
        for i in range(lo, lo + n):
            dx, saved = offset(work, dx_base(op, data) + i * op.sample), offset(work, op.saved_before + i * op.sample)
            for group in range(op.groups):
                at = group * op.large
                small = small_image(op, data, work, offset(work, dy_base(op, data) + i * pixels * ld), ld, group)
                matrix = offset(pointer_at(op.turned, work), group * places * op.small * op.ld_turned)
                if op.narrow_large:
                    narrow_spread(op, data, work, small, matrix, op.ld_turned, dx, saved, zeros, p.flags)
                    if op.derivative_before:
                        call_on_tile(op.derivative_before, dx, saved, op.height * op.width, op.large, apart, apart)
                elif op.aside:
                    aside = slot_scratch(op, data, work, op.aside)
                    spread(op, p, small, matrix, op.ld_turned, aside, apart, zeros, aside, zeros)
                    for r in range(op.height):
                        row, target = offset(aside, r * op.width * apart), offset(dx, at + r * op.row)
                        copy_columns(row, apart, target, op.pixel, op.width, op.large)
                else:
                    spread(op, p, small, matrix, op.ld_turned, offset(dx, at), apart, zeros, offset(saved, at), zeros)


@op_kernel(CONV)
def conv_gradient(op, data, params, grads, work, start, lo, n):
    """dW over the samples of a shard, all of it, or with the unit behind its rows the bias; adds where data.adds says so."""
    ld, pixels, zeros = op.ld_out, op.out_height * op.out_width, offset(work, ZEROS)
    rows = op.kernel_height * op.kernel_width * op.large
    if lo >= rows:
        bias_gradient(op, data, work, grads, pixels)
        return
    target = offset(grads, op.weight)
    for i in range(data.first_row, data.first_row + data.rows):
        image, dy = offset(work, op.x + i * op.sample), offset(work, dy_base(op, data) + i * pixels * ld)
        adds = data.adds or i > data.first_row
        for group in range(op.groups):
            large, at = large_image(op, data, work, image, group), group * op.small
            if op.narrow_kernel:
                narrow_kernel_gradient(op, data, work, large, dy, ld, target, adds, zeros)
            elif op.ragged:
                sums, apart = slot_scratch(op, data, work, op.aside), whole_blocks(op.small)
                kernel_gradient(op, large, offset(dy, at), ld, sums, apart, False, zeros)
                add_columns(sums, apart, offset(target, at), ld, rows, op.small, adds)
            else:
                kernel_gradient(op, large, offset(dy, at), ld, offset(target, at), ld, adds, zeros)
    clear_padding(target, rows, op.n_out if op.groups > 1 else whole_columns(op.n_out), ld, zeros)


@op_kernel(CONV)
def conv_refresh(op, data, params, grads, work, start, lo, n):
    """Rows lo..lo+n of W into the turned kernel; the bias has nothing to refresh."""
    turn(op, params, work, lo, n, op.large, op.small, op.ld_out)
