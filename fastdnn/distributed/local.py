"""What estimators for dask collections have in common: each has a local one, which it becomes and which predicts."""

import inspect
from numbers import Integral

from dask.base import is_dask_collection
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .partitions import Reader
from .predicting import mapped, scored

CONSTRAINTS = {
    "sync_every": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "lanes": [Interval(Integral, 1, None, closed="left"), None],
}
OF_WORKERS = """sync_every : int or 'auto', default='auto'
        Steps between two looks of the workers at each other: 1 adds gradients each step, more average parameters. See
        `fastdnn.distributed.fit`.

    lanes : int or None, default=None
        Into how many parts the samples are divided, whose results do not depend on which worker has which; None is one for
        each worker, of the partitions that lie there."""


class HasLocal:
    """Base of the estimators for dask collections.

    Attributes
    ----------
    local : type
        The estimator for what is here.
    takes : str
        What that takes.
    reader : type
        Of the partitions, see `Reader`.
    """

    local, takes, reader = None, "arrays", Reader

    def _check_collection(self, X):
        """ValueError unless X is a dask collection."""
        if not is_dask_collection(X):
            raise ValueError(
                f"X must be a dask array or frame, got {type(X).__name__}; {self.local.__name__} takes {self.takes}, and "
                "dask.array.from_array(X, chunks=(rows, -1)) makes a dask array of one"
            )

    def _unfitted(self, **others):
        """The local estimator with the same parameters, but for others."""
        names = [name for name in inspect.signature(self.local.__init__).parameters if name != "self"]
        return self.local(**{name: getattr(self, name) for name in names} | others)

    def _to_local(self):
        check_is_fitted(self)
        parameters, made = {*inspect.signature(type(self).__init__).parameters}, self._unfitted()
        vars(made).update({name: value for name, value in vars(self).items() if name not in parameters})
        return made

    def _mapped(self, method, X):
        """What a method gives for dask collections lazily, and for what is here at once."""
        if not is_dask_collection(X):
            return getattr(super(), method)(X)
        return mapped(self._to_local(), method, X)

    def _scored(self, X, y, sample_weight):
        if not is_dask_collection(X):
            return super().score(X, y, sample_weight)
        return scored(self._to_local(), X, y, sample_weight, self.reader(X))
