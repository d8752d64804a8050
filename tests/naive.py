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
    """Weighted mean of a loss over the rows of scores z, y as `targets` of the tests give it."""
    if name == "cross_entropy":
        logs = z - z.max(axis=1, keepdims=True)
        logs = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
        rows = -(y * logs).sum(axis=1) if np.ndim(y) == 2 else -logs[np.arange(len(y)), y]
        return np.average(rows, weights=weights)
    if name == "quantile":
        r = np.reshape(y, (len(z), -1)) - z
        return np.average(np.maximum(0.5 * r, -0.5 * r).sum(axis=1), weights=weights)
    y = np.reshape(y, z.shape)
    if name == "policy_gradient":
        allowed, a = ~np.isnan(y), np.nan_to_num(y)
        p = np.where(allowed, np.exp(z), 0)
        p /= p.sum(axis=1, keepdims=True)
        return np.mean(-(a * np.log(np.where(allowed, p, 1))).sum(axis=1) * (1 if weights is None else weights))
    p = 1 / (1 + np.exp(-z))
    r, right = np.abs(z - y), np.where(y > 0.5, p, 1 - p)
    values = {
        "squared_error": lambda: 0.5 * r**2,
        "absolute_error": lambda: r,
        "huber": lambda: np.where(r <= 1, 0.5 * r**2, r - 0.5),
        "log_cosh": lambda: np.log(np.cosh(r)),
        "log_loss": lambda: -(y * np.log(p) + (1 - y) * np.log(1 - p)),
        "hinge": lambda: np.maximum(0, 1 - (2 * y - 1) * z),
        "focal": lambda: -((1 - right) ** 2) * np.log(right),
        "poisson": lambda: np.where(y > 0, y * np.log(np.where(y > 0, y, 1)), 0) - y - y * z + np.exp(z),
        "gamma": lambda: y * np.exp(-z) + z - np.log(y) - 1,
        "linear": lambda: y * z,
        "adversarial": lambda: 2 * (np.log1p(np.exp(z)) - np.maximum(y, 0) * z),
    }
    if name not in values:
        raise ValueError(f"write an oracle for the loss {name!r} here")
    return np.average(values[name]().sum(axis=1), weights=weights)


def sgd(p, g, state, learning_rate, momentum, nesterov):
    v = momentum * state.get("v", 0.0) - learning_rate * g
    state["v"] = v
    return p + (momentum * v - learning_rate * g if nesterov else v)


def adam(p, g, state, learning_rate, beta_1, beta_2, epsilon, correct_epsilon=True):
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta_1 * state.get("m", 0.0) + (1 - beta_1) * g
    v = state["v"] = beta_2 * state.get("v", 0.0) + (1 - beta_2) * g**2
    root = np.sqrt(1 - beta_2**t)
    epsilon = epsilon * root if correct_epsilon else epsilon
    return p - learning_rate * root / (1 - beta_1**t) * m / (np.sqrt(v) + epsilon)


def adamw(p, g, state, weight_decay, **settings):
    return adam(p, g, state, **settings) - settings["learning_rate"] * weight_decay * p * (p.ndim == 2)


def rmsprop(p, g, state, learning_rate, rho, momentum, epsilon):
    v = state["v"] = rho * state.get("v", 0.0) + (1 - rho) * g**2
    b = state["b"] = momentum * state.get("b", 0.0) + g / (np.sqrt(v) + epsilon)
    return p - learning_rate * b


def adagrad(p, g, state, learning_rate, epsilon):
    v = state["v"] = state.get("v", 0.0) + g**2
    return p - learning_rate * g / (np.sqrt(v) + epsilon)


def nadam(p, g, state, learning_rate, beta_1, beta_2, epsilon, momentum_decay):
    t = state["t"] = state.get("t", 0) + 1
    mu, following = (beta_1 * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
    product = state["product"] = state.get("product", 1.0) * mu
    m = state["m"] = beta_1 * state.get("m", 0.0) + (1 - beta_1) * g
    v = state["v"] = beta_2 * state.get("v", 0.0) + (1 - beta_2) * g**2
    mean = (1 - mu) / (1 - product) * g + following / (1 - product * following) * m
    return p - learning_rate * mean / (np.sqrt(v / (1 - beta_2**t)) + epsilon)


def schedule_free_adamw(p, g, state, learning_rate, beta_1, beta_2, epsilon, warmup):
    """p is y. The reference implementation's step, written out."""
    t = state["t"] = state.get("t", 0) + 1
    z, rate = state.get("z", p.copy()), learning_rate * np.sqrt(1 - beta_2**t) * min(1, t / max(1, warmup))
    v = state["v"] = beta_2 * state.get("v", 0.0) + (1 - beta_2) * g**2
    state["largest"] = max(state.get("largest", 0.0), rate)
    state["sum"] = state.get("sum", 0.0) + state["largest"] ** 2
    share, step = state["largest"] ** 2 / state["sum"], g / (np.sqrt(v) + epsilon)
    state["z"] = z - rate * step
    return p + share * (z - p) + rate * (beta_1 * (1 - share) - 1) * step


def philox4x32(counter, key, rounds):
    """Four 32-bit words. Reference: Salmon et al. 2011, as its authors' Random123 writes it."""
    c, k = [int(x) for x in counter], [int(x) for x in key]
    for _ in range(rounds):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q & 0xFFFFFFFF, p >> 32 ^ c[3] ^ k[1], p & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c
