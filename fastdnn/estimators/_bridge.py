"""scikit-learn's callbacks (`set_callbacks`, scikit-learn 1.9) on fastdnn's fits."""

import copy

from ..callbacks import Callback
from ..callbacks.base import check_callbacks


class Bridge(Callback):
    """Calls the callbacks that were set with `estimator.set_callbacks` or come from a meta-estimator.

    The fit is the root task, each epoch one of its subtasks. `fitted_estimator`, where a callback asks for it, is a copy of
    the estimator with a copy of the network as it is then.

    Parameters
    ----------
    estimator : estimator
        A `CallbackSupportMixin`; its network is the attribute `network`.
    X, y : array-like
        What `fit` was given.
    metadata : dict
        The rest, by name.
    network : str
        Name of the estimator's attribute that is the network.
    """

    def __init__(self, estimator, X, y, metadata, network):
        self.estimator, self.X, self.y, self.metadata, self.network = estimator, X, y, metadata, network

    def _task(self):
        data = {"estimator": self.estimator, "X": self.X, "y": self.y, "metadata": self.metadata}
        return {**data, "reconstruction_attributes": self._reconstruction}

    def _reconstruction(self):
        return {self.network: copy.deepcopy(getattr(self.estimator, self.network))}

    def on_fit_begin(self, fit):
        self._context = self.estimator._init_callback_context(max_subtasks=fit.epochs)
        self._context.call_on_fit_task_begin(**self._task())

    def on_epoch_begin(self, fit):
        self._epoch = self._context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self._task())

    def on_epoch_end(self, fit):
        stop = self._epoch.call_on_fit_task_end(**self._task())
        return "a callback of scikit-learn's asked for it" if stop else None

    def on_fit_end(self, fit):
        if fit.error is None:
            self._context.call_on_fit_task_end(**self._task())


def callbacks_of(estimator, X, y, metadata, network):
    """Callbacks of one fit: copies of the parameter's, ours that were set the other way, and the bridge to the rest.

    Copies, because `fit` may not change parameters; what they have found is in them.
    """
    own = [copy.deepcopy(c) if isinstance(c, Callback) else c for c in check_callbacks(estimator.callbacks)]
    set_ = getattr(estimator, "_skl_callbacks", [])
    own += [copy.deepcopy(c) for c in set_ if isinstance(c, Callback)]  # clones share them, in threads perhaps
    return own + ([Bridge(estimator, X, y, metadata, network)] if set_ else [])
