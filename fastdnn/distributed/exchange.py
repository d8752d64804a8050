"""Sums over the workers of a fit, through TCP sockets of their own, see `connecting`.

Nothing that comes from a socket is executed or unpickled: it is numbers, of a length that both sides know. They are not
encrypted.
"""

import contextlib
import itertools
import selectors
import socket
import struct
import time

import numpy as np

from .connecting import Selector, WorkerLost, named_ranks

HEADER = struct.Struct("<QQ")  # number of the message, bytes that follow
SMALL = 256 * 1024  # bytes that it is worth to receive more of, if messages go one way, not two
SPIN = 1e-4  # seconds of looking again and again before a thread goes to sleep: to be woken takes as long
GATHERS = hasattr(socket.socket, "sendmsg")  # a header and an array in one call


def goes_to_all(nbytes, world):
    """Whether everybody sends all of an array to everybody, which of two ranks needs no more bytes than segments."""
    return nbytes * (world - 1) * (1 - 2 / world) <= SMALL


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
                self._total(rows, found, rows[0])
            else:
                self._by_segments(rows)
        except ValueError as error:
            closed = self._closed
            self.close()
            if not closed:
                raise
            raise WorkerLost("the connections are closed") from error  # by another thread, while they were waited for
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
        total = rows[0, mine]
        self._total(rows[:, mine], found, total)
        sizes = {r: parts[r].stop - parts[r].start for r in self._others}
        found = self._swap(dict.fromkeys(self._others, total), rows.dtype, sizes, one=True)
        for r in self._others:
            rows[0, parts[r]] = found[r][0]

    def _total(self, own, found, out):
        """Write the rows of all lanes, added in their order, into `out`, the first of the own ones; the others are used up.

        Nothing is read or written more often than additions need: memory takes longer here than the processor.
        """
        total, *rest = [own[i] if rank == self.rank else found[rank][i] for rank, i in self._order]
        for row in rest[:-1]:
            total += row
        if rest:
            np.add(total, rest[-1], out=out)

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
                silent = named_ranks(receiving or sending)
                raise WorkerLost(f"nothing has come from {silent} for {self._timeout:g} seconds")
