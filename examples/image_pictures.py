"""What a convolutional network sees: its first kernels, feature maps of a sample, what a prediction hangs on, its mistakes.

    python examples/image_pictures.py [FOLDER]

trains on the digits bundled with scikit-learn and writes images.png into FOLDER (this one).
"""

import pathlib
import sys

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay

from fastdnn import Model, layers, optimizers, schedules

STACK = [
    layers.Conv2D(16, 3, padding="same", activation="relu"),
    layers.Conv2D(32, 3, padding="same"),
    layers.BatchNorm(activation="relu"),
    layers.MaxPool2D(),
    layers.Flatten(),
    layers.Dropout(0.3),
    layers.Dense(10),
]


def trained(X, y, epochs):
    optimizer = optimizers.Adam(schedules.OneCycle(0.005))
    model = Model(STACK, loss="cross_entropy", optimizer=optimizer, random_state=0)
    model.fit(X, y, epochs=epochs, batch_size=32)
    return model


def feature_maps(model, X, count):
    """What the first `count` layers make of the samples: a shorter network with the same weights."""
    shorter = Model(model.layers[:count], dtype=model.dtype).build(X.shape[1:])
    for key in shorter.weights:
        shorter.weights[key] = model.weights[key]
    return shorter.forward(X)


def saliency(model, X, y):
    """How much the loss of each sample changes with each of its pixels."""
    return np.abs(model.input_gradient(X, y)).sum(axis=-1)


def show(axes, image, title="", colors="gray"):
    axes.imshow(image, cmap=colors)
    axes.set_title(title, fontsize=8, loc="left")
    axes.axis("off")


def draw(model, X, y):
    """The figure, of test samples of which the first is looked at."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(10, 6.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.1, 1))
    grid = left.subplots(6, 8)
    kernels, maps = model.weights["0.conv2d.kernel"], feature_maps(model, X[:1], 1)[0]
    for i in range(16):
        show(grid[i // 8, i % 8], kernels[:, :, 0, i], "first kernels" if i == 0 else "", "coolwarm")
        show(grid[2 + i // 8, i % 8], maps[:, :, i], "their feature maps" if i == 0 else "")
    change = saliency(model, X[:8], y[:8])
    for i in range(8):
        show(grid[4, i], X[i, :, :, 0], "samples" if i == 0 else "")
        show(grid[5, i], change[i], "what their losses hang on" if i == 0 else "", "magma")
    ConfusionMatrixDisplay.from_predictions(y, model.predict(X).argmax(axis=1), ax=right.subplots(), colorbar=False)
    return figure


def main(folder=None, epochs=20):
    matplotlib.use("Agg")
    folder = pathlib.Path(folder or pathlib.Path(__file__).resolve().parent)
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    model = trained(X[:1300], y[:1300], epochs)
    accuracy = model.evaluate(X[1300:], y[1300:])["accuracy"]
    draw(model, X[1300:], y[1300:]).savefig(folder / "images.png", dpi=80)
    print(f"test accuracy {accuracy:.3f}; wrote {folder / 'images.png'}")
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:])
