"""What exporters write out in several operators and is one layer: normalization before operator set 17 had it."""

import numpy as np

from .reading import Node


def with_layer_norms(graph):
    """The nodes of a graph, (x - mean) / sqrt(mean of its square + epsilon) being one of the operator LayerNormalization."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    found = {id(node): normalized for node in graph.nodes if (normalized := _layer_norm(node, makers, graph))}
    if not found:
        return graph.nodes
    nodes = [found.get(id(node), node) for node in graph.nodes]
    needed, kept = {graph.output}, []
    for node in reversed(nodes):  # without those that only these were made of
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _layer_norm(node, makers, graph):
    """The node that does what a division and those before it do, or None."""
    centered, root = _made_by(node, 0, ("Sub",), makers), _made_by(node, 1, ("Sqrt",), makers)
    if node.op != "Div" or centered is None or root is None:
        return None
    total, mean = _made_by(root, 0, ("Add",), makers), _made_by(centered, 1, ("ReduceMean",), makers)
    if total is None or mean is None or mean.input(0) != centered.input(0):
        return None
    for k in range(2):
        variance, epsilon = _made_by(total, k, ("ReduceMean",), makers), _number(total.input(1 - k), makers, graph)
        square = variance and _made_by(variance, 0, ("Pow", "Mul"), makers)
        if square and epsilon is not None and _is_square(square, node.input(0), makers, graph):
            axes = _axes(mean, makers, graph)
            keeps = all(reduced.attribute("keepdims", 1) == 1 for reduced in (mean, variance))
            if axes and axes == _axes(variance, makers, graph) and keeps:
                attributes = {"axes": axes, "epsilon": epsilon}
                return Node("LayerNormalization", node.name, [centered.input(0)], node.outputs, attributes, node.opset)
    return None


def _made_by(node, number, ops, makers):
    """The node that makes an input, if it is one of those operators."""
    maker = makers.get(node.input(number)) if node.input(number) else None
    return maker if maker is not None and maker.op in ops else None


def _is_square(node, name, makers, graph):
    if node.input(0) != name:
        return False
    return node.input(1) == name if node.op == "Mul" else _number(node.input(1), makers, graph) == 2


def _constant(name, makers, graph):
    """An array of the file by its name, or None."""
    maker = makers.get(name)
    array = maker.attribute("value", None, np.ndarray) if maker is not None and maker.op == "Constant" else None
    return graph.constants.get(name) if array is None else array


def _number(name, makers, graph):
    array = _constant(name, makers, graph)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def _axes(node, makers, graph):
    """Axes of a ReduceMean, an attribute or, in newer operator sets, an input."""
    array = _constant(node.input(1), makers, graph) if node.input(1) else node.attribute("axes", (), tuple)
    return () if array is None else tuple(int(n) for n in np.asarray(array).reshape(-1)[:16])
