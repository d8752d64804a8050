"""Dense layer: y = f(x W + b)."""

from types import MappingProxyType

from .._jit import inner
from .._rows import add_scaled
from .._simd import copy, integers_at, offset, pointer_at
from ..gemm import ALIGN, CLAMP, COLUMNS, MASK, call_gemm, gemm, gemm_of_segments, new_product, padded, plain, whole_columns
from ..specs import check_count
from ..transpose import call_transpose, transpose
from .activation_function import activated, call_on_tile, get_activation
from .base import ONE, ZEROS, dx_base, dy_base, fields, op_kernel, sample, shard_rows
from .dense_pairs import DENSE_PAIRS, dense_pairs_op, in_order, large_enough
from .one_output import ONE_OUTPUT, one_output_op
from .weighted import Weighted

# Kernels: of products, of the transpose, of the activation. Offsets in `params` of the weights and the bias (-1: none); the
# address of the transposed weights. Of the layer before, what dX is to be multiplied by. Kernel of products that add.
DENSE = fields(
    "gemm", "transpose", "activation", "weight", "bias", "transposed", "saved_before", "clamps_before", "derivative_before",
    "gemm_adds",
)  # fmt: skip


class Dense(Weighted):
    """Fully connected layer, y = f(x W + b), on the last axis of samples of any shape.

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    activation : str or ActivationFunction, default="identity"
        Name in `fastdnn.layers.ACTIVATIONS`, or one of your own.
    use_bias : bool, default=True
        Whether there is a b.
    initializer : str, float or None, default=None
        Name in `fastdnn.initializers.INITIALIZERS` for W, or the number that all have; None takes the activation's own.
    bias_initializer : str or float, default="zeros"
        The same for b.
    l1, l2 : float, default=0.0
        Penalty l1 sum |W| + l2 / 2 sum W^2 that is added to the mean loss of a batch, >= 0, whatever the batch size (`alpha`
        and `l1` of MLPClassifier and MLPRegressor are divided by it, as in scikit-learn).
    learning_rate_factor : float, default=1.0
        Factor of the learning rate for this layer, >= 0; 0 freezes it.
    max_norm : float or None, default=None
        Largest Euclidean norm of the weights into one unit; longer ones are shortened after each step. Reference: Srebro,
        Rennie & Jaakkola 2005.
    spectral_norm : bool, default=False
        Whether W is divided by its largest singular value (as a matrix (..., units)), which then is 1: for discriminators. It
        is found by one power iteration for each step of the optimizer, from the states "u" and "v"; the weights in
        `Model.weights` are those before the division (u and v of one that is assigned come with the next steps, or at once
        by `Model.start_states`). Reference: Miyato et al. 2018, arXiv:1802.05957.
    bias_learning_rate_factor : float or None, default=None
        Factor of the learning rate for b, >= 0; 0 freezes it alone. None takes `learning_rate_factor`.

    Raises
    ------
    ValueError
        If an argument is out of its range; the message says which and what is allowed.

    Notes
    -----
    Weights "kernel" of shape (n_in, units) and "bias" of shape (units,). Cost per row of a batch: 2 n_in units flops
    forward, twice that backward.

    Examples
    --------
    >>> from fastdnn import layers
    >>> layers.Dense(3, activation="relu")
    Dense(units=3, activation='relu')

    References
    ----------
    Rumelhart, D., Hinton, G. & Williams, R. (1986). Learning representations by back-propagating errors. Nature 323.
    """

    name, record = "dense", DENSE
    passing_gradients = True
    takes_sparse = True
    older_names = MappingProxyType({"rate": "learning_rate_factor"})

    def __init__(
        self,
        units,
        activation="identity",
        use_bias=True,
        initializer=None,
        bias_initializer="zeros",
        l1=0.0,
        l2=0.0,
        learning_rate_factor=1.0,
        max_norm=None,
        spectral_norm=False,
        bias_learning_rate_factor=None,
    ):
        self.units, self.spectral_norm = check_count("units", units), bool(spectral_norm)
        rules = l1, l2, learning_rate_factor, max_norm, bias_learning_rate_factor
        self._weigh(activation, use_bias, initializer, bias_initializer, *rules)

    def output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def parameters(self, input_shape):
        n_in = input_shape[-1]
        # `max_norm` and `spectral_norm` go by the rows of a kernel in memory.
        in_one_row = self.units == 1 and self._whole is None and self.max_norm is None
        return self._kernel_and_bias("kernel", (n_in, self.units), (n_in, self.units), last_axes=1 + in_one_row)

    def has_pairs(self, input_shape):
        return large_enough(input_shape[-1], self.units)

    def emit(self, op, builder):
        dense_op(op, builder, self, self.units)


