"""Calls of the kernels of ops, for samples and for units of parameters, through the addresses in a program."""

from ._jit import inner
from ._simd import caller, copy, integers_at
from .layers.base import DATA, OP, op_signature

_data_at, _op_at = DATA.view, OP.view

# Numba takes numbers from globals, not from the attributes of objects.
FORWARD, BACKWARD, GRADIENT, REFRESH, OP_SIZE = OP.forward, OP.backward, OP.gradient, OP.refresh, OP.size
DATA_BYTES = 8 * DATA.size
call_op = caller(op_signature, 8)


@inner
def run(job, kind, o, data, work, start, lo, n):
    """Call kernel `kind` (FORWARD, ...) of op o, if it has one, for samples lo..lo+n; data and work are addresses."""
    kernel = integers_at(job.program, o * OP_SIZE)[kind]
    if kernel:
        op = _op_at(job.program, o)
        rows = op.sample_rows
        call_op(kernel, op, _data_at(data, 0), job.params, 0, work, start * rows, lo * rows, n * rows)


@inner
def copy_bytes(source, target, n):
    """n bytes, a multiple of 8, from one address to another."""
    copy(integers_at(source, 0), integers_at(target, 0), n // 8)


@inner
def run_units(job, kind, o, data, grads, start, lo, n):
    """Call GRADIENT or REFRESH of op o, if it has one, for units lo..lo+n of its parameters; data and grads are addresses."""
    kernel = integers_at(job.program, o * OP_SIZE)[kind]
    if kernel:
        call_op(kernel, _op_at(job.program, o), _data_at(data, 0), job.params, grads, job.work, start, lo, n)


@inner
def shard(job, s):
    """Table `DATA` of shard s."""
    return _data_at(job.data, s)


@inner
def is_late(job, o):
    """Whether the gradient of op o is that of all rows at once, after all shards."""
    op = _op_at(job.program, o)
    return job.by_shards and job.n_shards > 0 and (op.touched != 0 or (o >= job.whole and op.plain != 0))
