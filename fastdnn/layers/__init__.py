"""Table of contents of the layers: one line a layer, each family in a file of its own."""

from .activations import ACTIVATIONS, Activation, activation
from .base import Layer
from .dense import Dense

LAYERS = {layer.name: layer for layer in (Dense,)}

__all__ = ["ACTIVATIONS", "LAYERS", "Activation", "Dense", "Layer", "activation"]
