"""Ranges of what products get, measured on samples."""

import numpy as np

from ..layers.base import Layer
from ..layout import Layout
from ..losses import SquaredError
from ..network import Network
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
    for number, (_, leaf) in enumerate(whole.layout.leaves):
        if isinstance(leaf, PRODUCTS):
            if number == 0:
                values = np.asarray(X, np.float64)
            else:
                layers = (FirstLeaves(whole.layout.leaves[:number]),)
                layout = Layout(layers, whole.layout.shapes[0])  # its parameters stand where the whole network's do
                part = Network(layers, SquaredError(), layout, whole.params, whole.state, [])
                values = model._infer(part, X, True)
            found[id(leaf)] = _range(values[np.isfinite(values)], percentile)
    return found


def _range(values, percentile):
    """The least and largest of most of the numbers; 0 lies between them."""
    if not len(values):
        raise ValueError("calibration has no finite numbers")
    low, high = np.percentile(values, [100 - percentile, percentile]) if percentile < 100 else (values.min(), values.max())
    return min(float(low), 0.0), max(float(high), 0.0, min(float(low), 0.0) + LEAST)
