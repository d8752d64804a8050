"""Fashion-MNIST with two hidden layers: 70,000 images of clothes, ten classes.

    python examples/fashion_mnist.py [FOLDER]

FOLDER holds the four files of https://github.com/zalandoresearch/fashion-mnist (train-images-idx3-ubyte.gz, ...);
without it the data set is fetched from OpenML (about 30 MB, once).
"""

import argparse
import gzip
import pathlib
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastdnn import MLPClassifier


def read_idx(path):
    """An array from a gzipped idx file: four bytes of type and dimensions, the sizes, the bytes."""
    raw = gzip.decompress(pathlib.Path(path).read_bytes())
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an idx file of bytes")
    sizes = np.frombuffer(raw, ">u4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sizes)


def load(folder):
    """(X_train, y_train, X_test, y_test), float32 pixels between 0 and 1."""
    if folder is None:
        from sklearn.datasets import fetch_openml

        X, y = fetch_openml("Fashion-MNIST", version=1, return_X_y=True, as_frame=False)
        X, y = X.astype(np.float32) / 255, y.astype(int)
        return X[:60000], y[:60000], X[60000:], y[60000:]
    folder, parts = pathlib.Path(folder), []
    for name in ("train", "t10k"):
        images = read_idx(folder / f"{name}-images-idx3-ubyte.gz")
        parts.append(images.reshape(len(images), -1).astype(np.float32) / 255)
        parts.append(read_idx(folder / f"{name}-labels-idx1-ubyte.gz").astype(int))
    return parts


def main(folder=None, epochs=10, hidden=(512, 256)):
    X_train, y_train, X_test, y_test = load(folder)
    clf = MLPClassifier(hidden_layer_sizes=hidden, batch_size=200, max_iter=epochs, random_state=0, verbose=True)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf.fit(X_train, y_train)
    accuracy = clf.score(X_test, y_test)
    print(f"{clf.n_iter_} epochs in {time.perf_counter() - began:.1f} s, test accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder with the four idx files")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    main(arguments.folder, arguments.epochs)
