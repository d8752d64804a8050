"""The second phase of a step, part by part of the parameters: gradient, norm, update, and what is derived from them."""

from ._jit import inner
from ._simd import caller, doubles_at, integers_at
from .calls import DATA_BYTES, GRADIENT, OP_SIZE, REFRESH, call_op, copy_bytes, run_units, shard
from .layers.base import DATA, OP, TOUCHED
from .optimizers.base import (
    CONTROL,
    FACTORS,
    add_signature,
    average_signature,
    norm_signature,
    update_signature,
)
from .tables import PART, SETTINGS

_data_at, _op_at, _touched_at = DATA.view, OP.view, TOUCHED.view
_part_at, _settings_at, _control_at = PART.view, SETTINGS.view, CONTROL.view

DERIVE, CORRECT = OP.derive, OP.correct
FACTORS_BYTES = 8 * FACTORS.size
_call_update = caller(update_signature, 9)
call_add = caller(add_signature, 4)
_call_norm = caller(norm_signature, 3)
call_average = caller(average_signature, 5)


@inner
def part_gradient(job, part, share):
    """The gradient of one part, over all shards; returns the address of the array that holds it."""
    scratch = job.scratch + share * 2 * job.scratch_bytes - part.first_param * job.itemsize
    grads = job.grads if job.grads else scratch + job.scratch_bytes
    if _op_at(job.program, part.op).touched and job.n_shards:
        return touched_gradient(job, part, job.program, job.work, grads)
    if _op_at(job.program, part.op).gradient:
        for s in range(job.n_shards):
            if shard(job, s).rows > 0:
                more = s > 0 or job.start > job.begin
                source = job.own_grads + s * job.own if job.own else scratch
                if not job.own:
                    target, data = scratch if more else grads, job.data + s * DATA_BYTES
                    run_units(job, GRADIENT, part.op, data, target, job.start, part.first_unit, part.units)
                if more:
                    call_add(job.add, grads, source, part.first_param, part.n_params)
                elif source != grads and job.own:
                    at = part.first_param * job.itemsize
                    copy_bytes(source + at, grads + at, part.n_params * job.itemsize)
    return grads


@inner
def touched_gradient(job, part, program, work, grads):
    """The gradient of one part of a matrix of which a batch uses few rows, of all samples at once; the others get none."""
    kernel, data = integers_at(program, part.op * OP_SIZE)[GRADIENT], job.data + job.n_shards * DATA_BYTES
    if kernel:
        op = _op_at(program, part.op)
        call_op(kernel, op, _data_at(data, 0), job.params, grads, work, job.start, part.first_unit, part.units)
    return grads


@inner
def prune_part(job, part, grads):
    """Set the gradient of what is pruned to 0: what is 0 then stays so, as padding does, whatever the optimizer."""
    at = rows_touched(job, part)
    first, n, k = part.first_param, part.n_params, 0
    if at:
        first, n, k = run_touched(job, part, at, k)
    while first >= 0:
        call_add(job.prune, grads, job.mask, first, n)
        first = -1
        if at:
            first, n, k = run_touched(job, part, at, k)


@inner
def rows_touched(job, part):
    """The `TOUCHED` of a part's op: what is done with the part is done with the rows that are used; 0 if with all of it."""
    return _op_at(job.program, part.op).touched if job.n_shards and job.update else 0


@inner
def run_touched(job, part, at, k):
    """(first parameter, parameters, the k that comes next) of the rows that follow each other from the k-th on; none: -1."""
    touched, stride = _touched_at(at, 0), part.n_params // part.units
    count, numbers = integers_at(touched.counts, part.first_unit)[0], integers_at(touched.numbers, part.first_unit)
    if k >= count:
        return -1, 0, k
    rows = 1
    while k + rows < count and numbers[k + rows] == numbers[k] + rows:
        rows += 1
    return part.first_param + (numbers[k] - part.first_unit) * stride, rows * stride, k + rows


@inner
def part_norm(job, part, grads):
    """Sum of the squares of the gradient of one part."""
    at = rows_touched(job, part)
    if at == 0:
        return _call_norm(job.norm, grads, part.first_param, part.n_params)
    total = 0.0
    first, n, k = run_touched(job, part, at, 0)
    while first >= 0:
        total += _call_norm(job.norm, grads, first, n)
        first, n, k = run_touched(job, part, at, k)
    return total


@inner
def update_rows(job, part, factors, grads, decay):
    """Update a part, or the rows of it that the batch uses; returns its penalty, before the update."""
    at = rows_touched(job, part)
    first, n, k, total = part.first_param, part.n_params, 0, 0.0
    if at:
        first, n, k = run_touched(job, part, at, k)
    while first >= 0:
        total += _call_update(
            job.update, job.step_scalars, factors, job.params, grads, job.moments, job.n_params, first, n, decay
        )
        first = -1
        if at:
            first, n, k = run_touched(job, part, at, k)
    return total


@inner
def refresh_part(job, part, iterations):
    """What is derived from the parameters of a part; a norm that its op is divided by, after so many more iterations."""
    run_units(job, REFRESH, part.op, 0, 0, 0, part.first_unit, part.units)
    find_norm(job, part.op, iterations)


@inner
def find_norm(job, o, iterations):
    """The norm that op o, a product, is divided by, if it is."""
    spectral = _op_at(job.program, o).spectral
    if spectral:
        kernel = integers_at(job.program, spectral * OP_SIZE)[DERIVE]
        call_op(kernel, _op_at(job.program, spectral), _data_at(job.data, 0), job.params, 0, job.work, 0, 0, iterations)


@inner
def correct_part(job, part, grads):
    """The gradient of a kernel that is divided by its norm, from that of the quotient, once it is that of a whole batch."""
    spectral = _op_at(job.program, part.op).spectral
    last = job.start + job.rows == min(job.n, job.begin + job.batch)
    if spectral and last and job.n_shards and _op_at(job.program, part.op).gradient:
        kernel = integers_at(job.program, spectral * OP_SIZE)[CORRECT]
        call_op(kernel, _op_at(job.program, spectral), _data_at(job.data, 0), job.params, grads, job.work, 0, 0, 0)


@inner
def part_update(job, p, grads):
    """Update part p and refresh what is derived from it; returns its penalty, before the update."""
    part, factors = _part_at(job.parts, p), job.factors + p * FACTORS_BYTES
    if not _op_at(job.program, part.op).gradient:  # an op without a gradient is frozen
        return 0.0
    decay = _settings_at(job.settings, 0).decay * part.decays + doubles_at(factors)[0]
    penalty = update_rows(job, part, factors, grads, decay)
    if job.averaged and not job.n_limits:
        decay = _control_at(job.control, 0).average_decay
        call_average(job.average, job.averaged, job.params, part.first_param, part.n_params, decay)
    refresh_part(job, part, 1)
    return penalty
