"""Sums over sockets: the same bits on all ranks however they are made, and nobody waits for ever."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest

from fastdnn.distributed import connecting, exchange
from fastdnn.distributed.connecting import WorkerLost, connect, listen
from fastdnn.distributed.exchange import Exchange

KEY = b"k" * 32


def together(run, world, keys=None, timeout=10.0):
    """What run(rank, sockets) gives, or raises, on each of so many ranks that are connected."""
    listeners = [listen("127.0.0.1") for _ in range(world)]
    addresses, found = [listener.getsockname() for listener in listeners], [None] * world

    def work(rank):
        try:
            found[rank] = run(rank, connect(rank, addresses, listeners[rank], (keys or [KEY] * world)[rank], timeout))
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for listener in listeners:
        listener.close()
    return found


def sums(arrays, hosted, timeout=10.0, **kwargs):
    """The sum of an array a lane on each rank, which hosts these lanes."""

    def run(rank, sockets):
        with Exchange(rank, sockets, hosted, timeout) as ours:
            rows = np.stack([arrays[lane] for lane in hosted[rank]])
            return ours.all_reduce(rows).copy()

    return together(run, len(hosted), **kwargs)


def in_order(arrays):
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total


HOSTED = [[(0,), (1,), (2,)], [(0, 1, 2)], [(0, 2), (1,)], [(2,), (0, 1)]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 1000, 200_001])  # to everybody, and by segments
def test_sums_have_the_bits_of_the_sum_in_the_order_of_lanes(n, dtype):
    arrays = np.random.default_rng(0).standard_normal((3, n)).astype(dtype) * np.array([[1], [1e4], [1e-4]], dtype)
    want = in_order(arrays).tobytes()
    for hosted in HOSTED:
        assert [found.tobytes() for found in sums(arrays, hosted)] == [want] * len(hosted)


def test_both_ways_have_the_same_bits(monkeypatch):
    arrays = np.random.default_rng(1).standard_normal((3, 5000)).astype("float32")
    found = sums(arrays, HOSTED[0])
    monkeypatch.setattr(exchange, "goes_to_all", lambda *_: False)
    assert [a.tobytes() for a in sums(arrays, HOSTED[0])] == [a.tobytes() for a in found]


def test_more_ranks_than_numbers(monkeypatch):
    monkeypatch.setattr(exchange, "goes_to_all", lambda *_: False)
    arrays = np.arange(10.0).reshape(5, 2)
    for found in sums(arrays, [(r,) for r in range(5)]):
        np.testing.assert_array_equal(found, [20, 25])


def test_many_sums_of_all_sizes_in_place():
    rng = np.random.default_rng(2)
    sizes = [*rng.integers(1, 3000, 60), 300_000, 5, 1_000_000, 7]

    def run(rank, sockets):
        found = []
        with Exchange(rank, sockets) as ours:
            for i, n in enumerate(sizes):
                array = np.full(n, rank + i, "float32")
                assert np.shares_memory(ours.all_reduce(array), array)
                found.append(array)
        return found

    for found in together(run, 3):
        assert [(a.min(), a.max()) for a in found] == [(3 * i + 3, 3 * i + 3) for i in range(len(sizes))]


def test_full_buffers_do_not_stop_anybody():
    """All send far more than the system keeps before anybody receives."""
    arrays = np.ones((4, 2 << 20), "float32")
    for found in sums(arrays, [(r,) for r in range(4)]):
        assert (found == 4).all()


def test_one_rank_needs_no_sockets():
    rows = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(Exchange(0, lanes=[(0, 1, 2)]).all_reduce(rows), [6, 9])


@pytest.mark.parametrize("n", [10, 500_000])
def test_who_dies_is_missed_at_once(n):
    began = time.monotonic()

    def run(rank, sockets):
        ours = Exchange(rank, sockets, timeout=30.0)
        if rank == 1:
            ours.close()
            return None
        ours.all_reduce(np.ones(n, "float32"))

    found = together(run, 3)
    assert time.monotonic() - began < 10
    assert found[1] is None
    for rank in (0, 2):
        assert isinstance(found[rank], WorkerLost)
        assert "worker" in str(found[rank])


def test_who_is_silent_is_missed_in_time():
    silent = threading.Event()

    def run(rank, sockets):
        ours = Exchange(rank, sockets, timeout=0.3)
        if rank == 1:
            silent.wait(30)
            ours.close()
            return None
        try:
            ours.all_reduce(np.ones(10))
        finally:
            silent.set()

    found = together(run, 2)
    assert isinstance(found[0], WorkerLost)
    assert "nothing has come from worker 1 for 0.3 seconds" in str(found[0])


def test_an_exchange_that_has_failed_stays_closed():
    def run(rank, sockets):
        ours = Exchange(rank, sockets)
        if rank == 0:
            ours.close()
        for _ in range(2):
            with pytest.raises(WorkerLost):
                ours.all_reduce(np.ones(3))
        return True

    assert together(run, 2) == [True, True]


def test_messages_that_do_not_belong_together_are_found():
    def run(rank, sockets):
        ours = Exchange(rank, sockets, timeout=5.0)
        ours._number = rank
        ours.all_reduce(np.ones(3))

    for found in together(run, 2):
        assert "is at message" in str(found)


def test_another_key_gets_no_connection():
    found = together(lambda rank, sockets: None, 2, keys=[KEY, b"x" * 32], timeout=1.0)
    assert all(isinstance(error, WorkerLost) for error in found)


def test_strangers_who_call_do_not_disturb(monkeypatch):
    monkeypatch.setattr(connecting, "CALLERS", 20)  # fewer than call
    listeners = [listen("127.0.0.1") for _ in range(2)]
    addresses = [listener.getsockname() for listener in listeners]
    *silent, slow, noisy = (socket.create_connection(addresses[0]) for _ in range(32))
    slow.sendall(b"x")
    noisy.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(100))

    began = time.monotonic()

    def second():
        with Exchange(1, connect(1, addresses, listeners[1], KEY, 10)) as ours:
            ours.all_reduce(np.ones(2))

    other = threading.Thread(target=second)
    other.start()
    with Exchange(0, connect(0, addresses, listeners[0], KEY, 10)) as ours:
        np.testing.assert_array_equal(ours.all_reduce(np.ones(2)), [2, 2])
    other.join()
    assert time.monotonic() - began < 3  # nobody has waited for who says nothing
    for s in (slow, noisy, *silent):
        s.settimeout(5)
        with contextlib.suppress(ConnectionError):  # closed, or reset where something was not read
            assert len(s.recv(1000)) in (0, connecting.NONCE)
            assert s.recv(1000) == b""
        s.close()
    for s in listeners:
        s.close()


def test_who_speaks_slowly_has_his_time_and_no_more(monkeypatch):
    monkeypatch.setattr(connecting, "GREETING", 0.3)
    with listen("127.0.0.1") as listener, connecting._Callers(0, listener, KEY) as callers:
        with socket.create_connection(listener.getsockname()) as slow:
            began = time.monotonic()
            assert callers.wait(1.0, {1}) == []
            while callers._heard and time.monotonic() - began < 3:
                slow.sendall(b"x")
                time.sleep(0.02)
                assert callers.wait(0.0, {1}) == []
        assert 0.3 < time.monotonic() - began < 1


def test_what_was_said_before_opens_nothing():
    """Who has heard a worker call cannot call in its place."""
    with listen("127.0.0.1") as listener, connecting._Callers(0, listener, KEY) as callers:

        def call(said=None):
            peer = socket.create_connection(listener.getsockname())
            callers.wait(1.0, {1})
            nonces = peer.recv(connecting.NONCE) + bytes(connecting.NONCE)
            said = said or connecting.RANK.pack(1) + nonces[32:] + connecting._proof(KEY, b"call", 1, 0, nonces)
            peer.sendall(said)
            return peer, said, callers.wait(1.0, {1})

        peer, said, found = call()
        assert [rank for rank, _ in found] == [1]
        again, _, nobody = call(said)
        assert nobody == []
        for s in (peer, again, found[0][1]):
            s.close()


def test_who_does_not_come_is_not_waited_for():
    with listen("127.0.0.1") as listener, pytest.raises(WorkerLost, match="worker 0 has waited in vain for workers 1, 2"):
        connect(0, [listener.getsockname()] * 3, listener, KEY, 0.1)
    with listen("127.0.0.1") as gone:
        address = gone.getsockname()
    with listen("127.0.0.1") as listener, pytest.raises(WorkerLost, match="worker 1 cannot reach worker 0"):
        connect(1, [address, listener.getsockname()], listener, KEY, 1.0)


def test_who_waits_can_be_told_to_stop():
    began = time.monotonic()
    with listen("127.0.0.1") as listener:
        threading.Timer(0.1, listener.close).start()
        with pytest.raises(WorkerLost, match="was told to stop"):
            connect(0, [listener.getsockname()] * 2, listener, KEY, 60.0)
    with listen("127.0.0.1") as busy, listen("127.0.0.1") as listener:  # one that accepts nobody
        threading.Timer(0.1, listener.close).start()
        with pytest.raises(WorkerLost, match="was told to stop"):
            connect(1, [busy.getsockname(), listener.getsockname()], listener, KEY, 60.0)

    def run(rank, sockets):
        ours = Exchange(rank, sockets, timeout=60.0)
        if rank == 0:
            threading.Timer(0.1, ours.close).start()
            with pytest.raises(WorkerLost):
                ours.all_reduce(np.ones(3))
        else:
            time.sleep(0.3)
            ours.close()
        return True

    assert together(run, 2) == [True, True]
    assert time.monotonic() - began < 10
