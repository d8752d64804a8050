"""A model as metadata and arrays, and back.

Each weight is an array of its own, without padding, under its key in `Model.weights`; running statistics are "state/<key>",
the optimizer's memory "slot<i>/<key>", the averaged weights "average/<key>", and the history "history/<key>". The best epochs
of a fit that was under way, one for each callback that keeps them, are "best/<key>" and "best_state/<key>", then
"best1/<key>" and so on. Where something is pruned it is what is 0; weights in which others are 0 too have a "mask/<key>".
"""

import dataclasses
import json
import math
import os

import numpy as np

from .._guard import guard
from ..feeding import Place
from ..history import History
from ..layout import Layout, aligned
from ..network import Best
from ..optimizers.base import CONTROL
from ..specs import check_count, check_path
from .container import Reader, parse, write
from .errors import ModelFormatError
from .plain import from_plain, known_types, to_plain, types_of

FORMAT, VERSION = "fastdnn", 1
MAX_LAYERS = 20_000
MAX_INT = 1 << 53
WIDTH = 1 << 20  # numbers of a layer without weights; with weights the file must be as long
MAX_HISTORY = 1 << 22  # numbers of a history
UNFIT = TypeError, ValueError, OverflowError, AttributeError, IndexError, RecursionError  # what parts raise that do not fit


def save_model(model, path, training):
    """`Model.save`. What it writes has passed the checks of `load_model`, but for parts of the user's own."""
    path = check_path("path", path)
    settings, arrays = _snapshot(model, training)
    try:
        _checked(type(model), settings, {name: a.shape for name, a in arrays.items()}, model.params.nbytes, types_of(model))
    except ModelFormatError as error:
        raise ValueError(f"this model cannot be written to a file: {error}") from None
    text = json.dumps(settings, allow_nan=False)
    write(path, {"format": FORMAT, "version": str(VERSION), "model": text}, arrays)


def _snapshot(model, training):
    """(settings, arrays) of one moment between two epochs, whoever trains the model meanwhile; the arrays are copies."""
    with guard(model):
        settings, arrays = _settings(model), _weights(model) | _masks(model)
        if training:
            settings |= _progress(model)
            arrays |= _memory(model)
        return settings, {name: array.copy() for name, array in arrays.items()}


def _settings(model):
    """What the network is made of."""
    return {
        "layers": to_plain(model.layers),
        "loss": to_plain(model.loss),
        "optimizer": to_plain(model.optimizer),
        "dtype": model.precision,
        "input_shape": to_plain(model._built().layout.shapes[0]),
        "seed": model.seed,
        "pruned": _pruned(model),
    }


def _pruned(model):
    """Keys of the weights in which something is pruned."""
    return [] if model.mask is None else [key for key, view in model.layout.views(model.mask).items() if not view.all()]


def _masks(model):
    """What is pruned where zeros do not tell it."""
    views = {} if model.mask is None else model.layout.views(model.mask)
    kept = {key: views[key] for key in _pruned(model) if ((views[key] != 0) != (model.weights[key] != 0)).any()}
    return _prefixed("mask", kept)


def _weights(model):
    """The arrays that predict."""
    return dict(model.weights) | _prefixed("state", model.states)


def _prefixed(prefix, views):
    return {f"{prefix}/{key}": view for key, view in views.items()}


def _progress(model):
    """What training goes on from, beside arrays."""
    history = model.history
    return {
        "step": model.step,
        "epochs": model.epochs,
        "fit_start": list(model.trained.fit_start),
        "rate_factor": model.trained.rate_factor,
        "plateau": {key: to_plain(value) for key, value in model.trained.plateau.items()},
        "skipped": model.skipped_steps,
        "place": _plain_place(model.trained.place),
        "history": None if history is None else list(history),
        "stopped": None if history is None else history.stopped,
        "notes": [] if history is None else [str(note) for note in history.notes],
        "restored": None if history is None else history.restored,
        "restored_by": None if history is None else history.restored_by,
        "scores": [] if history is None else list(history.scores),
        "best": [best.epoch for best in _bests(model)],
    }


def _plain_place(place):
    return None if place is None else {name: to_plain(value) for name, value in dataclasses.asdict(place).items()}


def _bests(model):
    return [best for best in model.trained.bests if best.params is not None]


def _best_names(number):
    """Prefixes of the parameters and of the running statistics of a best epoch."""
    name = f"best{number or ''}"
    return name, f"{name}_state"


