"""A network with its parameters: built, seen as flat arrays and as views of them, copied."""

import copy
from collections.abc import Sequence
from typing import Self

import numpy as np

from . import rng
from ._guard import guard
from .initializers import draw
from .layers import Layer
from .layout import Layout, aligned, realigned
from .losses import Loss, get_loss
from .network import Best, Network, Trained, check_layers
from .optimizers import Optimizer, get_optimizer
from .specs import check_count

DTYPES = ("float32", "float64", "bfloat16")


def check_dtype(dtype):
    """(float type of values, name of that of products in training) of what a model is told; ValueError if it is none."""
    try:
        named = isinstance(dtype, str) and dtype == "bfloat16"  # NumPy has no such type
        name = dtype if named else np.dtype(dtype).name if dtype is not None else None
    except TypeError:
        name = None
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
    return np.dtype("float32" if name == "bfloat16" else name), name


def _of_training(name, doc):
    """A property that stands in `Trained`."""
    return property(lambda self: getattr(self.trained, name), lambda self, value: setattr(self.trained, name, value), doc=doc)


class Weights:
    """Base of `Model`: a network with its parameters, built, seen from all sides, copied."""

    def __init__(self, layers, loss, optimizer, dtype, random_state):
        layers = check_layers(layers)
        self._dtype, self._precision = check_dtype(dtype)
        self.network, self._optimizer = Network(layers, get_loss(loss)), get_optimizer(optimizer)
        self.seed = rng.check_seed(random_state)
        self.trained, self.bindings, self._grads = Trained(), {}, None  # bindings: of `steps`
        self.kept_program, self._mask = None, None  # of `training`; see `mask`

    # Arrays are laid out from these, so they are checked when assigned.

    @property
    def dtype(self) -> np.dtype:
        """The float type of all values, fixed."""
        return self._dtype

    @property
    def precision(self) -> str:
        """Of the products of training, fixed: "bfloat16", or the name of `dtype`."""
        return self.__dict__.get("_precision", self._dtype.name)  # pickles of before have none

    @property
    def layout(self):
        """Where the parameters stand in `params` (a `Layout`), None before the model is built."""
        return self.network.layout

    @property
    def layers(self) -> tuple[Layer, ...]:
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
    def loss(self) -> Loss:
        """The `Loss`; another one may be assigned, by name or as it is."""
        return self.network.loss

    @loss.setter
    def loss(self, loss):
        self.network = self.network._replace(loss=get_loss(loss), idle=[])

    @property
    def optimizer(self) -> Optimizer:
        """The `Optimizer`; assigning another one forgets what the old one remembered, and the last fit's history."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer):
        self._optimizer, self.trained = get_optimizer(optimizer), Trained(self.epochs)

    @property
    def params(self) -> np.ndarray:
        """All parameters, flat; assigning copies the values into the array, which stays."""
        return self._built().params

    @params.setter
    def params(self, values):
        values = np.asarray(values)
        if values.shape != self.params.shape:
            raise ValueError(f"params has shape {self.params.shape}, got {values.shape}")
        self.make_writable()
        self.params[...] = values
        self.trained.averaged = None
        if self.trained.moments is not None:
            self.optimizer.start(self.params, self.trained.moments)
        self.clear_pruned()

    @property
    def mask(self) -> np.ndarray | None:
        """What is pruned (see `fastdnn.compress`): 0 where a parameter stays 0 in all trainings, else 1; None: nothing is.

        A flat array like `params`, not to be written to; another one, or None, may be assigned. The gradient of what is
        pruned is 0.
        """
        return self._mask

    @mask.setter
    def mask(self, mask):
        if mask is not None:
            mask = np.asarray(mask)
            if mask.shape != self.params.shape:
                raise ValueError(f"mask must be a flat array like params, of shape {self.params.shape}, got {mask.shape}")
            mask = realigned((mask != 0).astype(self.dtype))
            mask.flags.writeable = False  # copies of the model share it
        self._mask = mask
        self.clear_pruned()

    def clear_pruned(self) -> None:
        """Zero what is pruned and all that the optimizer remembers of it: with gradients of 0 that stays so."""
        if self._mask is None:
            return
        self.make_writable()
        pruned, trained = self._mask == 0, self.trained
        flats = [self.params, *(a for a in (trained.averaged, trained.moments) if a is not None)]
        for flat in flats:
            flat.reshape(-1, self.layout.size)[:, pruned] = 0

    # ------------------------------------------------------------ building

    def build(self, input_shape: int | Sequence[int], initialize: bool = True) -> Self:
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
                fan_in, fan_out = entry.parameter.fans or (entry.rows, entry.parameter.columns)
                source = rng.generator(self.seed, rng.WEIGHTS, i)
                entry.view(flat)[...] = draw(entry.parameter.initializer, source, entry.shape, fan_in, fan_out)
        self.network = self.network._replace(layout=layout, params=params, state=state, idle=[])
        self._grads, self.trained, self._mask = None, Trained(), None
        self.start_states()
        return self

    def start_states(self) -> None:
        """Give states that depend on the parameters their first values."""
        weights, states = self.weights, self.states
        for key, layer in self.layout.leaves:
            layer.start(key, weights, states)

    def _built(self):
        """The `Network` as it is now; ValueError if it has no parameters yet."""
        if self.network.layout is None:
            raise ValueError("this Model has no parameters yet: call fit(X, y) or build(input_shape) first")
        return self.network

    @property
    def grads(self) -> np.ndarray:
        """Flat gradient, as the last `loss_and_grad` left it."""
        size = self._built().layout.size
        if self._grads is None:
            self._grads = aligned(size, self.dtype)
        return self._grads

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """dict of views into `params`, in layer order; assigning to a key writes into the view."""
        network = self._built()
        return network.layout.views(network.params)

    @property
    def state(self) -> np.ndarray:
        """Running statistics of the layers that have some, flat."""
        return self._built().state

    @property
    def states(self) -> dict[str, np.ndarray]:
        """dict of views into `state`, in layer order, "1.batch_norm.mean" for one."""
        network = self._built()
        return network.layout.state_views(network.state)

    @property
    def averaged(self) -> np.ndarray | None:
        """Moving average of `params` where the optimizer has `average`, otherwise None; a flat array like `params`.

        ``model.params = model.averaged`` predicts with it.
        """
        if self.optimizer.average is None:
            return None
        if self.trained.averaged is None:
            self.trained.averaged = realigned(self.params)
        return self.trained.averaged

    @property
    def skipped_steps(self) -> int:
        """Steps that were left out because their loss or gradient was not finite, since the optimizer was set."""
        return self.trained.skipped_steps

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """dict of views into `grads`, with the keys of `weights`."""
        return self._built().layout.views(self.grads)

    def make_writable(self):
        """Give the model flat arrays of its own where they came read-only from a memory map."""
        if not self.params.flags.writeable:
            params, state = realigned(self.params), realigned(self.state)
            self.network = self.network._replace(params=params, state=state, idle=[])
        self.trained.make_writable()

    def clear_padding(self):
        """Zero what stands between the parameters, if a diverged training has left NaN there."""
        if not np.isfinite(self.params).all():
            self.params[self.layout.padding()] = 0

    def keep_best(self):
        """Remember the parameters and running statistics as they are now, for `restore_best`."""
        best = Best()
        best.keep(self._built())
        self.trained.bests = [best]

    @property
    def best(self):
        """The `Best` that `restore_best` puts back: the last one of `bests` in which there is something, or None."""
        return self.trained.best

    def restore_best(self):
        """Put back what `keep_best`, or the last of a fit's callbacks that keep the best weights, has remembered.

        Then forget it, and what the others have. Where nothing has been kept, nothing changes.
        """
        best, self.trained.bests = self.best, []
        if best is not None:
            self.make_writable()
            if not np.array_equal(self.params, best.params, equal_nan=True):  # otherwise the optimizer goes on as it is
                self.params = best.params
            self.state[...] = best.state

    @property
    def moments(self):
        """The optimizer's flat memory, made on first use."""
        if self.trained.moments is None:
            self.trained.moments = aligned(max(1, self.optimizer.n_arrays) * self.layout.size, self.dtype)
            self.optimizer.start(self.params, self.trained.moments)
        return self.trained.moments

    step = _of_training("step", "Steps since the optimizer was set.")
    epochs = _of_training("epochs", "Epochs trained in all.")
    history = _of_training("history", "`History` of the last fit, or None.")

    # ------------------------------------------------------------ copies

    def copy(self) -> Self:
        """A model that is equal and independent: what training writes (arrays, history, the optimizer's rate) is its own."""
        new = object.__new__(type(self))
        with guard(self):
            network = self.network
            if network.params is not None:
                network = network._replace(params=realigned(network.params), state=realigned(network.state))
            own = {"_optimizer": copy.copy(self._optimizer), "trained": self.trained.copy(), **self._not_copied()}
            new.__dict__.update({**self.__dict__, **own, "network": network._replace(idle=[])})
        return new

    __copy__ = copy

    def go_back(self, earlier):
        """Become again what this model was when `earlier`, a copy of it, was made; views of `params` stay views of it."""
        network = self.network
        if network.params is not None and network.params.flags.writeable:  # otherwise nothing has been written
            network.params[...], network.state[...] = earlier.params, earlier.state
        kept = {"network": earlier.network._replace(params=network.params, state=network.state, idle=[])}
        self.__dict__.update({**earlier.__dict__, **kept})

    @staticmethod
    def _not_copied():
        """What a copy makes anew when it needs it."""
        return {"bindings": {}, "_grads": None, "kept_program": None}

    def __getstate__(self):
        with guard(self):
            state = {**self.__dict__, "network": self.network._replace(idle=[]), **self._not_copied()}
            return copy.deepcopy(state) if guard(self).shared() else state

    def __setstate__(self, state):
        self.__dict__.update({"_mask": None} | (state if "trained" in state else _of_before(state)))
        network, trained = self.network, self.trained
        if network.params is not None and network.params.flags.writeable:  # memory maps stay as they are
            network = network._replace(params=realigned(network.params), state=realigned(network.state))
        self.__dict__.update(self._not_copied(), network=network._replace(idle=[]))
        for name in ("moments", "averaged"):
            array = getattr(trained, name)
            if array is not None and array.flags.writeable:
                setattr(trained, name, realigned(array))
        _move_parameters(self)


