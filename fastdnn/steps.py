"""Single steps and gradients, a batch a call: the bindings to the last kinds of batches are kept from call to call."""

import contextlib
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._guard import guard
from .inputs import by_rows, check_dense, check_weights, filled
from .layers.base import DATA
from .layout import Layout
from .losses.base import GivenGradient
from .sources import Source
from .tables import TRAIN
from .thread_choice import SLICE, worthwhile_threads
from .training import Training
from .weights import Weights

KEPT = 4  # bindings that a model keeps: of a step, of a gradient, each for whole batches and for the last one, say
FLOPS_OF_UPDATE = 20  # of a parameter, as far as the number of threads goes


def kept(model, key, make):
    """The binding of that key, made anew where there is none or the network has changed; the others stay, the last KEPT."""
    bindings = model.bindings
    run = bindings.pop(key, None)
    if run is None or run.network is not model.network:
        while len(bindings) >= KEPT:
            bindings.pop(next(iter(bindings)), None)
        run = make()
    bindings[key] = run
    return run


def bound(model, X, y, sample_weight, training, input_gradient=False, loss=None, lengths=None):
    """The `Training` with these samples as its one batch, checked; `loss` stands in for the network's.

    With `input_gradient`, whoever calls gives data.dx a place.
    """
    network = model.network if loss is None else model.network._replace(loss=loss)
    source, targets, weights = model.check(network, X, y, sample_weight, lengths=lengths)
    if model.layout is None:
        model.build(source.shape)
    if input_gradient and source.kind in ("csr", "ids"):
        what = "a sparse X are not computed; use X.toarray()" if source.sparse else "ids do not exist"
        raise ValueError(f"gradients with respect to {what}")
    loss = loss or model.loss
    masked = source.mask is not None
    key = source.n, source.kind, loss.kernel_for(targets, model.n_out), weights is None, training, input_gradient, masked

    def make():
        return Training(
            model, source, targets, weights, source.n, training=training, input_gradient=input_gradient, loss=loss
        )

    run = kept(model, key, make)
    run.take(source, targets, weights)
    return run


@contextlib.contextmanager
def binding(*args, **kwargs):
    """`bound` for the length of a block; the samples are not kept longer."""
    run = bound(*args, **kwargs)
    try:
        yield run
    finally:
        run.let_go()


def _place_for_gradient(run):
    """A new array for the gradient of the samples."""
    gradient = np.empty((run.source.n, *run.source.shape), run.model.dtype)
    run.data[:, DATA.dx] = gradient.ctypes.data
    return gradient


class Applying:
    """The engine's second half alone: the optimizer's step for a gradient that is there."""

    def __init__(self, model):
        self.network, loss, shape = model.network, GivenGradient(), model.layout.shapes
        ids = model.layers[0].takes_ids
        nothing = Source(np.zeros((1, *shape[0]), np.int64 if ids else model.dtype), model.dtype, ids)
        targets = loss.check_targets(np.zeros((int(np.prod(shape[-1][:-1])), shape[-1][-1])), shape[-1][-1], model.dtype)
        self._training = Training(model, nothing, targets, None, 1, training=False, loss=loss)
        self._padding = model.layout.padding()

    def __call__(self, model, gradient):
        model.grads[...] = gradient
        model.grads[self._padding] = 0
        scalars = model.optimizer.step_scalars(np.array([model.step + 1]), factor=model.trained.rate_factors)
        self.step(model, scalars, model.grads)

    def step(self, model, scalars, gradient):
        """The step with a flat gradient, its padding 0, which is used up, and the optimizer's scalars (1, SCALARS).

        Returns the penalty.
        """
        threads = worthwhile_threads(FLOPS_OF_UPDATE * model.layout.size, 1, model.dtype.itemsize)
        call = self._training.bound(threads, True)
        call.job[[TRAIN.n_shards, TRAIN.n_segments, TRAIN.loss_rows, TRAIN.own, TRAIN.used_rows]] = 0  # no rows go through it
        call.job[TRAIN.grads] = gradient.ctypes.data
        one, value = np.ones(1), np.zeros(1)
        call(0, 1, 0, 1, 1, (one.ctypes.data, value.ctypes.data, scalars.ctypes.data), 0.0, SLICE)
        model.step += 1
        return float(value[0])


