"""Slow, obvious float64 oracles."""

import numpy as np


def dense_forward(X, W, b):
    out = np.zeros((len(X), W.shape[1]))
    for i in range(len(X)):
        for j in range(W.shape[1]):
            out[i, j] = sum(float(X[i, k]) * float(W[k, j]) for k in range(W.shape[0])) + float(b[j])
    return out


def central_difference(f, params, h=1e-6):
    """Gradient of f() with respect to the array `params`, which is changed in place and put back."""
    gradient = np.zeros(params.shape)
    for i in np.ndindex(params.shape):
        value = params[i]
        params[i] = value + h
        above = f()
        params[i] = value - h
        below = f()
        params[i] = value
        gradient[i] = (above - below) / (2 * h)
    return gradient


def softmax(z):
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def loss(name, z, y, weights=None):
    """Weighted mean of a loss over the rows of scores z."""
    if name == "cross_entropy":
        rows = -np.log(softmax(z)[np.arange(len(y)), y])
    else:
        y = np.reshape(y, z.shape)
        if name == "squared_error":
            rows = (0.5 * (z - y) ** 2).sum(axis=1)
        elif name == "log_loss":
            p = 1 / (1 + np.exp(-z))
            rows = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1)
        elif name == "poisson":
            logs = np.where(y > 0, y * np.log(np.where(y > 0, y, 1)), 0)
            rows = (logs - y - y * z + np.exp(z)).sum(axis=1)
        else:
            raise ValueError(f"write an oracle for the loss {name!r} here")
    return np.average(rows, weights=weights)


def sgd(p, g, state, learning_rate, momentum, nesterov):
    v = momentum * state.get("v", 0.0) - learning_rate * g
    state["v"] = v
    return p + (momentum * v - learning_rate * g if nesterov else v)


def adam(p, g, state, learning_rate, beta_1, beta_2, epsilon):
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta_1 * state.get("m", 0.0) + (1 - beta_1) * g
    v = state["v"] = beta_2 * state.get("v", 0.0) + (1 - beta_2) * g**2
    return p - learning_rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(v) + epsilon)
