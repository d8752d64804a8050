"""Networks of all kinds of layers that frozen predictors change, with weights and statistics that are not their first."""

import numpy as np

from fastdnn import Model, layers

NETWORKS = {
    "dense": (
        [
            layers.Dense(37, activation="tanh"),
            layers.Dropout(0.5),
            layers.Dense(20),
            layers.BatchNorm(),
            layers.Activation("relu"),
            layers.Dense(5),
        ],
        (31,),
    ),
    "wide": ([layers.Dense(256, activation="relu"), layers.Dense(130, activation="elu"), layers.Dense(10)], (300,)),
    "residual": (
        [
            layers.Dense(32),
            layers.Residual([layers.Dense(32, activation="relu"), layers.BatchNorm(), layers.Dense(32)]),
            layers.Dense(10),
        ],
        (64,),
    ),
    "projected": (
        [
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Residual(
                [
                    layers.Conv2D(24, 3, 2, 1, use_bias=False),
                    layers.BatchNorm(activation="relu"),
                    layers.Dropout(0.1),
                    layers.Conv2D(24, 3, padding=1, use_bias=False),
                    layers.BatchNorm(),
                ],
                shortcut=[layers.SpatialDropout(0.1), layers.Conv2D(24, 1, 2, use_bias=False), layers.BatchNorm()],
            ),
            layers.Activation("relu"),
            layers.Residual([layers.Dropout(0.1)], shortcut=[layers.Conv2D(24, 3, padding=1)]),
            layers.GlobalAvgPool2D(),
            layers.Dense(10),
        ],
        (11, 13, 3),
    ),
    "images": (
        [
            layers.RandomFlip(),
            layers.Conv2D(13, 3, padding="same"),
            layers.BatchNorm(activation="relu"),
            layers.MaxPool2D(2),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Conv2D(8, 1, activation="elu"),
            layers.Flatten(),
            layers.Dense(10),
        ],
        (17, 15, 3),
    ),
    "dilated": (
        [
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(16, 3, dilation_rate=2, padding=(1, 0)),
            layers.DepthwiseConv2D(3),
            layers.Conv2D(24, 3, groups=2),
            layers.AvgPool2D(3, strides=2, padding="same"),
            layers.GlobalAvgPool2D(),
            layers.Dense(4),
        ],
        (20, 20, 1),
    ),
    "separable": (
        [
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.BatchNorm(activation="relu"),
            layers.SeparableConv2D(24, 3, padding="same"),
            layers.MaxPool2D(3, strides=2, padding="same"),
            layers.Conv2D(40, 5, strides=3, padding=2, activation="gelu"),
            layers.Flatten(),
            layers.Dense(10),
        ],
        (19, 23, 3),
    ),
    "mobile": (
        [
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False),
            layers.BatchNorm(),
            layers.Activation("relu"),
            layers.SeparableConv2D(24, 3, strides=2, padding="same", depth_multiplier=2, use_bias=False),
            layers.BatchNorm(activation="elu"),
            layers.SeparableConv2D(16, 3, activation="tanh"),
            layers.BatchNorm(),
            layers.GlobalAvgPool2D(),
            layers.Dense(10),
        ],
        (19, 23, 3),
    ),
    "maps": (  # whose outputs are images
        [
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(24, 3, padding="same", activation="relu"),
            layers.UpSampling2D(2),
            layers.Conv2D(3, 3, padding="same"),
        ],
        (12, 10, 3),
    ),
    "series": (
        [
            layers.Conv1D(16, 5, padding="causal", activation="relu"),
            layers.BatchNorm(),
            layers.LSTM(12),
            layers.Dense(4),
        ],
        (20, 5),
    ),
    "columns": (
        [
            layers.Columns(
                [
                    ((0, 1), [layers.Dropout(0.1), layers.Dense(4)]),
                    ((2, 3), [layers.Dense(5), layers.LayerNorm()]),
                    ((4,), []),
                ]
            ),
            layers.Dense(3),
        ],
        (5,),
    ),
    "spectral": ([layers.Dense(16, activation="relu", spectral_norm=True), layers.Dense(3)], (9,)),
}


def network(name, dtype="float32", seed=0):
    """(model, samples) of a network of the table."""
    parts, shape = NETWORKS[name]
    model, rng = Model(parts, loss="cross_entropy", dtype=dtype, random_state=seed).build(shape), np.random.default_rng(seed)
    for key, state in model.states.items():
        if key.endswith("mean"):
            state[...] = 0.1 * rng.standard_normal(state.shape)
        elif key.endswith("var"):
            state[...] = rng.uniform(0.5, 2, state.shape)
    for key, weight in model.weights.items():
        if key.endswith(("bias", "beta")):
            weight[...] = 0.1 * rng.standard_normal(weight.shape)
    return model, rng.standard_normal((33, *shape)).astype(model.dtype)