def check_gradient(model, gradient):
    """ValueError where the model's optimizer cannot take a step with that flat gradient."""
    if model.optimizer.full_batch:
        raise ValueError(f"{model.optimizer!r} has no steps with single gradients; call fit")
    if model.optimizer.trains_elsewhere:
        raise ValueError(f"{model.optimizer!r} takes its gradients at other parameters than `params`; use train_on_batch")
    gradient = np.asarray(gradient)
    if gradient.shape != model.params.shape or gradient.dtype.kind not in "fiu":
        raise ValueError(
            f"gradient must be a flat array of numbers laid out as params, shape {model.params.shape}, got "
            f"{gradient.dtype} {gradient.shape}"
        )


class Steps(Weights):
    """What a model does a batch a call: gradients, and steps of its optimizer."""

    @property
    def n_out(self) -> int:
        """Number of scores of a sample."""
        return self._built().n_out

    def _source(self, X, layout, finite=True, lengths=None):
        """X as a `Source`, checked; finite also asks for samples, and numbers in them."""
        first = self.layers[0]
        source = X if isinstance(X, Source) else Source(X, self.dtype, ids=first.takes_ids)
        if not source.is_checked:
            source.is_checked = True
            if source.kind == "ids":
                first.check_ids(source.arrays[0].reshape(source.n, *source.shape))
            source.leave_out(source.mask_by(first.mask), lengths)
        if finite:
            if source.n == 0:
                raise ValueError("X has no samples")
            source.check_finite()
        if layout is not None and tuple(source.shape) != layout.shapes[0]:
            turned = tuple(source.shape[1:]) + tuple(source.shape[:1]) == layout.shapes[0] != tuple(source.shape)
            hint = "; channels come last: X.transpose(0, 2, 3, 1)" if turned and len(source.shape) == 3 else ""
            raise ValueError(f"X must hold samples of shape {layout.shapes[0]}, got {tuple(source.shape)}{hint}")
        return source

    def check(self, network, X, y, sample_weight, finite=True, lengths=None, of_some=False):
        """(Source, targets, float64 weights or None) of samples, `of_some` of many, that fit each other and the network."""
        source = self._source(X, network.layout, finite, lengths)
        layout = network.layout or Layout(network.layers, source.shape)
        shape = layout.shapes[-1]
        check_dense(y, "y")
        if np.ndim(y) == 0 or len(y) != source.n:
            raise ValueError(f"y must have one target for each of the {source.n} samples, got shape {np.shape(y)}")
        rows = by_rows(y, shape)
        if source.mask is not None:
            layout.check_mask()
        if source.mask is not None and layout.gives_steps and not isinstance(network.loss, GivenGradient):
            rows = filled(rows, source.mask.ravel() > 0)
        targets, signed = network.loss.check_targets(rows, shape[-1], self.dtype), network.loss.signed_weights
        weights = check_weights(sample_weight, source.n, signed=signed, of_some=of_some)
        if signed and weights is not None:
            targets[: source.n * math.prod(shape)].reshape(source.n, -1)[...] *= weights[:, None]
            weights = None
        return source, targets, weights

    def loss_and_grad(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, training: bool = False,
        lengths: ArrayLike | None = None,
    ) -> tuple[float, np.ndarray]:  # fmt: skip
        """Mean loss of the samples and its gradient, without changing the parameters.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As for `fit`.
        training : bool, default=False
            Whether layers behave as in training: dropout, statistics of the batch. The random numbers are those of the next
            step; running statistics stay as they are.

        Returns
        -------
        loss : float
        gradient : ndarray, laid out as `params`
            A copy of `grads`.
        """
        with guard(self), binding(self, X, y, sample_weight, training, lengths=lengths) as run:
            return run.run_loss_and_grad(), self.grads.copy()

    def train_on_batch(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, lengths: ArrayLike | None = None
    ) -> float:
        """One step of the optimizer with the samples as its batch.

        The network is bound to batches of that size in the first call; the next ones cost little beside the step.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As for `fit`.

        Returns
        -------
        float
            The mean loss of the samples before the step, penalties included.

        Raises
        ------
        ValueError
            If the samples do not fit, the optimizer works on all samples at once (`LBFGS`), or its schedule has no number
            of steps of its own and needs one.

        Examples
        --------
        >>> import numpy as np
        >>> from fastdnn import Model, layers
        >>> X = np.random.default_rng(0).standard_normal((64, 3)).astype("float32")
        >>> m = Model([layers.Dense(1)], optimizer="sgd", random_state=0)
        >>> losses = [m.train_on_batch(X, X.sum(axis=1)) for _ in range(200)]
        >>> losses[-1] < 0.1 * losses[0]
        True
        """
        if self.optimizer.full_batch:
            raise ValueError(f"{self.optimizer!r} has no steps with single batches; call fit")
        with guard(self), binding(self, X, y, sample_weight, training=True, lengths=lengths) as run:
            run.rate_factor = self.trained.rate_factors
            return run.run_epoch()

    def apply_gradient(self, gradient: ArrayLike) -> None:
        """One step of the optimizer with a gradient computed elsewhere: a mean over processes, a sum of `vjp`'s.

        Parameters
        ----------
        gradient : ndarray, laid out as `params`
            Not changed. A step whose gradient is not finite is left out (see `Optimizer`).

        Raises
        ------
        ValueError
            If the model is not built, the shape is another one, or the optimizer has no such steps (`LBFGS`).
        """
        self._built()
        with guard(self):
            check_gradient(self, gradient)
            kept(self, "apply_gradient", lambda: Applying(self))(self, gradient)

    def input_gradient(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, training: bool = False,
        lengths: ArrayLike | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Gradient of the mean loss of the samples with respect to the samples.

        Parameters
        ----------
        X, y, sample_weight, training, lengths
            As for `loss_and_grad`; X dense.

        Returns
        -------
        ndarray of the shape of X, of the model's float type

        Examples
        --------
        >>> import numpy as np
        >>> from fastdnn import Model, layers
        >>> m = Model([layers.Dense(1)], dtype="float64").build(2)
        >>> m.weights["0.dense.kernel"] = [[1.0], [3.0]]
        >>> m.input_gradient([[0.5, 0.0]], [0.0])  # of (x1 + 3 x2)^2 / 2
        array([[0.5, 1.5]])
        """
        with guard(self), binding(self, X, y, sample_weight, training, input_gradient=True, lengths=lengths) as run:
            gradient = _place_for_gradient(run)
            run.run_loss_and_grad()
            return gradient

    def vjp(
        self, X: ArrayLike, dscores: ArrayLike, training: bool = False, lengths: ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gradients of sum(scores * dscores): the product of a vector with the network's Jacobian (reverse mode).

        What another loss, another network or another program makes of the scores `forward(X)` goes back through this one.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples.
        dscores : array-like of the shape of ``forward(X)``
            Gradient of something with respect to the scores. Nothing is divided by n.
        training : bool, default=False
            Whether layers behave as in training, as for `loss_and_grad`.
        lengths : array-like of shape (n,) or None
            As for `fit`; the scores of steps behind the end are zeros of recurrent layers sent on, and have gradients, too.

        Returns
        -------
        dX : ndarray of the shape of X, of the model's float type
        gradient : ndarray, laid out as `params`
            A copy of `grads`.

        Examples
        --------
        >>> from fastdnn import Model, layers
        >>> m = Model([layers.Dense(1)], dtype="float64").build(2)
        >>> m.weights["0.dense.kernel"] = [[1.0], [3.0]]
        >>> m.vjp([[0.5, 0.0]], [[2.0]])[0]
        array([[2., 6.]])
        """
        self._built()
        with (
            guard(self),
            binding(self, X, dscores, None, training, input_gradient=True, loss=GivenGradient(), lengths=lengths) as run,
        ):
            gradient = _place_for_gradient(run)
            run.run_loss_and_grad()
            return gradient, self.grads.copy()
