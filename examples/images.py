"""Fashion-MNIST with convolutions: 70,000 images of clothes, ten classes.

    python examples/images.py [FOLDER] [--network small|augmented|separable|residual] [--epochs N] [--save PICTURE.png]

FOLDER holds the four files of https://github.com/zalandoresearch/fashion-mnist (train-images-idx3-ubyte.gz, ...);
without it the data set is fetched from OpenML (about 30 MB, once). The images stay bytes. Test accuracy and the time of a
fit on two cores stand in examples/README.md.
"""

import argparse
import time

import numpy as np
from fashion_mnist import load

from fastdnn import Model, layers, losses, optimizers, schedules

NORMALIZED = layers.Rescaling(1 / (255 * 0.353), -0.286 / 0.353)  # mean 0 and deviation 1 over all pixels of the training set


def conv(filters, kernel=3, **settings):
    """A convolution, normalized over the batch, and a ReLU."""
    return [
        layers.Conv2D(filters, kernel, padding="same", use_bias=False, initializer="he_normal", **settings),
        layers.BatchNorm(activation="relu"),
    ]


def separable(filters, **settings):
    """The same with a kernel for each channel, then one for each pixel."""
    return [
        layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, initializer="he_normal", **settings),
        layers.BatchNorm(activation="relu"),
    ]


def residual(filters):
    """Two convolutions beside a way around them."""
    inside = [*conv(filters), layers.Conv2D(filters, 3, padding="same", use_bias=False), layers.BatchNorm()]
    return [layers.Residual(inside), layers.Activation("relu")]


END = [layers.GlobalAvgPool2D(), layers.Dropout(0.2), layers.Dense(10)]
NETWORKS = {  # name: (layers, epochs, samples of a batch, largest learning rate)
    # 73,000 parameters
    "small": (
        [*conv(32), *conv(32), layers.MaxPool2D(), *conv(48), *conv(48), layers.MaxPool2D(), *conv(64), *END],
        13, 128, 6e-3,
    ),
    # 205,000 parameters, and images that are moved and mirrored
    "augmented": (
        [layers.RandomFlip("horizontal"), layers.RandomTranslation(0.08, 0.08, "constant", fill_value=-0.81),
         *conv(32), *conv(32), layers.MaxPool2D(), *conv(64), *conv(64), layers.MaxPool2D(), *conv(96), *conv(96), *END],
        30, 128, 6e-3,
    ),
    # 25,000 parameters
    "separable": (
        [*conv(24), *separable(48), layers.MaxPool2D(), *separable(64), *separable(64), layers.MaxPool2D(), *separable(96),
         *separable(64), *END],
        15, 128, 1e-2,
    ),
    # 70,000 parameters
    "residual": ([*conv(24), *residual(24), *conv(40, strides=2), *residual(40), *conv(56, strides=2), *END], 13, 128, 6e-3),
}  # fmt: skip


def images(folder):
    """(X_train, y_train, X_test, y_test), bytes of shape (n, 28, 28, 1)."""
    X_train, y_train, X_test, y_test = load(folder)
    as_bytes = [np.rint(X * 255).astype(np.uint8).reshape(-1, 28, 28, 1) for X in (X_train, X_test)]
    return as_bytes[0], y_train, as_bytes[1], y_test


def main(folder=None, network="small", epochs=None, verbose=1):
    X, y, X_test, y_test = images(folder)
    stack, usual, batch_size, rate = NETWORKS[network]
    model = Model(
        [NORMALIZED, *stack],
        loss=losses.CrossEntropy(label_smoothing=0.05),
        optimizer=optimizers.AdamW(schedules.OneCycle(rate), weight_decay=0.02),
        random_state=0,
    )
    model.build(X.shape[1:])
    print(f"{network}: {model.layout.n_params:,} parameters")
    began = time.perf_counter()
    model.fit(X, y, epochs=epochs or usual, batch_size=batch_size, verbose=verbose)
    seconds, accuracy = time.perf_counter() - began, model.evaluate(X_test, y_test)["accuracy"]
    print(f"{epochs or usual} epochs in {seconds:.0f} s, test accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder with the four idx files")
    parser.add_argument("--network", choices=NETWORKS, default="small")
    parser.add_argument("--epochs", type=int)
    arguments = parser.parse_args()
    main(arguments.folder, arguments.network, arguments.epochs)
