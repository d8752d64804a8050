"""Table of contents of the layers: one line a layer, each family in a file of its own."""

from . import activations  # noqa: F401 - fills the table
from .activation_function import ACTIVATIONS, ActivationFunction, activation
from .augmentation import RandomErasing, RandomFlip, RandomRotation, RandomTranslation, RandomZoom
from .base import Layer
from .batch_norm import BatchNorm
from .bidirectional import Bidirectional
from .category_embedding import CategoryEmbedding
from .columns import Columns
from .conv import Conv1D, Conv2D
from .conv_transpose import Conv2DTranspose
from .dense import Dense
from .depthwise import DepthwiseConv2D, SeparableConv2D
from .elementwise import Activation, PReLU
from .embedding import Embedding
from .gru import GRU
from .layer_norm import LayerNorm
from .lstm import LSTM
from .masks import Masking
from .noise import AlphaDropout, Dropout, GaussianNoise, SpatialDropout
from .parametric_activation import ParametricActivation
from .periodic_embedding import PeriodicEmbedding
from .piecewise_linear import PiecewiseLinear
from .pooling import (
    AvgPool1D,
    AvgPool2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
)
from .resampling import UpSampling2D, ZeroPadding2D
from .rescaling import Rescaling
from .sampling import Sampling
from .scale import Scale
from .shape import Flatten, Reshape, Residual
from .simple_rnn import SimpleRNN

LAYERS = {
    layer.name: layer
    for layer in (
        Dense,
        Activation,
        PReLU,
        ParametricActivation,
        Dropout,
        AlphaDropout,
        GaussianNoise,
        Sampling,
        BatchNorm,
        LayerNorm,
        Residual,
        Flatten,
        Reshape,
        Rescaling,
        Scale,
        Conv1D,
        Conv2D,
        Conv2DTranspose,
        DepthwiseConv2D,
        SeparableConv2D,
        MaxPool1D,
        MaxPool2D,
        AvgPool1D,
        AvgPool2D,
        GlobalMaxPool1D,
        GlobalMaxPool2D,
        GlobalAvgPool1D,
        GlobalAvgPool2D,
        UpSampling2D,
        ZeroPadding2D,
        SpatialDropout,
        RandomFlip,
        RandomTranslation,
        RandomRotation,
        RandomZoom,
        RandomErasing,
        Columns,
        CategoryEmbedding,
        PiecewiseLinear,
        PeriodicEmbedding,
        Embedding,
        Masking,
        SimpleRNN,
        LSTM,
        GRU,
        Bidirectional,
    )
}

__all__ = [
    "ACTIVATIONS",
    "GRU",
    "LAYERS",
    "LSTM",
    "Activation",
    "ActivationFunction",
    "AlphaDropout",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNorm",
    "Bidirectional",
    "CategoryEmbedding",
    "Columns",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "Layer",
    "LayerNorm",
    "Masking",
    "MaxPool1D",
    "MaxPool2D",
    "PReLU",
    "ParametricActivation",
    "PeriodicEmbedding",
    "PiecewiseLinear",
    "RandomErasing",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "Rescaling",
    "Reshape",
    "Residual",
    "Sampling",
    "Scale",
    "SeparableConv2D",
    "SimpleRNN",
    "SpatialDropout",
    "UpSampling2D",
    "ZeroPadding2D",
    "activation",
]
