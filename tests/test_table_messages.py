"""What a reader of tables refuses, in words; columns and their names."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from table_makes import LIBRARIES, NAN, make, message, pyarrow, read

from fastdnn.preprocessing.table import TableReader

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
