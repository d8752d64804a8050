"""Columns of tables of any make, pandas, Polars, Arrow or NumPy, in one of a few forms."""

import datetime as dt
from decimal import Decimal
from itertools import repeat
from numbers import Number, Real
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np

DAY = np.timedelta64(1, "D")
ABSENT = ("NoneType", "NAType", "NaTType")  # types of None, pandas.NA and pandas.NaT
CLASSES = {  # of Python objects: what a column may hold
    "string": (str,),
    "bool": (bool, np.bool_),
    "duration": (dt.timedelta, np.timedelta64),  # before "number": NumPy's are integers, too
    "number": (Number,),
    "date": (dt.date, np.datetime64),
    "time": (dt.time,),
}


class Column(NamedTuple):
    """A column's values in one of the forms "number", "level", "date", "duration", "time".

    Attributes
    ----------
    form : str
        Which of them.
    values : ndarray of shape (n,) or None
        Numbers of any type; positions in `levels`, -1 where missing; dates of NumPy's type; days; hours.
    levels : list or None
        What the positions mean. Without positions they are the values of the rows, as they are.
    missing : ndarray of bool, shape (n,), or None
        Which numbers are missing beside those that are NaN.
    dtype : {"boolean", "category", "ordinal"} or None
        What the column's type says of its levels.
    zone : str or None
        Time zone by whose clocks the dates are.
    """

    form: str
    values: np.ndarray | None
    levels: list | None = None
    missing: np.ndarray | None = None
    dtype: str | None = None
    zone: str | None = None

    def is_empty(self) -> bool:
        """Whether all values are missing."""
        if self.form == "level":
            return bool((self.values < 0).all())
        empty = np.isnat(self.values) if self.form == "date" else np.isnan(self.values)
        return bool((empty if self.missing is None else empty | self.missing).all())


def key(value: Any) -> Any:
    """What stands for a level: a str, or a number of Python, which are equal where NumPy's are; None for a missing one."""
    kind = type(value)
    if kind is str or kind is int or kind is bool:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if kind.__name__ in ABSENT:
        return None
    if isinstance(value, (Real, Decimal, np.bool_)) and not isinstance(value, np.timedelta64):
        value = value.item() if isinstance(value, np.generic) else value if isinstance(value, int) else float(value)
        return None if value != value else value
    return str(value)


def factorized(values: list, dtype: str | None = None) -> Column:
    """Levels of a list of hashable values."""
    levels = [value for value in dict.fromkeys(values) if key(value) is not None]
    places = dict(zip(levels, range(len(levels)), strict=True))
    codes = np.fromiter(map(places.get, values, repeat(-1)), np.int64, len(values))
    return Column("level", codes, levels, dtype=dtype)


def as_levels(column: Column) -> Column:
    """Levels of a column of any form but one of dates."""
    if column.form == "level":
        return column
    missing = np.isnan(column.values) if column.missing is None else column.missing | np.isnan(column.values)
    levels, codes = np.unique(column.values, return_inverse=True)
    return Column("level", np.where(missing, -1, codes), levels.tolist())


# ---------------------------------------------------------------- arrays and lists of objects


def from_array(
    values: np.ndarray, name: str, mixed: bool = False, missing: np.ndarray | None = None, zone: str | None = None
) -> Column:
    """The column of an array (n,) of any type; `mixed` allows any hashable objects, as levels."""
    kind = values.dtype.kind
    if kind in "iuf":
        return Column("number", values, missing=missing)
    if kind == "b":
        codes = values.astype(np.int64)
        return Column("level", codes if missing is None else np.where(missing, -1, codes), [False, True], dtype="boolean")
    if kind == "M":
        return Column("date", values)
    if kind == "m":
        return Column("duration", values / DAY)
    if kind == "c":
        raise ValueError(f"Complex data not supported\ncolumn {name!r} is {values.dtype}; make columns of its parts")
    return from_objects(values.tolist(), name, mixed, zone)


