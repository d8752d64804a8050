"""Sequences through a network in windows of their steps: in the memory of one window.

Gradients end at the windows' borders (`truncate`), or each window goes forward a second time before its way back, from the
states that it has started from (`checkpoint`). Reference: Chen, T. et al. (2016). Training deep nets with sublinear memory
cost. arXiv:1604.06174.
"""

import math

from .layers.recurrent import Recurrent


def works_by_windows(layout):
    """Whether layers work step by step, up to the scores or to a recurrent layer that gives its last output only."""
    ends = next((k - 1 for k, has_steps in enumerate(layout.has_steps) if not has_steps), None)
    recurrent = [(k, layer) for k, (_, layer) in enumerate(layout.leaves) if layer.recurrent]
    forwards = all(isinstance(r, Recurrent) and not r.go_backwards and not r.recurrent_dropout for _, r in recurrent)
    if not forwards or any(layer.needs_batch for _, layer in layout.leaves):
        return False
    return ends is None or (recurrent[-1][0] == ends and layout.first_whole == ends + 2)


def nearest_divisor(number, wanted):
    """The divisor of a number that is nearest to what is wanted, as a ratio."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda d: (abs(math.log(d / wanted)), -d))


def steps_of_windows(layout):
    """(steps of a window, whether gradients go through all windows) of a network; None where sequences come as a whole."""
    recurrent = [
        getattr(layer, "layer", layer) for _, layer in layout.leaves if layer.recurrent
    ]  # of a Bidirectional its own
    told = {(getattr(layer, "truncate", None), getattr(layer, "checkpoint", None)) for layer in recurrent}
    truncate, checkpoint = told.pop() if len(told) == 1 else (None, None)
    checkpoint = checkpoint or any(c for _, c in told)
    if not (truncate or checkpoint):
        return None
    possible, steps = works_by_windows(layout) and not told, layout.shapes[0][0]
    if checkpoint and not possible:
        raise ValueError(
            "checkpoint needs a network whose recurrent layers all have the same one, go forwards and have no "
            "recurrent_dropout, whose layers before them work step by step, and that has no BatchNorm"
        )
    if checkpoint:
        window = nearest_divisor(steps, math.sqrt(steps) if checkpoint is True else checkpoint)
    else:
        window = truncate
    return (window, bool(checkpoint)) if possible and window < steps and steps % window == 0 else None


def windowed(model, source, whole):
    """(layout of a window, windows, steps of one, whether gradients go through all); one window where the caller wants it."""
    steps = model.layout.shapes[0][0]
    found = None if whole or source.kind in ("csr", "chunks") else steps_of_windows(model.layout)
    if found is None:
        return model.layout, 1, steps, False
    window, checkpoints = found
    if (
        source.mask is not None and not checkpoints and not model.layout.gives_steps
    ):  # sequences end in windows before the last
        return model.layout, 1, steps, False
    return model.layout.of_steps(window), steps // window, window, checkpoints


def window_bytes(source, steps):
    """Bytes from a window of a sample to the next."""
    return int(source.entries[2]) * steps * math.prod(source.shape[1:]) * source.arrays[0].itemsize