def dense_op(op, builder, layer, n_out, kernel="kernel"):
    """Fill in the op of a layer with a Dense's activation and bias, a product of the last axis and the parameter `kernel`."""
    n_in = builder.input_shape[-1]
    if builder.in_one_row(kernel):
        one_output_op(ONE_OUTPUT.on(op.table), builder, layer, kernel)
        return
    if builder.has_pairs and large_enough(n_in, n_out) and in_order(builder):
        dense_pairs_op(DENSE_PAIRS.on(op.table), builder, layer, n_out, kernel)
        return
    op.forward, op.backward, op.gradient = builder.addresses(dense_forward, dense_backward, dense_gradient)
    op.gemm, op.transpose = builder.addresses(gemm, transpose)
    op.n_in, op.n_out, op.ld_in, op.ld_out, op.sample_rows = n_in, n_out, padded(n_in), padded(n_out), builder.sample_rows
    op.x, op.dx, op.y, op.dy = builder.input, builder.d_input, builder.new_rows(n_out), builder.new_deltas(n_out)
    op.weight = builder.parameter(kernel)
    op.bias = builder.parameter("bias") if layer.use_bias else -1
    if builder.sparse:
        op.forward, op.gradient = builder.addresses(dense_forward_sparse, dense_gradient_sparse)
    op.plain = not builder.sparse
    if builder.sample_rows > 1:  # much work for each weight
        op.adds, op.gemm_adds = 1, gemm_of_segments.address(builder.dtype)
    activated(op, builder, get_activation(layer.activation), apart=builder.sparse)
    if builder.with_gradient and op.dx >= 0:
        op.refresh = dense_refresh.address(builder.dtype)
        op.transposed = builder.new_shared(-(-n_out // ALIGN) * ALIGN * padded(n_in))
        derive, op.saved_before, op.clamps_before = builder.take_derivative()
        op.derivative_before = 0 if op.clamps_before else derive


@op_kernel(DENSE)
def dense_forward(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(X[lo:lo+n] W + b). 2*n*n_in*n_out flops; writes its own rows of Y (and of X W + b if that is kept).

    X : (rows, n_in), stride ld_in     W : (n_in, n_out), Y : (rows, n_out), stride ld_out     b : (n_out,)
    """
    ldx, ldy = op.ld_in, op.ld_out
    x, y, z = (offset(work, op.x + lo * ldx), offset(work, op.y + lo * ldy), offset(work, op.saved + lo * ldy))
    bias = offset(params, op.bias) if op.bias >= 0 else offset(work, ZEROS)
    p = new_product()
    plain(p, n, whole_columns(op.n_out), op.n_in, ldx, ldy, ldy)
    p.flags, p.epilogue = CLAMP if op.clamps else 0, 0 if op.by_rows else op.activation
    call_gemm(op.gemm, x, offset(params, op.weight), z, bias, y, p)
    if op.by_rows:
        call_on_tile(op.activation, z, y, n, op.n_out, ldy, ldy)


@op_kernel(DENSE)
def dense_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY W^T for rows lo..lo+n, times f' of the layer before. 2*n*n_in*n_out flops; writes its own rows of dX (and dY).

    W^T : (n_out, n_in), stride ld_in, as `dense_refresh` left it     dY *= f' first where no layer after this one did it
    """
    ldx, ldy = op.ld_in, op.ld_out
    dy = offset(work, dy_base(op, data) + lo * ldy)
    if op.derivative:
        columns = op.n_out if op.by_rows else whole_columns(op.n_out)
        call_on_tile(op.derivative, dy, offset(work, op.saved + lo * ldy), n, columns, ldy, ldy)
    if op.dx >= 0:
        dx, saved = offset(work, dx_base(op, data) + lo * ldx), offset(work, op.saved_before + lo * ldx)
        p = new_product()
        plain(p, n, whole_columns(op.n_in), op.n_out, ldy, ldx, ldx)
        p.flags, p.epilogue = MASK if op.clamps_before else 0, op.derivative_before
        call_gemm(op.gemm, dy, pointer_at(op.transposed, work), dx, offset(work, ZEROS), saved, p)


@op_kernel(DENSE)
def dense_gradient(op, data, params, grads, work, start, lo, n):
    """dW[lo:lo+n] = X[:, lo:lo+n]^T dY over the rows of a shard; unit n_in is the bias, db = sum of the rows of dY.

    2*n*rows*n_out flops; writes its own rows of dW.
    """
    sum_over_rows(op, data, work, grads, lo, n)


@inner
def sum_over_rows(op, data, work, grads, lo, n):
    """dW[lo:lo+n] = X[:, lo:lo+n]^T dY, or db = a row of ones times dY where lo is n_in, over the rows of a shard."""
    ldx, ldy, columns = op.ld_in, op.ld_out, whole_columns(op.n_out)
    first, rows = shard_rows(op, data)
    x, target = offset(work, op.x + first * ldx + lo), offset(grads, op.weight + lo * ldy)
    p = new_product()
    plain(p, n, columns, rows, lo, ldy, ldy)
    p.rsa, p.csa = 1, ldx
    if lo >= op.n_in:
        x, target = offset(work, ONE), offset(grads, op.bias)
        p.m, p.rsa, p.csa = 1, 0, 0
    dy = offset(work, dy_base(op, data) + first * ldy)
    if op.adds and data.adds:
        p.ld_init = ldy
        call_gemm(op.gemm_adds, x, dy, target, target, target, p)
        return
    call_gemm(op.gemm, x, dy, target, offset(work, ZEROS), target, p)
    if columns < ldy:  # the product leaves the padding of a row; the update reads it
        for i in range(p.m):
            for j in range(columns, ldy, COLUMNS):  # memset and memcpy take 10 ns to start
                copy(offset(work, ZEROS), offset(target, i * ldy + j), COLUMNS)


@op_kernel(DENSE)
def dense_refresh(op, data, params, grads, work, start, lo, n):
    """Rows lo..lo+n of W into the columns of W^T in the workspace; the bias has nothing to refresh."""
    if lo < op.n_in:
        ldx, ldy = op.ld_in, op.ld_out
        source, target = offset(params, op.weight + lo * ldy), offset(pointer_at(op.transposed, work), lo)
        call_transpose(op.transpose, source, target, n, op.n_out, ldy, ldx)


# ---------------------------------------------------------------- the first layer, from a CSR matrix


@inner
def lower_bound(indices, first, last, value):
    """First position in first..last of the rising `indices` whose entry is at least `value`; last if there is none."""
    while first < last:
        middle = (first + last) // 2
        if indices[middle] < value:
            first = middle + 1
        else:
            last = middle
    return first


@op_kernel(DENSE)
def dense_forward_sparse(op, data, params, grads, work, start, lo, n):
    """As `dense_forward` for samples in CSR form: 2*nnz*n_out flops. The same sums in the same order, zeros left out."""
    ldy, columns = op.ld_out, whole_columns(op.n_out)
    values, indices = pointer_at(data.x, work), integers_at(data.indices, 0)
    bias = offset(params, op.bias) if op.bias >= 0 else offset(work, ZEROS)
    for i in range(lo, lo + n):
        bounds, z = integers_at(data.indptr, sample(data, start + i)), offset(work, op.saved + i * ldy)
        copy(bias, z, columns)
        for k in range(bounds[0], bounds[1]):
            add_scaled(offset(params, op.weight + indices[k] * ldy), z, z, values[k], columns)
    if op.activation:
        z, y = offset(work, op.saved + lo * ldy), offset(work, op.y + lo * ldy)
        call_on_tile(op.activation, z, y, n, op.n_out if op.by_rows else columns, ldy, ldy)


@op_kernel(DENSE)
def dense_gradient_sparse(op, data, params, grads, work, start, lo, n):
    """As `dense_gradient` for samples in CSR form: 2*nnz*n_out flops for the entries in columns lo..lo+n of X.

    Each unit looks for its columns in every row of the batch by bisection and writes its own rows of dW.
    """
    if lo >= op.n_in:
        sum_over_rows(op, data, work, grads, lo, n)
        return
    ldy, columns = op.ld_out, whole_columns(op.n_out)
    values, indices = pointer_at(data.x, work), integers_at(data.indices, 0)
    for j in range(lo, lo + n):
        copy(offset(work, ZEROS), offset(grads, op.weight + j * ldy), ldy)
    first, rows = shard_rows(op, data)
    for i in range(first, first + rows):
        bounds = integers_at(data.indptr, sample(data, start + i))
        k, dy = lower_bound(indices, bounds[0], bounds[1], lo), offset(work, op.dy + i * ldy)
        while k < bounds[1] and indices[k] < lo + n:
            dw = offset(grads, op.weight + indices[k] * ldy)
            add_scaled(dy, dw, dw, values[k], columns)
            k += 1
