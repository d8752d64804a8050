"""Networks as ONNX models, for ONNX Runtime and others: ``pip install "fastdnn[onnx]"``.

`to_onnx` exports; `exporter` tells it how ONNX says a layer, an activation or a loss of your own, by nodes of a `Graph`.
"""

import importlib.util

if importlib.util.find_spec("onnx") is None:
    raise ModuleNotFoundError('fastdnn.onnx needs packages that are not installed: pip install "fastdnn[onnx]"')

from . import activations, convolution, dense, norms, pooling, recurrent, shape, tables  # noqa: F401 - fill the registry
from .export import to_onnx
from .graph import Graph
from .pipelines import register_converters
from .registry import exporter
from .tensors import Tensor

__all__ = ["Graph", "Tensor", "exporter", "register_converters", "to_onnx"]
