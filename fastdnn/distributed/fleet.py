"""The workers of a fit: who takes part, who does what, and what is done when one is gone or a new one has come."""

import contextlib
import os
import time
import uuid
from collections import Counter
from typing import NamedTuple

from distributed import KilledWorker, fire_and_forget, wait
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.comm import get_address_host

from . import worker
from .connecting import WorkerLost
from .cost import Step, steps_of_round
from .partitions import finished, settled
from .placement import Placement, placed

GOODBYE = 5.0  # seconds that workers have to forget a fit before nobody waits for them
TRIES = 3  # times that a round may be lost in a row
KEY = 32  # bytes


class RoundLost(Exception):
    """A worker was lost in a round; the state before it is untouched."""


class Group(NamedTuple):
    """Workers that are ready.

    Attributes
    ----------
    placement : Placement
    tasks : list of worker.Task
        By rank.
    addresses : list
        Where each listens.
    key : bytes
    every : int
        Steps between two averages.
    seen : frozenset
        All workers that there were.
    mark : object
        What the model was like.
    """

    placement: Placement
    tasks: list
    addresses: list
    key: bytes
    every: int
    seen: frozenset
    mark: object


class Fleet:
    """All workers of a client, for one fit.

    Parameters
    ----------
    client : distributed.Client
    parts : list of Future
        Partitions.
    read : callable
        Makes arrays of one, see `partitions.Reader`.
    batch_size : int
    n_lanes : int or None
    sync_every : int or "auto"
    timeout : float
        Seconds of silence after which a worker counts as lost.
    """

    def __init__(self, client, parts, read, batch_size, n_lanes, sync_every, timeout):
        self.client, self.parts, self.read, self.batch_size = client, parts, read, batch_size
        self.n_lanes, self.sync_every, self.timeout = n_lanes, sync_every, timeout
        self.fit, self.facts, self.group = uuid.uuid4().hex, None, None
        self._avoid, self._lost, self._touched, self._ending = set(), Counter(), set(), []

    # ------------------------------------------------------------ partitions

    def tasks(self, name, function, *args):
        """Futures, done, of function(partition, number, *args) of all partitions; the error of one that fails."""
        settled(self.client, self.parts, self.timeout)
        tasks = [
            self.client.submit(function, part, number, *args, pure=False, key=f"fastdnn_{name}-{uuid.uuid4().hex}")
            for number, part in enumerate(self.parts)
        ]
        return self._done(tasks)

    def _done(self, tasks):
        """The tasks, once they are done; the error of the first that fails."""
        finished(self.client, tasks, self.timeout)
        for task in tasks:
            if task.status == "error":
                raise task.exception()
        return tasks

    def ask(self, name, function, *args):
        """[function(partition, number, *args)] of all partitions, by as many tasks as workers have threads.

        Dask takes some milliseconds for a task, and a look at a partition often less. The partitions of a task are all in
        memory at once, as they are when their worker trains with them.
        """
        groups, nthreads = {}, dict(self.client.nthreads())
        for number, holders in enumerate(self._holders()):
            groups.setdefault(min(holders, key=lambda at: len(groups.get(at, ()))), []).append(number)
        asked = []
        for at, numbers in groups.items():
            n = min(len(numbers), max(1, nthreads.get(at, 1)))
            asked += [{number: self.parts[number] for number in numbers[i::n]} for i in range(n)]
        # Not pinned, for Dask takes tasks to their data, and would let one wait for ever whose last worker dies.
        tasks = [
            self.client.submit(worker.each, parts, function, *args, pure=False, key=f"fastdnn_{name}-{uuid.uuid4().hex}")
            for parts in asked
        ]
        found = {}
        for answers in self.client.gather(self._done(tasks)):
            found.update(answers)
        return [found[number] for number in range(len(self.parts))]

    def look(self, model):
        """Look at all partitions; ValueError if one has something that cannot be learned from, or is not like the others."""
        settled(self.client, self.parts, self.timeout)
        facts = self._facts(model)
        if not any(found.counts for found in facts):
            raise ValueError("sample_weight must not be all zero: there is nothing to learn from")
        for number, found in enumerate(facts):
            for name, wanted, got in zip(worker.Facts._fields[1:4], facts[0][1:4], found[1:4], strict=True):
                if wanted != got:
                    what = {"shape": "samples of shape", "dtype": "the type", "targets": "targets of (shape, kind)"}[name]
                    raise ValueError(
                        f"partition {number} on worker {found.worker} has {what} {got}, partition 0 has {wanted}; all "
                        "partitions must have the same, as .astype(...) makes them"
                    )
        self.facts = facts

    def _facts(self, model):
        """`worker.Facts` of all partitions; once more where the copy of the model was lost with the worker that had it."""
        for tries in range(TRIES):
            try:
                return self.ask("look", worker.look, self.read, self._sent(model))
            except (RoundLost, FutureCancelledError) as error:
                if tries == TRIES - 1:
                    raise RuntimeError(f"workers were lost while they looked at partitions, {TRIES} times: {error}") from None

    @property
    def sizes(self):
        """Rows of each partition."""
        return [found.n for found in self.facts]

    def _holders(self):
        """Workers that hold each partition, which Dask computes anew where it was lost."""
        until = time.monotonic() + self.timeout
        while True:
            settled(self.client, self.parts, self.timeout)
            found = self.client.who_has(self.parts)
            holders = [sorted(found.get(part.key, ())) for part in self.parts]
            if all(holders):
                return holders
            if time.monotonic() > until:
                lost = [number for number, at in enumerate(holders) if not at]
                raise RuntimeError(f"partitions {lost[:10]} lie on no worker, and nobody computes them")
            time.sleep(0.05)

    # ------------------------------------------------------------ workers

    def _sent(self, model):
        """A future of a copy of the model, without what no task needs."""
        own = model.copy()
        own.trained.history, own.trained.bests = None, []
        try:
            return self.client.scatter(own, hash=False, timeout=self.timeout)
        except TimeoutError as error:
            raise RoundLost("there is no worker") from error

    def ready(self, model, mark):
        """The `Group` that does the next round: the last one, unless workers have come or gone, or the model was changed."""
        seen = frozenset(self.client.nthreads())
        if self.group is not None and self.group.seen == seen and self.group.mark == mark:
            return self.group
        self.group = None
        holders, nthreads = self._holders(), dict(self.client.nthreads())
        workers = sorted(set(nthreads) - self._avoid) or sorted(nthreads)
        if not workers:
            raise RoundLost("there is no worker")
        placement = placed(self.sizes, holders, workers, self.batch_size, self.n_lanes)
        every, hosts = self.every(model, placement), Counter(map(get_address_host, placement.workers))
        group = uuid.uuid4().hex
        tasks = [
            worker.Task(self.fit, group, w, rank, nthreads[w], hosts[get_address_host(w)])
            for rank, w in enumerate(placement.workers)
        ]
        network, calls = self._sent(model), []
        for task, hosted in zip(tasks, placement.hosted, strict=True):
            parts = {p: self.parts[p] for lane in hosted for p in placement.lanes.parts[lane]}
            calls.append((worker.begin, task, network, self.read, placement.lanes, hosted, every, parts))
        self._touched.update(placement.workers)
        self.group = Group(placement, tasks, [], os.urandom(KEY), every, seen, mark)
        self.group = self.group._replace(addresses=self._run("fastdnn_begin", calls))
        return self.group

    def every(self, model, placement):
        """Steps between two averages."""
        if self.sync_every != "auto":
            return self.sync_every
        lanes = placement.lanes
        return Step.of(model, max(lanes.batches)).sync_every(len(lanes.parts))

    def round_steps(self, model):
        """Steps of a round, where nobody has said how many."""
        lanes, every = self.group.placement.lanes, self.group.every
        return steps_of_round(Step.of(model, max(lanes.batches)), len(lanes.parts), every)

    def work(self, order, name):
        """The `Report` of the first rank of a round that the group does; RoundLost where it has lost one of its workers."""
        group = self.group
        rest = group.addresses, group.placement.hosted, group.key, self.timeout, order
        reports = self._run(f"fastdnn_{name}", [(worker.work, task, *rest) for task in group.tasks])
        if len({report.bits for report in reports}) > 1:
            where = {task.worker: report.bits for task, report in zip(group.tasks, reports, strict=True)}
            raise RuntimeError(
                f"workers have different parameters after the same steps, as processors of different kinds may give: "
                f"{where}; take workers of one kind"
            )
        self._avoid, self._lost = set(), Counter()
        return reports[0]

    def _run(self, name, calls):
        """Results of tasks, each pinned to its worker; RoundLost where a worker is gone."""
        futures = [
            self.client.submit(
                function, task, *args, workers=[task.worker], allow_other_workers=True, pure=False,
                key=f"{name}-{uuid.uuid4().hex}",
            )
            for function, task, *args in calls
        ]  # fmt: skip
        try:
            workers = [task.worker for _, task, *_ in calls]
            finished(self.client, futures, self.timeout, lambda: self._end(workers), workers)
            return self._results(futures, [task for _, task, *_ in calls])
        except BaseException:
            with contextlib.suppress(ClosedClientError):  # there is nobody to tell
                self.client.cancel(futures)
            raise

    def _results(self, futures, tasks):
        """Results; the first error that is not for a lost worker, or RoundLost."""
        lost, silent = {}, []
        for future, task in zip(futures, tasks, strict=True):
            error = future.exception() if future.status == "error" else None
            if future.status == "finished":
                continue
            if error is None or isinstance(error, (worker.Misplaced, KilledWorker)):
                lost[task.worker] = error or f"worker {task.worker} is gone, or does not answer"
            elif isinstance(error, WorkerLost):
                silent.append(error)
            else:
                raise error
        if lost or silent:
            self._avoid = set(lost)
            self._lost.update(list(lost))  # each once more
            self.group = None
            raise RoundLost("; ".join(map(str, [*lost.values(), *silent])))
        try:
            return self.client.gather(futures)
        except WorkerLost as error:
            raise RoundLost(str(error)) from error
        except Exception as error:  # who has worked is gone with the result
            if isinstance(error, KilledWorker) or any(future.status != "finished" for future in futures):
                self.group = None
                raise RoundLost(str(error)) from error
            raise

    def lost_again(self, tries, error):
        """RuntimeError where so many rounds in a row were lost that there is no hope."""
        if tries < TRIES:
            return
        said = ", ".join(f"{address} ({n} times)" for address, n in self._lost.most_common(5))
        why = (
            f"Workers that were gone: {said}. One that is gone again and again has most likely run out of memory: take more "
            "workers, smaller partitions, or X of a narrower type"
        )
        if not said:
            why = "A worker that is busy with other tasks for long needs a larger timeout"
        raise RuntimeError(f"the same round was lost {tries} times, the last time because of: {error}. {why}") from error

    def leave(self):
        """Let the workers forget the fit, and let go of its partitions."""
        self.group = None
        if self.client.status == "running":
            ending = self._end(self._touched)
            try:
                with contextlib.suppress(Exception):
                    wait(ending, timeout=GOODBYE)
            finally:  # who is busy with something else forgets it later; Dask would keep for ever what is done already
                fire_and_forget([future for future in ending if not future.done()])
        # A fit and what feeds it know each other: until Python looks for such circles the workers would keep the data.
        self.parts, self._ending = [], []

    def _end(self, addresses):
        """Tasks that let workers forget the fit; who waits for another one there, waits no longer."""
        self._ending = [
            self.client.submit(worker.end, self.fit, address, workers=[address], allow_other_workers=True, pure=False)
            for address in set(addresses) & set(self.client.nthreads())
        ]
        return self._ending