def _memory(model):
    """The arrays that training goes on from."""
    layout, found = model.layout, {}
    if model.trained.moments is not None and model.optimizer.n_arrays:
        for i, slot in enumerate(model.moments.reshape(-1, layout.size)):
            found |= _prefixed(f"slot{i}", layout.views(slot))
    if model.averaged is not None and model.step:
        found |= _prefixed("average", layout.views(model.averaged))
    for i, best in enumerate(_bests(model)):
        params, state = _best_names(i)
        found |= _prefixed(params, layout.views(best.params)) | _prefixed(state, layout.state_views(best.state))
    for key, values in (model.history or {}).items():
        try:
            found[f"history/{key}"] = np.array(values, np.float64).reshape(len(values))
        except (TypeError, ValueError):
            raise ValueError(f"the history of {key!r} holds something else than numbers, which a file cannot") from None
    return found


def load_model(cls, path, parts, finite, max_bytes):
    """`Model.load`."""
    types, path = known_types(parts), check_path("path", path)
    max_bytes = None if max_bytes is None else check_count("max_bytes", max_bytes)
    check_file(path)
    with open(path, "rb") as file:
        reader = _opened(file, max_bytes)
        settings = parse(reader.metadata.get("model", ""))
        model = _checked(cls, settings, reader.shapes, reader.size, types)
        _read(model, settings, reader, finite)
    return model


def check_file(path):
    """ModelFormatError where there is something else than a file."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ModelFormatError(f"{path!r} is not a file")


def _opened(file, max_bytes=None):
    """The `Reader` of a model's file."""
    reader = Reader(file, max_bytes)
    if reader.metadata.get("format") != FORMAT or reader.metadata.get("version") != str(VERSION):
        raise ModelFormatError("the file is not a model of fastdnn, or one of a later version than this")
    return reader


def read_weights(layout, dtype, file):
    """(params, state), flat, from the file of a model of layers with the same weights; what else is in it is left."""
    reader, params, state = _opened(file), aligned(layout.size, dtype), aligned(layout.state_size, dtype)
    places = dict(layout.views(params)) | _prefixed("state", layout.state_views(state))
    given = {name: shape for name, shape in reader.shapes.items() if "/" not in name or name.startswith("state/")}
    for name in [*places, *given]:
        want = places[name].shape if name in places else "none"
        if given.get(name, "none") != want:
            raise ModelFormatError(
                f"the model and the file differ in {name[:80]!r}: shapes {want} and {given.get(name, 'none')}; build a "
                "model of the same layers, or take the whole one with Model.load"
            )
    for name, array in reader.arrays():
        if name in places:
            places[name][...] = narrowed(name, array, dtype)
    return params, state


def narrowed(name, array, dtype):
    """The array in a float type; ModelFormatError if a number of it is too large for that."""
    with np.errstate(all="ignore"):
        result = array.astype(dtype, copy=False)
    if result is not array and np.count_nonzero(np.isinf(result)) > np.count_nonzero(np.isinf(array)):
        raise ModelFormatError(f"{name[:80]!r} has numbers too large for {np.dtype(dtype).name}; take dtype='float64'")
    return result


def _checked(cls, settings, shapes, size, types):
    """A model by the settings of a file of so many bytes with arrays of these shapes, without memory yet."""
    model = _untrained(cls, settings, types, max(WIDTH, size))
    _take_progress(model, settings)
    for name, shape in _expected(model, settings, shapes).items():
        if shapes.get(name) != shape:
            raise ModelFormatError(f"the array {name[:80]!r} must have shape {shape}, got {shapes.get(name)}")
    check_loss(model)
    return model


def _untrained(cls, settings, types, widest):
    """A model of the parts that the settings name, laid out, without memory yet; no layer is wider than `widest`."""
    shape = settings.get("input_shape")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 8 or not all(type(n) is int and 0 < n < 1 << 40 for n in shape):
        raise ModelFormatError("input_shape must be 1 to 8 numbers > 0")
    layers = settings.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise ModelFormatError(f"layers must be a list of at most {MAX_LAYERS}")
    seed = settings.get("seed")
    if type(seed) is not int or not 0 <= seed < 1 << 256:
        raise ModelFormatError("seed must be a number >= 0")
    made = {name: from_plain(settings.get(name), types) for name in ("layers", "loss", "optimizer")}
    try:
        model = cls(**made, dtype=settings.get("dtype"), random_state=seed)
        layout = Layout(model.layers, tuple(shape))
    except UNFIT as error:
        raise ModelFormatError(f"the parts of the model do not fit each other: {str(error)[:200]}") from None
    if max(map(math.prod, layout.shapes)) > widest or len(layout.leaves) > MAX_LAYERS:
        raise ModelFormatError("the layers are wider, or more, than the file has weights for")
    pruned = settings.get("pruned", [])
    if not isinstance(pruned, list) or not all(isinstance(key, str) for key in pruned):
        raise ModelFormatError("pruned must be a list of names of weights")
    if unknown := set(pruned) - {e.key for e in layout.entries}:
        raise ModelFormatError(f"pruned has the name {min(unknown)[:80]!r}, which is none of a weight")
    model.network = model.network._replace(layout=layout)
    return model


