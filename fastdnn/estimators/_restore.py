"""A failing fit changes nothing."""

import contextlib
import copy

from ._mlp_solver import StochasticSolver

OF_CALLBACKS = "_callback_fit_ctx", "_skl_callbacks_to_teardown"  # what scikit-learn needs to end its callbacks


@contextlib.contextmanager
def unchanged_on_error(estimator, model=None, errors=Exception):
    """A block after an error in which the estimator is what it was before, but for what belongs to the call under way.

    errors : BaseException where Ctrl-C is one, because what there is then does not predict
    model : Model or None
        The network that the block trains as it is, not a copy of it: it goes back, too, and views of its weights stay views.
    """
    # Lists (loss curves) and the solver are written to in place; everything else is replaced.
    before = {k: copy.copy(v) if isinstance(v, (list, StochasticSolver)) else v for k, v in vars(estimator).items()}
    earlier = None if model is None else model.copy()
    try:
        yield
    except errors:
        kept = {name: estimator.__dict__[name] for name in OF_CALLBACKS if name in estimator.__dict__}
        estimator.__dict__.clear()
        estimator.__dict__.update(before | kept)
        if model is not None:
            model.go_back(earlier)
        raise
