"""A network as a table."""

import math
from typing import NamedTuple

from .thread_choice import worthwhile_threads
from .training import plan, value_bytes

LONGEST = 160  # characters that a layer's settings may take; the edges of bins of many features would take thousands


class LayerInfo(NamedTuple):
    """What there is to say about a layer of a built network."""

    key: str  # "0.dense", without the weight's name
    layer: object
    input_shape: tuple
    output_shape: tuple
    weights: dict  # name -> shape, of what is trained
    flops: int  # forward, for one sample


def describe(model):
    """A `LayerInfo` for each layer with an op of its own, in order; a `Residual` shows as those inside it."""
    layout, infos = model.layout, []
    for i, (key, layer) in enumerate(layout.leaves):
        if layer.internal:
            continue
        shape_in, shape_out = layout.shapes[i : i + 2]
        weights = {e.name: e.shape for e in layout.entries if e.layer == i}
        infos.append(LayerInfo(key, layer, shape_in, shape_out, weights, layer.flops(shape_in)))
    return infos


def count(info):
    """Number of a layer's parameters."""
    return sum(math.prod(shape) for shape in info.weights.values())


def fit_bytes(model, batch_size, threads=1):
    """(bytes of parameters, gradients and the optimizer's memory; bytes of activations and their gradients).

    Beside them a fit holds the samples, in the network's float type, and the machine code.
    """
    layout, itemsize = model.layout, model.dtype.itemsize
    how = plan(layout, itemsize, batch_size)
    gradients = how.shards if how.by_shards else 1
    arrays = 2 + gradients + model.optimizer.n_arrays + (model.optimizer.average is not None)  # with transposed copies
    workspaces = min(threads, how.shards) if how.apart else 1
    return arrays * layout.size * itemsize, workspaces * how.rows * value_bytes(layout, itemsize)


def summary(model, batch_size=32):
    """Table of a built model, as a string: see `Model.summary`."""
    infos = describe(model)
    rows = [("layer", "output", "parameters", "flops/row")]
    for info in infos:
        text = repr(info.layer)
        text = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
        rows.append((f"{info.key}  {text}", str(info.output_shape), f"{count(info):,}", f"{info.flops:,}"))
    widths = [max(len(row[c]) for row in rows) for c in range(4)]
    lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
    lines.insert(1, "-" * len(lines[0]))
    total, flops = model.layout.n_params, sum(info.flops for info in infos)
    lines.append(lines[1])
    lines.append(f"{total:,} parameters, {total * model.dtype.itemsize / 1e6:.2f} MB in {model.dtype.name}")
    lines.append(f"{flops:,} flops to predict a row, about {3 * flops:,} to train with it")
    threads = worthwhile_threads(3 * model.layout.flops * batch_size, 2, model.dtype.itemsize)
    own, work = fit_bytes(model, batch_size, threads)
    lines.append(
        f"a fit in batches of {batch_size}: {own / 1e6:.2f} MB for weights, gradients and the optimizer, {work / 1e6:.2f} MB "
        f"for activations; {threads} thread{'s' if threads > 1 else ''}"
    )
    lines.append(f"input {model.layout.shapes[0]}, {model.loss!r}, {model.optimizer!r}")
    return "\n".join(lines)
