"""Predictors in files: the layers' settings, the weights by their keys, the arrays of layers' own by the layers' numbers.

A file of several networks has their settings as a list, in which a number stands for the same as those at that place, "0/"
and so on before the names of the arrays of each, and "table", the bytes of a JSON object that says what goes with them.
"""

import json
import math

import numpy as np

from ..layers import Conv1D, Conv2D
from ..layout import Layout
from ..losses import ClippedLogLoss
from ..saving.container import PackedReader, parse, write
from ..saving.errors import ModelFormatError
from ..saving.plain import from_plain, known_types, to_plain
from ..saving.state import MAX_LAYERS, UNFIT, WIDTH, check_file, check_loss
from ..specs import check_path
from .narrow import NARROW_LAYERS
from .sparse_dense import SparseDense

FORMAT, VERSION = "fastdnn predictor", "1"
DTYPES = "float32", "float64", "bfloat16", "int8"
TABLE, MAX_NETWORKS = "table", 1000
OWN_PARTS = ClippedLogLoss, SparseDense, *(cls for of_dtype in NARROW_LAYERS.values() for cls in of_dtype.values())


def own_arrays(leaf):
    """Arrays that are a layer's own, by name."""
    return getattr(leaf, "arrays_", None) or {}


def written(predictor):
    """(settings, arrays) of a predictor of one network."""
    model = predictor.model
    settings = {
        "layers": to_plain(model.layers),
        "loss": to_plain(model.loss),
        "input_shape": to_plain(predictor.input_shape),
        "float": model.dtype.name,
        "dtype": predictor.dtype,
    }
    arrays = dict(model.weights) | {f"state/{key}": a for key, a in model.states.items()}
    for i, (_, leaf) in enumerate(model.layout.leaves):
        arrays |= {f"leaf{i}/{name}": a for name, a in own_arrays(leaf).items()}
    return settings, arrays


def save_predictor(predictor, path, more=None):
    """`Predictor.save`, also of a `FrozenTable`; more : further settings, as JSON has them."""
    if hasattr(predictor, "predictors"):
        found, arrays = [written(each) for each in predictor.predictors], {}
        for i, (_, own) in enumerate(found):
            arrays |= {f"{i}/{name}": a for name, a in own.items()}
        text = json.dumps(predictor.plain(), allow_nan=False).encode()
        own = [own for own, _ in found]
        firsts = [own.index(each) for each in own]  # edges of bins are long, and the same in most networks
        networks = [each if first == i else first for i, (first, each) in enumerate(zip(firsts, own, strict=True))]
        settings, arrays[TABLE] = {"networks": networks}, np.frombuffer(text, np.int8)
    else:
        settings, arrays = written(predictor)
    write(
        check_path("path", path),
        {"format": FORMAT, "version": VERSION, "predictor": json.dumps(settings | (more or {}), allow_nan=False)},
        {name: np.ascontiguousarray(a) for name, a in arrays.items()},
    )


def load_networks(make_model, path):
    """(settings, [(settings of it, model) for each network], object of the table or None) of any predictor's file.

    make_model : the class `Model`

    Raises
    ------
    ModelFormatError
        If the file is not a whole and valid one.
    """
    path = check_path("path", path)
    check_file(path)
    with open(path, "rb") as file:
        reader = PackedReader(file)
        if (reader.metadata.get("format"), reader.metadata.get("version")) != (FORMAT, VERSION):
            raise ModelFormatError("the file is not a predictor of fastdnn (Model.load reads models), or a later one")
        settings = parse(reader.metadata.get("predictor", ""))
        given = {name: (shape, reader.dtypes[reader.kinds[name]]) for name, shape in reader.shapes.items()}
        networks, places, table = [], {}, None
        for prefix, own in _networks_of(settings, given):
            mine = {name.removeprefix(prefix): given.pop(name) for name in list(given) if name.startswith(prefix)}
            model = _laid_out(make_model, own, mine, reader.size)
            networks.append((own, model))
            places |= {f"{prefix}{name}": (model, name) for name in mine}
        if given:
            raise ModelFormatError(f"the file has an array {min(given)[:80]!r} that nothing asks for")
        for name, array in reader.arrays():
            if name in places:
                _fill(*places[name], array)
            else:
                table = parse(array.tobytes())
    for _, model in networks:
        for _, leaf in model.layout.leaves:
            if hasattr(leaf, "check_arrays"):
                leaf.check_arrays()
    return settings, networks, table


