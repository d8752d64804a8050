"""Tabular estimators on streams of blocks: as on the whole table where that fits the sample, close to it where not."""

import pickle

import numpy as np
import pandas as pd
import pytest
from mixed_table import every_estimator, frame, labels, numbers
from sklearn.base import is_classifier
from table_makes import message, polars, pyarrow

from fastdnn import TabularClassifier, TabularRegressor, config_context
from fastdnn.callbacks import Callback
from fastdnn.data import ParquetSource
from fastdnn.predictor import load
from fastdnn.tabular import statistics
from fastdnn.tabular.streamed import StreamedEnsemble

FAST = {"preset": "fast", "epochs": 4, "random_state": 0}


@pytest.fixture
def small_sample(monkeypatch):
    """Of more than 800 rows a sample is taken, and one in ten is held out."""
    monkeypatch.setattr(statistics, "MOST_SAMPLED", 800)


def cut(size, *arrays):
    """A list of blocks of tables, targets and weights."""
    n = len(arrays[1])
    return [tuple(a[lo : lo + size] for a in arrays) for lo in range(0, n, size)]


def read(size, *arrays):
    """A function that gives a generator of them: blocks come in their order."""
    return lambda: iter(cut(size, *arrays))


def data(estimator, n):
    X, y = frame(n)
    return X, labels(y) if is_classifier(estimator()) else y


def same(a, b, X):
    return np.array_equal(numbers(a, X), numbers(b, X))


# ---------------------------------------------------------------- few rows


@every_estimator
@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_of_few_rows_the_fit_is_that_of_the_table(estimator, library):
    X, y = data(estimator, 400)
    frames = {"pandas": X}
    frames["polars"] = polars().from_pandas(X) if library == "polars" else None
    frames["arrow"] = pyarrow().Table.from_pandas(X) if library == "arrow" else None
    table = frames[library]
    blocks = [
        (table.slice(lo, 90) if library == "arrow" else table[lo : lo + 90], y[lo : lo + 90]) for lo in range(0, 400, 90)
    ]
    on_table, on_blocks = estimator(**FAST).fit(table, y), estimator(**FAST).fit(blocks)
    assert same(on_table, on_blocks, X)
    np.testing.assert_array_equal(on_blocks.oof_predictions_, on_table.oof_predictions_)
    assert on_blocks.feature_names_in_.tolist() == X.columns.tolist()
    assert on_blocks.validation_score_ == on_table.validation_score_
    np.testing.assert_array_equal(on_blocks.feature_importances_, on_table.feature_importances_)
    np.testing.assert_array_equal(on_blocks.predict(blocks), on_blocks.predict(table))
    assert same(on_table, estimator(**FAST).fit(iter(blocks)), X)  # a generator, which is read once


