"""Numbers of a table as how far they are through each of their bins: what a product can make any function of."""

import numpy as np

from .._math import maximum, minimum
from .._rows import row_op
from .._simd import copy, integers_at, offset, pointer_at, real, where
from ..gemm import ALIGN, padded
from .base import ZEROS, Layer, fields, op_kernel

# Addresses: of the lower edge of each column's bin, of 1 / (its width), of 0, 1, ..., 15; of the `pieces` that columns are
# made in; of the first column of each feature, and the one behind the last. How many pieces there are.
PIECEWISE = fields("edges", "inverses", "lanes", "pieces", "n_pieces", "firsts")

NEAR = 16  # rows that a piece is made for, one below the other: its edges stay at hand, all of the rows in the cache


class PiecewiseLinear(Layer):
    """How far each feature is through each of its bins: clip((x - e_b) / (e_{b+1} - e_b), 0, 1) for the edges e_0 < e_1 < ...

    Samples of shape (..., features) become (..., bins of all features), the features one after the other. A dense layer
    behind it makes of each feature a function that is linear in each bin: steps and thresholds, which it hardly makes of the
    number itself.

    Parameters
    ----------
    edges : sequence of sequences of float
        Of each feature the edges of its bins, at least 2, finite and rising: quantiles of the training data, say, or the
        thresholds of a decision tree.

    Raises
    ------
    ValueError
        If edges are no such numbers; when the model is built, if samples have another number of features.

    Notes
    -----
    It has no parameters. What is below the first edge has 0 in all bins, what is above the last one 1; NaN has NaN. Cost of a
    row: 4 flops for each bin, some hundredths of a dense layer of 256 units behind it.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> encoding = layers.PiecewiseLinear([[0, 1, 3], [10, 20]])
    >>> Model([encoding]).build(2).forward([[2.0, 15.0], [-1.0, 21.0]])
    array([[1. , 0.5, 0.5],
           [0. , 0. , 1. ]], dtype=float32)

    References
    ----------
    Gorishniy, Y., Rubachev, I. & Babenko, A. (2022). On embeddings for numerical features in tabular deep learning.
    arXiv:2203.05556.
    """

    name, record = "piecewise_linear", PIECEWISE

    def __init__(self, edges):
        self.edges = check_edges(edges)

    def output_shape(self, input_shape):
        if input_shape[-1] != len(self.edges):
            raise ValueError(f"it has edges of {len(self.edges)} features, the samples of shape {tuple(input_shape)} others")
        return (*input_shape[:-1], sum(len(edges) - 1 for edges in self.edges))

    def emit(self, op, builder):
        builder.in_place(op)
        (op.n_out,) = self.output_shape(builder.input_shape)[-1:]
        op.ld_out = padded(op.n_out)
        edges = [np.array(edges) for edges in self.edges]
        with np.errstate(over="ignore"):  # of very narrow bins: infinity times 0 would be no number
            inverses = [np.minimum(1 / np.diff(e), np.finfo(builder.dtype).max) for e in edges]
        firsts = np.cumsum([0, *map(len, inverses)])
        rest = np.zeros(op.ld_out - op.n_out)
        op.edges = builder.reals(np.concatenate([*(e[:-1] for e in edges), rest]))
        op.inverses, op.lanes = builder.reals(np.concatenate([*inverses, rest])), builder.reals(range(ALIGN))
        pieces = list(pieces_of(firsts, op.ld_out))
        op.firsts, op.pieces, op.n_pieces = builder.integers(firsts), builder.integers(pieces), len(pieces)
        op.forward, op.y = piecewise_forward.address(builder.dtype), builder.new_rows(op.n_out)
        op.dy = builder.new_deltas(op.n_out)
        if builder.with_gradient:
            op.saved, op.backward = op.y, piecewise_backward.address(builder.dtype)


