"""Time series of the UCR archive: one convolutional network and one setting for all sets.

    python examples/time_series.py FOLDER [SET ...] [--seeds 5] [--epochs N]

FOLDER holds <SET>_TRAIN.tsv and <SET>_TEST.tsv (or .tsv.gz) of https://www.cs.ucr.edu/~eamonn/time_series_data_2018: in each
line a label and a series. Without names, all sets of the folder. The network is that of Wang, Yan & Oates (2017),
arXiv:1611.06455, with half the filters and the slope of a series beside its values, trained for 100 epochs, more on the
smallest sets, in place of their 2000. Test series are looked at once, when all epochs are done.
"""

import argparse
import pathlib
import time

import numpy as np

from fastdnn import Model, layers, losses, optimizers, schedules


def read(folder, name, part):
    """(series of shape (n, time), labels) of a set's "TRAIN" or "TEST"."""
    path = sorted(pathlib.Path(folder).glob(f"{name}_{part}.tsv*"))
    if not path:
        raise FileNotFoundError(f"no {name}_{part}.tsv or {name}_{part}.tsv.gz in {folder}")
    table = np.loadtxt(path[0], delimiter="\t", ndmin=2)
    return table[:, 1:], table[:, 0]


def channels(series):
    """Values and slopes, (n, time, 2); a missing value lies on the line between its neighbors, or is the nearest one."""
    at = np.arange(series.shape[1])
    filled = np.array([np.interp(at, at[known], s[known]) for s, known in zip(series, ~np.isnan(series), strict=True)])
    return np.stack([filled, np.gradient(filled, axis=1)], axis=2).astype("float32")


def conv(filters, kernel):
    """A convolution along time, normalized over the batch, and a ReLU."""
    return [
        layers.Conv1D(filters, kernel, padding="same", use_bias=False, initializer="he_normal"),
        layers.BatchNorm(activation="relu"),
    ]


def network(n_classes, seed):
    """Three convolutions, and the mean of each feature over time; the first layer scales values and slopes alike."""
    return Model(
        [layers.BatchNorm(), *conv(64, 8), *conv(128, 5), *conv(64, 3), layers.GlobalAvgPool1D(), layers.Dense(n_classes)],
        loss=losses.CrossEntropy(label_smoothing=0.1),
        optimizer=optimizers.AdamW(schedules.OneCycle(3e-3), weight_decay=0.02),
        random_state=seed,
    )


def usual_epochs(n, batch_size):
    """100, but not fewer than give 1000 steps: the smallest sets have four or five batches."""
    batches = -(-n // batch_size)
    return max(100, round(1000 / batches))


def accuracies(folder, name, seeds, epochs=None, batch_size=16):
    """Test accuracy of the network from each seed."""
    (X, labels), (X_test, labels_test) = (read(folder, name, part) for part in ("TRAIN", "TEST"))
    X, X_test = channels(X), channels(X_test)
    classes, y = np.unique(labels, return_inverse=True)
    epochs = epochs or usual_epochs(len(X), batch_size)
    found = []
    for seed in range(seeds):
        model = network(len(classes), seed)
        model.fit(X, y, epochs=epochs, batch_size=batch_size)
        found.append(np.mean(classes[model.predict(X_test).argmax(axis=1)] == labels_test))
    return np.array(found)


def main(folder, names=(), seeds=5, epochs=None):
    names = names or sorted(path.name.split("_TRAIN.tsv")[0] for path in pathlib.Path(folder).glob("*_TRAIN.tsv*"))
    means = []
    for name in names:
        began = time.perf_counter()
        found = accuracies(folder, name, seeds, epochs)
        means.append(found.mean())
        print(f"{name}: test accuracy {means[-1]:.4f} +- {found.std():.4f}, {time.perf_counter() - began:.1f} s", flush=True)
    print(f"mean over {len(means)} sets: {np.mean(means):.4f}")
    return float(np.mean(means))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder with the .tsv or .tsv.gz files")
    parser.add_argument("names", nargs="*", metavar="SET", help="names of sets, such as GunPoint")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="default: 100, more for the smallest sets")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.names, arguments.seeds, arguments.epochs)
