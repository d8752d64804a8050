"""Categorical cross-entropy, with the softmax that it comes with."""

import math

import numpy as np

from .._jit import inner
from .._math import exp, log, maximum, minimum
from .._rows import fold_op, move, multiply_whole, row_op, scaled, sum_of
from .._simd import copy, doubles_at, integers_at, local, offset, pointer_at, real, where
from ..gemm import padded
from ..inputs import check_missing
from ..layers.activations import exp_minus, row_max
from ..layers.base import op_kernel
from ..specs import check_number
from ..transpose import transpose_blocks
from .base import (
    LOSS,
    Loss,
    as_targets,
    call_masked,
    loss,
    loss_at,
    mean_of,
    room_for_vectors,
    scale_of,
    target_of,
    weight_of,
)


def as_classes(y, n_out, name):
    """Class numbers (n,) as int64; ValueError if y holds anything else."""
    y = np.asarray(y)
    check_missing(y, "y")
    if y.dtype.kind == "f" and np.isnan(y).any():
        raise ValueError(f"y contains NaN, {name} needs class numbers; remove those rows or replace the values")
    if y.ndim != 1 or y.dtype.kind not in "iufb" or (y.dtype.kind == "f" and not np.array_equal(y, np.floor(y))):
        raise ValueError(
            f"{name} needs class numbers 0, 1, ... of shape (n,), got shape {y.shape}, dtype {y.dtype}; "
            "np.unique(y, return_inverse=True) makes numbers of labels"
        )
    if len(y) and (y.min() < 0 or y.max() >= n_out):
        raise ValueError(
            f"class numbers must be 0 to {n_out - 1} for a network with {n_out} outputs, got {y.min()} to {y.max()}"
        )
    return np.ascontiguousarray(y, np.int64)


def one_hot(classes, n_out):
    """(n, n_out) float64, 1 in the column of each row's class."""
    return (classes[:, None] == np.arange(n_out)).astype(float)


@row_op(2, 1, scalars=2, whole=True)
def clipped_losses(totals, margins, low, high):
    return minimum(maximum(log(totals) - margins, low), high)


@fold_op
def _largest(top, z, _):
    return (where(z > top, z, top),)


@fold_op
def _sum_of_exps(total, z, top):
    p = exp(z - top)
    return total + p, p


@row_op(2, 1, whole=True)
def _over(a, b):
    return a / b


@inner
def exps_of_16(scores, n_out, turned, tops, totals):
    """turned[j, r] = exp(scores[r, j] - tops[r]) for 16 rows of at most 16 scores, tops their largest, totals the sums.

    One by one, rows of 2 or 10 scores leave most lanes of a vector empty and wait for their two reductions: 14 ns a row
    against 7 to 8 so.
    """
    ld = 16 + 0 * n_out  # not the literal, for which Numba would compile the transpose once more
    transpose_blocks(scores, turned, ld, ld, ld, ld)
    move(turned, tops, 16)
    _largest(turned, tops, tops, n_out)
    for r in range(16):
        totals[r] = real(scores, 0.0)
    _sum_of_exps(turned, tops, totals, n_out)


@inner
def scaled_back(turned, n_out, factors, rows):
    """rows[r, j] = turned[j, r] * factors[r] for j < n_out, 0 from there on; factors[16:32] hold zeros."""
    for j in range(16):
        multiply_whole(offset(turned, 16 * j), factors if j < n_out else offset(factors, 16), offset(turned, 16 * j), 16)
    ld = 16 + 0 * n_out
    transpose_blocks(turned, rows, ld, ld, ld, ld)


