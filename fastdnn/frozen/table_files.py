"""What a predictor of tables has beside its networks, as plain values (what JSON has) and back."""

import numpy as np

from ..preprocessing.table import TableReader
from ..preprocessing.table_kinds import CALENDAR, CategoryKind, DateKind, Kind, LevelKind, NumberKind, OrdinalKind
from ..saving.plain import from_plain, to_plain
from ..tabular.features import Features
from ..tabular.targets import TargetScale

OF_NUMBERS = "number", "duration", "time"
OF_LEVELS = {"category": CategoryKind, "boolean": CategoryKind, "ordinal": OrdinalKind}
OF_SCALE = "low", "high", "mean", "std"


def plain_table(table):
    """`FrozenTable.plain`."""
    reader = table.reader
    return {
        "reader": {
            "estimator": reader.estimator_name,
            "named": reader.has_names_,
            "labels": reader.has_labels,
            "columns": [_plain_kind(kind) for kind in reader.column_kinds()],
        },
        "features": table.features.plain(),
        "weights": list(map(float, table.weights)),
        "scales": [None if scale is None else _plain_scale(scale) for scale in table.scales],
        "temperature": table.temperature,
        "quantiles": _plain_numbers(table.quantiles),
        "shift": _plain_numbers(table.shift),
        "limits": None if table.limits is None else [*map(_plain_numbers, table.limits)],
    }


def parts_of_table(plain, predictors):
    """What makes a `FrozenTable` of its predictors, by name.

    Raises
    ------
    ValueError, TypeError, KeyError, AttributeError
        If they are none, or do not fit each other.
    """
    given = plain["reader"]
    kinds = [_kind_of(column) for column in given["columns"]]
    if type(given["named"]) is not bool or type(given["labels"]) is not bool or not isinstance(given["estimator"], str):
        raise ValueError("reader must say whether columns had names, and whose it is")
    reader = TableReader.of_kinds(kinds, given["labels"], given["named"], given["estimator"])
    features = Features.of_plain(plain["features"], [len(levels) for levels in reader.categories_])
    width, k = features.n_dense + len(features.n_levels), predictors[0].output_shape[-1]
    if features.n_numbers != len(reader.number_names_):
        raise ValueError(f"features must be of {len(reader.number_names_)} numbers, got {features.n_numbers}")
    if any(each.input_shape != (width,) or each.output_shape != (k,) for each in predictors):
        raise ValueError(f"all networks must have {width} inputs and {k} outputs")
    weights, scales, temperature, limits = (plain[name] for name in ("weights", "scales", "temperature", "limits"))
    if not len(_numbers(weights, len(predictors))) == len(scales):
        raise ValueError("each network must have a weight, and a scale or none")
    if temperature is not None and not (type(temperature) is float and 1e-3 < temperature < 1e3):
        raise ValueError(f"temperature must be a number > 0, got {str(temperature)[:80]!r}")
    quantiles, shift = (None if plain[name] is None else _numbers(plain[name], k) for name in ("quantiles", "shift"))
    return {
        "reader": reader,
        "features": features,
        "weights": weights,
        "scales": [None if scale is None else _scale_of(scale, k) for scale in scales],
        "temperature": temperature,
        "quantiles": quantiles,
        "shift": shift,
        "limits": None if limits is None else tuple(_numbers(numbers) for numbers in limits),
    }


def _plain_numbers(numbers):
    return None if numbers is None else [float(x) for x in numbers]


def _numbers(plain, n=None):
    """float64 array (n,) of a list of finite numbers; of any length that another broadcasts to without n."""
    array = np.array(plain, np.float64)
    if array.ndim != 1 or not np.isfinite(array).all() or (len(array) != n if n is not None else len(array) < 1):
        raise ValueError(f"{n or 'some'} finite numbers are wanted, got {str(plain)[:80]}")
    return array


# ---------------------------------------------------------------- scales of targets


def _plain_scale(scale):
    return {"logarithm": scale.logarithm, **{n: getattr(scale, n).tolist() for n in _names_of(scale.logarithm)}}


def _names_of(logarithm):
    return (*OF_SCALE, "unit") if logarithm else OF_SCALE


def _scale_of(plain, k):
    scale = TargetScale(bool(plain["logarithm"]))
    for name in _names_of(scale.logarithm):
        array = _numbers(plain[name])
        if len(array) not in (1, k):  # one for all quantiles of a number
            raise ValueError(f"{name} must be of {k} targets, got {len(array)}")
        setattr(scale, name, array)
    return scale


# ---------------------------------------------------------------- kinds of columns


def _plain_kind(kind):
    plain = {"kind": kind.kind, "name": kind.name}
    if isinstance(kind, DateKind):
        return plain | {"zone": kind.zone, "features": kind.features}
    if isinstance(kind, LevelKind):
        return plain | {"by_text": kind.by_text, "levels": to_plain(kind.found)}
    return plain


def _kind_of(plain):
    kind, name = plain["kind"], plain["name"]
    if not isinstance(name, str):
        raise ValueError(f"a column's name must be a text, got {str(name)[:80]!r}")
    if kind == "empty":
        return Kind(name)
    if kind in OF_NUMBERS:
        return NumberKind(name, kind)
    if kind == "datetime":
        zone, features = plain["zone"], plain["features"]
        if not (zone is None or isinstance(zone, str)) or not features or features != [f for f in CALENDAR if f in features]:
            raise ValueError(f"column {name[:80]!r} must have a time zone or None, and features of dates")
        return DateKind.of_features(name, zone, features)
    levels = list(from_plain(plain["levels"], {}))
    if kind not in OF_LEVELS or type(plain["by_text"]) is not bool or len(set(levels)) != len(levels):
        raise ValueError(f"column {name[:80]!r} must be of a known kind, with levels that differ")
    if not all(type(level) in (str, int, float, bool) for level in levels):
        raise ValueError(f"column {name[:80]!r} must have levels that are texts or numbers")
    return OF_LEVELS[kind].of_levels(name, kind, levels, plain["by_text"])