def check_loss(model):
    """ModelFormatError unless the loss has a meaning for the number of outputs, which by now is a sane one."""
    try:
        model.loss.output_constants(model.n_out)
        model.loss.hyper(model.n_out, model.dtype)
    except UNFIT as error:
        raise ModelFormatError(f"the loss does not fit {model.n_out} outputs: {str(error)[:200]}") from None


def _expected(model, settings, found):
    """Shapes of the arrays that the file must have, by name; ModelFormatError if it has others."""
    layout = model.layout
    weights = {e.key: e.shape for e in layout.entries}
    states = {e.key: e.shape for e in layout.states}
    expected = weights | _prefixed("state", states)
    masks = _prefixed("mask", {key: weights[key] for key in settings.get("pruned", [])})
    expected |= {name: shape for name, shape in masks.items() if name in found}
    kinds = {name.split("/")[0] for name in found if "/" in name}
    n_arrays = model.optimizer.n_arrays
    if f"slot{n_arrays - 1}" not in kinds:  # earlier versions wrote no more than the moments
        n_arrays = model.optimizer.n_moments
    for i in range(n_arrays if "slot0" in kinds else 0):
        expected |= _prefixed(f"slot{i}", weights)
    if "average" in kinds and model.optimizer.average is not None:
        expected |= _prefixed("average", weights)
    for i, _ in enumerate(_best_epochs(settings, kinds)):
        params, state = _best_names(i)
        part = _prefixed(params, weights) | _prefixed(state, states)
        if missing := part.keys() - found.keys():  # before the next one: memory is not to grow with what is not there
            raise ModelFormatError(f"the file lacks the array {min(missing)[:80]!r}")
        expected |= part
    keys = settings.get("history")
    if keys is not None:
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
            raise ModelFormatError("history must be a list of different texts")
        for key in keys:
            shape = found.get(f"history/{key}", ())
            expected[f"history/{key}"] = shape if len(shape) == 1 else (0,)
        if sum(math.prod(expected[f"history/{key}"]) for key in keys) > MAX_HISTORY:
            raise ModelFormatError(f"the history has more than {MAX_HISTORY} numbers")
    if unknown := found.keys() - expected.keys():
        raise ModelFormatError(f"the file has an array {min(unknown)[:80]!r} that the model has no place for")
    return expected


def _best_epochs(settings, kinds):
    """The epochs whose weights the file has besides; files of before have one at most and do not say which: [None]."""
    epochs = settings.get("best", [None] if "best" in kinds else [])
    if not isinstance(epochs, list) or not all(e is None or (type(e) is int and 0 <= e < MAX_INT) for e in epochs):
        raise ModelFormatError("best must be a list of epochs")
    return epochs


def _count(settings, name, default=0):
    value = settings.get(name, default)
    if type(value) is not int or not 0 <= value < MAX_INT:
        raise ModelFormatError(f"{name} must be a number >= 0")
    return value


def _number(value, name, low=-math.inf):
    if isinstance(value, dict) and value.keys() == {"float"} and value["float"] in ("inf", "-inf"):
        value = float(value["float"])
    if type(value) not in (int, float) or not value >= low:
        raise ModelFormatError(f"{name} must be a number")
    return value


def _place(found):
    """The `Place` within an epoch, checked; None of a model between epochs."""
    if found is None:
        return None
    names = {field.name for field in dataclasses.fields(Place)}
    if not isinstance(found, dict) or found.keys() != names:
        raise ModelFormatError(f"place must have {', '.join(sorted(names))}")
    counts = {name: _count(found, name) for name in ("turn", "samples")}
    sums = {name: _number(found[name], name) for name in names - counts.keys()}
    return Place(**counts, **{name: float(value) for name, value in sums.items()})


