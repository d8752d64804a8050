"""Connections among the workers of a fit.

Whoever connects proves that he knows the key of the fit, and so does who is connected to: HMAC over numbers that either side
has just drawn.
"""

import hashlib
import hmac
import os
import select
import selectors
import socket
import struct
import time

RANK = struct.Struct("<I")
NONCE = 32
SAID = RANK.size + NONCE + 32  # bytes by which a caller shows that he knows the key
GREETING = 5.0  # seconds that somebody who calls has to say who he is, from the first byte to the last
CALLERS = 256  # who may be about to say who he is, at a time
SLICE = 0.2  # seconds between two looks at whether to wait on
# PollSelector takes sockets of any number, which select on its own does not; Windows has no poll.
Selector = selectors.PollSelector if hasattr(select, "poll") else selectors.SelectSelector


class WorkerLost(ConnectionError):
    """A worker of a fit is gone, or has been silent for too long."""


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
        with _Callers(rank, listener, key) as callers:
            while waited:
                for other, peer in callers.wait(waiting.give(listener, waited), waited):
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
        """Let a socket wait for a slice, and its seconds; WorkerLost where the time is up, or the listener was closed."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise WorkerLost(f"worker {self.rank} has waited in vain for {named_ranks(others)}")
        if self._listener.fileno() < 0:
            raise WorkerLost(f"worker {self.rank} was told to stop")
        peer.settimeout(min(SLICE, left))
        return min(SLICE, left)


def named_ranks(ranks):
    ranks = sorted(ranks)
    return f"worker {ranks[0]}" if len(ranks) == 1 else f"workers {', '.join(map(str, ranks))}"


def _proof(key, role, caller, called, nonces):
    """What shows that its sender knows the key; of no use to anybody else, at another time, or the other way round."""
    return hmac.digest(key, role + RANK.pack(caller) + RANK.pack(called) + nonces, hashlib.sha256)


def _received(peer, n, wait):
    """n bytes; ConnectionError where the other side closes before.

    wait : called before each slice of the waiting
    """
    found = bytearray()
    while len(found) < n:
        wait()
        try:
            part = peer.recv(n - len(found))
        except TimeoutError:
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


class _Callers:
    """Who has called and is about to show that he knows the key: many at a time, so that nobody is kept out by silence."""

    def __init__(self, rank, listener, key):
        self._rank, self._listener, self._key = rank, listener, key
        self._heard = {}  # socket -> (number drawn for him, what he has said, until when he may speak), the oldest first

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for peer in list(self._heard):
            self._drop(peer)

    def _drop(self, peer):
        del self._heard[peer]
        peer.close()

    def wait(self, seconds, waited):
        """[(rank, socket)] of those that have shown it in so many seconds at the most, and are waited for."""
        for peer in [peer for peer, (*_, until) in self._heard.items() if time.monotonic() > until]:
            self._drop(peer)
        try:
            with Selector() as selector:
                for sock in (self._listener, *self._heard):
                    selector.register(sock, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in selector.select(seconds)]
            if self._listener in ready:
                self._accept()
        except (OSError, ValueError) as error:
            raise WorkerLost(f"worker {self._rank} was told to stop") from error
        ranks = [(self._hear(peer, waited), peer) for peer in ready if peer in self._heard]
        for _, peer in (found := [(rank, peer) for rank, peer in ranks if rank is not None]):
            del self._heard[peer]
        return found

    def _accept(self):
        try:
            peer, _ = self._listener.accept()
        except (TimeoutError, ConnectionError):  # who has called is gone
            return
        if len(self._heard) >= CALLERS:  # one who knows the key has said so long before
            self._drop(next(iter(self._heard)))
        peer.setblocking(False)
        nonce = os.urandom(NONCE)
        self._heard[peer] = nonce, bytearray(), time.monotonic() + GREETING
        try:
            peer.sendall(nonce)
        except OSError:
            self._drop(peer)

    def _hear(self, peer, waited):
        """The rank of a caller that has shown that he knows the key; None of others, who are dropped where they do not."""
        nonce, said, _ = self._heard[peer]
        try:
            part = peer.recv(SAID - len(said))
            if not part:
                raise ConnectionError("closed")
            said += part
            if len(said) < SAID:
                return None
            (other,), nonces = RANK.unpack_from(said), nonce + said[RANK.size : RANK.size + NONCE]
            if other in waited and hmac.compare_digest(said[-32:], _proof(self._key, b"call", other, self._rank, nonces)):
                peer.sendall(_proof(self._key, b"answer", other, self._rank, nonces))
                return other
        except BlockingIOError:
            return None
        except OSError:
            pass
        self._drop(peer)
        return None
