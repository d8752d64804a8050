"""Samples mixed with others of the same epoch, and their targets with them: mixup and cutmix, drawn anew for each epoch."""

import math

import numpy as np

from . import rng
from .layers.base import DATA, sample_rows
from .layout import Layout
from .losses.cross_entropy import one_hot
from .program import done_by_gather
from .specs import check_number

LINEAR = "cross_entropy", "log_loss"  # losses of classes whose targets may be probabilities


def check_mixing(mixup, cutmix):
    """(mixup, cutmix) as floats; ValueError unless they are >= 0."""
    return check_number("mixup", mixup, "[0, inf)"), check_number("cutmix", cutmix, "[0, inf)")


def mixable(model, source, y, targets, cutmix):
    """Targets y as numbers that can be mixed, class numbers as probabilities; the model is not changed.

    Parameters
    ----------
    model : Model
        Built or not.
    source : Source
        The samples.
    y, targets : array-like, ndarray
        Their targets, as they were given and as the loss's `check_targets` made them.
    cutmix : float
        0 where no boxes are wanted.

    Raises
    ------
    ValueError
        If the optimizer, the samples or the loss do not allow it.
    """
    layout, loss, off = model.layout or Layout(model.layers, source.shape), model.loss, "or leave both at 0"
    output = layout.shapes[-1]
    if model.optimizer.full_batch:
        raise ValueError(f"mixup and cutmix need an optimizer of batches, got {model.optimizer!r}; take 'adam', say, {off}")
    if source.kind in ("csr", "ids"):
        got = "a sparse X; use X.toarray()" if source.sparse else "integers that the first layer reads itself; take another"
        raise ValueError(f"mixup and cutmix need dense samples of numbers, got {got}, {off}")
    if source.mask is not None:
        raise ValueError(f"mixup and cutmix need samples whose steps all count, got lengths or a mask; {off[3:]}")
    shape = layout.shapes[done_by_gather(layout.leaves, source.kind)[0]]
    if cutmix and len(shape) != 3:
        raise ValueError(
            f"cutmix needs images (height, width, channels), got samples of shape {shape}; give X such a shape, put "
            "layers.Reshape first, or take mixup"
        )
    if cutmix and sample_rows(output) > 1:
        raise ValueError(f"cutmix needs one target a sample, got scores of shape {output} of each; take mixup")
    if loss.name == "cross_entropy" and targets.dtype == np.int64:
        return one_hot(targets, output[-1]).reshape(*np.shape(y), output[-1])
    of_classes = "accuracy" in loss.metric_names() and loss.name not in LINEAR
    if of_classes or targets.dtype.kind != "f" or targets.size < source.n * math.prod(output):
        raise ValueError(f"mixup and cutmix need loss='cross_entropy', 'log_loss' or one of numbers, got {loss!r}; {off[3:]}")
    return y


class Mixing:
    """What the samples of a training are mixed with.

    Parameters
    ----------
    mixup, cutmix : float
        Parameters of Beta(a, a), from which shares are drawn; 0 leaves that kind out. With both, each sample draws its kind
        with equal probability.
    training : Training
        With ``mixes``. It gets targets of its own, which are written anew for each epoch.
    shape : tuple
        Of a sample, as the first layer that is no reshape or rescaling gets it; of images for cutmix (`mixable`).
    """

    def __init__(self, mixup, cutmix, training, shape):
        self._alphas, self._training, self._shape = (mixup, cutmix), training, shape
        self._size = training.source.n, math.prod(training.model.layout.shapes[-1])
        self._targets = training.targets  # which a loss of the user's may have taken as they were given
        training.take(training.source, self._targets.copy(), training.sample_weight)
        self._kept = ()

    def draw(self, seed, epoch, order):
        """Partners, shares and boxes of the positions of an epoch, and the mixed targets of its samples.

        They depend on the seed, the number of the epoch and its order, so that a fit that is resumed goes on with the same.
        """
        order = np.arange(self._size[0]) if order is None else np.asarray(order)
        random, count = rng.generator(seed, rng.MIXING, epoch), len(order)
        mixup, cutmix = self._alphas
        partners = order[random.permutation(count)]
        cuts = np.full(count, bool(cutmix)) if not (mixup and cutmix) else random.random(count) < 0.5
        shares = np.ones(count)
        for alpha, which in ((mixup, ~cuts), (cutmix, cuts)):
            if alpha:
                shares[which] = random.beta(alpha, alpha, count)[which]
        boxes = np.full((count, 4), -1, np.int64)
        if cutmix:
            height, width = self._shape[:2]
            side = np.sqrt(1 - shares)  # of the box, as a part of the image's
            centers = random.random((2, count))
            for axis, size in enumerate((height, width)):
                middle, half = centers[axis] * size, side * size / 2
                boxes[:, 2 * axis] = np.where(cuts, np.clip(np.rint(middle - half), 0, size), -1)
                boxes[:, 2 * axis + 1] = np.where(cuts, np.clip(np.rint(middle + half), 0, size), -1)
            area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
            shares = np.where(cuts, 1 - area / (height * width), shares)
        self._write(order, partners, shares, boxes)

    def _write(self, order, partners, shares, boxes):
        """Give all of it to the training."""
        training, (n, width) = self._training, self._size
        base = self._targets[: n * width].reshape(n, width)
        mixed = training.targets[: n * width].reshape(n, width)
        share = shares[:, None]
        mixed[order] = share * base[order] + (1 - share) * base[partners]
        self._kept = np.ascontiguousarray(partners, np.int64), shares, boxes
        for entry, array in zip((DATA.partners, DATA.shares, DATA.boxes), self._kept, strict=True):
            training.data[:, entry] = array.ctypes.data
