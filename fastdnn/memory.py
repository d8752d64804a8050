"""The memory of a network: flat arrays, views into them, what training goes on from, and how they are laid out."""

import copy
from typing import NamedTuple

import numpy as np

from . import initializers, rng
from ._guard import guard
from .layers import Layer
from .losses import get_loss
from .optimizers import get_optimizer
from .optimizers.base import CONTROL
from .program import Layout, aligned, realigned
from .specs import check_count

DTYPES = ("float32", "float64")


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


class Memory:
    """Base of `Model`: its arrays and settings, and what else is to be kept from one call to the next."""

    def __init__(self, layers, loss, optimizer, dtype, random_state):
        layers = check_layers(layers)
        try:
            name = np.dtype(dtype).name if dtype is not None else None
        except TypeError:
            name = None
        if name not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
        self.network, self._optimizer = Network(layers, get_loss(loss)), get_optimizer(optimizer)
        self._dtype, self.seed = np.dtype(name), rng.check_seed(random_state)
        self._moments = self._grads = self._averaged = None
        self.control, self.plateau = np.zeros(CONTROL.size), {}
        self.step, self.epochs = 0, 0
        self.history, self.fit_start, self.rate_factor, self.bests = None, (0, 0), 1.0, []
        self.bindings = {}  # of `steps`

    # Memory is laid out from these, so they are checked when assigned.

    @property
    def dtype(self):
        """The float type, fixed."""
        return self._dtype

    @property
    def layout(self):
        """Where the parameters stand in `params` (a `Layout`), None before the model is built."""
        return self.network.layout

    @property
    def layers(self):
        """The layers, a tuple; others with the same parameters (another activation, say) may be assigned."""
        return self.network.layers

    @layers.setter
    def layers(self, layers):
        layers, layout = check_layers(layers), None
        if self.layout is not None:
            layout = Layout(layers, self.layout.shapes[0])
            if not self.layout.fits(layout):
                raise ValueError("other layers than those the model was built with must have the same parameters and outputs")
        self.network = self.network._replace(layers=layers, layout=layout, idle=[])

    @property
    def loss(self):
        """The `Loss`; another one may be assigned, by name or as it is."""
        return self.network.loss

    @loss.setter
    def loss(self, loss):
        self.network = self.network._replace(loss=get_loss(loss), idle=[])

    @property
    def optimizer(self):
        """The `Optimizer`; assigning another one forgets what the old one remembered, and the last fit's history."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer):
        self._optimizer, self._moments, self._averaged, self.step = get_optimizer(optimizer), None, None, 0
        self.control, self.plateau = np.zeros(CONTROL.size), {}
        self.history, self.fit_start, self.rate_factor, self.bests = None, (0, self.epochs), 1.0, []

    @property
    def params(self):
        """All parameters, flat; assigning copies the values into the array, which stays."""
        return self._built().params

    @params.setter
    def params(self, values):
        values = np.asarray(values)
        if values.shape != self.params.shape:
            raise ValueError(f"params has shape {self.params.shape}, got {values.shape}")
        self.make_writable()
        self.params[...] = values
        self._averaged = None
        if self._moments is not None:
            self.optimizer.start(self.params, self._moments)

    # ------------------------------------------------------------ building

    def build(self, input_shape, initialize=True):
        """Lay out the parameters for samples of that shape and initialize them.

        Parameters
        ----------
        input_shape : tuple of int or int
            Shape of one sample: (features,), (time, features), (height, width, channels), ...
        initialize : bool, default=True
            Whether to draw initial values; otherwise all parameters are 0.

        Returns
        -------
        Model
            Itself.

        Raises
        ------
        ValueError
            If a layer does not fit the shape; the message names it.
        """
        shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
        shape = tuple(check_count("input_shape", n) for n in shape)
        layout = Layout(self.layers, shape)
        params, state = aligned(layout.size, self.dtype), aligned(layout.state_size, self.dtype)
        for entries, flat in ((layout.entries if initialize else (), params), (layout.states, state)):
            for i, entry in enumerate(entries):
                fan_in, fan_out = entry.parameter.fans or (entry.rows, entry.shape[-1])
                source = rng.generator(self.seed, rng.WEIGHTS, i)
                entry.view(flat)[...] = initializers.draw(entry.parameter.initializer, source, entry.shape, fan_in, fan_out)
        self.network = self.network._replace(layout=layout, params=params, state=state, idle=[])
        self._grads = self._moments = self._averaged = None
        self.control, self.plateau = np.zeros(CONTROL.size), {}
        self.step, self.epochs = 0, 0
        self.history, self.fit_start, self.rate_factor, self.bests = None, (0, 0), 1.0, []
        return self

    def _built(self):
        """The `Network` as it is now; ValueError if it has no parameters yet."""
        if self.network.layout is None:
            raise ValueError("this Model has no parameters yet: call fit(X, y) or build(input_shape) first")
        return self.network

    @property
    def grads(self):
        """Flat gradient, as the last `loss_and_grad` left it."""
        size = self._built().layout.size
        if self._grads is None:
            self._grads = aligned(size, self.dtype)
        return self._grads

    @property
    def weights(self):
        """dict of views into `params`, in layer order; assigning to a key writes into the view."""
        network = self._built()
        return network.layout.views(network.params)

    @property
    def state(self):
        """Running statistics of the layers that have some, flat."""
        return self._built().state

    @property
    def states(self):
        """dict of views into `state`, in layer order, "1.batch_norm.mean" for one."""
        network = self._built()
        return network.layout.state_views(network.state)

    @property
    def averaged(self):
        """Moving average of `params` where the optimizer has `average`, otherwise None; a flat array like `params`.

        ``model.params = model.averaged`` predicts with it.
        """
        if self.optimizer.average is None:
            return None
        if self._averaged is None:
            self._averaged = realigned(self.params)
        return self._averaged

    @property
    def skipped_steps(self):
        """Steps that were left out because their loss or gradient was not finite, since the optimizer was set."""
        return int(self.control[CONTROL.skipped])

    @property
    def gradients(self):
        """dict of views into `grads`, with the keys of `weights`."""
        return self._built().layout.views(self.grads)

    def make_writable(self):
        """Give the model flat arrays of its own where they came read-only from a memory map."""
        if not self.params.flags.writeable:
            params, state = realigned(self.params), realigned(self.state)
            self.network = self.network._replace(params=params, state=state, idle=[])
        if not self.control.flags.writeable:
            self.control = self.control.copy()
        if self._averaged is not None and not self._averaged.flags.writeable:
            self._averaged = realigned(self._averaged)
        if self._moments is not None and not self._moments.flags.writeable:
            self._moments = realigned(self._moments)
        for best in self.bests:
            best.make_writable()

    def clear_padding(self):
        """Zero what stands between the parameters, if a diverged training has left NaN there."""
        if not np.isfinite(self.params).all():
            self.params[self.layout.padding()] = 0

    def keep_best(self):
        """Remember the parameters and running statistics as they are now, for `restore_best`."""
        best = Best()
        best.keep(self._built())
        self.bests = [best]

    @property
    def best(self):
        """The `Best` that `restore_best` puts back: the last one of `bests` in which there is something, or None."""
        return next((best for best in reversed(self.bests) if best.params is not None), None)

    def restore_best(self):
        """Put back what `keep_best`, or the last of a fit's callbacks that keep the best weights, has remembered.

        Then forget it, and what the others have. Where nothing has been kept, nothing changes.
        """
        best, self.bests = self.best, []
        if best is not None:
            self.make_writable()
            if not np.array_equal(self.params, best.params, equal_nan=True):  # otherwise the optimizer goes on as it is
                self.params = best.params
            self.state[...] = best.state

    @property
    def moments(self):
        """The optimizer's flat memory, made on first use."""
        if self._moments is None:
            self._moments = aligned(max(1, self.optimizer.n_arrays) * self.layout.size, self.dtype)
            self.optimizer.start(self.params, self._moments)
        return self._moments

    # ------------------------------------------------------------ copies

    def copy(self):
        """A model that is equal and independent: what training writes (arrays, history, the optimizer's rate) is its own."""
        new = object.__new__(type(self))
        with guard(self):
            own = {
                "_grads": None, "control": self.control.copy(), "plateau": dict(self.plateau),
                "_optimizer": copy.copy(self._optimizer), "history": copy.copy(self.history),
                "bests": [best.copy() for best in self.bests], "bindings": {},
            }  # fmt: skip
            new.__setstate__({**self.__dict__, **own, "network": self.network._replace(idle=[])})
        return new

    __copy__ = copy

    def go_back(self, earlier):
        """Become again what this model was when `earlier`, a copy of it, was made; views of `params` stay views of it."""
        network = self.network
        if network.params is not None and network.params.flags.writeable:  # otherwise nothing has been written
            network.params[...], network.state[...] = earlier.params, earlier.state
        kept = {"network": earlier.network._replace(params=network.params, state=network.state, idle=[])}
        self.__dict__.update({**earlier.__dict__, **kept})

    def __getstate__(self):
        with guard(self):
            state = {**self.__dict__, "network": self.network._replace(idle=[]), "_grads": None, "bindings": {}}
            return copy.deepcopy(state) if guard(self).shared() else state

    def __setstate__(self, state):
        older = {"_slots": "_moments", "rules": "control"}  # names in pickles of before
        self.__dict__.update({"bindings": {}, **{older.get(name, name): value for name, value in state.items()}})
        if "bests" not in state:  # a pickle of before, when all callbacks had one
            best = self.__dict__.pop("best", None)
            self.bests = [] if best is None else [best]
        params = self.network.params
        if params is not None and params.flags.writeable:  # memory maps stay as they are
            state = realigned(self.network.state)
            self.network = self.network._replace(params=realigned(params), state=state, idle=[])
        for name in ("_moments", "_averaged"):
            array = getattr(self, name)
            if array is not None and array.flags.writeable:
                setattr(self, name, realigned(array))
