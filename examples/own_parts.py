"""A loss, an activation, an optimizer and a layer of one's own: each a class in this file, none of it in the package.

    python examples/own_parts.py

The first run compiles them (some seconds), later ones read them from the cache, like fastdnn's own.
"""

import time

import numpy as np
from sklearn.datasets import load_diabetes

from fastdnn import Model
from fastdnn import extending as e
from fastdnn.layers import Dense


class Cauchy(e.Loss):
    """log(1 + (z - y)^2), which outliers hardly move."""

    def pointwise(z, y, a, b):
        r = z - y
        return 2.0 * r / (1.0 + r * r), e.log(1.0 + r * r)  # derivative with respect to z, and value


class Squareplus(e.ActivationFunction):
    """(x + sqrt(x^2 + 4)) / 2. Reference: Barron 2021, arXiv:2112.11687."""

    needs_input = True

    def forward(x):
        return 0.5 * (x + e.sqrt(x * x + 4.0))

    def derivative(x):
        return 0.5 * (1.0 + x / e.sqrt(x * x + 4.0))


@e.optimizer
class Lion(e.Optimizer):
    """p <- p - rate sign(beta_1 m + (1 - beta_1) g), m <- beta_2 m + (1 - beta_2) g. Reference: arXiv:2302.06675."""

    name, n_moments = "lion", 1

    def __init__(self, learning_rate=1e-3, beta_1=0.9, beta_2=0.99, **rules):
        super().__init__(learning_rate, **rules)
        self.beta_1, self.beta_2 = beta_1, beta_2

    def scalars(self, rates, steps):
        return e.scalar_table(len(steps), rates, 1 - self.beta_1, 1 - self.beta_2)

    def update(p, g, m, rate, gain_1, gain_2, *_):
        u = e.fma(g - m, gain_1, m)
        return p - e.where(u.equals(0.0), 0.0, e.with_sign(rate, u)), e.fma(g - m, gain_2, m)


SCALE = e.fields("scale")  # what its kernels are told beside what all are: where the factors stand in `params`


class FeatureScale(e.Layer):
    """y = s x with a factor s of each feature that is trained; a feature is a place on the last axis of a sample."""

    name, record = "feature_scale", SCALE

    def parameters(self, input_shape):
        return [e.Parameter("scale", input_shape[-1:], "ones", decays=False)]

    def emit(self, op, builder):
        builder.in_place(op)  # sizes, and where input and output stand
        op.scale, op.forward = builder.parameter("scale"), scale_forward.address(builder.dtype)
        if builder.with_gradient:
            op.y, op.dy = builder.new_rows(op.n_out), builder.new_deltas(op.n_out)
            op.backward, op.gradient = builder.addresses(scale_backward, scale_gradient)


@e.row_op(2, 1)
def times(a, b):
    return a * b


@e.row_op(3, 1)
def plus_times(a, b, total):
    return e.fma(a, b, total)


@e.op_kernel(SCALE)
def scale_forward(op, data, params, grads, work, start, lo, n):
    """Y = s X for rows lo..lo+n."""
    for i in range(lo, lo + n):
        x, y = e.offset(work, op.x + i * op.ld_in), e.offset(work, op.y + i * op.ld_out)
        times(x, e.offset(params, op.scale), y, op.n_out)


@e.op_kernel(SCALE)
def scale_backward(op, data, params, grads, work, start, lo, n):
    """dX = s dY for rows lo..lo+n."""
    if op.dx >= 0:
        for i in range(lo, lo + n):
            dy, dx = e.offset(work, op.dy + i * op.ld_out), e.offset(work, op.dx + i * op.ld_in)
            times(dy, e.offset(params, op.scale), dx, op.n_out)


@e.op_kernel(SCALE)
def scale_gradient(op, data, params, grads, work, start, lo, n):
    """ds = sum of X dY over the rows of the shard."""
    target = e.offset(grads, op.scale)
    e.copy(e.offset(work, e.ZEROS), target, op.ld_out)
    first, rows = e.shard_rows(op, data)
    for i in range(first, first + rows):
        x, dy = e.offset(work, op.x + i * op.ld_in), e.offset(work, op.dy + i * op.ld_out)
        plus_times(x, dy, target, target, op.n_out)


def network():
    """A network of these parts."""
    shapes = [FeatureScale(), Dense(64, activation=Squareplus()), Dense(1)]
    return Model(shapes, loss=Cauchy(), optimizer=Lion(1e-3), random_state=0)


def main():
    X, y = load_diabetes(return_X_y=True)
    X, y = (X / X.std(axis=0)).astype("float32"), (y - y.mean()) / y.std()
    y[::20] += 20  # outliers
    model = network()
    began = time.perf_counter()
    model.fit(X, y, epochs=60, batch_size=32)
    good = np.delete(np.arange(len(y)), np.arange(0, len(y), 20))
    error = float(np.abs(model.predict(X[good]).ravel() - y[good]).mean())
    print(f"trained in {time.perf_counter() - began:.2f} s, mean error without the outliers {error:.3f}")
    return error


if __name__ == "__main__":
    main()
