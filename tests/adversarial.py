"""Pairs of networks, and what tests of adversarial training make of them."""

import numpy as np

from fastdnn import GAN, layers

DENSE = [layers.Dense(9, "tanh"), layers.Dense(2)], [layers.Dense(9, "tanh")], (2,)
NORMED = (  # biases before a batch norm have no gradient but rounding errors, which Adam makes steps of
    [layers.Dense(9, use_bias=False), layers.BatchNorm(), layers.Activation("tanh"), layers.Dense(2)],
    [layers.Dense(9, "tanh"), layers.BatchNorm()],
    (2,),
)
IMAGES = (
    [layers.Dense(12, "tanh"), layers.Reshape((2, 2, 3)), layers.Conv2DTranspose(4, 2, 2, use_bias=False), layers.BatchNorm(),
     layers.Activation("tanh"), layers.Conv2D(1, 3, padding="same", activation="tanh")],
    [layers.Conv2D(3, 3, activation="tanh"), layers.BatchNorm(), layers.Flatten()],
    (4, 4, 1),
)  # fmt: skip
SHARDS = (  # without batch norm: threads have workspaces of their own
    [layers.Dense(12, "tanh"), layers.Reshape((2, 2, 3)), layers.Conv2DTranspose(1, 2, 2, activation="tanh")],
    [layers.Conv2D(3, 3, activation="tanh"), layers.Flatten()],
    (4, 4, 1),
)


def circle(n=512, seed=0):
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def small(dtype="float32", **kwargs):
    generator = [layers.Dense(16, "relu"), layers.BatchNorm(), layers.Dense(2)]
    discriminator = [layers.Dense(16, "relu"), layers.Dropout(0.2)]
    return GAN(generator, discriminator, **{"latent": 5, "dtype": dtype, "random_state": 1, **kwargs})


def weights_of(gan):
    return np.concatenate([gan.generator.params, gan.generator.state, gan.discriminator.params, gan.discriminator.state])
