"""Tables of any make as numbers and codes: what each type of a column becomes, and what is refused, in words."""

import copy
import datetime as dt
import decimal
import fractions
import pickle
import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError

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


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    "values",
    [
        *(np.array([3, 1, 2], dtype) for dtype in ("int8", "int64", "uint8", "uint64", "float16", "float32", "float64")),
        *(pd.array([3, 1, 2], dtype) for dtype in ("Int8", "Int64", "UInt64", "Float32", "Float64")),
        np.array([3, 1, 2], object),
        np.array([3.0, decimal.Decimal(1), fractions.Fraction(2)], object),
        np.array([np.float32(3), np.int8(1), 2], object),
        np.array([3, True, 2], object),
        pd.arrays.SparseArray([3, 1, 2]),
    ],
    ids=lambda values: str(values.dtype),
)
def test_numbers_of_pandas(values):
    reader, numbers, codes = read(values)
    assert reader.kinds_ == ["number"]
    assert numbers.tolist() == [[3], [1], [2]]
    assert codes.shape == (3, 0)


@pytest.mark.parametrize(
    "values",
    [
        np.array([3, NAN, 2], "float16"),
        np.array([3, NAN, 2], "float64"),
        *(pd.array([3, None, 2], dtype) for dtype in ("Int8", "UInt64", "Float64")),
        *(
            np.array([3, nothing, 2.0], object)
            for nothing in (None, NAN, pd.NA, pd.NaT, decimal.Decimal("nan"), np.float32(NAN))
        ),
        pd.arrays.SparseArray([3, NAN, 2]),
    ],
    ids=lambda values: f"{values.dtype}, {values[1]!r}",
)
def test_missing_numbers_of_pandas(values):
    reader, numbers, _ = read(values)
    assert reader.kinds_ == ["number"]
    np.testing.assert_array_equal(numbers, [[3], [NAN], [2]])


NUMBERS = [
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float32",
    "Float64",
    "Int128",
    "Decimal",
]


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_polars(dtype):
    pl = polars()
    dtype = pl.Decimal(10, 2) if dtype == "Decimal" else getattr(pl, dtype)
    for values, expected in (([3, 1, 2], [[3], [1], [2]]), ([3, None, 2], [[3], [NAN], [2]])):
        reader, numbers, _ = read(pl.DataFrame({"a": pl.Series(values, dtype=dtype)}))
        assert reader.kinds_ == ["number"]
        np.testing.assert_array_equal(numbers, expected)


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint64", "float16", "float32", "float64", "decimal"]
)
@pytest.mark.parametrize("pandas", [False, True])
def test_numbers_of_arrow(dtype, pandas):
    pa = pyarrow()
    dtype = pa.decimal128(10, 2) if dtype == "decimal" else getattr(pa, dtype)()
    for values, expected in (([3, 1, 2], [[3], [1], [2]]), ([3, None, 2], [[3], [NAN], [2]])):
        if dtype == pa.float16():
            values = [v if v is None else np.float16(v) for v in values]
        array = pa.array(values, dtype)
        frame = pd.DataFrame({"a": pd.array(array, pd.ArrowDtype(dtype))}) if pandas else pa.table({"a": array})
        reader, numbers, _ = read(frame)
        assert reader.kinds_ == ["number"]
        np.testing.assert_array_equal(numbers, expected)


def test_integers_too_large_for_floats_are_told_apart_as_categories():
    large = 2**53
    for values in (
        np.array([large, large + 1]),
        pd.array([large, large + 1, None], "Int64"),
        np.array([large, large + 1], object),
    ):
        reader, _, codes = read(values, ["a"])
        assert reader.categories_ == [[large, large + 1]]
        assert codes.ravel().tolist() == [1, 2, 0][: len(values)]
    with message("column 'a' must hold numbers that fit float64"):
        read(np.array([10**400, 1], object))


# ---------------------------------------------------------------- categories


@pytest.mark.parametrize("dtype", ["object", "str", "string", "string[python]"])
@pytest.mark.parametrize("nothing", [None, NAN, pd.NA])
def test_strings_of_pandas(dtype, nothing):
    reader, numbers, codes = read(pd.Series(["b", nothing, "", "a", "b"], dtype=dtype))
    assert reader.kinds_ == ["category"]
    assert reader.categories_ == [["", "a", "b"]]
    assert codes.ravel().tolist() == [3, 0, 1, 2, 3]
    assert numbers.shape == (5, 0)


@pytest.mark.parametrize("kind", ["String", "Categorical", "string", "large_string", "string_view", "dictionary", "pandas"])
def test_strings_of_polars_and_arrow(kind):
    values = ["b", None, "", "a", "b"]
    if kind[0].isupper():
        pl = polars()
        frame = pl.DataFrame({"a": pl.Series(values, dtype=getattr(pl, kind))})
    else:
        pa = pyarrow()
        dtype = getattr(pa, kind)() if "string" in kind else pa.string()
        array = pa.array(values, dtype)
        if kind == "dictionary":  # of two chunks that have dictionaries of their own
            array = pa.chunked_array([array[:2].dictionary_encode(), array[2:].dictionary_encode()])
            assert array.chunk(0).dictionary != array.chunk(1).dictionary
        frame = pd.DataFrame({"a": pd.array(array, pd.ArrowDtype(dtype))}) if kind == "pandas" else pa.table({"a": array})
    reader, _, codes = read(frame)
    levels = ["b", "", "a"] if kind == "dictionary" else ["", "a", "b"]
    assert reader.kinds_ == ["category"]
    assert reader.categories_ == [levels]
    assert codes.ravel().tolist() == [0 if v is None else levels.index(v) + 1 for v in values]


def test_categories_of_pandas_keep_their_order_and_only_those_that_occur():
    reader, _, codes = read(pd.Categorical(["x", None, "z", "x"], ["z", "unused", "x"]))
    assert reader.kinds_ == ["category"]
    assert reader.categories_ == [["z", "x"]]
    assert codes.ravel().tolist() == [2, 0, 1, 2]
    other = pd.DataFrame({"a": pd.Categorical(["unused", "x", "new"], ["new", "x", "unused"])})
    assert reader.transform(other)[1].ravel().tolist() == [0, 2, 0]
    for many in (1, 100):
        plain = pd.DataFrame({"a": ["z", "unused", None, "x"] * many})
        assert reader.transform(plain)[1].ravel().tolist() == [1, 0, 0, 2] * many


