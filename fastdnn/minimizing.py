"""L-BFGS on all samples at once: SciPy's minimizer as a fit, an iteration an epoch."""

import contextlib

import numpy as np
import scipy.optimize

from ._guard import guard
from .layers.base import OP

EPSILON = np.finfo(float).eps


def check_network(model, program):
    """ValueError if a network has what a minimizer of one fixed function cannot do."""
    parameters = [e.parameter for e in model.layout.entries]
    refused = {
        "dropout and noise (another function each step)": program.table[:, OP.key].any(),
        "BatchNorm (its running statistics follow steps)": (program.table[:, OP.sync_forward] != 0).any(),
        "spectral_norm (its vectors follow steps)": program.table[:, OP.spectral].any(),
        "max_norm": any(p.max_norm is not None for p in parameters),
        "l1 (not smooth)": any(p.l1 for p in parameters),
    }
    for what, found in refused.items():
        if found:
            raise ValueError(f"LBFGS cannot train a network with {what}; take AdamW or SGD")


class Ended(Exception):
    """Ends SciPy's minimizer, which takes a StopIteration for its own, whoever raised it."""


@contextlib.contextmanager
def stop_iteration_passes():
    """A block of a function that SciPy calls back: a StopIteration of the user's leaves the minimizer as cause of `Ended`."""
    try:
        yield
    except StopIteration as error:
        raise Ended from error


def minimize(loss_and_grad, x, **settings):
    """SciPy's L-BFGS-B from x on; its result, or None if `Ended` has ended it, whose cause is raised."""
    try:
        return scipy.optimize.minimize(loss_and_grad, x, method="L-BFGS-B", jac=True, **settings)
    except Ended as end:
        error = end.__cause__
    if error is not None:
        raise error
    return None


def fit_lbfgs(run):
    """Minimize the loss of all samples with SciPy's L-BFGS-B, an iteration an epoch; the weights are those of the last one.

    SciPy's minimizer cannot go on from where it was. Its one array of moments holds what a fit began with, so a
    resumed fit runs the same iterations again, silently, and then those that are new.
    """
    model, training, optimizer = run.model, run.training, run.model.optimizer
    decays, free = np.zeros(model.layout.size), np.zeros(model.layout.size, bool)
    for entry in model.layout.entries:
        entry.view(decays)[...] = entry.parameter.l2 + optimizer.l2 * entry.decays
        entry.view(free)[...] = entry.parameter.learning_rate_factor > 0  # 0 freezes a layer
    positions = np.flatnonzero(free)
    decays = decays[positions]
    if run.epoch:
        model.params[...] = model.moments
    else:
        model.moments[...] = model.params
    seen, last = 0, model.params[positions].astype(np.float64)

    def loss_and_grad(x):
        if training.watch is not None and seen >= run.epoch and training.watch(0.0):
            raise Ended
        if seen == run.epoch < run.epochs and run.epoch_is_over:
            run.begin_epoch()
        with guard(model):  # nobody else sees what the line search tries
            model.params[positions] = x
            loss = training.run_loss_and_grad()
            model.params[positions] = last
        return loss + 0.5 * np.dot(decays * x, x), model.grads[positions].astype(np.float64) + decays * x

    def after_iteration(intermediate_result):
        nonlocal seen, last
        seen += 1
        if seen > run.epoch:
            with stop_iteration_passes():
                with guard(model):
                    model.params[positions] = last = intermediate_result.x.copy()
                    model.step += 1
                    run.record_epoch(float(intermediate_result.fun))
                stops = run.call("on_epoch_end")
            if stops:
                raise Ended

    options = {"maxiter": run.epochs, "maxcor": optimizer.history, "gtol": optimizer.tolerance, "ftol": 64 * EPSILON}
    try:
        result = minimize(loss_and_grad, last, callback=after_iteration, options=options)
        if result is not None and not run.epoch:  # there was nothing to improve
            run.end_epoch(float(result.fun))
        elif run.history.stopped is None and run.epoch < run.epochs:
            run.history.stopped = f"L-BFGS has ended: {result.message}"
    finally:
        model.params[positions] = last
