"""Spectral normalization: what stands behind a product whose kernel is divided by its largest singular value."""

import math
from copy import copy as copy_of

import numpy as np

from .._jit import inner
from .._math import fma
from .._rows import add, add_scaled, dot, row_op, scaled
from .._simd import copy, offset, pointer_at, real
from .base import ZEROS, Layer, Parameter, fields, op_kernel, shard_rows
from .elementwise import Activation

# Of the kernel, a matrix (rows, columns): offset in `params`, rows, row stride. Offsets of u (columns,) and v (rows,) in
# `state`, of the bias in `params` (-1: none). Addresses of 1 / (largest singular value), 0 where each call finds it, and of
# room for a vector.
SPECTRAL = fields("weight", "rows", "stride", "u", "v", "bias", "inverse", "found")
STARTS = 15  # iterations by which u and v start


def normalized(layer, key):
    """The leaves of a layer whose kernel is normalized: its product, what divides by the norm, the activation."""
    product = copy_of(layer)  # whose constructor may be a user's own
    product.__dict__.update(activation="identity", use_bias=False, spectral_norm=False)
    product._activation_behind, product._whole = layer.activation, layer
    found = [(key, product), (key, SpectralScale(layer, product))]
    return [*found, *([] if layer.activation == "identity" else [(key, Behind(layer.activation))])]


def to_unit(vector, otherwise):
    """The vector divided by its norm; `otherwise` where that is 0 or no number."""
    norm = math.sqrt((vector * vector).sum())
    return vector / norm if 0 < norm < math.inf else otherwise


class Behind(Activation):
    """The activation of a layer whose kernel is normalized."""

    internal = True


class SpectralScale(Layer):
    """y = x / s + b: what a product x with the kernel W becomes where W / s is meant.

    s = v W u is the largest singular value of W. u and v come from one power iteration for each step of the optimizer; for
    gradients they are constants.

    Parameters
    ----------
    layer : Layer
        The whole.
    product : Layer
        Its first part.

    References
    ----------
    Miyato, T. et al. (2018). Spectral normalization for generative adversarial networks. arXiv:1802.05957.
    """

    name, record = "spectral_scale", SPECTRAL

    def __init__(self, layer, product):
        self.layer, self.product = layer, product

    def __repr__(self):
        return repr(self.layer)

    def parameters(self, input_shape):
        columns, layer = input_shape[-1], self.layer
        rows = self.product.kernel_rows_
        states = [Parameter(name, (n,), "lecun_normal", False, state=True) for name, n in (("u", columns), ("v", rows))]
        return [*([layer.bias_parameter(columns)] if layer.use_bias else []), *states]

    def start(self, key, weights, states):
        kernel = weights[f"{key}.kernel"]
        matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
        u, v = (np.array(states[f"{key}.{name}"], np.float64) for name in "uv")
        u, v = to_unit(u, u), to_unit(v, v)
        for _ in range(STARTS):  # not by products of matrices, whose bits depend on the threads of a BLAS
            u = to_unit((matrix * v[:, None]).sum(axis=0), u)
            v = to_unit((matrix * u).sum(axis=1), v)
        states[f"{key}.u"], states[f"{key}.v"] = u, v

    def emit(self, op, builder):
        builder.in_place(op)
        op.forward, op.y = spectral_forward.address(builder.dtype), builder.new_rows(op.n_out)
        op.weight, op.rows, op.stride = builder.divides(), self.product.kernel_rows_, op.ld_out
        op.u, op.v = builder.parameter("u"), builder.parameter("v")
        op.bias = builder.parameter("bias") if self.layer.use_bias else -1
        if builder.with_gradient:
            op.inverse, op.dy = builder.new_shared(16), builder.new_deltas(op.n_out)
            op.found = builder.new_shared(builder.stride(max(op.rows, op.n_out)))
            op.backward, op.derive, op.correct = builder.addresses(spectral_backward, spectral_norm, spectral_correct)
            if self.layer.use_bias:
                op.gradient = spectral_gradient.address(builder.dtype)


@row_op(2, 1, scalars=1)
def _scaled_and_added(x, bias, inverse):
    return fma(x, inverse, bias)


