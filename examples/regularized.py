"""Fashion-MNIST with dropout, batch normalization, AdamW and a one-cycle rate: what a plain network leaves on the table.

    python examples/regularized.py [FOLDER]

FOLDER as for fashion_mnist.py.
"""

import argparse
import time

from fashion_mnist import load

from fastdnn import Model, layers, optimizers, schedules


def network(hidden=(512, 256), dropout=0.3, rate=5e-3):
    """Dense layers, each followed by batch normalization, relu and dropout."""
    shapes = [layers.Dropout(0.1)]
    for units in hidden:
        shapes += [
            layers.Dense(units, initializer="he_uniform", use_bias=False),
            layers.BatchNorm(),
            layers.Activation("relu"),
            layers.Dropout(dropout),
        ]
    optimizer = optimizers.AdamW(schedules.OneCycle(rate), weight_decay=0.05)
    return Model([*shapes, layers.Dense(10)], loss="cross_entropy", optimizer=optimizer, random_state=0)


def main(folder=None, epochs=40, **settings):
    X_train, y_train, X_test, y_test = load(folder)
    mean, std = X_train.mean(), X_train.std()
    X_train, X_test = (X_train - mean) / std, (X_test - mean) / std
    model = network(**settings)
    began = time.perf_counter()
    model.fit(X_train, y_train, epochs=epochs, batch_size=256)
    accuracy = model.evaluate(X_test, y_test)["accuracy"]
    print(f"{epochs} epochs in {time.perf_counter() - began:.1f} s, test accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder with the four idx files")
    main(parser.parse_args().folder)
