"""How a deep network learns, written out: initialize, forward, loss, backward, update.

    python examples/step_by_step.py

The network is fastdnn's Model; every step it takes is also computed here with plain NumPy, and the two are compared.
"""

import numpy as np

from fastdnn import Model, layers


def spiral(rows, seed=0):
    """Two arms of a spiral: points in the plane, and which arm each belongs to."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, rows)
    t = rng.uniform(0.3, 3.0, rows)
    angle = 2.2 * t + np.pi * arm
    X = np.column_stack([t * np.cos(angle), t * np.sin(angle)]) + 0.05 * rng.standard_normal((rows, 2))
    return X, arm


def forward(X, W1, b1, W2, b2):
    """Layer by layer: each output is an activation of a weighted sum of the layer before it."""
    hidden = np.tanh(X @ W1 + b1)
    scores = hidden @ W2 + b2  # one number per class, not yet probabilities
    return hidden, scores


def cross_entropy(scores, y):
    """Softmax turns scores into probabilities; the loss is the mean surprise -log p(true class)."""
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p, -np.log(p[np.arange(len(y)), y]).mean()


def backward(X, y, hidden, p, W2):
    """The chain rule from the loss back to each weight; every gradient has the shape of what it belongs to."""
    d_scores = p.copy()
    d_scores[np.arange(len(y)), y] -= 1  # softmax and cross-entropy together: p - one-hot
    d_scores /= len(y)
    d_W2, d_b2 = hidden.T @ d_scores, d_scores.sum(axis=0)
    d_hidden = (d_scores @ W2.T) * (1 - hidden**2)  # through the weights, then through tanh
    d_W1, d_b1 = X.T @ d_hidden, d_hidden.sum(axis=0)
    return d_W1, d_b1, d_W2, d_b2


def main(steps=1500, rows=400, learning_rate=0.5):
    X, y = spiral(rows)

    # 1. Initialize: small random weights, so that the hidden units start out different from each other.
    model = Model(
        [layers.Dense(24, activation="tanh"), layers.Dense(2)], loss="cross_entropy", dtype="float64", random_state=1
    )
    model.build((2,))
    print(model.summary())

    for step in range(steps):
        W1, b1, W2, b2 = model.weights.values()  # views: writing into them changes the network

        # 2. Forward, 3. loss, 4. backward, by fastdnn in one call ...
        loss, _ = model.loss_and_grad(X, y)
        gradients = list(model.gradients.values())

        if step % 500 == 0:
            # ... and by hand.
            hidden, scores = forward(X, W1, b1, W2, b2)
            p, loss_by_hand = cross_entropy(scores, y)
            by_hand = backward(X, y, hidden, p, W2)
            difference = max(np.abs(a - b).max() for a, b in zip(gradients, by_hand, strict=True))
            accuracy = (scores.argmax(axis=1) == y).mean()
            print(f"step {step:4d}  loss {loss:.4f} (by hand {loss_by_hand:.4f})  accuracy {accuracy:.3f}", end="  ")
            print(f"largest difference of a gradient {difference:.0e}")
            assert difference < 1e-12

        # 5. Update: a step downhill.
        for weight, gradient in zip((W1, b1, W2, b2), gradients, strict=True):
            weight -= learning_rate * gradient

    accuracy = model.evaluate(X, y)["accuracy"]
    print(f"after {steps} steps: accuracy {accuracy:.3f}. The same with an optimizer and batches is one line:")
    print("    model.fit(X, y, epochs=..., batch_size=...)")
    return accuracy


if __name__ == "__main__":
    main()
