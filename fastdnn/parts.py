"""The second phase of a step, part by part of the parameters: gradient, norm, update, and what is derived from them."""

from numba import types

from ._jit import inner
from ._simd import caller, doubles_at
from .calls import DATA_BYTES, GRADIENT, REFRESH, copy_bytes, run_units, shard
from .layers.base import OP
from .optimizers.base import (
    CONTROL,
    FACTORS,
    add_signature,
    average_signature,
    norm_signature,
    update_signature,
)
from .tables import PART, SETTINGS, TRAIN

_op_at, _part_at, _settings_at, _control_at = OP.view, PART.view, SETTINGS.view, CONTROL.view

FACTORS_BYTES = 8 * FACTORS.size
PRUNE, NORM, UPDATE = range(3)  # what is done with the rows that a batch uses
call_update, call_add = caller(update_signature, 9), caller(add_signature, 4)
call_norm, call_average = caller(norm_signature, 3), caller(average_signature, 5)

# Routines of `few_rows` and `spectral`, which a training without such layers does not compile; their addresses are 0 then.
# (job, part, grads, what is done, penalty on squares) -> sum of squares, or penalty
used_signature = types.float64(TRAIN.type, types.intp, types.int64, types.intp, types.float64)
norm_of_signature = types.void(TRAIN.type, types.intp, types.intp)  # (job, op, more iterations)
correct_signature = types.void(TRAIN.type, types.intp, types.int64)  # (job, part, grads)
call_used, call_norm_of = caller(lambda _: used_signature, 5), caller(lambda _: norm_of_signature, 3)
call_correct = caller(lambda _: correct_signature, 3)


@inner
def part_gradient(job, part, share):
    """The gradient of one part, over all shards; returns the address of the array that holds it."""
    scratch = job.scratch + share * 2 * job.scratch_bytes - part.first_param * job.itemsize
    grads, gradient = job.grads if job.grads else scratch + job.scratch_bytes, job.zero + GRADIENT
    if _op_at(job.program, part.op).touched and job.n_shards:
        # Of all samples at once: each looks for the rows that it uses.
        data = job.data + job.n_shards * DATA_BYTES
        run_units(job, gradient, part.op, data, grads, job.start, part.first_unit, part.units)
    elif _op_at(job.program, part.op).gradient:
        for s in range(job.n_shards):
            if shard(job, s).rows > 0:
                more = s > 0 or job.start > job.begin
                source = job.own_grads + s * job.own if job.own else scratch
                if not job.own:
                    target, data = scratch if more else grads, job.data + s * DATA_BYTES
                    run_units(job, gradient, part.op, data, target, job.start, part.first_unit, part.units)
                if more:
                    call_add(job.add, grads, source, part.first_param, part.n_params)
                elif source != grads and job.own:
                    at = part.first_param * job.itemsize
                    copy_bytes(source + at, grads + at, part.n_params * job.itemsize)
    return grads


@inner
def prune_part(job, p, grads):
    """Set the gradient of what is pruned to 0: what is 0 then stays so, as padding does, whatever the optimizer."""
    part = _part_at(job.parts, p)
    if job.used_rows and _op_at(job.program, part.op).touched:
        call_used(job.used_rows, job, p, grads, job.zero + PRUNE, 0.0)
    else:
        call_add(job.prune, grads, job.mask, part.first_param, part.n_params)


@inner
def part_norm(job, p, grads):
    """Sum of the squares of the gradient of one part."""
    part = _part_at(job.parts, p)
    if job.used_rows and _op_at(job.program, part.op).touched:
        return call_used(job.used_rows, job, p, grads, job.zero + NORM, 0.0)
    return call_norm(job.norm, grads, part.first_param, part.n_params)


@inner
def refresh_part(job, part, iterations):
    """What is derived from the parameters of a part; a norm that its op is divided by, after so many more iterations."""
    none = job.zero
    run_units(job, none + REFRESH, part.op, none, none, none, part.first_unit, part.units)
    if job.find_norm:
        call_norm_of(job.find_norm, job, part.op, iterations)


@inner
def part_update(job, p, grads):
    """Update part p and refresh what is derived from it; returns its penalty, before the update."""
    part, factors = _part_at(job.parts, p), job.factors + p * FACTORS_BYTES
    if not _op_at(job.program, part.op).gradient:  # an op without a gradient is frozen
        return 0.0
    decay = _settings_at(job.settings, 0).decay * part.decays + doubles_at(factors)[0]
    if job.used_rows and _op_at(job.program, part.op).touched:
        penalty = call_used(job.used_rows, job, p, grads, job.zero + UPDATE, decay)
    else:
        penalty = call_update(
            job.update, job.step_scalars, factors, job.params, grads, job.moments, job.n_params, part.first_param,
            part.n_params, decay,
        )  # fmt: skip
    if job.averaged and not job.n_limits:
        keep = _control_at(job.control, 0).average_decay
        call_average(job.average, job.averaged, job.params, part.first_param, part.n_params, keep)
    refresh_part(job, part, job.zero + 1)
    return penalty
