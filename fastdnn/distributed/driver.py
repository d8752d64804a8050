"""A fit on the workers of a Dask client: rounds of steps there, history, validation and callbacks here."""

import math

import numpy as np
from dask.base import is_dask_collection

from .._guard import guard
from ..callbacks.base import check_callbacks
from ..convergence import left_out, warn
from ..fitting import Fit, fit_steps
from ..layout import realigned
from ..progress import reporter
from ..scoring import check_scoring
from ..sources import Source
from ..specs import check_count, check_number
from ..validation import check_validation_data
from .crew import Figures, Order, digest
from .fleet import Fleet, RoundLost
from .partitions import Reader, get_client, here, zipped


class Remote:
    """What a `Fit` knows of a training that runs on workers."""

    source = None

    def __init__(self, model, batch_size):
        self._model, self.batch_size, self.first_step, self.total_steps = model, batch_size, 0, None
        self.watch = self.at_step = self.next_step = None

    @property
    def measures_norm(self):
        """Whether steps measure the norm of their gradient."""
        return self._model.optimizer.clip_norm is not None or self._model.optimizer.skip_nonfinite


def fit(
    model, X, y, *, client=None, epochs=1, batch_size=32, sample_weight=None, sync_every="auto", lanes=None,
    validation_data=None, callbacks=(), checkpoint_every=None, verbose=0, shuffle=True, resume=False, timeout=120.0,
):  # fmt: skip
    """Train a `Model` with samples that lie on the workers of a Dask cluster.

    Parameters
    ----------
    model : Model
        It is trained here, as by `Model.fit`: after each round it has what the workers have learned.
    X, y : dask array, DataFrame or Series
        Samples and targets, in partitions of the same rows; chunk sizes need not be known. Numbers only, and finite.
    client : distributed.Client, default=None
        None is the one that was made last.
    epochs, batch_size, callbacks, verbose, shuffle, resume
        As for `Model.fit`. Callbacks run here, at the ends of epochs; those that work on single steps are refused. A fit that
        is resumed goes on after the last whole epoch.
    sample_weight : dask array or Series, default=None
        Weights >= 0, in the same partitions.
    sync_every : int or "auto", default="auto"
        Steps between two looks at each other. 1: each step has the gradient of all lanes' samples, as one process would.
        k > 1: each lane takes k steps with its own part of the batches, then parameters, running statistics and the
        optimizer's memory become the means over the lanes, weighted by what their samples count for. "auto" takes 1 where
        gradients are sent in less than half of the time that computing takes, and otherwise so many steps, up to 64, that
        averages take a tenth of it, both by `fastdnn.distributed.cost`, whatever the time is in truth. Reference: Stich 2019,
        Local SGD converges fast and communicates little, arXiv:1805.09767.
    lanes : int or None, default=None
        Into how many parts the samples are divided. None: each worker has one, of the partitions that lie there (some move
        where workers have much less than others). A number: partition p belongs to lane p % lanes, and workers host one or
        several.
    validation_data : tuple (X, y) or (X, y, sample_weight), default=None
        Arrays, or dask collections, which are brought here.
    checkpoint_every : int or None, default=None
        Steps of a round, rounded up to a multiple of `sync_every`; None are as many as take about a minute, by the same
        estimate. A round ends with the epoch at the latest.
    timeout : float, default=120.0
        Seconds that a worker may be silent before it counts as lost; k steps must take less.

    Returns
    -------
    History
        See `Model.fit`.

    Raises
    ------
    ValueError
        If an argument, or a partition, is not what it should be; of a partition the message has the number and the worker.
    MemoryError, RuntimeError
        If a worker has not enough memory, partitions are lost for good, or the same round has failed three times. The model
        is as it was after the last whole round.
    ImportError
        Without the packages of ``pip install "fastdnn[dask]"``.

    Notes
    -----
    **What is fixed.** The samples of a lane are its partitions in their order; each epoch takes them in an order that the
    model's seed, the epoch and the lane decide. A lane has a share of each batch in proportion to its samples, rounded up: a
    batch may have up to lanes - 1 samples more. With ``lanes`` given, the results are the same bits for any number of workers
    and any placement, after workers were lost or have joined, and wherever rounds end (but for an optimizer that trains at
    other parameters than those that predict, schedule-free AdamW, whose bits depend on where rounds end); they depend on the
    partitions, `lanes`, `batch_size`, `sync_every` and the seed. ``lanes=1`` gives what `Model.fit` does with all partitions,
    bit for bit. With ``lanes=None`` results depend on where the partitions lie, too.
    Processors of different kinds may round differently.

    **Failures.** A worker that is lost costs the round under way; Dask computes its partitions anew on others. One that joins
    takes part from the next round on. Where that changes the number of lanes (``lanes=None``) in the middle of an epoch, the
    rest of it may see some samples twice, and others not.

    **Connections.** Workers of a fit connect to each other directly, at the addresses that they have for Dask, on ports that
    the system chooses; each proves that it knows a key of the fit. Nothing is encrypted.

    Batch normalization normalizes with the samples of each lane, and its statistics are averaged.

    Examples
    --------
    >>> from distributed import Client  # doctest: +SKIP
    >>> client = Client(n_workers=2, threads_per_worker=1)  # doctest: +SKIP
    >>> fit(model, X, y, epochs=10, batch_size=256)  # doctest: +SKIP
    """
    client = get_client(client)
    parts = client.compute(zipped(X, y, sample_weight))
    fleet = make_fleet(client, parts, Reader(X), batch_size, lanes, sync_every, timeout)
    shape = tuple(map(int, X.shape[1:])) if len(X.shape) > 1 else ()
    return train(
        model, fleet, shape, epochs=epochs, validation_data=validation_data, callbacks=callbacks, verbose=verbose,
        checkpoint_every=checkpoint_every, shuffle=shuffle, resume=resume,
    )  # fmt: skip


