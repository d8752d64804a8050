"""Integrated gradients of an ensemble, summed back to the columns of the table."""

import numpy as np

from ..model import Model

POINTS = 32  # of the path
ROWS = 512  # that go through a network at once


def behind(model):
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


def shares(ensemble, features, Z, numbers, slopes, n_columns):
    """(n, n_columns) shares in the score number `numbers[i]` of row i, the mean over the networks.

    slopes : function (recipe, numbers, scores, scores of the medians) -> what the shares in these are multiplied by
    """
    total = np.zeros((len(Z), n_columns))
    for kind in ensemble.kinds:
        for model in kind.models:
            found = _shares_of(model, kind.recipe, features, Z, numbers, slopes, n_columns)
            total += kind.weight / len(kind.models) * found
    return total


def _shares_of(model, recipe, features, Z, numbers, slopes, n_columns):
    head, tail = behind(model)
    of_table, total = features.sources[owners(model, features)], np.zeros((len(Z), n_columns))
    base = head(np.zeros((1, Z.shape[1]), np.float32))
    points, weights = np.polynomial.legendre.leggauss(POINTS)
    for first in range(0, len(Z), ROWS):
        number = numbers[first : first + ROWS]
        features_of = head(Z[first : first + ROWS])
        way, rows = features_of - base, np.arange(len(number))
        dscores, gradient = np.zeros((len(way), tail.n_out), np.float32), 0.0
        dscores[rows, number] = 1
        for point, weight in zip(points, weights, strict=True):
            at = (base + np.float32((point + 1) / 2) * way).astype(np.float32)
            gradient = gradient + weight / 2 * tail.vjp(at, dscores)[0].astype(np.float64)
        scores = tail.forward(features_of)[rows, number].astype(float)
        slope = slopes(recipe, number, scores, tail.forward(base)[0, number].astype(float))
        for feature, column in enumerate(of_table):
            total[first : first + ROWS, column] += slope * gradient[:, feature] * way[:, feature]
    return total
