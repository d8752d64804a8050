"""Samples mixed with others of the same epoch, and their targets with them: mixup and cutmix, drawn anew for each epoch."""

import math

import numpy as np

from . import rng
from .layers.base import DATA
from .losses.cross_entropy import as_classes, one_hot
from .specs import check_number


def check_mixing(mixup, cutmix):
    """(mixup, cutmix) as floats; ValueError unless they are >= 0."""
    return check_number("mixup", mixup, "[0, inf)"), check_number("cutmix", cutmix, "[0, inf)")


def soft_targets(loss, y, n_out):
    """The targets as numbers that can be mixed: classes as probabilities, what is not of classes as it is."""
    if "accuracy" in loss.metric_names() and loss.name not in ("cross_entropy", "log_loss"):
        raise ValueError(f"mixup and cutmix need cross_entropy, log_loss or a loss of numbers, got {loss!r}")
    y = np.asarray(y)
    if (loss.name == "cross_entropy" and y.shape[-1:] != (n_out,)) or (loss.name == "log_loss" and n_out > 1 and y.ndim == 1):
        return one_hot(as_classes(y, n_out, loss.name), n_out)
    return y


class Mixing:
    """What the samples of a training are mixed with.

    Parameters
    ----------
    mixup, cutmix : float
        Parameters of Beta(a, a), from which shares are drawn; 0 leaves that kind out. With both, each sample draws its kind.
    training : Training
        With ``mixes``; its targets are written anew for each epoch.
    shape : tuple
        Of a sample, as the first layer that is no reshape or rescaling gets it.

    Raises
    ------
    ValueError
        If cutmix is wanted of samples that are no images.
    """

    def __init__(self, mixup, cutmix, training, shape):
        if cutmix and len(shape) != 3:
            raise ValueError(
                f"cutmix needs images (height, width, channels), got samples of {tuple(shape)}; put layers.Reshape first"
            )
        self._alphas, self._training, self._shape = (mixup, cutmix), training, shape
        self._size = training.source.n, math.prod(training.model.layout.shapes[-1])
        self._targets = training.targets.copy()
        self._kept = ()

    def draw(self, seed, epoch, order):
        """Partners, shares and boxes of the positions of an epoch, and the mixed targets of its samples."""
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
