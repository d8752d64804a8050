"""What a model says of samples: predictions, scores, losses, step by step too."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .data.arrow import is_arrow, matrix
from .data.blocks import as_stream
from .evaluation import evaluate
from .inference import check_out, is_plain, plain, results
from .losses import scores_link
from .specs import check_count
from .stepper import Stepper
from .steps import Steps
from .streaming import evaluate_stream, predict_stream, refuse


class Predictions(Steps):
    """Base of `Model`: what it says of samples."""

    def forward(self, X: Any, layer: int | None = None, lengths: ArrayLike | None = None) -> np.ndarray:
        """Raw scores, before the loss's link: ndarray of shape (n, n_out). NaN in a sample gives NaN in its scores.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features)
            Samples.
        layer : int or None, default=None
            Number of the layer (negative ones count from the end) whose output is wanted, in place of the last one's: then
            of shape (n, *shape of that output).
        lengths : array-like of shape (n,) or None
            As for `fit`.
        """
        if type(X) is not np.ndarray and (stream := as_stream(X)) is not None:
            refuse(lengths=lengths)
            return predict_stream(lambda X, lengths: self.forward(X, layer, lengths), stream)
        if layer is None:
            return self._infer(self._built(), X, True, lengths)
        whole = self._built()
        if (
            isinstance(layer, bool)
            or not isinstance(layer, (int, np.integer))
            or not -len(self.layers) <= layer < len(self.layers)
        ):
            raise ValueError(f"layer must be a number from {-len(self.layers)} to {len(self.layers) - 1}, got {layer!r}")
        part = whole.beginning(whole.layers[: layer % len(self.layers) + 1])
        return self._infer(part, X, True, lengths)

    def predict(self, X: Any, lengths: ArrayLike | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """Predictions, the loss's link applied: probabilities, means.

        Computed in chunks: beyond the result, memory does not grow with n. A row's result does not depend on the others.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features), or (n, ...)
            Samples; NaN in one gives NaN in its predictions.
        lengths : array-like of shape (n,) or None
            As for `fit`. What is predicted for steps behind the end means nothing.
        out : ndarray of shape (n, *output shape), C-contiguous, of the model's float type, or None
            Where the predictions are to stand, in place of a new array; not in memory of X.

        Returns
        -------
        ndarray of shape (n, n_out), of the model's float type

        Raises
        ------
        ValueError
            If the model is not built, or X or `out` not of its shape.
        """
        network = self._built()
        if type(X) is not np.ndarray and (stream := as_stream(X)) is not None:
            refuse(lengths=lengths, out=out)
            return predict_stream(self.predict, stream)
        return self._infer(network, X, False, lengths, out)

    def stepper(self, n: int = 1, scores: bool = False) -> Stepper:
        """Predictions a step at a time, of networks with recurrent layers: for streams and for text that is made.

        Parameters
        ----------
        n : int, default=1
            Sequences that go on side by side.
        scores : bool, default=False
            Whether steps give raw scores (`forward`), and not predictions.

        Returns
        -------
        Stepper
            With ``step(x)``, ``reset()``, ``copy()`` and ``states``. It follows the parameters of this model as long as the
            model keeps its arrays: further fits are seen, `load_weights` and assignments to `params`, too.

        Raises
        ------
        ValueError
            If the model is not built, has no recurrent layer, or a layer that needs more than one step at once
            (convolutions, pooling, backward directions).

        Examples
        --------
        >>> import numpy as np
        >>> from fastdnn import Model, layers
        >>> m = Model([layers.GRU(4, return_sequences=True), layers.Dense(1)], random_state=0).build((9, 2))
        >>> X = np.ones((1, 9, 2), "float32")
        >>> stepper = m.stepper()
        >>> by_steps = [stepper.step(X[:, t]) for t in range(9)]
        >>> bool((np.stack(by_steps, axis=1) == m.predict(X)).all())
        True
        """
        return Stepper(self._built(), check_count("n", n), scores)

    def _infer(self, network, X, scores, lengths=None, out=None):
        kernel = scores_link if scores else network.loss.link_for(network.n_out)
        X = matrix(X, self.dtype) if is_arrow(X) else X
        if lengths is None and is_plain(network, X):
            check_out(network, len(X), out, X)
            return plain(network, X, kernel, out)[0]
        source = self._source(X, network.layout, False, lengths)
        check_out(network, source.n, out)
        if source.mask is not None:
            network.layout.check_mask()
        return results(network, source, kernel, out)

    def predict_plain(self, X):
        """(predictions, whether X was finite) for an array that kernels can read as it is; otherwise (None, False)."""
        network = self._built()
        return plain(network, X, network.loss.link_for(network.n_out)) if is_plain(network, X) else (None, False)

    def evaluate(
        self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None, lengths: ArrayLike | None = None
    ) -> dict[str, float]:
        """Loss and metrics of the samples.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        dict
            "loss", and what the loss's `metrics` gives: "accuracy" of classes, "coverage_..." of quantiles, otherwise "r2"
            (NaN if a prediction is).

        Raises
        ------
        ValueError
            If the model is not built, or the samples and targets do not fit it.
        """
        network = self._built()
        if y is None and (stream := as_stream(X)) is not None:
            refuse(sample_weight=sample_weight, lengths=lengths)
            return evaluate_stream(self, stream)
        source, targets, weights = self.check(network, X, y, sample_weight, False, lengths)
        if source.n == 0:
            raise ValueError("X has no samples")
        return evaluate(network, source, targets, y, weights)
