"""The nodes that a network becomes: its layers one after the other, and the link of its loss."""

from itertools import pairwise

import numpy as np

from ..layers.pooling import GlobalPool
from ..layers.spectral_norm import SpectralScale
from ..layout import keeps_steps
from .links import linked
from .masks import finds_steps, first_steps
from .registry import check_exporter, exporter_of
from .tensors import LAST, Tensor, turned


def network_nodes(graph, network, x, lengths=None):
    """Add the nodes of a network's layers; returns the name of the raw scores, as `Model.forward` gives them.

    Parameters
    ----------
    graph : Graph
        Of the network's float type.
    network : Network
        Built.
    x : str
        Name of the samples, of shape (n, ...) and of the graph's float type (int64 where the first layer takes ids).
    lengths : str or None, default=None
        Name of the lengths of the sequences, int64 of shape (n,) or (1,); None where all steps count, or `takes_lengths`
        says that they change nothing.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is a layer, or an activation, that nobody has registered an `exporter` for; it names both.
    """
    layout, first = network.layout, network.layout.leaves[0][1]
    if finds_steps(first):
        layout.check_mask()
    steps = first_steps(graph, first, x, lengths) if takes_lengths(layout) else None
    value = Tensor(x, layout.shapes[0], steps=steps)
    for (key, layer), weights, after in zip(layout.leaves, leaf_weights(network), layout.shapes[1:], strict=True):
        value = layer_nodes(graph, key, layer, value, weights, after)
    return turned(graph, value, LAST).name


def layer_nodes(graph, key, layer, value, weights, after):
    """The `Tensor` behind a layer, whose samples have the shape `after`."""
    found = check_exporter(layer, f"layer {key.rpartition('.')[0]}, {layer!r}")
    with graph.scope(key):
        x = turned(graph, value, value.order if value.order in found.orders else found.orders[0])
        made = found.function(graph, layer, x, weights)
    made = made if isinstance(made, Tensor) else x._replace(name=made)
    order = made.order if len(after) > 1 else LAST  # of vectors there is one order only
    if layer.opens_shortcut:
        return made  # what came to other layers, as it was
    steps = made.steps if keeps_steps(layer, x.shape, after) else None
    return made._replace(shape=after, order=order, steps=steps)


def leaf_weights(network):
    """For each leaf its arrays by their names, running statistics included."""
    layout = network.layout
    found = [{} for _ in layout.leaves]
    for entries, flat in ((layout.entries, network.params), (layout.states, network.state)):
        for entry in entries:
            found[entry.layer][entry.name] = np.array(entry.view(flat))
    for number, (_, layer) in enumerate(layout.leaves):
        if isinstance(layer, SpectralScale):
            divide(found[number - 1], found[number])
    return found


def divide(product, norm):
    """Divide a kernel by its largest singular value v W u, and let its product have the bias."""
    kernel = product["kernel"]
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    largest = norm["v"] @ (matrix @ norm["u"])
    product["kernel"] = (kernel / (largest or 1.0)).astype(kernel.dtype)
    if "bias" in norm:
        product["bias"] = norm["bias"]


def link_nodes(graph, network, scores):
    """Add the nodes of the link of a network's loss; returns the name of the predictions, as `Model.predict` gives them."""
    with graph.scope(network.loss.name):
        return linked(graph, network.loss, scores, network.n_out)


def takes_lengths(layout):
    """Whether lengths of sequences change what a network predicts."""
    for (_, layer), before, after, comes in zip(
        layout.leaves, layout.shapes[:-1], layout.shapes[1:], layout.has_steps[:-1], strict=True
    ):
        if comes and layer.recurrent:
            return not (layer.go_backwards and len(after) == 2)  # which `Layout.check_mask` refuses
        if comes and isinstance(layer, GlobalPool) and len(before) == 2:
            return True
    return False


def input_shape(layout):
    """(shape of the input, of the output), names being sizes that may be any: of samples, and of steps where they may."""
    first, last = layout.shapes[0], layout.shapes[-1]
    if not goes_by_any_length(layout):
        return ("n", *first), ("n", *last)
    same = len(last) == 2 and all(before[0] == after[0] for before, after in pairwise(layout.shapes))
    steps = [] if len(last) == 1 else ["time" if same else "places"]
    return ("n", "time", *first[1:]), ("n", *steps, last[-1])


def goes_by_any_length(layout):
    """Whether samples are sequences and no layer's nodes know how many steps they have."""
    takes_ids = layout.leaves[0][1].takes_ids
    if len(layout.shapes[0]) != (1 if takes_ids else 2):
        return False
    open_ways = 0
    for (_, layer), before, after in zip(layout.leaves, layout.shapes[:-1], layout.shapes[1:], strict=True):
        found = exporter_of(layer)
        if found is None or not found.any_length(layer):
            return False
        if layer.opens_shortcut and len(before) == 2 and before[0] != after[0]:
            return False  # of another length the two ways might make different ones
        open_ways += layer.opens_skip - layer.closes_skip
        if len(after) == 1 and not open_ways:
            return True
    return True
