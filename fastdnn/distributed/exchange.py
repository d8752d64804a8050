"""Sums over the workers of a fit, through TCP sockets of their own.

Whoever connects proves that he knows the key of the fit, and so does who is connected to: HMAC over numbers that either side
has just drawn. Nothing that comes from a socket is executed or unpickled: it is numbers, of a length that both sides know.
They are not encrypted.
"""

import contextlib
import hashlib
import hmac
import itertools
import os
import select
import selectors
import socket
import struct
import time

import numpy as np

HEADER = struct.Struct("<QQ")  # number of the message, bytes that follow
RANK = struct.Struct("<I")
NONCE = 32
SPIN = 1e-4  # seconds of looking again and again before a thread goes to sleep: to be woken takes as long
SMALL = 256 * 1024  # bytes that it is worth to receive more of, if messages go one way, not two
GREETING = 5.0  # seconds that somebody who calls has to say who he is
SLICE = 0.2  # seconds between two looks at whether to wait on
# PollSelector takes sockets of any number, which select on its own does not; Windows has no poll.
GATHERS = hasattr(socket.socket, "sendmsg")  # a header and an array in one call
Selector = selectors.PollSelector if hasattr(select, "poll") else selectors.SelectSelector


class WorkerLost(ConnectionError):
    """A worker of a fit is gone, or has been silent for too long."""


def goes_to_all(nbytes, world):
    """Whether everybody sends all of an array to everybody, which of two ranks needs no more bytes than segments."""
    return nbytes * (world - 1) * (1 - 2 / world) <= SMALL


def listen(host, backlog=1024):
    """A listening socket on a free port of that address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, backlog=backlog)


def connect(rank, addresses, listener, key, timeout):
    """{rank: socket} of all others: a rank calls those below it and is called by those above it.

    Parameters
    ----------
    rank : int
        Own number, from 0 on.
    addresses : sequence of (host, port)
        Where each rank listens.
    listener : socket
        Own one; it stays open. Who closes it, from another thread, ends the waiting.
    key : bytes
        What only the workers of this fit know.
    timeout : float
        Seconds that all this may take.

    Raises
    ------
    WorkerLost
        If a rank does not answer, does not call, or does not know the key, or the listener was closed.
    """
    waiting, found = _Waiting(rank, listener, timeout), {}
    try:
        for other in range(rank):
            found[other] = _call(tuple(addresses[other]), rank, other, key, waiting)
        waited = set(range(rank + 1, len(addresses)))
        while waited:
            waiting.give(listener, waited)
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError as error:
                raise WorkerLost(f"worker {rank} was told to stop") from error
            other = _answer(peer, rank, waited, key)
            if other is not None:
                found[other] = peer
                waited.discard(other)
    except BaseException:
        for peer in found.values():
            peer.close()
        raise
    for peer in found.values():
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


class _Waiting:
    """Until when a rank waits for others, a slice at a time, for somebody may tell it to stop."""

    def __init__(self, rank, listener, timeout):
        self.rank, self._listener, self._until = rank, listener, time.monotonic() + timeout

    def give(self, peer, others):
        """Let a socket wait for a slice; WorkerLost where the time is up, or the listener was closed."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise WorkerLost(f"worker {self.rank} has waited in vain for {_named(others)}")
        if self._listener.fileno() < 0:
            raise WorkerLost(f"worker {self.rank} was told to stop")
        peer.settimeout(min(SLICE, left))


def _named(ranks):
    ranks = sorted(ranks)
    return f"worker {ranks[0]}" if len(ranks) == 1 else f"workers {', '.join(map(str, ranks))}"


def _proof(key, role, caller, called, nonces):
    """What shows that its sender knows the key; of no use to anybody else, at another time, or the other way round."""
    return hmac.digest(key, role + RANK.pack(caller) + RANK.pack(called) + nonces, hashlib.sha256)


def _received(peer, n, wait=None):
    """n bytes; ConnectionError where the other side closes before.

    wait : None lets a time-out be an error; otherwise it is called before each slice of the waiting
    """
    found = bytearray()
    while len(found) < n:
        if wait is not None:
            wait()
        try:
            part = peer.recv(n - len(found))
        except TimeoutError:
            if wait is None:
                raise
            continue
        if not part:
            raise ConnectionError("closed")
        found += part
    return bytes(found)