@pytest.mark.parametrize("library", LIBRARIES)
def test_ordered_categories_are_numbers(library):
    levels, values = ["low", "mid", "high", "top"], ["high", None, "low", "top"]
    column = pd.Categorical(values, levels, ordered=True)
    if library == "polars":
        column = polars().Series(values, dtype=polars().Enum(levels))
    elif library == "arrow":
        column = pyarrow().array(column)
        assert column.type.ordered
    reader, numbers, codes = read(make({"a": column}, library))
    assert reader.kinds_ == ["ordinal"]
    np.testing.assert_array_equal(numbers, [[2], [NAN], [0], [3]])
    assert codes.shape == (4, 0)
    strings = pd.DataFrame({"a": ["mid", "new", None, "low"]})  # "mid" was not there in fit, its type says where it stands
    np.testing.assert_array_equal(reader.transform(strings)[0], [[1], [NAN], [NAN], [0]])
    reader, numbers, codes = read(make({"a": column}, library), ["a"])
    assert reader.kinds_ == ["category"]
    assert reader.categories_ == [["low", "high", "top"]]
    assert codes.ravel().tolist() == [2, 0, 1, 3]


@pytest.mark.parametrize("rows", [10, 100])
def test_categories_of_very_many_levels(rows):
    dtype = pd.CategoricalDtype([f"level {number}" for number in range(1000)])
    frame = pd.DataFrame({"a": pd.Series(["level 990", "level 7", None, "level 7", "level 0"] * (rows // 5), dtype=dtype)})
    reader = TableReader().fit(frame)
    assert reader.categories_ == [["level 0", "level 7", "level 990"]]
    later = pd.DataFrame({"a": pd.Series([None, "level 999", "level 0", "level 990", "level 7"] * (rows // 5), dtype=dtype)})
    assert reader.transform(later)[1].ravel().tolist() == [0, 0, 1, 3, 2] * (rows // 5)


def test_categories_of_intervals():
    values = pd.cut(pd.Series([1.0, 5.0, 9.0, NAN]), [0, 4, 8, 12])
    reader, numbers, _ = read(pd.DataFrame({"a": values}))
    np.testing.assert_array_equal(numbers, [[0], [1], [2], [NAN]])
    reader, _, codes = read(pd.DataFrame({"a": values.cat.as_unordered()}))
    assert reader.categories_ == [["(0, 4]", "(4, 8]", "(8, 12]"]]
    assert codes.ravel().tolist() == [1, 2, 3, 0]


BOOLEANS = [
    np.array([True, False, True]),
    np.array([True, False, True], object),
    pd.array([True, False, True], "boolean"),
    np.array([np.True_, np.False_, np.True_], object),
]


@pytest.mark.parametrize("values", BOOLEANS, ids=lambda values: str(values.dtype))
def test_booleans(values):
    reader, _, codes = read(values)
    assert reader.kinds_ == ["boolean"]
    assert reader.categories_ == [[False, True]]
    assert codes.ravel().tolist() == [2, 1, 2]
    for others in (
        [1, 0, 2],
        [1.0, 0.0, NAN],
        pd.array([True, False, None], "boolean"),
        np.array([True, False, None], object),
    ):
        assert reader.transform(pd.DataFrame({"a": others}))[1].ravel().tolist() == [2, 1, 0]


@pytest.mark.parametrize("library", LIBRARIES)
def test_booleans_with_missing_ones(library):
    reader, _, codes = read(make({"a": [True, None, False]}, library))
    assert reader.kinds_ == ["boolean"]
    assert codes.ravel().tolist() == [2, 0, 1]
    reader, _, codes = read(make({"a": [True, None, True]}, library))
    assert reader.categories_ == [[True]]
    assert codes.ravel().tolist() == [1, 0, 1]


def test_levels_that_are_numbers_are_equal_as_numbers():
    fits = [
        pd.Categorical([10, 2, 10, 2]),
        np.array([10, 2, 10, 2]),
        np.array([10.0, 2.0, 10.0, 2.0], np.float32),
        np.array([10, 2.0, decimal.Decimal(10), np.int8(2)], object),
        pd.array([10, 2, 10, 2], "Int8"),
    ]
    others = [
        [2, 10, 3, 10],
        [2.0, 10.0, NAN, 10.0],
        pd.array([2, 10, None, 10], "Int64"),
        pd.Categorical([2, 10, None, 10]),
        pd.Categorical([2.0, 10.0, 3.5, 10.0]),
        np.array([2, 10.0, "10", decimal.Decimal(10)], object),
    ]
    for values in fits:
        reader, _, codes = read(values, ["a"])
        assert reader.categories_ == [[2, 10]]
        assert codes.ravel().tolist() == [2, 1, 2, 1]
        for other in others:
            for many in (1, 30):
                frame = pd.concat([pd.DataFrame({"a": other})] * many)
                assert reader.transform(frame)[1].ravel().tolist() == [1, 2, 0, 2] * many


def test_strings_are_no_numbers():
    reader, _, _ = read(["1", "2", "x"])
    for other in ([1, 2], [1.0, NAN], [True, False], pd.to_datetime(["2020", "2021"])):
        for many in (1, 50):
            assert not reader.transform(pd.DataFrame({"a": list(other) * many}))[1].any()


@pytest.mark.parametrize("many", [1, 40])
def test_a_named_column_may_mix(many):
    values = np.array([10, "a", 2.0, None, "10", True, 2.5], object)
    reader, _, codes = read(np.tile(values, many), ["a"])
    assert reader.kinds_ == ["category"]
    assert reader.categories_ == [["1", "10", "2", "2.5", "a"]]
    assert codes.ravel().tolist() == [2, 5, 3, 0, 2, 1, 4] * many
    assert reader.transform(pd.DataFrame({"a": [10.0, 2, NAN, 1] * many}))[1].ravel().tolist() == [2, 3, 0, 1] * many
    with message("column 'a' holds a list in row 1, [1]", TypeError):
        read(np.array([1, [1], 2], object), ["a"])


def test_named_dates_are_categories_by_their_texts():
    dates = pd.to_datetime(["2020-01-02", "2020-01-01", None])
    reader, _, codes = read(dates, ["a"])
    assert codes.ravel().tolist() == [2, 1, 0]
    assert reader.transform(pd.DataFrame({"a": dates.repeat(50)}))[1].ravel().tolist() == [2] * 50 + [1] * 50 + [0] * 50
    reader = TableReader([0]).fit(np.array(["2020-01-02", "2020-01-01"], "M8[ns]")[:, None])
    assert reader.categories_ == [["2020-01-01 00:00:00", "2020-01-02 00:00:00"]]
    reader, _, codes = read(pd.to_timedelta([3, 1, 3], "D"), ["a"])
    assert codes.ravel().tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("from_dtype", "c"),
        (None, "c"),
        ([], "c"),
        (np.array([]), "c"),
        (["a"], "ac"),
        (("a", "c"), "ac"),
        (pd.Index(["b"]), "bc"),
        ([0], "ac"),
        (np.array([0, 1]), "abc"),
        ([True, False, False], "ac"),
        (np.array([False, True, True]), "bc"),
        (np.array(["a", "b"], object), "abc"),
    ],
)
def test_categorical_features(features, expected):
    frame = pd.DataFrame({"a": [1, 2], "b": [1.5, 2.5], "c": ["x", "y"]})
    reader = TableReader(features).fit(frame)
    assert reader.category_names_ == list(expected)
    assert reader.number_names_ == [name for name in "abc" if name not in expected]
    if features is None or not any(isinstance(feature, str) for feature in features):
        assert TableReader(features).fit(frame.to_numpy()).category_names_ == [f"x{'abc'.index(name)}" for name in expected]


@pytest.mark.parametrize(
    ("features", "text"),
    [
        (
            "a",
            "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, got 'a'; put a",
        ),
        (
            np.array("a"),
            "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, got a",
        ),
        (3, "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, got 3"),
        ([1.5], "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, got [1.5]"),
        (
            ["a", 0],
            "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, got ['a', 0]",
        ),
        (["d"], "categorical_features must hold names of columns of X, got 'd'; X has columns 'a', 'b', 'c'"),
        ([3], "categorical_features must hold positions of 0 to 2, got 3"),
        ([-1], "categorical_features must hold positions of 0 to 2, got -1"),
        ([True], "categorical_features must have a boolean for each of the 3 columns of X, got 1"),
    ],
)
def test_categorical_features_that_are_none(features, text):
    with message(text):
        TableReader(features).fit(pd.DataFrame({"a": [1], "b": [1], "c": [1]}))
    with message("categorical_features must hold positions or booleans for an array, which has no names, got ['x0']"):
        TableReader(["x0"]).fit(np.ones((2, 2)))


# ---------------------------------------------------------------- dates, durations, times

DATES = [dt.datetime(2020, 2, 29), None, dt.datetime(1969, 12, 31, 6, 45), dt.datetime(2024, 12, 31, 23, 59, 59)]
CALENDAR = ["a:year", "a:month", "a:day", "a:weekday", "a:dayofyear", "a:hour", "a:minute", "a:days"]


def by_hand(date):
    """Numbers of a date, as Python's calendar has them."""
    if date is None:
        return [NAN] * 8
    days = (date - dt.datetime(1970, 1, 1)) / dt.timedelta(days=1)
    day_of_year = date.timetuple().tm_yday
    return [date.year, date.month, date.day, date.weekday(), day_of_year, date.hour, date.minute, days]


def date_columns():
    yield "objects", lambda: pd.DataFrame({"a": np.array(DATES, object)})
    yield "NaN", lambda: pd.DataFrame({"a": np.array([NAN if d is None else d for d in DATES], object)})
    yield (
        "NumPy",
        lambda: pd.DataFrame({"a": np.array([np.datetime64("NaT") if d is None else np.datetime64(d) for d in DATES])}),
    )
    for unit in ("s", "ms", "us", "ns"):
        yield f"pandas {unit}", lambda unit=unit: pd.DataFrame({"a": pd.Series(DATES).astype(f"datetime64[{unit}]")})
        if unit != "s":
            yield f"polars {unit}", lambda unit=unit: polars().DataFrame({"a": DATES}, schema={"a": polars().Datetime(unit)})
        yield f"arrow {unit}", lambda unit=unit: pyarrow().table({"a": pyarrow().array(DATES, pyarrow().timestamp(unit))})
        yield f"pandas of arrow {unit}", lambda unit=unit: arrow_frame(DATES, pyarrow().timestamp(unit))


def arrow_frame(values, dtype):
    return pd.DataFrame({"a": pd.array(pyarrow().array(values, dtype), pd.ArrowDtype(dtype))})


@pytest.mark.parametrize("frame", [f for _, f in date_columns()], ids=[name for name, _ in date_columns()])
def test_dates_with_a_time_of_day(frame):
    reader, numbers, codes = read(frame())
    assert reader.kinds_ == ["datetime"]
    assert reader.number_names_ == CALENDAR
    assert reader.number_sources_.tolist() == [0] * 8
    np.testing.assert_allclose(numbers, [by_hand(date) for date in DATES], rtol=1e-15)
    assert codes.shape == (4, 0)


def day_columns():
    days = [None if date is None else date.date() for date in DATES]
    whole = [None if day is None else dt.datetime(day.year, day.month, day.day) for day in days]
    yield "pandas", lambda: pd.DataFrame({"a": pd.Series(whole).astype("datetime64[us]")})
    yield "pandas objects", lambda: pd.DataFrame({"a": np.array(days, object)})
    yield "polars", lambda: polars().DataFrame({"a": days})
    yield "arrow", lambda: pyarrow().table({"a": days})
    yield "arrow 64", lambda: pyarrow().table({"a": pyarrow().array(days, pyarrow().date64())})
    yield "pandas of arrow", lambda: arrow_frame(days, pyarrow().date32())


@pytest.mark.parametrize("frame", [f for _, f in day_columns()], ids=[name for name, _ in day_columns()])
def test_dates_without_a_time_of_day(frame):
    reader, numbers, _ = read(frame())
    assert reader.kinds_ == ["datetime"]
    assert reader.number_names_ == [name for name in CALENDAR if name not in ("a:hour", "a:minute")]
    expected = np.array([by_hand(date) for date in DATES])[:, [0, 1, 2, 3, 4, 7]]
    np.testing.assert_array_equal(numbers, np.floor(expected))
    later = pd.DataFrame({"a": pd.to_datetime(["2020-02-29 12:00"])})
    assert reader.transform(later)[0].tolist() == [[2020, 2, 29, 5, 60, 18321.5]]


def test_dates_by_the_clock_of_a_zone():
    utc = pd.Series(pd.to_datetime(["2024-06-30 22:30", None, "2024-01-01 11:00"])).dt.tz_localize("UTC")
    local = utc.dt.tz_convert(BERLIN)
    frames = [pd.DataFrame({"a": local}), pd.DataFrame({"a": local.astype(object)})]
    expected = [by_hand(date) for date in (dt.datetime(2024, 7, 1, 0, 30), None, dt.datetime(2024, 1, 1, 12))]
    others = [pd.DataFrame({"a": utc}), pd.DataFrame({"a": utc.astype(object)})]
    try:
        frames += [polars().DataFrame(frames[0]), pyarrow().Table.from_pandas(frames[0])]
        others += [polars().DataFrame(others[0]), pyarrow().Table.from_pandas(others[0])]
    except pytest.skip.Exception:
        pass
    for frame in frames:
        reader, numbers, _ = read(frame)
        np.testing.assert_allclose(numbers, expected, rtol=1e-15)
        for other in frames + others:
            np.testing.assert_allclose(reader.transform(other)[0], expected, rtol=1e-15)
    with message("column 'a' must hold times of zone Europe/Berlin, as it did in fit, got times without a time zone"):
        reader.transform(pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}))
    naive, _, _ = read(pd.to_datetime(["2020-01-01"]))
    with message("column 'a' must hold times without a time zone, as it did in fit, got times of zone UTC"):
        naive.transform(others[0])
    assert np.isnan(naive.transform(others[0][1:2])[0]).all()  # nothing is of no zone
    with message("column 'a' must hold dates with time zones or without, got both"):
        read(np.array([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=UTC)], object))


def test_dates_of_an_offset_are_read_by_utc():
    offset = dt.timezone(dt.timedelta(hours=2))
    values = pd.Series([dt.datetime(2020, 1, 1, 1, tzinfo=offset)])
    expected = [by_hand(dt.datetime(2019, 12, 31, 23))]
    for frame in (pd.DataFrame({"a": values}), pd.DataFrame({"a": values.astype(object)})):
        np.testing.assert_allclose(read(frame)[1], expected)
        np.testing.assert_allclose(read(pyarrow().table({"a": pyarrow().array(values)}))[1], expected)


def test_periods():
    reader, numbers, _ = read(pd.DataFrame({"a": pd.period_range("2020-01", periods=2, freq="M")}))
    assert reader.kinds_ == ["datetime"]
    assert numbers[1].tolist() == [2020, 2, 1, 5, 32, 18293]


@pytest.mark.parametrize("library", [*LIBRARIES, "objects"])
def test_durations_in_days(library):
    values = [dt.timedelta(days=1), None, dt.timedelta(hours=-12)]
    frame = pd.DataFrame({"a": np.array(values, object)}) if library == "objects" else make({"a": values}, library)
    reader, numbers, _ = read(frame)
    assert reader.kinds_ == ["duration"]
    assert reader.number_names_ == ["a"]
    np.testing.assert_array_equal(numbers, [[1], [NAN], [-0.5]])
    np.testing.assert_array_equal(reader.transform(np.array([["1", "NaT"]], "m8[D]").T)[0], [[1], [NAN]])


@pytest.mark.parametrize("library", LIBRARIES)
def test_times_in_hours(library):
    reader, numbers, _ = read(make({"a": [dt.time(6, 30), None, dt.time(23, 59, 59, 500_000)]}, library))
    assert reader.kinds_ == ["time"]
    np.testing.assert_allclose(numbers, [[6.5], [NAN], [24 - 0.5 / 3600]])


# ---------------------------------------------------------------- missing, empty, constant


EMPTY = {
    "float": np.full(3, NAN),
    "object": np.full(3, None),
    "mixed": np.array([None, NAN, pd.NA], object),
    "string": pd.array([None] * 3, "string"),
    "str": pd.array([None] * 3, "str"),
    "Int64": pd.array([None] * 3, "Int64"),
    "boolean": pd.array([None] * 3, "boolean"),
    "category": pd.Categorical([None] * 3, ["a"]),
    "ordinal": pd.Categorical([None] * 3, ["a"], ordered=True),
    "date": pd.to_datetime([None] * 3),
    "zone": pd.to_datetime([None] * 3).tz_localize("UTC"),
    "duration": pd.to_timedelta([None] * 3),
}


@pytest.mark.parametrize("values", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("named", [[], ["a"]])
def test_columns_without_a_value_become_nothing(values, named):
    reader, numbers, codes = read(values, named)
    assert reader.kinds_ == ["empty"]
    assert numbers.shape == codes.shape == (3, 0)
    for later in ([1, 2], ["x", None], [np.inf, 1], [{}, []]):
        assert reader.transform(pd.DataFrame({"a": later}))[0].shape == (2, 0)
    fitted = {"n": [1, 2], "s": ["x", "y"], "t": pd.to_datetime(["2020", "2021"]), "d": pd.to_timedelta([1, 2])}
    fitted |= {"b": [True, False], "o": pd.Categorical(["x", "y"], ordered=True)}
    reader = TableReader().fit(pd.DataFrame(fitted))
    for rows in (3, 300):
        frame = pd.DataFrame({name: pd.Series(values).repeat(rows // 3) for name in fitted})
        numbers, codes = reader.transform(frame)
        assert np.isnan(numbers).all()
        assert numbers.shape == (rows, 9)
        assert codes.shape == (rows, 2)
        assert not codes.any()


@pytest.mark.parametrize("library", ["polars", "arrow"])
def test_empty_columns_of_polars_and_arrow(library):
    frame = make({"a": [None, None], "b": [1, 2], "c": ["x", "y"]}, library)
    reader, numbers, codes = read(frame)
    assert reader.kinds_ == ["empty", "number", "category"]
    numbers, codes = reader.transform(make({"a": [1, 2], "b": [None, None], "c": [None, None]}, library))
    assert np.isnan(numbers).all()
    assert not codes.any()


def test_constant_columns_are_what_they_are():
    reader, numbers, codes = read(pd.DataFrame({"a": [1, 1], "b": ["x", "x"], "c": [2.5, NAN]}))
    assert reader.kinds_ == ["number", "category", "number"]
    np.testing.assert_array_equal(numbers, [[1, 2.5], [1, NAN]])
    assert codes.tolist() == [[1], [1]]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("many", [1, 50])
def test_unknown_categories_have_code_0(library, many):
    reader = TableReader().fit(make({"a": ["x", "y"], "b": [1, 2]}, library))
    for other in LIBRARIES:
        _, codes = reader.transform(make({"a": ["new", "y", None, "x"] * many, "b": [0, 1, 2, 3] * many}, other))
        assert codes.ravel().tolist() == [0, 2, 0, 1] * many


# ---------------------------------------------------------------- refused


def text_column(rows, words):
    rng = np.random.default_rng(0)
    return [" ".join(f"w{number}" for number in rng.integers(0, 10**6, words)) for _ in range(rows)]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("values", [text_column(20, 4), text_column(500, 12), ["x" * 40 + str(i) for i in range(30)]])
def test_texts_are_refused(library, values):
    count = len(values)
    with message(
        f"column 'a' holds texts or identifiers, not categories: {count} of its {count} values differ, '{values[0][:9]}"
    ):
        TableReader().fit(make({"a": values}, library))
    reader = TableReader(["a"]).fit(make({"a": values}, library))
    assert reader.categories_ == [sorted(values)]


@pytest.mark.parametrize(
    "values",
    [
        text_column(19, 12),  # too few to say
        text_column(100, 12) * 2,
        [f"id{number}" for number in range(100)],  # short
        [f"Mr. A {number}" for number in range(100)],  # three words
        [*text_column(94, 12), *["x"] * 6],  # 95 of 100 differ
    ],
)
def test_what_is_no_text(values):
    assert read(values)[0].kinds_ == ["category"]


def test_missing_values_do_not_make_a_text_of_categories_or_the_other_way_round():
    values = text_column(30, 8)
    with message("30 of its 30 values differ"):
        read(np.array([*values, *[None] * 70], object))
    assert read(pd.DataFrame({"a": pd.Categorical(values)}))[0].kinds_ == ["category"]  # by its type


@pytest.mark.parametrize("library", LIBRARIES)
def test_infinity_is_refused_in_fit_and_later(library):
    good = {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0], "c": ["x", "y", "x"]}
    text = "X must hold finite or missing numbers, got -inf in row 2 of column 'b'; replace infinity by NaN"
    with message(text):
        TableReader().fit(make(good | {"b": [1.0, NAN, -np.inf]}, library))
    reader = TableReader().fit(make(good, library))
    with message(text):
        reader.transform(make(good | {"b": [1.0, NAN, -np.inf]}, library))
    with message("got inf in row 1 of column 'a', and infinity in column 'b'; replace"):
        reader.transform(make(good | {"b": [np.inf, 0.0, 1.0], "a": [0.0, np.inf, np.inf]}, library))
    with message("got inf in row 0 of column 'x1'"):
        TableReader().fit([[1, np.inf], [2, 3]])
    with message("got inf in row 0 of column 'x1'"):
        TableReader().fit(np.array([[1, np.inf, None]], object))


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        (
            [1, "3.5", None],
            ValueError,
            "column 'a' must hold values of one kind, got a number ('1') and a string ('3.5'); convert",
        ),
        (
            ["x", 2.5],
            ValueError,
            "a string ('x') and a number ('2.5'); convert it (pandas.to_numeric(errors='coerce')), or name it",
        ),
        (["x", True], ValueError, "got a string ('x') and a bool ('True')"),
        ([dt.date(2020, 1, 1), "x"], ValueError, "got a date ('2020-01-01') and a string ('x')"),
        ([dt.date(2020, 1, 1), 1], ValueError, "got a date ('2020-01-01') and a number ('1'); convert it (one type for all"),
        (
            [1, {"foo": "bar"}],
            TypeError,
            "column 'a' holds a dict in row 1, {'foo': 'bar'}; each value of the argument must be a",
        ),
        ([1, [1, 2]], TypeError, "column 'a' holds a list in row 1, [1, 2]"),
        (["x", b"y"], TypeError, "column 'a' holds a bytes in row 1, b'y'"),
        ([np.arange(3), None], TypeError, "column 'a' holds a ndarray in row 0, [0 1 2]"),
        ([1, 1j], ValueError, "Complex data not supported\ncolumn 'a'"),
        ([1, np.complex64(1)], ValueError, "Complex data not supported\ncolumn 'a'"),
    ],
)
def test_objects_that_do_not_fit(values, error, text):
    array = np.empty(len(values), object)
    array[:] = values
    with message(text, error):
        read(pd.DataFrame({"a": array}))
    with pytest.raises(error):
        TableReader().fit(pd.DataFrame({"a": [1]})).transform(pd.DataFrame({"a": array}))


def test_scikit_learns_words_of_a_dict():
    X = np.ones((3, 2), object)
    X[0, 0] = {"foo": "bar"}
    with pytest.raises(TypeError, match=r"argument must be .* string.* number"):
        TableReader().fit(X)


@pytest.mark.parametrize("many", [1, 50])
def test_unhashable_values_are_no_levels(many):
    reader = TableReader().fit(pd.DataFrame({"a": ["x", "y"]}))
    with message("column 'a' holds a dict in row 1, {}; each value of the argument must be a string", TypeError):
        reader.transform(pd.DataFrame({"a": ["x", {}] * many}))


def test_columns_of_lists_and_bytes_of_polars_and_arrow():
    for library in ("polars", "arrow"):
        for values, name in (([[1], [2]], "list"), ([{"x": 1}, {"x": 2}], "dict"), ([b"x", b"y"], "bytes")):
            with message(f"column 'a' holds a {name} in row 0", TypeError):
                TableReader().fit(make({"a": values}, library))


@pytest.mark.parametrize(
    ("fitted", "later", "text"),
    [
        (
            [1, 2],
            ["3", "x"],
            "column 'a' must hold numbers, as it did in fit, got the string '3'; convert it, with pandas.to_num",
        ),
        ([1, 2], pd.Categorical(["3", None]), "column 'a' must hold numbers, as it did in fit, got the string '3'"),
        ([1, 2], pd.to_datetime(["2020", "2021"]), "column 'a' must hold numbers, as it did in fit, got dates; convert it"),
        (
            pd.to_datetime(["2020", "2021"]),
            ["2020", "2021"],
            "column 'a' must hold dates, as it did in fit, got the string '2020'",
        ),
        (pd.to_datetime(["2020", "2021"]), [2020, 2021], "got numbers; convert it, with pandas.to_datetime, say"),
        (pd.to_timedelta([1, 2], "D"), [1, 2], "column 'a' must hold durations, as it did in fit, got numbers; convert it"),
        ([dt.time(1)], pd.to_timedelta([1], "D"), "column 'a' must hold times, as it did in fit, got durations"),
    ],
)
def test_columns_of_another_kind_than_in_fit(fitted, later, text):
    reader = TableReader().fit(pd.DataFrame({"a": fitted}))
    with message(text):
        reader.transform(pd.DataFrame({"a": later}))


def test_numbers_in_other_types_are_numbers():
    reader, _, _ = read([1, 2])
    for later in (pd.Categorical([3, 0.5]), [True, False], np.array([True, False], object), np.array([3, None], object)):
        numbers, _ = reader.transform(pd.DataFrame({"a": later}))
        np.testing.assert_array_equal(numbers.ravel(), np.array(list(later), float))
    np.testing.assert_array_equal(reader.transform(pd.DataFrame({"a": pd.Categorical([None, 7], ["x", 7])}))[0], [[NAN], [7]])


# ---------------------------------------------------------------- columns and their names


@pytest.mark.parametrize("library", LIBRARIES)
def test_columns_are_found_by_name(library):
    frame = {"a": [1, 2], "b": ["x", "y"], "c": [3.5, None]}
    reader = TableReader("from_dtype", "TabularClassifier").fit(make(frame, library))
    assert reader.columns_ == ["a", "b", "c"]
    assert reader.has_names_
    numbers, codes = reader.transform(make(frame, library))
    for other in LIBRARIES:
        again = reader.transform(make({name: frame[name] for name in "cab"}, other))
        np.testing.assert_array_equal(again[0], numbers)
        np.testing.assert_array_equal(again[1], codes)
    with message("X lacks columns 'a', 'c', which were there in fit: add them"):
        reader.transform(make({"b": frame["b"]}, library))
    with message("column 'd' of X was not there in fit: drop it"):
        reader.transform(make(frame | {"d": [1, 2]}, library))
    with message(
        "X lacks column 'a', which was there in fit: add it; columns 'd', 'e' of X were not there in fit: drop them"
    ):
        reader.transform(make({"b": frame["b"], "c": frame["c"], "d": [1, 2], "e": [1, 2]}, library))


def test_many_columns_are_not_all_named():
    frame = pd.DataFrame(np.ones((2, 9)), columns=list("abcdefghi"))
    reader = TableReader().fit(frame)
    with message("X lacks columns 'b', 'c', 'd', 'e', 'f' and 3 more, which were there in fit"):
        reader.transform(frame[["a"]])


def test_frames_and_arrays_of_each_other_go_by_position():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, NAN]})
    for fitted, later in ((frame, frame.to_numpy()), (frame.to_numpy(), frame), (frame, [[1, 3], [2, None]])):
        reader = TableReader("from_dtype", "TabularClassifier").fit(fitted)
        np.testing.assert_array_equal(reader.transform(later)[0], frame)
    text = "X has 3 features, but TabularClassifier is expecting 2 features as input"
    for fitted in (frame, frame.to_numpy()):
        reader = TableReader("from_dtype", "TabularClassifier").fit(fitted)
        with message(text):
            reader.transform(np.ones((1, 3)))
    with message(text):
        reader.transform(pd.DataFrame(np.ones((1, 3))))
    assert reader.columns_ == ["x0", "x1"]
    assert not reader.has_names_


def test_names_that_are_no_strings():
    frame = pd.DataFrame({0: [1, 2], "b": ["x", "y"], (1, "c"): [3, 4], 2.5: [5, 6]})
    reader, numbers, _ = read(frame)
    assert reader.columns_ == ["0", "b", "1_c", "2.5"]
    assert not reader.has_names_
    assert numbers.tolist() == [[1, 3, 5], [2, 4, 6]]
    np.testing.assert_array_equal(reader.transform(frame[frame.columns[::-1]])[0], numbers)
    assert TableReader(["0"]).fit(frame).category_names_ == ["0", "b"]
    levels = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", 1)])
    reader, numbers, _ = read(pd.DataFrame([[1, 2, 3]], columns=levels))
    assert reader.columns_ == ["a_x", "a_y", "b_1"]
    assert numbers.tolist() == [[1, 2, 3]]


def test_names_that_are_the_same():
    text = "X must have columns of different names, got 'a' more than once; rename or drop one"
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with message(text):
        TableReader().fit(twice)
    with message(text):
        TableReader().fit(pd.DataFrame({"a": [1], "b": [1]})).transform(twice)
    with message("got '1' more than once"):
        TableReader().fit(pd.DataFrame([[1, 2]], columns=[1, "1"]))
    with message(text):
        TableReader().fit([[1, 2]]).transform(twice)
    pa = pyarrow()
    with message(text):
        TableReader().fit(pa.Table.from_arrays([pa.array([1]), pa.array([1])], ["a", "a"]))


@pytest.mark.parametrize("index", [["p", "q"], [7, 7], pd.to_datetime(["2020", "2021"])])
def test_rows_are_counted_whatever_the_index_says(index):
    frame = pd.DataFrame({"a": [1.0, np.inf], "b": ["x", "y"]}, index=index)
    with message("in row 1 of column 'a'"):
        TableReader().fit(frame)
    assert TableReader().fit(frame[["b"]]).transform(frame[["b"]])[1].tolist() == [[1], [2]]


# ---------------------------------------------------------------- arrays, lists and the size of tables


def test_arrays():
    X = np.array([[1, 2.5], [NAN, 4]])
    for dtype in ("float64", "float32", "float16", ">f8"):
        for order in "CF":
            reader = TableReader()
            numbers, codes = reader.fit_transform(X.astype(dtype, order=order))
            np.testing.assert_array_equal(numbers, X)
            check_result(reader, numbers, codes, 2)
    assert TableReader().fit_transform(np.arange(6, dtype="uint8").reshape(2, 3))[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    reader = TableReader().fit(np.array([[NAN, 1], [NAN, 2]]))
    assert reader.kinds_ == ["empty", "number"]
    assert reader.number_sources_.tolist() == [1]
    assert reader.transform([[5, 6]])[0].tolist() == [[6]]
    reader = TableReader([1]).fit(np.array([[1, 3, 5], [2, 1, 6]]))
    assert [part.tolist() for part in reader.transform(np.array([[1, 1, 1], [2, 2, 2]]))] == [[[1, 1], [2, 2]], [[1], [0]]]


def test_wide_frames_are_read_as_one():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(9, 60)), columns=[f"p{number}" for number in range(60)])
    frame["p3"], frame["p5"], frame["p7"] = range(9), NAN, np.arange(9, dtype=np.uint8)
    frame.loc[2, "p9"] = NAN
    reader, other = TableReader(["p7"]), TableReader(["p7"])
    numbers, codes = reader.fit_transform(frame)
    assert (reader.kinds_[3], reader.kinds_[5], reader.kinds_[7]) == ("number", "empty", "category")
    again = other.fit_transform(frame.astype("Float64"))
    assert other.number_names_ == reader.number_names_
    np.testing.assert_array_equal(numbers, frame.drop(columns=["p5", "p7"]))
    for pair in (again, reader.transform(frame[frame.columns[::-1]]), reader.transform(frame.astype("Float64"))):
        np.testing.assert_array_equal(pair[0], numbers)
        np.testing.assert_array_equal(pair[1], codes)
    with message("got inf in row 0 of column 'p1'"):
        reader.transform(frame.assign(p1=np.inf))
    fits = TableReader().fit(frame[["p0", "p1"]].assign(**{f"q{number}": 1 for number in range(60)}))
    assert fits.number_names_[:3] == ["p0", "p1", "q0"]


def test_arrays_of_other_types():
    reader = TableReader()
    _, codes = reader.fit_transform(np.array([[True, False], [False, False]]))
    assert reader.kinds_ == ["boolean", "boolean"]
    assert codes.tolist() == [[2, 1], [1, 1]]
    reader = TableReader()
    _, codes = reader.fit_transform(np.array([["b", "x"], ["a", "x"]]))
    assert reader.categories_ == [["a", "b"], ["x"]]
    assert codes.tolist() == [[2, 1], [1, 1]]
    reader = TableReader()
    numbers, codes = reader.fit_transform(np.array([[1, "x", None, True], [2.5, None, "y", False]], object))
    assert reader.kinds_ == ["number", "category", "category", "boolean"]
    assert numbers.tolist() == [[1], [2.5]]
    assert codes.tolist() == [[1, 0, 2], [0, 1, 1]]
    assert TableReader().fit(np.array([["2020-01-01"], ["NaT"]], "M8[D]")).kinds_ == ["datetime"]
    with message("column 'x0' holds a bytes in row 0", TypeError):
        TableReader().fit(np.array([[b"x"]]))


def test_lists():
    reader = TableReader()
    numbers, codes = reader.fit_transform([[1, "x", None], [2.5, "y", dt.date(2020, 1, 1)]])
    assert reader.kinds_ == ["number", "category", "datetime"]
    assert reader.columns_ == ["x0", "x1", "x2"]
    assert numbers[:, 0].tolist() == [1, 2.5]
    assert codes.tolist() == [[1], [2]]
    assert reader.transform([(3, "y", None)])[1].tolist() == [[2]]
    assert TableReader().fit([[1, None], [None, 2]]).kinds_ == ["number", "number"]
    with message("X must have rows of one length"):
        TableReader().fit([[1, 2], [3]])
    with message("X must have rows of one length"):
        TableReader().fit([["a", 2], [3]])


def test_masked_values_are_missing():
    X = np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]], [[False, True], [False, False]])
    for masked in (X, X.astype(int), X.astype(object)):
        np.testing.assert_array_equal(TableReader().fit_transform(masked)[0], [[1, NAN], [3, 4]])
    reader = TableReader()
    _, codes = reader.fit_transform(np.ma.masked_array([["a", "b"], ["c", "d"]], X.mask))
    assert reader.categories_ == [["a", "c"], ["d"]]
    assert codes.tolist() == [[1, 0], [2, 1]]


