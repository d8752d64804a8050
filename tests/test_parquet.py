"""ParquetSource: what is read, in which order, by whom, and what is said of what cannot be."""

import datetime
import pathlib
import pickle

import numpy as np
import pytest

from fastdnn import DNNClassifier, DNNRegressor, Model, layers
from fastdnn.callbacks import Callback, ModelCheckpoint
from fastdnn.data import ParquetSource

pa = pytest.importorskip("pyarrow")
ds = pytest.importorskip("pyarrow.dataset")
pq = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")
csv = pytest.importorskip("pyarrow.csv")

RNG = np.random.default_rng(0)
N = 1000
X = RNG.standard_normal((N, 3)).astype(np.float32)
Y = (X[:, 0] - X[:, 1] > 0).astype(np.int64)
WEIGHT = RNG.uniform(0.5, 2, N)


def table(**more):
    return pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": Y, "w": WEIGHT, **more})


@pytest.fixture
def path(tmp_path):
    pq.write_table(table(), tmp_path / "data.parquet", row_group_size=130)
    return str(tmp_path / "data.parquet")


def read(source, seed=None):
    return [(name, block) for name, block in source.numbered(seed)]


def model():
    return Model([layers.Dense(8, activation="relu"), layers.Dense(2)], loss="cross_entropy", random_state=0)


@pytest.mark.parametrize("block_rows", [50, 65536])
def test_blocks_are_the_rows_of_row_groups_in_their_order(path, block_rows):
    source = ParquetSource(path, ["a", "b", "c"], "y", "w", block_rows=block_rows)
    found = read(source)
    assert source.n_samples == N
    assert max(block.X.num_rows for _, block in found) == min(130, block_rows)
    assert np.array_equal(np.concatenate([block.X["b"].to_numpy() for _, block in found]), X[:, 1])
    assert np.array_equal(np.concatenate([block.y for _, block in found]), Y)
    assert np.array_equal(np.concatenate([block.sample_weight for _, block in found]), WEIGHT)
    assert found[-1][0].endswith("data.parquet, row group 7)")


