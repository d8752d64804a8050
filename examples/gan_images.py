"""Pictures of digits and of clothes that no one has drawn: a conditional generative adversarial network.

    python examples/gan_images.py [FOLDER] [--epochs N] [--pictures FOLDER]

Without FOLDER it learns the 8 x 8 digits bundled with scikit-learn, with dense layers; with one, the folder of the four files
of Fashion-MNIST (see fashion_mnist.py), images of 28 x 28 with convolutions. A classifier that has seen real images alone
says how many of the samples are of the class that was asked for. Writes gan_digits.png or gan_fashion.png, a row a class, and
how it came about over the epochs (a GIF, where Pillow is installed).
"""

import argparse
import pathlib
import time

import numpy as np
from fashion_mnist import load
from moving import mosaic, save, save_moving
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastdnn import GAN, Model, layers, optimizers, schedules

CLASSES = np.arange(10)


def dense_pair():
    """(generator, discriminator) of vectors of 64 numbers."""
    generator = [layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(64, "tanh")]
    return generator, [layers.Dense(256, "leaky_relu"), layers.Dropout(0.3), layers.Dense(128, "leaky_relu")]


def convolutional_pair():
    """(generator, discriminator) of images of 28 x 28, as in DCGAN (arXiv:1511.06434), smaller."""
    generator = [
        layers.Dense(7 * 7 * 64, use_bias=False),
        layers.BatchNorm(activation="relu"),
        layers.Reshape((7, 7, 64)),
        layers.Conv2DTranspose(32, 4, strides=2, padding="same", use_bias=False),
        layers.BatchNorm(activation="relu"),
        layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh"),
    ]
    discriminator = [
        layers.Conv2D(32, 4, strides=2, padding="same", activation="leaky_relu"),
        layers.Conv2D(64, 4, strides=2, padding="same", use_bias=False),
        layers.BatchNorm(activation="leaky_relu"),
        layers.Flatten(),
    ]
    return generator, discriminator


def digits():
    """(X, y, X_test, y_test), numbers from -1 to 1."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split((X / 8 - 1).astype(np.float32), y, random_state=0, stratify=y)
    return X, y, X_test, y_test


def clothes(folder):
    """The same of Fashion-MNIST."""
    X, y, X_test, y_test = load(folder)
    return *(2 * X.reshape(-1, 28, 28, 1) - 1, y), *(2 * X_test.reshape(-1, 28, 28, 1) - 1, y_test)


def judge(X, y, images, epochs):
    """A classifier of real samples."""
    small = [layers.Dense(256, "relu"), layers.Dropout(0.3), layers.Dense(10)]
    convolutional = [
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPool2D(), layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPool2D(), layers.Flatten(), layers.Dropout(0.3), layers.Dense(128, "relu"), layers.Dense(10),
    ]  # fmt: skip
    optimizer = optimizers.Adam(schedules.OneCycle(3e-3))
    model = Model(convolutional if images else small, loss="cross_entropy", optimizer=optimizer, random_state=0)
    model.fit(X, y, epochs=epochs, batch_size=128 if images else 64)
    return model


def main(folder=None, epochs=None, pictures=pathlib.Path(__file__).parent, judge_epochs=None, n=None):
    images = folder is not None
    X, y, X_test, y_test = clothes(folder) if images else digits()
    X, y = X[:n], y[:n]
    generator, discriminator = convolutional_pair() if images else dense_pair()
    rate = optimizers.Adam(schedules.Polynomial(5e-4 if images else 2e-3), beta_1=0.5)
    gan = GAN(generator, discriminator, generator_optimizer=rate, discriminator_optimizer=rate, random_state=0)
    side, every, frames = X.shape[1] if images else 8, 1 if images else 10, []

    def look(gan, history):
        if gan.epochs % every == 0:
            made = gan.sample(100, random_state=0, labels=np.repeat(CLASSES, 10)).reshape(-1, side, side)
            frames.append(mosaic((made + 1) / 2, 10, zoom=2 if images else 4))

    epochs, began = epochs or (12 if images else 200), time.perf_counter()
    gan.fit(X, y, epochs=epochs, batch_size=64, callbacks=[look])
    seconds = time.perf_counter() - began
    classifier = judge(X, y, images, judge_epochs or (8 if images else 60))
    labels = np.repeat(CLASSES, 200)
    said = classifier.predict(gan.sample(len(labels), random_state=1, labels=labels)).argmax(axis=1)
    accuracy, share = classifier.evaluate(X_test, y_test)["accuracy"], float((said == labels).mean())
    print(f"{epochs} epochs in {seconds:.0f} s; of the samples {share:.1%} are recognized as what they are to be, by a")
    print(f"classifier with an accuracy of {accuracy:.3f} on real images that it has not seen")
    print("by class:", *(f"{(said[labels == c] == c).mean():.2f}" for c in CLASSES))
    path = pathlib.Path(pictures) / f"gan_{'fashion' if images else 'digits'}.png"
    save(frames[-1] if frames else mosaic(np.zeros((1, side, side)), 1), path)
    if frames:
        save_moving(frames, path.with_suffix(".gif"))
    return share, accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder with the four idx files of Fashion-MNIST")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--pictures", default=pathlib.Path(__file__).parent)
    arguments = parser.parse_args()
    main(arguments.folder, arguments.epochs, arguments.pictures)
