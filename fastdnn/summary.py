"""A network as a table."""

import math
from itertools import pairwise
from typing import NamedTuple

from ._dots import bfloat16_product
from .planning import plan, value_bytes
from .program import value_size
from .thread_choice import worthwhile_threads

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


def left(model, info):
    """Number of a layer's parameters that are not pruned."""
    views = {} if model.mask is None else model.layout.views(model.mask)
    return count(info) - sum(int((views[f"{info.key}.{name}"] == 0).sum()) for name in info.weights if views)


def fit_bytes(model, batch_size, threads=1):
    """(bytes of parameters, gradients and the optimizer's memory; bytes of activations and their gradients).

    Beside them a fit holds the samples, in the network's float type, and the machine code.
    """
    layout, itemsize = model.layout, model.dtype.itemsize
    how = plan(layout, itemsize, batch_size, precision=model.precision)
    gradients = how.shards if how.by_shards else 1
    arrays = 2 + gradients + model.optimizer.n_arrays + (model.optimizer.average is not None)  # with transposed copies
    workspaces = min(threads, how.shards) if how.apart else 1
    values = value_bytes(layout, itemsize)
    if model.precision == "bfloat16":
        values += pair_bytes(layout)
    return arrays * layout.size * itemsize, workspaces * how.rows * values


def pair_bytes(layout):
    """Bytes of what products of bfloat16 keep of a sample: inputs and gradients of outputs of layers that take rows."""
    pairs = zip(layout.leaves, pairwise(layout.shapes), strict=True)
    return 2 * sum(
        sum(map(value_size, shapes)) for (_, layer), shapes in pairs if layer.has_pairs(shapes[0]) and not layer.takes_windows
    )


def products(model):
    """A line: which layers' products are of bfloat16 in training, and by what."""
    pairs = zip(model.layout.leaves, model.layout.shapes, strict=False)
    keys = ", ".join(key for (key, layer), shape in pairs if layer.has_pairs(shape)) or "no layer"
    keys = keys if len(keys) <= LONGEST else keys[: LONGEST - 3] + "..."
    return f"in training products of {keys} in bfloat16, by {bfloat16_product()}; sums, values and predictions in float32"


def summary(model, batch_size=32):
    """Table of a built model, as a string: see `Model.summary`."""
    infos = describe(model)
    rows = [("layer", "output", "parameters", "flops/row")]
    for info in infos:
        text, n, kept = repr(info.layer), count(info), left(model, info)
        text = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
        parameters = f"{n:,}" if kept == n else f"{kept:,} of {n:,}"
        rows.append((f"{info.key}  {text}", str(info.output_shape), parameters, f"{info.flops:,}"))
    widths = [max(len(row[c]) for row in rows) for c in range(4)]
    lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
    lines.insert(1, "-" * len(lines[0]))
    total, flops = model.layout.n_params, sum(info.flops for info in infos)
    lines.append(lines[1])
    lines.append(f"{total:,} parameters, {total * model.dtype.itemsize / 1e6:.2f} MB in {model.dtype.name}")
    if model.mask is not None:
        kept = sum(left(model, info) for info in infos)
        lines.append(f"{kept:,} of them are left, the others pruned: {1 - kept / total:.1%} are 0")
    if model.precision == "bfloat16":
        lines.append(products(model))
    lines.append(f"{flops:,} flops to predict a row, about {3 * flops:,} to train with it")
    threads = worthwhile_threads(3 * model.layout.flops * batch_size, 2, model.dtype.itemsize)
    own, work = fit_bytes(model, batch_size, threads)
    lines.append(
        f"a fit in batches of {batch_size}: {own / 1e6:.2f} MB for weights, gradients and the optimizer, {work / 1e6:.2f} MB "
        f"for activations; {threads} thread{'s' if threads > 1 else ''}"
    )
    lines.append(f"input {model.layout.shapes[0]}, {model.loss!r}, {model.optimizer!r}")
    return "\n".join(lines)
