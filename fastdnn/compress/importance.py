"""How much a network hangs on each of its units."""

import numpy as np

ROWS = 256  # samples of a batch by which the change of the loss is judged, or whose values are there at once
BATCHES = 64  # of the first, at the least, where there are as many samples: smaller batches then


def squares(values, cut):
    """(units, k) sums of the squares of an array's numbers at the positions of a `Cut`."""
    array = np.moveaxis(np.asarray(values[cut.key], np.float64), cut.axis, 0)
    return np.square(array.reshape(len(array), -1)).sum(axis=1)[cut.positions]


def by_weights(units, values):
    """Norm of the weights that make a unit (or the factor of its batch normalization) times norm of those that take it."""
    made = squares(values, units.gamma) if units.gamma else sum(squares(values, cut).sum(axis=1) for cut in units.incoming)
    taken = sum(squares(values, cut).sum(axis=1) for cut in (*units.outgoing, *units.inner))
    return np.sqrt(made.reshape(units.count, -1).sum(axis=1) * taken)


def by_values(units, values, moments):
    """Standard deviation of a unit's values times norm of the weights that take it; moments : see `moments_of`.

    Where the mean does not go into a bias or a normalization, it is lost too: then their root mean square.
    """
    means, variances = (moment[units.places] for moment in moments)
    lost = variances + np.square(means)
    total = sum((squares(values, cut).sum(axis=1) * lost.mean(axis=1) for cut in units.inner), np.zeros(units.count))
    for cut in units.outgoing:
        taken, changes = squares(values, cut), variances if cut.key in units.shifts else lost
        if taken.shape != changes.shape:  # each value is taken several times
            taken, changes = taken.sum(axis=1, keepdims=True), changes.mean(axis=1, keepdims=True)
        total += (changes * taken).sum(axis=1)
    return np.sqrt(total)


def moments_of(model, units, X):
    """(means, variances) of the values on the last axis that come to the layer behind the units, over all samples X."""
    part = model._built().beginning(units.before)
    count, total, square, first = 0, 0.0, 0.0, None
    for lo in range(0, X.shape[0], ROWS):
        found = model._infer(part, X[lo : lo + ROWS], True).reshape(-1, part.n_out).astype(np.float64)
        first = found[0] if first is None else first  # differences from it: variances of large numbers keep their digits
        found = found - first
        count, total, square = count + len(found), total + found.sum(axis=0), square + np.square(found).sum(axis=0)
    if not np.isfinite(total).all():
        raise ValueError("X must be finite, and what the layers make of it, got NaN or infinity as values of units")
    mean = total / count
    return mean + first, np.maximum(square / count - mean * mean, 0.0)


def by_loss(model, all_units, X, y):
    """For each of several `Units`, by how much the loss of a batch would change without each unit: root of the mean square.

    To first order that is the sum of gradient times weight over the weights that take it.
    """
    size = max(1, min(ROWS, X.shape[0] // BATCHES))
    totals = [np.zeros(units.count) for units in all_units]
    for lo in range(0, X.shape[0] - size + 1, size):
        model.loss_and_grad(X[lo : lo + size], y[lo : lo + size])
        weights, gradients = model.weights, model.gradients
        for units, total in zip(all_units, totals, strict=True):
            total += np.square(sum(_change(weights, gradients, cut) for cut in (*units.outgoing, *units.inner)))
    return [np.sqrt(total) for total in totals]


def _change(weights, gradients, cut):
    """(units,) sums of gradient times weight."""
    product = np.asarray(weights[cut.key], np.float64) * gradients[cut.key]
    moved = np.moveaxis(product, cut.axis, 0)
    return moved.reshape(len(moved), -1).sum(axis=1)[cut.positions].sum(axis=1)
