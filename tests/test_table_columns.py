"""Numbers, categories and columns without values of tables: what each type becomes, in every make."""

import decimal
import fractions

import numpy as np
import pandas as pd
import pytest
from table_makes import LIBRARIES, NAN, make, message, polars, pyarrow, read

from fastdnn.preprocessing.table import TableReader

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
