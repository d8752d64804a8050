"""A residual network of 300 dense layers on the digits: depth without vanishing gradients.

python examples/residual.py
"""

import time

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastdnn import Model, layers, optimizers, schedules


def network(blocks=150, width=32):
    """Blocks x + W2 relu(W1 norm(x)); W2 starts at 0, so that each block starts as the identity."""
    block = layers.Residual(
        [layers.LayerNorm(), layers.Dense(width, activation="relu"), layers.Dense(width, initializer=0.0)]
    )
    shapes = [layers.Dense(width), *[block] * blocks, layers.LayerNorm(), layers.Dense(10)]
    optimizer = optimizers.AdamW(schedules.OneCycle(3e-3), clip_norm=1.0)
    return Model(shapes, loss="cross_entropy", optimizer=optimizer, random_state=0)


def main(epochs=30, blocks=150):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split((X / 16).astype("float32"), y, random_state=0)
    model = network(blocks)
    began = time.perf_counter()
    model.fit(X_train, y_train, epochs=epochs, batch_size=50)
    accuracy = model.evaluate(X_test, y_test)["accuracy"]
    print(f"{2 * blocks} layers, {epochs} epochs in {time.perf_counter() - began:.1f} s, test accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
