"""What runs on the workers, as tasks of Dask: look at partitions, get ready, work, end.

A task checks that it runs on the worker it was meant for. Where that one is gone, Dask runs it elsewhere, and it fails at
once; it would wait for ever if it might run nowhere else.
"""

import contextlib
import time
from typing import Any, NamedTuple

import numpy as np
from distributed import get_worker, secede
from distributed.comm import get_address_host

from .._threads import available_threads, config_context
from .connecting import WorkerLost, connect, listen
from .crew import Crew, Figures, Lane, digest, model_of_lane
from .exchange import Exchange

IDLE = 600.0  # seconds after which a session that nobody has ended, nor used, may be closed
_SESSIONS = {}  # (fit, address of the worker) -> Session; workers of one process have the same table


class Misplaced(WorkerLost):
    """A task has come to another worker than the one that it was meant for."""


class Facts(NamedTuple):
    """What is known of a partition.

    Attributes
    ----------
    n : int
        Rows.
    shape, dtype : tuple, str
        Of a sample.
    targets : tuple
        Shape of a row of y, and its type.
    counts : bool
        Whether a sample has a weight above zero.
    worker : str
        Where it was looked at.
    """

    n: int
    shape: tuple
    dtype: str
    targets: tuple
    counts: bool
    worker: str


class Task(NamedTuple):
    """Whose task it is, and where it belongs.

    Attributes
    ----------
    fit, group : str
        Of the fit, and of the workers that take part in it at the time.
    worker : str
        Address.
    rank : int
        Number of the worker among them.
    nthreads : int
        Tasks that it runs at a time.
    neighbours : int
        Workers of the fit on its machine, itself included.
    """

    fit: str
    group: str
    worker: str
    rank: int
    nthreads: int
    neighbours: int

    def check(self):
        """Misplaced unless this is the worker that is meant."""
        here = get_worker().address
        if here != self.worker:
            raise Misplaced(f"worker {self.worker} is gone; its task came to {here}")


class Report(NamedTuple):
    """What a round has given: `Figures`, the bits of the parameters, and, from the first rank, the model."""

    figures: Figures
    bits: str
    model: Any


class Session:
    """What a worker keeps of a fit between two rounds. Closing it loses nothing: the next round begins with a new one."""

    def __init__(self, group):
        self.group, self.crew, self.busy, self.used = group, None, False, time.monotonic()
        self.listener = self.exchange = None

    def is_stopped(self, _=None):
        """Whether somebody has closed it; lanes ask each tenth of a second of local steps."""
        return self.listener is not None and self.listener.fileno() < 0

    def close(self):
        for kept in (self.listener, self.exchange):
            if kept is not None:
                kept.close()

    @contextlib.contextmanager
    def at_work(self):
        self.busy = True
        try:
            yield
        finally:
            self.busy, self.used = False, time.monotonic()


def where():
    """Address of the worker that runs the task."""
    return get_worker().address


@contextlib.contextmanager
def named(what):
    """Errors of the block say where they come from."""
    try:
        yield
    except (WorkerLost, KeyboardInterrupt):
        raise
    except MemoryError as error:
        raise MemoryError(f"{what} on worker {where()}: not enough memory. {error}") from error
    except Exception as error:
        kind = ValueError if isinstance(error, (ValueError, TypeError, KeyError, IndexError)) else RuntimeError
        raise kind(f"{what} on worker {where()}: {error}") from error


def each(parts, function, *args):
    """{number: function(partition, number, *args)} of {number: partition}."""
    return {number: function(part, number, *args) for number, part in parts.items()}


def look(part, number, read, model):
    """`Facts` of a partition; ValueError if there is something in it that cannot be learned from."""
    with named(f"partition {number}"):
        X, y, weights = read(part)
        if not len(y):
            raise ValueError(
                "there are no rows in it; leave it out, or put partitions together: X.repartition(npartitions=...), "
                "X.rechunk(...), and y the same way"
            )
        counts = weights is None or bool(weights.any())
        model.check(model.network, X, y, weights if counts else None)
        return Facts(len(y), X.shape[1:], X.dtype.str, (y.shape[1:], y.dtype.kind), counts, where())


def begin(task, model, read, lanes, hosted, every, parts):
    """Bind the lanes that this rank hosts, and listen; the (host, port) at which others may call.

    hosted : numbers of those lanes     parts : {number: partition} of theirs
    """
    task.check()
    for key, session in list(_SESSIONS.items()):
        if key == (task.fit, task.worker) or (not session.busy and time.monotonic() - session.used > IDLE):
            _SESSIONS.pop(key, session).close()
    model, alone, own, session = model.copy(), len(lanes.parts) == 1, [], Session(task.group)
    for lane in hosted:
        with named(f"partitions {', '.join(map(str, lanes.parts[lane]))}"), config_context(n_threads=threads_of(task)):
            read_parts = [read(parts[p]) for p in lanes.parts[lane]]
            X, y, weights = zip(*read_parts, strict=True)
            if sum(map(len, y)) != lanes.rows[lane]:
                raise ValueError(f"there are {sum(map(len, y))} rows, and there were {lanes.rows[lane]} before")
            y = y[0] if len(y) == 1 else np.concatenate(y)
            weights = None if weights[0] is None else np.concatenate(weights)
            own.append(Lane(model_of_lane(model, lane, every, alone), list(X), y, weights, lanes.batches[lane]))
    session.crew = Crew(model, own, every, alone, None)
    for lane in own:
        lane.training.watch = session.is_stopped
    session.listener = listen(get_address_host(task.worker))
    _SESSIONS[task.fit, task.worker] = session
    return session.listener.getsockname()[:2]


def work(task, addresses, hosted, key, timeout, order):
    """A round: the steps of an `Order`; a `Report`.

    addresses, hosted : of each rank, where it listens, and its lanes
    """
    task.check()
    session = _SESSIONS.get((task.fit, task.worker))
    if session is None or session.group != task.group:
        raise WorkerLost(f"worker {task.worker} has forgotten what it was to work on")
    secede()  # two fits at once would wait for each other's slots, and `end` for this one's
    with session.at_work(), config_context(n_threads=threads_of(task)):
        try:
            if session.exchange is None:
                sockets = connect(task.rank, addresses, session.listener, key, timeout)
                session.crew.exchange = session.exchange = Exchange(task.rank, sockets, hosted, timeout)
            with named(f"lanes {', '.join(map(str, hosted[task.rank]))}"):
                figures = session.crew.work(order)
            if session.is_stopped():
                raise WorkerLost(f"worker {task.worker} was told to stop")
        except BaseException:  # the others must not wait
            session.close()
            if _SESSIONS.get((task.fit, task.worker)) is session:
                del _SESSIONS[task.fit, task.worker]
            raise
        model = session.crew.model
        return Report(figures, digest(model), model if task.rank == 0 else None)


def end(fit, address):
    """Forget a fit."""
    session = _SESSIONS.pop((fit, address), None)
    if session is not None:
        session.close()


def threads_of(task):
    """Threads that a task may have: those of its worker, as far as this machine, which others share, has cores for them."""
    return max(1, min(task.nthreads, available_threads() // task.neighbours))
