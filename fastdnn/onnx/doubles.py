"""Nodes of float64, in graphs whose networks may be of float32: estimators for tables compute in it up to the networks."""

import numpy as np


def double(graph, value, name="constant"):
    """Name of a constant."""
    return graph.constant(value, name, np.float64)


def between(graph, x, low, high):
    """Numbers cut off at limits, each column at its own where these are arrays."""
    return graph.node("Min", graph.node("Max", x, double(graph, low)), double(graph, high))


def known_only(graph, absent, x):
    """Numbers, NaN where the bool `absent` says so."""
    return graph.node("Where", absent, double(graph, np.nan), x)
