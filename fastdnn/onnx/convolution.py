"""Convolutions, and images in another size."""

import numpy as np

from ..layers import Conv2DTranspose, DepthwiseConv2D, UpSampling2D, ZeroPadding2D
from ..layers.conv import Conv
from ..layers.depthwise import Pointwise
from .activations import activated
from .registry import exporter
from .tensors import FIRST, LAST


def windows(axes):
    """Attributes of operators whose windows slide along these axes."""
    return {
        "kernel_shape": [a.kernel for a in axes],
        "strides": [a.stride for a in axes],
        "pads": [a.before for a in axes] + [a.after for a in axes],
    }


def goes_by_any_length(padding, strides):
    """Whether windows have the same border whatever the length of a series."""
    return padding != "same" or all(stride == 1 for stride in strides)


def channels_first(kernel):
    """A kernel (places..., inputs, outputs) as ONNX has it, (outputs, inputs, places...)."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def convolved(graph, x, kernel, bias, **attributes):
    """Name of x, channels first, convolved with a kernel that is so, too; the bias may be None."""
    bias = None if bias is None else graph.constant(bias, "bias")
    return graph.node("Conv", x, graph.constant(kernel, "kernel"), bias, **attributes)


@exporter(Conv, orders=(FIRST,), any_length=lambda layer: goes_by_any_length(layer.padding, layer.strides))
def convolution(graph, layer, x, weights):
    axes = layer.axes(x.shape)[-layer.dims :]
    kernel, dilations = channels_first(weights["kernel"]), [a.dilation for a in axes]
    name = convolved(graph, x, kernel, weights.get("bias"), **windows(axes), dilations=dilations, group=layer.groups)
    return activated(graph, layer.activation, x._replace(name=name))


@exporter(DepthwiseConv2D, orders=(FIRST,))
def depthwise(graph, layer, x, weights):
    axes, kernel = layer.axes(x.shape), weights[layer.kernel_name]
    *places, channels, m = kernel.shape
    kernel = np.moveaxis(kernel.reshape(*places, 1, channels * m), (-1, -2), (0, 1))
    dilations = [a.dilation for a in axes]
    name = convolved(graph, x, kernel, weights.get("bias"), **windows(axes), dilations=dilations, group=channels)
    return activated(graph, layer.activation, x._replace(name=name))


@exporter(Pointwise, orders=(FIRST,))
def pointwise(graph, layer, x, weights):
    name = convolved(graph, x, channels_first(weights["pointwise"]), weights.get("bias"), kernel_shape=[1, 1])
    return activated(graph, layer.separable.activation, x._replace(name=name))


@exporter(Conv2DTranspose, orders=(FIRST,))
def transposed_convolution(graph, layer, x, weights):
    axes = layer.axes(x.shape)
    # Places behind the last kernel: what is less than a stride is an attribute of the operator, a border what is more.
    more = [a.size - ((a.out - 1) * a.stride + a.extent - a.before - a.after) for a in axes]
    inside = [min(m, a.stride - 1) for m, a in zip(more, axes, strict=True)]
    border = [m - n for m, n in zip(more, inside, strict=True)]
    kernel, bias = np.moveaxis(weights["kernel"], (-2, -1), (0, 1)), weights.get("bias")
    name = graph.node(
        "ConvTranspose", x, graph.constant(kernel, "kernel"), **windows(axes), output_padding=inside,
        dilations=[a.dilation for a in axes],
    )  # fmt: skip
    if any(border):
        name = graph.node("Pad", name, graph.constant([0] * 6 + border))
    if bias is not None:
        name = graph.node("Add", name, graph.constant(bias.reshape(-1, 1, 1), "bias"))
    return activated(graph, layer.activation, x._replace(name=name))


@exporter(UpSampling2D, orders=(FIRST,))
def up_sampling(graph, layer, x, weights):
    scales = graph.constant([1, 1, *layer.size], dtype=np.float32)
    settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.node("Resize", x, None, scales, **settings)


@exporter(ZeroPadding2D, orders=(FIRST, LAST))
def zero_padding(graph, layer, x, weights):
    pads = np.zeros((2, len(x.axes)), int)
    pads[:, x.places] = np.transpose(layer.padding)
    return graph.node("Pad", x, graph.constant(pads.ravel()))
