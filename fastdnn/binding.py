"""The engine's table of a training on some number of threads, filled in once and called slice by slice."""

import numpy as np

from . import engine
from ._phases import prepare_phases
from ._system import ticks_per_second
from .gemm import padded
from .layers.base import LEARNS, STATE
from .optimizers.base import add, average, limit, norm
from .program import aligned, share

CHANGING = slice(engine.TIME, engine.NUMBERS_AT + 1)  # entries of the table that are set for each call


class Binding:
    """`engine.train` with the arrays of a `Training` on so many threads.

    Parameters
    ----------
    training : Training
        Its arrays and its model's are read and written; who replaces one of them makes a new binding.
    threads : int
        Shares of each phase, and threads at most.
    update : bool
        Whether the parameters change after each batch; otherwise gradients are kept.
    """

    def __init__(self, training, threads, update):
        self._training, self._threads = training, threads
        self.job = np.zeros(engine.TRAIN_JOB, np.int64)
        self.gate, *kept = prepare_phases(self.job, threads)
        self._settings = np.zeros(2)
        self._tables = self._constant_tables() | {engine.SETTINGS: self._settings}
        training.data[:, STATE], training.data[:, LEARNS] = training.model.state.ctypes.data, update
        if update:
            self._bind_update()
        self._bind_gradients(update)
        for entry, array in self._tables.items():
            self.job[entry] = array.ctypes.data
        self._kept, self.address, self._second = kept, self.job.ctypes.data, ticks_per_second()

    def _constant_tables(self):
        """{entry: array} of what is the same with an update and without; the counts that go with them are set."""
        training, model, program = self._training, self._training.model, self._training.program
        counts = {
            engine.OPS: len(program.table), engine.SLOT_COUNT: len(training.data), engine.N_SEGMENTS: len(program.segments),
            engine.N_PARTS: len(training.parts), engine.N_PARAMS: len(model.params), engine.ITEMSIZE: model.dtype.itemsize,
            engine.CAPACITY: program.rows, engine.LOSS_ROWS: program.loss_rows,
        }  # fmt: skip
        for entry, count in counts.items():
            self.job[entry] = count
        return {
            engine.PROGRAM: program.table, engine.SEGMENTS: program.segments, engine.PARTS: training.parts,
            engine.BOUNDS: share(training.parts[:, engine.SIZE], self._threads), engine.DATA_AT: training.data,
            engine.RULES_AT: model.rules, engine.SCALE_AT: training.scale, engine.LOSSES_AT: training.losses,
            engine.SQUARES: training.squares, engine.PARAMS: model.params, engine.WORK: program.workspace(),
        }  # fmt: skip

    def _bind_update(self):
        """What the update needs: the kernel that knows the optimizer's rules, or the faster one that knows none."""
        model, job, tables = self._training.model, self.job, self._tables
        optimizer, dtype, factors = model.optimizer, model.dtype, model.optimizer.factors(self._training.factors)
        kernel = optimizer.update_kernel if optimizer.is_plain(factors) else optimizer.full_kernel
        job[engine.UPDATE], job[engine.SKIP_NONFINITE] = kernel.address(dtype), optimizer.skip_nonfinite
        tables[engine.SLOTS], tables[engine.FACTORS] = model.slots, factors
        model.rules[engine.CLIP_NORM] = optimizer.clip_norm or 0.0
        if self._training.measures_norm:
            job[engine.NORM] = norm.address(dtype)
        if optimizer.average is not None:
            job[engine.AVERAGE], tables[engine.AVERAGED] = average.address(dtype), model.averaged
            model.rules[engine.AVERAGE_DECAY] = optimizer.average
        if len(self._training.limits):
            optimizer.refuse("max_norm")
            job[engine.LIMIT], job[engine.N_LIMITS] = limit.address(dtype), len(self._training.limits)
            tables[engine.LIMITS], tables[engine.LIMIT_NORMS] = self._training.limits, self._training.limit_norms

    def _bind_gradients(self, update):
        """Where gradients stand: in the model's array if they are kept or come in pieces, in slots, or nowhere for long."""
        training, model, job, tables = self._training, self._training.model, self.job, self._tables
        size, slots = padded(int(training.parts[:, engine.SIZE].max(initial=1))), len(training.data)
        tables[engine.SCRATCH] = aligned(self._threads * 2 * size, model.dtype)
        job[engine.SCRATCH_BYTES], job[engine.ADD] = size * model.dtype.itemsize, add.address(model.dtype)
        if not update or training.batch_size > training.program.rows:
            tables[engine.GRADS] = model.grads
        elif self._threads <= slots > 1:
            tables[engine.GRADS] = aligned(slots * len(model.params), model.dtype)
            job[engine.OWN] = tables[engine.GRADS].nbytes // slots
        elif job[engine.NORM]:
            tables[engine.GRADS] = model.grads

    def __call__(self, first, last, skip, batch, n, shares, values, numbers, l2, seconds):
        """Batches first..last, from row `skip` of the first on, until the time is up; see `engine.train`.

        Returns (batches done, rows of the next one that are done).
        """
        self.gate[:] = 0
        self._settings[engine.L2] = l2
        arrays = shares.ctypes.data, values.ctypes.data, numbers.ctypes.data
        self.job[CHANGING] = int(self._second * seconds), first, last, skip, batch, n, *arrays
        engine.train(self._threads, self.address)
        return int(self.job[engine.FIRST]) - first, int(self.job[engine.SKIP])
