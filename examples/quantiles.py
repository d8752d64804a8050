"""Three quantiles at once: a prediction with a band that four of five values fall into.

    python examples/quantiles.py [FILE]

FILE is a table of numbers separated by commas whose last column is the target (lines that are no numbers are left out),
California housing for one; without it, the diabetes data bundled with scikit-learn.
"""

import argparse

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from fastdnn import Model, layers, losses, optimizers, schedules


def read(path):
    """(X, y) of a file of numbers."""
    rows = []
    with open(path) as lines:
        for line in lines:
            try:
                rows.append([float(value) for value in line.split(",")])
            except ValueError:  # a header
                continue
    table = np.array(rows)
    return table[:, :-1], table[:, -1]


def main(path=None, epochs=40, seed=0):
    X, y = load_diabetes(return_X_y=True) if path is None else read(path)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=seed)
    (mean, std), (m, s) = ((a.mean(axis=0), a.std(axis=0)) for a in (X_train, y_train))
    X_train, X_test, y_train, y_test = (X_train - mean) / std, (X_test - mean) / std, (y_train - m) / s, (y_test - m) / s
    model = Model(
        [layers.Dense(128, activation="silu"), layers.Dropout(0.05), layers.Dense(128, activation="silu"), layers.Dense(3)],
        loss=losses.Quantile((0.1, 0.5, 0.9)),
        optimizer=optimizers.AdamW(schedules.OneCycle(3e-3), weight_decay=0.02, clip_norm=1.0),
        random_state=seed,
    )
    model.fit(X_train, y_train, epochs=epochs, batch_size=128)
    low, middle, high = model.predict(X_test).T
    inside, crossing = np.mean((y_test >= low) & (y_test <= high)), np.mean((low > middle) | (middle > high))
    print(f"{100 * inside:.1f} % of the test values in the 10-90 band, {100 * crossing:.2f} % of the rows cross")
    print(f"mean error of the median {s * np.abs(middle - y_test).mean():.4g}")
    return inside, crossing


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", help="file of numbers, the target in the last column")
    main(parser.parse_args().path)
