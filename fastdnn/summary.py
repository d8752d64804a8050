"""A network as a table."""

import numpy as np


def summary(model):
    """Layers, output shapes and numbers of parameters of a built model, as a string."""
    rows = [("layer", "output", "parameters")]
    for i, (key, layer) in enumerate(model.layout.leaves):
        if layer.internal:
            continue
        count = sum(int(np.prod(e.shape)) for e in model.layout.entries if e.layer == i)
        rows.append((f"{key.rpartition('.')[0]}.{layer!r}", str(model.layout.shapes[i + 1]), f"{count:,}"))
    widths = [max(len(row[c]) for row in rows) for c in range(3)]
    lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    lines.insert(1, "-" * len(lines[0]))
    total = model.layout.n_params
    lines.append(f"{total:,} parameters, {total * model.dtype.itemsize / 1e6:.2f} MB in {model.dtype.name}")
    lines.append(f"input {model.layout.shapes[0]}, {model.loss!r}, {model.optimizer!r}")
    return "\n".join(lines)
