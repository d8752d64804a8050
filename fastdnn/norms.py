"""What some trainings do with norms between the engine's phases: clip or skip gradients, shorten columns of weights."""

import math

from ._jit import routine
from ._simd import caller, doubles_at
from .calls import REFRESH, run_units
from .engine import share_signature
from .optimizers.base import CONTROL, SCALARS, limit_signature
from .parts import call_average, call_norm_of
from .tables import LIMIT, PART

_part_at, _limit_at, _control_at, _scalars_at = PART.view, LIMIT.view, CONTROL.view, SCALARS.view
_call_limit = caller(limit_signature, 6)


@routine(share_signature)
def limit_norms(job, _):
    """Shorten the columns of the matrices that have a largest norm; the average, if there is one, takes what is left."""
    norms = doubles_at(job.most)
    for k in range(job.n_limits):
        limit = _limit_at(job.limits, k)
        _call_limit(job.limit, job.params, limit.first_param, limit.rows, limit.columns, limit.stride, norms[k])
        run_units(job, REFRESH, limit.op, 0, 0, 0, 0, limit.rows)
        if job.find_norm:
            call_norm_of(job.find_norm, job, limit.op, job.zero)
    if job.averaged:
        for p in range(job.n_parts):
            part = _part_at(job.parts, p)
            decay = _control_at(job.control, 0).average_decay
            call_average(job.average, job.averaged, job.params, part.first_param, part.n_params, decay)


@routine(share_signature)
def judge_norm(job, _):
    """Take note of the norm of the gradient, scale that if it is too large; job.fine is 0 if the norm is not finite."""
    total, control, squares = 0.0, _control_at(job.control, 0), doubles_at(job.squares)
    for p in range(job.n_parts):
        total += squares[p]
    norm = math.sqrt(total)
    if control.clip_norm > 0.0 and norm > control.clip_norm:
        _scalars_at(job.step_scalars, 0).gradient_scale = control.clip_norm / norm
    if job.skip_nonfinite and not math.isfinite(norm):
        job.fine = 0
    else:
        control.norms += 1.0
        control.norm_sum += norm