def check_edges(given):
    """The edges of each feature as a tuple of floats, or ValueError."""
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise ValueError(f"edges must be a sequence with the edges of the bins of each feature, got {given!r}")
    found = []
    for j, edges in enumerate(given):
        try:
            values = np.array(edges, float)
        except (TypeError, ValueError):
            values = np.zeros(0)
        finite = (np.abs(values) <= np.finfo(np.float32).max).all()  # False for NaN
        if values.ndim != 1 or len(values) < 2 or not finite or not (np.diff(values) > 0).all():
            raise ValueError(f"edges of a feature must be at least 2 finite, rising numbers, got {edges!r} for feature {j}")
        found.append(tuple(values.tolist()))
    if not found:
        raise ValueError("edges must be those of at least one feature")
    return tuple(found)


def pieces_of(firsts, ld):
    """Triples (first column, feature, first lane) of what is made at once: 16 columns from a multiple of 16 on.

    Where another feature begins between them, at that lane, the lanes before keep what the piece before has made. The
    padding is a feature -1. Rows are so written in whole vectors, and nothing is written beyond them.
    """
    for column in range(0, ld, ALIGN):
        for lane in range(ALIGN):
            at = column + lane
            feature = int(np.searchsorted(firsts, at, "right")) - 1
            feature = -1 if feature == len(firsts) - 1 else feature
            if lane == 0 or at in firsts:
                yield column, feature, lane


@row_op(2, 1, scalars=1, whole=True)
def _parts(edges, inverses, x):
    return minimum(maximum((x - edges) * inverses, 0.0), 1.0)


@row_op(4, 1, scalars=2, whole=True)
def _parts_from(edges, inverses, lanes, before, x, first):
    return where(lanes < first, before, minimum(maximum((x - edges) * inverses, 0.0), 1.0))


@row_op(3, 0, reduce="sum")
def _slopes(y, dy, inverses):
    return where(y <= 0.0, 0.0, where(y >= 1.0, 0.0, dy * inverses))


@op_kernel(PIECEWISE)
def piecewise_forward(op, data, params, grads, work, start, lo, n):
    """Y = clip((X - edge) / width, 0, 1) for rows lo..lo+n, the padding 0; writes its own rows of Y.

    X : (rows, n_in), stride ld_in     Y : (rows, n_out), stride ld_out     16 columns at a time, see `pieces_of`
    """
    edges, inverses, lanes = pointer_at(op.edges, work), pointer_at(op.inverses, work), pointer_at(op.lanes, work)
    zero = real(work, 0.0)
    for first in range(lo, lo + n, NEAR):
        behind = min(first + NEAR, lo + n)
        for p in range(op.n_pieces):
            piece = integers_at(op.pieces, 3 * p)
            at, feature, lane = piece[0], piece[1], piece[2]
            edge, inverse = offset(edges, at), offset(inverses, at)
            for i in range(first, behind):
                x, y = zero if feature < 0 else work[op.x + i * op.ld_in + feature], offset(work, op.y + i * op.ld_out + at)
                if lane == 0:
                    _parts(edge, inverse, y, x, 16)
                else:
                    _parts_from(edge, inverse, lanes, y, y, x, real(work, float(lane)), 16)


@op_kernel(PIECEWISE)
def piecewise_backward(op, data, params, grads, work, start, lo, n):
    """dX = sum over a feature's bins of dY / width where 0 < Y < 1, for rows lo..lo+n, where somebody wants it.

    Writes its own rows of dX, padding included. Reads up to 15 numbers behind a row, which do not count.
    """
    if op.dx < 0:
        return
    inverses = pointer_at(op.inverses, work)
    for i in range(lo, lo + n):
        y, dy, dx = (
            offset(work, op.y + i * op.ld_out), offset(work, op.dy + i * op.ld_out), offset(work, op.dx + i * op.ld_in)
        )  # fmt: skip
        for j in range(op.n_in):
            bounds = integers_at(op.firsts, j)
            at = bounds[0]
            dx[j] = _slopes(offset(y, at), offset(dy, at), offset(inverses, at), bounds[1] - at)
        copy(offset(work, ZEROS), offset(dx, op.n_in), op.ld_in - op.n_in)
