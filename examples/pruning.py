"""Nine tenths of a network's weights, or half of its neurons, taken away: what it costs, and what it saves.

    python examples/pruning.py [FOLDER]

FOLDER as for fashion_mnist.py; without it the digits bundled with scikit-learn. A network as it is; trained on while its
weights are pruned, a little at a time; an early epoch of it with the mask that was found so, trained again (a lottery
ticket); cut to half of the operations by leaving out whole neurons, as it then is and trained on.
"""

import argparse
import time

import numpy as np
from fashion_mnist import load
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastdnn import Model, compress, layers, optimizers, schedules
from fastdnn.callbacks import LambdaCallback

SPARSITY, FLOPS = 0.9, 0.5


def digits():
    """(X_train, y_train, X_test, y_test) of 1,797 images of 8 x 8 pixels."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split((X / 16).astype("float32"), y, random_state=0)
    return X_train, y_train, X_test, y_test


def optimizer(rate):
    return optimizers.AdamW(schedules.Cosine(rate), weight_decay=0.01)


def network(hidden, rate=2e-3):
    """Dense layers with relu, and dropout behind them."""
    inside = [layer for units in hidden for layer in (layers.Dense(units, "relu"), layers.Dropout(0.2))]
    return Model([*inside, layers.Dense(10)], loss="cross_entropy", optimizer=optimizer(rate), random_state=0)


def seconds(predictors, X, times=15):
    """Of the fastest of some predictions of each predictor, in turns: other processes disturb all of them alike."""
    found = []
    for _ in range(times):
        for predictor in predictors:
            began = time.perf_counter()
            predictor.predict(X)
            found.append(time.perf_counter() - began)
    return np.reshape(found, (times, -1)).min(axis=0)


class Table:
    """Prints a row a network."""

    def __init__(self, X, y):
        self.X, self.y, self.first = X, y, None
        print("network                    accuracy   weights   operations     ms   times as fast")

    def add(self, name, model):
        predictor, accuracy = model.freeze(), model.evaluate(self.X, self.y)["accuracy"]
        self.first = self.first or predictor
        first, now = seconds([self.first, predictor], self.X)
        weights = sum(np.count_nonzero(w) for w in model.weights.values())
        flops = predictor.model.layout.flops
        print(f"{name:26} {accuracy:.4f} {weights:10,} {flops:12,} {1e3 * now:6.1f} {first / now:10.1f}")
        return accuracy


def main(folder=None, epochs=None, hidden=(512, 256), early=2, batch_size=128):
    X, y, X_test, y_test = digits() if folder is None else load(folder)
    epochs = epochs or (60 if folder is None else 20)
    table, kept = Table(X_test, y_test), []
    snapshot = LambdaCallback(lambda fit: kept.append(fit.model.copy()) if fit.epoch == early else None)
    dense = network(hidden)
    dense.fit(X, y, epochs=epochs, batch_size=batch_size, callbacks=[snapshot])
    accuracy = table.add("dense", dense)

    pruned, every = dense.copy(), max(1, epochs * len(X) // batch_size // 100)
    pruned.optimizer = optimizer(2e-3)
    pruning = compress.MagnitudePruning(SPARSITY, end=0.5, every=every)  # about 50 times in all
    pruned.fit(X, y, epochs=epochs, batch_size=batch_size, callbacks=[pruning])
    least = table.add(f"{SPARSITY:.0%} pruned, step by step", pruned)

    rewound = compress.apply_masks(kept[0], compress.masks(pruned))
    rewound.optimizer = optimizer(2e-3)
    rewound.fit(X, y, epochs=epochs, batch_size=batch_size)
    table.add(f"epoch {early} with that mask", rewound)

    small = compress.shrink(dense, X[:2000], flops=FLOPS)
    table.add(f"{FLOPS:.0%} of the operations", small)
    small.optimizer = optimizer(1e-3)
    small.fit(X, y, epochs=max(1, epochs // 2), batch_size=batch_size)
    least = min(least, table.add("the same, trained on", small))
    print(f"lost at the most: {100 * (accuracy - least):.2f} points of accuracy")
    print(pruned.summary())
    return 1 - (accuracy - least)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder with the four idx files")
    main(parser.parse_args().folder)
