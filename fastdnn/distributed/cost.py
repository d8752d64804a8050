"""What a data-parallel step costs on paper: flops, bytes and latency; and what follows for how often to average.

Nothing here is measured while a network is trained, so what is decided by it is the same each time.
"""

from typing import NamedTuple

from .exchange import goes_to_all

FLOPS = {4: 100e9, 8: 50e9}  # flop/s of a core of these years, by the bytes of a number
ALWAYS = 0.5  # part of the time of computing that sums of gradients may take for each step to have one
SHARE = 0.1  # part of the time of computing that averages of parameters may take where they come every k steps
MOST = 64  # local steps between two averages
ROUND_SECONDS = 60.0  # of work between two states that a fit can go on from


class Machine(NamedTuple):
    """What workers and the network between them are like.

    Parameters
    ----------
    latency : float
        Seconds from the call that sends a short message to the return of the call that waits for it.
    bandwidth : float
        Bytes a second that a worker sends while it receives as many.
    message : float
        Seconds of a processor for each message.
    flops : float or None
        Floating-point operations a second of a worker; None is a core's, by the float type.
    step : float
        Seconds of a step beside its flops.
    """

    latency: float = 2e-4
    bandwidth: float = 1.25e9  # 10 Gbit/s
    message: float = 1e-5
    flops: float | None = None
    step: float = 5e-5


def exchange_bytes(nbytes, world, lanes=1):
    """Bytes that a worker receives (and sends) in a sum over `world` workers of `lanes` arrays of nbytes each."""
    if world == 1:
        return 0
    return nbytes * (world - 1) * (lanes if goes_to_all(nbytes, world) else (lanes + 1) / world)


def exchange_seconds(nbytes, world, machine=None, lanes=1):
    """Seconds of that sum: messages to all others one after the other, once or (segments) there and back."""
    machine = machine or Machine()
    if world == 1:
        return 0.0
    ways = 1 if goes_to_all(nbytes, world) else 2
    return ways * (machine.latency + (world - 1) * machine.message) + exchange_bytes(nbytes, world, lanes) / machine.bandwidth


def compute_seconds(flops, n_params, itemsize, machine=None):
    """Seconds of a step on one worker: products of `flops` operations, one pass over the parameters."""
    machine = machine or Machine()
    rate = machine.flops or FLOPS[itemsize]
    return machine.step + (flops + 20 * n_params) / rate


class Step(NamedTuple):
    """A step of a network on one of several workers.

    Parameters
    ----------
    flops : float
        Of the products forward and back, for the worker's part of a batch.
    n_params : int
        Parameters.
    n_averaged : int
        Numbers that are averaged where steps are local: parameters, statistics of layers, what the optimizer remembers.
    itemsize : int
        Bytes of a number.
    """

    flops: float
    n_params: int
    n_averaged: int
    itemsize: int = 4

    @classmethod
    def of(cls, model, rows):
        """That of a model that is built, for so many samples."""
        layout, optimizer = model.layout, model.optimizer
        averaged = layout.size * (1 + optimizer.n_arrays + (optimizer.average is not None)) + layout.state_size
        return cls(3.0 * layout.flops * rows, layout.size, averaged, model.dtype.itemsize)

    def seconds(self, world, every=1, machine=None):
        """Seconds of a step on each of `world` workers that add gradients, or average every so many steps."""
        computing = compute_seconds(self.flops, self.n_params, self.itemsize, machine)
        numbers = self.n_params if every == 1 else self.n_averaged
        return computing + exchange_seconds(numbers * self.itemsize, world, machine) / every

    def sync_every(self, world, machine=None):
        """Steps between two averages: 1 where sums of gradients take little, otherwise so many that averages take little."""
        computing = compute_seconds(self.flops, self.n_params, self.itemsize, machine)
        if exchange_seconds(self.n_params * self.itemsize, world, machine) <= ALWAYS * computing:
            return 1
        averaging, every = exchange_seconds(self.n_averaged * self.itemsize, world, machine), 2
        while every < MOST and averaging > SHARE * computing * every:
            every *= 2
        return every


def steps_of_round(step, world, every):
    """Steps, a multiple of `every`, that take about a minute."""
    return max(1, int(ROUND_SECONDS / step.seconds(world, every) / every)) * every
