"""VariationalAutoencoder: codes that are distributed normally, so that samples can be made of new ones."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from ..callbacks import Callback
from ..layers import Dense, Layer, Sampling
from ..losses import Loss
from ..optimizers import Optimizer
from ..rng import check_seed
from ..schedules import Schedule
from ..specs import check_count
from ._autoencoder import ATTRIBUTES, PARAMETERS, BaseAutoencoder
from ._parameters import set_all


class VariationalAutoencoder(BaseAutoencoder):
    __doc__ = f"""Autoencoder whose codes follow the standard normal distribution as nearly as they can: it makes new samples.

    Parameters
    ----------
    {PARAMETERS}

    beta : float, default=1.0
        Weight of the divergence of the codes of a sample from the standard normal distribution, beside the loss of its
        numbers, summed over all of them; >= 0. See `fastdnn.layers.Sampling`.

    Attributes
    ----------
    {ATTRIBUTES}

    Notes
    -----
    With loss='squared_error' the samples' numbers are taken to have noise of variance 1 (scale them up, or take a smaller
    beta, for sharper samples), with 'log_loss' to be probabilities. `transform` gives the means of the codes. "loss" of the
    history has the divergence in it, "val_loss" has not.

    References
    ----------
    Kingma, D. & Welling, M. (2014). Auto-encoding variational Bayes. arXiv:1312.6114.

    Examples
    --------
    >>> from fastdnn import VariationalAutoencoder
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data / 16
    >>> coder = VariationalAutoencoder(8, loss="log_loss", epochs=5, random_state=0).fit(X)
    >>> coder.sample(3, random_state=0).shape
    (3, 64)
    """

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        **BaseAutoencoder._parameter_constraints,
        "beta": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int = 16,
        *,
        hidden_layer_sizes: int | Sequence[int] = (128,),
        activation: Any = "relu",
        encoder: Sequence[Layer] | None = None,
        decoder: Sequence[Layer] | None = None,
        noise: float = 0.0,
        loss: str | Loss = "squared_error",
        optimizer: str | Optimizer = "adam",
        schedule: Schedule | None = None,
        epochs: int = 100,
        batch_size: int | str = "auto",
        early_stopping: bool = False,
        patience: int = 10,
        validation_fraction: float | None = None,
        callbacks: Sequence[Callback] | None = None,
        random_state: Any = None,
        verbose: bool | int = 0,
        beta: float = 1.0,
    ) -> None:
        set_all(self, locals())

    def _code_layers(self):
        return [Dense(2 * self.n_components), Sampling(float(self.beta))]

    def sample(self, n: int = 1, random_state: Any = None) -> np.ndarray:
        """Samples of new codes.

        Parameters
        ----------
        n : int, default=1
            How many.
        random_state : int, RandomState, Generator or None, default=None
            Source of the codes.

        Returns
        -------
        X : ndarray of shape (n, n_features) or (n, ...)
        """
        check_is_fitted(self)
        source = np.random.default_rng(check_seed(random_state))
        codes = source.standard_normal((check_count("n", n), self.n_components_))
        return self.inverse_transform(codes.astype(self.model_.dtype))
