"""Loss and metrics of samples, without training."""

import numpy as np

from .inference import chunks, results, run_all
from .inputs import by_rows
from .layers.base import DATA, sample_rows


def evaluate(network, source, targets, y, weights):
    """dict of the loss and the loss's metrics: of the samples, targets as the loss made them of y, and weights or None."""
    rows = sample_rows(network.layout.shapes[-1])
    losses, scale = np.zeros(source.n * rows), np.array([1.0 / (source.n if weights is None else weights.sum())])
    arrays = {DATA.y: targets.ctypes.data, DATA.losses: losses.ctypes.data, DATA.scale: scale.ctypes.data}
    arrays[DATA.sample_weight] = 0 if weights is None else weights.ctypes.data
    run_all(network, source, network.loss.kernel_for(targets, network.n_out), arrays)
    return {"loss": float(losses.sum()), **metrics(network, source, y, weights)}


def metrics(network, source, y, weights):
    """The loss's metrics; of those that are means, a chunk of the samples at a time."""
    shape, loss = network.layout.shapes[-1], network.loss
    rows = sample_rows(shape)
    y = np.asarray(by_rows(y, shape))
    of_rows = weights if weights is None or rows == 1 else np.repeat(weights, rows)

    def predictions(samples):
        return results(network, samples, loss.link_for(network.n_out)).reshape(-1, network.n_out)

    parts = chunks(source.n, rows * network.n_out)
    if len(parts) == 1 or not loss.metrics_are_means:
        return loss.metrics(predictions(source), y, of_rows)
    of_rows, total = np.ones(source.n * rows) if of_rows is None else of_rows, {}
    for part in parts:
        of_part = slice(part.start * rows, part.stop * rows)
        if of_rows[of_part].any():
            for name, value in loss.metrics(predictions(source.take(part)), y[of_part], of_rows[of_part]).items():
                total[name] = total.get(name, 0.0) + value * of_rows[of_part].sum()
    return {name: float(value / of_rows.sum()) for name, value in total.items()}