class Duck:
    """Something with nothing but `__array__`."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


def test_what_becomes_an_array(tmp_path):
    X = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    locked = X.copy()
    locked.flags.writeable = False
    for other in (Duck(X), mapped, locked, X.tolist(), tuple(map(tuple, X))):
        np.testing.assert_array_equal(TableReader().fit_transform(other)[0], X)


@pytest.mark.parametrize(
    ("X", "error", "text"),
    [
        (np.arange(3.0), ValueError, "Expected 2D array, got 1D array instead:"),
        ([1, 2], ValueError, "Reshape your data either using array.reshape(-1, 1)"),
        (["a", "b"], ValueError, "Expected 2D array, got 1D array instead:"),
        (3, ValueError, "Expected 2D array, got scalar array instead"),
        (None, ValueError, "Expected 2D array, got scalar array instead"),
        ({"a": [1, 2]}, ValueError, "Expected 2D array, got scalar array instead"),
        (pd.Series([1, 2]), ValueError, "Expected a 2-dimensional container but got"),
        (np.ones((2, 2, 2)), ValueError, "Found array with dim 3, while dim <= 2 is required by TabularClassifier."),
        (
            np.empty((0, 3)),
            ValueError,
            "Found array with 0 sample(s) (shape=(0, 3)) while a minimum of 1 is required by Tabular",
        ),
        (np.empty((3, 0)), ValueError, "0 feature(s) (shape=(3, 0)) while a minimum of 1 is required by TabularClassifier."),
        (
            pd.DataFrame({"a": []}),
            ValueError,
            "Found array with 0 sample(s) (shape=(0, 1)) while a minimum of 1 is required by",
        ),
        (
            pd.DataFrame(index=[1, 2]),
            ValueError,
            "0 feature(s) (shape=(2, 0)) while a minimum of 1 is required by TabularClass",
        ),
        ([], ValueError, "Expected 2D array, got 1D array instead:"),
        ([[]], ValueError, "0 feature(s) (shape=(1, 0)) while a minimum of 1 is required by TabularClassifier."),
        (np.ones((2, 2), complex), ValueError, "Complex data not supported"),
        (np.ones((2, 2), complex).tolist(), ValueError, "Complex data not supported"),
        (
            scipy.sparse.csr_array(np.eye(2)),
            TypeError,
            "Sparse data was passed, but dense data is required. Use '.toarray()'",
        ),
        (
            scipy.sparse.csc_matrix(np.eye(2)),
            TypeError,
            "Sparse data was passed, but dense data is required. Use '.toarray()'",
        ),
    ],
)
def test_what_is_no_table(X, error, text):
    with message(text, error):
        TableReader("from_dtype", "TabularClassifier").fit(X)
    reader = TableReader("from_dtype", "TabularClassifier").fit(np.eye(2))
    with message(text, error):
        reader.transform(X)


def test_lazy_frames_and_series_of_polars():
    pl = polars()
    with message("X must be a table in memory, got a lazy one; use X.collect()", TypeError):
        TableReader().fit(pl.LazyFrame({"a": [1, 2]}))
    with message("Expected 2D array, got 1D array instead"):
        TableReader().fit(pl.Series([1, 2]))
    for empty, text in (
        (pl.DataFrame({"a": []}), "0 sample(s) (shape=(0, 1))"),
        (pl.DataFrame(), "0 sample(s) (shape=(0, 0))"),
    ):
        with message(text):
            TableReader().fit(empty)


def test_record_batches_of_arrow():
    pa = pyarrow()
    batch = pa.RecordBatch.from_pydict({"a": [1, 2], "b": ["x", "y"]})
    reader = TableReader()
    numbers, codes = reader.fit_transform(batch)
    assert reader.columns_ == ["a", "b"]
    assert (numbers.tolist(), codes.tolist()) == ([[1], [2]], [[1], [2]])


def test_frames_of_narwhals():
    nw = pytest.importorskip("narwhals")
    import narwhals.stable.v1 as v1

    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    for wrapped in (
        nw.from_native(frame),
        v1.from_native(frame),
        nw.from_native(make({"a": [1, 2], "b": ["x", "y"]}, "polars")),
    ):
        numbers, codes = TableReader().fit_transform(wrapped)
        assert (numbers.tolist(), codes.tolist()) == ([[1], [2]], [[1], [2]])


def test_reader_that_is_not_fitted():
    with message("TableReader must be fitted before", NotFittedError):
        TableReader().transform([[1]])


# ---------------------------------------------------------------- readers and the user's data


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


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("seed", range(3))
def test_pandas_polars_and_arrow_say_the_same(rows, seed):
    pl, pa = polars(), pyarrow()
    frame = mixed_frame(rows, seed)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    arrow_types = frame.convert_dtypes(dtype_backend="pyarrow")
    fast = frame.assign(ordered=frame["ordered"].cat.codes.replace(-1, np.nan))  # Polars has no ordered categories but Enum
    frames = [frame, table, arrow_types, pl.from_pandas(fast)]
    readers = [TableReader(["coded"]) for _ in frames]
    results = [reader.fit_transform(frame) for reader, frame in zip(readers, frames, strict=True)]
    for reader, (numbers, codes) in zip(readers, results, strict=True):
        assert reader.number_names_ == readers[0].number_names_
        assert reader.category_names_ == readers[0].category_names_
        for name, code, levels, first in zip(
            reader.category_names_, codes.T, reader.categories_, readers[0].categories_, strict=True
        ):
            assert sorted(levels) == sorted(first), name
            np.testing.assert_array_equal(
                [None if c == 0 else levels[c - 1] for c in code],
                [None if c == 0 else first[c - 1] for c in results[0][1][:, reader.category_names_.index(name)]],
            )
        np.testing.assert_array_equal(numbers, results[0][0])
    later = mixed_frame(80, seed + 10)
    expected = readers[0].transform(later)
    for other in (
        pa.Table.from_pandas(later),
        pl.from_pandas(later.assign(ordered=later["ordered"].astype(str))),
        later[later.columns[::-1]],
    ):
        numbers, codes = readers[0].transform(other)
        np.testing.assert_array_equal(numbers, expected[0])
        np.testing.assert_array_equal(codes, expected[1])


@pytest.mark.parametrize("seed", range(3))
def test_rows_alone_and_together(seed):
    frame = mixed_frame(100, seed)
    reader = TableReader(["coded", "float32"]).fit(frame)
    numbers, codes = reader.transform(frame)
    for rows in (1, 30):
        parts = [reader.transform(frame[start : start + rows]) for start in range(0, 100, rows)]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), numbers)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), codes)


def test_readers_are_copied_and_pickled():
    frame = mixed_frame(200)
    reader = TableReader(["coded"]).fit(frame)
    expected = reader.transform(frame)
    for other in (pickle.loads(pickle.dumps(reader)), copy.deepcopy(reader)):
        numbers, codes = other.transform(frame)
        np.testing.assert_array_equal(numbers, expected[0])
        np.testing.assert_array_equal(codes, expected[1])
        assert other.categories_ == reader.categories_
    assert len(pickle.dumps(TableReader(["coded"]).fit(mixed_frame(20_000)))) < 2 * len(pickle.dumps(reader)) < 20_000


def test_fitting_again_forgets():
    reader = TableReader().fit(mixed_frame(20))
    reader.fit(pd.DataFrame({"a": ["x", "y"]}))
    assert (reader.columns_, reader.number_names_, reader.categories_) == (["a"], [], [["x", "y"]])
    assert reader.transform(pd.DataFrame({"a": ["y"]}))[1].tolist() == [[2]]


def test_the_users_data_stay_as_they_are():
    frame = mixed_frame(100)
    before = frame.copy(deep=True)
    numbers, codes = TableReader(["coded"]).fit_transform(frame)
    numbers[:], codes[:] = 7, 7
    pd.testing.assert_frame_equal(frame, before)
    for X in (np.random.default_rng(0).normal(size=(50, 3)), np.array([[1, "x", None]], object)):
        kept = X.copy()
        numbers, codes = TableReader().fit_transform(X)
        numbers[:], codes[:] = 7, 7
        assert (X == kept).all()
        assert not np.shares_memory(X, numbers)


def test_readers_hold_no_data():
    tracemalloc.start()
    try:
        reader = TableReader(["coded"]).fit(mixed_frame(50_000))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert reader.n_features_in_ == 14
    assert held < 1_000_000  # a column of numbers alone is 400 kB


def test_results_are_deterministic_whatever_the_order_of_rows():
    frame = mixed_frame(300)
    shuffled = frame.sample(frac=1, random_state=0)
    first, second = TableReader(["coded"]).fit(frame), TableReader(["coded"]).fit(shuffled)
    assert first.categories_ == second.categories_
    np.testing.assert_array_equal(first.transform(frame)[0], second.transform(frame)[0])


def test_the_index_of_a_frame_is_no_column_of_its_arrow_table():
    pyarrow = pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"]}).iloc[[2, 0, 1]]
    table = pyarrow.Table.from_pandas(frame)
    assert "__index_level_0__" in table.column_names
    reader = TableReader().fit(table)
    assert reader.columns_ == ["a", "b"]
    for ours, theirs in zip(reader.transform(table), reader.transform(frame), strict=True):
        np.testing.assert_array_equal(ours, theirs)
