"""A network as a drawing: boxes, the way forward and the way of the gradients back, in primitives that any canvas draws."""

from dataclasses import dataclass, field

from .layers import Columns
from .summary import count, describe

WIDTH, HEIGHT, GAP = 340, 44, 34  # of a box, and between two
LEFT, RIGHT, INDENT = 70, 330, 26  # room for the ways around layers, for the gradients, and of a frame around its boxes
LONGEST_PERIOD = 8  # of layers that repeat


@dataclass
class Box:
    """A layer, or layers that are repeated or bypassed."""

    title: str
    detail: str = ""
    gradients: str = ""
    shape: tuple = ()
    kind: str = "layer"  # "layer", "residual" or "repeat"
    around: str = ""  # of a residual block, the layers of its shortcut
    times: int = 1
    inside: list = field(default_factory=list)

    def signature(self):
        """What is equal for boxes that are drawn as one."""
        return self.title, self.detail, self.gradients, self.kind, self.around, tuple(box.signature() for box in self.inside)


def outline(model):
    """Boxes of the layers of a built model; equal ones in a row, or sequences of up to 8, are one box, so many times."""
    infos = {info.key: info for info in describe(model)}
    return _fold([_box(layer, f"{i}.{layer.name}", infos) for i, layer in enumerate(model.layers)])


def _box(layer, key, infos):
    if isinstance(layer, Columns):
        return _box_of_columns(layer, key, infos)
    inner = getattr(layer, "layers", None)
    if inner is not None and key not in infos:
        inside = [_box(part, f"{key}.{i}.{part.name}", infos) for i, part in enumerate(inner)]
        box = Box(type(layer).__name__, shape=inside[-1].shape, kind="residual", inside=_fold(inside))
        return _with_shortcut(box, layer, key, infos)
    info = infos[key]
    parts = [f"{info.flops:,} flops a row"] if info.flops else []
    if info.weights:
        parts.insert(0, f"{count(info):,} parameters")
    return Box(_shorten(repr(layer), 44), " \u00b7 ".join(parts), _gradients([info]), info.output_shape)


def _with_shortcut(box, layer, key, infos):
    """The box of a residual block with the layers on its way around, where there are some."""
    if getattr(layer, "shortcut", None) is not None:
        around = [info for name, info in infos.items() if name.startswith(f"{key}.shortcut.")]
        numbers = f" \u00b7 {sum(map(count, around)):,} parameters" if any(info.weights for info in around) else ""
        box.around = f"{_shorten(' '.join(type(part).__name__ for part in layer.shortcut), 36)}{numbers}"
        box.gradients = _gradients(around)
    return box


def _gradients(infos):
    """The gradients of what is trained in some layers."""
    return ", ".join(f"d{name} {_size(shape)}" for info in infos for name, shape in info.weights.items())


def _box_of_columns(layer, key, infos):
    """One box for all groups, which stand side by side."""
    inside = [info for name, info in infos.items() if name.startswith(f"{key}.")]
    ways = [f"{len(columns)} {' '.join(type(part).__name__ for part in parts) or 'alone'}" for columns, parts in layer.groups]
    detail = f"{sum(map(count, inside)):,} parameters" if any(info.weights for info in inside) else ""
    return Box(_shorten(f"Columns: {', '.join(ways)}", 44), detail, _gradients(inside), (layer.width,))


def _size(shape):
    return "\u00d7".join(map(str, shape))


def _shorten(text, most):
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def _fold(boxes):
    """The boxes with repetitions (three times or more) as one box that says how often."""
    found, i = [], 0
    while i < len(boxes):
        period, times = _repetition(boxes, i)
        if times >= 3:
            inside = boxes[i : i + period]
            found.append(Box("", shape=inside[-1].shape, kind="repeat", times=times, inside=inside))
            i += period * times
        else:
            found.append(boxes[i])
            i += 1
    return found


