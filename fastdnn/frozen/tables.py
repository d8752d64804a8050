"""Networks of a table that only predict: a table as it is in, the mean of what they say out."""

import numpy as np

from ..tabular.tasks import tempered
from .table_files import parts_of_table, plain_table


class FrozenTable:
    """What an ensemble's networks say together of the rows of a table. Python threads may share it. It pickles.

    Parameters
    ----------
    reader : TableReader
        Fitted.
    features : Features
        Fitted.
    predictors : list of Predictor
        One for each network.
    weights : list of float
        Of the networks in the mean.
    scales : list of (TargetScale or None)
        Of the targets that each network has learned.
    temperature : float or None
        Of classes.
    quantiles : list of float or None
        That are predicted.
    shift, limits : list of float or None, pair of lists or None
        What quantiles are moved by, and the lowest and the highest that they may be.
    """

    def __init__(
        self, reader, features, predictors, weights, scales, temperature=None, quantiles=None, shift=None, limits=None
    ):  # fmt: skip
        self.reader, self.features, self.predictors, self.weights, self.scales = reader, features, predictors, weights, scales
        self.temperature, self.quantiles, self.shift, self.limits = temperature, quantiles, shift, limits
        self.dtype, self.output_shape = predictors[0].dtype, predictors[0].output_shape
        self.input_shape = (reader.n_features_in_,)

    def predict(self, X):
        """Predictions for the rows of a table, float64 of shape (n, k): probabilities, numbers or quantiles."""
        Z, total = self.features.transform(*self.reader.transform(X)), 0.0
        for predictor, weight, scale in zip(self.predictors, self.weights, self.scales, strict=True):
            p = predictor.predict(Z).astype(np.float64)
            p = self._ordered(p if scale is None else scale.inverse(p))
            p *= weight
            total = total + p
        if self.temperature is not None:
            return tempered(total, self.temperature)
        return total if self.shift is None else np.clip(self._ordered(total + self.shift), *self.limits)

    def _ordered(self, p):
        """Quantiles in their order; anything else as it is."""
        return p if self.quantiles is None else np.sort(p, axis=1)[:, np.argsort(np.argsort(self.quantiles))]

    @property
    def nbytes(self):
        """Bytes of the networks' weights."""
        return sum(predictor.nbytes for predictor in self.predictors)

    def summary(self):
        """Tables of the networks, as a string."""
        return "\n\n".join(predictor.summary() for predictor in self.predictors)

    def plain(self):
        """What makes it of its predictors, as JSON has it."""
        return plain_table(self)

    @classmethod
    def of_plain(cls, predictors, plain):
        """The other way round; ValueError and the like if they do not fit each other."""
        return cls(predictors=predictors, **parts_of_table(plain, predictors))

    def __repr__(self):
        return f"<FrozenTable of {len(self.predictors)} networks, {self.nbytes:,} bytes of weights, {self.dtype}>"
