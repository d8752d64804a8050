"""Losses, each fused with its link and computed from the raw scores. To add one, add one class here.

A loss of scores z and targets y has a link p (softmax, sigmoid, exp, none) for predictions, and a kernel that writes for
each row the gradient of the batch's loss with respect to z and the row's share of that loss. The batch's loss is the
mean over its rows, weighted by the sample weights: sum(w_i loss_i) / sum(w_i).
"""

import math

import numpy as np

from ._jit import inner, kernel, kernel_from
from ._math import exp, log, log1p, maximum, minimum, sigmoid, sigmoid_parts
from ._simd import copy, doubles_at, fold_op, integers_at, local, offset, pointer_at, real, row_op, where
from .gemm import transpose_blocks
from .inputs import as_numbers, move
from .layers.base import (
    BASE,
    D_IN,
    HYPER,
    IN,
    LD_IN,
    LOSSES,
    N_IN,
    RESULT,
    SAMPLE_WEIGHT,
    SCALE,
    Spec,
    Y,
    op_signature,
    sample,
)

__all__ = ["LOSSES_TABLE", "ClippedLogLoss", "CrossEntropy", "LogLoss", "Loss", "Poisson", "SquaredError"]

LOSSES_TABLE = {}  # name -> class


class Loss(Spec):
    """Base of the losses.

    Attributes
    ----------
    name : str
        Its name in the table.
    labels : bool
        Whether targets are class numbers (n,) int64; otherwise floats (n, n_out).
    kernel : Kernel
        Op kernel writing the gradient of the scores to D_IN and row losses to data[LOSSES].
    link : Kernel
        Op kernel writing predictions to data[RESULT], (n, n_out) without padding.
    """

    labels = False

    def hyper(self, n_out, dtype):
        """Numbers for the kernel, float64: two of the loss's own, and a factor of the reported loss."""
        return np.array([0.0, 0.0, 1.0])

    def check_targets(self, y, n_out, dtype):
        """Targets as the kernel reads them; ValueError if they do not fit. See `as_targets`."""
        return as_targets(y, n_out, dtype)

    def metrics(self, predictions, y, sample_weight):
        """dict of figures that users look at beside the loss, from what `Model.predict` gave."""
        from sklearn.metrics import r2_score

        if not np.isfinite(predictions).all():
            return {"r2": float("nan")}
        with np.errstate(over="ignore"):  # -inf is an answer
            return {"r2": float(r2_score(y.reshape(predictions.shape), predictions, sample_weight=sample_weight))}


