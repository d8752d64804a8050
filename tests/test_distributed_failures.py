"""Workers that die, join, are not reachable: a fit goes on or says what is wrong, and never waits for ever."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask.array as da
from dask_clusters import X, Y, bits, cluster, eventually, network, samples
from distributed import fire_and_forget, wait

from fastdnn.callbacks import Callback
from fastdnn.distributed import fit, fleet, worker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def client():
    with cluster(2, processes=True) as made:
        fit(network(), *samples(), client=made, batch_size=64)  # kernels are there
        yield made


def settle(client, n=2):
    """Wait until there are so many workers again."""
    eventually(lambda: len(client.nthreads()) == n, 60)


def pids(client):
    return list(client.run(os.getpid).values())


class Kills(Callback):
    """Kills a worker's process some time after the end of an epoch."""

    def __init__(self, client, epoch, after=0.0):
        self.client, self.epoch, self.after = client, epoch, after

    def on_epoch_end(self, fit):
        if fit.epoch == self.epoch:
            kill = os.kill, (pids(self.client)[0], signal.SIGKILL)
            if self.after:
                threading.Timer(self.after, *kill).start()
            else:
                kill[0](*kill[1])


LONG = {"epochs": 6, "batch_size": 8, "sync_every": 1}  # a round takes a tenth of a second and more


@pytest.mark.parametrize("after", [0.0, 0.05])
def test_a_killed_worker_costs_a_round_and_no_bit(client, after):
    undisturbed, killed = network(), network()
    fit(undisturbed, *samples(), client=client, lanes=3, **LONG)
    history = fit(killed, *samples(), client=client, lanes=3, callbacks=[Kills(client, 2, after)], **LONG)
    assert bits(killed) == bits(undisturbed)
    assert len(history["loss"]) == 6
    settle(client)


def test_a_killed_worker_with_a_lane_for_each(client):
    model = network()
    history = fit(model, *samples(), client=client, callbacks=[Kills(client, 1)], **LONG)
    assert len(history["loss"]) == 6
    assert model.evaluate(X, Y)["accuracy"] > 0.7
    settle(client)


def test_partitions_that_are_lost_for_good_are_named(client):
    def scattered(a):
        first = sorted(client.nthreads())[0]
        futures = client.scatter(np.array_split(a, 2), workers=[first])
        return da.concatenate(
            [da.from_delayed(f, (np.nan, *a.shape[1:]), a.dtype) for f in futures], allow_unknown_chunksizes=True
        )

    settle(client)
    model = network()
    x, y = scattered(X), scattered(Y)
    first = sorted(client.nthreads())[0]
    pid = client.run(os.getpid)[first]

    class KillsFirst(Callback):
        def on_epoch_end(self, fit):
            if fit.epoch == 1:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(RuntimeError, match=r"partition . was lost with its worker") as caught:
        fit(model, x, y, client=client, callbacks=[KillsFirst()], **LONG)
    assert "1 epochs" in caught.value.__notes__[-1]
    assert np.isfinite(model.params).all()
    settle(client)


def test_a_round_that_kills_its_worker_each_time_is_given_up():
    with cluster(2) as client:

        class Refuses(Callback):
            def on_epoch_end(self, fit):
                worker.Crew.work = lost

        def lost(self, order):
            raise worker.WorkerLost("worker 1 has closed its connection")

        whole = worker.Crew.work
        try:
            with pytest.raises(RuntimeError, match="the same round was lost 3 times"):
                fit(network(), *samples(), client=client, epochs=3, callbacks=[Refuses()])
        finally:
            worker.Crew.work = whole


def test_a_worker_that_joins_takes_part_in_the_next_round():
    with cluster(1) as client:
        sizes = []

        class Grows(Callback):
            def on_epoch_end(self, fit):
                if fit.epoch == 1:
                    client.cluster.scale(2)
                    settle(client)

        class Looks(Callback):
            def on_epoch_begin(self, fit):
                sizes.append(None if fit.feed._fleet.group is None else len(fit.feed._fleet.group.tasks))

        fit(network(), *samples(), client=client, epochs=4, callbacks=[Grows(), Looks()])
        assert sizes == [None, 1, 2, 2]


def test_a_cluster_without_workers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(fleet, "TRIES", 1)
    with cluster(0) as client, pytest.raises(RuntimeError, match="there has been no Dask worker for 2 seconds"):
        fit(network(), *samples(), client=client, timeout=2)


def kill(client):
    """Kill all workers, and wait until the scheduler knows."""
    before = set(client.nthreads())
    for pid in pids(client):
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not before & set(client.nthreads()), 20)


def test_a_fit_outlives_all_workers_at_once(monkeypatch):
    """Dask lets a task that is pinned to the last worker wait for it, also where another one has joined."""
    finished, calls, deadly = fleet.finished, [], {1, 3}  # `begin`; and, after another one, a round

    def killing(client, *args):
        if len(args) > 2:  # a task for each worker
            calls.append(args)
            if len(calls) in deadly:
                kill(client)
        finished(client, *args)

    with cluster(1, processes=True) as client:
        undisturbed, killed = network(), network()
        fit(undisturbed, *samples(), client=client, epochs=2, lanes=2)
        monkeypatch.setattr(fleet, "finished", killing)
        fit(killed, *samples(), client=client, epochs=2, lanes=2)
        assert len(calls) == 6  # get ready, again, a round, get ready, again, the second epoch's
        assert bits(killed) == bits(undisturbed)