@row_op(1, 1, scalars=1, whole=True)
def _times(dy, inverse):
    return dy * inverse


@inner
def inverse_norm(op, data, params, work):
    """1 / (v W u), 1 where that is 0: sums over the rows of W in order, 2 rows columns flops."""
    state, total = pointer_at(data.state, work), real(work, 0.0)
    u = offset(state, op.u)
    for r in range(op.rows):
        total += state[op.v + r] * dot(offset(params, op.weight + r * op.stride), u, op.n_out)
    return real(work, 1.0) / total if total != real(work, 0.0) else real(work, 1.0)


@op_kernel(SPECTRAL)
def spectral_norm(op, data, params, grads, work, start, lo, n):
    """Writes 1 / (v W u) to `inverse`; first, n times, u <- v W and v <- W u, both of norm 1, in `state`: PyTorch's order.

    Where W is 0, or so large that a norm is no number, u and v stay as they are.
    """
    state, found = pointer_at(data.state, work), pointer_at(op.found, work)
    u = offset(state, op.u)
    for _ in range(n):
        copy(offset(work, ZEROS), found, op.n_out)
        for r in range(op.rows):
            add_scaled(offset(params, op.weight + r * op.stride), found, found, state[op.v + r], op.n_out)
        norm = math.sqrt(np.float64(dot(found, found, op.n_out)))
        if 0.0 < norm < math.inf:
            scaled(found, u, real(work, 1.0 / norm), op.n_out)
            squares = 0.0
            for r in range(op.rows):
                found[r] = dot(offset(params, op.weight + r * op.stride), u, op.n_out)
                squares += np.float64(found[r]) * np.float64(found[r])
            norm = math.sqrt(squares)
            if 0.0 < norm < math.inf:
                scaled(found, offset(state, op.v), real(work, 1.0 / norm), op.rows)
    pointer_at(op.inverse, work)[0] = inverse_norm(op, data, params, work)


@op_kernel(SPECTRAL)
def spectral_forward(op, data, params, grads, work, start, lo, n):
    """Y = X / (v W u) + b for rows lo..lo+n; writes its own rows of Y."""
    inverse = pointer_at(op.inverse, work)[0] if op.inverse else inverse_norm(op, data, params, work)
    bias, ld = offset(params, op.bias) if op.bias >= 0 else offset(work, ZEROS), op.ld_out
    for i in range(lo, lo + n):
        _scaled_and_added(offset(work, op.x + i * ld), bias, offset(work, op.y + i * ld), inverse, op.n_out)


@op_kernel(SPECTRAL)
def spectral_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY / (v W u) for rows lo..lo+n; writes its own rows of dX."""
    if op.dx >= 0:
        inverse, ld = pointer_at(op.inverse, work)[0], op.ld_out
        _times(offset(work, op.dy + lo * ld), offset(work, op.dx + lo * ld), inverse, n * ld)


@op_kernel(SPECTRAL)
def spectral_gradient(op, data, params, grads, work, start, lo, n):
    """db = sum of the rows of dY of a shard."""
    first, rows = shard_rows(op, data)
    target, ld = offset(grads, op.bias), op.ld_out
    copy(offset(work, ZEROS), target, ld)
    for i in range(first, first + rows):
        add(target, offset(work, op.dy + i * ld), target, op.n_out)


@op_kernel(SPECTRAL)
def spectral_correct(op, data, params, grads, work, start, lo, n):
    """dW <- dW - (sum dW W) / (v W u) v u^T: that the norm depends on W, too. 4 rows columns flops.

    grads : with the gradient of all samples, dW = X^T dX of the product, at `weight`
    """
    u, state, total = offset(pointer_at(data.state, work), op.u), pointer_at(data.state, work), 0.0
    for r in range(op.rows):
        at = op.weight + r * op.stride
        total += np.float64(dot(offset(grads, at), offset(params, at), op.n_out))
    factor = real(work, -total) * pointer_at(op.inverse, work)[0]
    for r in range(op.rows):
        row = offset(grads, op.weight + r * op.stride)
        add_scaled(u, row, row, factor * state[op.v + r], op.n_out)
