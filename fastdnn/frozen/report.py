"""A predictor as a table."""

import math

from .._dots import bfloat16_product, byte_product
from .files import own_arrays

PLACES = "indices", "starts"  # arrays that are no weights, but say where these belong


def _instruction(dtype):
    """What products of that dtype are made with on this processor."""
    if dtype == "bfloat16":
        return bfloat16_product()
    return byte_product() or "16-bit products"


def summary(predictor):
    """`Predictor.summary`."""
    model, rows = predictor.model, [("layer", "output", "weights", "bytes")]
    layout = model.layout
    for i, (key, leaf) in enumerate(layout.leaves):
        if leaf.internal:
            continue
        own = own_arrays(leaf)
        entries = [e for e in (*layout.entries, *layout.states) if e.layer == i]
        count = sum(a.size for name, a in own.items() if name not in PLACES) + sum(math.prod(e.shape) for e in entries)
        size = sum(a.nbytes for a in own.values()) + sum(math.prod(e.shape) for e in entries) * model.dtype.itemsize
        rows.append((f"{key}  {leaf!r}"[:100], str(layout.shapes[i + 1]), f"{count:,}", f"{size:,}"))
    widths = [max(len(row[c]) for row in rows) for c in range(4)]
    lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
    lines.insert(1, "-" * len(lines[0]))
    how = "" if predictor.dtype.startswith("float") else f" by {_instruction(predictor.dtype)}"
    lines.append(f"{predictor.nbytes:,} bytes; products of {predictor.dtype}{how}, all else {model.dtype.name}")
    return "\n".join(lines)
