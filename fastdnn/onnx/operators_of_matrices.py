"""Operators with matrices and with statistics of features: dense layers, normalizations, embeddings."""

import numpy as np

from ..layers import BatchNorm, Dense, Embedding, LayerNorm
from .calls import Ids, features, operator
from .dimensions import axis, joined
from .drafts import Draft, Matrix
from .reading import INTEGERS


@operator("Gemm")
def _gemm(call):
    value, kernel = call.data(0), call.weights(1, rank=2)
    call.rank(value, 2)
    if call.attribute("transA", 0):
        value = call.tracer.viewed(value, value.axes[::-1])
    kernel = kernel.T if call.attribute("transB", 0) else kernel
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    kernel = kernel if alpha == 1 else kernel * np.float32(alpha)
    bias = call.weights(2) if call.has(2) and beta else None
    if bias is not None:
        units = kernel.shape[1]
        if bias.ndim > 2 or bias.shape[-1:] not in ((), (1,), (units,)) or bias.size not in (1, units):
            call.refuse(f"its input 2 of shape {bias.shape} is no bias of {units} units")
        bias = np.broadcast_to(bias.reshape(-1), (units,)) * beta
    return dense(call, value, kernel, bias)


@operator("MatMul")
def _matmul(call):
    value, kernel = call.data(0), call.weights(1)
    if kernel.ndim < 2 or any(n != 1 for n in kernel.shape[:-2]) or kernel.ndim > len(value.axes):
        call.refuse(f"its input 1 must be a matrix, it has the shape {kernel.shape}")
    return dense(call, value, kernel.reshape(kernel.shape[-2:]), None)


def dense(call, value, kernel, bias):
    """x W + b on the last axis."""
    last = len(value.axes) - 1
    if features(value, last) != len(kernel):
        call.refuse(f"a matrix of shape {kernel.shape} does not fit the value of shape {value.shape}")
    stage, new = call.tracer.with_last(value, [last]), axis(kernel.shape[1])
    arrays = {"kernel": Matrix(kernel)} | ({} if bias is None else {"bias": bias})
    draft = Draft(Dense, {"units": kernel.shape[1], "use_bias": bias is not None}, arrays)
    ours, theirs = (*stage.axes[:-1], new), (*value.axes[:last], new)
    return call.tracer.made(stage, draft, ours, theirs, takes=value.axes[last], gives=new, pliable=True)


@operator("BatchNormalization")
def _batch_norm(call):
    value = call.data(0)
    call.only(spatial=1)
    call.rank(value, 2, 3, 4)
    width = features(value, 1)
    arrays = {name: call.vector(i, width) for i, name in enumerate(("gamma", "beta", "mean", "var"), 1)}
    settings = {"epsilon": call.attribute("epsilon", 1e-5), "momentum": round(1 - call.attribute("momentum", 0.9), 7)}
    stage, draft = call.tracer.with_last(value, [1]), Draft(BatchNorm, settings, arrays)
    return call.tracer.made(stage, draft, None, value.axes, gives=value.axes[1])


@operator("LayerNormalization")
def _layer_norm(call):
    value = call.data(0)
    first = call.axis(value, call.attribute("axis", -1))
    axes = sorted(call.axis(value, n) for n in call.attribute("axes", ())) or list(range(first, len(value.axes)))
    shape = tuple(features(value, i) for i in axes)
    gamma = call.weights(1, shape=shape).reshape(-1) if call.has(1) else 1.0
    beta = call.weights(2, shape=shape).reshape(-1) if call.has(2) else 0.0
    draft = Draft(LayerNorm, {"epsilon": call.attribute("epsilon", 1e-5)}, {"gamma": gamma, "beta": beta})
    theirs = joined(value.axes[i] for i in axes) if call.has(1) or call.has(2) else None
    return call.tracer.made(call.tracer.with_last(value, axes), draft, None, value.axes, gives=theirs)


def embedding(call, table, ids):
    """Rows of a constant table by the integers of the samples."""
    value = ids.value if isinstance(ids, Ids) else ids
    if call.attribute("axis", 0) != 0 or table.ndim != 2 or value is not call.tracer.input:
        call.refuse("it is supported for a constant matrix and the ids of the input (Embedding), and to take the last step")
    if not isinstance(ids, Ids) and call.tracer.input_type not in INTEGERS:
        call.refuse("the input, floats, cannot be ids")
    stage, new = call.tracer.settle(value), axis(table.shape[1])
    call.tracer.fix(stage)
    settings = {"n_tokens": table.shape[0], "n_features": table.shape[1]}
    draft = Draft(Embedding, settings, {"kernel": Matrix(table)})
    return call.tracer.made(stage, draft, (*stage.axes, new), (*value.axes, new))