def make_fleet(client, parts, read, batch_size, lanes, sync_every, timeout):
    """A `Fleet`, its arguments checked."""
    check_count("batch_size", batch_size)
    if sync_every != "auto":
        check_count("sync_every", sync_every)
    if lanes is not None and check_count("lanes", lanes) > len(parts):
        raise ValueError(f"lanes must be at most the number of partitions, {len(parts)}, got {lanes}")
    check_number("timeout", timeout, "(0, inf)")
    return Fleet(client, parts, read, batch_size, lanes, sync_every, timeout)


def train(
    model, fleet, shape, *, epochs, validation_data=None, callbacks=(), verbose=0, checkpoint_every=None, shuffle=True,
    resume=False, estimator=None, scoring=None, judge=None, prepared=None,
):  # fmt: skip
    """`fit` with the workers of a `Fleet`, for samples of that shape; returns the `History`.

    judge : callable or None
        As for `preparing.prepare`.
    prepared : callable or None
        Called with the `Fit` before it begins.
    """
    check_count("epochs", epochs)
    if checkpoint_every is not None:
        check_count("checkpoint_every", checkpoint_every)
    if model.optimizer.full_batch:
        raise ValueError(f"{model.optimizer!r} works on all samples at once, in one process; take another optimizer")
    callbacks, scorers = [*check_callbacks(callbacks), *reporter(verbose)], check_scoring(scoring)
    judged = judge(None) if judge is not None and scorers else None
    if scorers and validation_data is None:
        raise ValueError("scoring needs validation data: give some")
    for callback in callbacks:
        if hasattr(callback, "on_step"):
            raise ValueError(f"{callback!r} works on single steps, which are taken on the workers; use it with Model.fit")
    network = model if model.layout is not None else model.copy().build(shape)
    if validation_data is not None:
        validation_data = _here(validation_data, fleet.client)
        known = isinstance(validation_data, tuple) and isinstance(validation_data[0], Source)  # which `check` looks at
        validation_data = check_validation_data(validation_data, np.shape(validation_data[0]) if known else (0, *shape))
        try:
            network.check(network.network, *validation_data[:3])
        except ValueError as error:
            raise ValueError(f"validation_data: {error}") from error
    fleet.look(network)
    if model.layout is None:
        model.build(shape)
    remote = Remote(model, fleet.batch_size)
    run = Fit(model, remote, None, epochs, None, validation_data, scorers, judged, callbacks, False, resume, estimator)
    if prepared is not None:
        prepared(run)
    if run.epoch >= run.epochs:
        return run.history
    skipped, step = model.skipped_steps, model.step
    run.feed = Rounds(run, fleet, checkpoint_every, shuffle)
    guard(model).begin()
    try:
        with run:
            fit_steps(run)
    except Exception as error:
        if run.began:
            error.add_note(f"The model is as it was after the last whole round: {model.epochs} epochs, {model.step} steps.")
        raise
    finally:
        fleet.leave()
    if math.isfinite(run.history["loss"][-1] if run.history.get("loss") else math.nan):
        for text in left_out(model, model.skipped_steps - skipped, model.step - step):
            warn(text)
    return run.history


