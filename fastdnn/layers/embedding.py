"""Vectors for ids: words, characters, categories."""

import numpy as np

from .._jit import inner
from .._rows import add
from .._simd import copy, integers_at, offset
from ..gemm import padded
from ..initializers import check_initializer
from ..inputs import as_array
from ..specs import check_count, check_number
from .base import TOUCHED, ZEROS, Layer, Parameter, fields, op_kernel, sample

# Offset of the table in `params`; ids of a sample.
EMBEDDING = fields("table_at", "steps")
_touched_at = TOUCHED.view


class Embedding(Layer):
    """A vector for each id, trained: samples of ids (time,) become sequences (time, n_features).

    Parameters
    ----------
    n_tokens : int
        Number of ids, at least 1: they are 0 to n_tokens - 1.
    n_features : int
        Numbers of a vector, at least 1.
    mask_zero : bool, default=False
        Whether id 0 stands for nothing (padding): such steps keep the state of recurrent layers, and count in no loss, no
        metric, no batch statistics and no global pooling.
    initializer : str, float or array-like of shape (n_tokens, n_features), default="lecun_normal"
        Of the vectors; an array gives them.
    learning_rate_factor : float, default=1.0
        Factor of the learning rate for this layer, >= 0; 0 freezes it.
    l1, l2 : float, default=0.0
        As in `Dense`.

    Raises
    ------
    ValueError
        If an argument is out of its range; when the model is built, if it is not the first layer; when it is used, if an id
        is none of 0 to n_tokens - 1, or no integer.

    Notes
    -----
    Weights "kernel" of shape (n_tokens, n_features). X holds integers of any type, which never become floats.

    A step of the optimizer touches the vectors of ids that its batch has, and no others: their moments do not decay
    meanwhile, and no momentum or weight decay moves them (what TensorFlow calls LazyAdam, and PyTorch SparseAdam). With
    SGD without momentum that is the same, bit for bit, as a step with the whole gradient; with Adam it differs, in that an
    id is trained with its own last gradients however long ago they were. `Model.loss_and_grad` gives the whole gradient.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> m = Model([layers.Embedding(3, 2, initializer=[[0, 0], [1, 2], [3, 4]])]).build(4)
    >>> m.forward([[1, 2, 0, 1]])
    array([[[1., 2.],
            [3., 4.],
            [0., 0.],
            [1., 2.]]], dtype=float32)

    References
    ----------
    Bengio, Y. et al. (2003). A neural probabilistic language model. JMLR 3.
    """

    name, record = "embedding", EMBEDDING
    takes_ids = takes_windows = True

    def __init__(
        self, n_tokens, n_features, mask_zero=False, initializer="lecun_normal", learning_rate_factor=1.0, l1=0.0, l2=0.0
    ):
        self.n_tokens, self.n_features = check_count("n_tokens", n_tokens), check_count("n_features", n_features)
        self.mask_zero = bool(mask_zero)
        self.initializer = check_vectors(initializer, (self.n_tokens, self.n_features))
        self.learning_rate_factor = check_number("learning_rate_factor", learning_rate_factor, "[0, inf)")
        self.l1, self.l2 = (check_number(name, value, "[0, inf)") for name, value in (("l1", l1), ("l2", l2)))

    def output_shape(self, input_shape):
        if len(input_shape) != 1:
            raise ValueError(f"samples must be ids of shape (time,), got {tuple(input_shape)}")
        return (*input_shape, self.n_features)

    def parameters(self, input_shape):
        return [
            Parameter(
                "kernel", (self.n_tokens, self.n_features), self.initializer, True, fans=(self.n_features, self.n_features),
                l1=self.l1, l2=self.l2, learning_rate_factor=self.learning_rate_factor, few_rows=True,
            )
        ]  # fmt: skip

    def flops(self, input_shape):
        return input_shape[0] * self.n_features

    def check_ids(self, ids):
        wrong = (ids < 0) | (ids >= self.n_tokens)
        if wrong.any():
            place = np.unravel_index(np.argmax(wrong), ids.shape)
            raise ValueError(
                f"X must hold ids of 0 to {self.n_tokens - 1} for its Embedding, got {ids[place]} in row {place[0]}, step "
                f"{place[-1]}"
            )

    def mask(self, X):
        return X != 0 if self.mask_zero else None

    def emit(self, op, builder):
        if builder.reads != "ids":
            raise ValueError(f"{self!r} must be the first layer: it takes ids, integers, not what another layer has made")
        (steps,) = builder.input_shape
        op.sample_rows, op.n_in, op.n_out, op.steps = 1, self.n_features, self.n_features, steps
        op.ld_in = op.ld_out = padded(self.n_features)
        op.y, op.dy = builder.new_rows(self.n_features, steps), builder.new_deltas(self.n_features, steps)
        op.x, op.dx, op.saved, op.table_at = op.y, -1, op.y, builder.parameter("kernel")
        op.forward = embedding_forward.address(builder.dtype)
        if builder.with_gradient:
            op.gradient, op.kept_out = embedding_gradient.address(builder.dtype), steps * op.ld_out
            table = builder.new_table(1, TOUCHED.size)
            table[0] = [array.ctypes.data for array in builder.new_table(TOUCHED.size, self.n_tokens)]
            op.touched = table.ctypes.data


