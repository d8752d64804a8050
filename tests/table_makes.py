"""Tables of all makes for the tests of their reader, and what holds for whatever it reads."""

import datetime as dt
import re

import numpy as np
import pandas as pd
import pytest

from fastdnn.preprocessing.table import TableReader

NAN = np.nan
BERLIN = "Europe/Berlin"
UTC = dt.UTC


def message(text, error=ValueError):
    return pytest.raises(error, match=re.escape(text))


def polars():
    return pytest.importorskip("polars")


def pyarrow():
    return pytest.importorskip("pyarrow")


def make(data, library):
    """A table of a dict of lists: of pandas, Polars or Arrow."""
    if library == "pandas":
        return pd.DataFrame(data)
    return polars().DataFrame(data) if library == "polars" else pyarrow().table(data)


LIBRARIES = ["pandas", "polars", "arrow"]


def read(values, categorical_features=None):
    """(reader, numbers, codes) of a table of one column "a"; one row at a time and fit alone say the same."""
    frame = values if hasattr(values, "columns") else pd.DataFrame({"a": values})
    reader = TableReader(categorical_features)
    numbers, codes = reader.fit_transform(frame)
    check_result(reader, numbers, codes, frame.shape[0])
    for again in (reader.transform(frame), TableReader(categorical_features).fit(frame).transform(frame)):
        np.testing.assert_array_equal(again[0], numbers)
        np.testing.assert_array_equal(again[1], codes)
    for row in range(frame.shape[0]):
        one = reader.transform(frame.iloc[row : row + 1] if isinstance(frame, pd.DataFrame) else frame[row : row + 1])
        np.testing.assert_array_equal(one[0], numbers[row : row + 1])
        np.testing.assert_array_equal(one[1], codes[row : row + 1])
    return reader, numbers, codes


def check_result(reader, numbers, codes, rows):
    assert (numbers.dtype, codes.dtype) == (np.float64, np.int32)
    assert numbers.flags.c_contiguous
    assert codes.flags.c_contiguous
    assert numbers.shape == (rows, len(reader.number_names_)) == (rows, len(reader.number_sources_))
    assert codes.shape == (rows, len(reader.category_names_)) == (rows, len(reader.categories_))
    assert len(reader.category_sources_) == len(reader.categories_)
    assert reader.n_features_in_ == len(reader.columns_) == len(reader.kinds_)


def mixed_frame(rows, seed=0):
    """A data frame of pandas with a column of each kind, some of them with missing values."""
    rng = np.random.default_rng(seed)

    def holes(values):
        values = pd.Series(values)
        return values.mask(pd.Series(rng.random(rows) < 0.1))

    return pd.DataFrame(
        {
            "int": rng.integers(-5, 5, rows),
            "float": holes(rng.normal(size=rows)),
            "float32": holes(rng.normal(size=rows).astype("float32")),
            "Int64": holes(pd.array(rng.integers(0, 5, rows), "Int64")),
            "string": holes(rng.choice(["red", "green", "blue", ""], rows)),
            "object": holes(rng.choice(["x", "y", "z"], rows).astype(object)),
            "category": pd.Categorical(holes(rng.choice(["s", "m", "l"], rows)), ["l", "m", "s", "xl"]),
            "ordered": pd.Categorical(holes(rng.choice(["s", "m", "l"], rows)), ["s", "m", "l", "xl"], ordered=True),
            "bool": rng.random(rows) < 0.5,
            "boolean": holes(pd.array(rng.random(rows) < 0.5, "boolean")),
            "date": holes(pd.Timestamp("2000-01-01") + pd.to_timedelta(rng.integers(0, 10**9, rows), "s")),
            "zone": holes(
                (pd.Timestamp("2000-01-01") + pd.to_timedelta(rng.integers(0, 10**9, rows), "s")).tz_localize("UTC")
            ),
            "span": holes(pd.to_timedelta(rng.integers(0, 10**6, rows), "s")),
            "coded": rng.integers(0, 3, rows),
        }
    )
