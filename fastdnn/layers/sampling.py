"""A code drawn from a normal distribution whose mean and variance the layer before gives: variational autoencoders."""

from .._math import exp, fma, inverse_normal
from .._rows import row_op
from .._simd import copy, doubles_at, offset, real
from ..gemm import padded
from ..rng import uniform_row
from ..specs import check_number
from .base import ZEROS, Layer, fields, op_kernel, sample
from .masks import step_counts

# Address of the weight of the KL term; whether codes are drawn; rows of a sample for the loss, in a window of its steps and
# in all, by which the term is divided; whether a mask leaves out rows here.
SAMPLING = fields("constants", "draws", "loss_rows", "divisor", "masked")


class Sampling(Layer):
    """z = mean + exp(log_variance / 2) noise in training, z = mean in inference, of inputs [mean, log_variance].

    It adds the divergence of that distribution from the standard normal one to the loss that a network is trained by:
    beta sum_j (mean_j^2 + exp(log_variance_j) - 1 - log_variance_j) / 2, the mean over the samples of a batch.

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the divergence, >= 0.

    Notes
    -----
    Samples of shape (..., 2 k) become (..., k). Where the loss is a mean over several rows of a sample (the pixels of an
    image, say), the divergence is divided by their number, so that both keep their proportion. It is in the loss of `fit`,
    `train_on_batch` and `loss_and_grad`, not in that of `evaluate`, which goes forward alone, nor in `vjp`, whose gradient
    is given. Steps that a mask leaves out have none.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.Sampling()]).build(4).forward([[1.0, 2.0, 0.0, 0.0]])
    array([[1., 2.]], dtype=float32)

    References
    ----------
    Kingma, D. & Welling, M. (2014). Auto-encoding variational Bayes. arXiv:1312.6114.
    Higgins, I. et al. (2017). beta-VAE. ICLR.
    """

    name, record = "sampling", SAMPLING

    def __init__(self, beta=1.0):
        self.beta = check_number("beta", beta, "[0, inf)")

    def output_shape(self, input_shape):
        if input_shape[-1] % 2:
            raise ValueError(f"it takes means and as many logarithms of variances, an even number, got {input_shape[-1]}")
        return (*input_shape[:-1], input_shape[-1] // 2)

    def emit(self, op, builder):
        builder.in_place(op)
        op.n_out, op.draws, op.masked = op.n_in // 2, builder.training, builder.masked
        op.loss_rows, op.divisor = builder.loss_rows, builder.loss_divisor
        beta = self.beta if builder.loss_adds_up else 0.0
        op.ld_out, op.constants, op.key = padded(op.n_out), builder.constants(beta), builder.key()
        op.forward, op.y = sampling_forward.address(builder.dtype), builder.new_rows(op.n_out)
        op.dy = builder.new_deltas(op.n_out)
        if builder.with_gradient:
            op.backward, op.saved = sampling_backward.address(builder.dtype), builder.new_rows(op.n_out)


@row_op(3, 2)
def _drawn(mean, log_variance, u):
    noise = inverse_normal(u)
    return fma(exp(0.5 * log_variance), noise, mean), noise


@row_op(2, 0, reduce="sum")
def _divergence(mean, log_variance):
    return 0.5 * (mean * mean + exp(log_variance) - 1.0 - log_variance)


@row_op(2, 1, scalars=1)
def _of_mean(dz, mean, weight):
    return fma(weight, mean, dz)


@row_op(3, 1, scalars=1)
def _of_log_variance(dz, log_variance, noise, weight):
    return 0.5 * (dz * noise * exp(0.5 * log_variance) + weight * (exp(log_variance) - 1.0))


@op_kernel(SAMPLING)
def sampling_forward(op, data, params, grads, work, start, lo, n):
    """Y = mean, plus noise where it draws, for rows lo..lo+n; writes its own rows of Y and of the noise at `saved`."""
    columns = op.n_out
    for i in range(lo, lo + n):
        x, y = offset(work, op.x + i * op.ld_in), offset(work, op.y + i * op.ld_out)
        if op.draws:
            noise = offset(work, op.saved + i * op.ld_out)
            uniform_row(noise, op.ld_out, op.key, start + i, data.step)
            _drawn(x, offset(x, columns), noise, y, noise, columns)
        else:
            copy(x, y, columns)


@op_kernel(SAMPLING)
def sampling_backward(op, data, params, grads, work, start, lo, n):
    """dX of rows lo..lo+n, the divergence's included, which joins the losses of the samples; writes its own rows of dX."""
    columns, losses, beta = op.n_out, doubles_at(data.losses), doubles_at(op.constants)[0]
    share = beta * doubles_at(data.scale)[0] / op.divisor
    for i in range(lo, lo + n):
        position, weight = (start + i) // op.sample_rows, share
        if op.masked and not step_counts(data, start + i, op.sample_rows):
            if op.dx >= 0:
                for j in range(op.ld_in):
                    work[op.dx + i * op.ld_in + j] = real(work, 0.0)
            continue
        if data.sample_weight:
            weight *= doubles_at(data.sample_weight)[sample(data, position)]
        x, dz = offset(work, op.x + i * op.ld_in), offset(work, op.dy + i * op.ld_out)
        losses[(position - data.base) * op.loss_rows] += weight * _divergence(x, offset(x, columns), columns)
        if op.dx >= 0:
            dx, saved = offset(work, op.dx + i * op.ld_in), offset(work, op.saved + i * op.ld_out)
            noise = saved if op.draws else offset(work, ZEROS)
            _of_log_variance(dz, offset(x, columns), noise, saved, real(work, weight), columns)
            _of_mean(dz, x, dx, real(work, weight), columns)
            copy(saved, offset(dx, columns), columns)  # whole vectors would reach into the next row
