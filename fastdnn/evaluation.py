"""Loss and metrics of samples, without training."""

import numpy as np

from .inference import chunks, results, run_all
from .inputs import by_rows
from .layers.base import DATA, sample_rows


def evaluate(network, source, targets, y, weights):
    """dict of the loss and the loss's metrics: of the samples, targets as the loss made them of y, and weights or None."""
    rows = sample_rows(network.layout.shapes[-1])
    counts = source.steps if counts_steps(network, source) else np.ones(source.n)
    losses, scale = np.zeros(source.n * rows), np.array([1.0 / np.sum(counts if weights is None else counts * weights)])
    arrays = {DATA.y: targets.ctypes.data, DATA.losses: losses.ctypes.data, DATA.scale: scale.ctypes.data}
    arrays[DATA.sample_weight] = 0 if weights is None else weights.ctypes.data
    run_all(network, source, network.loss.kernel_for(targets, network.n_out), arrays)
    return {"loss": float(losses.sum()), **metrics(network, source, y, weights)}


def counts_steps(network, source):
    """Whether losses and metrics are means over the steps that a mask of the samples lets count."""
    return source.mask is not None and network.layout.gives_steps


def metrics(network, source, y, weights):
    """The loss's metrics; of those that are means, a chunk of the samples at a time."""
    shape, loss = network.layout.shapes[-1], network.loss
    rows = sample_rows(shape)
    y = np.asarray(by_rows(y, shape))
    of_rows = weights if weights is None or rows == 1 else np.repeat(weights, rows)
    masked = counts_steps(network, source)
    if masked:
        of_rows = source.mask.ravel() * (1.0 if of_rows is None else of_rows)

    def predictions(samples):
        found = results(network, samples, loss.link_for(network.n_out)).reshape(-1, network.n_out)
        return found[samples.mask.ravel() > 0] if masked else found

    parts = chunks(source.n, rows * network.n_out)
    if len(parts) == 1 or not loss.metrics_are_means:
        kept = source.mask.ravel() > 0 if masked else slice(None)
        return loss.metrics(predictions(source), y[kept], None if of_rows is None else of_rows[kept])
    of_rows, total = np.ones(source.n * rows) if of_rows is None else of_rows, {}
    for part in parts:
        of_part = slice(part.start * rows, part.stop * rows)
        if of_rows[of_part].any():
            kept = source.mask[part].ravel() > 0 if masked else slice(None)
            given = y[of_part][kept], of_rows[of_part][kept]
            for name, value in loss.metrics(predictions(source.take(part)), *given).items():
                total[name] = total.get(name, 0.0) + value * of_rows[of_part].sum()
    return {name: float(value / of_rows.sum()) for name, value in total.items()}
