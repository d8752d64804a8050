"""Fits on streams of blocks: the same as on arrays, whatever the blocks, the kind of samples and the place of a restart."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

from fastdnn import Model, layers
from fastdnn.callbacks import Callback
from fastdnn.data import BlockSource

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1000, 6)).astype(np.float32)
y = (X[:, 0] * X[:, 1] > 0).astype(int)
IDS = RNG.integers(1, 20, (1000, 7))
LENGTHS = RNG.integers(1, 8, 1000)
WEIGHTS = RNG.uniform(0.5, 2, 1000)


def classifier(first=(), **settings):
    return Model(
        [*first, layers.Dense(16, activation="relu"), layers.Dense(2)], loss="cross_entropy", random_state=0, **settings
    )


def blocks(size, *arrays):
    arrays = arrays or (X, y)
    return [tuple(None if a is None else a[lo : lo + size] for a in arrays) for lo in range(0, 1000, size)]


class Counted(BlockSource):
    """A stream that knows its length."""

    n_samples = 1000

    def __init__(self, given):
        self.given = given

    def blocks(self, seed=None):
        return iter(self.given)


SAMPLES = {
    "float32": (X, ()),
    "float64": (X.astype(float), ()),
    "fortran": (np.asfortranarray(X), ()),
    "uint8": ((40 * X + 128).clip(0, 255).astype(np.uint8), (layers.Rescaling(1 / 40, -3.2),)),
    "csr": (scipy.sparse.csr_array(X * (np.abs(X) > 1)), ()),
    "ids": (IDS, (layers.Embedding(20, 4), layers.GlobalAvgPool1D())),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_without_shuffling_a_stream_gives_the_bits_of_an_array(kind):
    samples, first = SAMPLES[kind]
    a, b = classifier(first), classifier(first)
    expected = a.fit(samples, y, epochs=2, batch_size=16, shuffle=False)
    found = b.fit(blocks(130, samples, y), epochs=2, batch_size=16, shuffle=False, shuffle_buffer=100)
    assert np.array_equal(a.params, b.params)
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-12)


@pytest.mark.parametrize("kind", SAMPLES)
def test_how_a_stream_is_cut_into_blocks_changes_nothing(kind):
    samples, first = SAMPLES[kind]
    models = [classifier(first) for _ in range(3)]
    histories = [
        model.fit(lambda size=size: blocks_of(size, samples), epochs=2, batch_size=16, shuffle_buffer=200)
        for model, size in zip(models, (1000, 77, 1), strict=True)
    ]
    assert all(np.array_equal(models[0].params, model.params) for model in models[1:])
    assert histories[0]["loss"] == histories[1]["loss"] == histories[2]["loss"]


def blocks_of(size, samples):
    yield from blocks(size, samples, y)


def test_each_sample_comes_once_an_epoch_in_another_order_from_all_of_the_buffer():
    seen = []

    class Watch(Callback):
        def on_turn(self, fit):
            seen.append(np.rint(1000 * fit.training.source.arrays[0][fit.feed.rows, 0]).astype(int))

    numbers = np.repeat(np.arange(1000, dtype=np.float32)[:, None], 2, axis=1)
    Model([layers.Dense(1)], optimizer="sgd", random_state=0).fit(
        lambda: blocks_of_numbers(numbers), epochs=2, batch_size=10, shuffle_buffer=200, callbacks=[Watch()]
    )
    whole = np.concatenate(seen)
    assert len(whole) == 2000
    for epoch in (whole[:1000], whole[1000:]):
        assert sorted(epoch) == list(range(1000))
    assert not np.array_equal(whole[:1000], whole[1000:])
    assert all(len(turn) % 10 == 0 and len(turn) >= 100 for turn in seen)
    distance = whole[:1000] - np.arange(1000)
    assert 60 < np.abs(distance).mean() < 200  # moved by about the buffer
    assert distance.min() < -150  # some wait for long


def blocks_of_numbers(numbers):
    for lo in range(0, 1000, 90):
        yield numbers[lo : lo + 90] / 1000, np.zeros(len(numbers[lo : lo + 90]))


def test_a_list_has_its_blocks_in_another_order_each_epoch():
    first = []

    class Watch(Callback):
        def on_turn(self, fit):
            first.append(fit.training.source.arrays[0][fit.feed.rows, 0].mean())

    data = [(np.full((50, 1), k, np.float32), np.zeros(50)) for k in range(20)]
    for _ in range(2):
        model = Model([layers.Dense(1)], optimizer="sgd", random_state=1)
        model.fit(data, epochs=1, batch_size=10, shuffle_buffer=20, callbacks=[Watch()])
    assert first[: len(first) // 2] == first[len(first) // 2 :]  # the same seed, the same order
    assert first != sorted(first)  # and not that of the list


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_weights_and_lengths_come_in_blocks(weights, lengths):
    a, b = (classifier((layers.Embedding(20, 4), layers.LSTM(5))) for _ in range(2))
    given = {"sample_weight": weights, "lengths": lengths}
    a.fit(IDS, y, epochs=2, batch_size=50, shuffle=False, **given)
    b.fit(blocks(130, IDS, y, weights, lengths), epochs=2, batch_size=50, shuffle=False, shuffle_buffer=100)
    assert np.array_equal(a.params, b.params)


def test_class_weight_and_mixup():
    a, b = classifier(), classifier()
    a.fit(X, y, epochs=1, shuffle=False, class_weight={0: 3.0, 1: 1.0})
    b.fit(blocks(130), epochs=1, shuffle=False, class_weight={0: 3.0})
    assert np.array_equal(a.params, b.params)
    with pytest.raises(ValueError, match="class_weight='balanced' needs all samples at once"):
        b.fit(blocks(130), class_weight="balanced")
    one, other = classifier(), classifier()
    for model, size in ((one, 130), (other, 1000)):
        model.fit(lambda size=size: blocks_of(size, X), epochs=2, mixup=0.4, shuffle_buffer=300)
    assert np.array_equal(one.params, other.params)
    assert not np.array_equal(one.params, a.params)


def test_validation_evaluation_and_predictions_of_streams():
    a = classifier()
    history = a.fit(blocks(130), epochs=2, validation_data=blocks(77))
    expected = a.evaluate(X, y)
    np.testing.assert_allclose(history["val_loss"][-1], expected["loss"], rtol=1e-12)
    assert history["val_accuracy"][-1] == pytest.approx(expected["accuracy"])
    assert np.array_equal(a.predict(blocks(130)), a.predict(X))
    assert np.array_equal(a.forward(blocks(130)), a.forward(X))
    b = Model([layers.Dense(4, activation="tanh"), layers.Dense(1)], random_state=0)
    b.fit(blocks(130, X, X[:, 0] ** 2, WEIGHTS), epochs=2, validation_data=(X, X[:, 0] ** 2, WEIGHTS))
    found, expected = b.evaluate(blocks(77, X, X[:, 0] ** 2, WEIGHTS)), b.evaluate(X, X[:, 0] ** 2, WEIGHTS)
    assert found == pytest.approx(expected)
    steps, y_steps = X[:, :, None], np.sin(X)
    c = Model([layers.GRU(3, return_sequences=True), layers.Dense(1)], random_state=0).build((6, 1))
    lengths = np.minimum(LENGTHS, 6)
    found = c.evaluate(blocks(77, steps, y_steps, WEIGHTS, lengths))
    assert found == pytest.approx(c.evaluate(steps, y_steps, WEIGHTS, lengths))


@pytest.mark.parametrize("optimizer", ["adam", "schedule_free_adamw", "sgd"])
@pytest.mark.parametrize("kind", ["float32", "csr"])
def test_a_fit_goes_on_in_the_middle_of_an_epoch_with_the_same_bits(tmp_path, kind, optimizer):
    samples, _ = SAMPLES[kind]
    source, path, turns = Counted(blocks(77, samples, y)), tmp_path / "model.fdnn", []
    settings = {"batch_size": 16, "shuffle_buffer": 200}
    whole = classifier(optimizer=optimizer)
    expected = whole.fit(source, epochs=3, **settings)

    class SaveAndStop(Callback):
        def on_turn(self, fit):
            turns.append(fit.model.step)
            if len(turns) == 14:
                fit.model.save(path)
                raise KeyboardInterrupt

    stopped = classifier(optimizer=optimizer)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(source, epochs=3, callbacks=[SaveAndStop()], **settings)
    assert 0 < stopped.step % 63  # in the middle
    loaded = Model.load(path)
    assert loaded.step == stopped.step < whole.step
    with pytest.raises(ValueError, match="in the middle of an epoch of a stream"):
        loaded.fit(samples, y, epochs=3, resume=True)
    history = loaded.fit(source, epochs=3, resume=True, **settings)
    assert np.array_equal(loaded.params, whole.params)
    assert history["loss"] == expected["loss"]
    assert loaded.step == whole.step


KILLED = """
import os, signal, sys
import numpy as np
from fastdnn.callbacks import Callback, ModelCheckpoint
sys.path.insert(0, os.path.dirname({here!r}))
from test_streams import Counted, blocks, classifier