SETTINGS = {
    "multilabel": (TabularClassifier, {}, lambda y: np.stack([y > 0, y > 3], axis=1).astype(int)),
    "class_weight": (TabularClassifier, {"class_weight": "balanced"}, lambda y: np.digitize(y, [2, 3])),
    "two targets": (TabularRegressor, {}, lambda y: np.stack([y, -y], axis=1)),
    "quantiles": (TabularRegressor, {"quantiles": (0.1, 0.9)}, lambda y: y),
    "logarithms": (TabularRegressor, {"target_transform": "log"}, np.exp),
    "refit": (TabularRegressor, {"refit": True}, lambda y: y),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_settings_and_weights_of_few_rows(what):
    estimator, settings, targets = SETTINGS[what]
    X, y = frame(400)
    y, weight = targets(y), np.random.default_rng(0).uniform(0.5, 2, 400)
    weight[::7] = 0
    on_table = estimator(**FAST, **settings).fit(X, y, weight)
    on_blocks = estimator(**FAST, **settings).fit(cut(90, X, y, weight))
    assert same(on_table, on_blocks, X)
    np.testing.assert_array_equal(on_blocks.oof_predictions_, on_table.oof_predictions_)


# ---------------------------------------------------------------- many rows


@every_estimator
def test_same_bits_however_blocks_are_cut_on_any_number_of_threads(estimator, small_sample):
    X, y = data(estimator, 2000)
    found = []
    for size, threads in ((2000, 1), (300, 2), (77, 4)):
        with config_context(n_threads=threads):
            found.append(estimator(**FAST).fit(read(size, X, y)))
    assert all(same(found[0], other, X) for other in found[1:])
    assert len({(model.validation_score_, *model.feature_importances_) for model in found}) == 1
    assert not same(found[0], estimator(**{**FAST, "random_state": 1}).fit(read(300, X, y)), X)
    again = pickle.loads(pickle.dumps(found[0]))
    assert same(again, found[0], X)
    assert again.oof_predictions_ is None


def test_rows_that_are_held_out_are_never_trained_on_and_judge(small_sample, monkeypatch):
    X, y = frame(2000)
    X = pd.DataFrame({"x": np.arange(2000.0), "y": y})
    seen, held = [], []

    def fit(self, sample, rows, stream_of, counts):
        held.append(rows)
        for seed in (None, 1, 2):
            seen.append(np.concatenate([block.X for block in stream_of(self._recipes[0]).blocks(seed)]))
        assert stream_of(self._recipes[0]).n_samples == len(seen[-1])
        return whole(self, sample, rows, stream_of, counts)

    whole = StreamedEnsemble.fit
    monkeypatch.setattr(StreamedEnsemble, "fit", fit)
    model = TabularRegressor(**FAST).fit(cut(300, X, y))
    assert len(held[0]) == 200
    of_table = model._matrix(X)
    for rows in seen:
        together = np.concatenate([held[0], rows])
        np.testing.assert_array_equal(*(z[np.argsort(z[:, 0])] for z in (together, of_table)))
    assert not np.array_equal(seen[0], seen[1])  # another order of the blocks
    assert not np.array_equal(seen[1], seen[2])
    p = model.predict(X)[np.isin(of_table[:, 0], held[0][:, 0])]
    rest = y[np.isin(of_table[:, 0], held[0][:, 0])]
    assert model.validation_score_ == pytest.approx(np.sqrt(np.mean((p - rest) ** 2)))


def test_figures_of_all_rows_are_exact_and_what_comes_late_counts(small_sample):
    X, y = frame(3000)
    X, weight = X.drop(columns=["nothing"]), np.random.default_rng(0).uniform(0, 2, 3000)
    X["late"], X["gap"], X["kind"] = np.where(np.arange(3000) > 2990, "b", "a"), 1.0 + y, "one"
    X.loc[2995:, "gap"] = np.nan
    X.loc[2998:, "kind"] = "two"
    model = TabularRegressor(**FAST).fit(read(250, X, y, weight))
    scale, names = model._task._scales[False], model._reader.number_names_
    std = np.sqrt(np.cov(y, aweights=weight, ddof=0))
    np.testing.assert_allclose([scale.mean, scale.std], [[np.average(y, weights=weight)], [std]], rtol=1e-12)
    margin = 0.1 * (y.max() - y.min())
    np.testing.assert_allclose([scale.low, scale.high], [[y.min() - margin], [y.max() + margin]])
    assert set(np.array(names)[model._features._flagged]) == {"size", "gap"}
    assert model._reader.categories_[model._reader.category_names_.index("late")] == ["a", "b"]
    Z = model._matrix(X)
    for name in ("late", "kind"):  # rare, and there
        columns = np.flatnonzero(model._features.sources == X.columns.get_loc(name))
        assert (Z[2999, columns] != Z[0, columns]).all()
    street = model._reader.categories_[model._reader.category_names_.index("street")]
    assert street == sorted(set(X["street"]))


@every_estimator
def test_fits_of_20_000_rows_are_as_good_as_on_an_array(estimator, monkeypatch):
    monkeypatch.setattr(statistics, "MOST_SAMPLED", 5000)
    X, y = data(estimator, 24_000)
    train, test = slice(20_000), slice(20_000, None)
    settings = {"preset": "fast", "epochs": 16, "random_state": 0}
    on_array = estimator(**settings).fit(X[train], y[train])
    on_stream = estimator(**settings).fit(cut(3000, X[train], y[train]))
    if is_classifier(on_array):
        a, b = on_array.score(X[test], y[test]), on_stream.score(X[test], y[test])
        assert b > a - 0.005
        assert b > 0.93
    else:
        a, b = (np.sqrt(np.mean((model.predict(X[test]) - y[test]) ** 2)) for model in (on_array, on_stream))
        assert b < 1.03 * a
    assert on_stream.validation_score_ == pytest.approx(on_array.validation_score_, rel=0.15)
    assert set(np.argsort(on_stream.feature_importances_)[-3:]) == {0, 1, 2}


def test_several_recipes_and_networks_are_weighed(small_sample):
    X, y = frame(2000)
    model = TabularRegressor("balanced", epochs=4, random_state=0).fit(read(500, X, y))
    kinds = model.ensemble_.kinds
    assert sum(kind.weight for kind in kinds) == pytest.approx(1)
    assert all(len(kind.models) == 2 for kind in kinds)
    assert "all rows but 200" in model.summary()
    assert model.explain(X[:5]).shape == (5, 9)


def test_parquet_with_strings_categories_and_dates(tmp_path, small_sample):
    pa, pq = pyarrow(), pytest.importorskip("pyarrow.parquet")
    X, y = frame(2000)
    table = pa.Table.from_pandas(X.assign(city=X["city"].astype("category"), y=labels(y), w=1.0 + (y > 2)))
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=300)
    source = ParquetSource(str(tmp_path / "rows.parquet"), target="y", sample_weight="w", block_rows=128)
    clf = TabularClassifier(**FAST).fit(source)
    kinds = "number category datetime number boolean category number empty number"
    assert clf._reader.kinds_ == kinds.split()
    assert clf.classes_.tolist() == ["high", "low"]
    assert clf.score(X, labels(y)) > 0.9
    np.testing.assert_array_equal(clf.predict_proba(source), clf.predict_proba(X))
    assert (clf.predict(source) == clf.predict(X)).all()


