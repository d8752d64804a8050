"""What `Model.fit` needs to know of L-BFGS, which is SciPy's (see `fastdnn.minimizing`)."""

from ..specs import check_number
from .base import OPTIMIZERS, Optimizer


class LBFGS(Optimizer):
    """L-BFGS on all samples at once, SciPy's: the direction comes from the last gradients, its length from a line search.

    An epoch of `Model.fit` is an iteration; `batch_size` and `shuffle` have no meaning. For small data and smooth losses.

    Parameters
    ----------
    history : int, default=10
        Pairs of steps and gradients that the curvature is estimated from.
    tolerance : float, default=1e-5
        The largest gradient with which it stops, >= 0.
    l2 : float, default=0.0
        Penalty l2 / 2 sum p^2 on matrices, >= 0. A network with dropout, noise, BatchNorm, l1 or max_norm is refused.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers, optimizers
    >>> X = np.linspace(-1, 1, 64, dtype="float32").reshape(-1, 1)
    >>> model = Model([layers.Dense(1)], optimizer=optimizers.LBFGS(), random_state=0)
    >>> losses = model.fit(X, 3 * X, epochs=5)["loss"]
    >>> losses[-1] < losses[0]
    True

    References
    ----------
    Liu, D. & Nocedal, J. (1989). On the limited memory BFGS method. Mathematical Programming 45.
    """

    name = "lbfgs"
    full_batch = True
    n_arrays = 1  # what a fit began with

    def __init__(self, history=10, tolerance=1e-5, l2=0.0):
        super().__init__(1.0, l2=l2)
        self.history = int(check_number("history", history, "(0, inf)"))
        self.tolerance = check_number("tolerance", tolerance, "[0, inf)")


OPTIMIZERS[LBFGS.name] = LBFGS
