"""What a network is while it is used: layers, loss and parameters together, and what its training goes on from."""

import copy
from typing import NamedTuple

import numpy as np

from .layers import Layer
from .layout import Layout, realigned
from .losses import SquaredError
from .optimizers.base import CONTROL


def check_layers(layers):
    """The layers as a tuple; ValueError unless it is a list of at least one."""
    if not isinstance(layers, (list, tuple)) or not layers or not all(isinstance(layer, Layer) for layer in layers):
        raise ValueError(f"layers must be a list of at least one fastdnn layer, got {layers!r}")
    return tuple(layers)


class Network(NamedTuple):
    """What predictions are made from. It is replaced as a whole, so another Python thread sees the old or the new one."""

    layers: tuple
    loss: object
    layout: Layout | None = None
    params: np.ndarray | None = None
    state: np.ndarray | None = None  # running statistics
    idle: list | None = None  # `Inference` objects that no Python thread uses just now

    @property
    def n_out(self):
        """Number of scores of a row, the last axis of a sample's."""
        return self.layout.shapes[-1][-1]

    def beginning(self, layers):
        """The network of the layers that this one begins with: it gives what they make of samples, there is no link."""
        layout = Layout(layers, self.layout.shapes[0])  # its parameters stand where the whole network's do
        return self._replace(layers=tuple(layers), loss=SquaredError(), layout=layout, idle=[])


class Best:
    """The best epoch so far of a fit, as one of its callbacks judges: what `Model.restore_best` puts back.

    Attributes
    ----------
    params, state : ndarray or None
        Parameters and running statistics; None where nothing has been kept yet.
    epoch : int or None
        The epoch, counted from 0; None where nobody has said which.
    """

    def __new__(cls, params=None, state=None, epoch=None):  # not __init__, which pickles of before, of tuples, do not call
        best = super().__new__(cls)
        best.params, best.state, best.epoch = params, state, epoch
        return best

    def keep(self, network, epoch=None):
        """Take the parameters and running statistics as they are now."""
        self.epoch = epoch
        if self.params is None:
            self.params, self.state = network.params.copy(), network.state.copy()
        else:
            np.copyto(self.params, network.params)
            np.copyto(self.state, network.state)

    def make_writable(self):
        """Give it arrays of its own where they came read-only from a memory map."""
        if self.params is not None and not self.params.flags.writeable:
            self.params, self.state = np.array(self.params), np.array(self.state)

    def copy(self):
        """Another one with arrays of its own, which may be written to."""
        return Best() if self.params is None else Best(np.array(self.params), np.array(self.state), self.epoch)


def writable(array):
    """The array, or a copy on a cache line where it came read-only from a memory map; None stays."""
    return array if array is None or array.flags.writeable else realigned(array)


class Trained:
    """What training goes on from, beside the network. A new one is that of a network that has not been trained.

    Parameters
    ----------
    epochs : int, default=0
        Epochs trained before, with another optimizer.

    Attributes
    ----------
    step, epochs : int
        Steps since the optimizer was set; epochs in all.
    moments, averaged : ndarray or None
        The optimizer's memory and the averaged parameters, flat; None before they are needed.
    control : ndarray
        Step control, see `optimizers.base.CONTROL`.
    plateau : dict
        What a schedule that reacts to the loss remembers.
    rate_factor : float
        Product of the factors by which callbacks have changed the learning rate.
    fit_start : tuple (step, epoch)
        Where the last fit began.
    history : History or None
        Of the last fit.
    bests : list of Best
        Best epochs of the last fit, one for each callback that keeps them.
    place : Place or None
        How far an epoch of a stream has come, see `feeding`; None between epochs.
    """

    place = None  # of pickles of before, too

    def __init__(self, epochs=0):
        self.step, self.epochs, self.moments, self.averaged = 0, epochs, None, None
        self.control, self.plateau, self.rate_factor = np.zeros(CONTROL.size), {}, 1.0
        self.fit_start, self.history, self.bests = (0, epochs), None, []

    @property
    def skipped_steps(self):
        """Steps that were left out because they were not finite."""
        return int(self.control[CONTROL.skipped])

    @property
    def rate_factors(self):
        """What the optimizer's learning rate is multiplied by."""
        return self.plateau.get("factor", 1.0) * self.rate_factor

    @property
    def best(self):
        """The last one of `bests` in which there is something, or None."""
        return next((best for best in reversed(self.bests) if best.params is not None), None)

    def make_writable(self):
        """Give it arrays of its own where they came read-only from a memory map."""
        self.control = self.control if self.control.flags.writeable else self.control.copy()
        self.moments, self.averaged = writable(self.moments), writable(self.averaged)
        for best in self.bests:
            best.make_writable()

    def copy(self):
        """An independent one."""
        new = copy.copy(self)
        new.control, new.plateau, new.history = self.control.copy(), dict(self.plateau), copy.copy(self.history)
        new.moments, new.averaged = (None if a is None else realigned(a) for a in (self.moments, self.averaged))
        new.bests = [best.copy() for best in self.bests]
        return new
