"""Recurrent layers as a loop over the steps, ONNX's "Scan", whose body is a step of the cell."""

from ..layers import GRU, LSTM
from .activations import activated
from .dense import product
from .masks import counting
from .tensors import Tensor


def scanned(graph, layer, x, weights, directions):
    """(outputs of all steps (time, directions, n, units), the last ones (directions, n, units)), as of ONNX's operators.

    x : Tensor, in the order "time"     directions : pairs (prefix of the names of the weights, whether backwards)
    """
    ways = [one_way(graph, layer, x, weights, *direction) for direction in directions]
    steps = [graph.node("Unsqueeze", y, graph.constant([1])) for y, _ in ways]
    last = [graph.node("Unsqueeze", h, graph.constant([0])) for _, h in ways]
    return graph.node("Concat", *steps, axis=1), graph.node("Concat", *last, axis=0)


def one_way(graph, layer, x, weights, prefix, backwards):
    """(outputs of all steps (time, n, units), the last one (n, units)) in one direction."""
    z, counts = product(graph, x, weights[f"{prefix}kernel"], weights.get(f"{prefix}bias")), []
    if x.steps is not None:
        counts = [graph.node("Transpose", counting(graph, x), perm=[1, 0, 2])]
    scans = [graph.slice(a, 0, step=-1) if backwards else a for a in (z, *counts)]
    sizes = graph.node("Concat", graph.shape(x, 1, 2), graph.constant([layer.units]), axis=0)
    start = graph.node("Expand", graph.constant(0.0), sizes)
    states = [start] * (2 if layer.has_c else 1)
    body = step(graph.inner(), layer, weights, prefix, bool(counts))
    *found, y = graph.node(
        "Scan", *states, *scans, outputs=len(states) + 1, body=body.proto("step"), num_scan_inputs=len(scans)
    )
    return graph.slice(y, 0, step=-1) if backwards else y, found[0]


def step(body, layer, weights, prefix, masked):
    """The body: states and gates of a step, and whether it counts, to the states behind it and its output."""
    names = ["h", "c"] if layer.has_c else ["h"]
    before = [body.add_input(body.unique(name), (None, layer.units)) for name in names]
    z = body.add_input(body.unique("z"), (None, layer.gates * layer.units))
    u = body.node("MatMul", before[0], body.constant(weights[f"{prefix}recurrent_kernel"], "recurrent_kernel"))
    if f"{prefix}recurrent_bias" in weights:
        u = body.node("Add", u, body.constant(weights[f"{prefix}recurrent_bias"], "recurrent_bias"))
    after = cell(body, layer, z, u, before)
    y = after[0]
    if masked:
        counts = body.add_input(body.unique("counts"), (None, 1), bool)
        after = [body.node("Where", counts, new, old) for new, old in zip(after, before, strict=True)]
        y = body.node("Where", counts, y, body.constant(0.0))
    for name, value in zip([*names, "y"], [*after, y], strict=True):
        body.add_output(body.unique(f"{name}_next"), value, (None, layer.units))
    return body


def cell(body, layer, z, u, before):
    """[h] or [h, c] behind a step; z, u : what the sample and the h before it give to the gates."""
    h, c = before[0], before[-1]
    if isinstance(layer, LSTM):
        i, f, g, o = split(body, layer, body.node("Add", z, u))
        kept = body.node("Mul", body.node("Sigmoid", f), c)
        new = body.node("Mul", body.node("Sigmoid", i), body.node("Tanh", g))
        c = body.node("Add", kept, new)
        return [body.node("Mul", body.node("Sigmoid", o), body.node("Tanh", c)), c]
    if isinstance(layer, GRU):
        (zr, zz, zn), (ur, uz, un) = split(body, layer, z), split(body, layer, u)
        r, share = (body.node("Sigmoid", body.node("Add", a, b)) for a, b in ((zr, ur), (zz, uz)))
        n = body.node("Tanh", body.node("Add", zn, body.node("Mul", r, un)))
        return [body.node("Add", body.node("Mul", share, body.node("Sub", h, n)), n)]
    sums = Tensor(body.node("Add", z, u), (layer.units,))
    return [activated(body, layer.activation, sums)]


def split(body, layer, gates):
    """The gates one by one."""
    return body.node("Split", gates, body.constant([layer.units] * layer.gates), outputs=layer.gates, axis=1)
