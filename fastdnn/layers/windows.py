"""Windows that slide over images: geometry, padding rules, and the bordered copies that products read.

A window of `kernel` places stands at each `stride`-th place of an image with a border of zeros; its places are `dilation`
apart. Series (time, channels) are images of one row. An op that slides windows takes whole samples (sample_rows is 1), and
its record begins with the fields of `WINDOW_FIELDS`.

The padding is Keras's: "valid" is none, "same" gives ceil(size / stride) places, the odd one of an odd border being at the
end, with strides too (PyTorch's ``padding=k // 2`` puts it on both sides: give that as a number or as pairs, which mean the
same in both); "causal", for series, puts all of it before.
References: Dumoulin & Visin 2016 (arithmetic of convolution); Keras's and PyTorch's documentation.
"""

from typing import NamedTuple

from .._jit import inner
from .._rows import copy_row, move
from .._simd import copy, offset
from ..gemm import ALIGN, padded
from ..specs import check_count

# Rows and columns of the image and of the places of windows; places of a window, steps from one to the next, the border
# before the first; elements of the input from pixel to pixel, from row to row, and of a sample; the offset of scratch in
# `work` and its size for each slot, see `slot_scratch`.
WINDOW_FIELDS = (
    "height", "width", "out_height", "out_width", "kernel_height", "kernel_width", "stride_h", "stride_w", "dilation_h",
    "dilation_w", "top", "left", "pixel", "row", "sample", "scratch", "scratch_size",
)  # fmt: skip


