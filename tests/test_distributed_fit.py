"""Fits on workers of Dask: data stay there, results are fixed, callbacks run here, bad partitions are named."""

import warnings

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask.array as da
from dask_clusters import CHUNKS, WEIGHTS, X, Y, bits, cluster, network, samples

from fastdnn import Model, layers, optimizers, schedules
from fastdnn.callbacks import Callback, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from fastdnn.compress import MagnitudePruning
from fastdnn.distributed import DaskDNNClassifier, fit, worker
from fastdnn.distributed.driver import make_fleet
from fastdnn.distributed.partitions import Reader, zipped


@pytest.fixture(scope="module")
def client():
    with cluster(3) as made:
        yield made


def fitted(client, given=None, make=network, **settings):
    model = make()
    history = fit(model, *(given or samples()), **{"client": client, "epochs": 2, "batch_size": 64} | settings)
    return model, history


def quick():
    return network(optimizer=optimizers.Adam(0.01))


@pytest.mark.parametrize("every", [1, 4])
def test_fixed_lanes_give_the_same_bits_on_any_number_of_workers(client, every):
    found = {
        bits(fitted(client, lanes=4, sync_every=every)[0]),
        bits(fitted(client, lanes=4, sync_every=every, checkpoint_every=5)[0]),
    }
    for n in (1, 2):
        with cluster(n) as other:
            found.add(bits(fitted(other, lanes=4, sync_every=every)[0]))
    assert len(found) == 1


def test_fixed_lanes_give_the_same_bits_wherever_partitions_lie(client):
    workers, found = list(client.nthreads()), set()
    for place in (lambda p: workers[0], lambda p: workers[p % 3], lambda p: workers[-p % 2]):
        ends = np.cumsum((0, *CHUNKS))
        parts = [
            [client.submit(np.array, a[ends[p] : ends[p + 1]], workers=[place(p)], pure=False) for p in range(6)]
            for a in (X, Y)
        ]
        given = [
            da.concatenate([da.from_delayed(f, (n, *a.shape[1:]), a.dtype) for f, n in zip(futures, CHUNKS, strict=True)])
            for futures, a in zip(parts, (X, Y), strict=True)
        ]
        found.add(bits(fitted(client, given, lanes=3)[0]))
    assert len(found) == 1


def test_one_lane_is_a_fit_and_history_is_as_usual(client):
    model, history = fitted(client, samples(weights=False), lanes=1, validation_data=(X, Y))
    local = network()
    expected = local.fit(X, Y, epochs=2, batch_size=64, validation_data=(X, Y))
    assert bits(model) == bits(local)
    assert list(history) == list(expected)
    for key in set(history) - {"seconds"}:
        assert history[key] == expected[key]
    assert (model.epochs, model.step) == (2, 38)


def test_a_lane_for_each_worker(client):
    model, history = fitted(client, make=quick, epochs=20, sync_every=1)
    assert history["loss"][-1] < 0.35 < history["loss"][0]
    assert model.evaluate(X, Y)["accuracy"] > 0.9


def test_local_steps_learn_as_well(client):
    accuracies = []
    for every in (1, 2, 8, "auto"):
        model, _ = fitted(client, make=quick, epochs=20, sync_every=every, lanes=3)
        accuracies.append(model.evaluate(X, Y)["accuracy"])
    assert min(accuracies) > accuracies[0] - 0.02 > 0.9


def test_weights_count(client):
    x, y, w = samples(weights=True)
    twice = fitted(client, (x, y), sample_weight=w, lanes=1)[0]
    local = network()
    local.fit(X, Y, epochs=2, batch_size=64, sample_weight=WEIGHTS)
    assert bits(twice) == bits(local)


@pytest.mark.parametrize("every", [1, 4])
def test_a_lane_may_have_samples_that_count_for_nothing(client, every):
    x, y, w = samples(weights=True)
    nothing = WEIGHTS.copy()
    nothing[300:550] = 0
    given = da.from_array(nothing, chunks=(CHUNKS,))
    model, history = fitted(client, (x, y), sample_weight=given, lanes=6, sync_every=every)
    assert np.isfinite(history["loss"]).all()
    assert np.isfinite(model.params).all()
    with pytest.raises(ValueError, match="sample_weight must not be all zero"):
        fitted(client, (x, y), sample_weight=w * 0)


