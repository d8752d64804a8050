"""Streams at their edges: readers that go on using their arrays, blocks of no weight, early ends, the end of an epoch."""

import gc
import threading
import weakref

import numpy as np
import pytest
import scipy.sparse

from fastdnn import Autoencoder, DNNClassifier, DNNRegressor, Model, TabularRegressor, layers
from fastdnn.callbacks import Callback, ModelCheckpoint
from fastdnn.data import BlockSource
from fastdnn.data.buffer import ShuffleBuffer
from fastdnn.data.places import Samples, places_for
from fastdnn.optimizers import Adam
from fastdnn.schedules import OneCycle
from fastdnn.sources import Source

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1003, 6)).astype(np.float32)
y = X[:, 0] - X[:, 1] ** 2
WEIGHTS = np.where(np.arange(1003) < 150, 0.0, RNG.uniform(0.5, 2, 1003))


def regressor(**settings):
    return Model([layers.Dense(8, activation="tanh"), layers.Dense(1)], random_state=3, **settings)


def blocks(size, *arrays):
    return [tuple(a[lo : lo + size] for a in arrays or (X, y)) for lo in range(0, 1003, size)]


class Counted(BlockSource):
    """A stream that knows its length."""

    n_samples = 1003

    def blocks(self, seed=None):
        return iter(blocks(77))


def reused():
    """Blocks that are all in the same arrays."""
    samples, targets = np.empty((59, 6), np.float32), np.empty(59)
    for lo in range(0, 1003, 59):
        samples[...], targets[...] = X[lo : lo + 59], y[lo : lo + 59]
        yield samples, targets


def test_a_reader_may_use_its_arrays_again():
    a, b = regressor(), regressor()
    settings = {"epochs": 2, "shuffle_buffer": 200, "batch_size": 16}
    history = a.fit(reused, validation_data=reused, **settings)
    b.fit(lambda: iter(blocks(59)), **settings)
    assert np.array_equal(a.params, b.params)
    assert a.evaluate(reused) == pytest.approx(a.evaluate(X, y))
    assert history["val_r2"][-1] == pytest.approx(a.evaluate(X, y)["r2"])
    assert np.array_equal(a.predict(reused), a.predict(X))


@pytest.mark.parametrize(("n", "buffer", "batch", "size"), [(1003, 200, 16, 77), (960, 192, 32, 96), (37, 64, 16, 5)])
def test_the_order_is_that_of_an_independent_shuffle_buffer(n, buffer, batch, size):
    a, b = regressor(), regressor()
    a.fit(lambda: (block for block in blocks_of(n, size)), epochs=2, batch_size=batch, shuffle_buffer=buffer)
    for epoch in range(2):
        order = shuffled(n, 3, epoch, max(1, buffer // 2 // batch) * batch)
        assert sorted(order) == list(range(n))
        b.fit(X[order], y[order], batch_size=batch, shuffle=False)
    assert np.array_equal(a.params, b.params)


def blocks_of(n, size):
    for lo in range(0, n, size):
        yield X[lo : min(n, lo + size)], y[lo : min(n, lo + size)]


def shuffled(n, seed, epoch, part):
    """The samples of an epoch as the head of fastdnn/data/buffer.py describes it, with lists of places."""
    holds, order, read, waiting, turn = {}, [], 0, [], 0
    filling, spare = list(range(2 * part)), list(range(2 * part, 3 * part))
    while True:
        came = filling[: n - read]
        holds.update(zip(came, range(read, n), strict=False))
        read, over = read + len(came), len(came) < len(filling)
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 8, (epoch << 32) + turn])))
        pool = random.permutation(np.array(waiting + came, int)).tolist()
        size = len(pool) if over else part
        order += [holds[place] for place in pool[:size]]
        if over:
            return order
        waiting, filling, spare, turn = pool[size:], spare, sorted(pool[:size]), turn + 1


