"""L-BFGS: SciPy's, on the flat array of parameters, all samples at once."""

import numpy as np
import scipy.optimize

from .history import History
from .layers.base import KEY, SYNC_FORWARD


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


def fit_lbfgs(model, training, iterations, verbose=0, validation_data=None, callbacks=()):
    """Minimize a model's loss with the `LBFGS` that is its optimizer; returns the `History` of the iterations."""
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
            print(f"Iteration {len(history['loss'])}/{iterations} loss {history['loss'][-1]:.6g}")
        if any([callback(model, history) for callback in callbacks]):
            raise StopIteration

    result = scipy.optimize.minimize(
        loss_and_grad,
        model.params[positions].astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        callback=after_iteration,
        options={
            "maxiter": iterations,
            "maxcor": optimizer.history,
            "gtol": optimizer.tolerance,
            "ftol": 64 * np.finfo(float).eps,
        },
    )
    model.params[positions] = result.x
    if not history:
        history.add(loss=float(result.fun))
    return history