def _call(address, rank, other, key, waiting):
    """A socket to a rank below, which has shown that it knows the key."""
    peer = None
    try:
        peer = socket.create_connection(address, timeout=GREETING)

        def wait():
            waiting.give(peer, [other])

        nonces = _received(peer, NONCE, wait) + os.urandom(NONCE)
        peer.sendall(RANK.pack(rank) + nonces[NONCE:] + _proof(key, b"call", rank, other, nonces))
        if not hmac.compare_digest(_received(peer, 32, wait), _proof(key, b"answer", rank, other, nonces)):
            raise ConnectionError("another key")
    except OSError as error:
        if peer is not None:
            peer.close()
        if isinstance(error, WorkerLost):
            raise
        said = error or type(error).__name__
        raise WorkerLost(f"worker {rank} cannot reach worker {other} at {address}: {said}") from error
    return peer


def _answer(peer, rank, waited, key):
    """The rank of who has called, or None where it is nobody who is waited for; his socket is closed then."""
    try:
        peer.settimeout(GREETING)
        nonce = os.urandom(NONCE)
        peer.sendall(nonce)
        said = _received(peer, RANK.size + NONCE + 32)
        (other,), nonces = RANK.unpack_from(said), nonce + said[RANK.size : RANK.size + NONCE]
        known = hmac.compare_digest(said[-32:], _proof(key, b"call", other, rank, nonces))
        if known and other in waited:
            peer.sendall(_proof(key, b"answer", other, rank, nonces))
            return other
    except OSError:
        pass
    peer.close()
    return None


