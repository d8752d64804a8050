"""Codes of few numbers: reconstruction beside principal components, noise that goes, outliers, a map of what there is.

    python examples/autoencoder.py [FOLDER] [--pictures FOLDER]

FOLDER holds the four files of Fashion-MNIST (see fashion_mnist.py), which 32 numbers an image then stand for; without it the
digits bundled with scikit-learn are taken, and 8 numbers. Outliers are digits in both cases: a network that has seen one of
them only is to tell it from the others. Writes autoencoder.png: images, what becomes of them, noisy images, what becomes of
these, samples over the plane of the codes of a variational autoencoder.
"""

import argparse
import pathlib
import time

import numpy as np
from fashion_mnist import load
from moving import mosaic, save
from scipy.special import ndtri
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from fastdnn import Autoencoder, VariationalAutoencoder, schedules


def images(folder):
    """(X, X_test, side, numbers of a code, units of the hidden layers, epochs)"""
    if folder is None:
        X, X_test = train_test_split((load_digits().data / 16).astype(np.float32), random_state=0)
        return X, X_test, 8, 8, (256, 128), 150
    X, _, X_test, _ = load(folder)
    return X, X_test, 28, 32, (512, 256), 15


def coder(n_components, hidden, epochs, cls=Autoencoder, **settings):
    """An autoencoder with a one-cycle schedule."""
    return cls(
        n_components, hidden_layer_sizes=hidden, schedule=schedules.OneCycle(2e-3), epochs=epochs, batch_size=128,
        random_state=0, **settings,
    )  # fmt: skip


def error_beside_pca(X, X_test, n_components, hidden, epochs):
    """(fitted autoencoder, its error on the test images divided by that of principal components)"""
    pca = PCA(n_components, random_state=0).fit(X)
    linear = ((pca.inverse_transform(pca.transform(X_test)) - X_test) ** 2).mean()
    began = time.perf_counter()
    fitted = coder(n_components, hidden, epochs).fit(X)
    ours = fitted.reconstruction_error(X_test).mean()
    print(
        f"{n_components} numbers for {X.shape[1]}: mean squared error {ours:.5f}, principal components {linear:.5f} "
        f"(ratio {ours / linear:.3f}), {time.perf_counter() - began:.0f} s"
    )
    return fitted, ours / linear


def outliers(epochs):
    """Mean over the ten digits of the ROC AUC with which a network that has seen one of them tells the others."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split((X / 16).astype(np.float32), y, random_state=0, stratify=y)
    found = []
    for digit in range(10):
        fitted = Autoencoder(
            16, hidden_layer_sizes=(128,), noise=0.1, epochs=epochs, batch_size=16, random_state=0,
            schedule=schedules.OneCycle(5e-3),
        ).fit(X[y == digit])  # fmt: skip
        found.append(roc_auc_score(y_test == digit, fitted.score_samples(X_test)))
    print("outliers, ROC AUC by digit:", *(f"{auc:.3f}" for auc in found), f"mean {np.mean(found):.3f}")
    return float(np.mean(found))


def plane(X, hidden, epochs, n=10):
    """n x n samples, their two codes at the quantiles of the normal distribution."""
    fitted = coder(2, hidden, epochs, VariationalAutoencoder, loss="log_loss").fit(X)
    at = ndtri(np.linspace(0.03, 0.97, n))
    return fitted.inverse_transform(np.array([(a, b) for a in at for b in at], X.dtype))


def main(folder=None, pictures=pathlib.Path(__file__).parent, epochs=None, outlier_epochs=150):
    X, X_test, side, n_components, hidden, usual = images(folder)
    epochs = epochs or usual
    fitted, ratio = error_beside_pca(X, X_test, n_components, hidden, epochs)
    source, level = np.random.default_rng(0), 0.3
    noisy = X_test + level * source.standard_normal(X_test.shape).astype(np.float32)
    denoiser = coder(4 * n_components, hidden, epochs, noise=level).fit(X)
    restored = denoiser.model_.predict(noisy)
    left = ((restored - X_test) ** 2).mean()
    print(f"noise of variance {level**2:.3f}: {left:.4f} is left, {left / level**2:.2f} of it")
    auc = outliers(outlier_epochs)
    rows = [X_test[:10], fitted.model_.predict(X_test[:10]), noisy[:10], restored[:10], plane(X, hidden, epochs)]
    path = pathlib.Path(pictures) / "autoencoder.png"
    save(mosaic(np.concatenate(rows).reshape(-1, side, side), 10, zoom=2 if folder else 6), path)
    return ratio, auc


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder with the four idx files of Fashion-MNIST")
    parser.add_argument("--pictures", default=pathlib.Path(__file__).parent)
    arguments = parser.parse_args()
    main(arguments.folder, arguments.pictures)
