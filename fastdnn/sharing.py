"""How threads divide the work on one sample: by columns of a product, by rows of pixels, by rows of windows.

A share is an op of its own, a copy of the whole one's row of the program in which the places where it reads and writes, its
sizes and its scratch are the share's. Each number is computed as by the whole op, so the bits are the same.
"""

import numpy as np

from .frozen.narrow_kernels import NARROW, pairs_forward, pairs_of_images, quads_forward, quads_of_images
from .layers.base import OP
from .layers.conv import conv_forward
from .layers.conv_products import CONV
from .layers.dense import DENSE, dense_forward
from .layers.depthwise import DEPTHWISE, depthwise_forward
from .layers.elementwise import activation_forward
from .layers.pool_windows import POOL, avg_pool_forward, max_pool_infer

COLUMNS = 32  # of a product: a share's are a multiple of them, the width of the widest tile
LEAST_BYTES = 8192  # of the weights of a product of one row: less is done before another thread has heard of it


def bounds(n, unit, shares):
    """Where the shares of n begin and end, multiples of `unit` but for the last."""
    blocks = -(-n // unit)
    return [min(n, blocks * s // shares * unit) for s in range(shares + 1)]


def _columns(op, share, shares, record, itemsize):
    """A product of one row: some of its columns."""
    cuts = bounds(op.n_out, COLUMNS, shares)
    first, n = cuts[share], cuts[share + 1] - cuts[share]
    step = record.on(op.table)
    if record is DENSE:
        step.weight += first
        step.bias += first if step.bias >= 0 else 0
    else:
        for name in ("matrix", "bias", "scales", "sums"):
            if getattr(step, name):
                setattr(step, name, getattr(step, name) + first * itemsize)
    op.y, op.saved, op.n_out = op.y + first, op.saved + first, n
    return n > 0


def _rows(op, share, shares, record, itemsize):
    """An op that takes rows of a sample by themselves: some of them. Of one row: some columns of a product."""
    if op.sample_rows == 1:
        return record in (DENSE, NARROW) and not op.by_rows and _columns(op, share, shares, record, itemsize)
    cuts = bounds(op.sample_rows, 1, shares)
    first = cuts[share]
    op.x, op.y, op.saved = op.x + first * op.ld_in, op.y + first * op.ld_out, op.saved + first * op.ld_out
    op.sample_rows = cuts[share + 1] - first
    return op.sample_rows > 0


def _windows(op, share, shares, record, itemsize):
    """An op of windows: some rows of them, and the rows of the sample that these see."""
    step = record.on(op.table)
    cuts = bounds(step.out_height, 1, shares)
    first, end = cuts[share], cuts[share + 1]
    seen = first * step.stride_h - step.top
    until = (end - 1) * step.stride_h - step.top + step.dilation_h * (step.kernel_height - 1) + 1
    start = max(seen, 0)
    if end == first or min(until, step.height) <= start:
        return False
    pitch = 0 if record is POOL else step.narrow_row if record is NARROW else step.pitch
    if record is not POOL and not (record is not NARROW and step.direct):
        step.inside += (start - seen - step.top) * pitch
    step.top, step.height, step.out_height = start - seen, min(until, step.height) - start, end - first
    op.x += start * step.row
    op.y, op.saved = op.y + first * step.out_width * op.ld_out, op.saved + first * step.out_width * op.ld_out
    return True


# How the work of a kernel is divided, and the record of its ops.
DIVIDED = {
    dense_forward: (_rows, DENSE),
    activation_forward: (_rows, OP),
    conv_forward: (_windows, CONV),
    depthwise_forward: (_windows, DEPTHWISE),
    pairs_forward: (_rows, NARROW),
    quads_forward: (_rows, NARROW),
    pairs_of_images: (_windows, NARROW),
    quads_of_images: (_windows, NARROW),
    max_pool_infer: (_windows, POOL),
    avg_pool_forward: (_windows, POOL),
}


def divide(program, dtype, shares):
    """((ops,) int64: whether the op is divided; (ops, shares, OP.size) int64: the shares of each) of an inference program.

    program : Program for one sample, with as many slots
    """
    table, itemsize = program.table, np.dtype(dtype).itemsize
    ways = {kernel.address(dtype): how for kernel, how in DIVIDED.items() if kernel.is_compiled(dtype)}
    divided, shared = np.zeros(len(table), np.int64), np.repeat(table[:, None], shares, axis=1)
    for number, row in enumerate(table):
        whole = OP.on(row)
        way = ways.get(whole.forward)
        if way is None:
            continue
        how, record = way
        if way is DIVIDED[quads_of_images] and whole.forward == quads_of_images.address(dtype) and not NARROW.on(row).range:
            continue  # the range is that of the whole sample
        if how is _rows and whole.sample_rows == 1 and whole.n_in * whole.n_out * itemsize < LEAST_BYTES:
            continue
        good = []
        for share in range(shares):
            op = OP.on(shared[number, share])
            if "scratch" in record.names:
                step = record.on(op.table)
                step.scratch += share * step.scratch_size
            good.append(how(op, share, shares, record, itemsize))
        divided[number] = all(good)
    return divided, shared
