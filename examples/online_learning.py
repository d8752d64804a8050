"""Online learning: samples arrive in pieces, each is predicted first and learned with partial_fit afterwards.

python examples/online_learning.py
"""

import numpy as np

from fastdnn import MLPClassifier


def stream(pieces, rows, seed=0):
    """Pieces (X, y) of a stream whose class boundary slowly turns."""
    rng = np.random.default_rng(seed)
    for t in range(pieces):
        angle = 2 * np.pi * t / 200
        X = rng.standard_normal((rows, 10)).astype(np.float32)
        y = np.where(X[:, 0] * np.cos(angle) + X[:, 1] * np.sin(angle) > 0, "up", "down")
        yield X, y


def main(pieces=150, rows=200):
    clf = MLPClassifier(hidden_layer_sizes=(32,), learning_rate_init=0.01, random_state=0)
    still, right = None, []
    for t, (X, y) in enumerate(stream(pieces, rows)):
        if t:
            right.append((clf.predict(X) == y).mean())
        clf.partial_fit(X, y, classes=["down", "up"])
        if t == pieces // 5:
            still = MLPClassifier(hidden_layer_sizes=(32,), learning_rate_init=0.01, max_iter=50, random_state=0, tol=0.01)
            still.fit(X, y)
    accuracy, frozen = np.mean(right[-20:]), (still.predict(X) == y).mean()
    print(f"accuracy on pieces not yet seen, last 20 of {pieces}: {accuracy:.3f}")
    print(f"a network that stopped learning after a fifth of the stream: {frozen:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