def from_objects(values: list, name: str, mixed: bool = False, zone: str | None = None) -> Column:
    """The column of a list of Python objects, by their types; dates by the clocks of `zone` if they have one themselves."""
    types = set(map(type, values))
    absent = {kind for kind in types if kind.__name__ in ABSENT}
    types -= absent
    if any(issubclass(kind, (complex, np.complexfloating)) for kind in types):
        raise ValueError(f"Complex data not supported\ncolumn {name!r} holds complex numbers; make columns of their parts")
    if mixed:
        refuse_unhashable(name, values)
        return factorized(values)
    classes = {kind: class_of(kind) for kind in types}
    refuse(name, values, {kind for kind, found in classes.items() if found is None})
    if len(set(classes.values())) > 1:  # NaN is no number among strings and dates, and neither is its float type
        there = {classes[type(v)] for v in values if type(v) in classes and not (classes[type(v)] == "number" and v != v)}
    else:
        there = set(classes.values())
    if there == {"bool", "number"}:
        there = {"number"}
    if len(there) > 1:
        refuse_mix(name, values)
    (found,) = there or {"number"}
    if found == "string":
        return factorized(values)
    if found == "bool":
        return factorized(values, "boolean")
    if found != "number" or not absent <= {type(None)}:
        values = [None if type(v) in absent or v != v else v for v in values]
    if found == "number":
        try:
            return Column("number", np.array(values, np.float64))
        except OverflowError as error:
            raise ValueError(f"column {name!r} must hold numbers that fit float64: {error}") from error
    if found == "duration":
        return Column("duration", np.array(values, "timedelta64[us]") / DAY)
    if found == "time":
        seconds = [np.nan if v is None else v.hour * 3600 + v.minute * 60 + v.second + v.microsecond / 1e6 for v in values]
        return Column("time", np.array(seconds) / 3600)
    return from_dates(values, name, zone)


def class_of(kind):
    """Which of the classes a type belongs to; None if to none."""
    return next((name for name, kinds in CLASSES.items() if issubclass(kind, kinds)), None)


def refuse(name, values, types):
    """TypeError that shows the first value of one of the types, if there are any."""
    for row, value in enumerate(values) if types else ():
        if type(value) in types:
            named = "" if type(value).__hash__ is None else ", or name it in categorical_features if they are categories"
            raise TypeError(
                f"column {name!r} holds a {type(value).__name__} in row {row}, {str(value)[:40]}; each value of the argument "
                f"must be a string, a number, a bool, a date or missing: make columns of it, or drop the column{named}"
            )


def refuse_unhashable(name, values):
    """TypeError that shows the first value that cannot be a level, such as a list."""
    refuse(name, values, {kind for kind in set(map(type, values)) if kind.__hash__ is None})


def refuse_mix(name, values):
    """ValueError that shows values of a column whose types do not go together."""
    examples = {}
    for value in values:
        if key(value) is not None:
            examples.setdefault(class_of(type(value)), value)
    shown = " and ".join(f"a {found} ({str(value)[:40]!r})" for found, value in list(examples.items())[:2])
    hint = "pandas.to_numeric(errors='coerce')" if "string" in examples else "one type for all of them"
    raise ValueError(
        f"column {name!r} must hold values of one kind, got {shown}; convert it ({hint}), or name it in "
        "categorical_features, where its values are levels as they are"
    )


# ---------------------------------------------------------------- dates


def from_dates(values, name, zone):
    """The column of a list of dates, of times with a date, or None."""
    zones = [v.tzinfo for v in values if getattr(v, "tzinfo", None) is not None]
    if not zones:
        return Column("date", np.array(values, "datetime64[us]"))
    if len(zones) < sum(v is not None for v in values):
        raise ValueError(f"column {name!r} must hold dates with time zones or without, got both; localize the others")
    target = zone or zone_name(zones[0])
    clock = dt.UTC if target == "UTC" else zones[0] if target == zone_name(zones[0]) else zone_of(target)
    local = [None if v is None else v.astimezone(clock).replace(tzinfo=None) for v in values]
    return Column("date", np.array(local, "datetime64[us]"), zone=target)


