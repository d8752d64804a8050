"""A network step by step: recurrent layers go on from the states that the step before has left."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._phases import prepare_phases
from ._system import ticks_per_second
from .forward import infer
from .layers.base import DATA
from .layers.recurrent import Recurrent
from .layers.recurrent_rows import CELL, RECURRENT
from .losses import scores_link
from .program import Program
from .tables import INFER


def layout_of_a_step(whole):
    """Of a network's layout the one for sequences of one step; ValueError if a layer needs to see more of them at once."""
    layout = whole.of_steps(1)
    for key, layer in layout.leaves:
        alone = layer.go_backwards is False if isinstance(layer, Recurrent) else not layer.recurrent
        windows = layer.takes_windows and not (layer.recurrent or layer.takes_ids or layer.name == "spatial_dropout")
        if windows or layer.reshapes or not alone:
            raise ValueError(f"layer {key.rpartition('.')[0]}, {layer!r}: it needs more than one step at once; use predict")
    if not any(layer.recurrent for _, layer in layout.leaves):
        raise ValueError("there is no recurrent layer, so nothing to remember from step to step; use predict")
    return layout


class Stepper:
    """Predictions for n sequences, a step at a time; what `Model.stepper` gives.

    A call costs little beside the products: no array is made but the result. It reads the model's parameters as they are at
    the time. One Python thread at a time may use it; `copy` makes others.

    Parameters
    ----------
    network : Network
        Built.
    n : int
        Sequences that go on side by side.
    scores : bool
        Whether steps give raw scores, and not predictions.

    Attributes
    ----------
    states : dict of ndarray
        "0.lstm.h" and "0.lstm.c", (n, units) each: views that may be read and written.
    """

    def __init__(self, network, n, scores=False):
        self._network, self._scores, self._n = network, scores, n
        shape, dtype = network.layout.shapes[0], network.params.dtype
        layout = layout_of_a_step(network.layout)
        self._kind = "ids" if network.layers[0].takes_ids else "float"
        self._program = Program(layout, network.loss, self._kind, dtype, n, chunk=n, stateful=True)
        link = scores_link if scores else network.loss.link_for(network.n_out)
        self._program.end_with(link.address(dtype.name))
        self._x = np.zeros((n, int(np.prod(shape[1:]))), np.int64 if self._kind == "ids" else dtype)
        self._result = np.zeros((n, layout.shapes[-1][-1]), dtype)
        self.states = self._state_views(layout)
        self._bind(network, dtype.itemsize)

    def _state_views(self, layout):
        """Views of the states in the workspace."""
        work, found = self._program.workspace(), {}
        for number, (key, layer) in enumerate(layout.leaves):
            if layer.recurrent:
                op = RECURRENT.on(self._program.table[number + 1])
                cell = CELL.on(self._program.cells[number + 1][0])
                for name, at in (("h", cell.h), ("c", cell.c)):
                    if name == "h" or layer.has_c:
                        rows = work[at : at + self._n * op.sample_h].reshape(self._n, op.sample_h)
                        found[f"{key}.{name}"] = rows[:, : op.units]
        return found

    def _bind(self, network, itemsize):
        """The tables of a call, filled in once."""
        infer.prepare(1)
        self._data, self._flag = np.zeros(DATA.size, np.int64), np.zeros(1, np.int64)
        data, program, job = self._data, self._program, np.zeros(INFER.size, np.int64)
        data[[DATA.x, DATA.x_row, DATA.x_column]] = self._x.ctypes.data, self._x.shape[1], 1
        data[[DATA.flag, DATA.result, DATA.state]] = [a.ctypes.data for a in (self._flag, self._result, network.state)]
        self._gate, *kept = prepare_phases(job, 1)
        job[INFER.program], job[INFER.ops] = program.table.ctypes.data, len(program.table)
        job[INFER.data], job[INFER.params] = data.ctypes.data, network.params.ctypes.data
        job[INFER.work], job[INFER.work_bytes] = program.workspace().ctypes.data, program.n_work * itemsize
        job[INFER.chunk], job[INFER.whole] = self._n, program.whole
        job[INFER.made : INFER.sample_bytes + 1] = [k * itemsize for k in program.boundary]
        self._changing = slice(INFER.time, INFER.stopped + 1)  # time, first, last, pieces, next_piece, stopped
        self._call = np.array([int(ticks_per_second()), 0, self._n, 1, 0, 0])
        self._job, self._kept, self._address = job, kept, job.ctypes.data

    def step(self, x: ArrayLike) -> np.ndarray:
        """Predictions after one more step of each sequence.

        Parameters
        ----------
        x : array-like of shape (n, features), or of ids, shape (n,)
            What comes next.

        Returns
        -------
        ndarray of shape (n, n_out), of the model's float type

        Raises
        ------
        ValueError
            If x has another shape, or an id is none that the network knows; the states stay as they are.
        """
        x = np.asarray(x)
        if x.size != self._x.size or len(x) != self._n:
            wanted = (self._n,) if self._kind == "ids" else self._x.shape
            raise ValueError(f"x must have shape {wanted}, what comes next of each sequence, got {x.shape}")
        if x.dtype.kind not in ("iu" if self._kind == "ids" else "fiub"):
            raise ValueError(f"x must hold {'integers' if self._kind == 'ids' else 'numbers'}, got {x.dtype}")
        if self._kind == "ids":
            self._network.layers[0].check_ids(x.reshape(self._n, 1))
        self._x[...] = x.reshape(self._x.shape)
        self._job[self._changing] = self._call
        self._gate.fill(0)
        infer(1, self._address)
        return self._result.copy()

    def reset(self, rows: Any = None) -> Self:
        """Begin anew: with all sequences, or with those that `rows` picks (an index, a slice, a mask)."""
        for state in self.states.values():
            state[slice(None) if rows is None else rows] = 0
        return self

    def copy(self) -> "Stepper":
        """Another one that goes on from the same states."""
        other = Stepper(self._network, self._n, self._scores)
        for key, state in self.states.items():
            other.states[key][...] = state
        return other

    def __deepcopy__(self, memo):
        return self.copy()

    __copy__ = copy
