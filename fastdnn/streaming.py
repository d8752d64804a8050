"""A fit on a stream: from what a user gives `Model.fit` to a `Fit`, and what is evaluated or predicted block by block."""

import numpy as np

from .callbacks.base import check_callbacks
from .data.arrow import is_arrow, matrix
from .data.blocks import in_block
from .data.buffer import ShuffleBuffer
from .data.places import Samples
from .evaluation import counted_rows, counts_steps, evaluate
from .feeding import StreamFeed
from .fitting import Fit
from .inputs import weights_of_classes
from .layers.base import sample_rows
from .layout import Layout
from .mixing import Mixing, check_mixing, mixable
from .progress import reporter
from .schedules import get_schedule
from .scoring import check_scoring
from .specs import check_count
from .training import Training
from .validation import check_validation_data, validation_stream

INSTEAD = {
    "sample_weight": "give blocks (X, y, sample_weight)",
    "lengths": "give blocks (X, y, sample_weight, lengths)",
    "validation_fraction": "give validation_data, arrays or another stream",
    "groups": "give validation_data, arrays or another stream",
    "out": "predictions of a stream are a new array",
}


def refuse(**given):
    """ValueError where one of these arguments is given, with a stream."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} cannot be given with a stream: {INSTEAD[name]}")


class Checks:
    """What is asked of the blocks of a stream: that they fit the network and the block that came first.

    Parameters
    ----------
    model : Model
        Whose `check` each block passes.
    class_weight : dict or None
        Of class numbers.
    mixing : tuple (mixup, cutmix)
    """

    def __init__(self, model, class_weight=None, mixing=(0.0, 0.0)):
        if isinstance(class_weight, str):
            raise ValueError(
                f"class_weight={class_weight!r} needs all samples at once; give a dict, which "
                "sklearn.utils.class_weight.compute_class_weight makes of some of the targets"
            )
        self._model, self._class_weight, self._mixing, self._names = model, class_weight, mixing, None

    def __call__(self, name, block):
        """The `Samples` of a block; ValueError that names it."""
        return self.with_targets(name, block)[0]

    def with_targets(self, name, block):
        """(`Samples` of a block, its targets as an array as they were given)"""
        model = self._model
        with in_block(name):
            self._check_names(block.X)
            X = matrix(block.X, model.dtype) if is_arrow(block.X) else block.X
            source, targets, weights = model.check(
                model.network, X, block.y, block.sample_weight, lengths=block.lengths, of_some=True
            )
            y = np.asarray(block.y)
            if any(self._mixing):
                y = mixable(model, source, y, targets, self._mixing[1])
                source, targets, weights = model.check(model.network, source, y, block.sample_weight, of_some=True)
            if self._class_weight is not None:
                factors = self._factors(y, weights)
                weights = factors if weights is None else weights * factors
        return Samples(source, targets, weights), np.asarray(y)

    def _check_names(self, X):
        """ValueError where the columns of a frame have other names than those of the first."""
        names = X.column_names if is_arrow(X) else list(X.columns) if hasattr(X, "columns") else None
        if self._names is None:
            self._names = (names,)
        if names != self._names[0]:
            raise ValueError(f"X has the columns {names}, in the blocks before {self._names[0]}")

    def _factors(self, y, weights):
        if y.ndim != 1 or y.dtype.kind not in "iub":
            raise ValueError(f"class_weight needs class numbers y of shape (n,), got {y.dtype} of shape {y.shape}")
        named = [label for label in self._class_weight if isinstance(label, (int, np.integer))]
        classes = np.arange(max(2, int(y.max(initial=0)) + 1, *(label + 1 for label in named)))
        given = {label: 1.0 for label in classes.tolist()} | self._class_weight
        return weights_of_classes({c: given[c] for c in classes.tolist()}, classes, y.astype(int), weights)[y.astype(int)]


def prepare_stream(
    model, stream, *, epochs, batch_size, validation_data=None, callbacks=(), verbose=0, shuffle=True, class_weight=None,
    scoring=None, accumulate=1, resume=False, mixup=0.0, cutmix=0.0, shuffle_buffer=None, validation_split="random",
    judge=None, estimator=None, **others,
):  # fmt: skip
    """A `Fit` from what `Model.fit` takes with a stream, its first block checked before the model is changed in any way."""
    check_count("epochs", epochs)
    callbacks, scorers = [*check_callbacks(callbacks), *reporter(verbose)], check_scoring(scoring)
    piece = check_count("batch_size", batch_size)
    batch_size *= check_count("accumulate", accumulate)
    most = None if shuffle_buffer is None else check_count("shuffle_buffer", shuffle_buffer)
    refuse(**others)
    if validation_split != "random":
        raise ValueError(f"validation_split cannot be given with a stream: {INSTEAD['validation_fraction']}")
    check_stream(model, stream, epochs, resume)
    if scorers and validation_data is None:
        raise ValueError("scoring needs validation_data that are arrays (X, y)")
    held_out = validation_stream(validation_data, epochs, scorers)
    mixing = check_mixing(mixup, cutmix)
    check = Checks(model, class_weight, mixing)
    buffer = ShuffleBuffer(stream, check, lambda samples: targets_of(model, samples), batch_size, most, shuffle)
    epoch = model.epochs
    samples = buffer.open(model.seed, epoch)
    if held_out is not None:
        validation_data = held_out, None, None, None
    elif validation_data is not None:
        validation_data = check_validation_data(validation_data, np.shape(validation_data[0]))
        layout = model.layout or Layout(model.layers, samples.source.shape)
        try:
            model.check(model.network._replace(layout=layout), *validation_data[:3], lengths=validation_data[3])
        except ValueError as error:
            raise ValueError(f"validation_data: {error}") from error
    if model.layout is None:
        model.build(samples.source.shape)
    places = buffer.places
    training = Training(
        model, places.source, places.targets, places.sample_weight, batch_size,
        piece=piece if accumulate > 1 else None, mixes=any(mixing),
    )  # fmt: skip
    judged = judge(None) if judge is not None and scorers else None
    run = Fit(model, training, None, epochs, None, validation_data, scorers, judged, callbacks, shuffle, resume, estimator)
    run.feed = StreamFeed(run, buffer, stream.n_samples)
    run.mixing = Mixing(*mixing, training, training.program.sample_shape) if any(mixing) else None
    return run


def targets_of(model, samples):
    """How many numbers the targets of a sample are."""
    layout = model.layout or Layout(model.layers, samples.source.shape)
    shape = layout.shapes[-1]
    return sample_rows(shape) * (1 if np.issubdtype(samples.targets.dtype, np.integer) else shape[-1])


def check_stream(model, stream, epochs, resume):
    """ValueError where a network cannot be trained on a stream in the way that is wanted."""
    if model.optimizer.full_batch:
        raise ValueError(f"{model.optimizer!r} needs all samples at once; take an optimizer of batches, 'adam' say")
    done = model.epochs - model.trained.fit_start[1] if resume and model.history is not None else 0
    if stream.one_pass and epochs > done + 1:
        raise ValueError(
            f"epochs must be {done + 1} for a generator, which can be read once, got {epochs}; "
            "give the function that makes it"
        )
    if stream.n_samples is None and get_schedule(model.optimizer.learning_rate).spans_fit:
        raise ValueError(
            f"{model.optimizer.learning_rate!r} needs the number of steps of the fit, and the stream does not say how many "
            "samples it has: give the schedule total, or the stream an attribute n_samples"
        )


def evaluate_stream(model, stream):
    """Loss and metrics of the samples of a stream; what is no mean over samples is made of all predictions."""
    network, check, sums, kept, total, weightless = model._built(), Checks(model), {}, [], 0.0, False
    for name, block in stream.numbered():
        (source, targets, weights), y = check.with_targets(name, block)
        counts = source.steps if counts_steps(network, source) else np.ones(source.n)
        weight = float(np.sum(counts if weights is None else counts * weights))
        if not weight:  # one of many blocks
            weightless = True
            continue
        found = evaluate(network, source, targets, y, weights, network.loss.metrics_are_means)
        for key, value in found.items():
            sums[key] = sums.get(key, 0.0) + value * weight
        if not network.loss.metrics_are_means:
            rows = counted_rows(network, source, y, weights)
            # Copies: a reader may use its arrays again.
            kept.append([None if part is None else np.array(part) for part in rows])
        total += weight
    if not total:
        raise ValueError("all samples of the stream have the weight 0" if weightless else "the stream has no blocks")
    found = {key: value / total for key, value in sums.items()}
    if kept:
        predictions, y, weights = zip(*kept, strict=True)
        weights = None if weights[0] is None else np.concatenate(weights)
        found |= network.loss.metrics(np.concatenate(predictions), np.concatenate(y), weights)
    return found


def predict_stream(predict, stream):
    """Predictions of all blocks, one after the other; predict : those of samples, or of an Arrow table, and their lengths."""
    found = []
    for name, block in stream.numbered():
        with in_block(name):
            found.append(predict(block.X, block.lengths))
    if not found:
        raise ValueError("the stream has no blocks")
    return np.concatenate(found)
