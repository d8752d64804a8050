"""A network that only predicts."""

import numpy as np

from ..inference import chunks
from ..inputs import check_sparse
from .files import own_arrays, save_predictor
from .report import summary


class Predictor:
    """A network that only predicts: what `Model.freeze` gives and `fastdnn.predictor.load` reads.

    Several Python threads may use one at the same time. It pickles.

    Attributes
    ----------
    dtype : str
        Of the products: "float32", "float64", "bfloat16" or "int8".
    input_shape, output_shape : tuple of int
        Of a sample, and of what is predicted for it.
    """

    def __init__(self, model, dtype):
        self.model, self.dtype = model, dtype

    @classmethod
    def of_parts(cls, make_model, parts, loss, input_shape, real, dtype="float32"):
        """One of folded `Part` objects, for samples of that shape; real : the float type of values and other weights.

        make_model : the class `Model`
        """
        model = make_model([part.layer for part in parts], loss=loss, optimizer="sgd", dtype=real)
        model.build(input_shape, initialize=False)
        places = dict(model.weights) | dict(model.states)
        given = [arrays for part in parts for arrays in part.arrays]
        for (key, _), arrays in zip(model.layout.leaves, given, strict=True):
            for name, array in arrays.items():
                places[f"{key}.{name}"][...] = array
        return cls(model, dtype)

    @property
    def input_shape(self):
        return self.model.layout.shapes[0]

    @property
    def output_shape(self):
        return self.model.layout.shapes[-1]

    def predict(self, X, lengths=None, out=None):
        """Predictions, the loss's link applied: as `Model.predict`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, *input_shape)
            Samples; NaN in one gives NaN in its predictions.
        lengths : array-like of shape (n,) or None
            As for `Model.predict`.
        out : ndarray of shape (n, *output_shape), C-contiguous, of the float type, or None
            Where the predictions are to stand, in place of a new array.

        Returns
        -------
        ndarray of shape (n, *output_shape), float32 (float64 with that dtype)
        """
        if self._is_sparse(X):
            return self._by_parts(X, lambda rows: self.model.predict(rows, lengths), out)
        return self.model.predict(X, lengths, out)

    def _is_sparse(self, X):
        """Whether X is a sparse matrix that the first layer cannot read itself."""
        return hasattr(X, "tocsr") and not self.model.layers[0].takes_sparse

    def _by_parts(self, X, f, out=None):
        """f of the rows of a sparse matrix, dense, some at a time."""
        check_sparse(X)
        X = X.tocsr()
        found = [f(X[part].toarray()) for part in chunks(max(1, X.shape[0]), X.shape[1])]
        return np.concatenate(found, out=out)

    def forward(self, X, lengths=None):
        """Raw scores, before the loss's link: as `Model.forward`."""
        if self._is_sparse(X):
            return self._by_parts(X, lambda rows: self.model.forward(rows, lengths=lengths))
        return self.model.forward(X, lengths=lengths)

    def summary(self):
        """Table of the layers, with what their products are made of and the bytes of their weights, as a string."""
        return summary(self)

    @property
    def nbytes(self):
        """Bytes of all weights."""
        own = sum(a.nbytes for _, leaf in self.model.layout.leaves for a in own_arrays(leaf).values())
        return own + sum(a.nbytes for a in (*self.model.weights.values(), *self.model.states.values()))

    def save(self, path):
        """Write it to a file that cannot execute code; whole or not at all.

        Parameters
        ----------
        path : str or path-like
            The file, ".fdnn" by custom; `fastdnn.predictor.load` reads it.

        Raises
        ------
        OSError
            If it cannot be written.
        ValueError
            If there are parts that cannot be written down (functions of your own).
        """
        save_predictor(self, path)

    def __repr__(self):
        return f"<Predictor of {len(self.model.layers)} layers, {self.nbytes:,} bytes of weights, {self.dtype}>"