@pytest.mark.parametrize("what", ["multilabel", "class_weight", "two targets", "quantiles", "logarithms"])
def test_settings_and_weights_of_many_rows(what, small_sample, tmp_path):
    estimator, settings, targets = SETTINGS[what]
    X, y = frame(2000)
    y, weight = targets(y), np.random.default_rng(0).uniform(0.5, 2, 2000)
    weight[::7] = 0
    settings = {**FAST, "epochs": 12, **settings}
    on_table = estimator(**settings).fit(X, y, weight)
    on_blocks = estimator(**settings).fit(read(300, X, y, weight))
    assert len(on_blocks.ensemble_.oof) == np.count_nonzero(weight) // 10
    if what == "quantiles":
        covered = np.average((on_blocks.predict(X)[:, 0] <= y) & (y <= on_blocks.predict(X)[:, 1]), weights=weight)
        assert 0.7 < covered < 0.9
    else:
        a, b = on_table.score(X, y), on_blocks.score(X, y)
        assert b > a - (0.1 if what == "multilabel" else 0.04)
    frozen = on_blocks.freeze()
    frozen.save(tmp_path / "table.fdnn")
    for other in (frozen, load(tmp_path / "table.fdnn")):
        np.testing.assert_allclose(numbers(other, X), numbers(on_blocks, X), rtol=1e-5, atol=1e-6)