def test_resumed_fits_go_on(client):
    def make():
        return network(optimizer=optimizers.AdamW(schedules.OneCycle(0.01)))

    def stop(model, history):
        if model.epochs == 2:
            raise KeyError("stop")

    whole, model = fitted(client, make=make, epochs=4, lanes=2)[0], make()
    with pytest.raises(KeyError, match="stop"):
        fitted(client, make=lambda: model, epochs=4, lanes=2, callbacks=[stop])
    history = fit(model, *samples(), client=client, epochs=4, batch_size=64, lanes=2, resume=True)
    assert bits(model) == bits(whole)
    assert len(history["loss"]) == 4


def test_callbacks_run_here(client, tmp_path):
    seen = []
    path = tmp_path / "m.fdnn"
    callbacks = [
        lambda model, history: seen.append((model.epochs, len(history["loss"]))),
        ModelCheckpoint(path, best_only=False),
        EarlyStopping("loss", patience=1, min_delta=10.0),
    ]
    model, history = fitted(client, epochs=9, callbacks=callbacks)
    assert seen == [(1, 1), (2, 2)]
    assert history.stopped is not None
    assert Model.load(path).epochs == 2
    assert model.epochs == 2


def test_callbacks_may_change_rates_and_the_model(client):
    plateau = ReduceLROnPlateau("loss", factor=0.1, patience=0, min_delta=1.0)
    _, history = fitted(client, epochs=3, callbacks=[plateau])
    assert history["rate"] == pytest.approx([1e-3, 1e-3, 1e-4])

    class Zero(Callback):
        def on_epoch_end(self, fit):
            fit.model.params = np.zeros_like(fit.model.params)

    model, history = fitted(client, epochs=2, callbacks=[Zero()])
    assert history["loss"][1] == pytest.approx(np.log(3), abs=0.05)  # of probabilities that are all the same
    assert not model.params.any()


def test_progress_within_an_epoch(client):
    class Watch(Callback):
        def on_fit_begin(self, fit):
            self.seen_ = []

        def on_slice(self, fit, done):
            self.seen_.append(round(done, 2))

    watch = Watch()
    fitted(client, epochs=1, callbacks=[watch], lanes=2, sync_every=2, checkpoint_every=7)
    assert watch.seen_ == [0.42, 0.84]  # rounds of 8 of 19 steps


def test_validation_data_may_be_collections(client):
    _, history = fitted(client, validation_data=samples())
    assert len(history["val_accuracy"]) == 2


def test_validation_data_lies_with_the_client_of_the_fit(client):
    """Which need not be the one that was made last."""
    with cluster(1):
        x, y = client.persist(list(samples()))
        _, history = fitted(client, (x, y), validation_data=(x, y))
        assert len(history["val_accuracy"]) == 2
        clf = DaskDNNClassifier(epochs=2).fit(x, y, client=client, X_val=x, y_val=y)
        assert len(clf.history_["val_loss"]) == 2


def test_images_and_unknown_chunk_sizes(client):
    images = da.from_array(np.repeat(X[:, :4], 4, axis=1).reshape(-1, 4, 4, 1), chunks=(400, 2, 4, 1))
    net = [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
    y = samples()[1].rechunk(400)
    model, _ = fitted(client, (images, y), lambda: Model(net, loss="cross_entropy", random_state=0))
    assert model.layout.shapes[0] == (4, 4, 1)
    x, y = samples()
    known = x[:, 0] > -10
    model, _ = fitted(client, (x[known], y[known]))
    assert model.step == 38


def number_and_rows(part, number, more):
    return number, len(part[1]) + more


@pytest.mark.parametrize("place", [lambda p, workers: workers[0], lambda p, workers: workers[p % 2]])
def test_answers_about_partitions_are_in_their_order(client, place):
    workers, parts = list(client.nthreads()), zipped(*samples())
    held = [client.compute(part, workers=[place(p, workers)]) for p, part in enumerate(parts)]
    fleet = make_fleet(client, held, Reader(samples()[0]), 64, None, 1, 60.0)
    assert fleet.ask("rows", number_and_rows, 1) == [(p, n + 1) for p, n in enumerate(CHUNKS)]


# ---------------------------------------------------------------- what is wrong


def spoiled(number, change, given=None):
    """Samples whose partition of that number has been changed."""
    x, y = given or samples()

    def spoil(block, block_info=None):
        return change(block) if block_info[0]["chunk-location"][0] == number else block

    return x.map_blocks(spoil, dtype=x.dtype, chunks=x.chunks, meta=np.empty((0, 8), "float32")), y


def raising(block):
    raise KeyError("no such file")


def with_nan(block):
    block = block.copy()
    block[3, 2] = np.nan
    return block


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (with_nan, ValueError, "partition 2 on worker .*contains NaN"),
        (lambda b: b[:, :5], ValueError, "partition 2 on worker .*8,.*5,"),
        (lambda b: b.astype("float64"), ValueError, "partition 2 on worker .*<f8.*partition 0 has <f4"),
        (lambda b: b.astype(str), ValueError, "partition 2 on worker .*numbers"),
        (lambda b: b[:7], ValueError, "partition 2 on worker .*a row for each of the 7"),
        (raising, RuntimeError, "partition 2 could not be computed: KeyError: 'no such file'"),
    ],
)
def test_a_bad_partition_is_named(client, change, error, text):
    model = network()
    with pytest.raises(error, match=text):
        fit(model, *spoiled(2, change), client=client)
    assert model.layout is None
    assert not worker._SESSIONS


