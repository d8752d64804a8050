"""Table of contents of the layers: one line a layer, each family in a file of its own."""

from . import activations  # noqa: F401 - fills the table
from .activation_function import ACTIVATIONS, ActivationFunction, activation
from .base import Layer
from .batch_norm import BatchNorm
from .dense import Dense
from .elementwise import Activation, AlphaDropout, Dropout, GaussianNoise, PReLU
from .layer_norm import LayerNorm
from .rescaling import Rescaling
from .shape import Flatten, Reshape, Residual

LAYERS = {
    layer.name: layer
    for layer in (
        Dense,
        Activation,
        PReLU,
        Dropout,
        AlphaDropout,
        GaussianNoise,
        BatchNorm,
        LayerNorm,
        Residual,
        Flatten,
        Reshape,
        Rescaling,
    )
}

__all__ = [
    "ACTIVATIONS",
    "LAYERS",
    "Activation",
    "ActivationFunction",
    "AlphaDropout",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "Layer",
    "LayerNorm",
    "PReLU",
    "Rescaling",
    "Reshape",
    "Residual",
    "activation",
]