@op_kernel(LOSS)
def narrow_gradient(op, data, params, grads, work, start, lo, n):
    """`cross_entropy_gradient` for at most 16 scores, whose stride is 16."""
    n_out, hyper, scale = op.n_in, doubles_at(op.constants), scale_of(op, data)
    low, high, losses = real(work, hyper[0]), real(work, hyper[1]), doubles_at(data.losses)
    block, turned, tops, totals, margins, weights, factors = (
        local(work), local(work), local(work), local(work), local(work), local(work), local(work)
    )  # fmt: skip
    for r in range(256):
        block[r] = real(work, 0.0)
    for r in range(16):
        margins[r], weights[r], factors[16 + r] = real(work, 0.0), real(work, scale), real(work, 0.0)
    for first in range(lo, lo + n, 16):
        rows = min(16, lo + n - first)
        move(offset(work, op.x + first * 16), block, rows * 16)
        exps_of_16(block, n_out, turned, tops, totals)
        # Apart from the labels: one loop for both becomes gathers, which wait for what has just been stored (30 ns a row).
        if data.sample_weight:
            for r in range(rows):
                weights[r] = real(work, scale * weight_of(op, data, start + first + r))
        for r in range(rows):
            label = integers_at(data.y, target_of(op, data, start + first + r))[0]
            margins[r] = block[r * 16 + label] - tops[r]
        _over(weights, totals, factors, 16)
        scaled_back(turned, n_out, factors, block)
        clipped_losses(totals, margins, margins, low, high, 16)
        move(block, offset(work, op.dx + first * 16), rows * 16)
        for r in range(rows):
            position = start + first + r
            work[op.dx + (first + r) * 16 + integers_at(data.y, target_of(op, data, position))[0]] -= weights[r]
            losses[loss_at(op, data, position)] = scale * weight_of(op, data, position) * margins[r]
    if op.masked:
        call_masked(op.masked, op, data, params, grads, work, start, lo, n)


@op_kernel(LOSS)
def cross_entropy_gradient(op, data, params, grads, work, start, lo, n):
    """(softmax - one-hot) * weight / sum of weights for rows lo..lo+n, and the rows' losses. Scores have stride ld_in.

    The logarithms are taken of 16 rows at a time: one by one they took a third of the kernel.
    """
    ld, n_out, hyper, scale = op.ld_in, op.n_in, doubles_at(op.constants), scale_of(op, data)
    low, high = real(work, hyper[0]), real(work, hyper[1])
    losses, totals, margins = doubles_at(data.losses), local(work), local(work)
    for r in range(16):
        totals[r], margins[r] = real(work, 1.0), real(work, 0.0)
    for first in range(lo, lo + n, 16):
        rows = min(16, lo + n - first)
        for r in range(rows):
            i = first + r
            label = integers_at(data.y, target_of(op, data, start + i))[0]
            z, dz = offset(work, op.x + i * ld), offset(work, op.dx + i * ld)
            top = row_max(z, n_out)
            margins[r], totals[r] = z[label] - top, exp_minus(z, dz, top, n_out)
            weight = real(work, scale * weight_of(op, data, start + i))
            scaled(dz, dz, weight / totals[r], n_out)
            dz[label] -= weight
        clipped_losses(totals, margins, margins, low, high, 16)
        for r in range(rows):
            losses[loss_at(op, data, start + first + r)] = scale * weight_of(op, data, start + first + r) * margins[r]
    if op.masked:
        call_masked(op.masked, op, data, params, grads, work, start, lo, n)


@op_kernel(LOSS)
def narrow_link(op, data, params, grads, work, start, lo, n):
    """`softmax_link` for at most 16 scores, whose stride is 16."""
    n_out, result = op.n_in, pointer_at(data.result, work)
    block, turned, tops, totals, ones, factors = (
        local(work), local(work), local(work), local(work), local(work), local(work)
    )  # fmt: skip
    for r in range(256):
        block[r] = real(work, 0.0)
    for r in range(16):
        ones[r], factors[16 + r] = real(work, 1.0), real(work, 0.0)
    for first in range(lo, lo + n, 16):
        rows = min(16, lo + n - first)
        move(offset(work, op.x + first * 16), block, rows * 16)
        exps_of_16(block, n_out, turned, tops, totals)
        _over(ones, totals, factors, 16)
        scaled_back(turned, n_out, factors, block)
        for r in range(rows):
            target = offset(result, (start + first + r) * n_out)
            if room_for_vectors(n_out, lo + n - first - r):
                move(offset(block, r * 16), target, 16)
            else:
                copy(offset(block, r * 16), target, n_out)


@op_kernel(LOSS)
def softmax_link(op, data, params, grads, work, start, lo, n):
    """softmax of the scores of rows lo..lo+n into their rows of data.result; the scores may be overwritten."""
    ld, n_out, result = op.ld_in, op.n_in, pointer_at(data.result, work)
    for i in range(lo, lo + n):
        z, target = offset(work, op.x + i * ld), offset(result, (start + i) * n_out)
        total = exp_minus(z, z, row_max(z, n_out), n_out)
        if room_for_vectors(n_out, lo + n - i):
            scaled(z, target, real(work, 1.0) / total, n_out)
        else:
            scaled(z, z, real(work, 1.0) / total, n_out)
            copy(z, target, n_out)


