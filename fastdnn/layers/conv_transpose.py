"""Transposed convolution of images: each pixel of the input adds a kernel to the output."""

import math

from .._simd import offset, pointer_at
from ..gemm import ALIGN, CLAMP, MASK, new_product, padded, whole_columns
from ..specs import check_count
from .activation_function import activated, call_on_tile, get_activation
from .base import ZEROS, op_kernel
from .conv_products import (
    CONV,
    bias_gradient,
    clear_padding,
    conv_op,
    correlate,
    large_image,
    small_image,
    spread,
    turn,
    turned_gradient,
    turned_op,
)
from .weighted import Weighted
from .windows import Axis, check_image, check_padding, check_sizes


class Conv2DTranspose(Weighted):
    """Transposed convolution of images (height, width, channels): the input gradient of a `Conv2D` as a way forward.

    Parameters
    ----------
    filters : int
        Channels of the output, at least 1.
    kernel_size, strides, dilation_rate
        As in `Conv2D`; strides are steps of the output.
    padding : {"valid", "same"}, int or pairs of int, default="valid"
        "valid": outputs (n - 1) stride + max(extent of the kernel, stride), output_padding added; "same": n stride, as Keras
        has them; a number or pairs: that many places are left out at the ends, (n - 1) stride + extent - before - after, as
        in PyTorch.
    output_padding : int or pair of int, default=0
        Rows and columns more at the end, less than the stride (PyTorch's); with "same" none.
    activation, use_bias, initializer, bias_initializer, l1, l2, learning_rate_factor, max_norm
        As in `Dense`.
    spectral_norm, bias_learning_rate_factor
        As in `Dense`.

    Notes
    -----
    Weights "kernel" of shape (height, width, channels, filters) and "bias" of shape (filters,). Cost of a sample: 2 flops for
    each weight of the kernel and pixel of the input forward, twice that backward; strides cost nothing.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.Conv2DTranspose(1, 4, strides=2, padding="same")]).build((14, 14, 8)).layout.shapes[-1]
    (28, 28, 1)

    References
    ----------
    Dumoulin, V. & Visin, F. (2016). A guide to convolution arithmetic for deep learning. arXiv:1603.07285.
    """

    name, record = "conv2d_transpose", CONV
    takes_windows = True

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        output_padding=0,
        dilation_rate=1,
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
        self.filters = check_count("filters", filters)
        self.kernel_size, self.strides = check_sizes("kernel_size", kernel_size, 2), check_sizes("strides", strides, 2)
        self.padding, self.output_padding = check_padding(padding, 2), check_sizes("output_padding", output_padding, 2, 0)
        self.dilation_rate = check_sizes("dilation_rate", dilation_rate, 2)
        if any(more >= stride for more, stride in zip(self.output_padding, self.strides, strict=True) if more):
            raise ValueError(f"output_padding must be less than strides={self.strides}, got {output_padding!r}")
        if self.padding == "same" and any(self.output_padding):
            raise ValueError('output_padding must be 0 with padding="same"; give padding as a number')
        rules = l1, l2, learning_rate_factor, max_norm, bias_learning_rate_factor
        self._weigh(activation, use_bias, initializer, bias_initializer, *rules)

    def axes(self, input_shape):
        """The `Axis` of each axis, the output being the image that windows slide over."""
        check_image(input_shape, 2)
        found = []
        for k in range(2):
            n, kernel, stride, dilation = input_shape[k], self.kernel_size[k], self.strides[k], self.dilation_rate[k]
            extent = dilation * (kernel - 1) + 1
            if self.padding == "same":
                size, before = n * stride, max(extent - stride, 0) // 2
            elif self.padding == "valid":
                size, before = (n - 1) * stride + max(extent, stride) + self.output_padding[k], 0
            else:
                before, behind = self.padding[k]
                size = (n - 1) * stride + extent - before - behind + self.output_padding[k]
            if size < 1:
                raise ValueError(f"padding {self.padding} leaves nothing of an output of {(n - 1) * stride + extent}")
            found.append(Axis(size, kernel, stride, dilation, before, max(0, (n - 1) * stride + extent - before - size), n))
        return found

    def output_shape(self, input_shape):
        return (*(a.size for a in self.axes(input_shape)), self.filters)

    def parameters(self, input_shape):
        places, n_in = math.prod(self.kernel_size), input_shape[-1]
        shape = *self.kernel_size, n_in, self.filters
        return self._kernel_and_bias("kernel", shape, (places * n_in, places * self.filters))

    def flops(self, input_shape):
        outputs = math.prod(self.output_shape(input_shape))
        return 2 * math.prod(input_shape) * math.prod(self.kernel_size) * self.filters + outputs

    def emit(self, op, builder):
        rows, columns = axes = self.axes(builder.input_shape)
        n_in, n_out, pixels = builder.input_shape[-1], self.filters, rows.size * columns.size
        op.forward, op.backward, op.gradient = builder.addresses(transpose_forward, transpose_backward, transpose_gradient)
        op.sample_rows, op.n_in, op.n_out, op.ld_in, op.ld_out = 1, n_in, n_out, padded(n_in), padded(n_out)
        op.height, op.width, op.out_height, op.out_width = rows.size, columns.size, rows.out, columns.out
        op.kernel_height, op.kernel_width, op.stride_h, op.stride_w = rows.kernel, columns.kernel, rows.stride, columns.stride
        op.dilation_h, op.dilation_w, op.top, op.left = rows.dilation, columns.dilation, rows.before, columns.before
        op.pixel, op.row, op.sample = op.ld_out, columns.size * op.ld_out, pixels * op.ld_out
        op.x, op.dx = builder.input, builder.d_input
        op.y, op.dy = builder.new_rows(n_out, pixels), builder.new_deltas(n_out, pixels)
        op.groups, op.large, op.small, op.weight, op.adds = 1, n_out, n_in, builder.parameter("kernel"), 1
        op.bias = builder.parameter("bias") if self.use_bias else -1
        conv_op(op, builder, axes, -(-n_out // ALIGN) * ALIGN, n_in * op.ld_out)
        activated(op, builder, get_activation(self.activation), pixels)
        if builder.with_gradient and op.dx >= 0:
            op.refresh = transpose_refresh.address(builder.dtype)
            turned_op(op, builder, math.prod(self.kernel_size), n_in, n_out)
            op.derivative_before, op.saved_before, op.clamps_before = builder.take_derivative()
            op.derivative_before = 0 if op.clamps_before else op.derivative_before


@op_kernel(CONV)
def transpose_forward(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(X spread by W + b); writes its own samples of Y (and of what f is applied to, if that is kept).

    X : (n, out_height, out_width, n_in)     W : (places, n_in, n_out)     Y : (n, height, width, n_out)
    """
    ld, pixels, p, zeros = op.ld_out, op.height * op.width, new_product(), offset(work, ZEROS)
    bias = offset(params, op.bias) if op.bias >= 0 else zeros
    p.flags, p.epilogue = CLAMP if op.clamps else 0, 0 if op.by_rows else op.activation
    for i in range(lo, lo + n):
        x = small_image(op, data, work, offset(work, op.x + i * op.out_height * op.out_width * op.ld_in), op.ld_in, 0)
        z, y = offset(work, op.saved + i * op.sample), offset(work, op.y + i * op.sample)
        spread(op, p, x, offset(params, op.weight), ld, z, ld, bias, y, zeros)
        if op.by_rows:
            call_on_tile(op.activation, z, y, pixels, op.n_out, ld, ld)


@op_kernel(CONV)
def transpose_backward(op, data, params, grads, work, start, lo, n):
    """dX from dY for samples lo..lo+n, times f' of the layer before; writes its own samples of dX (and dY)."""
    ld, pixels, size = op.ld_out, op.height * op.width, op.out_height * op.out_width * op.ld_in
    if op.derivative:
        dy, columns = offset(work, op.dy + lo * op.sample), op.n_out if op.by_rows else whole_columns(op.n_out)
        call_on_tile(op.derivative, dy, offset(work, op.saved + lo * op.sample), n * pixels, columns, ld, ld)
    if op.dx >= 0:
        p, turned = new_product(), pointer_at(op.turned, work)
        p.flags, p.epilogue = MASK if op.clamps_before else 0, op.derivative_before
        for i in range(lo, lo + n):
            dy = large_image(op, data, work, offset(work, op.dy + i * op.sample), 0)
            dx, saved = offset(work, op.dx + i * size), offset(work, op.saved_before + i * size)
            correlate(op, p, dy, turned, op.ld_turned, dx, op.ld_in, offset(work, ZEROS), saved)


@op_kernel(CONV)
def transpose_gradient(op, data, params, grads, work, start, lo, n):
    """dW over the samples of a shard, all of it, or with the unit behind its rows the bias; adds where data.adds says so."""
    ld, size, zeros = op.ld_out, op.out_height * op.out_width * op.ld_in, offset(work, ZEROS)
    rows, target = op.kernel_height * op.kernel_width * op.n_in, offset(grads, op.weight)
    if lo >= rows:
        bias_gradient(op, data, work, grads, op.height * op.width)
        return
    for i in range(data.first_row, data.first_row + data.rows):
        dy = large_image(op, data, work, offset(work, op.dy + i * op.sample), 0)
        x, adds = offset(work, op.x + i * size), data.adds or i > data.first_row
        turned_gradient(op, dy, x, op.ld_in, target, ld, adds, zeros)
    clear_padding(target, rows, whole_columns(op.n_out), ld, zeros)


@op_kernel(CONV)
def transpose_refresh(op, data, params, grads, work, start, lo, n):
    """Rows lo..lo+n of W into the turned kernel; the bias has nothing to refresh."""
    turn(op, params, work, lo, n, op.n_in, op.n_out, op.ld_out)
