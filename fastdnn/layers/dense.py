"""Dense layer: y = f(x W + b)."""

import math

from .._jit import inner, kernel
from .._math import fma
from .._simd import copy, integers_at, offset, pointer_at, row_op
from ..gemm import ALIGN, CLAMP, COLUMNS, MASK, call_gemm, call_transpose, gemm, padded, transpose
from ..initializers import check_initializer
from ..specs import check_count, check_number
from .activation_function import call_on_tile, check_activation, get_activation
from .base import (
    ACTIVATE,
    BACKWARD,
    BIAS,
    BY_ROWS,
    CLAMPS,
    D_IN,
    D_OUT,
    DERIVE,
    DERIVE_IN,
    FORWARD,
    GEMM,
    GRADIENT,
    IN,
    INDICES,
    INDPTR,
    KERNEL,
    LD_IN,
    LD_OUT,
    MASK_IN,
    N_IN,
    N_OUT,
    ONE,
    OUT,
    PRE,
    PRE_IN,
    REFRESH,
    SAMPLE_ROWS,
    TRANSPOSE,
    TURNED,
    ZEROS,
    Layer,
    Parameter,
    X,
    op_signature,
    sample,
    slot_rows,
)


class Dense(Layer):
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
    rate : float, default=1.0
        Factor of the learning rate for this layer, >= 0; 0 freezes it.
    max_norm : float or None, default=None
        Largest Euclidean norm of the weights into one unit; longer ones are shortened after each step. Reference: Srebro,
        Rennie & Jaakkola 2005.

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

    name = "dense"
    takes_sparse = True

    def __init__(
        self,
        units,
        activation="identity",
        use_bias=True,
        initializer=None,
        bias_initializer="zeros",
        l1=0.0,
        l2=0.0,
        rate=1.0,
        max_norm=None,
    ):
        self.units = check_count("units", units)
        self.activation = check_activation(activation)
        self.use_bias = bool(use_bias)
        self.initializer = None if initializer is None else check_initializer(initializer)
        self.bias_initializer = check_initializer(bias_initializer)
        self.l1, self.l2 = (
            check_number(name, value, 0, math.inf, high_open=True) for name, value in (("l1", l1), ("l2", l2))
        )
        self.rate = check_number("rate", rate, 0, math.inf, high_open=True)
        self.max_norm = None if max_norm is None else check_number("max_norm", max_norm, 0, math.inf, low_open=True)

    def output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def parameters(self, input_shape):
        initializer = self.initializer if self.initializer is not None else get_activation(self.activation).initializer
        shape = input_shape[-1], self.units
        kernel_ = Parameter(
            "kernel", shape, initializer, True, l1=self.l1, l2=self.l2, rate=self.rate, max_norm=self.max_norm
        )
        bias = Parameter("bias", (self.units,), self.bias_initializer, decays=False, rate=self.rate)
        return [kernel_, bias] if self.use_bias else [kernel_]

    def op(self, row, place):
        f = get_activation(self.activation)
        n_in, n_out = place.input_shape[-1], self.units
        row[[FORWARD, BACKWARD, GRADIENT]] = place.addresses(dense_forward, dense_backward, dense_gradient)
        row[[GEMM, TRANSPOSE]] = place.addresses(gemm, transpose)
        row[[N_IN, N_OUT, LD_IN, LD_OUT, SAMPLE_ROWS]] = n_in, n_out, padded(n_in), padded(n_out), place.sample_rows
        row[[IN, D_IN, OUT, D_OUT]] = place.input, place.d_input, place.new_rows(n_out), place.new_deltas(n_out)
        row[KERNEL] = place.parameter("kernel")
        row[BIAS] = place.parameter("bias") if self.use_bias else -1
        if place.sparse:
            row[[FORWARD, GRADIENT]] = place.addresses(dense_forward_sparse, dense_gradient_sparse)
        row[CLAMPS], row[BY_ROWS] = f.clamps, f.by_rows
        row[PRE] = row[OUT]
        if not f.is_identity:
            if not f.clamps or place.sparse:
                row[ACTIVATE] = f.forward_kernel.address(place.dtype)
            if place.training:
                row[DERIVE] = f.backward_kernel.address(place.dtype)
                if f.needs_input:
                    row[PRE] = place.new_rows(n_out)
        if place.training and row[D_IN] >= 0:
            row[REFRESH] = dense_refresh.address(place.dtype)
            row[TURNED] = place.new_block(-(-n_out // ALIGN) * ALIGN * padded(n_in))
            derive, row[PRE_IN], row[MASK_IN] = place.take_derivative()
            row[DERIVE_IN] = 0 if row[MASK_IN] else derive


@inner
def whole_columns(n):
    """n rounded up to what products take; a row's padding has room for it."""
    return (n + COLUMNS - 1) // COLUMNS * COLUMNS


@kernel(op_signature)
def dense_forward(row, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(X[lo:lo+n] W + b). 2*n*n_in*n_out flops; writes its own rows of Y (and of X W + b if that is kept).

    X : (rows, n_in), stride LD_IN     W : (n_in, n_out), Y : (rows, n_out), stride LD_OUT     b : (n_out,)
    """
    ldx, ldy = row[LD_IN], row[LD_OUT]
    x, y, z = (offset(work, row[IN] + lo * ldx), offset(work, row[OUT] + lo * ldy), offset(work, row[PRE] + lo * ldy))
    bias = offset(params, row[BIAS]) if row[BIAS] >= 0 else offset(work, ZEROS)
    columns = whole_columns(row[N_OUT])
    call_gemm(
        row[GEMM], x, offset(params, row[KERNEL]), z, bias, y, n, columns, row[N_IN], ldx, 1, ldy, ldy, ldy,
        CLAMP if row[CLAMPS] else 0, 0 if row[BY_ROWS] else row[ACTIVATE]
    )  # fmt: skip
    if row[BY_ROWS]:
        call_on_tile(row[ACTIVATE], z, y, n, row[N_OUT], ldy, ldy)


@kernel(op_signature)
def dense_backward(row, data, params, grads, work, start, lo, n):
    """dX = dY W^T for rows lo..lo+n, times f' of the layer before. 2*n*n_in*n_out flops; writes its own rows of dX (and dY).

    W^T : (n_out, n_in), stride LD_IN, as `dense_refresh` left it     dY *= f' first where no layer after this one did it
    """
    ldx, ldy = row[LD_IN], row[LD_OUT]
    dy = offset(work, row[D_OUT] + lo * ldy)
    if row[DERIVE]:
        columns = row[N_OUT] if row[BY_ROWS] else whole_columns(row[N_OUT])
        call_on_tile(row[DERIVE], dy, offset(work, row[PRE] + lo * ldy), n, columns, ldy, ldy)
    if row[D_IN] >= 0:
        dx, saved = offset(work, row[D_IN] + lo * ldx), offset(work, row[PRE_IN] + lo * ldx)
        columns = whole_columns(row[N_IN])
        call_gemm(
            row[GEMM], dy, offset(work, row[TURNED]), dx, offset(work, ZEROS), saved, n, columns, row[N_OUT], ldy, 1, ldx,
            ldx, ldx, MASK if row[MASK_IN] else 0, row[DERIVE_IN]
        )  # fmt: skip


@kernel(op_signature)
def dense_gradient(row, data, params, grads, work, start, lo, n):
    """dW[lo:lo+n] = X[:, lo:lo+n]^T dY over data[ROWS] rows; unit n_in is the bias, db = sum of the rows of dY.

    2*n*rows*n_out flops; writes its own rows of dW.
    """
    if lo >= row[N_IN]:
        bias_gradient(row, data, grads, work)
        return
    ldx, ldy = row[LD_IN], row[LD_OUT]
    first, _ = slot_rows(row, data)
    target = offset(grads, row[KERNEL] + lo * ldy)
    sum_over_rows(row, data, work, offset(work, row[IN] + first * ldx + lo), target, n, 1, ldx)


@inner
def bias_gradient(row, data, grads, work):
    """db = sum of the rows of dY: a row of ones times dY."""
    sum_over_rows(row, data, work, offset(work, ONE), offset(grads, row[BIAS]), 1, 0, 0)


@inner
def sum_over_rows(row, data, work, x, target, n, x_row, x_column):
    """target (n, n_out) = X dY; element (i, r) of X, for row r of the slot, as in `gemm`."""
    ldy = row[LD_OUT]
    first, rows = slot_rows(row, data)
    columns, dy = whole_columns(row[N_OUT]), offset(work, row[D_OUT] + first * ldy)
    call_gemm(
        row[GEMM], x, dy, target, offset(work, ZEROS), target, n, columns, rows, x_row, x_column, ldy, ldy, ldy, 0, 0
    )  # fmt: skip
    if columns < ldy:  # the product leaves the padding of a row; the update reads it
        for i in range(n):
            copy(offset(work, ZEROS), offset(target, i * ldy + columns), ldy - columns)


@kernel(op_signature)
def dense_refresh(row, data, params, grads, work, start, lo, n):
    """Rows lo..lo+n of W into the columns of W^T in the workspace; the bias has nothing to refresh."""
    if lo < row[N_IN]:
        ldx, ldy = row[LD_IN], row[LD_OUT]
        source, target = offset(params, row[KERNEL] + lo * ldy), offset(work, row[TURNED] + lo)
        call_transpose(row[TRANSPOSE], source, target, n, row[N_OUT], ldy, ldx)


# ---------------------------------------------------------------- the first layer, from a CSR matrix


@row_op(2, 1, scalars=1)
def add_scaled(y, w, value):
    return fma(w, value, y)


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


@kernel(op_signature)
def dense_forward_sparse(row, data, params, grads, work, start, lo, n):
    """As `dense_forward` for samples in CSR form: 2*nnz*n_out flops. The same sums in the same order, zeros left out."""
    ldy, columns = row[LD_OUT], whole_columns(row[N_OUT])
    values, indices = pointer_at(data[X], work), integers_at(data[INDICES], 0)
    bias = offset(params, row[BIAS]) if row[BIAS] >= 0 else offset(work, ZEROS)
    for i in range(lo, lo + n):
        bounds, z = integers_at(data[INDPTR], sample(data, start + i)), offset(work, row[PRE] + i * ldy)
        copy(bias, z, columns)
        for k in range(bounds[0], bounds[1]):
            add_scaled(z, offset(params, row[KERNEL] + indices[k] * ldy), z, values[k], columns)
    if row[ACTIVATE]:
        z, y = offset(work, row[PRE] + lo * ldy), offset(work, row[OUT] + lo * ldy)
        call_on_tile(row[ACTIVATE], z, y, n, row[N_OUT] if row[BY_ROWS] else columns, ldy, ldy)


@kernel(op_signature)
def dense_gradient_sparse(row, data, params, grads, work, start, lo, n):
    """As `dense_gradient` for samples in CSR form: 2*nnz*n_out flops for the entries in columns lo..lo+n of X.

    Each unit looks for its columns in every row of the batch by bisection and writes its own rows of dW.
    """
    if lo >= row[N_IN]:
        bias_gradient(row, data, grads, work)
        return
    ldy, columns = row[LD_OUT], whole_columns(row[N_OUT])
    values, indices = pointer_at(data[X], work), integers_at(data[INDICES], 0)
    for j in range(lo, lo + n):
        copy(offset(work, ZEROS), offset(grads, row[KERNEL] + j * ldy), ldy)
    first, rows = slot_rows(row, data)
    for i in range(first, first + rows):
        bounds = integers_at(data[INDPTR], sample(data, start + i))
        k, dy = lower_bound(indices, bounds[0], bounds[1], lo), offset(work, row[D_OUT] + i * ldy)
        while k < bounds[1] and indices[k] < lo + n:
            dw = offset(grads, row[KERNEL] + indices[k] * ldy)
            add_scaled(dw, dy, dw, values[k], columns)
            k += 1
