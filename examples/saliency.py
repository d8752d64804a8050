"""What predictions hang on: pixels of images by gradients and integrated gradients, features of a table by mean shares.

    python examples/saliency.py [--fashion FOLDER] [--folder FOLDER]

trains a small convolutional network on the digits that come with scikit-learn, or on the first images of Fashion-MNIST,
whose four files are in the folder given; writes saliency.png: samples, how much the score of the predicted class changes
with each pixel, and the share of each pixel in that score, compared with a black image (red speaks for the class, blue
against it).

Then it ranks the features of a table, diabetes patients, by their mean absolute share in what a `DNNRegressor` predicts, and
checks the ranking on patients held out: the first k features are replaced by their means, and then k drawn at random.

References: Simonyan, K. et al. (2014). arXiv:1312.6034. Sundararajan, M. et al. (2017). arXiv:1703.01365.
"""

import argparse
import pathlib

import numpy as np
from image_pictures import show, trained
from images import images
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from fastdnn import DNNRegressor, inspection

FEW = 12_000  # images of Fashion-MNIST, of which some are for the test
STEPS = 100  # points of a path: ReLU and max pooling make it one with corners


def digits_or_clothes(folder):
    """Images (n, height, width, 1) from 0 to 1, and their classes."""
    if folder is None:
        X, y = load_digits(return_X_y=True)
        return (X / 16).astype(np.float32).reshape(-1, 8, 8, 1), y
    X, y, *_ = images(folder)
    return X[:FEW].astype(np.float32) / 255, y[:FEW]


def draw(X, gradients, shares, path):
    """Samples and, below each, its gradient and its shares."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, len(X), figsize=(1.05 * len(X), 3.5), layout="constrained")
    titles = "samples", "|gradient|", "integrated gradients"
    for i, pictures in enumerate(zip(X, np.abs(gradients), shares, strict=True)):
        for ax, picture, colors, title in zip(axes[:, i], pictures, ("gray", "magma", "coolwarm"), titles, strict=True):
            show(ax, picture[..., 0], title if i == 0 else "", colors)
        most = np.abs(shares[i]).max()
        axes[2, i].images[0].set_clim(-most, most)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def of_images(path, fashion=None, epochs=20):
    """Largest difference between the sum of a sample's shares and that of the scores, in parts of the mean score."""
    X, X_test, y, y_test = train_test_split(*digits_or_clothes(fashion), test_size=0.2, random_state=0)
    model = trained(X, y, epochs)
    print(f"test accuracy {model.evaluate(X_test, y_test)['accuracy']:.3f}")
    first = [np.argmax(y_test == k) for k in range(10)]  # a sample of each class
    samples, rows = X_test[first], np.arange(10)
    predicted = model.predict(samples).argmax(axis=1)
    gradients = inspection.input_gradients(model, samples)
    shares = inspection.integrated_gradients(model, samples, steps=STEPS)
    difference = model.forward(samples)[rows, predicted] - model.forward(np.zeros_like(X[:1]))[0, predicted]
    error = np.abs(shares.sum(axis=(1, 2, 3)) - difference).max() / np.abs(difference).mean()
    print(f"shares sum to the scores' differences from a black image, up to {100 * error:.2f} %")
    draw(samples, gradients, shares, path)
    print(f"wrote {path}")
    return error


def of_table(epochs=100, k=3, draws=100):
    """R2 on patients held out: with all features, without the first k of the ranking, without k at random."""
    data = load_diabetes()
    X, X_test, y, y_test = train_test_split(data.data, data.target, random_state=0)
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    y_test, y = (y_test - y.mean()) / y.std(), (y - y.mean()) / y.std()
    model = DNNRegressor(hidden_layer_sizes=(64,), dropout=0.5, epochs=epochs, batch_size=16, random_state=0).fit(X, y)
    shares = np.abs(inspection.integrated_gradients(model, X)).mean(axis=0)  # compared with the mean patient, all zeros
    ranking = np.argsort(-shares)
    for i in ranking:
        print(f"{data.feature_names[i]:>4} {shares[i]:.3f} {'#' * round(60 * shares[i] / shares.max())}")

    def without(columns):
        changed = X_test.copy()
        changed[:, columns] = 0
        return model.score(changed, y_test)

    rng = np.random.default_rng(0)
    whole, top = without([]), without(ranking[:k])
    drawn = np.mean([without(rng.choice(len(ranking), k, replace=False)) for _ in range(draws)])
    print(f"R2 {whole:.3f}; without the first {k}: {top:.3f}; without {k} at random: {drawn:.3f} (mean of {draws})")
    return whole, top, drawn


def main(folder=None, fashion=None, epochs=20, table_epochs=100):
    """(error of the sums of shares, R2 as `of_table` gives it)."""
    path = pathlib.Path(folder or pathlib.Path(__file__).resolve().parent) / "saliency.png"
    return of_images(path, fashion, epochs), of_table(table_epochs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", help="folder with the four idx files of Fashion-MNIST")
    parser.add_argument("--folder", help="where saliency.png goes")
    given = parser.parse_args()
    main(given.folder, given.fashion)