def _here(data, client):
    """Validation data as arrays."""
    if not isinstance(data, (tuple, list)):
        return data
    return tuple(np.asarray(here(part, client)) if is_dask_collection(part) else part for part in data)


class Rounds:
    """The feed of a `Fit` whose steps are taken by the workers of a `Fleet`, round by round.

    Attributes
    ----------
    n : int
        Samples of an epoch.
    """

    rows, steps_done = None, 0

    def __init__(self, run, fleet, checkpoint_every, shuffle):
        self._run, self._fleet, self._checkpoint_every, self._shuffle = run, fleet, checkpoint_every, shuffle
        self.n = sum(fleet.sizes)

    def share(self, done):
        """The part of the epoch that is done."""
        return done

    def sample(self, n):
        """Nothing: ValueError."""
        raise ValueError("the samples lie on workers; callbacks that ask for some of them work with Model.fit alone")

    def close(self):
        """At the end of the fit: there is nothing here to let go."""

    def epoch(self):
        """Train for an epoch and record it; whether there was a round before somebody has ended it."""
        run, model, figures, tries = self._run, self._run.model, Figures(), 0
        begun, place = model.step, (0, 1)  # steps that are done, of how many
        while place[0] < place[1]:
            try:
                order, steps = self._next(begun, place)
                report = self._fleet.work(order, f"epoch_{run.epoch + 1}_of_{run.epochs}")
            except RoundLost as error:
                tries += 1
                self._fleet.lost_again(tries, error)
                continue
            tries, figures, place = 0, figures.plus(report.figures), (order.last, steps)
            self._take(report.model, report.bits)
            if order.last < steps and run.call("on_slice", order.last / steps):
                break
        if not place[0]:
            return False
        scalars = model.optimizer.step_scalars(np.array([model.step]), *order.schedule)
        norm = {} if figures.gradient_norm is None else {"gradient_norm": figures.gradient_norm}
        with guard(model):
            run.record_epoch(figures.mean_loss, rate=model.optimizer.rate_of(scalars[0]), **norm)
        return True

    def _next(self, begun, place):
        """(Order of the next round, steps of the epoch), by the workers that there are.

        begun : the model's step before the epoch     place : steps that are done, of how many
        """
        run, model, fleet = self._run, self._run.model, self._fleet
        group = fleet.ready(model, mark_of(model, digest(model)))
        steps, every = group.placement.lanes.steps, group.every
        first = place[0] if place[1] in (1, steps) else math.ceil(place[0] / place[1] * steps)
        length = self._checkpoint_every or fleet.round_steps(model)
        last = min(steps, first + -(-length // every) * every)
        total = begun - model.trained.fit_start[0] + (run.epochs - run.epoch) * steps
        schedule = run.training.first_step, total, model.trained.rate_factors
        return Order(model.epochs, first, last, schedule, self._shuffle), steps

    def _take(self, other, bits):
        """Let the model be what the workers have made of it; bits : its `digest`."""
        model, theirs = self._run.model, other.trained
        with guard(model):
            model.make_writable()
            model.network.params[...], model.network.state[...] = other.params, other.state
            trained = model.trained
            trained.step, trained.control[...] = theirs.step, theirs.control
            for name in ("moments", "averaged"):
                array = getattr(theirs, name)
                setattr(trained, name, None if array is None else realigned(array))
        self._fleet.group = self._fleet.group._replace(mark=mark_of(model, bits))


def mark_of(model, bits):
    """What differs where somebody has changed a model between two rounds; bits : its `digest`."""
    return bits, repr((model.layers, model.loss, model.optimizer)), model.step, id(model.mask)