@row_op(2, 0, scalars=1, reduce="sum")
def _weighted_rest(q, z, top):
    return q * (z - top)


@row_op(2, 1, scalars=2)
def _soft_difference(p, q, factor, weight):
    return p * factor - q * weight


@op_kernel(LOSS)
def soft_cross_entropy_gradient(op, data, params, grads, work, start, lo, n):
    """(sum(q) softmax - q) * weight / sum of weights for rows lo..lo+n and targets q (n, n_out), and the rows' losses."""
    ld, n_out, scale = op.ld_in, op.n_in, scale_of(op, data)
    targets, losses = pointer_at(data.y, work), doubles_at(data.losses)
    for i in range(lo, lo + n):
        weight = scale * weight_of(op, data, start + i)
        z, dz = offset(work, op.x + i * ld), offset(work, op.dx + i * ld)
        q, top = offset(targets, target_of(op, data, start + i) * n_out), row_max(z, n_out)
        total, mass = exp_minus(z, dz, top, n_out), sum_of(q, n_out)
        # sum_j q_j (log total - (z_j - top)): the scores less their largest, so that nothing large is subtracted.
        value = mass * math.log(total) - _weighted_rest(q, z, top, n_out)
        _soft_difference(dz, q, dz, real(work, weight) * mass / total, real(work, weight), n_out)
        losses[loss_at(op, data, start + i)] = weight * value
    if op.masked:
        call_masked(op.masked, op, data, params, grads, work, start, lo, n)


@loss
class CrossEntropy(Loss):
    """Categorical cross-entropy, loss = log(sum_j exp(z_j)) - z_y; link softmax. Reference: Bridle 1990.

    Targets are class numbers (n,), or probabilities (n, n_out), for which loss = sum_j q_j (log(sum_k exp(z_k)) - z_j).

    Parameters
    ----------
    clip : bool, default=False
        Report it as if the probability were clipped to [eps, 1 - eps] of the float type, as scikit-learn does.
    label_smoothing : float, default=0.0
        Share of the probability that is spread evenly over all classes, in [0, 1). Reference: Szegedy et al. 2016,
        arXiv:1512.00567. Takes memory for a probability of each class and sample.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(2)], loss=losses.CrossEntropy(label_smoothing=0.1)).build(1)
    >>> model.params = 0 * model.params
    >>> round(model.loss_and_grad([[1.0]], [1])[0], 4)
    0.6931
    """

    name, labels, metrics_are_means = "cross_entropy", True, True
    kernel, link = cross_entropy_gradient, softmax_link

    def __init__(self, clip=False, label_smoothing=0.0):
        self.clip = bool(clip)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, "[0, 1]")
        if self.label_smoothing == 1.0:
            raise ValueError("label_smoothing must be less than 1, which would leave nothing of the labels")

    def constants(self, dtype):
        eps = float(np.finfo(dtype).eps)
        return (-math.log1p(-eps), -math.log(eps)) if self.clip else (-math.inf, math.inf)

    def kernel_for(self, targets, n_out):
        if targets.dtype != np.int64:
            return soft_cross_entropy_gradient
        return narrow_gradient if padded(n_out) == 16 else cross_entropy_gradient

    def link_for(self, n_out):
        return narrow_link if self.link is softmax_link and n_out <= 16 else self.link

    def metric_names(self):
        return ["accuracy"]

    def metrics(self, predictions, y, sample_weight):
        y = np.asarray(y)
        y = y.argmax(axis=1) if y.ndim == 2 else y
        return {"accuracy": mean_of(predictions.argmax(axis=1) == y, predictions, sample_weight)}

    def check_targets(self, y, n_out, dtype):
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == n_out and n_out > 1 and y.dtype.kind in "iufb":
            flat = as_targets(y, n_out, dtype)
            if flat.min(initial=0) < 0:
                raise ValueError(f"cross_entropy needs probabilities >= 0, got {flat.min():g}")
            probabilities = flat[: y.size].reshape(y.shape)
        else:
            classes = as_classes(y, n_out, "cross_entropy")
            if not self.label_smoothing:
                return classes
            probabilities = one_hot(classes, n_out)
        if self.label_smoothing:
            mass = probabilities.sum(axis=1, keepdims=True)
            probabilities = (1 - self.label_smoothing) * probabilities + self.label_smoothing / n_out * mass
        return as_targets(probabilities, n_out, dtype)
