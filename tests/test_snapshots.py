"""A model that another thread trains is saved, pickled and copied as it was between two epochs."""

import copy
import io
import pickle
import threading
import time

import joblib
import numpy as np
import pytest

from fastdnn import Model, layers, optimizers
from fastdnn.callbacks import EarlyStopping, ModelCheckpoint
from fastdnn.saving import container

X = np.random.default_rng(0).standard_normal((4000, 30)).astype("float32")
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


def network(optimizer="adam"):
    net = [layers.Dense(64, activation="relu"), layers.BatchNorm(), layers.Dense(2)]
    return Model(net, loss="cross_entropy", optimizer=optimizer, random_state=0)


@pytest.fixture
def training():
    """A function that begins a fit in another thread and returns its model; the fit ends with the test."""
    over, threads = threading.Event(), []

    def begin(optimizer="adam", **settings):
        model = network(optimizer)
        model.fit(X, Y, batch_size=500)
        stop = {"callbacks": [lambda model, history: over.is_set(), *settings.pop("callbacks", ())]}
        threads.append(threading.Thread(target=lambda: model.fit(X, Y, epochs=1000, batch_size=500, **stop, **settings)))
        threads[-1].start()
        return model

    yield begin
    over.set()
    for thread in threads:
        thread.join()


def check(snapshot, optimizer="adam"):
    """The snapshot goes on as a model that has been trained for as many epochs in one go."""
    reference = network(optimizer)
    reference.fit(X, Y, batch_size=500)
    epochs = snapshot.epochs - 1
    if epochs:
        reference.fit(X, Y, epochs=epochs, batch_size=500)
    assert reference.epochs == snapshot.epochs
    np.testing.assert_array_equal(reference.params, snapshot.params)
    np.testing.assert_array_equal(reference.state, snapshot.state)
    np.testing.assert_array_equal(reference.moments, snapshot.moments)
    assert reference.step == snapshot.step
    if epochs:
        assert snapshot.history["loss"][:epochs] == reference.history["loss"]
    snapshot.fit(X, Y, epochs=2, batch_size=500)
    reference.fit(X, Y, epochs=2, batch_size=500)
    np.testing.assert_array_equal(reference.params, snapshot.params)


@pytest.mark.parametrize("optimizer", ["adam", "schedule_free_adamw"])
def test_saved_while_another_thread_trains(training, optimizer, tmp_path):
    model = training(optimizer)
    for _ in range(15):
        model.save(tmp_path / "m")
        last = Model.load(tmp_path / "m")
        assert len(last.history["loss"]) == last.epochs - last.trained.fit_start[1]
    assert last.epochs > 1
    check(last, optimizer)


def dumped_by_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("copied", [lambda m: pickle.loads(pickle.dumps(m)), dumped_by_joblib, copy.deepcopy, Model.copy])
def test_copied_while_another_thread_trains(training, copied):
    model = training()
    for _ in range(15):
        last = copied(model)
        time.sleep(0.002)
    check(last)


def test_the_line_search_of_lbfgs_is_not_seen(training, tmp_path):
    net, seen = [layers.Dense(16, activation="tanh"), layers.Dense(2)], {}
    model = Model(net, loss="cross_entropy", optimizer="lbfgs", random_state=0).build(30)
    model.fit(X, Y, epochs=1)

    def note(model, history):
        seen[len(history["loss"])] = model.params.copy()

    thread = threading.Thread(target=lambda: model.fit(X, Y, epochs=60, callbacks=[note]))
    thread.start()
    saved = []
    while thread.is_alive():
        model.save(tmp_path / "m")
        saved.append(Model.load(tmp_path / "m"))
    thread.join()
    checked = 0
    for snapshot in saved:
        epochs = len(snapshot.history.get("loss", ()))
        if snapshot.trained.fit_start[1] == 1 and epochs in seen:
            np.testing.assert_array_equal(snapshot.params, seen[epochs])
            checked += 1
    assert checked


def test_a_checkpoint_and_a_save_to_the_same_file(training, tmp_path):
    path = tmp_path / "m"
    model = training(callbacks=[ModelCheckpoint(path, best_only=False), EarlyStopping("loss", patience=1000)])
    for _ in range(20):
        model.save(path)
        Model.load(path)
    assert {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")} == {"m"}


def test_callbacks_may_save_themselves(tmp_path):
    """The thread that trains waits for nobody, in the middle of an epoch neither."""
    model = network(optimizers.Adam(1e-3))

    class Saver(EarlyStopping):
        def on_slice(self, fit, done):
            fit.model.save(tmp_path / "slice")

        def on_epoch_end(self, fit):
            thread = threading.Thread(target=fit.model.save, args=(tmp_path / "thread",))
            thread.start()
            thread.join()

    model.fit(X, Y, epochs=3, callbacks=[Saver()])
    assert Model.load(tmp_path / "thread").epochs == 3


def test_a_file_that_does_not_read_back_does_not_replace_the_old_one(tmp_path, monkeypatch):
    model = network().build(30)
    model.save(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()
    flips = iter(range(10**6))

    def changing(array, right=container._bytes_of):
        data = bytearray(right(array))
        data[:1] = bytes([next(flips) % 256])  # another thread writes
        return bytes(data)

    monkeypatch.setattr(container, "_bytes_of", changing)
    model.params = model.params + 1
    with pytest.raises(OSError, match="does not read back"):
        model.save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
