"""Samples that are to be predicted, checked, and what is predicted of them."""

import numpy as np
import scipy.sparse
from sklearn.utils import assert_all_finite

from ..data.arrow import is_arrow, matrix
from ..data.blocks import as_stream
from ..inference import chunks
from ..inputs import check_samples
from ..streaming import predict_stream
from ._steps import takes_ids


def predictions(estimator, model, X, lengths=None):
    """((n, n_outputs) predictions of a fitted estimator's network, in chunks; the type of the samples as checked).

    lengths : of sequences, which the blocks of a stream may have
    """
    if type(X) is not np.ndarray and (stream := as_stream(X)) is not None:
        found = predict_stream(lambda *block: predictions(estimator, model, *block)[0], stream)
        return found, found.dtype
    named = is_arrow(X)
    X = of_arrow(estimator, model, X) if named else X
    warns = "feature_names_in_" in estimator.__dict__ and not named  # of a nameless X if fit had names
    if lengths is None and not warns:
        found, finite = model.predict_plain(X)  # without `validate_data`, which takes 70 us for one row
        if finite and len(found):
            return found, found.dtype
        if named:
            assert_all_finite(X, input_name="X")
    X = checked(estimator, model, X)
    return model.predict(X, lengths), X.dtype


def of_arrow(estimator, model, X):
    """An Arrow table as an array of the network's float type; ValueError unless its columns are those of the fit."""
    names = getattr(estimator, "feature_names_in_", np.array(X.column_names)).tolist()
    if X.column_names != names:
        raise ValueError(f"X must have the columns of the fit, {names}, got {X.column_names}")
    return matrix(X, model.dtype)


def checked(estimator, model, X):
    """X as scikit-learn checks it, with numbers that the network's float type holds."""
    return check_samples(estimator, X, model.layout.shapes[0], model.dtype, takes_ids(estimator))


def winners(estimator, model, X, all_predictions, lengths=None):
    """Column (n,) of the largest prediction of each sample; of many classes the predictions are never all there at once.

    all_predictions : callable
        Gives those of X, where they are few.
    """
    if type(X) is not np.ndarray and (stream := as_stream(X)) is not None:
        return predict_stream(lambda X, lengths: winners(estimator, model, X, all_predictions, lengths), stream)
    if lengths is not None:
        return predictions(estimator, model, X, lengths)[0].argmax(axis=-1)
    if len(chunks(X.shape[0] if hasattr(X, "shape") else len(X), model.n_out)) <= 1:
        return all_predictions(X).argmax(axis=-1)
    X = checked(estimator, model, X)
    X = X.tocsr() if scipy.sparse.issparse(X) else X
    return np.concatenate([model.predict(X[part]).argmax(axis=-1) for part in chunks(X.shape[0], model.n_out)])