def _networks_of(settings, given):
    """Pairs (prefix of its arrays' names, settings) of the networks of a file; takes the table out of what is given."""
    if "networks" not in settings:
        return [("", settings)]
    networks = settings["networks"]
    if not isinstance(networks, list) or not 0 < len(networks) <= MAX_NETWORKS:
        raise ModelFormatError(f"networks must be a list of at most {MAX_NETWORKS}")
    networks = [networks[own] if type(own) is int and 0 <= own < i else own for i, own in enumerate(networks)]
    if not all(isinstance(own, dict) for own in networks):
        raise ModelFormatError("networks must have settings each")
    shape, dtype = given.pop(TABLE, ((), None))
    if len(shape) != 1 or dtype != np.int8:
        raise ModelFormatError("the file must have a table of bytes")
    return [(f"{i}/", own) for i, own in enumerate(networks)]


def _fill(model, name, array):
    """Put an array of a file where it belongs."""
    if name.startswith("leaf"):
        number, _, part = name.removeprefix("leaf").partition("/")
        _, leaf = model.layout.leaves[int(number)]
        leaf.arrays_ = (leaf.arrays_ or {}) | {part: array}
    else:
        views = model.states if name.startswith("state/") else model.weights
        views[name.removeprefix("state/")][...] = array


def _laid_out(make_model, settings, given, size):
    """A model by the settings, built once the arrays that are given, {name: (shape, dtype)}, are known to fit it.

    size : bytes of the file
    """
    shape, types = settings.get("input_shape"), known_types(OWN_PARTS)
    if not isinstance(shape, list) or not 1 <= len(shape) <= 8 or not all(type(n) is int and 0 < n < 1 << 40 for n in shape):
        raise ModelFormatError("input_shape must be 1 to 8 numbers > 0")
    if not isinstance(settings.get("layers"), list) or len(settings["layers"]) > MAX_LAYERS:
        raise ModelFormatError(f"layers must be a list of at most {MAX_LAYERS}")
    if settings.get("dtype") not in DTYPES or (settings.get("float") == "float64") != (settings["dtype"] == "float64"):
        raise ModelFormatError(f"dtype must be one of {', '.join(DTYPES)} and fit the network's float type")
    made = {name: from_plain(settings.get(name), types) for name in ("layers", "loss")}
    try:
        model = make_model(**made, optimizer="sgd", dtype=settings.get("float"))
        layout = Layout(model.layers, tuple(shape))
        wanted = _wanted(layout, model.dtype, {name: shape for name, (shape, _) in given.items()})
    except UNFIT as error:
        raise ModelFormatError(f"the parts of the predictor do not fit each other: {str(error)[:200]}") from None
    widest = max(*map(math.prod, layout.shapes), *map(_with_border, layout.leaves, layout.shapes))
    if widest > max(WIDTH, size) or len(layout.leaves) > MAX_LAYERS:
        raise ModelFormatError("the layers are wider, or more, than the file has weights for")
    for name in {*wanted, *given}:
        if wanted.get(name) != given.get(name):
            raise ModelFormatError(f"the array {name[:80]!r} must be {wanted.get(name)}, got {given.get(name)}")
    for _, leaf in layout.leaves:
        if getattr(leaf, "real", model.dtype.name) != model.dtype.name:
            raise ModelFormatError(f"{leaf!r} does not fit a network of {model.dtype.name}")
    model.network = model.network._replace(layout=layout)
    check_loss(model)
    model.build(layout.shapes[0], initialize=False)
    return model


def _with_border(leaf, shape):
    """Numbers of a sample of that shape with the border that a convolution puts around it."""
    axes = leaf[1].axes(shape) if isinstance(leaf[1], Conv1D | Conv2D) else ()
    return math.prod(a.before + a.size + a.after for a in axes) * shape[-1]


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
