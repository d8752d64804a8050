"""What a loss is: a link and a gradient, fused, computed from the raw scores.

A loss of scores z and targets y has a link p (softmax, sigmoid, exp, none) for predictions, and a kernel that writes for
each row the gradient of the batch's loss with respect to z and the row's share of that loss. The batch's loss is the
mean over its rows, weighted by the sample weights: sum(w_i loss_i) / sum(w_i).

To add one whose value is a sum over the outputs, write a class with two functions of vectors (see `_math` and `_simd` for
what may be done with them), here or in your own file; its kernels are compiled on first use and kept on disk:

    class Cauchy(Loss):
        "log(1 + (z - y)^2)"

        def pointwise(z, y, a, b):
            r = z - y
            return 2.0 * r / (1.0 + r * r), log(1.0 + r * r)  # the derivative with respect to z, and the value
"""

import functools

import numpy as np

from .._jit import inner, kernel_from
from .._rows import row_op
from .._simd import caller, copy, doubles_at, local, offset, pointer_at, real
from ..inputs import as_numbers
from ..layers.base import fields, op_kernel, op_signature, sample
from ..layers.masks import step_counts
from ..specs import Spec

# Addresses of the constants of `pointwise` and the factor of the reported loss, and of the constants of the outputs; where
# rows are steps that a mask leaves out, `leave_out_masked`; whether they are steps at all, not samples.
LOSS = fields("constants", "of_outputs", "masked", "by_steps")

LOSSES_TABLE = {}  # name -> class


class Loss(Spec):
    """Base of the losses; a subclass with a function `pointwise` gets its kernels from it.

    Attributes
    ----------
    name : str
        Its name, by default that of the class.
    labels : bool
        Whether targets may be class numbers (n,).
    signed_weights : bool
        Whether sample weights may be negative: they then multiply the targets, and the loss is the mean over the samples.
    adds_up : bool
        Whether layers may add terms of their own to it.
    metrics_are_means : bool
        Whether what `metrics` gives are means over the samples.
    kernel : Kernel
        Op kernel writing the gradient of the scores to op.dx and row losses to data.losses. Made from
        `pointwise(z, y, a, b)` -> (gradient, value), functions of vectors; with `per_output` it gets a third constant, one
        of each output.
    link : Kernel
        Op kernel writing predictions to data.result, (n, n_out) without padding. Made from `inverse(z)` where the class has
        that function; otherwise the scores are the predictions.
    """

    name = "loss"
    labels = False
    signed_weights = False
    adds_up = True
    metrics_are_means = False
    per_output = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        if "pointwise" in vars(cls):
            cls.kernel = _gradient_kernel(cls.name, cls.pointwise, cls.per_output)
        if "inverse" in vars(cls):
            link = row_op(1, 1)(cls.inverse)
            cls.link = kernel_from(_linked, f"{cls.name}_link", op_signature, cls.inverse, apply=link)

    def constants(self, dtype):
        """Numbers a and b of `pointwise`."""
        return 0.0, 0.0

    def n_scores(self, n_targets):
        """Outputs that a network needs for so many targets."""
        return n_targets

    def report(self, n_out):
        """Factor of the reported loss, not of its gradient."""
        return 1.0

    def output_constants(self, n_out):
        """The constant of each output, (n_out,), where `per_output` is set."""
        return np.zeros(n_out)

    def hyper(self, n_out, dtype):
        """Numbers for the kernel, float64: a, b and the factor of the reported loss."""
        return np.array([*self.constants(dtype), self.report(n_out)])

    def kernel_for(self, targets, n_out):
        """The `Kernel` for targets as `check_targets` made them, and so many scores."""
        return self.kernel

    def link_for(self, n_out):
        """Kernel that makes predictions of n_out scores; most losses have one for all."""
        return self.link

    def check_targets(self, y, n_out, dtype):
        """Targets as the kernel reads them; ValueError if they do not fit. See `as_targets`."""
        return as_targets(y, n_out, dtype)

    def metric_names(self):
        """Names of the figures that `metrics` gives."""
        return ["r2"]

    def metrics(self, predictions, y, sample_weight):
        """dict of figures that users look at beside the loss, from what `Model.predict` gave."""
        from sklearn.metrics import r2_score

        y = np.asarray(y, float).reshape(len(predictions), -1)
        if not np.isfinite(predictions).all() or y.shape != predictions.shape:
            return {"r2": float("nan")} if y.shape == predictions.shape else {}
        with np.errstate(over="ignore"):  # -inf is an answer
            return {"r2": float(r2_score(y, predictions, sample_weight=sample_weight))}


