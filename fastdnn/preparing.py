"""From what a user gives `Model.fit` to a `Fit`: everything is checked before the model is changed in any way."""

import numpy as np

from . import rng
from .callbacks.base import check_callbacks
from .fitting import Fit
from .inputs import check_weights, class_factors, times
from .mixing import Mixing, check_mixing, mixable
from .progress import reporter
from .scoring import check_scoring
from .specs import check_count
from .validation import check_validation_data, hold_out, take, validation_stream


def prepare(
    model, X, y, *, epochs, batch_size, sample_weight=None, validation_data=None, callbacks=(), verbose=0, shuffle=True,
    class_weight=None, validation_fraction=None, validation_split="random", groups=None, scoring=None, accumulate=1,
    resume=False, lengths=None, judge=None, strata=None, estimator=None, factors=None, mixup=0.0, cutmix=0.0,
):  # fmt: skip
    """A `Fit` from what `Model.fit` takes, all of it checked before the model is changed in any way.

    judge : callable or None
        Gives what scorers get, (estimator, X, y), for the rows that are held out (None where `validation_data` is given).
    strata : array-like of shape (n,) or None
        Classes of the samples for a stratified split, y if None.
    estimator : see `Fit`
    factors : ndarray of shape (n,) or None
        What the weights of the samples are multiplied by in training, and in training alone; from `class_weight` if None.
    """
    check_count("epochs", epochs)
    callbacks, scorers = [*check_callbacks(callbacks), *reporter(verbose)], check_scoring(scoring)
    piece = check_count("batch_size", batch_size)
    batch_size *= check_count("accumulate", accumulate)
    if validation_data is not None and validation_fraction is not None:
        raise ValueError("validation_data and validation_fraction exclude each other; give one")
    if scorers and validation_data is None and validation_fraction is None:
        raise ValueError("scoring needs validation data: give validation_data or validation_fraction")
    if validation_fraction is None and (groups is not None or validation_split != "random"):
        raise ValueError("groups and validation_split say what validation_fraction holds out; give it, too")
    stream = validation_stream(validation_data, epochs, scorers)
    source, targets, weights = model.check(model.network, X, y, sample_weight, lengths=lengths)
    if model.loss.signed_weights and sample_weight is not None:  # in the targets; whoever takes some of the rows wants both
        weights = check_weights(sample_weight, source.n, signed=True)
    factors = class_factors(class_weight, y, weights) if factors is None else factors
    rows, held_out = None, None
    if validation_fraction is not None:
        split_seed = int(rng.generator(model.seed, rng.SPLIT).integers(2**31))
        rows, held_out = hold_out(
            validation_fraction, validation_split, source.n, y if strata is None else strata, groups, split_seed
        )
        validation_data = source.take(held_out), take(y, held_out), None if weights is None else weights[held_out], None
        weights = times(weights, factors)
        for part, what in ((rows, "left to train on"), (held_out, "held out")):
            if weights is not None and not weights[part].any():
                raise ValueError(
                    f"the samples {what} by validation_fraction={validation_fraction} all have the weight 0; give another "
                    "fraction or validation_split, or leave those samples out"
                )
        if model.optimizer.full_batch:
            source, y, weights = source.take(rows), take(y, rows), None if weights is None else weights[rows]
            rows = None
    elif stream is not None:
        validation_data = stream, None, None, None
    elif validation_data is not None:
        validation_data = check_validation_data(validation_data, np.shape(X))
        try:
            model.check(model.network, *validation_data[:3], lengths=validation_data[3])
        except ValueError as error:
            raise ValueError(f"validation_data: {error}") from error
    if validation_fraction is None:
        weights = times(weights, factors)
    mixes = any(check_mixing(mixup, cutmix))
    soft = mixable(model, source, y, targets, cutmix) if mixes else y
    check_place(model, resume)
    training = model.bind(source, soft, weights, batch_size, piece=piece if accumulate > 1 else None, mixes=mixes)
    judged = judge(held_out) if judge is not None and scorers else None
    run = Fit(model, training, y, epochs, rows, validation_data, scorers, judged, callbacks, shuffle, resume, estimator)
    run.mixing = Mixing(mixup, cutmix, training, training.program.sample_shape) if mixes else None
    return run


def check_place(model, resume):
    """ValueError where a fit that is to go on was in the middle of a stream, and is not given one."""
    if resume and model.trained.place is not None:
        raise ValueError(
            "the fit that is resumed was in the middle of an epoch of a stream: give X the same stream, or start anew with "
            "resume=False"
        )
