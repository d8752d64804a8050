"""What is said at the end of a fit whose model is of little use: steps that were left out, outputs that are all the same.

Looking costs a forward pass of at most 32 rows and a few passes over the targets and the optimizer's memory.
"""

import contextlib
import math
import pathlib
import sys
import warnings

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning

from .losses import scores_link

ROWS = 32  # samples that are looked at
FEW = 0.01  # part of the steps that may be left out without a word
SAME = 1e-2  # scores that differ by less, in parts of their size and of what the targets ask for, are taken for the same
INSIDE = (contextlib.__file__, *(str(pathlib.Path(path).parent) for path in (__file__, sklearn.__file__)))


def warn(text):
    """A ConvergenceWarning at the line of the user's that has called fastdnn."""
    level, frame = 2, sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ConvergenceWarning, stacklevel=level)


@contextlib.contextmanager
def judged(run):
    """Around a `Fit`: warn at its end, if no error has ended it, of what its user should know."""
    model, training = run.model, run.training
    skipped, step = model.skipped_steps, model.step
    yield
    if not math.isfinite((run.history.get("loss") or [math.nan])[-1]):  # which has been said, or there was no epoch
        return
    for text in left_out(model, model.skipped_steps - skipped, model.step - step):
        warn(text)
    if not run.resumes:  # what there is to learn may have come before
        rows = np.arange(training.source.n) if run.feed.rows is None else run.feed.rows
        texts = (
            list(nothing_to_learn(training.targets, rows)) if len(rows) == run.n else []
        )  # of a stream only a part is there
        for text in (*texts, *collapsed(model, training.source, training.targets, rows)):
            warn(text)


def left_out(model, skipped, steps):
    """Texts about steps that were left out, and weights that cannot move any more."""
    if skipped > FEW * steps:
        yield (
            f"{skipped} of {steps} steps were left out because the loss or the gradient was not finite: nothing has been "
            f"learned in them. Scale X and y to about unit variance, take a smaller learning rate than "
            f"{model.optimizer.learning_rate}, or give the optimizer clip_norm=1.0"
        )
    moments = model.trained.moments
    if moments is not None and len(moments) and not (math.isfinite(moments.min()) and math.isfinite(moments.max())):
        yield (
            "gradients were so large that the optimizer's memory of them is infinite: those weights will not move again. "
            "Scale X and y to about unit variance, or give the optimizer clip_norm=1.0, and fit anew"
        )


def nothing_to_learn(targets, rows):
    """Texts about targets among which there is nothing to tell apart."""
    if len(rows) == 1:
        yield "there is only one sample to train on: the model will say the same of all that are like it; give more"
    elif same(targets[few(rows)]) and same(targets[rows]):
        what = "are of one class" if is_class(targets) else "have the same target"
        yield f"all {len(rows)} samples {what}: the model can only learn to say so; give samples of others too"


def collapsed(model, source, targets, rows):
    """Texts about a model that gives the same for all samples, though the targets differ."""
    some = few(rows)
    X, y = source.take(some), targets[some]
    scores = model.forward(X)
    scale = spread(middle(y)) if model.loss.link is scores_link else 1.0  # of logits and logarithms
    if same(y) or not spread(scores) <= SAME * min(scale, float(np.abs(scores).max())):  # nor if NaN
        return
    if X.all_same() and source.take(rows).all_same():
        yield f"all {len(rows)} samples are the same: the model can only learn their mean; look at what became of X"
        return
    number = first_same(model, X)
    where = f" from layer {number} ({model.layers[number].name}) on"
    yield (
        f"the model gives the same for all samples{where}: it has learned their mean at best. Units are dead, or differences "
        "vanish on their way through the layers. BatchNorm, LayerNorm or Residual, fewer layers, another activation, scaled "
        "samples or another learning rate let them through; callbacks.GradientMonitor looks at each layer"
    )


def few(rows):
    """At most ROWS of the rows, from everywhere."""
    return rows[:: -(-len(rows) // ROWS)]


def is_class(targets):
    """Whether targets, as a loss's `check_targets` makes them, are class numbers."""
    return np.issubdtype(targets.dtype, np.integer)


def same(values):
    """Whether all rows are equal."""
    return bool((values == values[:1]).all())


def spread(values):
    """Largest range of a column."""
    values = values.reshape(len(values), -1)
    return float((values.max(axis=0) - values.min(axis=0)).max())


def middle(y):
    """Targets without a tenth of the rows at either end, which may lie far off."""
    cut = len(y) // 10
    return np.sort(y.astype(np.float64), axis=0)[cut : len(y) - cut]


def first_same(model, X):
    """Number of the first layer whose outputs are the same for all samples, the last one if nothing is found before.

    What is the same for all stays so in the layers that follow, so bisection finds it.
    """
    low, high = 0, len(model.layers) - 1
    while low < high:
        number = (low + high) // 2
        values = model.forward(X, layer=number)
        if spread(values) <= SAME * max(1e-30, float(np.abs(values).max())):
            high = number
        else:
            low = number + 1
    return low
