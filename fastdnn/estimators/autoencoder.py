"""Autoencoder: codes of samples, and samples of codes."""

from collections.abc import Sequence
from typing import Any

from ..callbacks import Callback
from ..layers import Dense, Layer
from ..losses import Loss
from ..optimizers import Optimizer
from ..schedules import Schedule
from ._autoencoder import ATTRIBUTES, PARAMETERS, BaseAutoencoder
from ._parameters import set_all


class Autoencoder(BaseAutoencoder):
    __doc__ = f"""Network that makes its own input of a code of few numbers: features, compression, denoising, outliers.

    Parameters
    ----------
    {PARAMETERS}

    Attributes
    ----------
    {ATTRIBUTES}

    Notes
    -----
    The network's float type is X's: float32 samples are computed in float32 (about twice as fast), anything else in float64.

    References
    ----------
    Hinton, G. & Salakhutdinov, R. (2006). Reducing the dimensionality of data with neural networks. Science 313.
    Vincent, P. et al. (2008). Extracting and composing robust features with denoising autoencoders. ICML.

    Examples
    --------
    >>> from fastdnn import Autoencoder
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data / 16
    >>> coder = Autoencoder(8, epochs=5, random_state=0).fit(X)
    >>> coder.transform(X).shape, coder.inverse_transform(coder.transform(X)).shape
    ((1797, 8), (1797, 64))
    """

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
    ) -> None:
        set_all(self, locals())

    def _code_layers(self):
        return [Dense(self.n_components)]
