"""What is learned of a table in one pass over its blocks: as from the whole table, whatever the blocks, merged or not."""

import datetime as dt
import pickle

import numpy as np
import pandas as pd
import pytest
from table_makes import NAN, message, mixed_frame, polars, pyarrow

from fastdnn.preprocessing import table_states
from fastdnn.preprocessing.table import TableReader
from fastdnn.tabular import statistics
from fastdnn.tabular.statistics import LabelCounts, Moments, RowSample, TableStatistics, row_keys
from fastdnn.tabular.targets import TargetScale, weighted_moments

RNG = np.random.default_rng(0)


def every_row(n):
    return slice(None)


def states_of(blocks, features="from_dtype"):
    states = table_states.TableStates(features, "TabularRegressor")
    return states, np.concatenate([states.update(block, every_row) for block in blocks])


def cut(frame, size):
    return [frame[lo : lo + size] for lo in range(0, frame.shape[0], size)]


def told(y, weight=None, labels=None, size=1000, seed=0, X=None, first_row=0):
    """Statistics of rows that come in blocks of that size."""
    found = TableStatistics(seed, None, "TabularRegressor", first_row)
    X = np.arange(len(y), dtype=float)[:, None] if X is None else X
    for lo in range(0, len(y), size):
        part = slice(lo, lo + size)
        found.update(X[part], y[part].reshape(len(y[part]), -1), labels, None if weight is None else weight[part])
    return found


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow", "pyarrow types"])
@pytest.mark.parametrize("size", [1, 37, 300])
def test_the_reader_of_blocks_is_that_of_the_whole_table(library, size):
    frame = mixed_frame(300)
    frame.loc[:250, "object"] = None  # first values, levels and gaps in late blocks
    frame.loc[:200, "float"] = 0.5
    if library == "polars":
        frame = polars().from_pandas(frame.drop(columns="ordered"))
    elif library == "arrow":
        frame = pyarrow().Table.from_pandas(frame, preserve_index=False)
    elif library == "pyarrow types":
        frame = frame.convert_dtypes(dtype_backend="pyarrow")
    blocks = [frame.slice(lo, size) for lo in range(0, 300, size)] if library == "arrow" else cut(frame, size)
    whole, (states, values) = TableReader(["coded"]).fit(frame), states_of(blocks, ["coded"])
    reader = states.reader()
    for name in ("columns_", "kinds_", "number_names_", "category_names_", "has_names_", "n_features_in_"):
        assert getattr(reader, name) == getattr(whole, name), name
    assert list(map(sorted, reader.categories_)) == list(map(sorted, whole.categories_))
    if library == "pandas":
        assert reader.categories_ == whole.categories_
    (numbers, codes), expected = states.read(reader, values), reader.transform(frame)
    np.testing.assert_allclose(numbers, expected[0], rtol=1e-14)
    np.testing.assert_array_equal(codes, expected[1])
    np.testing.assert_array_equal(numbers, whole.transform(frame)[0])
    np.testing.assert_array_equal(states.missing[reader.number_sources_], np.isnan(expected[0]).any(axis=0))
    for counts, column, levels in zip(states.counts(reader), codes.T, reader.categories_, strict=True):
        np.testing.assert_array_equal(counts, np.bincount(column, minlength=len(levels) + 1))


def test_arrays_and_columns_in_another_order():
    X = RNG.standard_normal((100, 3))
    X[90:, 1], X[:, 2] = NAN, NAN
    states, values = states_of(cut(X, 30))
    assert states.reader().kinds_ == ["number", "number", "empty"]
    assert states.missing.tolist() == [False, True, True]
    np.testing.assert_array_equal(values, X)
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    states, _ = states_of([frame, frame[["b", "a"]]])
    assert states.counts(states.reader())[0].tolist() == [0, 2, 2]


