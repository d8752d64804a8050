"""The loss of policies that learn from what their actions have brought."""

import math

import numpy as np

from .._rows import row_op
from .._simd import doubles_at, offset, pointer_at, real, where
from ..inputs import as_numbers
from ..layers.activations import exp_minus, row_max
from ..layers.base import op_kernel
from ..specs import check_number
from .base import LOSS, Loss, as_targets, call_masked, loss, loss_at, scale_of, target_of, weight_of
from .cross_entropy import as_classes, narrow_link, one_hot, softmax_link

SHUT = -1e30  # score of an action that there is not: its probability is 0, and nothing is infinite


@row_op(2, 1)
def _open(z, advantage):
    return where(advantage.equals(advantage), z, SHUT)


@row_op(1, 0, reduce="sum")
def _total(advantage):
    return where(advantage.equals(advantage), advantage, 0.0)


@row_op(3, 0, scalars=1, reduce="sum")
def _gain(z, advantage, _, level):
    return where(advantage.equals(advantage), advantage * (z - level), 0.0)


@row_op(3, 0, scalars=1, reduce="sum")
def _minus_entropy(z, advantage, e, level):
    return where(advantage.equals(advantage), e * (z - level), 0.0)


@row_op(3, 1, scalars=6)
def _slope(z, advantage, e, level, inverse, mass, bonus, entropy, weight):
    slope = e * inverse * (mass + bonus * (z - level + entropy)) - advantage
    return where(advantage.equals(advantage), slope * weight, 0.0)


@op_kernel(LOSS)
def policy_gradient_gradient(op, data, params, grads, work, start, lo, n):
    """Gradient and loss of rows lo..lo+n for advantages a (n, n_out), NaN where an action is not to be had.

    dz_j = p_j (sum a + b (log p_j + H)) - a_j, p the softmax over what is to be had, H its entropy, b the bonus.
    """
    ld, n_out, scale, bonus = op.ld_in, op.n_in, scale_of(op, data), doubles_at(op.constants)[0]
    targets, losses = pointer_at(data.y, work), doubles_at(data.losses)
    for i in range(lo, lo + n):
        weight = scale * weight_of(op, data, start + i)
        z, dz = offset(work, op.x + i * ld), offset(work, op.dx + i * ld)
        a = offset(targets, target_of(op, data, start + i) * n_out)
        _open(z, a, dz, n_out)
        top = row_max(dz, n_out)
        total = exp_minus(dz, dz, top, n_out)
        level = top + real(work, math.log(total))
        mass, gain = _total(a, n_out), _gain(z, a, dz, level, n_out)
        entropy = -_minus_entropy(z, a, dz, level, n_out) / total
        inverse = real(work, 1.0) / total
        losses[loss_at(op, data, start + i)] = -weight * (gain + bonus * entropy)
        _slope(z, a, dz, dz, level, inverse, mass, real(work, bonus), entropy, real(work, weight), n_out)
    if op.masked:
        call_masked(op.masked, op, data, params, grads, work, start, lo, n)


@loss
class PolicyGradient(Loss):
    """Minus the log-probabilities of actions times their advantages, minus a bonus for entropy; link softmax.

    loss = -sum_j a_j log p_j - entropy H(p), p = softmax(z). What an action has brought beyond what was expected is its
    advantage; where that is negative, the action becomes less likely. With advantages >= 0 that add up to 1, the policy
    follows another one (a search's, say).

    Parameters
    ----------
    entropy : float, default=0.0
        Weight of the entropy, >= 0: how much an undecided policy is preferred.

    Notes
    -----
    Targets are advantages (n, n_out): 0 for what was not done, NaN for what cannot be done, which then has the probability 0
    in loss and gradient (`predict` does not know of it). Or they are numbers of actions (n,), and their advantages come as
    `sample_weight`: with this loss alone it may be negative, and it is not divided by its sum: the loss is the mean over the
    n samples.

    References
    ----------
    Williams, R. (1992). Simple statistical gradient-following algorithms for connectionist reinforcement learning.
    Mnih, V. et al. (2016). Asynchronous methods for deep reinforcement learning (the entropy). arXiv:1602.01783.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> policy = Model([layers.Dense(2)], loss=losses.PolicyGradient(), dtype="float64").build(1)
    >>> policy.params = 0 * policy.params
    >>> loss, _ = policy.loss_and_grad([[1.0]], [1], sample_weight=[-3.0])  # the second action was a bad one
    >>> policy.gradients["0.dense.bias"]
    array([-1.5,  1.5])
    """

    name, kernel, link = "policy_gradient", policy_gradient_gradient, softmax_link
    labels = signed_weights = True

    def __init__(self, entropy=0.0):
        self.entropy = check_number("entropy", entropy, "[0, inf)")

    def constants(self, dtype):
        return self.entropy, 0.0

    def link_for(self, n_out):
        return narrow_link if n_out <= 16 else self.link

    def check_targets(self, y, n_out, dtype):
        y = np.asarray(y)
        if y.ndim != 2:
            return as_targets(one_hot(as_classes(y, n_out, self.name), n_out), n_out, dtype)
        y = as_numbers(y, "y", np.float64 if y.dtype != dtype else dtype)
        shut = np.isnan(y)
        if shut.all(axis=1).any():
            row = np.flatnonzero(shut.all(axis=1))[0]
            raise ValueError(f"y has no action in row {row}: all its advantages are NaN; leave such rows out")
        flat = as_targets(np.where(shut, 0, y), n_out, dtype)
        flat[: y.size][shut.ravel()] = np.nan
        return flat

    def metric_names(self):
        return []

    def metrics(self, predictions, y, sample_weight):
        return {}
