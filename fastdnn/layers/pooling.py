"""Pooling: the largest number or the mean of windows, channel by channel."""

import math

from .base import Layer
from .masked_pool import masked_pool_op
from .pool_windows import AVG, MAX, POOL, pool_op
from .windows import Axis, axes_of, check_image, check_padding, check_sizes


class Pool(Layer):
    """Base of the pooling layers."""

    record = POOL
    passing_gradients = True
    takes_windows = mixes_steps = True
    dims = 2
    kernels = ()  # forward, backward, and forward in inference

    def __init__(self, pool_size=2, strides=None, padding="valid"):
        self.pool_size = check_sizes("pool_size", pool_size, self.dims)
        self.strides = None if strides is None else check_sizes("strides", strides, self.dims)
        self.padding = check_padding(padding, self.dims)
        if not isinstance(self.padding, str):
            for pair, size in zip(self.padding, self.pool_size, strict=True):
                if max(pair) >= size:
                    raise ValueError(f"padding must be less than pool_size={self.pool_size}, got {padding!r}")

    def axes(self, input_shape):
        """The `Axis` of each axis of samples of that shape."""
        check_image(input_shape, self.dims)
        return axes_of(input_shape, self.pool_size, self.strides or self.pool_size, (1,) * self.dims, self.padding)

    def output_shape(self, input_shape):
        return (*(a.out for a in self.axes(input_shape)[-self.dims :]), input_shape[-1])

    def flops(self, input_shape):
        return math.prod(a.out * a.kernel for a in self.axes(input_shape)) * input_shape[-1]

    def emit(self, op, builder):
        pool_op(op, builder, self.axes(builder.input_shape), self.kernels)


class GlobalPool(Layer):
    """Base of the layers that pool all pixels of an image, or all steps of a series, into one."""

    record = POOL
    passing_gradients = True
    takes_windows = sees_mask = True
    dims = 2
    kernels = ()

    def output_shape(self, input_shape):
        check_image(input_shape, self.dims)
        return input_shape[-1:]

    def flops(self, input_shape):
        return math.prod(input_shape)

    def emit(self, op, builder):
        if builder.masked:
            masked_pool_op(op.table, builder, largest=self.kernels is MAX)
            return
        rows = math.prod(builder.input_shape[:-1])
        pool_op(op, builder, [Axis(1, 1, 1, 1, 0, 0, 1), Axis(rows, rows, 1, 1, 0, 0, 1)], self.kernels)


class MaxPool2D(Pool):
    """The largest number of each window of an image (height, width, channels), channel by channel.

    Parameters
    ----------
    pool_size : int or pair of int, default=2
        Height and width of a window.
    strides : int, pair of int or None, default=None
        Steps from window to window; None takes pool_size.
    padding : {"valid", "same"}, int or pairs of int, default="valid"
        Border, as in `Conv2D`, less than pool_size; what is there does not count.

    Notes
    -----
    Of equal numbers the first, row by row, gets the gradient; NaN is the largest.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.MaxPool2D()]).build((5, 4, 3)).layout.shapes[-1]
    (2, 2, 3)

    References
    ----------
    Ranzato, M. et al. (2007). Unsupervised learning of invariant feature hierarchies. CVPR.
    """

    name, kernels = "max_pool2d", MAX


class MaxPool1D(Pool):
    """The largest number of each window of a series (time, channels): `MaxPool2D` along one axis.

    Parameters
    ----------
    pool_size, strides, padding
        As in `MaxPool2D`, one number each; pairs of padding are (before, after).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.MaxPool1D(3, strides=1, padding="same")]).build((5, 4)).layout.shapes[-1]
    (5, 4)

    References
    ----------
    Those of `MaxPool2D`.
    """

    name, kernels, dims = "max_pool1d", MAX, 1


class AvgPool2D(Pool):
    """The mean of each window of an image (height, width, channels), channel by channel.

    Parameters
    ----------
    pool_size, strides, padding
        As in `MaxPool2D`.

    Notes
    -----
    A border does not count (Keras's rule; PyTorch's with ``count_include_pad=False``).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.AvgPool2D((2, 1))]).build((4, 4, 3)).layout.shapes[-1]
    (2, 4, 3)

    References
    ----------
    LeCun, Y. et al. (1998). Gradient-based learning applied to document recognition. Proc. IEEE 86.
    """

    name, kernels = "avg_pool2d", AVG


class AvgPool1D(Pool):
    """The mean of each window of a series (time, channels): `AvgPool2D` along one axis.

    Parameters
    ----------
    pool_size, strides, padding
        As in `MaxPool1D`.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.AvgPool1D(5)]).build((100, 2)).layout.shapes[-1]
    (20, 2)

    References
    ----------
    Those of `AvgPool2D`.
    """

    name, kernels, dims = "avg_pool1d", AVG, 1


class GlobalMaxPool2D(GlobalPool):
    """The largest number of each channel of an image (height, width, channels).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.GlobalMaxPool2D()]).build((7, 7, 3)).layout.shapes[-1]
    (3,)

    References
    ----------
    Those of `MaxPool2D`.
    """

    name, kernels = "global_max_pool2d", MAX


class GlobalMaxPool1D(GlobalPool):
    """The largest number of each channel of a series (time, channels).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.GlobalMaxPool1D()]).build((100, 3)).layout.shapes[-1]
    (3,)

    References
    ----------
    Those of `MaxPool2D`.
    """

    name, kernels, dims = "global_max_pool1d", MAX, 1


class GlobalAvgPool2D(GlobalPool):
    """The mean of each channel of an image (height, width, channels).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.GlobalAvgPool2D()]).build((7, 7, 3)).layout.shapes[-1]
    (3,)

    References
    ----------
    Lin, M., Chen, Q. & Yan, S. (2013). Network in network. arXiv:1312.4400.
    """

    name, kernels = "global_avg_pool2d", AVG


class GlobalAvgPool1D(GlobalPool):
    """The mean of each channel of a series (time, channels).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.GlobalAvgPool1D()]).build((100, 3)).layout.shapes[-1]
    (3,)

    References
    ----------
    Those of `GlobalAvgPool2D`.
    """

    name, kernels, dims = "global_avg_pool1d", AVG, 1