class Axis(NamedTuple):
    """One axis of an image and the windows that slide along it."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int  # zeros, before the first place and behind the last
    after: int
    out: int  # places of windows

    @property
    def extent(self):
        """Places from the first of a window to its last, both included."""
        return self.dilation * (self.kernel - 1) + 1


def check_sizes(name, given, dims, least=1):
    """`given` as a tuple of `dims` integers >= least; a number stands for all of them."""
    if isinstance(given, (tuple, list)):
        if len(given) != dims:
            raise ValueError(f"{name} must be an integer or {dims} of them, got {given!r}")
        return tuple(check_count(name, n, least) for n in given)
    return (check_count(name, given, least),) * dims


def check_padding(padding, dims, words=("valid", "same")):
    """A padding as it is kept: one of the words, or a pair (before, after) of integers >= 0 for each axis."""
    allowed = "".join(f"{word!r}, " for word in words) + (
        f"an integer, or {dims} integers or pairs" if dims > 1 else "an integer or a pair"
    )
    if isinstance(padding, str):
        if padding not in words:
            raise ValueError(f"padding must be {allowed}, got {padding!r}")
        return padding
    each = padding if isinstance(padding, (tuple, list)) else (padding,) * dims
    if dims == 1 and len(each) == 2 and not isinstance(each[0], (tuple, list)):
        each = (tuple(each),)
    if len(each) != dims:
        raise ValueError(f"padding must be {allowed}, got {padding!r}")
    return tuple(check_sizes("padding", pair, 2, 0) for pair in each)


def axis(size, kernel, stride, dilation, padding, what):
    """The `Axis` for a padding as `check_padding` made it; ValueError, which names the axis, if a window has no place."""
    extent = dilation * (kernel - 1) + 1
    if padding == "same":
        out = -(-size // stride)
        total = max((out - 1) * stride + extent - size, 0)
        before, after = total // 2, total - total // 2
    else:
        before, after = (extent - 1, 0) if padding == "causal" else (0, 0) if padding == "valid" else padding
        out = (size + before + after - extent) // stride + 1
    if out < 1:
        raise ValueError(
            f"windows of {extent} places do not fit {what} {size} with a border of {before} and {after}: take a smaller "
            f'kernel or pool, or padding="same"'
        )
    return Axis(size, kernel, stride, dilation, before, after, out)


def axes_of(shape, kernel, strides, dilation, padding):
    """The `Axis` of each axis but the last of a sample; one of height 1 comes first where samples are series."""
    names = ("time steps",) if len(shape) == 2 else ("rows of height", "columns of width")
    paddings = (padding,) * len(names) if isinstance(padding, str) else padding
    axes = [axis(*given) for given in zip(shape[:-1], kernel, strides, dilation, paddings, names, strict=True)]
    return axes if len(axes) == 2 else [Axis(1, 1, 1, 1, 0, 0, 1), *axes]


def check_image(shape, dims):
    """ValueError unless a sample of that shape is an image (dims 2) or a series (dims 1)."""
    if len(shape) != dims + 1:
        wanted = "(height, width, channels)" if dims == 2 else "(time, channels)"
        hint = "layers.Reshape makes an image of a vector" if len(shape) == 1 else "the channels come last"
        raise ValueError(f"samples must have shape {wanted}, got {tuple(shape)}; {hint}")


def check_channels_last(shape):
    """ValueError if samples of that shape are most likely (channels, height, width)."""
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[1] == shape[2] > 4:
        raise ValueError(
            f"samples of shape {tuple(shape)} look like (channels, height, width), and channels come last: "
            f"X.transpose(0, 2, 3, 1). If they are not, put layers.Reshape({tuple(shape)}) first"
        )


def window_op(op, builder, axes, channels_out):
    """Fill in the geometry of an op that takes whole samples, the sizes, and new places for output and gradient."""
    rows, columns = axes
    op.sample_rows, op.n_in, op.n_out = 1, builder.input_shape[-1], channels_out
    op.ld_in, op.ld_out = padded(op.n_in), padded(channels_out)
    op.height, op.width, op.out_height, op.out_width = rows.size, columns.size, rows.out, columns.out
    op.kernel_height, op.kernel_width, op.stride_h, op.stride_w = rows.kernel, columns.kernel, rows.stride, columns.stride
    op.dilation_h, op.dilation_w, op.top, op.left = rows.dilation, columns.dilation, rows.before, columns.before
    op.pixel = op.n_in if builder.packed else op.ld_in
    op.row = padded(columns.size * op.n_in) if builder.packed else columns.size * op.ld_in
    op.sample = rows.size * op.row
    op.x, op.dx = builder.input, builder.d_input
    places = rows.out * columns.out
    op.y, op.dy = builder.new_rows(channels_out, places), builder.new_deltas(channels_out, places)


# ---------------------------------------------------------------- kernels


@inner
def slot_scratch(op, data, work, at):
    """Scratch of whoever runs the kernel, from element `at` of it on."""
    return offset(work, op.scratch + data.slot * op.scratch_size + at)


@inner
def copy_pixels(source, pixel, target, width, channels):
    """`width` pixels of `channels` numbers, `pixel` elements apart, to stand side by side."""
    if pixel == channels:
        copy_row(source, target, width * channels)
        return
    wide = (channels + ALIGN - 1) // ALIGN * ALIGN
    for j in range(width):
        if (width - j) * channels >= wide:  # in whole vectors; what they write too much the next pixels write over
            move(offset(source, j * pixel), offset(target, j * channels), wide)
        else:
            copy(offset(source, j * pixel), offset(target, j * channels), channels)


@inner
def copy_columns(source, ld, target, pixel, rows, columns):
    """The first numbers of rows `ld` apart to rows `pixel` apart, and not a number more."""
    for i in range(rows):
        copy(offset(source, i * ld), offset(target, i * pixel), columns)


@inner
def copy_inside(source, pixel, row, height, width, channels, target, apart, pitch):
    """An image into the inside of a bordered one, whose pixels and rows are `apart` and `pitch` elements apart.

    source, target : the first pixel of both. Nobody writes to the border: it stays 0, as scratch is from the beginning.
    """
    for r in range(height):
        if apart == channels:
            copy_pixels(offset(source, r * row), pixel, offset(target, r * pitch), width, channels)
        else:
            copy_columns(offset(source, r * row), pixel, offset(target, r * pitch), apart, width, channels)