def _move_parameters(model):
    """Let the parameters of a pickle of before stand where layers have them now: kernels of one output stood elsewhere."""
    network, trained, before = model.network, model.trained, model.network.layout
    if before is None or not any(entry.shape[-1] == 1 < len(entry.shape) for entry in before.entries):
        return
    layout = Layout(network.layers, before.shapes[0])
    if layout.fits(before):
        return

    def moved(flat):
        found = aligned(len(flat) // before.size * layout.size, flat.dtype)
        for old, new in zip(flat.reshape(-1, before.size), found.reshape(-1, layout.size), strict=True):
            layout.views(new).update(before.views(old))
        return found

    model.network = network._replace(layout=layout, params=moved(network.params))
    for name in ("moments", "averaged"):
        array = getattr(trained, name)
        setattr(trained, name, array if array is None else moved(array))
    for best in trained.bests:
        best.params = None if best.params is None else moved(best.params)
    model.mask = None if model.mask is None else moved(model.mask)


def _of_before(state):
    """The state of a pickle that was made when a model had all of `Trained` itself, under older names."""
    own = {name: state[name] for name in ("network", "_optimizer", "_dtype", "seed", "_grads")}
    trained = Trained(state["epochs"])
    trained.step, trained.moments, trained.averaged = state["step"], state["_slots"], state["_averaged"]
    trained.control, trained.plateau, trained.rate_factor = state["rules"], state["plateau"], state["rate_factor"]
    trained.fit_start, trained.history = state["fit_start"], state["history"]
    best = state.get("best")
    trained.bests = state.get("bests", [] if best is None else [best])
    return {**own, "trained": trained}
