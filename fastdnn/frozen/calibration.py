"""Ranges of what products get, measured on samples."""

import math

import numpy as np

from ..inference import chunks
from ..layers.base import Layer
from .folding import PRODUCTS

LEAST = 1e-6  # width of a range in which nothing is


class FirstLeaves(Layer):
    """The first layers of a network, as far as they have ops of their own."""

    name = "first"

    def __init__(self, leaves):
        self.leaves_ = leaves

    def leaves(self, key):
        return self.leaves_


def ranges_of(predictor, X, percentile):
    """{id of a layer: (least, largest) number} that each product of a folded network gets for the samples X."""
    model, found = predictor.model, {}
    whole = model.network
    X = model._source(X.toarray() if hasattr(X, "tocsr") else X, whole.layout)  # finite, as the network reads it
    for number, (_, leaf) in enumerate(whole.layout.leaves):
        if type(leaf) in PRODUCTS:
            if number == 0:
                values = [X.arrays[0].astype(model.dtype)]
            else:
                part = whole.beginning((FirstLeaves(whole.layout.leaves[:number]),))
                values = (model._infer(part, X.take(rows), True) for rows in chunks(X.n, math.prod(part.layout.shapes[-1])))
            found[id(leaf)] = _range(values, percentile)
    return found


def _range(values, percentile):
    """The least and largest of most of the numbers of some arrays; 0 lies between them."""
    ends = []
    for each in values:
        each = each[np.isfinite(each)]
        if len(each):
            ends.append(np.percentile(each, [100 - percentile, percentile]) if percentile < 100 else (each.min(), each.max()))
    if not ends:
        raise ValueError("calibration must have samples for which all layers give finite numbers")
    # Of percentiles in pieces the mean: pieces are of millions of numbers.
    low, high = np.mean(ends, axis=0) if percentile < 100 else (min(e[0] for e in ends), max(e[1] for e in ends))
    return min(float(low), 0.0), max(float(high), 0.0, min(float(low), 0.0) + LEAST)
