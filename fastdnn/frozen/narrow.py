"""Dense and convolutional layers of frozen predictors: kernels of bfloat16 or of bytes, as arrays of the layer's own.

In `arrays_` they are as files have them; they are packed for the product when a program is made.
"""

import math

import numpy as np

from .._dots import byte_bias
from ..gemm import padded
from ..layers import Conv1D, Conv2D, Dense
from ..layers.activation_function import activated, get_activation
from ..layers.base import sample_rows
from ..layers.windows import window_op
from ..narrowing import MOST_QUADS, PAIR, QUAD, gemm_of_pairs, gemm_of_quads, packed, quantized, rounded, widened
from ..saving.errors import ModelFormatError
from .narrow_kernels import BLOCK_ROWS, LEAST_RANGE, NARROW, pairs_forward, pairs_of_images, quads_forward, quads_of_images

MOST_RANGE = 1e38
ROOM = 64  # numbers behind narrow rows: the last word of a run of a kernel may reach over its end


class Narrow:
    """Base of the layers whose kernel is an array of their own; a layer of this kind only predicts.

    Attributes
    ----------
    arrays_ : dict of str -> ndarray, or None before `take`
        "kernel", uint16 (bfloat16) or int8; "bias", float32; of int8 "scale", float32.
    """

    record, real = NARROW, "float32"  # float type of the networks that it may be in
    arrays_ = None
    range = None
    takes_sparse = passing_gradients = False

    def parameters(self, input_shape):
        return []

    def flops(self, input_shape):
        return sample_rows(self.output_shape(input_shape)) * 2 * math.prod(self.kernel_shape(input_shape))

    def array_shapes(self, input_shape):
        """{name: (shape, dtype)} of `arrays_`, for samples of that shape."""
        kernel = tuple(self.kernel_shape(input_shape))
        return {"kernel": (kernel, self.dtype)} | {name: (kernel[-1:], np.dtype(np.float32)) for name in self.vectors}

    def check_arrays(self):
        """ModelFormatError unless sums of products of the arrays fit int32: kernels trust them."""
        kernel = self.arrays_["kernel"]
        if self.p == QUAD and (kernel.min() < -127 or kernel.size // kernel.shape[-1] > MOST_QUADS):
            raise ModelFormatError(f"the kernel of {self!r} has -128 among its numbers, or too many of them")

    def emit(self, op, builder):
        if builder.with_gradient:
            raise ValueError(f"{type(self).__name__} only predicts")
        axes = self.image_axes(builder)
        matrix = self.arrays_["kernel"]
        op.n_out = matrix.shape[-1]
        run = self._emit_rows(op, builder) if axes is None else self._emit_images(op, builder, axes, matrix.shape[-2])
        op.gemm = (gemm_of_pairs if self.p == PAIR else gemm_of_quads).address(builder.dtype)
        op.words, op.ld_matrix = -(-run // self.p), padded(op.n_out)
        op.matrix = builder.array(self._packed(run))
        op.bias = builder.reals(self.arrays_["bias"])
        if self.p == QUAD:
            self._emit_steps(op, builder)
        activated(op, builder, get_activation(self.activation), None if axes is None else axes[0].out * axes[1].out)

    def _emit_rows(self, op, builder):
        """Fill in an op that takes rows by themselves; the numbers of a run of the kernel."""
        op.n_in, op.ld_in, op.ld_out = builder.input_shape[-1], padded(builder.input_shape[-1]), padded(op.n_out)
        op.sample_rows, op.x, op.y = builder.sample_rows, builder.input, builder.new_rows(op.n_out)
        op.narrow_row, op.block = -(-op.n_in // ROOM) * ROOM, BLOCK_ROWS
        op.forward = (pairs_forward if self.p == PAIR else quads_forward).address(builder.dtype)
        builder.new_scratch(op, (op.narrow_row * op.block + ROOM) * self.dtype.itemsize // 4)
        return op.n_in

    def _emit_images(self, op, builder, axes, channels):
        """Fill in an op that takes samples, to which a border belongs; the numbers of a run of the kernel."""
        rows, columns = axes
        window_op(op, builder, axes, op.n_out)
        height, width = (a.before + a.size + a.after for a in axes)
        op.channels, op.narrow_row, op.numbers = channels, width * channels, height * width * channels
        op.inside = rows.before * op.narrow_row + columns.before * channels
        op.fills = (height, width) != (rows.size, columns.size)
        op.runs_w, op.run_w = (1, 0) if columns.dilation == 1 else (columns.kernel, columns.dilation * channels)
        op.runs_h, op.run_h = rows.kernel, rows.dilation * op.narrow_row
        op.forward = (pairs_of_images if self.p == PAIR else quads_of_images).address(builder.dtype)
        builder.new_scratch(op, (op.numbers + 2 * ROOM) * self.dtype.itemsize // 4)
        return channels * (columns.kernel if columns.dilation == 1 else 1)

    def _emit_steps(self, op, builder):
        """Fill in what makes floats of sums of bytes."""
        kernel, scale = self.arrays_["kernel"], self.arrays_["scale"].astype(np.float64)
        sums = kernel.reshape(-1, kernel.shape[-1]).sum(axis=0, dtype=np.int64)
        op.scales, op.sums, op.bias_of_bytes = builder.reals(scale), builder.reals(scale * sums), byte_bias()
        if self.range is not None:
            step = (self.range[1] - self.range[0]) / 255
            op.range = builder.constants(step, np.rint(-self.range[0] / step))

    def _packed(self, run):
        """The kernel in words, made once."""
        if "_words" not in self.__dict__:
            kernel = self.arrays_["kernel"]
            self._words = packed(kernel.reshape(-1, kernel.shape[-1]), self.p, run)
        return self._words

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "_words"}


class BFloat16(Narrow):
    """Base of the layers whose products are of bfloat16: x and the kernel are rounded to it, sums are float32."""

    p, dtype, vectors = PAIR, np.dtype(np.uint16), ("bias",)

    def take(self, kernel, bias):
        """Make the arrays of a kernel and a bias in float."""
        self.arrays_ = {"kernel": rounded(np.asarray(kernel, np.float32)), "bias": np.asarray(bias, np.float32)}
        return self

    @property
    def kernel_(self):
        """The kernel, float32."""
        return widened(self.arrays_["kernel"])


class Int8(Narrow):
    """Base of the layers whose products are of bytes, signed ones of the kernel and unsigned ones of x.

    Parameters
    ----------
    range : pair of float or None, default=None
        Least and greatest number that x is expected to have, others are clipped; with 0 between them. None looks at each row
        (of a convolution: at each sample).
    """

    p, dtype, vectors = QUAD, np.dtype(np.int8), ("scale", "bias")

    def take(self, kernel, bias):
        """Make the arrays of a kernel and a bias in float."""
        kernel, scale = quantized(kernel)
        self.arrays_ = {"kernel": kernel, "scale": scale, "bias": np.asarray(bias, np.float32)}
        return self

    @property
    def kernel_(self):
        """The kernel, float32."""
        return self.arrays_["kernel"] * self.arrays_["scale"]


def checked_range(given):
    """A range as a pair of float with 0 between them, or None."""
    if given is None:
        return None
    good = isinstance(given, (list, tuple)) and len(given) == 2 and all(isinstance(x, (int, float)) for x in given)
    low, high = map(float, given) if good else (1.0, 0.0)
    if not (low <= 0 <= high and LEAST_RANGE < high - low < MOST_RANGE):
        raise ValueError(f"range must be two finite numbers with 0 between them, got {given!r}")
    return low, high


class OfRows:
    """A `Dense` layer."""

    def kernel_shape(self, input_shape):
        return input_shape[-1], self.units

    def image_axes(self, builder):
        return None


class OfImages:
    """A convolution."""

    takes_packed = True

    def kernel_shape(self, input_shape):
        return *self.kernel_size, input_shape[-1], self.filters

    def image_axes(self, builder):
        """The axes, or None where each pixel is multiplied by itself."""
        axes = self.axes(builder.input_shape)
        return None if self.is_plain_product(axes) and not builder.packed else axes


class BFloat16Dense(BFloat16, OfRows, Dense):
    """`Dense` with products of bfloat16."""

    name = "bfloat16_dense"


class BFloat16Conv1D(BFloat16, OfImages, Conv1D):
    """`Conv1D` with products of bfloat16."""

    name = "bfloat16_conv1d"


class BFloat16Conv2D(BFloat16, OfImages, Conv2D):
    """`Conv2D` with products of bfloat16."""

    name = "bfloat16_conv2d"


class Int8Dense(Int8, OfRows, Dense):
    """`Dense` with products of bytes; `range`: see `Int8`."""

    name = "int8_dense"

    def __init__(self, units, range=None, **rules):
        super().__init__(units, **rules)
        self.range = checked_range(range)


class Int8Conv1D(Int8, OfImages, Conv1D):
    """`Conv1D` with products of bytes; `range`: see `Int8`."""

    name = "int8_conv1d"

    def __init__(self, filters, kernel_size, range=None, **rules):
        super().__init__(filters, kernel_size, **rules)
        self.range = checked_range(range)


class Int8Conv2D(Int8, OfImages, Conv2D):
    """`Conv2D` with products of bytes; `range`: see `Int8`."""

    name = "int8_conv2d"

    def __init__(self, filters, kernel_size, range=None, **rules):
        super().__init__(filters, kernel_size, **rules)
        self.range = checked_range(range)


NARROW_LAYERS = {
    "bfloat16": {Dense: BFloat16Dense, Conv1D: BFloat16Conv1D, Conv2D: BFloat16Conv2D},
    "int8": {Dense: Int8Dense, Conv1D: Int8Conv1D, Conv2D: Int8Conv2D},
}


def narrowed(layer, kernel, bias, dtype, range=None):
    """The layer of that dtype that takes the place of a product, or None where there is none."""
    cls = NARROW_LAYERS.get(dtype, {}).get(type(layer))
    k = kernel.size // kernel.shape[-1]
    if cls is None or getattr(layer, "groups", 1) > 1 or (dtype == "int8" and k > MOST_QUADS):
        return None
    kept = {name: value for name, value in layer.settings().items() if name in KEPT}
    ranged = {"range": range} if range is not None and dtype == "int8" else {}
    return cls(**kept, **ranged).take(kernel, bias)


KEPT = {"units", "filters", "kernel_size", "strides", "padding", "dilation_rate", "activation"}
