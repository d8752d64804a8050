"""The two ways to fit a model: epoch by epoch in steps, and L-BFGS on all samples at once.

Both are called by `Model.fit`, which has checked everything: (model, training, epochs, validation_data, callbacks, verbose,
shuffle) -> History, as described there.
"""

import warnings

import numpy as np
import scipy.optimize

from . import rng
from .history import History
from .layers.base import KEY, SYNC_FORWARD
from .schedules import get_schedule


def fit_steps(model, training, epochs, validation_data, callbacks, verbose, shuffle):
    """Epochs of steps with the optimizer's rates."""
    history, schedule = History(), get_schedule(model.optimizer.learning_rate)
    training.first_step, training.total_steps = model.step, epochs * -(-training.source.n // training.batch_size)
    for epoch in range(epochs):
        order = rng.generator(model.seed, rng.SHUFFLE, model.epochs).permutation(training.source.n) if shuffle else None
        training.rate_factor = model.plateau.get("factor", 1.0)
        history.add(loss=training.epoch(order))
        model.epochs += 1
        finite = np.isfinite(history["loss"][-1])
        if validation_data is not None and finite:
            history.add(**{f"val_{k}": v for k, v in model.evaluate(*validation_data).items()})
        if schedule.reacts and finite:
            schedule.observe(history["val_loss" if validation_data is not None else "loss"][-1], model.plateau)
        if verbose:
            print(f"Epoch {epoch + 1}/{epochs} " + "  ".join(f"{k} {v[-1]:.6g}" for k, v in history.items()))
        if not finite:
            warnings.warn(
                f"the loss is {history['loss'][-1]} in epoch {epoch + 1}: training stopped. Scale the data to about unit "
                "variance or take a smaller learning rate",
                RuntimeWarning,
                stacklevel=3,
            )
            break
        if any([callback(model, history) for callback in callbacks]):
            break
    return history


def check_network(model, program):
    """ValueError if a network has what a minimizer of one fixed function cannot do."""
    parameters = [e.parameter for e in model.layout.entries]
    refused = {
        "dropout and noise (another function each step)": program.table[:, KEY].any(),
        "BatchNorm (its running statistics follow steps)": (program.table[:, SYNC_FORWARD] != 0).any(),
        "max_norm": any(p.max_norm is not None for p in parameters),
        "l1 (not smooth)": any(p.l1 for p in parameters),
    }
    for what, found in refused.items():
        if found:
            raise ValueError(f"LBFGS cannot train a network with {what}; take AdamW or SGD")


def fit_lbfgs(model, training, epochs, validation_data, callbacks, verbose, shuffle):
    """Minimize the loss of all samples with SciPy's L-BFGS-B, an iteration an epoch; returns the `History`."""
    check_network(model, training.program)
    history, optimizer = History(), model.optimizer
    decays, free = np.zeros(model.layout.size), np.zeros(model.layout.size, bool)
    for entry in model.layout.entries:
        entry.view(decays)[...] = entry.parameter.l2 + optimizer.l2 * entry.decays
        entry.view(free)[...] = entry.parameter.rate > 0  # 0 freezes a layer
    positions = np.flatnonzero(free)
    decays = decays[positions]

    def loss_and_grad(x):
        model.params[positions] = x
        loss = training.loss_and_grad()
        return loss + 0.5 * np.dot(decays * x, x), model.grads[positions].astype(np.float64) + decays * x

    def after_iteration(intermediate_result):
        model.params[positions] = intermediate_result.x
        history.add(loss=float(intermediate_result.fun))
        model.epochs += 1
        if validation_data is not None:
            history.add(**{f"val_{k}": v for k, v in model.evaluate(*validation_data).items()})
        if verbose:
            print(f"Iteration {len(history['loss'])}/{epochs} loss {history['loss'][-1]:.6g}")
        if any([callback(model, history) for callback in callbacks]):
            raise StopIteration

    result = scipy.optimize.minimize(
        loss_and_grad,
        model.params[positions].astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        callback=after_iteration,
        options={
            "maxiter": epochs,
            "maxcor": optimizer.history,
            "gtol": optimizer.tolerance,
            "ftol": 64 * np.finfo(float).eps,
        },
    )
    model.params[positions] = result.x
    if not history:
        history.add(loss=float(result.fun))
    return history
