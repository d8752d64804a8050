"""Parameters of which a batch uses few rows, embeddings: what is done with a part is done with the rows that are used."""

from ._jit import inner, routine
from ._simd import integers_at
from .layers.base import OP, TOUCHED
from .parts import (
    FACTORS_BYTES,
    NORM,
    PRUNE,
    call_add,
    call_norm,
    call_update,
    used_signature,
)
from .tables import PART

_op_at, _part_at, _touched_at = OP.view, PART.view, TOUCHED.view


@routine(used_signature)
def used_rows(job, p, grads, action, decay):
    """PRUNE, NORM or UPDATE the rows of part p that the batch uses; returns the sum of squares, or the penalty."""
    part, total = _part_at(job.parts, p), 0.0
    touched, factors = _touched_at(_op_at(job.program, part.op).touched, 0), job.factors + p * FACTORS_BYTES
    count, stride, k = integers_at(touched.counts, part.first_unit)[0], part.n_params // part.units, job.zero
    while k < count:
        first, rows = run_of_rows(touched, part, k, count)
        first_param, n = part.first_param + first * stride, rows * stride
        if action == PRUNE:
            call_add(job.prune, grads, job.mask, first_param, n)
        elif action == NORM:
            total += call_norm(job.norm, grads, first_param, n)
        else:
            total += call_update(
                job.update, job.step_scalars, factors, job.params, grads, job.moments, job.n_params, first_param, n, decay
            )
        k += rows
    return total


@inner
def run_of_rows(touched, part, k, count):
    """(first row, rows) of those that follow each other from the k-th that is used on, counted within the part."""
    numbers, rows = integers_at(touched.numbers, part.first_unit), 1
    while k + rows < count and numbers[k + rows] == numbers[k] + rows:
        rows += 1
    return numbers[k] - part.first_unit, rows
