"""scikit-learn's scorers as metrics of a fit."""

import re

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer

from .losses import Hinge, LogLoss
from .losses.classification import Focal

MODES = "auto", "min", "max"
SMALLER_IS_BETTER = frozenset(  # last parts of keys
    "loss cost risk regret error err rmse mse mae mape smape msle rmsle deviance perplexity nll entropy crossentropy "
    "divergence kl brier distance wer cer fpr fnr norm seconds time".split()
)


def check_mode(mode):
    """The mode; ValueError unless it is one of "auto", "min" and "max"."""
    if not isinstance(mode, str) or mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    return mode


def smaller_is_better(key, mode="auto", scores=()):
    """Whether the smaller one of two values of a key is the better one: the one rule for all that looks for the best.

    Parameters
    ----------
    key : str
        Of a history.
    mode : {"auto", "min", "max"}
        "min" and "max" say it. "auto" goes by the last part of the key, parts being letters and digits between anything else
        and digits at the end not counted: smaller is better where it is in `SMALLER_IS_BETTER` ("val_loss", "my_rmse"),
        unless "neg" is one of the parts, as in scikit-learn's "neg_mean_squared_error".
    scores : collection of str
        Keys of scorers: of these "auto" takes the larger value for the better one, whatever they are called.
    """
    if check_mode(mode) != "auto":
        return mode == "min"
    parts = [part for part in re.split("[^a-z0-9]+", key.lower()) if part.strip("0123456789")]
    return key not in scores and "neg" not in parts and bool(parts) and parts[-1].rstrip("0123456789") in SMALLER_IS_BETTER


def check_scoring(scoring):
    """dict of name -> scorer from a scorer's name, a scorer, a list of names or a dict of name -> either.

    Parameters
    ----------
    scoring : None, str, callable, list of str, or dict of str -> str or callable
        A callable is a scorer, called as ``scorer(estimator, X, y)`` (and with `sample_weight` where there are weights and
        it takes them); larger is better.

    Raises
    ------
    ValueError
        If a name is none of scikit-learn's, or something is no scorer.
    """
    if scoring is None:
        return {}
    if isinstance(scoring, dict):
        named = scoring
    else:
        given = scoring if isinstance(scoring, (list, tuple, set)) else [scoring]
        named = [(scorer if isinstance(scorer, str) else getattr(scorer, "__name__", "score"), scorer) for scorer in given]
    scorers = {}
    for name, scorer in named.items() if isinstance(named, dict) else named:
        if not isinstance(name, str) or not (isinstance(scorer, str) or callable(scorer)):
            raise ValueError(f"scoring must hold names of scikit-learn's scorers or scorers, got {scorer!r}")
        if name == "loss" or name in scorers:
            raise ValueError(
                f"scoring must hold different names, other than 'loss', got {name!r}; take a dict to name scorers"
            )
        scorers[name] = get_scorer(scorer)  # ValueError with scikit-learn's list of names
    return scorers


def score(name, scorer, estimator, X, y, sample_weight=None):
    """The score as a float; the weights are passed on where there are some and the scorer takes them.

    ValueError that names the scorer where it cannot judge the samples, those of one class alone, say.
    """
    try:
        if sample_weight is None:
            return float(scorer(estimator, X, y))
        try:
            return float(scorer(estimator, X, y, sample_weight=sample_weight))
        except TypeError as error:
            if "sample_weight" not in str(error):
                raise
            return float(scorer(estimator, X, y))
    except ValueError as error:
        raise ValueError(
            f"scoring={name!r} cannot judge the {np.shape(y)[0]} validation samples: {error} (hold out more of them, with "
            "validation_split='stratified', or take a metric that is defined for them)"
        ) from error


class _Scored(BaseEstimator):
    """A `Model` as scorers want an estimator: fitted, with the methods that its loss gives a meaning."""

    def __init__(self, model, lengths=None):
        self.model, self.lengths = model, lengths

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, X, y):
        """Nothing: scorers want an estimator to have it."""
        return self


class ScoredRegressor(RegressorMixin, _Scored):
    """What a network predicts are numbers."""

    def predict(self, X):
        p = self.model.predict(X, self.lengths)
        return p[:, 0] if p.shape[1] == 1 else p


class ScoredClassifier(ClassifierMixin, _Scored):
    """What a network predicts are scores of the classes 0, 1, ...: one of two, or one a class."""

    @property
    def classes_(self):
        return np.arange(max(2, self.model.n_out))

    def decision_function(self, X):
        scores = self.model.forward(X, lengths=self.lengths)
        if scores.shape[1] == 1:
            return scores[:, 0]
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 and self.model.loss.labels else scores

    def predict(self, X):
        scores = self.model.forward(X, lengths=self.lengths)
        if self.model.loss.labels:
            return scores.argmax(axis=1)
        return (scores > 0).astype(int) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(int)


class ScoredProbabilities(ScoredClassifier):
    """A classifier that predicts probabilities too."""

    def predict_proba(self, X):
        p = self.model.predict(X, self.lengths)
        return np.column_stack([1 - p, p]) if p.shape[1] == 1 else p


def scored(model, lengths=None):
    """The view of a model that scorers work on; lengths : of the sequences that they judge."""
    probabilities = model.loss.labels or isinstance(model.loss, (LogLoss, Focal))
    kind = ScoredProbabilities if probabilities else ScoredClassifier if isinstance(model.loss, Hinge) else ScoredRegressor
    return kind(model, lengths)