def test_callbacks_a_time_limit_and_what_is_said(small_sample, capsys):
    X, y = frame(2000)
    epochs = []

    class Watch(Callback):
        def on_epoch_end(self, fit):
            epochs.append((fit.n, fit.history["val_error"][-1]))

    model = TabularRegressor(**FAST, callbacks=[Watch()], verbose=1).fit(read(300, X, y))
    assert [n for n, _ in epochs] == [1800] * len(model.ensemble_.histories[0]["loss"])
    assert min(error for _, error in epochs) == pytest.approx(model.validation_score_)
    assert "recipe 1, network 1: error" in capsys.readouterr().out
    model = TabularRegressor("best", random_state=0, time_limit=1e-3).fit(read(300, X, y))
    assert len(model.ensemble_.models) == 1
    assert len(model.ensemble_.histories[0]["loss"]) == 1


# ---------------------------------------------------------------- what is wrong


def changed(k, **columns):
    """Blocks of which number k has other columns."""
    X, y = frame(2000)
    blocks = cut(300, X, y)
    blocks[k] = (blocks[k][0].assign(**columns), blocks[k][1])
    return blocks


WRONG = {
    "another kind": (lambda: changed(3, size="large"), "block 3: column 'size' holds strings or categories, in the blocks"),
    "another column": (lambda: changed(4, extra=1.0), "block 4: column 'extra' of X was not there in fit: drop it"),
    "infinity": (lambda: changed(2, noise=np.inf), "block 2: X must hold finite or missing numbers, got inf in row 0"),
    "empty": (lambda: [*changed(0), (frame(10)[0][:0], np.zeros(0))], "block 7: Found array with 0 sample(s)"),
    "NaN in y": (lambda: [*changed(0), (frame(10)[0], np.full(10, np.nan))], "block 7: Input y contains NaN"),
    "rows": (lambda: [*changed(0), (frame(10)[0], np.zeros(9))], "block 7: X, y and sample_weight must have as many rows"),
    "a weight": (lambda: [*changed(0), (frame(10)[0], np.zeros(10), np.ones(10))], "block 7: there must be sample_weight"),
    "a number": (lambda: [*changed(0), 3], "block 7 must be a tuple (X, y)"),
    "nothing": (lambda: lambda: iter(()), "the stream has no blocks"),
    "a generator": (lambda: iter(changed(0)), "a generator can be read once, and more than 800 rows are read several times"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_names_the_block_and_changes_nothing(what, small_sample):
    make, text = WRONG[what]
    X, y = frame(2000)
    model = TabularRegressor(**{**FAST, "epochs": 1}).fit(X[:300], y[:300])
    before = model.predict(X)
    with message(text):
        model.fit(make())
    np.testing.assert_array_equal(model.predict(X), before)


def test_a_stream_must_give_the_same_each_time(small_sample):
    X, y = frame(2000)
    times = []

    def shorter():
        times.append(1)
        return iter(cut(300, X, y)[: 7 if len(times) == 1 else 6])

    with message("the stream has given 1,800 rows where it gave 2,000 when it was read first"):
        TabularRegressor(**FAST).fit(shorter)
    times.clear()

    def renamed():
        times.append(1)
        return iter(cut(300, X, labels(y) if len(times) == 1 else np.where(y > 2, "high", "new")))

    with message("block 0: y has the label 'new', which was not there when the stream was read first"):
        TabularClassifier(**FAST).fit(renamed)


def test_arguments_that_streams_do_not_take(small_sample):
    X, y = frame(2000)
    blocks = cut(300, X, y)
    with message("sample_weight cannot be given with a stream; give blocks (X, y, sample_weight)"):
        TabularRegressor(**FAST).fit(blocks, sample_weight=np.ones(2000))
    with message("refit must be None or False for a stream of so many rows"):
        TabularRegressor(**FAST, refit=True).fit(blocks)
    both = np.stack([y > 0, y > 3], axis=1).astype(int)
    with message("class_weight must be None for label indicators in a stream"):
        TabularClassifier(**FAST, class_weight="balanced").fit(cut(300, X, both))
    with message("block 0: Unknown label type: continuous. y must hold class labels"):
        TabularClassifier(**FAST).fit(blocks)
    with message("block 2: X lacks columns 'city', 'day'"):
        TabularRegressor(**FAST).fit(X[:300], y[:300]).predict([*blocks[:2], (X[["size"]], y)])
