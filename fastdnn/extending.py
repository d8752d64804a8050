"""What a layer, an activation, a loss or an optimizer of your own is written with, in a file of your own.

The public names of the code generator: vectors with operators and functions (`where`, `exp`, `fma`, ...; comparisons give
masks for `where`, combined with &, | and ~, for a vector has no truth value), loops over rows made of them (`row_op`),
kernels of ops (`op_kernel`) and the names of what an op is told (`fields`). `examples/own_parts.py` uses all of it.
Kernels from a file of your own are compiled on first use and kept on disk like fastdnn's.
"""

from ._jit import inner, kernel
from ._math import (
    absolute,
    cos,
    exp,
    expm1,
    fma,
    log,
    log1p,
    maximum,
    minimum,
    normal_cdf,
    reciprocal,
    sigmoid,
    sin,
    sqrt,
    tanh,
    with_sign,
)
from ._rows import row_op
from ._simd import copy, doubles_at, offset, pointer_at, real, where
from .layers.activation_function import ActivationFunction, activation
from .layers.base import ZEROS, Layer, Parameter, fields, op_kernel, shard_rows
from .losses.base import Loss, loss
from .optimizers.base import Optimizer, optimizer, scalar_table

__all__ = [
    "ZEROS",
    "ActivationFunction",
    "Layer",
    "Loss",
    "Optimizer",
    "Parameter",
    "absolute",
    "activation",
    "copy",
    "cos",
    "doubles_at",
    "exp",
    "expm1",
    "fields",
    "fma",
    "inner",
    "kernel",
    "log",
    "log1p",
    "loss",
    "maximum",
    "minimum",
    "normal_cdf",
    "offset",
    "op_kernel",
    "optimizer",
    "pointer_at",
    "real",
    "reciprocal",
    "row_op",
    "scalar_table",
    "shard_rows",
    "sigmoid",
    "sin",
    "sqrt",
    "tanh",
    "where",
    "with_sign",
]
