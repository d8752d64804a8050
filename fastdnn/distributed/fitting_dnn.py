"""How DNN* estimators are fitted to the partitions of dask collections."""

import warnings
from typing import NamedTuple

import numpy as np
from dask.base import is_dask_collection
from sklearn.base import is_classifier
from sklearn.utils.multiclass import type_of_target

from ..data.blocks import Block
from ..estimators._bridge import Bridge
from ..estimators._parameters import made_optimizer
from ..estimators._restore import unchanged_on_error
from ..estimators._steps import steps_of, takes_ids
from ..estimators._streams import find_classes
from ..inputs import weights_of_classes
from ..layers import Dense
from .driver import make_fleet, train
from .local import HasLocal
from .partitions import Reader, get_client, here, zipped
from .worker import named

UNCHANGED = {"accumulate": 1, "mixup": 0.0, "cutmix": 0.0}


class Outline(NamedTuple):
    """What is to be known of a partition before there is a network: class labels, the sum of the weights of each; types."""

    labels: np.ndarray | None
    weights: np.ndarray | None
    dtype: str
    outputs: int


def outline(part, number, read, labels):
    """The `Outline` of a partition; labels : whether y holds labels."""
    with named(f"partition {number}"):
        X, y, weights = read(part)
        dtype = "float32" if X.dtype == np.float32 else "float64"
        if not labels or not len(y):
            return Outline(None, None, dtype, 1 if y.ndim == 1 else y.shape[1])
        if y.ndim > 1:
            return Outline(y[:1], None, dtype, y.shape[1])
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            raise ValueError("y must hold class labels, got NaN or infinity")
        if y.dtype.kind == "f" and type_of_target(y) == "continuous":
            raise ValueError(f"y must hold class labels, got numbers like {y[0]}: take a regressor")
        found, numbers = np.unique(y, return_inverse=True)
        return Outline(found, np.bincount(numbers, weights, len(found)), dtype, 1)


class Labels:
    """The labels of all partitions, as `find_classes` takes them."""

    one_pass = False

    def __init__(self, outlines):
        self._outlines = outlines

    def target_blocks(self):
        return [Block(None, o.labels, o.weights) for o in self._outlines if o.labels is not None]


class ReadsForEstimator:
    """Arrays of a partition as the network of an estimator takes them; see `partitions.Reader`.

    Parameters
    ----------
    read : Reader
    estimator : estimator
        With classes and number of features.
    loss : Loss
    class_weights : ndarray of shape (classes,) or None
    """

    def __init__(self, read, estimator, loss, class_weights):
        self.read, self.estimator, self.loss, self.class_weights = read, estimator, loss, class_weights

    def __call__(self, part):
        X, y, weights = self.read(part)
        if not len(y):
            return X, y, weights
        X, y = self.estimator._validate_input(X, y, True, reset=False)
        if self.class_weights is not None:
            factors = self.class_weights[np.asarray(y).ravel().astype(np.int64)]
            weights = factors if weights is None else weights * factors
        return X, self.estimator._targets(X, y, self.loss), weights


class DaskDNN(HasLocal):
    """Base of the DNN* estimators for dask collections."""

    def _fit_collections(self, X, y, sample_weight, client, validation):
        self._check_collection(X)
        for name, value in UNCHANGED.items():
            if getattr(self, name) != value:
                raise ValueError(f"{name} must be {value} where samples lie on workers, got {getattr(self, name)!r}")
        if validation[0] is None and (self.early_stopping or self.validation_fraction is not None):
            raise ValueError(
                "nothing is held out of samples that lie on workers: give X_val and y_val, or set early_stopping=False and "
                "validation_fraction=None"
            )
        client, read = get_client(client), Reader(X)
        parts = client.compute(zipped(X, y, sample_weight))
        with unchanged_on_error(self):
            return self._fit_partitions(client, parts, read, X, validation)

    def _fit_partitions(self, client, parts, read, X, validation):
        first = not hasattr(self, "model_") or not self.warm_start
        fleet = make_fleet(
            client,
            parts,
            read,
            200 if self.batch_size == "auto" else int(self.batch_size),
            self.lanes,
            self.sync_every,
            120.0,
        )
        classifier = is_classifier(self)
        outlines = fleet.ask("outline", outline, read, classifier)
        shape, counts = tuple(map(int, X.shape[1:])), None
        if first:
            for name in ("classes_", "feature_names_in_", "n_features_in_"):
                self.__dict__.pop(name, None)
            counts = find_classes(self, Labels(outlines), None)
        self.n_features_in_ = shape[0]
        if steps_of(self, np.zeros((0, *shape))) is not None:
            raise ValueError("layers that give something for each step of a sequence are not for dask collections yet")
        columns = outlines[0].outputs
        n_targets = self._count_outputs(np.zeros((0, columns) if classifier or columns > 1 else 0))
        self.out_activation_, loss = self._output_activation(), self._make_loss()
        weights = self._weights_of_classes(counts) if classifier else None
        dtype = self.model_.dtype if not first else np.dtype("float32" if takes_ids(self) else outlines[0].dtype)
        layers = [*self._hidden_layers(), Dense(loss.n_scores(n_targets))]
        model = self._network(layers, loss, made_optimizer(self), dtype, first)
        fleet.read = ReadsForEstimator(read, self._shell(), loss, weights)
        if read.columns is not None and all(isinstance(name, str) for name in read.columns):
            self.feature_names_in_ = np.array(read.columns, dtype=object)
        callbacks = self._callbacks(None, None, {}, False)
        brought = tuple(here(data, client) for data in validation)
        given = self._validation((None, None), None, None, loss, dtype, brought, None, False)

        def prepared(run):  # scorers predict during the fit
            self.model_, self.history_, self.n_outputs_ = model, run.history, n_targets
            self.callbacks_ = [c for c in callbacks if not isinstance(c, Bridge)]

        try:
            history = train(
                model, fleet, shape, epochs=int(self.epochs), callbacks=callbacks, verbose=self.verbose, shuffle=self.shuffle,
                estimator=self, prepared=prepared, **given,
            )  # fmt: skip
            self.history_ = history
        except KeyboardInterrupt:
            if getattr(self, "model_", None) is not model:  # nothing has been learned yet
                raise
            warnings.warn("Training interrupted by user.", stacklevel=6)
        if not np.isfinite(model.params).all():
            raise ValueError("training diverged: the weights are not finite. Scale X, or take a smaller learning rate")
        self.n_epochs_ = len(self.history_["loss"])
        return self

    def _check_local(self, X):
        """ValueError where X is a dask collection, for a method that takes arrays alone."""
        if is_dask_collection(X):
            raise ValueError(
                "partial_fit takes arrays; of dask collections fit(X, y) with warm_start=True goes on with the network"
            )

    def _weights_of_classes(self, counts):
        """`class_weight` as weights of `classes_`; None without."""
        if self.class_weight is None:
            return None
        if self._label_binarizer.y_type_ == "multilabel-indicator":
            raise ValueError("class_weight must be None for label indicators; use sample_weight")
        return weights_of_classes(self.class_weight, self.classes_, np.arange(len(self.classes_)), counts)

    def _shell(self):
        """The local estimator with all that is known but the network."""
        made = self._unfitted(callbacks=None)
        for name in ("classes_", "_label_binarizer", "n_features_in_", "out_activation_"):
            if name in self.__dict__:
                setattr(made, name, getattr(self, name))
        return made

    def _to_local(self):
        made = super()._to_local()
        made.model_ = self.model_.copy()
        return made
