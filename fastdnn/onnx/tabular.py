"""Ensembles for tables as nodes: the networks, what their predictions mean, their mean, its calibration."""

import numpy as np

from .answers import Answer
from .doubles import between, double
from .labels import likely, winners
from .network import link_nodes, network_nodes
from .table_matrix import matrix_nodes


def tabular_nodes(graph, estimator, inputs):
    """Name of what the networks of a `TabularClassifier` or a `TabularRegressor` say together, float64 (n, k).

    graph : of float32, the networks' type     inputs : `TableInputs`
    """
    Z, total = matrix_nodes(graph, estimator._features, *inputs.nodes()), None
    for kind in estimator.ensemble_.kinds:
        share = double(graph, kind.weight / len(kind.models))
        for number, model in enumerate(kind.models):
            with graph.scope(f"network{number}"):
                p = link_nodes(graph, model.network, network_nodes(graph, model.network, Z))
            p = graph.node("Mul", final_nodes(graph, estimator._task, kind.recipe, graph.cast(p, np.float64)), share)
            total = p if total is None else graph.node("Add", total, p)
    return total


def tabular_classifier_nodes(graph, estimator, inputs, labels):
    """The `Answer` of a `TabularClassifier`; probabilities are float64."""
    p = tabular_nodes(graph, estimator, inputs)
    if estimator._multilabel:
        return Answer(likely(graph, p, np.float64), p)
    tempered = graph.node("Div", graph.node("Log", p), double(graph, estimator.temperature_))
    p = graph.node("Softmax", tempered, axis=1)
    return Answer(winners(graph, p, labels), p)


def tabular_regressor_nodes(graph, estimator, inputs):
    """Name of what a `TabularRegressor` predicts, float64 (n, k)."""
    p, task = tabular_nodes(graph, estimator, inputs), estimator._task
    if estimator._shift is None:
        return p
    return between(graph, ordered(graph, task, graph.node("Add", p, double(graph, estimator._shift))), *task.limits)


def final_nodes(graph, task, recipe, p):
    """`task.final` of float64 predictions of a network."""
    scale = task.scale_of(recipe)
    if scale is None:  # of probabilities
        return p
    p = graph.node("Add", graph.node("Mul", p, double(graph, scale.std)), double(graph, scale.mean))
    if scale.logarithm:
        p = graph.node("Exp", graph.node("Min", p, double(graph, 700.0)))
        p = graph.node("Mul", graph.node("Sub", p, double(graph, 1.0)), double(graph, scale.unit))
    p = between(graph, p, scale.low, scale.high)
    return ordered(graph, task, p) if hasattr(task, "quantiles") else p


def ordered(graph, task, p):
    """`task.ordered`: sorted quantiles, each where its number stands among those that were asked for."""
    rising, _ = graph.node("TopK", p, graph.constant([task.n_outputs]), outputs=2, axis=1, largest=0)
    return graph.node("Gather", rising, graph.constant(task._order), axis=1)