def test_an_empty_partition_is_named(client):
    x, y = samples()
    no_rows = spoiled(2, lambda block: block[:0], (x, y))[0]
    fewer = y.map_blocks(lambda b, block_info: b[: 0 if block_info[0]["chunk-location"][0] == 2 else None], dtype=y.dtype)
    with pytest.raises(ValueError, match=r"partition 2 on worker .* there are no rows in it; leave it out"):
        fit(network(), no_rows, fewer, client=client)


def test_classes_out_of_range_are_named(client):
    x, y = samples()
    with pytest.raises(ValueError, match=r"partition . on worker .*class numbers must be 0 to 2"):
        fit(network(), x, y + 5, client=client)


def test_what_memory_lacks_is_named(client, monkeypatch):
    monkeypatch.setattr(worker, "Lane", lambda *_: np.empty(1 << 50))
    with pytest.raises(MemoryError, match=r"partitions .* on worker .*not enough memory"):
        fit(network(), *samples(), client=client)


def test_errors_within_a_round_leave_the_last_one(client, monkeypatch):
    class Fails(Callback):
        def on_epoch_end(self, fit):
            if fit.epoch == 2:
                monkeypatch.setattr(worker.Crew, "work", failing)

    def failing(self, order):
        raise MemoryError("of this machine")

    model = network()
    with pytest.raises(MemoryError, match=r"lanes .* on worker") as caught:
        fit(model, *samples(), client=client, epochs=5, batch_size=64, lanes=2, callbacks=[Fails()])
    assert "after the last whole round: 2 epochs, 38 steps" in caught.value.__notes__[-1]
    assert "MemoryError" in model.history.stopped
    monkeypatch.undo()
    assert bits(model) == bits(fitted(client, lanes=2)[0])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"y": Y}, "y must be a dask array, frame or series, got ndarray; it must have the partitions of X"),
        ({"X": X}, "X must be a dask array, frame or series"),
        ({"y": da.from_array(Y[:-1], chunks=200)}, "y must have a row for each of the 1201 of X, got 1200"),
        ({"lanes": 7}, "lanes must be at most the number of partitions, 6"),
        ({"lanes": 0}, "lanes"),
        ({"sync_every": 0}, "sync_every"),
        ({"batch_size": 0}, "batch_size"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"epochs": 0}, "epochs"),
        ({"timeout": 0}, "timeout"),
        ({"client": "me"}, "client must be a distributed.Client"),
        ({"callbacks": [MagnitudePruning(0.5)]}, "works on single steps"),
        ({"validation_data": (X[:, :3], Y)}, "validation_data must hold samples of the shape"),
    ],
)
def test_arguments(client, settings, text):
    x, y = samples()
    with pytest.raises(ValueError, match=text):
        fit(network(), **{"X": x, "y": y, "client": client} | settings)


def test_full_batch_optimizers_are_refused(client):
    with pytest.raises(ValueError, match="all samples at once"):
        fitted(client, make=lambda: network(optimizer="lbfgs"))


def test_a_loss_that_diverges_ends_the_fit(client):
    def make():
        return Model([layers.Dense(3)], optimizer=optimizers.SGD(1e30, skip_nonfinite=False), random_state=0)

    x, y = samples()
    y = da.stack([y, y, y], axis=1).rechunk({1: 3}).astype("float32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, history = fitted(client, (x, y), make, epochs=5)
    assert len(history["loss"]) < 5
    assert any("training stopped" in str(w.message) for w in caught)