@pytest.mark.parametrize("status", ["cancelled", "error"])
def test_workers_that_are_lost_again_are_named(status):
    made, task = fleet.Fleet(None, [], None, 1, None, 1, 1.0), worker.Task("fit", "group", "tcp://a:1", 0, 1, 1)
    lost = SimpleNamespace(status=status, exception=lambda: worker.Misplaced("worker tcp://a:1 is gone; its task came to b"))
    for tries in (1, 2, 3):
        with pytest.raises(fleet.RoundLost, match="worker tcp://a:1 is gone") as caught:
            made._results([lost], [task])
        assert made._lost == {"tcp://a:1": tries}
    with pytest.raises(RuntimeError, match=r"lost 3 times.*Workers that were gone: tcp://a:1 \(3 times\)"):
        made.lost_again(3, caught.value)


def test_two_fits_at_once_do_not_wait_for_each_other():
    with cluster(2) as client:
        models = [network(), network(5)]
        threads = [
            threading.Thread(target=fit, args=(m, *samples()), kwargs={"client": client, "epochs": 5, "lanes": 2})
            for m in models
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert [m.epochs for m in models] == [5, 5]
        alone = network()
        fit(alone, *samples(), client=client, epochs=5, lanes=2)
        assert bits(alone) == bits(models[0])


@pytest.mark.parametrize("time_of_model", [1, 2])
def test_the_model_is_sent_again_where_it_was_lost(client, monkeypatch, time_of_model):
    """The worker that has the copy is killed before others have it: while partitions are looked at, and at the beginning."""
    undisturbed, killed, sent, times = network(), network(), fleet.Fleet._sent, []
    fit(undisturbed, *samples(), client=client, lanes=2, epochs=1)

    def lost(self, model):
        future = sent(self, model)
        times.append(0)
        if len(times) == time_of_model:
            (address,) = client.who_has([future])[future.key]
            os.kill(client.run(os.getpid, workers=[address])[address], signal.SIGKILL)
            assert eventually(lambda: address not in client.nthreads(), 20)
        return future

    settle(client)
    monkeypatch.setattr(fleet.Fleet, "_sent", lost)
    fit(killed, *samples(), client=client, lanes=2, epochs=1)
    assert len(times) > 2
    assert bits(killed) == bits(undisturbed)
    settle(client)


def test_workers_that_are_busy_with_others_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(fleet, "GOODBYE", 0.2)

    class Others(Callback):
        def on_epoch_end(self, fit):
            self.futures_ = [client.submit(time.sleep, 5, pure=False, workers=[w]) for w in client.nthreads()]
            assert eventually(lambda: all(client.processing().values()))

    with cluster(2) as client:
        began = time.monotonic()
        fit(network(), *samples(), client=client, callbacks=[Others()])
        assert time.monotonic() - began < 4
        assert eventually(lambda: not worker._SESSIONS)  # they forget it when they have time


def test_a_fit_leaves_nothing_on_the_scheduler(monkeypatch):
    def late(futures):
        wait(futures)
        fire_and_forget(futures)

    monkeypatch.setattr(fleet, "fire_and_forget", late)
    with cluster(2) as client:
        fit(network(), *samples(), client=client)
        assert eventually(lambda: not client.cluster.scheduler.tasks)


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_interrupted_fit_leaves_no_work_behind(lanes, monkeypatch):
    """Ctrl-C in the middle of a round, whose worker would go on for long."""
    run, whole, working = fleet.Fleet._run, worker.Crew.work, []

    def watched(self, order):
        working.append(order)
        try:
            return whole(self, order)
        finally:
            working.remove(order)

    def interrupted(self, name, calls):
        if "epoch" in name:
            monkeypatch.setattr(fleet, "finished", stop)
        return run(self, name, calls)

    def stop(*_):
        assert eventually(lambda: len(working) == lanes)
        raise KeyboardInterrupt

    monkeypatch.setattr(worker.Crew, "work", watched)
    monkeypatch.setattr(fleet.Fleet, "_run", interrupted)
    with cluster(2) as client:
        chunks = 1_202_000, 1_200_000
        given = [
            a.map_blocks(lambda block: np.concatenate([block] * 2000), dtype=a.dtype, chunks=(chunks, *a.chunks[1:]))
            for a in samples((601, 600))
        ]
        with pytest.raises(KeyboardInterrupt):
            fit(network(), *given, client=client, lanes=lanes, batch_size=lanes, sync_every=100, checkpoint_every=10**6)
        assert eventually(lambda: not working, 1)
        assert not worker._SESSIONS


def test_threads_are_those_of_the_worker_s_machine(monkeypatch):
    monkeypatch.setattr(worker, "available_threads", lambda: 16)
    for nthreads, neighbours, expected in ((1, 1, 1), (4, 2, 4), (16, 3, 5), (16, 40, 1)):
        assert worker.threads_of(worker.Task("fit", "group", "worker", 0, nthreads, neighbours)) == expected


def test_a_client_that_is_closed_ends_the_fit():
    class Closes(Callback):
        def on_epoch_end(self, fit):
            threading.Timer(0.05, client.close).start()

    with cluster(2) as client, pytest.raises(RuntimeError, match="the Dask client is clos"):
        fit(network(), *samples(), client=client, batch_size=8, epochs=10**6, callbacks=[Closes()])
    for session in (worker._SESSIONS.pop(key) for key in list(worker._SESSIONS)):  # nobody could tell these workers
        session.close()
