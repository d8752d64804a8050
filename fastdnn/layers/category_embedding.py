"""Vectors for the categories of a table, whose numbers stand among other columns."""

from .._jit import inner
from .._simd import copy, integers_at, offset
from ..gemm import padded
from ..initializers import check_initializer
from ..specs import check_count
from .base import ZEROS, Layer, Parameter, fields, op_kernel
from .weighted import keep_rules

# Offset of the table in `params`, its row stride; addresses of the first row of each column and of how many it has.
CATEGORIES = fields("table_at", "ld_table", "first_rows", "counts")


class CategoryEmbedding(Layer):
    """A trained vector for each category of each column: samples (columns,) become (columns * n_features,).

    Parameters
    ----------
    n_categories : sequence of int
        Of each column how many categories it has, those of number 0 included: its values are 0 to n - 1, whole numbers as
        floats. Others stand for category 0, which is meant for what is missing or unknown; NaN gives NaN.
    n_features : int, default=8
        Numbers of a vector.
    initializer : str or float, default="lecun_normal"
        Of the vectors; normal ones have variance 1, as other features of a table should.
    learning_rate_factor : float, default=1.0
        Factor of the learning rate for this layer, >= 0; 0 freezes it.
    l1, l2 : float, default=0.0
        As in `Dense`.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Weights "kernel" of shape (sum of n_categories, n_features), the columns one after the other. Unlike those of `Embedding`
    all vectors take part in each step of the optimizer. A float32 holds whole numbers up to 16,777,216.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> m = Model([layers.CategoryEmbedding((2, 3), 1)]).build(2)
    >>> m.weights["0.category_embedding.kernel"][...] = [[0], [1], [2], [3], [4]]
    >>> m.forward([[1, 2], [7, 0]])
    array([[1., 4.],
           [0., 2.]], dtype=float32)

    References
    ----------
    Guo, C. & Berkhahn, F. (2016). Entity embeddings of categorical variables. arXiv:1604.06737.
    """

    name, record = "category_embedding", CATEGORIES

    def __init__(
        self, n_categories, n_features=8, initializer="lecun_normal", learning_rate_factor=1.0, l1=0.0, l2=0.0
    ):  # fmt: skip
        if not isinstance(n_categories, (list, tuple)) or not n_categories:
            raise ValueError(f"n_categories must be a list of integers >= 1, one a column, got {n_categories!r}")
        self.n_categories = tuple(check_count("n_categories", n) for n in n_categories)
        self.n_features, self.initializer = check_count("n_features", n_features), check_initializer(initializer)
        keep_rules(self, l1, l2, learning_rate_factor)
        del self.max_norm

    def output_shape(self, input_shape):
        if tuple(input_shape) != (len(self.n_categories),):
            raise ValueError(
                f"samples must be vectors of {len(self.n_categories)} categories, got shape {tuple(input_shape)}"
            )
        return (len(self.n_categories) * self.n_features,)

    def parameters(self, input_shape):
        shape = (sum(self.n_categories), self.n_features)
        return [
            Parameter(
                "kernel", shape, self.initializer, True, l1=self.l1, l2=self.l2, fans=(1, 1),
                learning_rate_factor=self.learning_rate_factor,
            )
        ]  # fmt: skip

    def flops(self, input_shape):
        return len(self.n_categories) * self.n_features

    def emit(self, op, builder):
        builder.in_place(op)
        columns = len(self.n_categories)
        op.n_out, op.table_at, op.ld_table = columns * self.n_features, builder.parameter("kernel"), padded(self.n_features)
        op.ld_out, op.counts = padded(op.n_out), builder.integers(self.n_categories)
        op.first_rows = builder.integers([sum(self.n_categories[:j]) for j in range(columns)])
        op.forward, op.y = categories_forward.address(builder.dtype), builder.new_rows(op.n_out)
        op.dy = builder.new_deltas(op.n_out)
        if builder.with_gradient:
            op.backward, op.gradient = builder.addresses(categories_backward, categories_gradient)


@inner
def table_row(op, x, j):
    """Row of the table for the value of column j: of its category 0 where it is none of the column's categories."""
    first, count = integers_at(op.first_rows, j)[0], integers_at(op.counts, j)[0]
    return first + (int(x[j]) if x[j] >= 0 and x[j] < count else 0)


@op_kernel(CATEGORIES)
def categories_forward(op, data, params, grads, work, start, lo, n):
    """Rows of the table for rows lo..lo+n of X, NaN for NaN; writes its own rows of Y."""
    features = op.n_out // op.n_in
    for i in range(lo, lo + n):
        x, y = offset(work, op.x + i * op.ld_in), offset(work, op.y + i * op.ld_out)
        for j in range(op.n_in):
            copy(offset(params, op.table_at + table_row(op, x, j) * op.ld_table), offset(y, j * features), features)
            if x[j] != x[j]:
                for k in range(features):
                    y[j * features + k] = x[j]
        copy(offset(work, ZEROS), offset(y, op.n_out), op.ld_out - op.n_out)


@op_kernel(CATEGORIES)
def categories_backward(op, data, params, grads, work, start, lo, n):
    """dX = 0 for rows lo..lo+n: a category has no neighbors."""
    if op.dx >= 0:
        for i in range(lo, lo + n):
            copy(offset(work, ZEROS), offset(work, op.dx + i * op.ld_in), op.ld_in)


@op_kernel(CATEGORIES)
def categories_gradient(op, data, params, grads, work, start, lo, n):
    """Sums of dY over the rows of a shard that have a category of lo..lo+n, into these rows of the table's gradient."""
    features, table = op.n_out // op.n_in, offset(grads, op.table_at)
    for row in range(lo, lo + n):
        copy(offset(work, ZEROS), offset(table, row * op.ld_table), op.ld_table)
    for i in range(data.first_row, data.first_row + data.rows):
        x, dy = offset(work, op.x + i * op.ld_in), offset(work, op.dy + i * op.ld_out)
        for j in range(op.n_in):
            row = table_row(op, x, j)
            if lo <= row < lo + n:
                target = offset(table, row * op.ld_table)
                for k in range(features):
                    target[k] += dy[j * features + k]
