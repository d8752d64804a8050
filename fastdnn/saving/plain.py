"""Specs as plain values (what JSON has) and back, through closed tables: nothing is imported or called by its name."""

import math

import numpy as np

from ..layers import LAYERS
from ..losses import LOSSES_TABLE
from ..optimizers import OPTIMIZERS
from ..schedules import SCHEDULES
from ..specs import Spec, same
from .errors import ModelFormatError

MAX_DEPTH = 100


def to_plain(value):
    """None, bool, int, float, str, lists of such and specs, as JSON has them: {"type": "Dense", "units": 3} for a spec.

    Raises
    ------
    ValueError
        If there is something else in it (a function, say).
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, Spec):
        defaults = value.defaults()
        given = {k: v for k, v in value.settings().items() if not same(v, defaults[k])}
        return {"type": type(value).__name__, **{k: to_plain(v) for k, v in given.items()}}
    raise ValueError(f"{value!r} cannot be written to a file; parts of your own must be registered and referred to by name")


def known_types(parts=()):
    """dict of name -> class: the tables of the package, with what the process has registered in them, and `parts`."""
    if not isinstance(parts, (list, tuple)):
        raise ValueError(f"parts must be a list of classes of layers, losses or the like, got {parts!r}")
    classes = [*LAYERS.values(), *LOSSES_TABLE.values(), *OPTIMIZERS.values(), *SCHEDULES.values(), *parts]
    for part in parts:
        if not (isinstance(part, type) and issubclass(part, Spec)):
            raise ValueError(f"parts must be classes of layers, losses or the like, got {part!r}")
    return {cls.__name__: cls for cls in classes}


def types_of(model):
    """The same table with the classes of this model's own parts."""
    found, specs = {}, [*model.layers, model.loss, model.optimizer]
    while specs:
        spec = specs.pop()
        if isinstance(spec, (list, tuple)):
            specs.extend(spec)
        elif isinstance(spec, Spec):
            found[type(spec).__name__] = type(spec)
            specs.extend(spec.settings().values())
    return known_types() | found


def from_plain(plain, types, depth=0):
    """The other way round; ModelFormatError if a type is not in the table `types` or its arguments do not fit."""
    if depth > MAX_DEPTH:
        raise ModelFormatError(f"the settings are nested more than {MAX_DEPTH} deep")
    if isinstance(plain, list):
        return tuple(from_plain(item, types, depth + 1) for item in plain)
    if not isinstance(plain, dict):
        return plain
    if plain.keys() == {"float"} and plain["float"] in ("inf", "-inf", "nan"):
        return float(plain["float"])
    name = plain.get("type")
    if not isinstance(name, str) or name not in types:
        raise ModelFormatError(f"{str(name)[:80]!r} is not a known part; give classes of your own as `parts`")
    older = types[name].older_names
    settings = {older.get(k, k): from_plain(v, types, depth + 1) for k, v in plain.items() if k != "type"}
    try:
        return types[name](**settings)
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ModelFormatError(f"the settings of a {name} do not fit: {str(error)[:200]}") from None
