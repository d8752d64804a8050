"""Kernels that are divided by their norm: the engine's part of it. The layer's is `layers.spectral_norm`."""

from ._jit import routine
from ._simd import integers_at
from .calls import OP_SIZE, call_op
from .layers.base import DATA, OP
from .parts import correct_signature, norm_of_signature
from .tables import PART

_data_at, _op_at, _part_at = DATA.view, OP.view, PART.view
DERIVE, CORRECT, GRADIENT = OP.derive, OP.correct, OP.gradient


@routine(norm_of_signature)
def find_norm(job, o, iterations):
    """The norm that op o, a product, is divided by, if it is, after so many more iterations."""
    spectral = _op_at(job.program, o).spectral
    if spectral:
        kernel = integers_at(job.program, spectral * OP_SIZE)[DERIVE]
        call_op(kernel, _op_at(job.program, spectral), _data_at(job.data, 0), job.params, 0, job.work, 0, 0, iterations)


@routine(correct_signature)
def correct_gradient(job, p, grads):
    """The gradient of a kernel that is divided by its norm, from that of the quotient, once it is that of a whole batch."""
    op = _op_at(job.program, _part_at(job.parts, p).op)
    last = job.start + job.rows == min(job.n, job.begin + job.batch)
    if op.spectral and last and job.n_shards and op.gradient:
        kernel = integers_at(job.program, op.spectral * OP_SIZE)[CORRECT]
        call_op(kernel, _op_at(job.program, op.spectral), _data_at(job.data, 0), job.params, grads, job.work, 0, 0, 0)