def _take_progress(model, settings):
    """Counters and what else training goes on from, checked."""
    model.step, model.epochs = _count(settings, "step"), _count(settings, "epochs")
    start = settings.get("fit_start", [0, 0])
    if not isinstance(start, list) or len(start) != 2 or not all(type(n) is int for n in start):
        raise ModelFormatError("fit_start must be two numbers")
    if not (0 <= start[0] <= model.step and 0 <= start[1] <= model.epochs):
        raise ModelFormatError("the fit cannot have started later than it ended")
    model.trained.fit_start = tuple(start)
    model.trained.rate_factor = float(_number(settings.get("rate_factor", 1.0), "rate_factor", 0))
    plateau = settings.get("plateau", {})
    if not isinstance(plateau, dict) or not plateau.keys() <= {"best", "waited", "factor"}:
        raise ModelFormatError("plateau must have best, waited and factor")
    model.trained.plateau = {key: _number(value, key) for key, value in plateau.items()}
    if not math.isfinite(model.trained.rate_factor) or not 0 <= model.trained.plateau.get("factor", 1.0) < math.inf:
        raise ModelFormatError("rate factors must be finite numbers >= 0")
    model.trained.control[CONTROL.skipped] = _count(settings, "skipped")
    model.trained.place = _place(settings.get("place"))
    texts = settings.get("restored_by"), settings.get("stopped")
    if not all(text is None or isinstance(text, str) for text in texts):
        raise ModelFormatError("restored_by and stopped must be texts")
    keys, notes, scores = settings.get("history"), settings.get("notes", []), settings.get("scores", [])
    if not all(isinstance(given, list) and all(isinstance(text, str) for text in given) for given in (notes, scores)):
        raise ModelFormatError("notes and scores must be lists of texts")
    if keys is not None:
        model.history = History()
        model.history.restored_by, model.history.stopped = texts
        model.history.notes, model.history.scores = notes, scores
        if settings.get("restored") is not None:
            model.history.restored = _count(settings, "restored")


def _read(model, settings, reader, finite):
    """Allocate, and fill in what the file has; everything about sizes has been checked."""
    layout, dtype = model.layout, model.dtype
    params, state = aligned(layout.size, dtype), aligned(layout.state_size, dtype)
    flat = {"": params, "state": state}
    kinds = {name.split("/")[0] for name in reader.shapes if "/" in name}
    n_moments, moments = sum(kind.startswith("slot") for kind in kinds), None
    if n_moments:
        moments = aligned(model.optimizer.n_arrays * layout.size, dtype)
        flat |= {f"slot{i}": moments[i * layout.size : (i + 1) * layout.size] for i in range(n_moments)}
    if "average" in kinds:
        flat["average"] = aligned(layout.size, dtype)
    if "mask" in kinds:
        flat["mask"] = aligned(layout.size, dtype)
    epochs = _best_epochs(settings, kinds)
    names = [_best_names(i) for i in range(len(epochs))]
    for name, state_name in names:
        flat |= {name: aligned(layout.size, dtype), state_name: aligned(layout.state_size, dtype)}
    places = {}
    for kind, array in flat.items():
        views = layout.state_views(array) if kind.endswith("state") else layout.views(array)
        places.update({f"{kind}/{key}" if kind else key: view for key, view in views.items()})
    for name, array in reader.arrays():
        if name not in places:
            if array.dtype != np.float64:
                raise ModelFormatError(f"the array {name[:80]!r} is not float64")
            model.history[name.removeprefix("history/")] = array.tolist()
            continue
        if array.dtype != dtype:
            raise ModelFormatError(f"the array {name[:80]!r} is not of the model's float type {dtype.name}")
        if finite and not np.isfinite(array).all():
            raise ModelFormatError(f"the array {name[:80]!r} has NaN or infinity in it; finite=False takes it as it is")
        places[name][...] = array
    model.network = model.network._replace(params=params, state=state, idle=[])
    if n_moments:
        moments[n_moments * layout.size :].reshape(-1, layout.size)[...] = params  # what is not in the file: what a fit left
    model.trained.moments, model.trained.averaged = moments, flat.get("average")
    model.trained.bests = [Best(flat[a], flat[b], epoch) for (a, b), epoch in zip(names, epochs, strict=True)]
    if settings.get("pruned"):
        mask = np.ones(layout.size, bool)
        for key, view in layout.views(mask).items():
            if key in settings["pruned"]:
                view[...] = places[f"mask/{key}" if f"mask/{key}" in reader.shapes else key] != 0
        model.mask = mask
