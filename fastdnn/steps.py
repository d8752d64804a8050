"""Single steps and gradients, a batch a call: the bindings to the last kinds of batches are kept from call to call."""

import contextlib

import numpy as np

from .engine import TRAIN
from .layers.base import DATA
from .losses.base import GivenGradient
from .sources import Source
from .thread_choice import SLICE, worthwhile_threads
from .training import Training

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


def bound(model, X, y, sample_weight, training, input_gradient=False, loss=None):
    """The `Training` with these samples as its one batch, checked; `loss` stands in for the network's.

    With `input_gradient`, whoever calls gives data.dx a place.
    """
    network = model.network if loss is None else model.network._replace(loss=loss)
    source, targets, weights = model.check(network, X, y, sample_weight)
    if model.layout is None:
        model.build(source.shape)
    if input_gradient and source.kind in ("csr", "ids"):
        what = "a sparse X are not computed; use X.toarray()" if source.sparse else "ids do not exist"
        raise ValueError(f"gradients with respect to {what}")
    loss = loss or model.loss
    key = source.n, source.kind, loss.kernel_for(targets, model.n_out), weights is None, training, input_gradient

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


def loss_and_grad(model, X, y, sample_weight=None, training=False):
    """(mean loss of the samples, its flat gradient)"""
    with binding(model, X, y, sample_weight, training) as run:
        return run.loss_and_grad(), model.grads.copy()


def train_on_batch(model, X, y, sample_weight=None):
    """One step of the optimizer with the samples as its batch; their mean loss before it, penalties included."""
    if model.optimizer.full_batch:
        raise ValueError(f"{model.optimizer!r} has no steps with single batches; call fit")
    with binding(model, X, y, sample_weight, training=True) as run:
        run.rate_factor = model.trained.rate_factors
        return run.epoch()


def input_gradient(model, X, y, sample_weight=None, training=False):
    """Gradient of the mean loss of the samples with respect to the samples."""
    with binding(model, X, y, sample_weight, training, input_gradient=True) as run:
        gradient = _gradient_of(run)
        run.loss_and_grad()
        return gradient


def vjp(model, X, dscores, training=False):
    """(gradient of the samples, flat gradient) of sum(scores * dscores)."""
    with binding(model, X, dscores, None, training, input_gradient=True, loss=GivenGradient()) as run:
        gradient = _gradient_of(run)
        run.loss_and_grad()
        return gradient, model.grads.copy()


def _gradient_of(run):
    """A new array for the gradient of the samples."""
    gradient = np.empty((run.source.n, *run.source.shape), run.model.dtype)
    run.data[:, DATA.dx] = gradient.ctypes.data
    return gradient


class Applying:
    """The engine's second half alone: the optimizer's step for a gradient that is there, in the model's `grads`."""

    def __init__(self, model):
        self.network, loss, shape = model.network, GivenGradient(), model.layout.shapes
        nothing = Source(np.zeros((1, *shape[0]), model.dtype), model.dtype)
        targets = loss.check_targets(np.zeros((int(np.prod(shape[-1][:-1])), shape[-1][-1])), shape[-1][-1], model.dtype)
        self._training = Training(model, nothing, targets, None, 1, training=False, loss=loss)
        self._padding = model.layout.padding()

    def __call__(self, model, gradient):
        model.grads[...] = gradient
        model.grads[self._padding] = 0
        scalars = model.optimizer.step_scalars(np.array([model.step + 1]), factor=model.trained.rate_factors)
        threads = worthwhile_threads(FLOPS_OF_UPDATE * model.layout.size, 1, model.dtype.itemsize)
        call = self._training.bound(threads, True)
        call.job[[TRAIN.n_shards, TRAIN.n_segments, TRAIN.loss_rows, TRAIN.own]] = 0  # no rows go through the network
        call.job[TRAIN.grads] = model.grads.ctypes.data
        call(0, 1, 0, 1, 1, np.ones(1), np.zeros(1), scalars, 0.0, SLICE)
        model.step += 1


def apply_gradient(model, gradient):
    """One step of the optimizer with a flat gradient."""
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
    kept(model, "apply_gradient", lambda: Applying(model))(model, gradient)