def check_vectors(given, shape):
    """An initializer, or a copy of the vectors that nobody can write to."""
    if isinstance(given, (str, int, float)):
        return check_initializer(given)
    vectors = np.array(as_array(given, "initializer"))
    vectors.flags.writeable = False
    largest = np.finfo(np.float32).max
    if vectors.shape != shape or vectors.dtype.kind not in "fiu" or not (np.abs(vectors) <= largest).all():
        raise ValueError(
            f"initializer must be a name, a number, or finite numbers of shape {shape}, got {vectors.dtype} {vectors.shape}"
        )
    return vectors


@inner
def ids_of(data, position):
    """Pointer to the ids of the sample at `position` of the order; they stand data.x_column apart."""
    return integers_at(data.x, sample(data, position) * data.x_row)


@op_kernel(EMBEDDING)
def embedding_forward(op, data, params, grads, work, start, lo, n):
    """Rows of the table for the ids of samples lo..lo+n; writes its own samples of Y."""
    ld = op.ld_out
    for i in range(lo, lo + n):
        ids, y = ids_of(data, start + i), offset(work, op.y + i * op.steps * ld)
        for t in range(op.steps):
            copy(offset(params, op.table_at + ids[t * data.x_column] * ld), offset(y, t * ld), ld)


@op_kernel(EMBEDDING)
def embedding_gradient(op, data, params, grads, work, start, lo, n):
    """Sums of dY over the steps of all samples that have an id of lo..lo+n, into the rows of those that occur.

    Writes their numbers into `touched`, the others' rows only where data.whole_gradient says so. Goes on with both where
    data.adds says that these are not the batch's first samples.
    """
    touched, ld, table = _touched_at(op.touched, 0), op.ld_out, offset(grads, op.table_at)
    used, numbers, counts = (
        integers_at(touched.used, 0), integers_at(touched.numbers, lo), integers_at(touched.counts, lo)
    )  # fmt: skip
    if data.adds == 0:
        for k in range(counts[0]):
            used[numbers[k]] = 0
        counts[0] = 0
        for row in range(lo, lo + n if data.whole_gradient else lo):
            copy(offset(work, ZEROS), offset(table, row * ld), ld)
    steps = op.kept_out // ld  # of whole sequences, also where these go through the network in windows
    for i in range(data.first_row, data.first_row + data.rows):
        ids, dy = ids_of(data, start + i), offset(work, op.dy + i * steps * ld)
        for t in range(steps):
            row = ids[t * data.x_column]
            if lo <= row < lo + n:
                target = offset(table, row * ld)
                if used[row] == 0:
                    used[row], numbers[counts[0]] = 1, row
                    counts[0] += 1
                    copy(offset(work, ZEROS), target, ld)
                add(offset(dy, t * ld), target, target, op.n_out)
    if 16 * counts[0] > n:  # in the order of the table, so that the update goes through memory from one end to the other
        counts[0] = 0
        for row in range(lo, lo + n):
            if used[row]:
                numbers[counts[0]] = row
                counts[0] += 1