@pytest.mark.parametrize("size", [1, 50, 1003])
def test_blocks_in_which_no_sample_counts(size):
    a, b = regressor(), regressor()
    expected = a.fit(X, y, sample_weight=WEIGHTS, shuffle=False, batch_size=16)
    found = b.fit(blocks(size, X, y, WEIGHTS), shuffle=False, batch_size=16, shuffle_buffer=64)
    assert np.array_equal(a.params, b.params)
    assert found["loss"] == pytest.approx(expected["loss"])
    assert b.evaluate(blocks(size, X, y, WEIGHTS)) == pytest.approx(a.evaluate(X, y, WEIGHTS))
    with pytest.raises(ValueError, match="all samples of the stream have the weight 0"):
        a.evaluate(blocks(50, X, y, 0 * WEIGHTS))


def test_blocks_in_which_no_sample_counts_and_estimators():
    settings = {"hidden_layer_sizes": (8,), "epochs": 1, "random_state": 0}
    a = DNNRegressor(shuffle=False, **settings).fit(X, y, WEIGHTS)
    b = DNNRegressor(shuffle=False, **settings).fit(blocks(50, X, y, WEIGHTS))
    assert np.array_equal(a.model_.params, b.model_.params)
    made = [TabularRegressor(epochs=1, n_models=1, random_state=0).fit(blocks(size, X, y, WEIGHTS)) for size in (50, 1003)]
    assert np.array_equal(*(t.predict(X) for t in made))


def test_class_weights_of_classes_that_a_block_lacks():
    numbers, weight = np.repeat([0, 1, 2], [400, 300, 303]), {0: 0.0, 1: 0.0, 2: 2.0}
    made = [Model([layers.Dense(3)], loss="cross_entropy", random_state=0) for _ in range(2)]
    made[0].fit(X, numbers, shuffle=False, class_weight=weight)
    made[1].fit(blocks(100, X, numbers), shuffle=False, class_weight=weight)
    assert np.array_equal(made[0].params, made[1].params)


@pytest.mark.parametrize("make", [list, iter], ids=["list", "iterator"])
def test_none_is_no_end(make):
    with pytest.raises(ValueError, match=r"block 2 must be a tuple .* got a NoneType"):
        regressor().fit(make([*blocks(100)[:2], None, *blocks(100)[2:]]), shuffle=False)


def test_lists_of_lists_are_samples():
    model = Model([layers.Conv1D(4, 2), layers.Flatten(), layers.Dense(1)], random_state=0).build((3, 2))
    series = X[:5].reshape(5, 3, 2)
    assert np.array_equal(model.predict(series.tolist()), model.predict(series))
    assert np.array_equal(
        model.predict([list(block) for block in blocks(100, X.reshape(-1, 3, 2), y)])[:5], model.predict(series)
    )


def test_a_generator_goes_on_with_a_fit():
    a, b = regressor(), regressor()
    a.fit(reused, epochs=2)
    b.fit(reused())
    b.fit(reused(), epochs=2, resume=True)
    assert np.array_equal(a.params, b.params)
    with pytest.raises(ValueError, match="epochs must be 3 for a generator, which can be read once, got 4"):
        b.fit(reused(), epochs=4, resume=True)


class Keep(Callback):
    """Saves the model after each turn, as a process that is killed there leaves it."""

    comes_last = True

    def __init__(self, folder):
        self.folder, self.paths = folder, []

    def on_turn(self, fit):
        self.paths.append(self.folder / f"{len(self.paths)}.fdnn")
        fit.model.save(self.paths[-1])


