"""Errors by which members are judged: of targets, predictions and weights, the smaller the better."""

import numpy as np
from sklearn.metrics import roc_auc_score

SMALLEST = 1e-7  # probability that counts in logarithms


def rmse(y, p, weight):
    """Root of the mean squared error."""
    return np.sqrt(np.average(np.square(y - p).mean(axis=1), weights=weight))


def mae(y, p, weight):
    """Mean absolute error."""
    return np.average(np.abs(y - p).mean(axis=1), weights=weight)


def rmsle(y, p, weight):
    """Root of the mean squared error of log(1 + y)."""
    return rmse(np.log1p(np.maximum(y, 0)), np.log1p(np.maximum(p, 0)), weight)


def poisson(y, p, weight):
    """Mean Poisson deviance."""
    p = np.maximum(p, 1e-12)
    ratio = np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / p), 0)
    return 2 * np.average((ratio - y + p).mean(axis=1), weights=weight)


def error_rate(y, p, weight):
    """Share of the wrong classes."""
    return np.average(p.argmax(axis=1) != y, weights=weight)


def log_loss(y, p, weight):
    """Mean negative logarithm of the probability of the right class."""
    return np.average(-np.log(np.maximum(p[np.arange(len(p)), y], SMALLEST)), weights=weight)


def inverse_auc(y, p, weight):
    """1 - area under the ROC curve, of several classes one against the rest; the log loss where a class is missing."""
    if p.shape[1] < 2 or len(np.unique(y)) < p.shape[1]:
        return 1 + log_loss(y, p, weight)
    if p.shape[1] == 2:
        return 1 - roc_auc_score(y, p[:, 1], sample_weight=weight)
    return 1 - np.mean([roc_auc_score(y == c, p[:, c], sample_weight=weight) for c in range(p.shape[1])])


def binary_log_loss(y, p, weight):
    """Mean log loss of the labels of an indicator matrix."""
    p = np.clip(p, SMALLEST, 1 - SMALLEST)
    return np.average(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean(axis=1), weights=weight)


class Own:
    """A user's metric (y, predictions) -> error, of class labels where there are classes."""

    def __init__(self, function, classes=None):
        self.function, self.classes = function, classes

    def __call__(self, y, p, weight):
        error = self.function(y if self.classes is None else self.classes[y], p)
        if np.ndim(error) != 0:
            raise ValueError(f"eval_metric must give a number, got an array of shape {np.shape(error)}")
        return error


OF_NUMBERS = {"rmse": rmse, "mae": mae, "rmsle": rmsle, "poisson": poisson}
OF_CLASSES = {"accuracy": error_rate, "log_loss": log_loss, "roc_auc": inverse_auc}
