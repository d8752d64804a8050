"""Loss and metrics of samples, without training."""

import numpy as np

from .inference import chunks, results, run_all
from .inputs import by_rows
from .layers.base import DATA, sample_rows


def evaluate(network, source, targets, y, weights, with_metrics=True):
    """dict of the loss and the loss's metrics: of the samples, targets as the loss made them of y, and weights or None."""
    rows = sample_rows(network.layout.shapes[-1])
    counts = source.steps if counts_steps(network, source) else np.ones(source.n)
    losses, scale = np.zeros(source.n * rows), np.array([1.0 / np.sum(counts if weights is None else counts * weights)])
    arrays = {DATA.y: targets.ctypes.data, DATA.losses: losses.ctypes.data, DATA.scale: scale.ctypes.data}
    arrays[DATA.sample_weight] = 0 if weights is None else weights.ctypes.data
    run_all(network, source, network.loss.kernel_for(targets, network.n_out), arrays)
    return {"loss": float(losses.sum()), **(metrics(network, source, y, weights) if with_metrics else {})}


def counts_steps(network, source):
    """Whether losses and metrics are means over the steps that a mask of the samples lets count."""
    return source.mask is not None and network.layout.gives_steps


def counted_rows(network, source, y, weights):
    """(predictions, targets, weights or None) of the rows of scores that count: of steps those that a mask lets."""
    shape, n_out = network.layout.shapes[-1], network.n_out
    rows = sample_rows(shape)
    y = np.asarray(by_rows(y, shape))
    weights = weights if weights is None or rows == 1 else np.repeat(weights, rows)
    found = results(network, source, network.loss.link_for(n_out)).reshape(-1, n_out)
    if not counts_steps(network, source):
        return found, y, weights
    kept = source.mask.ravel() > 0
    return found[kept], y[kept], np.ones(kept.sum()) if weights is None else weights[kept]


def metrics(network, source, y, weights):
    """The loss's metrics; of those that are means, a chunk of the samples at a time."""
    shape, loss = network.layout.shapes[-1], network.loss
    rows = sample_rows(shape)
    parts = chunks(source.n, rows * network.n_out)
    if len(parts) == 1 or not loss.metrics_are_means:
        return loss.metrics(*counted_rows(network, source, y, weights))
    y, total, whole = np.asarray(y), {}, 0.0
    for part in parts:
        found = counted_rows(network, source.take(part), y[part], None if weights is None else weights[part])
        weight = float(len(found[0]) if found[2] is None else found[2].sum())
        if weight:
            for name, value in loss.metrics(*found).items():
                total[name] = total.get(name, 0.0) + value * weight
            whole += weight
    return {name: float(value / whole) for name, value in total.items()}