@pytest.mark.parametrize("optimizer", [Adam(0.01), Adam(OneCycle(0.01))], ids=["constant", "schedule"])
def test_a_fit_goes_on_after_the_last_turn_of_an_epoch(tmp_path, optimizer):
    keep, whole, settings = Keep(tmp_path), regressor(optimizer=optimizer), {"batch_size": 16, "shuffle_buffer": 200}
    expected = whole.fit(Counted(), epochs=3, callbacks=[keep], **settings)
    turns = len(keep.paths) // 3
    for path in (keep.paths[turns - 2], keep.paths[turns - 1], keep.paths[-1]):
        resumed = Model.load(path)
        found = resumed.fit(Counted(), epochs=3, resume=True, **settings)
        assert np.array_equal(resumed.params, whole.params)
        assert found["rate"] == expected["rate"]
        assert found["loss"] == expected["loss"]


def test_a_fit_that_goes_on_needs_turns_of_the_same_size(tmp_path):
    keep = Keep(tmp_path)
    regressor().fit(Counted(), batch_size=16, shuffle_buffer=200, callbacks=[keep])
    with pytest.raises(ValueError, match="3 turns of its shuffle buffer with 288 samples; now a turn has 48: give shuffle_b"):
        Model.load(keep.paths[2]).fit(Counted(), batch_size=16, shuffle_buffer=100, resume=True)


def test_checkpoints_within_epochs_count_among_those_that_are_kept(tmp_path):
    seen = []

    class Look(Callback):
        comes_last = True

        def on_turn(self, fit):
            seen.append(sorted(path.name for path in tmp_path.iterdir()))

    checkpoint = ModelCheckpoint(tmp_path / "{epoch}-{loss:.2f}.fdnn", best_only=False, seconds=0, every=2)
    model = regressor()
    model.fit(blocks(50), epochs=4, batch_size=16, shuffle_buffer=200, callbacks=[checkpoint, Look()])
    assert all(len(names) == 1 for names in seen)
    assert {names[0].split("-")[0] for names in seen} == {"1", "2", "3", "4"}
    assert [path.name for path in tmp_path.iterdir()] == [f"4-{model.history['loss'][-1]:.2f}.fdnn"]


def test_a_stream_is_closed_where_a_fit_ends_early_and_nothing_is_read_after_it():
    closed, read = threading.Event(), []

    def blocks_without_end():
        try:
            while True:
                read.append(1)
                yield X, y
        finally:
            closed.set()

    class Stop(Callback):
        def on_turn(self, fit):
            return "enough"

    model = regressor()
    history = model.fit(blocks_without_end, epochs=3, batch_size=16, shuffle_buffer=8000, callbacks=[Stop()])
    assert history.stopped == "enough"
    assert closed.wait(5)
    assert len(read) < 20
    assert not [thread for thread in threading.enumerate() if thread.name == "fastdnn-ahead"]


@pytest.mark.parametrize("mixup", [0.0, 0.3])
def test_the_buffer_is_let_go_at_the_end_of_a_fit(monkeypatch, mixup):
    kept, opened = [], ShuffleBuffer.open

    def noted(self, *args):
        found = opened(self, *args)
        kept.append(weakref.ref(self.places.source.arrays[0]))
        return found

    monkeypatch.setattr(ShuffleBuffer, "open", noted)
    gc.disable()
    try:
        regressor().fit(blocks(77), mixup=mixup)
        assert kept[0]() is None
    finally:
        gc.enable()


def test_the_buffer_of_sparse_samples_is_measured_by_many():
    rows = scipy.sparse.csr_array(np.where(np.arange(1003)[:, None] > 0, 1.0, 0.0) * np.ones((1, 500), np.float32))
    places = places_for(Samples(Source(rows, "float32"), np.zeros(1003, np.float32), None), 1, 1)
    assert places.row_bytes > 500 * 12 * 0.9  # a number and an index of 8 bytes; the first row has none


WRONG = {
    "missing": (np.array(["a", None, "b"], object), "block 1: y contains missing values"),
    "NaN": (np.array([0.0, np.nan, 1.0]), "block 1: Input y contains NaN"),
    "numbers": (np.array([0.5, 1.5, 1.0]), "block 1: y must hold class labels, got float64 like .*0.5"),
    "other type": (np.array([1, 2, 3]), "block 1: y has the label 1, the blocks before 'a': give all one type"),
    "none": (None, r"block 1: y must hold class labels of shape \(n,\), got shape \(\)"),
}