def _repetition(boxes, i):
    """(period, times) of the repetition from box i on that covers most boxes; the shortest period of equals."""
    best = 1, 1
    for period in range(1, min(LONGEST_PERIOD, (len(boxes) - i) // 3) + 1):
        first, times = [box.signature() for box in boxes[i : i + period]], 1
        while [b.signature() for b in boxes[i + times * period : i + (times + 1) * period]] == first:
            times += 1
        if times >= 3 and times * period > best[0] * best[1]:
            best = period, times
    return best


@dataclass
class Scene:
    """Primitives in pixels, y downward.

    Attributes
    ----------
    rectangles : list of (x, y, width, height, kind)
        kind "layer", "end", "repeat" or "residual".
    texts : list of (x, y, text, anchor, kind)
        anchor "start", "middle" or "end"; kind "title", "detail", "forward", "backward" or "badge".
    arrows : list of (points, kind)
        Lines through points [(x, y), ...] with a head at the last one; kind "forward" or "backward".
    """

    width: float = 0.0
    height: float = 0.0
    rectangles: list = field(default_factory=list)
    texts: list = field(default_factory=list)
    arrows: list = field(default_factory=list)


def scene(model):
    """The `Scene` of a built model."""
    boxes = outline(model)
    depth = max(map(_depth, boxes), default=0)
    drawing = Scene(width=LEFT + WIDTH + 2 * INDENT * depth + RIGHT)
    x, width = LEFT, WIDTH + 2 * INDENT * depth
    y = _heading(drawing, x, width)
    shape = model.layout.shapes[0]
    y = _end(drawing, x, y, width, "input X", f"{_size(shape)} numbers a row")
    y = _sequence(drawing, boxes, x, y, width, shape)
    y = _step(drawing, x, y, width, model.layout.shapes[-1])
    y = _end(drawing, x, y, width, repr(model.loss), "scores and targets y give the loss and its gradient")
    _updates(drawing, model, x + width, y)
    drawing.height = y + 16
    return drawing


def _way(x, width, side):
    """Where the way forward (side -1) or back (1) runs: the same for boxes of all widths."""
    return x + width / 2 + side * 70


def _depth(box):
    return 0 if box.kind == "layer" else 1 + max(map(_depth, box.inside))


def _heading(drawing, x, width):
    drawing.texts += [
        (_way(x, width, -1), 20, "forward: activations", "middle", "forward"),
        (_way(x, width, 1), 20, "back: gradients", "middle", "backward"),
    ]
    return 34


def _end(drawing, x, y, width, title, detail):
    drawing.rectangles.append((x, y, width, HEIGHT, "end"))
    drawing.texts.append((x + width / 2, y + 18, _shorten(title, 48), "middle", "title"))
    drawing.texts.append((x + width / 2, y + 34, detail, "middle", "detail"))
    return y + HEIGHT


def _step(drawing, x, y, width, shape):
    """The two arrows between what ends at y and what comes below it."""
    below = y + GAP
    drawing.arrows.append(([(_way(x, width, -1), y), (_way(x, width, -1), below)], "forward"))
    drawing.arrows.append(([(_way(x, width, 1), below), (_way(x, width, 1), y)], "backward"))
    drawing.texts.append((_way(x, width, -1) - 8, y + GAP / 2 + 4, f"n\u00d7{_size(shape)}", "end", "forward"))
    drawing.texts.append((_way(x, width, 1) + 8, y + GAP / 2 + 4, f"n\u00d7{_size(shape)}", "start", "backward"))
    return below


def _sequence(drawing, boxes, x, y, width, shape):
    """Boxes one below the other, each with its arrows above; returns where they end."""
    for box in boxes:
        y = _step(drawing, x, y, width, shape)
        y = _draw(drawing, box, x, y, width, shape)
        shape = box.shape
    return y


def _draw(drawing, box, x, y, width, shape):
    if box.kind == "layer":
        drawing.rectangles.append((x, y, width, HEIGHT, "layer"))
        drawing.texts.append((x + width / 2, y + (18 if box.detail else 27), box.title, "middle", "title"))
        drawing.texts.append((x + width / 2, y + 34, box.detail, "middle", "detail"))
        _to_optimizer(drawing, box, x + width, y + HEIGHT / 2)
        return y + HEIGHT
    top, number = y, len(drawing.rectangles)
    drawing.rectangles.append(())
    inner_x, inner_width = x + INDENT, width - 2 * INDENT
    y = _sequence(drawing, box.inside, inner_x, y, inner_width, shape)
    y = _step(drawing, inner_x, y, inner_width, box.shape) if box.kind == "residual" else y + GAP / 2
    if box.kind == "residual":
        _way_around(drawing, box.around, x, top, y, width)
        _to_optimizer(drawing, box, x + width, y + 12)
        y += 42 if box.around else 26
    else:
        label = f"{box.times} times"
        drawing.texts.append((x + 8, top + 18, label, "start", "badge"))
    drawing.rectangles[number] = (x, top, width, y - top, box.kind)
    return y


def _to_optimizer(drawing, box, x, y):
    """The arrow of the gradients of a box, from its right edge."""
    if box.gradients:
        right = drawing.width - RIGHT
        drawing.arrows.append(([(x, y), (right + 22, y)], "backward"))
        drawing.texts.append((right + 28, y + 4, _shorten(box.gradients, 44), "start", "backward"))


def _way_around(drawing, around, x, top, y, width):
    """The way past the layers of a residual block and the sum at its end, forward on the left and back on the right."""
    drawing.texts.append((x + width / 2, y + 17, f"+   {'g(x)' if around else 'x'} is added", "middle", "title"))
    if around:
        drawing.texts.append((x + width / 2, y + 34, f"g: {around}", "middle", "detail"))
    left, right = x + 12, x + width - 12
    drawing.arrows.append(
        ([(_way(x, width, -1), top + 8), (left, top + 8), (left, y + 12), (_way(x, width, -1), y + 12)], "forward")
    )
    drawing.arrows.append(
        ([(_way(x, width, 1), y + 12), (right, y + 12), (right, top + 8), (_way(x, width, 1), top + 8)], "backward")
    )


def _updates(drawing, model, x, y):
    """What the gradients at the right are for."""
    name = _shorten(repr(model.optimizer), 42)
    drawing.texts.append((x + 28, y - 26, "each d... goes to the optimizer, in one pass:", "start", "detail"))
    drawing.texts.append((x + 28, y - 10, name, "start", "backward"))


def size_of(model):
    """A line: layers, parameters, flops."""
    infos = describe(model)
    total, flops = sum(map(count, infos)), sum(info.flops for info in infos)
    return f"{len(infos)} layers, {total:,} parameters, {flops:,} flops a row, {model.precision}"
