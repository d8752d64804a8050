"""Adversarial examples: digits moved a little along the gradient of their loss, and a network that is trained on them too.

python examples/adversarial.py

`Model.input_gradient` gives the gradient with respect to the samples, `Model.train_on_batch` takes the steps. The attack is
the fast gradient sign method. Reference: Goodfellow, I., Shlens, J. & Szegedy, C. (2015). arXiv:1412.6572.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastdnn import Model, layers

STRENGTH = 0.15  # how far each pixel, 0 to 1, may be moved


def attacked(model, X, y):
    """The samples, each pixel moved by STRENGTH in the direction in which the loss rises."""
    return np.clip(X + STRENGTH * np.sign(model.input_gradient(X, y)), 0, 1)


def trained(X, y, defended, epochs, batch=64):
    """A network trained batch by batch; a defended one sees each batch a second time, attacked."""
    net = [layers.Dense(128, activation="relu"), layers.Dense(10)]
    model, rng = Model(net, loss="cross_entropy", random_state=0), np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for rows in np.split(order, range(batch, len(X), batch)):
            model.train_on_batch(X[rows], y[rows])
            if defended:
                model.train_on_batch(attacked(model, X[rows], y[rows]), y[rows])
    return model


def main(epochs=30):
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y)
    for defended in (False, True):
        model = trained(X, y, defended, epochs)
        plain = model.evaluate(X_test, y_test)["accuracy"]
        under_attack = model.evaluate(attacked(model, X_test, y_test), y_test)["accuracy"]
        print(f"{'defended' if defended else 'plain':8s} accuracy {plain:.3f}, under attack {under_attack:.3f}")
    return under_attack


if __name__ == "__main__":
    main()
