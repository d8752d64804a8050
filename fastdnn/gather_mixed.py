"""The kernel that gathers samples and mixes each with another one, see `mixing`."""

import functools
import math

from ._math import fma
from ._records import copy_record
from ._rows import row_op
from ._simd import caller, copy, doubles_at, integers_at, offset, real
from .gather import INPUT
from .layers.base import DATA, OP, op_kernel, op_signature

OP_SIZE, DATA_SIZE = OP.size, DATA.size
_call_gather = caller(functools.partial(op_signature, record=INPUT), 8)
_new_op, _new_data = INPUT.local, DATA.local


def mix_op(op, builder, shape, packed):
    """Make the input's op, as `input_op` has filled it in, that of samples that are mixed.

    shape : that of a sample as the first layer gets it     packed : whether its pixels stand side by side, without padding
    """
    if not op.forward:
        raise ValueError("mixup and cutmix need dense samples of numbers, got some that the first layer reads itself")
    op.gather, op.forward = op.forward, gather_mixed.address(builder.dtype)
    op.mixed = builder.new_rows(op.n_out)
    op.pixel_step = shape[-1] if packed else op.ld_out
    op.row_step = op.ld_out if packed else math.prod(shape[1:2]) * op.ld_out


@row_op(2, 1, scalars=2)
def _blend(x, other, share, rest):
    return fma(x, share, other * rest)


@op_kernel(INPUT)
def gather_mixed(op, data, params, grads, work, start, lo, n):
    """Samples order[start + lo], ..., each mixed with that at the same position of data.partners.

    shares[position] is that of the sample itself; where there is a box (top, bottom, left, right) the partner's pixels in it
    take the place of the sample's. Both are gathered by the kernel of the source; writes its own samples twice.
    """
    _call_gather(op.gather, op, data, params, grads, work, start, lo, n)
    other, those = _new_op(), _new_data()
    copy_record(op, other, OP_SIZE)
    copy_record(data, those, DATA_SIZE)
    other.y, those.order = op.mixed, data.partners
    _call_gather(op.gather, other, those, params, grads, work, start, lo, n)
    shares, ld, size = doubles_at(data.shares), op.ld_out, op.n_in * op.ld_out
    for i in range(lo, lo + n):
        x, y, box = offset(work, op.y + i * size), offset(work, op.mixed + i * size), integers_at(data.boxes, 4 * (start + i))
        if box[0] < 0:
            share = shares[start + i]
            for r in range(op.n_in):
                row = offset(x, r * ld)
                _blend(row, offset(y, r * ld), row, real(work, share), real(work, 1.0 - share), op.n_out)
        else:
            for r in range(box[0], box[1]):
                at = r * op.row_step + box[2] * op.pixel_step
                copy(offset(y, at), offset(x, at), (box[3] - box[2]) * op.pixel_step)