class Exchange:
    """Sums of arrays over ranks, the same bits on all of them.

    Each rank hosts some lanes and has a row of numbers for each. Rows are added in the order of the lanes, number by number,
    so the sum depends neither on how many ranks there are nor on which lane is where, nor on the way it is made: small arrays
    go from everybody to everybody; of larger ones each rank sums up a segment, and sends the sum around.

    Parameters
    ----------
    rank : int
        Own number.
    sockets : dict of int -> socket
        Connections to all other ranks, from `connect`; they belong to this object from now on.
    lanes : sequence of sequences of int, or None
        The lanes of each rank; None is one each, of the same number.
    timeout : float, default=120.0
        Seconds without a byte after which whoever should have sent one counts as lost.

    Attributes
    ----------
    world : int
        Number of ranks.
    """

    def __init__(self, rank, sockets=None, lanes=None, timeout=120.0):
        self.rank, self._sockets, self._timeout = rank, dict(sockets or {}), timeout
        self.world = len(self._sockets) + 1
        self._lanes = [len(of_rank) for of_rank in lanes] if lanes is not None else [1] * self.world
        given = lanes if lanes is not None else [(r,) for r in range(self.world)]
        self._order = [
            place for _, *place in sorted((lane, r, i) for r, own in enumerate(given) for i, lane in enumerate(own))
        ]
        self._number, self._buffers, self._closed = 0, {}, False
        # The next rank first, so that not everybody sends to the same one.
        self._others = [(rank + i) % self.world for i in range(1, self.world)]

    def close(self):
        """Close the connections: whoever waits for this rank, or in it, knows at once that nothing comes any more."""
        self._closed = True
        for peer in self._sockets.values():
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits
            peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def all_reduce(self, array):
        """The sum over all lanes of all ranks, in place.

        Parameters
        ----------
        array : ndarray of shape (n,), or (own lanes, n), C-contiguous
            Float32 or float64, of the same n and type on all ranks.

        Returns
        -------
        ndarray of shape (n,)
            The sum, which stands in the first row of the array; the other rows are used up.

        Raises
        ------
        WorkerLost
            If another rank has closed its connections, has died, or is silent for too long. All connections are closed then.
        """
        rows = array.reshape(self._lanes[self.rank], -1)
        if self._closed:
            raise WorkerLost("the connections are closed")
        try:
            if goes_to_all(rows.shape[1] * rows.itemsize, self.world):
                found = self._swap(dict.fromkeys(self._others, rows), rows.dtype, dict.fromkeys(self._others, rows.shape[1]))
                rows[0] = self._total(rows, found)
            else:
                self._by_segments(rows)
        except BaseException:
            self.close()
            raise
        return rows[0]

    def _by_segments(self, rows):
        """Each rank sums up a segment of the numbers, and sends the sum around."""
        bounds = [rows.shape[1] * r // self.world for r in range(self.world + 1)]
        parts = [slice(*pair) for pair in itertools.pairwise(bounds)]
        mine = parts[self.rank]
        out = {r: np.ascontiguousarray(rows[:, parts[r]]) for r in self._others}
        found = self._swap(out, rows.dtype, dict.fromkeys(self._others, mine.stop - mine.start))
        rows[0, mine] = total = self._total(rows[:, mine], found)
        sizes = {r: parts[r].stop - parts[r].start for r in self._others}
        found = self._swap(dict.fromkeys(self._others, total), rows.dtype, sizes, one=True)
        for r in self._others:
            rows[0, parts[r]] = found[r][0]

    def _total(self, own, found):
        """The rows of all lanes added in their order."""
        first, *rest = [own[i] if rank == self.rank else found[rank][i] for rank, i in self._order]
        total = self._room("sum", first.nbytes).view(first.dtype)
        total[...] = first
        for row in rest:
            total += row
        return total

    # ------------------------------------------------------------ messages

    def _swap(self, out, dtype, sizes, one=False):
        """Send an array to each rank while one comes from each; {rank: (rows, size) array}, valid until the next one.

        out : {rank: C-contiguous array}     sizes : {rank: numbers in a row of what comes}     one : whether that has one row
        """
        self._number += 1
        shapes = {r: (1 if one else self._lanes[r], sizes[r]) for r in self._others}
        into = {r: self._room(r, HEADER.size + shapes[r][0] * shapes[r][1] * dtype.itemsize) for r in self._others}
        sending, receiving = {r: self._message(out[r]) for r in self._others}, {r: memoryview(b) for r, b in into.items()}
        heard = time.monotonic()
        while sending or receiving:
            moved = [self._send(r, sending) for r in list(sending)] + [self._receive(r, receiving) for r in list(receiving)]
            if any(moved):
                heard = time.monotonic()
            elif (sending or receiving) and time.monotonic() - heard > SPIN:
                self._wait(sending, receiving, heard + self._timeout)
        for r in self._others:
            said = HEADER.unpack_from(into[r])
            if said != (self._number, into[r].nbytes - HEADER.size):
                raise WorkerLost(f"worker {r} is at message {said[0]}, worker {self.rank} at {self._number}")
        return {r: into[r][HEADER.size :].view(dtype).reshape(shapes[r]) for r in self._others}

    def _room(self, what, nbytes):
        """So many bytes, the same memory each time: new memory comes from the system page by page, which takes longer."""
        key = what, nbytes
        if key not in self._buffers:
            self._buffers[key] = np.empty(nbytes, np.uint8)
        return self._buffers[key]

    def _message(self, array):
        """What is sent for an array: a list of the parts that are left."""
        header = HEADER.pack(self._number, array.nbytes)
        return [memoryview(header), memoryview(array.reshape(-1).view(np.uint8))]

    def _send(self, rank, sending):
        """Send what the system takes; whether that was anything."""
        parts, moved = sending[rank], False
        try:
            peer = self._sockets[rank]
            while parts:
                sent = peer.sendmsg(parts) if GATHERS else peer.send(parts[0])
                moved = True
                while parts and sent >= len(parts[0]):
                    sent -= len(parts.pop(0))
                if parts:
                    parts[0] = parts[0][sent:]
        except BlockingIOError:
            return moved
        except OSError as error:
            raise WorkerLost(f"worker {rank} is gone: {error}") from error
        del sending[rank]
        return True

    def _receive(self, rank, receiving):
        """Take what has come; whether that was anything."""
        view, moved = receiving[rank], False
        try:
            while view:
                n = self._sockets[rank].recv_into(view)
                if n == 0:
                    raise WorkerLost(f"worker {rank} has closed its connection")
                view, moved = view[n:], True
        except BlockingIOError:
            receiving[rank] = view
            return moved
        except WorkerLost:
            raise
        except OSError as error:
            raise WorkerLost(f"worker {rank} is gone: {error}") from error
        del receiving[rank]
        return True

    def _wait(self, sending, receiving, until):
        """Until something can be sent or has come."""
        with Selector() as selector:
            for r in {*sending, *receiving}:
                events = selectors.EVENT_WRITE * (r in sending) | selectors.EVENT_READ * (r in receiving)
                if self._closed:
                    raise WorkerLost("the connections are closed")
                selector.register(self._sockets[r], events)
            if not selector.select(max(0.0, until - time.monotonic())) and time.monotonic() >= until:
                silent = _named(receiving or sending)
                raise WorkerLost(f"nothing has come from {silent} for {self._timeout:g} seconds")
