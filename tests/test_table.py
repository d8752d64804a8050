"""Arrays, lists and sizes of tables; readers of tables and what they leave alone."""

import copy
import datetime as dt
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError
from table_makes import NAN, check_result, make, message, mixed_frame, polars, pyarrow

from fastdnn.preprocessing.table import TableReader

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


def test_arrow_tables_of_polars_categories_with_gaps():  # whose places in the dictionary are unsigned
    pl, values = polars(), ["b", None, "a", "b"]
    frame = pl.DataFrame({"a": pl.Series(values, dtype=pl.Categorical), "e": pl.Series(values, dtype=pl.Enum(["a", "b"]))})
    reader = TableReader()
    numbers, codes = reader.fit_transform(frame.to_arrow())
    assert reader.kinds_ == ["category", "ordinal"]
    np.testing.assert_array_equal(numbers[:, 0], [1, NAN, 0, 1])
    assert [None if code == 0 else reader.categories_[0][code - 1] for code in codes[:, 0]] == values