def zone_name(zone):
    """Name of a time zone, "UTC" for one that has an offset but no name."""
    name = zone if isinstance(zone, str) else getattr(zone, "key", None) or getattr(zone, "zone", None)
    return "UTC" if name is None or name[:1] in "+-" else name


def zone_of(name):
    """The time zone of a name."""
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


# ---------------------------------------------------------------- series


def from_pandas(series: Any, name: str, mixed: bool = False, zone: str | None = None) -> Column:
    """The column of a pandas Series."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind == "O":
            return from_objects(series.tolist(), name, mixed, zone)
        return from_array(series.to_numpy(), name, mixed)
    array = series.array
    if hasattr(dtype, "categories"):
        kind = "ordinal" if dtype.ordered else "category"
        return Column("level", array.codes, dtype.categories.tolist(), dtype=kind)
    if hasattr(dtype, "pyarrow_dtype"):
        return from_narwhals(nw.from_native(array.__arrow_array__(), series_only=True), name, mixed, zone)
    if dtype.type is str:
        codes, levels = array.factorize()
        return Column("level", codes, levels.tolist())
    if hasattr(dtype, "tz"):
        target = zone or zone_name(dtype.tz)
        return Column("date", np.asarray(array.tz_convert(target).tz_localize(None)), zone=target)
    if hasattr(dtype, "freq"):
        return Column("date", np.asarray(array.to_timestamp()))
    if hasattr(dtype, "numpy_dtype"):  # nullable integers, floats and booleans
        missing = np.asarray(array.isna())
        return from_array(array.to_numpy(dtype.numpy_dtype, na_value=0), name, mixed, missing if missing.any() else None)
    return from_array(np.asarray(array), name, mixed, zone=zone)


def from_narwhals(series: nw.Series, name: str, mixed: bool = False, zone: str | None = None) -> Column:
    """The column of a Series of Narwhals."""
    dtype = series.dtype
    if dtype.is_numeric() or dtype == nw.Boolean:
        if isinstance(dtype, (nw.Decimal, nw.Int128, nw.UInt128)):
            series = series.cast(nw.Float64)
        missing = series.is_null().to_numpy() if series.null_count() else None
        if missing is not None:
            series = series.fill_null(False if dtype == nw.Boolean else 0)
        return from_array(series.to_numpy(), name, mixed, missing)
    if dtype == nw.Datetime:
        target = None
        if dtype.time_zone is not None:
            target = zone or zone_name(dtype.time_zone)
            series = series.dt.convert_time_zone(target).dt.replace_time_zone(None)
        return Column("date", series.to_numpy(), zone=target)
    if dtype in (nw.Date, nw.Duration):
        return from_array(series.to_numpy(), name, mixed)
    native = series.to_native()
    if dtype in (nw.String, nw.Categorical, nw.Enum) and hasattr(native, "dictionary_encode"):
        return from_arrow(native)
    if dtype in (nw.Categorical, nw.Enum):
        column = factorized(series.cast(nw.String).to_list())
        # Polars' categories that are no Enum have no order, but that in which the process has met them
        levels = series.cat.get_categories().to_list() if dtype == nw.Enum else sorted(column.levels)
        places = dict(zip(levels, range(len(levels)), strict=True))
        table = np.array([*map(places.__getitem__, column.levels), -1])
        return Column("level", table[column.values], levels, dtype="ordinal" if dtype == nw.Enum else "category")
    return from_objects(series.to_list(), name, mixed, zone)


def from_arrow(array):
    """Levels of a ChunkedArray of strings or of a dictionary type."""
    kind = getattr(array.type, "ordered", None)
    chunks = (array if kind is not None else array.dictionary_encode()).unify_dictionaries().chunks
    codes = np.concatenate([np.asarray(chunk.indices.cast("int64").fill_null(-1)) for chunk in chunks])
    dtype = None if kind is None else "ordinal" if kind else "category"
    return Column("level", codes, chunks[0].dictionary.to_pylist(), dtype=dtype)
