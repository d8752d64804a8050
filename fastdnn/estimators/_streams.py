"""Streams of blocks for estimators: classes found in a first pass, each block checked as scikit-learn checks arrays."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight

from ..data.arrow import is_arrow, matrix
from ..data.blocks import Block, Mapped, in_block, peeked
from ..inputs import weights_of_classes
from ..layers import Dense
from ..streaming import prepare_stream
from ._parameters import made_optimizer
from ._steps import steps_of, takes_ids, targets_of_steps


def frame_of(X):
    """(X as an array where it is an Arrow table, its column names or None)"""
    return (matrix(X), np.array(X.column_names, dtype=object)) if is_arrow(X) else (X, None)


class CheckedStream(Mapped):
    """The blocks of a stream as an estimator's network takes them.

    Parameters
    ----------
    estimator : estimator
        Gets `classes_`, `n_features_in_` and `feature_names_in_` as from arrays; its methods check each block.
    source : BlockSource
    targets : callable
        Makes targets of the network of (X, y), checked.
    first : bool
        Whether the estimator is fitted for the first time: its columns are those of the first block.

    Attributes
    ----------
    names : ndarray of str or None
        Of the columns of Arrow tables, which arrays have none of.
    n_targets : int
        Outputs of the network, as a block has shown.
    """

    def __init__(self, estimator, source, targets, first):
        super().__init__(source, self._checked)
        self._estimator, self._targets, self._reset, self.names, self._class_weights = estimator, targets, first, None, None

    def first(self):
        """The first block, checked; it will come again."""
        (name, block), self._source = peeked(self._source)
        reset = self._reset
        block = self._checked(name, block)
        self._reset = reset
        return block

    def weigh_classes(self, counts):
        """Let `class_weight` count; counts : of the samples of each class, by weight, or None."""
        given = self._estimator.class_weight
        if given is None:
            return
        classes = self._estimator.classes_
        self._class_weights = weights_of_classes(given, classes, np.arange(len(classes)), counts)

    def _checked(self, name, block):
        X, names = frame_of(block.X)
        try:
            if self.names is not None and (names is None or names.tolist() != self.names.tolist()):
                raise ValueError(f"X has the columns {names}, in the blocks before {self.names.tolist()}")
            X, y = self._estimator._validate_input(X, block.y, True, reset=self._reset)
            weight = block.sample_weight
            weight = None if weight is None else np.asarray(_check_sample_weight(weight, X), np.float64)
        except (ValueError, TypeError) as error:
            raise in_block(name, error) from error
        self._reset, self.names, self.n_targets = False, names, self._estimator._count_outputs(y)
        if self._class_weights is not None:
            factors = self._class_weights[np.asarray(y).ravel().astype(np.int64)]
            weight = factors if weight is None else weight * factors
        return Block(X, self._targets(X, y), weight, block.lengths)


def target_blocks(estimator, stream):
    """The blocks of a stream for who looks at targets: without samples where a source can leave them out.

    Labels of steps are those that count, one after the other.
    """
    if not estimator.layers and hasattr(stream, "target_blocks"):
        yield from stream.target_blocks()
        return
    for _, block in stream.numbered():
        steps = None if is_arrow(block.X) else steps_of(estimator, block.X)
        yield block if steps is None else block._replace(y=targets_of_steps(estimator, block.X, block.y, steps))


def find_classes(estimator, stream, classes):
    """Give a classifier the classes of a stream: those of `classes`, or what a pass over the targets finds.

    Returns the sum of the weights of each class's samples, None where nobody has counted.
    """
    if not is_classifier(estimator):
        return None
    balanced = estimator.class_weight == "balanced"
    if classes is not None and not balanced:
        estimator._label_binarizer = LabelBinarizer().fit(np.asarray(classes))
        estimator.classes_ = estimator._label_binarizer.classes_
        return None
    if stream.one_pass:
        raise ValueError(
            "classes must be given for a generator, which can be read once"
            + (", and class_weight='balanced' needs to read it twice" if balanced else "")
            + ": give all labels, or the function that makes the generator"
        )
    found = {}
    for number, block in enumerate(target_blocks(estimator, stream)):
        y = np.asarray(block.y)
        if y.ndim > 1 and y.shape[1] > 1:
            if balanced:
                raise ValueError("class_weight must be None for label indicators in a stream; give weights in the blocks")
            estimator._label_binarizer = LabelBinarizer().fit(y)
            estimator.classes_ = estimator._label_binarizer.classes_
            return None
        if type_of_target(y) == "continuous":
            raise ValueError(f"block {number}: y must hold class labels, got numbers like {y.ravel()[0]}: take a regressor")
        labels, numbers = np.unique(y.ravel(), return_inverse=True)
        weights = None if block.sample_weight is None else np.asarray(block.sample_weight, float)
        for label, weight in zip(labels.tolist(), np.bincount(numbers, weights), strict=True):
            found[label] = found.get(label, 0.0) + float(weight)
    if not found:
        raise ValueError("the stream has no blocks")
    estimator._label_binarizer = LabelBinarizer().fit(np.array(list(found)))
    estimator.classes_ = estimator._label_binarizer.classes_
    return np.array([found[label] for label in estimator.classes_.tolist()])


class FitsStreams:
    """How an estimator that fits a list of layers is fitted to a stream."""

    def _fitted_stream(self, stream, given, classes, shuffle_buffer):
        """What `_fitted` does, with blocks."""
        first = not hasattr(self, "model_") or not self.warm_start
        counts = None
        if first:
            for name in ("classes_", "feature_names_in_", "n_features_in_"):
                self.__dict__.pop(name, None)
            counts = find_classes(self, stream, classes)
        blocks = CheckedStream(self, stream, lambda X, y: self._targets(X, y, self._make_loss()), first)
        one = blocks.first()
        self._check_class_weight(one.X)
        if is_classifier(self):
            blocks.weigh_classes(counts)
        n_targets, self.out_activation_ = blocks.n_targets, self._output_activation()
        loss, optimizer = self._make_loss(), made_optimizer(self)
        layers = [*self._hidden_layers(), Dense(loss.n_scores(n_targets))]
        dtype = np.dtype("float32") if takes_ids(self) else one.X.dtype
        model = self._network(layers, loss, optimizer, dtype, first)
        callbacks = self._callbacks(None, None, {}, False)
        run = prepare_stream(
            model, blocks, batch_size=200 if self.batch_size == "auto" else int(self.batch_size), accumulate=self.accumulate,
            mixup=self.mixup, cutmix=self.cutmix, shuffle=self.shuffle, verbose=self.verbose, estimator=self,
            epochs=int(self.epochs), shuffle_buffer=shuffle_buffer, callbacks=callbacks,
            **self._stream_validation(given, loss, dtype),
        )  # fmt: skip
        self._carry_out(run, callbacks, n_targets)
        if first and blocks.names is not None:
            self.feature_names_in_ = blocks.names
        return self

    def _stream_validation(self, given, loss, dtype):
        """What `prepare_stream` wants to know of validation."""
        if given[0] is None and (self.early_stopping or self.validation_fraction is not None):
            raise ValueError("a stream has no part to hold out: give X_val and y_val, or set early_stopping=False")
        return self._validation((None, None), None, None, loss, dtype, given, None, False)
