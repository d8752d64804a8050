"""Predictors in files: the layers' settings, the weights by their keys, the arrays of layers' own by the layers' numbers."""

import json
import math

import numpy as np

from ..layout import Layout
from ..saving.container import PackedReader, parse, write
from ..saving.errors import ModelFormatError
from ..saving.plain import from_plain, known_types, to_plain
from ..saving.state import MAX_LAYERS, UNFIT, WIDTH, check_file
from ..specs import check_path
from .narrow import NARROW_LAYERS

FORMAT, VERSION = "fastdnn predictor", "1"
OWN_LAYERS = tuple(cls for of_dtype in NARROW_LAYERS.values() for cls in of_dtype.values())


def own_arrays(leaf):
    """Arrays that are a layer's own, by name."""
    return getattr(leaf, "arrays_", None) or {}


def save_predictor(predictor, path, more=None):
    """`Predictor.save`; more : further settings, as JSON has them."""
    model = predictor.model
    settings = {
        "layers": to_plain(model.layers),
        "loss": to_plain(model.loss),
        "input_shape": to_plain(predictor.input_shape),
        "float": model.dtype.name,
        "dtype": predictor.dtype,
        **(more or {}),
    }
    arrays = dict(model.weights) | {f"state/{key}": a for key, a in model.states.items()}
    for i, (_, leaf) in enumerate(model.layout.leaves):
        arrays |= {f"leaf{i}/{name}": a for name, a in own_arrays(leaf).items()}
    write(
        check_path("path", path),
        {"format": FORMAT, "version": VERSION, "predictor": json.dumps(settings, allow_nan=False)},
        {name: np.ascontiguousarray(a) for name, a in arrays.items()},
    )


def load_network(make_model, path):
    """(settings, model) of a predictor's file; ModelFormatError where it is not a whole and valid one.

    make_model : the class `Model`
    """
    path = check_path("path", path)
    check_file(path)
    with open(path, "rb") as file:
        reader = PackedReader(file)
        if (reader.metadata.get("format"), reader.metadata.get("version")) != (FORMAT, VERSION):
            raise ModelFormatError("the file is not a predictor of fastdnn, or one of a later version than this")
        settings = parse(reader.metadata.get("predictor", ""))
        model = _laid_out(make_model, settings, reader)
        model.build(model.layout.shapes[0], initialize=False)
        places = dict(model.weights) | {f"state/{key}": a for key, a in model.states.items()}
        for name, array in reader.arrays():
            if name in places:
                places[name][...] = array
            else:
                number, _, part = name.removeprefix("leaf").partition("/")
                _, leaf = model.layout.leaves[int(number)]
                leaf.arrays_ = (leaf.arrays_ or {}) | {part: array}
    for _, leaf in model.layout.leaves:
        if hasattr(leaf, "check_arrays"):
            leaf.check_arrays()
    return settings, model


def _laid_out(make_model, settings, reader):
    """A model by the settings, without memory yet, once the arrays of the file are known to fit it."""
    shape, types = settings.get("input_shape"), known_types(OWN_LAYERS)
    if not isinstance(shape, list) or not 1 <= len(shape) <= 8 or not all(type(n) is int and 0 < n < 1 << 40 for n in shape):
        raise ModelFormatError("input_shape must be 1 to 8 numbers > 0")
    if not isinstance(settings.get("layers"), list) or len(settings["layers"]) > MAX_LAYERS:
        raise ModelFormatError(f"layers must be a list of at most {MAX_LAYERS}")
    if not isinstance(settings.get("dtype"), str):
        raise ModelFormatError("dtype must be a text")
    made = {name: from_plain(settings.get(name), types) for name in ("layers", "loss")}
    try:
        model = make_model(**made, optimizer="sgd", dtype=settings.get("float"))
        layout = Layout(model.layers, tuple(shape))
        wanted = _wanted(layout, model.dtype, reader.shapes)
        model.loss.output_constants(layout.shapes[-1][-1])
        model.loss.hyper(layout.shapes[-1][-1], model.dtype)
    except UNFIT as error:
        raise ModelFormatError(f"the parts of the predictor do not fit each other: {str(error)[:200]}") from None
    if max(map(math.prod, layout.shapes)) > max(WIDTH, reader.size) or len(layout.leaves) > MAX_LAYERS:
        raise ModelFormatError("the layers are wider, or more, than the file has weights for")
    given = {name: (reader.shapes[name], reader.dtypes[reader.kinds[name]]) for name in reader.shapes}
    for name in {*wanted, *given}:
        if wanted.get(name) != given.get(name):
            raise ModelFormatError(f"the array {name[:80]!r} must be {wanted.get(name)}, got {given.get(name)}")
    model.network = model.network._replace(layout=layout)
    return model


def _wanted(layout, real, found):
    """{name: (shape, dtype)} of the arrays that a file must have; found : shapes that are there."""
    wanted = {e.key: (e.shape, real) for e in layout.entries} | {f"state/{e.key}": (e.shape, real) for e in layout.states}
    for i, ((_, leaf), shape) in enumerate(zip(layout.leaves, layout.shapes, strict=False)):
        if hasattr(leaf, "array_shapes"):
            for name, (size, dtype) in leaf.array_shapes(shape).items():
                key = f"leaf{i}/{name}"
                # A None in a shape is a length that only the file knows.
                free = size if None not in size else found.get(key, size)
                wanted[key] = tuple(free), np.dtype(dtype)
    return wanted