def test_levels_of_numbers_and_strings_are_compared_by_their_texts():
    blocks = [pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": ["x", "1"]}), pd.DataFrame({"a": [2.0, 3.5]})]
    states, values = states_of(blocks, ["a"])
    reader = states.reader()
    whole = TableReader(["a"]).fit(pd.DataFrame({"a": np.array([1, 2, "x", "1", 2.0, 3.5], object)}))
    assert reader.categories_ == whole.categories_ == [["1", "2", "3.5", "x"]]
    assert states.read(reader, values)[1][:, 0].tolist() == [1, 2, 4, 1, 2, 3]


def test_merged_states_know_what_one_state_knows():
    frame = mixed_frame(400)
    blocks = cut(frame, 40)
    one, values = states_of(blocks, ["coded"])
    first, a = states_of(blocks[:3], ["coded"])
    second, b = states_of(blocks[3:], ["coded"])
    first, second = pickle.loads(pickle.dumps((first, second)))
    tables = first.merge(second)
    for column, table in enumerate(tables):
        if len(table):
            known = ~np.isnan(b[:, column])
            b[known, column] = table[b[known, column].astype(int)]
    readers = one.reader(), first.reader()
    assert readers[0].categories_ == readers[1].categories_
    assert readers[0].kinds_ == readers[1].kinds_
    for x, y in zip(one.read(readers[0], values), first.read(readers[1], np.concatenate([a, b])), strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(one.missing, first.missing)
    assert first.n == 400
    with message("X has the columns ['z'], in the blocks before ['int', 'float'"):
        first.merge(states_of([pd.DataFrame({"z": [1.0]})])[0])


WRONG = {
    "strings among numbers": ([[1, 2], ["x"]], "column 'a' holds strings or categories, in the blocks before numbers"),
    "numbers among strings": ([["x"], [None], [2.5]], "column 'a' holds numbers, in the blocks before strings or categories"),
    "booleans": ([[True], [1]], "column 'a' holds numbers, in the blocks before booleans"),
    "dates": ([[dt.date(2020, 1, 1)], [1]], "column 'a' holds numbers, in the blocks before dates"),
    "zones": (
        [pd.to_datetime(["2020-01-01"], utc=True), pd.to_datetime(["2020-01-01"])],
        "column 'a' holds times of no time zone, in the blocks before of UTC",
    ),
    "order": (
        [pd.Categorical(["x"], ["x", "y"], ordered=True), pd.Categorical(["x"], ["y", "x"], ordered=True)],
        "column 'a' has the ordered categories ['y', 'x'], in the blocks before ['x', 'y']",
    ),
    "infinity": ([[1.0], [np.inf]], "got inf in row 0 of column 'a'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_column_that_becomes_another_is_named(what):
    blocks, text = WRONG[what]
    with message(text):
        states_of([pd.DataFrame({"a": values}) for values in blocks])


def test_columns_levels_and_texts_are_refused(monkeypatch):
    frame = pd.DataFrame({"a": ["x", "y"]})
    with message("X lacks column 'a', which was there in fit: add it; column 'b' of X was not there in fit: drop it"):
        states_of([frame, frame.rename(columns={"a": "b"})])
    states, _ = states_of([pd.DataFrame({"a": [f"a text of some words {row} {k}" for k in range(20)]}) for row in range(5)])
    with message("column 'a' holds texts or identifiers, not categories: 100 of its 100 values differ"):
        states.reader()
    monkeypatch.setattr(table_states, "MOST_LEVELS", 150)
    with message("column 'a' has more than 150 different values"):
        states_of([pd.DataFrame({"a": [f"{row}{k:02}" for k in range(100)]}) for row in range(5)])


# ---------------------------------------------------------------- rows


def test_keys_of_rows_are_uniform_and_do_not_depend_on_blocks():
    keys = row_keys(3, 0, 100_000)
    np.testing.assert_array_equal(np.concatenate([row_keys(3, lo, 12_500) for lo in range(0, 100_000, 12_500)]), keys)
    assert len(np.unique(keys)) == 100_000
    assert abs(np.corrcoef(keys[1:].astype(float), keys[:-1].astype(float))[0, 1]) < 0.01
    counts = np.bincount((keys >> np.uint64(58)).astype(int), minlength=64)
    assert ((counts - 100_000 / 64) ** 2 / (100_000 / 64)).sum() < 110  # chi-squared of 63 degrees, 1e-4
    assert (keys != row_keys(4, 0, 100_000)).all()


def test_a_sample_is_of_the_smallest_keys():
    keys = row_keys(0, 0, 5000)
    for size in (1, 77, 5000):
        sample = RowSample(300)
        for lo in range(0, 5000, size):
            sample.add(keys[lo : lo + size], np.arange(lo, min(lo + size, 5000), dtype=float)[:, None])
        found, rows = sample.rows()
        np.testing.assert_array_equal(rows[:, 0], np.argsort(keys)[:300])
        np.testing.assert_array_equal(found, np.sort(keys)[:300])


@pytest.mark.parametrize("make", [RNG.standard_normal, RNG.standard_cauchy, lambda n: np.floor(RNG.exponential(2, n))])
def test_quantiles_of_a_sample_have_the_rank_error_that_is_stated(make, monkeypatch):
    monkeypatch.setattr(statistics, "MOST_SAMPLED", 5000)
    x = np.sort(make(100_000))
    q = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    for seed in range(5):
        values, _, _, numbers = told(np.zeros(len(x)), X=x[:, None], seed=seed, size=9000).sample()
        assert len(values) == 5000
        np.testing.assert_array_equal(values[:, 0], x[numbers])
        found = np.quantile(values[:, 0], q)
        low, high = np.searchsorted(x, found, "left") / len(x), np.searchsorted(x, found, "right") / len(x)
        error = np.where(q < low, low - q, np.where(q > high, q - high, 0))
        assert (error < 4 * np.sqrt(q * (1 - q) / 5000)).all()


def test_rows_that_are_held_out_come_first_and_are_known_by_their_numbers(monkeypatch):
    monkeypatch.setattr(statistics, "MOST_SAMPLED", 4000)
    found = told(RNG.standard_normal(10_000))
    assert found.n_held == 1000
    numbers = found.sample()[-1]
    held = np.flatnonzero(row_keys(0, 0, 10_000) <= found.bar)
    np.testing.assert_array_equal(np.sort(numbers[:1000]), held)
    assert not found.is_whole
    assert told(RNG.standard_normal(4000)).is_whole


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("make", [lambda n: 1e6 + RNG.standard_normal((n, 2)), lambda n: RNG.lognormal(0, 3, (n, 2))])
def test_moments_are_those_of_all_targets(make, weighted):
    y = make(50_000)
    weight = RNG.uniform(0, 2, len(y)) * (RNG.random(len(y)) < 0.8) if weighted else None
    found = []
    for size in (50_000, 777, 123):
        of_all = told(y, weight, size=size)
        of_all.finish()
        found.append(of_all.targets)
    mean, std = weighted_moments(y, weight)
    np.testing.assert_allclose(found[0].mean, mean, rtol=1e-13)
    np.testing.assert_allclose(found[0].std, std, rtol=1e-10)
    kept = slice(None) if weight is None else weight > 0
    np.testing.assert_array_equal(found[0].low, y[kept].min(axis=0))
    np.testing.assert_array_equal(found[0].high, y[kept].max(axis=0))
    assert found[0].weight == pytest.approx(len(y) if weight is None else weight.sum(), rel=1e-13)
    assert len({(m.mean.tobytes(), m.std.tobytes(), m.weight) for m in found}) == 1  # however blocks are cut
    assert of_all.n == (len(y) if weight is None else np.count_nonzero(weight))
    scale = TargetScale().fit_sample(y[kept][:100], None, found[0])
    np.testing.assert_array_equal([scale.mean, scale.std], [found[0].mean, found[0].std])


def test_moments_of_a_constant():
    found = told(np.full(1000, 3.0))
    found.finish()
    assert (found.targets.mean, found.targets.std) == (3.0, 1.0)


@pytest.mark.parametrize("labels", [["b", "a", "c"], [5, -1, 3], [True, False], np.array(["b", "a"], object)])
def test_labels_are_counted_by_weight(labels):
    labels = np.unique(labels)
    numbers, weight = RNG.integers(0, len(labels), 5000), RNG.uniform(1, 2, 5000)
    numbers[:2000] = 1  # the others come late
    found = TableStatistics(0, None, "TabularClassifier")
    for lo in range(0, 5000, 700):
        there, y = np.unique(labels[numbers[lo : lo + 700]], return_inverse=True)
        found.update(np.zeros((len(y), 1)), y[:, None], there, weight[lo : lo + 700])
    found.finish()
    classes, of_class, weights = found.targets.classes()
    np.testing.assert_array_equal(classes, labels)
    assert classes.dtype == labels.dtype
    np.testing.assert_allclose(weights, np.bincount(numbers, weight))
    _, y, _, rows = found.sample()
    np.testing.assert_array_equal(of_class[y[:, 0].astype(int)], numbers[rows])


@pytest.mark.parametrize("of_labels", [False, True])
def test_merged_statistics_know_what_one_knows(of_labels, monkeypatch):
    monkeypatch.setattr(statistics, "MOST_SAMPLED", 2000)
    y, weight, X = RNG.standard_normal(30_000), RNG.uniform(0, 1, 30_000), pd.DataFrame({"x": [*"abc"] * 10_000})
    labels = np.array(["u", "v"]) if of_labels else None
    y = (y > 0).astype(int) if of_labels else y
    one = told(y, weight, labels, X=X)
    parts = [
        told(y[lo : lo + 10_000], weight[lo : lo + 10_000], labels, X=X[lo : lo + 10_000], first_row=lo)
        for lo in range(0, 30_000, 10_000)
    ]
    first = TableStatistics(0, None, "TabularRegressor")
    for part in parts:
        first.merge(pickle.loads(pickle.dumps(part)))
    one.finish()
    first.finish()
    for a, b in zip(one.sample(), first.sample(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one.n, one.rows, one.bar) == (first.n, first.rows, first.bar)
    if of_labels:
        np.testing.assert_allclose(one.targets.classes()[2], first.targets.classes()[2])
    else:
        np.testing.assert_allclose([one.targets.mean, one.targets.std], [first.targets.mean, first.targets.std], rtol=1e-12)


def test_what_does_not_go_together():
    labels = LabelCounts()
    labels.number(np.array(["a"]))
    with message("y has the type int64, in the blocks before <U1"):
        labels.number(np.array([1]))
    found = told(np.zeros(10), size=10)
    with message("y has 2 columns, in the blocks before 1"):
        found.update(np.zeros((3, 1)), np.zeros((3, 2)))
    with message("there must be sample_weight in all blocks or in none"):
        found.update(np.zeros((3, 1)), np.zeros((3, 1)), None, np.ones(3))
    with message("X, y and sample_weight must have as many rows: X has 4 rows, y 3"):
        found.update(np.zeros((4, 1)), np.zeros((3, 1)))
    with message("all samples have weight 0"):
        told(np.zeros(10), np.zeros(10)).finish()
    with message("the stream has no blocks"):
        TableStatistics(0, None, "TabularRegressor").finish()
    with message("of one kind in all blocks"):
        found.merge(told(np.zeros(10), np.ones(10)))
    assert isinstance(found.targets, Moments)