class Kill(Callback):
    comes_last = True

    def on_turn(self, fit):
        if fit.model.step > 70:
            os.kill(os.getpid(), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

classifier().fit(
    Counted(blocks(77)), epochs=3, batch_size=16, shuffle_buffer=200,
    callbacks=[ModelCheckpoint({path!r}, best_only=False, seconds=0), Kill()],
)
"""


def test_a_process_that_is_killed_is_gone_on_with(tmp_path):
    path = str(tmp_path / "last.fdnn")
    killed = subprocess.run([sys.executable, "-c", KILLED.format(here=__file__, path=path)], capture_output=True, text=True)
    assert killed.returncode not in (0, 1), killed.stderr
    whole, resumed = classifier(), Model.load(path)
    assert 63 < resumed.step < 126
    for model, resume in ((whole, False), (resumed, True)):
        model.fit(Counted(blocks(77)), epochs=3, batch_size=16, shuffle_buffer=200, resume=resume)
    assert np.array_equal(resumed.params, whole.params)
    assert resumed.history["loss"] == whole.history["loss"]


def test_a_resumed_fit_needs_as_many_samples_as_before(tmp_path):
    path = tmp_path / "model.fdnn"

    class Save(Callback):
        def on_turn(self, fit):
            fit.model.save(path)

    classifier().fit(blocks(77), epochs=1, batch_size=16, shuffle_buffer=100, callbacks=[Save()])
    with pytest.raises(ValueError, match="the stream has ended after 77 samples, before the place"):
        Model.load(path).fit(blocks(77)[:1], epochs=1, batch_size=16, shuffle_buffer=100, resume=True)


def test_schedules_need_a_length():
    from fastdnn.optimizers import Adam
    from fastdnn.schedules import OneCycle

    a, b = (classifier(optimizer=Adam(OneCycle(0.01))) for _ in range(2))
    with pytest.raises(ValueError, match="does not say how many samples it has"):
        a.fit(blocks(130), epochs=2)
    a.fit(Counted(blocks(130)), epochs=2, shuffle=False)
    b.fit(X, y, epochs=2, shuffle=False)
    assert np.array_equal(a.params, b.params)


def test_generators_of_one_pass():
    a, b = classifier(), classifier()
    a.fit(blocks_of(130, X), shuffle_buffer=200)
    b.fit(lambda: blocks_of(130, X), shuffle_buffer=200)
    assert np.array_equal(a.params, b.params)
    with pytest.raises(ValueError, match="epochs must be 1 for a generator"):
        a.fit(blocks_of(130, X), epochs=2)


def test_slices_tell_how_much_of_the_epoch_is_done():
    shares = []

    class Slices(Callback):
        def on_slice(self, fit, done):
            shares.append(done)

    data = Counted([(np.tile(X, (40, 1)), np.tile(y, 40)) for _ in range(5)])
    data.n_samples = 200_000
    classifier().fit(data, epochs=1, batch_size=8, callbacks=[Slices()], shuffle_buffer=50_000)
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


WRONG = {
    "no tuple": (lambda: X[:50], "block 2 must be a tuple"),
    "one": (lambda: (X[:50],), "block 2 must be a tuple .* got a tuple of 1"),
    "features": (lambda: (X[:50, :3], y[:50]), r"block 2: X must hold samples of shape \(6,\), got \(3,\)"),
    "rows": (lambda: (X[:50], y[:49]), "block 2: y must have one target for each of the 50 samples"),
    "NaN": (lambda: (np.where(X[:50] > 1, np.nan, X[:50]), y[:50]), "block 2: .*NaN"),
    "classes": (lambda: (X[:50], y[:50] + 7), "block 2: .*class"),
    "texts": (lambda: (X[:50].astype(str), y[:50]), "block 2: .*string"),
    "complex": (lambda: (X[:50] * 1j, y[:50]), "block 2: X must hold real numbers"),
    "empty": (lambda: (X[:0], y[:0]), "block 2: X has no samples"),
    "weights": (lambda: (X[:50], y[:50], WEIGHTS[:50]), "block 2: there must be sample_weight in all blocks or in none"),
    "negative": (lambda: (X[:50], y[:50], -WEIGHTS[:50]), "block 2: sample_weight must be finite and not negative"),
    "lengths": (lambda: (X[:50], y[:50], None, LENGTHS[:50]), "block 2: lengths must be 1 to the 6 steps of X"),
    "sparse": (lambda: (scipy.sparse.csr_array(X[:50]), y[:50]), "block 2: X is a sparse matrix, in the blocks before"),
    "many dimensions": (lambda: (X[:48].reshape(2, 24, 6), y[:2]), "block 2: X must hold samples of shape"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_block_names_it(what):
    make, message = WRONG[what]
    data = blocks(50)
    data[2] = make()
    model = classifier()
    with pytest.raises(ValueError, match=message):
        model.fit(data, shuffle=False, batch_size=10, shuffle_buffer=20)
    assert np.isfinite(model.params).all()
    assert 0 < model.step < 20


def test_other_kinds_of_numbers_than_the_first_block_s():
    whole = (100 * X).astype(np.int8)
    with pytest.raises(ValueError, match="block 1: X has dtype float32, which does not fit into the int8"):
        classifier().fit([(whole, y), (X, y)], shuffle=False)
    classifier().fit([(X, y), (whole, y)], shuffle=False)  # integers are numbers, too


def test_what_a_generator_raises_is_raised_with_a_note_and_the_model_goes_on():
    def read(good):
        for k, block in enumerate(blocks(50)):
            if k == 7 and not good:
                raise KeyError("gone")
            yield block

    model, settings = classifier(), {"batch_size": 10, "shuffle_buffer": 20, "shuffle": False}
    with pytest.raises(KeyError) as caught:
        model.fit(lambda: read(False), **settings)
    assert caught.value.__notes__ == ["raised by the stream, which was to give its block 7"]
    whole = classifier()
    whole.fit(lambda: read(True), **settings)
    assert 0 < model.step < whole.step
    model.fit(lambda: read(True), resume=True, **settings)
    assert np.array_equal(model.params, whole.params)


def test_arguments_that_streams_refuse():
    refused = {"sample_weight": WEIGHTS, "lengths": LENGTHS, "validation_fraction": 0.1, "groups": y}
    for name, value in refused.items():
        with pytest.raises(ValueError, match=f"{name} cannot be given with a stream: give"):
            classifier().fit(blocks(50), **{name: value})
    with pytest.raises(ValueError, match="y must be None where X is a stream"):
        classifier().fit(Counted(blocks(50)), y)
    with pytest.raises(ValueError, match="shuffle_buffer is for streams"):
        classifier().fit(X, y, shuffle_buffer=100)
    with pytest.raises(ValueError, match="y is missing"):
        classifier().fit(X)
    with pytest.raises(ValueError, match="needs all samples at once"):
        classifier(optimizer="lbfgs").fit(blocks(50))
    with pytest.raises(ValueError, match="the stream has no blocks"):
        classifier().fit(lambda: iter(()))


def test_a_stream_that_has_nothing_in_its_second_epoch():
    given = [blocks(50), []]
    with pytest.raises(ValueError, match="no blocks in epoch 2: give something that can be read again"):
        classifier().fit(lambda: iter(given.pop(0)), epochs=2)