def as_targets(y, n_out, dtype):
    """y as a flat float array, row after row, with a vector's room behind it (kernels read whole vectors)."""
    y = as_numbers(y, "y", np.float64 if np.asarray(y).dtype != dtype else dtype)
    if y.shape != (len(y), n_out) and not (n_out == 1 and y.ndim == 1):
        wanted = "(n,) or (n, 1)" if n_out == 1 else f"(n, {n_out})"
        raise ValueError(f"y must have shape {wanted} for a network with {n_out} outputs, got {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError("y contains NaN or infinity; remove those rows or replace the values")
    if y.size and np.abs(y).max() > np.finfo(dtype).max:
        raise ValueError(f"y contains values too large for {np.dtype(dtype).name}; scale y or use float64 samples")
    flat = np.zeros(y.size + 64, dtype)
    flat[: y.size] = y.reshape(-1)
    return flat


def loss(cls):
    """Class decorator: put a loss into the table, under its name."""
    LOSSES_TABLE[cls.name] = cls
    return cls


def get_loss(given):
    """A `Loss` from its name or as it is; ValueError with the list of names otherwise."""
    if isinstance(given, Loss):
        return given
    if not isinstance(given, str) or given not in LOSSES_TABLE:
        raise ValueError(f"loss must be a Loss or one of {sorted(LOSSES_TABLE)}, got {given!r}")
    return LOSSES_TABLE[given]()


# ---------------------------------------------------------------- templates


def apply(*args):
    """Placeholder in the templates for the `row_op` at hand."""


def apply_column(*args):
    """Placeholder for the one that works on one output of 16 samples."""


@inner
def weight_of(data, position):
    """Weight of the sample that stands at `position` of the order."""
    return doubles_at(data[SAMPLE_WEIGHT])[sample(data, position)] if data[SAMPLE_WEIGHT] else 1.0


def _elementwise(row, data, params, grads, work, start, lo, n):
    """Gradient of the scores and loss of rows lo..lo+n, by one pass of the loss's row_op; writes its own rows.

    Scores and their gradient have stride LD_IN, targets n_out; losses are float64. A single output is taken from 16 samples
    at a time: one by one it is a sixteenth of a vector, and 80 cycles a sample.
    """
    ld, n_out, hyper = row[LD_IN], row[N_IN], doubles_at(row[HYPER])
    y, losses = pointer_at(data[Y], work), doubles_at(data[LOSSES])
    low, high, report = real(work, hyper[0]), real(work, hyper[1]), hyper[2]
    if n_out == 1:
        scores, targets, weights, values = local(work), local(work), local(work), local(work)
        for r in range(16):
            scores[r] = targets[r] = weights[r] = real(work, 0.0)
        for first in range(lo, lo + n, 16):
            rows = min(16, lo + n - first)
            for r in range(rows):
                scores[r], targets[r] = work[row[IN] + (first + r) * ld], y[sample(data, start + first + r)]
                weights[r] = real(work, doubles_at(data[SCALE])[0] * weight_of(data, start + first + r))
            apply_column(scores, targets, weights, scores, values, low, high, 16)
            for r in range(rows):
                scale = doubles_at(data[SCALE])[0] * weight_of(data, start + first + r)
                work[row[D_IN] + (first + r) * ld] = scores[r]
                losses[start - data[BASE] + first + r] = report * scale * values[r]
        return
    for i in range(lo, lo + n):
        scale = doubles_at(data[SCALE])[0] * weight_of(data, start + i)
        z, dz = offset(work, row[IN] + i * ld), offset(work, row[D_IN] + i * ld)
        total = apply(z, offset(y, sample(data, start + i) * n_out), dz, real(work, scale), low, high, n_out)
        losses[start - data[BASE] + i] = report * scale * total


@inner
def room_for_vectors(n_out, rows):
    """Whether a row of results may be written in whole vectors: `rows` of them, from it on, are this call's to write."""
    return rows * n_out >= (n_out + 15) // 16 * 16


def _linked(row, data, params, grads, work, start, lo, n):
    """Link of the scores of rows lo..lo+n into their rows of data[RESULT]; the scores may be overwritten."""
    ld, n_out, result = row[LD_IN], row[N_IN], pointer_at(data[RESULT], work)
    for i in range(lo, lo + n):
        z, target = offset(work, row[IN] + i * ld), offset(result, (start + i) * n_out)
        if room_for_vectors(n_out, lo + n - i):  # what stands behind the row is written by the next ones
            apply(z, target, n_out)
        else:
            apply(z, z, n_out)
            copy(z, target, n_out)


def _losses_from(name, gradient, link):
    """(kernel, link kernel) of an elementwise loss from its two functions of vectors."""
    gradient_op, link_op = row_op(2, 1, scalars=3, reduce="sum")(gradient), row_op(1, 1)(link)
    column_op = row_op(3, 2, scalars=2, whole=True)(gradient)
    return (
        kernel_from(_elementwise, f"{name}_gradient", op_signature, gradient, apply=gradient_op, apply_column=column_op),
        kernel_from(_linked, f"{name}_link", op_signature, link, apply=link_op),
    )


def _identity(z):
    return z


# ---------------------------------------------------------------- the losses


def _squared_error_gradient(z, y, scale, low, high):
    r = z - y
    return r * scale, 0.5 * r * r


@loss
class SquaredError(Loss):
    """Half the squared error, summed over the outputs: loss = 0.5 sum_j (z_j - y_j)^2; no link.

    Parameters
    ----------
    mean_over_outputs : bool, default=False
        Report the mean over the outputs instead of the sum. The gradient stays that of the sum: this is what
        scikit-learn's MLPRegressor reports and follows (scikit-learn issue 8349).
    """

    name = "squared_error"
    kernel, link = _losses_from("squared_error", _squared_error_gradient, _identity)

    def __init__(self, mean_over_outputs=False):
        self.mean_over_outputs = bool(mean_over_outputs)

    def hyper(self, n_out, dtype):
        return np.array([0.0, 0.0, 1.0 / n_out if self.mean_over_outputs else 1.0])


def _log_loss_gradient(z, y, scale, low, high):
    p, u = sigmoid_parts(z)
    return (p - y) * scale, maximum(z, 0.0) - z * y + log1p(u)


@loss
class LogLoss(Loss):
    """Binary cross-entropy of each output on its own (binary, multilabel), summed over the outputs; link sigmoid.

    loss = sum_j log(1 + exp(z_j)) - y_j z_j, targets between 0 and 1.
    """

    name = "log_loss"
    kernel, link = _losses_from("log_loss", _log_loss_gradient, sigmoid)

    def check_targets(self, y, n_out, dtype):
        flat = as_targets(y, n_out, dtype)
        if flat.min(initial=0) < 0 or flat.max(initial=0) > 1:
            raise ValueError(f"log_loss needs targets between 0 and 1, got {flat.min():g} to {flat.max():g}")
        return flat

    def metrics(self, predictions, y, sample_weight):
        right = ((predictions > 0.5) == (y.reshape(predictions.shape) > 0.5)).all(axis=1)
        return {"accuracy": float(np.average(right, weights=sample_weight))}


def _clipped_log_loss_gradient(z, y, scale, low, high):
    p, _ = sigmoid_parts(z)
    clipped = minimum(maximum(p, low), high)
    return (p - y) * scale, -log(where(y > 0.5, clipped, 1.0 - clipped))


class ClippedLogLoss(LogLoss):
    """`LogLoss` reported as scikit-learn's MLPClassifier does it: from probabilities clipped to [eps, 1 - eps].

    eps is the float type's. The gradient is that of `LogLoss`; the value loses digits where p is near 1, and L-BFGS
    follows them: taken from the scores instead, one trial step in its line search led to other weights (1e-5).
    """

    kernel = _losses_from("clipped_log_loss", _clipped_log_loss_gradient, sigmoid)[0]

    def hyper(self, n_out, dtype):
        eps = float(np.finfo(dtype).eps)
        return np.array([eps, 1 - eps, 1.0])


def _poisson_gradient(z, y, scale, low, high):
    p = exp(z)
    constant = where(y > 0.0, y * log(y), 0.0) - y
    return (p - y) * scale, constant - y * z + p


@loss
class Poisson(Loss):
    """Half the Poisson deviance, summed over the outputs; link exp.

    loss = sum_j y_j log(y_j) - y_j - y_j z_j + exp(z_j), targets >= 0.
    """

    name = "poisson"
    kernel, link = _losses_from("poisson", _poisson_gradient, exp)

    def check_targets(self, y, n_out, dtype):
        flat = as_targets(y, n_out, dtype)
        if flat.min(initial=0) < 0:
            raise ValueError(f"poisson needs targets >= 0, got {flat.min():g}")
        return flat


@row_op(1, 0, reduce="max")
def row_max(z):
    return z


@row_op(1, 1, scalars=1, reduce="sum")
def exp_minus(z, top):
    p = exp(z - top)
    return p, p


@row_op(1, 1, scalars=1)
def times(p, factor):
    return p * factor


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


@row_op(2, 1, whole=True)
def _product(a, b):
    return a * b


@inner
def exps_of_16(scores, n_out, turned, tops, totals):
    """turned[j, r] = exp(scores[r, j] - tops[r]) for 16 rows of at most 16 scores, tops their largest, totals the sums.

    One by one, rows of 2 or 10 scores leave most lanes of a vector empty and wait for their two reductions: 55 to 80 cycles
    a row against 25 so.
    """
    transpose_blocks(scores, turned, 16, 16, 16, 16)
    move(turned, tops, 16)
    _largest(turned, tops, tops, n_out)
    for r in range(16):
        totals[r] = real(scores, 0.0)
    _sum_of_exps(turned, tops, totals, n_out)


@inner
def scaled_back(turned, n_out, factors, rows):
    """rows[r, j] = turned[j, r] * factors[r] for j < n_out, 0 from there on; factors[16:32] hold zeros."""
    for j in range(16):
        _product(offset(turned, 16 * j), factors if j < n_out else offset(factors, 16), offset(turned, 16 * j), 16)
    transpose_blocks(turned, rows, 16, 16, 16, 16)


@inner
def narrow_gradient(row, data, work, start, lo, n):
    """`cross_entropy_gradient` for at most 16 scores."""
    n_out, hyper, scale = row[N_IN], doubles_at(row[HYPER]), doubles_at(data[SCALE])[0]
    low, high, losses = real(work, hyper[0]), real(work, hyper[1]), doubles_at(data[LOSSES])
    block, turned, tops, totals, margins, weights, factors = (
        local(work), local(work), local(work), local(work), local(work), local(work), local(work)
    )  # fmt: skip
    for r in range(256):
        block[r] = real(work, 0.0)
    for r in range(16):
        margins[r], weights[r], factors[16 + r] = real(work, 0.0), real(work, scale), real(work, 0.0)
    for first in range(lo, lo + n, 16):
        rows = min(16, lo + n - first)
        move(offset(work, row[IN] + first * 16), block, rows * 16)
        exps_of_16(block, n_out, turned, tops, totals)
        # Apart from the labels: one loop for both becomes gathers, which wait for what has just been stored (30 ns a row).
        if data[SAMPLE_WEIGHT]:
            for r in range(rows):
                weights[r] = real(work, scale * weight_of(data, start + first + r))
        for r in range(rows):
            label = integers_at(data[Y], sample(data, start + first + r))[0]
            margins[r] = block[r * 16 + label] - tops[r]
        _over(weights, totals, factors, 16)
        scaled_back(turned, n_out, factors, block)
        clipped_losses(totals, margins, margins, low, high, 16)
        move(block, offset(work, row[D_IN] + first * 16), rows * 16)
        for r in range(rows):
            position = start + first + r
            work[row[D_IN] + (first + r) * 16 + integers_at(data[Y], sample(data, position))[0]] -= weights[r]
            losses[position - data[BASE]] = scale * weight_of(data, position) * margins[r]


@inner
def wide_gradient(row, data, work, start, lo, n):
    """`cross_entropy_gradient` for any number of scores.

    The logarithms are taken of 16 rows at a time: one by one they took a third of the kernel.
    """
    ld, n_out, hyper, scale = row[LD_IN], row[N_IN], doubles_at(row[HYPER]), doubles_at(data[SCALE])[0]
    low, high = real(work, hyper[0]), real(work, hyper[1])
    losses, totals, margins = doubles_at(data[LOSSES]), local(work), local(work)
    for r in range(16):
        totals[r], margins[r] = real(work, 1.0), real(work, 0.0)
    for first in range(lo, lo + n, 16):
        rows = min(16, lo + n - first)
        for r in range(rows):
            i = first + r
            label = integers_at(data[Y], sample(data, start + i))[0]
            z, dz = offset(work, row[IN] + i * ld), offset(work, row[D_IN] + i * ld)
            top = row_max(z, n_out)
            margins[r], totals[r] = z[label] - top, exp_minus(z, dz, top, n_out)
            weight = real(work, scale * weight_of(data, start + i))
            times(dz, dz, weight / totals[r], n_out)
            dz[label] -= weight
        clipped_losses(totals, margins, margins, low, high, 16)
        for r in range(rows):
            losses[start - data[BASE] + first + r] = scale * weight_of(data, start + first + r) * margins[r]


@kernel(op_signature)
def cross_entropy_gradient(row, data, params, grads, work, start, lo, n):
    """(softmax - one-hot) * weight / sum of weights for rows lo..lo+n, and the rows' losses. Scores have stride LD_IN."""
    if row[LD_IN] == 16:
        narrow_gradient(row, data, work, start, lo, n)
    else:
        wide_gradient(row, data, work, start, lo, n)


@inner
def narrow_link(row, data, work, start, lo, n):
    """`softmax_link` for at most 16 scores."""
    n_out, result = row[N_IN], pointer_at(data[RESULT], work)
    block, turned, tops, totals, ones, factors = (
        local(work), local(work), local(work), local(work), local(work), local(work)
    )  # fmt: skip
    for r in range(256):
        block[r] = real(work, 0.0)
    for r in range(16):
        ones[r], factors[16 + r] = real(work, 1.0), real(work, 0.0)
    for first in range(lo, lo + n, 16):
        rows = min(16, lo + n - first)
        move(offset(work, row[IN] + first * 16), block, rows * 16)
        exps_of_16(block, n_out, turned, tops, totals)
        _over(ones, totals, factors, 16)
        scaled_back(turned, n_out, factors, block)
        for r in range(rows):
            target = offset(result, (start + first + r) * n_out)
            if room_for_vectors(n_out, lo + n - first - r):
                move(offset(block, r * 16), target, 16)
            else:
                copy(offset(block, r * 16), target, n_out)


@kernel(op_signature)
def softmax_link(row, data, params, grads, work, start, lo, n):
    """softmax of the scores of rows lo..lo+n into their rows of data[RESULT]; the scores may be overwritten."""
    if row[LD_IN] == 16:
        narrow_link(row, data, work, start, lo, n)
        return
    ld, n_out, result = row[LD_IN], row[N_IN], pointer_at(data[RESULT], work)
    for i in range(lo, lo + n):
        z, target = offset(work, row[IN] + i * ld), offset(result, (start + i) * n_out)
        total = exp_minus(z, z, row_max(z, n_out), n_out)
        if room_for_vectors(n_out, lo + n - i):
            times(z, target, real(work, 1.0) / total, n_out)
        else:
            times(z, z, real(work, 1.0) / total, n_out)
            copy(z, target, n_out)


# Raw scores, for every loss.
scores_link = kernel_from(_linked, "scores_link", op_signature, _identity, apply=row_op(1, 1)(_identity))


@loss
class CrossEntropy(Loss):
    """Categorical cross-entropy of class numbers, loss = log(sum_j exp(z_j)) - z_y; link softmax.

    Parameters
    ----------
    clip : bool, default=False
        Report it as if the probability were clipped to [eps, 1 - eps] of the float type, as scikit-learn does.
    """

    name, labels = "cross_entropy", True
    kernel, link = cross_entropy_gradient, softmax_link

    def __init__(self, clip=False):
        self.clip = bool(clip)

    def hyper(self, n_out, dtype):
        eps = float(np.finfo(dtype).eps)
        return np.array([-math.log1p(-eps), -math.log(eps)] if self.clip else [-math.inf, math.inf])

    def metrics(self, predictions, y, sample_weight):
        return {"accuracy": float(np.average(predictions.argmax(axis=1) == y, weights=sample_weight))}

    def check_targets(self, y, n_out, dtype):
        y = np.asarray(y)
        if y.ndim != 1 or y.dtype.kind not in "iufb" or (y.dtype.kind == "f" and not np.array_equal(y, np.floor(y))):
            raise ValueError(
                f"cross_entropy needs class numbers 0, 1, ... of shape (n,), got shape {y.shape}, dtype {y.dtype}; "
                "np.unique(y, return_inverse=True) makes numbers of labels"
            )
        if len(y) and (y.min() < 0 or y.max() >= n_out):
            raise ValueError(
                f"class numbers must be 0 to {n_out - 1} for a network with {n_out} outputs, got {y.min()} to {y.max()}"
            )
        return np.ascontiguousarray(y, np.int64)
