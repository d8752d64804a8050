"""Integrated gradients of an ensemble, summed back to the columns of the table."""

import numpy as np

from ..model import Model

POINTS = 32  # of the path
ROWS = 512  # that go through a network at once


def behind(model, features):
    """(head, tail): what the first layer makes of a matrix, and a Model of the layers behind it, with their weights.

    Categories and bins have no gradients of their own; the vectors and encodings that the first layer makes of them have.
    """
    if model.layers[0].name != "columns":
        return (lambda Z: Z), model
    tail = Model(list(model.layers[1:]), loss=model.loss, dtype=model.dtype.name)
    tail.build(model.layout.shapes[len(model.layers[0].leaves(""))])
    tail.params[...] = model.params[len(model.params) - len(tail.params) :]
    return (lambda Z: model.forward(Z, layer=0)), tail


def owners(model, features):
    """For each feature behind the first layer, the column of the matrix that it comes from."""
    if model.layers[0].name != "columns":
        return np.arange(features.n_dense + len(features.n_levels))
    found = []
    for columns, layers in model.layers[0].groups:
        if not layers:
            found += columns
        elif layers[0].name == "piecewise_linear":
            found += [c for c, edges in zip(columns, layers[0].edges, strict=True) for _ in edges[1:]]
        else:
            found += [c for c in columns for _ in range(layers[0].n_features)]
    return np.array(found)


def shares(ensemble, features, Z, numbers, unit, n_columns):
    """(n, n_columns) shares in the score number `numbers[i]` of row i, times unit[i], the mean over the networks."""
    total, baseline = np.zeros((len(Z), n_columns)), np.zeros((1, Z.shape[1]), np.float32)
    points, weights = np.polynomial.legendre.leggauss(POINTS)
    for model, share in [(model, kind.weight / len(kind.models)) for kind in ensemble.kinds for model in kind.models]:
        head, tail = behind(model, features)
        of_table = features.sources[owners(model, features)]
        base = head(baseline)
        for first in range(0, len(Z), ROWS):
            part = slice(first, first + ROWS)
            way = head(Z[part]) - base
            dscores = np.zeros((len(way), tail.n_out), np.float32)
            dscores[np.arange(len(way)), numbers[part]] = 1
            gradient = 0.0
            for point, weight in zip(points, weights, strict=True):
                at = (base + np.float32((point + 1) / 2) * way).astype(np.float32)
                gradient = gradient + weight / 2 * tail.vjp(at, dscores)[0].astype(np.float64)
            of_features = gradient * way
            for column in range(n_columns):
                total[part, column] += share * of_features[:, of_table == column].sum(axis=1)
    return total * np.asarray(unit)[:, None]