def mean_of(right, predictions, sample_weight):
    """Mean of what is right, by the samples' weights; NaN if a prediction is not finite."""
    if not np.isfinite(predictions).all():
        return float("nan")
    return float(np.average(right, weights=sample_weight))


def as_targets(y, n_out, dtype, name="y"):
    """y as a flat float array, row after row, with a vector's room behind it (kernels read whole vectors)."""
    y = as_numbers(y, name, np.float64 if np.asarray(y).dtype != dtype else dtype)
    if y.shape != (len(y), n_out) and not (n_out == 1 and y.ndim == 1):
        wanted = "(n,) or (n, 1)" if n_out == 1 else f"(n, {n_out})"
        raise ValueError(f"{name} must have shape {wanted} for a network with {n_out} outputs, got {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError(f"{name} contains NaN or infinity; remove those rows or replace the values")
    largest = np.abs(y).max(initial=0)
    if largest > np.finfo(dtype).max:
        raise ValueError(f"{name} contains values too large for {np.dtype(dtype).name}; scale {name} or use float64 samples")
    flat = np.zeros(y.size + 64, dtype)
    flat[: y.size] = y.reshape(-1)
    return flat


def within(flat, low, high, name, wanted):
    """The targets themselves if all are in [low, high]; otherwise ValueError."""
    if flat.min(initial=low) < low or flat.max(initial=low) > high:
        raise ValueError(f"{name} needs targets {wanted}, got {flat.min():g} to {flat.max():g}")
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
def scale_of(op, data):
    """What a row's weight is multiplied by: 1 / (sum of the weights of the batch), shared by the rows of a sample.

    With a mask that sum is one over rows.
    """
    if op.masked:
        return doubles_at(data.scale)[0]
    return doubles_at(data.scale)[0] / (data.steps if data.steps else op.sample_rows)


@inner
def weight_of(op, data, position):
    """Weight of the row at `position` of the order, rows counted: that of its sample."""
    if not data.sample_weight:
        return 1.0
    return doubles_at(data.sample_weight)[sample(data, position if op.sample_rows == 1 else position // op.sample_rows)]


@inner
def target_of(op, data, position):
    """Number of the target of the row at `position` of the order, rows counted."""
    if op.by_steps == 0:
        return sample(data, position)
    rows = op.sample_rows
    if data.steps:
        return sample(data, position // rows) * data.steps + data.first_step + position % rows
    return sample(data, position // rows) * rows + position % rows


@inner
def loss_at(op, data, position):
    """Where the loss of the row at `position` stands in data.losses."""
    return position - data.base * op.sample_rows


@op_kernel(LOSS)
def leave_out_masked(op, data, params, grads, work, start, lo, n):
    """No gradient and no loss in the rows that a mask leaves out, whatever padding gives: it may be infinite.

    Kernels of losses call it, last of all, where `op.masked` is its address: few networks compile it.
    """
    losses = doubles_at(data.losses)
    for i in range(lo, lo + n):
        if not step_counts(data, start + i, op.sample_rows):
            losses[loss_at(op, data, start + i)] = 0.0
            for j in range(op.ld_in):
                work[op.dx + i * op.ld_in + j] = real(work, 0.0)


call_masked = caller(functools.partial(op_signature, record=LOSS), 8)


def _elementwise(op, data, params, grads, work, start, lo, n):
    """Gradient of the scores and loss of rows lo..lo+n, by one pass of the loss's row_op; writes its own rows.

    Scores and their gradient have stride ld_in, targets n_out; of_outputs is (n_out,), one of each output; losses are
    float64. A single output is taken from 16 samples at a time: one by one it is a sixteenth of a vector, and 22 ns a
    sample against 5.
    """
    ld, n_out, hyper = op.ld_in, op.n_in, doubles_at(op.constants)
    y, losses = pointer_at(data.y, work), doubles_at(data.losses)
    a, b, report = real(work, hyper[0]), real(work, hyper[1]), hyper[2]
    constants, share = pointer_at(op.of_outputs, work), scale_of(op, data)
    if n_out == 1:
        scores, targets, same, weights, values = local(work), local(work), local(work), local(work), local(work)
        for r in range(16):
            scores[r] = targets[r] = weights[r] = real(work, 0.0)
            same[r] = constants[0]
        for first in range(lo, lo + n, 16):
            rows = min(16, lo + n - first)
            for r in range(rows):
                scores[r], targets[r] = work[op.x + (first + r) * ld], y[target_of(op, data, start + first + r)]
                weights[r] = real(work, share * weight_of(op, data, start + first + r))
            apply_column(scores, targets, same, weights, scores, values, a, b, 16)
            for r in range(rows):
                scale = share * weight_of(op, data, start + first + r)
                work[op.dx + (first + r) * ld] = scores[r]
                losses[loss_at(op, data, start + first + r)] = report * scale * values[r]
        if op.masked:
            call_masked(op.masked, op, data, params, grads, work, start, lo, n)
        return
    for i in range(lo, lo + n):
        scale = share * weight_of(op, data, start + i)
        z, dz = offset(work, op.x + i * ld), offset(work, op.dx + i * ld)
        target = offset(y, target_of(op, data, start + i) * n_out)
        total = apply(z, target, constants, dz, real(work, scale), a, b, n_out)
        losses[loss_at(op, data, start + i)] = report * scale * total
    if op.masked:
        call_masked(op.masked, op, data, params, grads, work, start, lo, n)


def _gradient_kernel(name, pointwise, per_output):
    """The kernel of a loss that is a sum over the outputs."""

    def body(z, y, c, scale, a, b):
        gradient, value = pointwise(z, y, a, b, c) if per_output else pointwise(z, y, a, b)
        return gradient * scale, value

    body.__name__ = f"{name}_row"
    row, column = row_op(3, 1, scalars=3, reduce="sum")(body), row_op(4, 2, scalars=2, whole=True)(body)
    return kernel_from(
        _elementwise,
        f"{name}_gradient",
        functools.partial(op_signature, record=LOSS),
        pointwise,
        apply=row,
        apply_column=column,
    )


@inner
def room_for_vectors(n_out, rows):
    """Whether a row of results may be written in whole vectors: `rows` of them, from it on, are this call's to write."""
    return rows * n_out >= (n_out + 15) // 16 * 16


def _linked(op, data, params, grads, work, start, lo, n):
    """Link of the scores of rows lo..lo+n into their rows of data.result; the scores may be overwritten."""
    ld, n_out, result = op.ld_in, op.n_in, pointer_at(data.result, work)
    for i in range(lo, lo + n):
        z, target = offset(work, op.x + i * ld), offset(result, (start + i) * n_out)
        if room_for_vectors(n_out, lo + n - i):  # what stands behind the row is written by the next ones
            apply(z, target, n_out)
        else:
            apply(z, z, n_out)
            copy(z, target, n_out)


@op_kernel(LOSS)
def given_gradient(op, data, params, grads, work, start, lo, n):
    """The targets of rows lo..lo+n as the gradient of their scores, and losses of 0."""
    n_out, y, losses = op.n_in, pointer_at(data.y, work), doubles_at(data.losses)
    for i in range(lo, lo + n):
        copy(offset(y, target_of(op, data, start + i) * n_out), offset(work, op.dx + i * op.ld_in), n_out)
        losses[loss_at(op, data, start + i)] = 0.0


class GivenGradient(Loss):
    """What stands in for a loss where the gradient of the scores is known: it comes as the targets."""

    name, kernel, adds_up = "given_gradient", given_gradient, False

    def check_targets(self, y, n_out, dtype):
        return as_targets(y, n_out, dtype, "dscores")


def _identity(z):
    return z


# Raw scores, for every loss.
scores_link = kernel_from(_linked, "scores_link", op_signature, _identity, apply=row_op(1, 1)(_identity))
Loss.link = scores_link
