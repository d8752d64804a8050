"""A table with columns of all kinds, and what of it an exported model is fed with, for the tests of the export."""

import datetime as dt

import numpy as np
import pandas as pd

CATEGORIES = ["zip", "half", "mixed"]  # that are named as such
GAPS = "size", "rooms", "city", "street", "maybe", "grade", "half", "day", "moment", "zoned", "span"
ABSENT = np.iinfo(np.int64).min


def frame(n, seed=0, new=False):
    """(table, targets in numbers) with gaps; `new` has categories that others have not."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({
        "size": rng.lognormal(3, 1, n),
        "far": 1e9 + rng.standard_normal(n),  # float32 would lose what tells its numbers apart
        "rooms": pd.array(rng.integers(1, 6, n), "Int64"),
        "city": rng.choice(["Oslo", "Rome", "Lima"] + ["Paris"] * new, n).astype(object),
        "street": [f"s{i}" for i in rng.integers(0, 30 + 10 * new, n)],
        "new": rng.random(n) < 0.5,
        "maybe": pd.array(rng.random(n) < 0.5, "boolean"),
        "grade": pd.Categorical(rng.choice(["bad", "ok", "good"], n), ["bad", "ok", "good"], ordered=True),
        "zip": rng.integers(100, 120 + 5 * new, n),
        "half": rng.choice([0.5, 1.0, 1.5] + [9.5] * new, n),
        "mixed": [[1, "1x", 2, "b"][i] for i in rng.integers(0, 4, n)],
        "day": pd.Timestamp("1950-01-01") + pd.to_timedelta(rng.integers(-90_000, 100_000, n), unit="D"),
        "moment": pd.Timestamp("1970-01-01") + pd.to_timedelta(rng.integers(-(10**9), 2 * 10**9, n), unit="s"),
        "zoned": pd.to_datetime(rng.integers(0, 10**9, n), unit="s", utc=True).tz_convert("Europe/Berlin"),
        "span": pd.to_timedelta(rng.integers(-(10**6), 10**6, n), unit="s"),
        "clock": [dt.time(h, m, 5, 123) for h, m in zip(rng.integers(0, 24, n), rng.integers(0, 60, n), strict=True)],
        "nothing": np.full(n, np.nan),
        "label": 1.0,  # a name that an output would have
    })  # fmt: skip
    y = np.log(table["size"]) + (table["city"] == "Rome") * 2 + table["zip"] % 3 + table["moment"].dt.month / 6
    y += 0.1 * rng.standard_normal(n)
    for name in GAPS:
        table.loc[rng.random(n) < 0.08, name] = None
    return table, y.to_numpy()


def feeds(table, exported):
    """Arrays (n, 1) for the inputs of an exported model, made of the table by pandas alone."""
    return {x.name: fed(table[x.name], x.type.tensor_type.elem_type).reshape(-1, 1) for x in exported.graph.input}


def fed(column, kind):
    """The column as an array of ONNX's type number `kind`."""
    if kind == 8:  # strings
        return np.array(["" if value is None or value != value else str(value) for value in column], object)
    if kind == 11:  # float64
        return column.astype("float64").to_numpy(np.float64, na_value=np.nan)
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_localize(None)  # the time that clocks there show
    if column.dtype.kind in "mM":
        return column.astype(f"{column.dtype.kind}8[ns]").to_numpy().view(np.int64)
    if isinstance(column.iloc[0], dt.time):
        return np.array([((t.hour * 60 + t.minute) * 60 + t.second) * 10**9 + t.microsecond * 1000 for t in column])
    return column.astype("Int64").to_numpy(np.int64, na_value=-1)