def test_the_order_of_row_groups_is_the_seed_s(path):
    source = ParquetSource(path, ["a", "b", "c"], "y")
    orders = [[block.place for _, block in read(source, seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
    assert len(set(orders[0])) == 8


@pytest.mark.parametrize("form", ["file", "list", "folder", "dataset", "table", "feather", "csv"])
def test_what_data_may_be(path, tmp_path, form):
    given, settings = path, {}
    if form == "list":
        given = [path, path]
    elif form == "folder":
        ds.write_dataset(table(part=np.arange(N) % 3), tmp_path / "parts", format="parquet", partitioning=["part"],
                         partitioning_flavor="hive")  # fmt: skip
        given = str(tmp_path / "parts")
    elif form == "dataset":
        given = ds.dataset(path)
    elif form == "table":
        given = table()
    elif form == "feather":
        feather.write_feather(table(), tmp_path / "data.feather")
        given, settings = str(tmp_path / "data.feather"), {"format": "feather"}
    elif form == "csv":
        csv.write_csv(table(), tmp_path / "data.csv")
        given, settings = str(tmp_path / "data.csv"), {"format": "csv"}
    source = ParquetSource(given, ["a", "b", "c"], "y", **settings)
    rows = sorted(np.concatenate([block.X["a"].to_numpy() for _, block in read(source)]).tolist())
    assert np.allclose(rows, sorted(X[:, 0].tolist() * (2 if form == "list" else 1)))
    assert source.n_samples == len(rows)
    if form == "folder":
        assert ParquetSource(given, target="y").columns == ["a", "b", "c", "w", "part"]


def test_filters_leave_rows_out(path):
    source = ParquetSource(path, ["a", "b", "c"], "y", filter=ds.field("a") > 1)
    assert source.n_samples == (X[:, 0] > 1).sum()
    assert all((block.X["a"].to_numpy() > 1).all() for _, block in read(source))
    nothing = ParquetSource(path, ["a"], "y", filter=ds.field("a") > 100)
    with pytest.raises(ValueError, match="the stream has no blocks"):
        model().fit(nothing)


def test_a_model_and_estimators_train_on_a_file_as_on_arrays(path):
    source = ParquetSource(path, ["a", "b", "c"], "y", "w")
    a, b = model(), model()
    a.fit(X, Y, epochs=2, sample_weight=WEIGHT, shuffle=False)
    b.fit(source, epochs=2, shuffle=False, validation_data=source)
    assert np.array_equal(a.params, b.params)
    assert b.history["val_accuracy"][-1] == pytest.approx(b.evaluate(X, Y, WEIGHT)["accuracy"])
    assert np.array_equal(b.predict(source), b.predict(X))
    settings = {"hidden_layer_sizes": (8,), "epochs": 2, "shuffle": False, "random_state": 0}
    clf = DNNClassifier(**settings).fit(source)
    expected = DNNClassifier(**settings).fit(X, Y, WEIGHT)
    assert np.array_equal(clf.model_.params, expected.model_.params)
    assert clf.feature_names_in_.tolist() == ["a", "b", "c"]
    assert np.array_equal(clf.predict(ParquetSource(path, ["a", "b", "c"])), expected.predict(X))
    with pytest.raises(ValueError, match="X must have the columns of the fit"):
        clf.predict(ParquetSource(path, ["b", "a", "c"]))
    reg = DNNRegressor(**settings).fit(ParquetSource(path, ["a", "b"], ["c", "w"]))
    expected = DNNRegressor(**settings).fit(X[:, :2], np.stack([X[:, 2], WEIGHT], axis=1))
    np.testing.assert_allclose(reg.predict(table().select(["a", "b"])), expected.predict(X[:, :2]), atol=1e-5)


def test_images_in_a_column_of_lists(tmp_path):
    pixels = RNG.integers(0, 256, (200, 16), dtype=np.uint8)
    column = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 16)
    pq.write_table(pa.table({"image": column, "y": Y[:200]}), tmp_path / "i.parquet", row_group_size=70)
    stack = [layers.Reshape((4, 4, 1)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]
    a, b = (Model(stack, loss="cross_entropy", random_state=0) for _ in range(2))
    a.fit(pixels, Y[:200], shuffle=False)
    b.fit(ParquetSource(str(tmp_path / "i.parquet"), ["image"], "y"), shuffle=False)
    assert np.array_equal(a.params, b.params)


COLUMNS = {
    "integers": pa.array(np.arange(N)),
    "small": pa.array(np.arange(N) % 100, pa.int8()),
    "boolean": pa.array(np.arange(N) % 2 == 0),
    "decimal": pa.array([1] * N, pa.decimal128(6, 2)),
    "half": pa.array(np.ones(N, np.float16)),
    "dictionary": pa.array(np.arange(N) % 7).dictionary_encode(),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_numbers(kind):
    source = ParquetSource(table(x=COLUMNS[kind]), ["a", "x"], "y")
    expected = np.stack([X[:, 0], np.array(COLUMNS[kind].to_pylist(), float)], axis=1)
    a, b = model(), model()
    with np.errstate(all="ignore"):
        a.fit(expected / 1000, Y, shuffle=False)
    found = np.concatenate([b.build(2).forward(block.X) for _, block in read(source)])
    np.testing.assert_allclose(found, b.forward(expected), rtol=1e-5, atol=1e-5)


REFUSED = {
    "strings": (pa.array(["x"] * N), "column 'x' must hold numbers, got string"),
    "dates": (pa.array([datetime.date(2026, 1, 1)] * N), "column 'x' must hold numbers, got date32"),
    "gaps": (pa.array([None] + [1.0] * (N - 1)), "block 0.*NaN"),
    "empty": (pa.nulls(N), "column 'x' must hold numbers, got null"),
    "infinity": (pa.array([1.0] * (N - 1) + [np.inf]), "block 0.*infinity"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_columns_that_are_refused_by_name(kind):
    column, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        model().fit(ParquetSource(table(x=column), ["a", "x"], "y"))


def test_targets_in_lists():
    both = np.stack([X[:, 2], WEIGHT], axis=1)
    given = table(fixed=pa.FixedSizeListArray.from_arrays(pa.array(both.ravel()), 2), free=pa.array([[1.0]] * N))
    a, b = (DNNRegressor(hidden_layer_sizes=(8,), epochs=1, shuffle=False, random_state=0) for _ in range(2))
    a.fit(X[:, :2], both)
    b.fit(ParquetSource(given, ["a", "b"], "fixed"))
    assert np.array_equal(a.predict(X[:, :2]), b.predict(table().select(["a", "b"])))
    with pytest.raises(ValueError, match="column 'free' must hold numbers, got list"):
        b.fit(ParquetSource(given, ["a", "b"], "free"))


def test_files_are_looked_for_once_an_epoch(tmp_path, monkeypatch):
    for number in range(30):
        pq.write_table(table().slice(number, 1), tmp_path / f"{number}.parquet")
    source, looked = ParquetSource(str(tmp_path), ["a"], "y"), []
    dataset = source._dataset
    monkeypatch.setattr(source, "_dataset", lambda: looked.append(1) or dataset())
    assert len(read(source)) == 30
    assert len(looked) == 1
    assert len(list(source.target_blocks())) == 30
    assert len(looked) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ["a", "z"]}, "there is no column 'z'"),
        ({"target": "z"}, "there is no column 'z'"),
        ({"sample_weight": "z"}, "there is no column 'z'"),
        ({"columns": []}, "columns must name at least one"),
        ({"block_rows": 0}, "block_rows must be"),
    ],
)
def test_arguments_that_are_refused(path, settings, message):
    with pytest.raises(ValueError, match=message):
        ParquetSource(path, **{"target": "y", **settings})


def test_a_source_can_be_pickled_and_is_short_in_words(path):
    source = pickle.loads(pickle.dumps(ParquetSource(path, ["a", "b", "c"], "y")))
    assert len(read(source)) == 8
    assert repr(source) == "ParquetSource(columns=['a', 'b', 'c'], target='y')"


def test_a_damaged_file_is_an_error_with_its_block_and_the_checkpoint_before_it_loads(path, tmp_path):
    whole = model()
    settings = {"shuffle": False, "batch_size": 10, "shuffle_buffer": 100}
    whole.fit(ParquetSource(path, ["a", "b", "c"], "y"), **settings)
    data = bytearray(pathlib.Path(path).read_bytes())
    metadata = pq.ParquetFile(path).metadata.row_group(6).column(1)
    start = metadata.dictionary_page_offset or metadata.data_page_offset
    data[start : start + 40] = bytes(40)
    (tmp_path / "damaged.parquet").write_bytes(data)
    last = tmp_path / "last.fdnn"
    stopped = model()
    with pytest.raises(OSError, match=r"(?s).") as caught:
        stopped.fit(
            ParquetSource(str(tmp_path / "damaged.parquet"), ["a", "b", "c"], "y"),
            callbacks=[ModelCheckpoint(last, best_only=False, seconds=0)], **settings,
        )  # fmt: skip
    assert caught.value.__notes__[0].endswith("damaged.parquet, row group 6")
    assert "block 6" in caught.value.__notes__[1]
    resumed = Model.load(last)
    assert 0 < resumed.step < whole.step
    resumed.fit(ParquetSource(path, ["a", "b", "c"], "y"), resume=True, **settings)
    assert np.array_equal(resumed.params, whole.params)


def test_memory_stays_within_the_buffer(path):
    sizes = []

    class Watch(Callback):
        def on_turn(self, fit):
            sizes.append(fit.training.source.n)

    model().fit(ParquetSource(path, ["a", "b", "c"], "y"), batch_size=10, shuffle_buffer=100, callbacks=[Watch()])
    assert set(sizes) == {150}
