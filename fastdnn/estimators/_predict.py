"""Samples that are to be predicted, checked, and what is predicted of them."""

import numpy as np
import scipy.sparse

from ..inference import chunks
from ..inputs import check_samples
from ._steps import takes_ids


def predictions(estimator, model, X):
    """((n, n_outputs) predictions of a fitted estimator's network, in chunks; the type of the samples as checked)."""
    if "feature_names_in_" not in estimator.__dict__:  # a nameless X gets a warning if fit had names
        found, finite = model.predict_plain(X)  # without `validate_data`, which takes 70 us for one row
        if finite and len(found):
            return found, found.dtype
    X = checked(estimator, model, X)
    return model.predict(X), X.dtype


def checked(estimator, model, X):
    """X as scikit-learn checks it, with numbers that the network's float type holds."""
    return check_samples(estimator, X, model.layout.shapes[0], model.dtype, takes_ids(estimator))


def winners(estimator, model, X, all_predictions):
    """Column (n,) of the largest prediction of each sample; of many classes the predictions are never all there at once.

    all_predictions : callable
        Gives those of X, where they are few.
    """
    if len(chunks(X.shape[0] if hasattr(X, "shape") else len(X), model.n_out)) <= 1:
        return all_predictions(X).argmax(axis=-1)
    X = checked(estimator, model, X)
    X = X.tocsr() if scipy.sparse.issparse(X) else X
    return np.concatenate([model.predict(X[part]).argmax(axis=-1) for part in chunks(X.shape[0], model.n_out)])
