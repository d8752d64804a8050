"""What is to be known of a fitted estimator before it becomes nodes: types and sizes."""

import numpy as np

from ..estimators._autoencoder import BaseAutoencoder
from ..estimators._tabular import BaseTabular


def is_tabular(estimator):
    """Whether it is one for tables."""
    return isinstance(estimator, BaseTabular)


def is_autoencoder(estimator):
    """Whether it makes codes of samples."""
    return isinstance(estimator, BaseAutoencoder)


def network_of(estimator):
    """The `Network` of an estimator that has one."""
    return estimator.model_.network if is_autoencoder(estimator) else estimator._fitted_network().network


def network_type(estimator):
    """Float type of the networks."""
    return np.dtype(np.float32) if is_tabular(estimator) else network_of(estimator).params.dtype


def result_type(estimator):
    """Float type of probabilities and predictions."""
    return np.dtype(np.float64) if is_tabular(estimator) else network_type(estimator)


def has_indicators(classifier):
    """Whether labels are the indicators of a multilabel problem."""
    if is_tabular(classifier):
        return classifier._multilabel
    return classifier.out_activation_ != "softmax" and classifier.n_outputs_ > 1


def n_probabilities(classifier):
    """Columns of `predict_proba`."""
    return len(classifier.classes_) if is_tabular(classifier) else max(classifier.n_outputs_, 2)


def n_numbers(regressor):
    """Numbers that are predicted of a sample."""
    return regressor._task.width if is_tabular(regressor) else network_of(regressor).n_out