@pytest.mark.parametrize("what", WRONG)
def test_labels_that_are_none_name_their_block(what):
    labels, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        DNNClassifier(epochs=1).fit([(X[:3], np.array(["a", "b", "a"])), (X[:3], labels)])


def test_weights_that_do_not_fit_labels_name_their_block():
    with pytest.raises(ValueError, match=r"block 1: sample_weight\.shape"):
        DNNClassifier(epochs=1).fit([(X[:3], [0, 1, 0], np.ones(3)), (X[:3], [0, 1, 0], np.ones(2))])


def test_arrays_are_validated_with_streams_that_can_be_read_again():
    model, wanted = regressor(), "validation_data must be read after each epoch, and a generator can be read once"
    found = model.fit(X, y, epochs=2, validation_data=blocks(100))
    assert found["val_loss"][-1] == pytest.approx(model.evaluate(X, y)["loss"])
    for data in ((X, y), (blocks(100),)):
        with pytest.raises(ValueError, match=wanted):
            model.fit(*data, epochs=2, validation_data=reused())
        with pytest.raises(ValueError, match="scoring needs validation_data that are arrays"):
            model.fit(*data, validation_data=blocks(100), scoring="r2")
    assert model.epochs == 2


def test_another_optimizer_in_the_middle_of_an_epoch():
    class Swap(Callback):
        def on_turn(self, fit):
            if fit.epoch == 1:
                fit.model.optimizer = "sgd"

    model = regressor()
    history = model.fit(Counted(), epochs=3, batch_size=16, shuffle_buffer=200, callbacks=[Swap()])
    assert len(history["loss"]) == model.epochs == 3
    assert np.isfinite(history["loss"]).all()
    assert model.step == 63  # of the last epoch


def test_what_a_stream_raises_has_one_note():
    def broken():
        yield X, y
        raise OSError("gone")

    with pytest.raises(OSError, match="gone") as caught:
        DNNRegressor(epochs=1).fit(broken)
    assert caught.value.__notes__ == ["raised by the stream, which was to give its block 1"]


def test_lengths_of_blocks_count_in_predictions():
    series, lengths = X[:, :, None], RNG.integers(1, 7, 1003)
    model = Model([layers.GRU(4), layers.Dense(1)], random_state=0).build((6, 1))
    stream = blocks(100, series, y, WEIGHTS, lengths)
    assert np.array_equal(model.predict(stream), model.predict(series, lengths))
    assert np.array_equal(model.forward(stream, layer=0), model.forward(series, 0, lengths))
    assert not np.array_equal(model.predict(stream), model.predict(series))
    clf = DNNClassifier([layers.GRU(4)], epochs=1, random_state=0).fit(
        blocks(100, series, np.arange(1003) % 3, WEIGHTS, lengths)
    )
    expected = clf.model_.predict(series, lengths)
    assert np.array_equal(clf.predict_proba(stream), expected)
    assert np.array_equal(clf.predict(stream), expected.argmax(axis=1))
    for given in ({"lengths": lengths}, {"out": np.empty((1003, 1), np.float32)}):
        with pytest.raises(ValueError, match=f"{next(iter(given))} cannot be given with a stream"):
            model.predict(stream, **given)
    with pytest.raises(ValueError, match="sample_weight cannot be given with a stream: give blocks"):
        model.evaluate(stream, sample_weight=WEIGHTS)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Autoencoder(epochs=1).fit(Counted()),
        lambda: regressor().train_on_batch(Counted(), y),
        lambda: DNNRegressor(epochs=1).fit(X, y).transform(Counted()),
    ],
)
def test_who_takes_no_streams_says_so(call):
    with pytest.raises(ValueError, match=r"X is a stream of blocks, which `fit` and `predict` of Model, DNN.*needs an array"):
        call()
