"""Streams of blocks for estimators: classes found in a first pass, each block checked as scikit-learn checks arrays."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight

from ..data.arrow import is_arrow, matrix
from ..data.blocks import Block, Blocks, Mapped, as_stream, in_block, peeked
from ..inputs import check_missing, weights_of_classes
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
        with in_block(name):
            self._check_names(names)
            X, y = self._estimator._validate_input(X, block.y, True, reset=self._reset)
            weight = block.sample_weight
            if weight is not None:
                weight = _check_sample_weight(weight, X, dtype=np.float64, allow_all_zero_weights=True)
        self._reset, self.names, self.n_targets = False, names, self._estimator._count_outputs(y)
        if self._class_weights is not None:
            factors = self._class_weights[np.asarray(y).ravel().astype(np.int64)]
            weight = factors if weight is None else weight * factors
        return Block(X, self._targets(X, y), weight, block.lengths)

    def _check_names(self, names):
        """ValueError where an Arrow table has other columns than those before, or where another kind of X follows one."""
        of_frames = getattr(self._estimator, "feature_names_in_", None)
        before = self.names if self.names is not None or names is None else of_frames
        given, before = (None if found is None else found.tolist() for found in (names, before))
        if before is not None and given != before:
            raise ValueError(f"X has the columns {given}, in the blocks before {before}")


def target_blocks(estimator, stream):
    """The named blocks of a stream for who looks at targets: without samples where a source can leave them out.

    Labels of steps are those that count, one after the other.
    """
    if not estimator.layers and hasattr(stream, "target_blocks"):
        yield from Blocks(stream.target_blocks).numbered()
        return
    for name, block in stream.numbered():
        steps = None if is_arrow(block.X) else steps_of(estimator, block.X)
        yield name, block if steps is None else block._replace(y=targets_of_steps(estimator, block.X, block.y, steps))


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
    found, texts = {}, None
    for name, block in target_blocks(estimator, stream):
        with in_block(name):
            y = np.asarray(block.y)
            if y.ndim and not len(y):  # which is said when the samples are looked at
                continue
            if y.ndim > 1 and y.shape[1] > 1:
                if balanced:
                    raise ValueError("class_weight must be None for label indicators in a stream; give weights in the blocks")
                estimator._label_binarizer = LabelBinarizer().fit(y)
                estimator.classes_ = estimator._label_binarizer.classes_
                return None
            labels, weights = labels_of(y, block.sample_weight)
            of_texts = isinstance(labels[0], str)
            if texts not in (None, of_texts):
                raise ValueError(f"y has the label {labels[0]!r}, the blocks before {next(iter(found))!r}: give all one type")
        texts = of_texts
        for label, weight in zip(labels, weights, strict=True):
            found[label] = found.get(label, 0.0) + weight
    if not found:
        raise ValueError("the stream has no blocks")
    estimator._label_binarizer = LabelBinarizer().fit(np.array(list(found)))
    estimator.classes_ = estimator._label_binarizer.classes_
    return np.array([found[label] for label in estimator.classes_.tolist()])


def labels_of(y, sample_weight):
    """(the labels in y, the sum of the weights of each); ValueError unless they are labels of classes."""
    if y.ndim == 0:
        raise ValueError(f"y must hold class labels of shape (n,), got shape {y.shape}")
    check_missing(y, "y")
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    if type_of_target(y, input_name="y") in ("continuous", "unknown"):
        raise ValueError(
            f"y must hold class labels, got {y.dtype} like {y.ravel()[0]!r}: give integers or strings, or take a regressor"
        )
    labels, numbers = np.unique(y.ravel(), return_inverse=True)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, numbers, dtype=np.float64, allow_all_zero_weights=True)
    return labels.tolist(), np.bincount(numbers, sample_weight, minlength=len(labels)).tolist()


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
            **self._stream_validation(given, loss, dtype, blocks.names),
        )  # fmt: skip
        self._carry_out(run, callbacks, n_targets)
        if first and blocks.names is not None:
            self.feature_names_in_ = blocks.names
        return self

    def _stream_validation(self, given, loss, dtype, names):
        """What `prepare_stream` wants to know of validation: with samples given, or with a stream in the place of X_val."""
        if given[0] is None and (self.early_stopping or self.validation_fraction is not None):
            raise ValueError("a stream has no part to hold out: give X_val and y_val, or set early_stopping=False")
        alone = given[1] is None and given[2] is None and self.validation_fraction is None
        if alone and (stream := as_stream(given[0])) is not None:
            held_out = CheckedStream(self, stream, lambda X, y: self._targets(X, y, loss), False)
            held_out.names = names
            return {"validation_data": held_out, "scoring": self.scoring}
        return self._validation((None, None), None, None, loss, dtype, given, None, False)
