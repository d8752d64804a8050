"""The engine's table of a training on some number of threads, filled in once and called slice by slice."""

import numpy as np

from . import engine
from ._phases import prepare_phases
from ._system import ticks_per_second
from .few_rows import used_rows
from .gemm import padded
from .layers.base import DATA, OP
from .layout import aligned
from .norms import judge_norm, limit_norms
from .optimizers.base import CONTROL, add, average, limit, norm, prune
from .program import share
from .shards import late_gradient, shard_through
from .spectral import correct_gradient, find_norm
from .tables import PART, SETTINGS, TRAIN
from .truncation import window_bytes

SHARD_ROUTINES = shard_through, late_gradient
CHANGING = slice(TRAIN.time, TRAIN.scalars + 1)  # entries of the table that are set for each call


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
        engine.train.prepare(threads)
        self._training, self._threads = training, threads
        self.job = np.zeros(TRAIN.size, np.int64)
        self.gate, *kept = prepare_phases(self.job, threads)
        self._settings = np.zeros(2)
        self._tables = self._constant_tables(update) | {TRAIN.settings: self._settings}
        training.data[:, DATA.state], training.data[:, DATA.training] = training.model.state.ctypes.data, update
        if update:
            self._bind_update()
        self._bind_gradients(update)
        if training.model.mask is not None:
            self.job[TRAIN.prune] = prune.address(training.model.dtype)
            self._tables[TRAIN.mask] = training.model.mask
        self._tables[TRAIN.late_work] = self._tables[TRAIN.work] if training.late[1] is None else training.late[1]
        for entry, array in self._tables.items():
            self.job[entry] = array.ctypes.data
        self._kept, self.address, self._second = kept, self.job.ctypes.data, ticks_per_second()

    def _constant_tables(self, update):
        """{entry: array} of what is the same with an update and without; the counts that go with them are set."""
        training, model, program = self._training, self._training.model, self._training.program
        counts = {
            TRAIN.ops: len(program.table), TRAIN.n_shards: training.plan.shards, TRAIN.n_segments: len(training.segments),
            TRAIN.n_parts: len(training.parts), TRAIN.n_params: len(model.params), TRAIN.itemsize: model.dtype.itemsize,
            TRAIN.capacity: training.capacity, TRAIN.chunk: training.chunk, TRAIN.loss_rows: program.loss_rows,
            TRAIN.by_shards: training.by_shards, TRAIN.whole: program.whole, TRAIN.unit: program.unit,
            TRAIN.windows: training.windows, TRAIN.window_steps: training.window_steps,
            TRAIN.checkpoints: training.checkpoints, TRAIN.ends_whole: program.ends_whole and training.windows > 1,
            TRAIN.work_bytes: program.n_work * model.dtype.itemsize if training.apart else 0,
        }  # fmt: skip
        for entry, count in counts.items():
            self.job[entry] = count
        routines = [*engine.ROUTINES, *(SHARD_ROUTINES if training.by_shards else ())]
        routines += [used_rows] if update and program.table[:, OP.touched].any() else []
        routines += [find_norm, correct_gradient] if program.table[:, OP.spectral].any() else []
        for routine in routines:
            self.job[getattr(TRAIN, routine.__name__)] = routine.address
        return {
            TRAIN.program: program.table, TRAIN.segments: training.segments, TRAIN.parts: training.parts,
            TRAIN.bounds: share(training.parts[:, PART.n_params], self._threads), TRAIN.data: training.data,
            TRAIN.control: model.trained.control, TRAIN.scale: training.scale, TRAIN.losses: training.losses,
            TRAIN.squares: training.squares, TRAIN.params: model.params,
            TRAIN.work: program.workspace(self._threads if training.apart else 1),
            TRAIN.late: training.late[0],
        }  # fmt: skip

    def _bind_update(self):
        """What the update needs: the kernel that knows the optimizer's rules, or the faster one that knows none."""
        model, job, tables = self._training.model, self.job, self._tables
        optimizer, dtype, factors = model.optimizer, model.dtype, model.optimizer.factors(self._training.factors)
        kernel = optimizer.update_kernel if optimizer.is_plain(factors) else optimizer.full_kernel
        job[TRAIN.update], job[TRAIN.skip_nonfinite] = kernel.address(dtype), optimizer.skip_nonfinite
        tables[TRAIN.moments], tables[TRAIN.factors] = model.moments, factors
        model.trained.control[CONTROL.clip_norm] = optimizer.clip_norm or 0.0
        if self._training.measures_norm:
            job[TRAIN.norm], job[TRAIN.judge_norm] = norm.address(dtype), judge_norm.address
        if optimizer.average is not None:
            job[TRAIN.average], tables[TRAIN.averaged] = average.address(dtype), model.averaged
            model.trained.control[CONTROL.average_decay] = optimizer.average
        if len(self._training.limits):
            optimizer.refuse("max_norm")
            job[TRAIN.limit], job[TRAIN.n_limits] = limit.address(dtype), len(self._training.limits)
            job[TRAIN.limit_norms] = limit_norms.address
            tables[TRAIN.limits], tables[TRAIN.most] = self._training.limits, self._training.limit_norms

    def _bind_gradients(self, update):
        """Where gradients stand: in the model's array if they are kept or come in pieces, in moments, or nowhere for long."""
        training, model, job, tables = self._training, self._training.model, self.job, self._tables
        size, moments = padded(int(training.parts[:, PART.n_params].max(initial=1))), training.plan.shards
        tables[TRAIN.scratch] = aligned(self._threads * 2 * size, model.dtype)
        job[TRAIN.scratch_bytes], job[TRAIN.add] = size * model.dtype.itemsize, add.address(model.dtype)
        whole = update and training.batch_size <= training.capacity  # batches that are updated with and have one piece
        if training.by_shards or (whole and self._threads <= moments > 1):
            tables[TRAIN.own_grads] = aligned(moments * len(model.params), model.dtype)
            job[TRAIN.own] = tables[TRAIN.own_grads].nbytes // moments
        if training.windows > 1:
            tables[TRAIN.more_grads] = aligned(self._threads * len(model.params), model.dtype)
            job[TRAIN.window_bytes] = window_bytes(training.source, training.window_steps)
        if not whole or (job[TRAIN.norm] and not job[TRAIN.own]):
            tables[TRAIN.grads] = model.grads
        elif job[TRAIN.own]:
            tables[TRAIN.grads] = tables[TRAIN.own_grads]

    def __call__(self, first, last, skip, batch, n, arrays, l2, seconds):
        """Batches first..last, from row `skip` of the first on, until the time is up; see `engine.train`.

        arrays : addresses of batch_scales, values and scalars

        Returns (batches done, rows of the next one that are done).
        """
        self.gate[:] = 0
        self._settings[SETTINGS.l2] = l2
        self.job[CHANGING] = int(self._second * seconds), first, last, skip, batch, n, *arrays
        engine.train(self._threads, self.address)
        return int(self.job[TRAIN.first]) - first, int(self.job[TRAIN.skip])
