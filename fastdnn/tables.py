"""What the engine is told: the names of the entries of its tables.

`TRAIN` and `INFER` are of a call; `PART`, `SEGMENT` and `LIMIT` are rows that a program or a training makes; what an op and
what the kernels of layers are told stands with the layers (`layers.base.OP`, `DATA`).
"""

from numba import types

from ._phases import PHASES
from ._records import Record

# The table of a call: the entries of `_phases`, then addresses and counts that the loops need. `time`: ticks to work.
CALL = Record("program", "ops", "data", "params", "work", "time", "first", "last", after=PHASES)
TRAIN = Record(
    "skip", "batch", "n", "batch_scales", "values", "scalars",  # these change from call to call, as do those from `time` on
    "n_shards", "segments", "n_segments", "parts", "n_parts", "bounds", "control", "settings", "grads", "moments", "update",
    "n_params", "scratch", "scratch_bytes", "itemsize", "own", "own_grads", "add", "norm", "average",
    "averaged", "limit", "limits", "n_limits", "most", "factors", "skip_nonfinite", "prune", "mask",
    "capacity", "scale", "losses", "squares", "loss_rows", "chunk",
    # of networks of images and series: whether a shard goes through all ops before the next, see `shards`; of
    # sequences, in how many windows of how many steps, bytes of one in a sample, an array like `own_grads` for each share,
    # whether gradients go through all windows, and whether scores are of whole sequences
    "by_shards", "whole", "work_bytes", "unit", "late", "late_work", "shard_through", "late_gradient",
    "windows", "window_steps", "window_bytes", "more_grads", "checkpoints", "ends_whole",
    # routines of the engine's own
    "together", "rows_of_share", "parts_of_share", "forward_and_back", "gradients_and_update", "judge_norm", "limit_norms",
    "used_rows", "find_norm", "correct_gradient",
    # of its phases, written by the leader: what is to be done, by which segment, with which rows and scalars of the optimizer
    "kind", "segment", "start", "begin", "rows", "step_scalars", "final", "fine",
    after=CALL,
)  # fmt: skip
# pieces, the next one that nobody has taken, whether to take no more, and bytes of a workspace; samples that ops before
# `whole` take at a time, always in the same place; where (in bytes) the input of `whole` is made and where it is taken, of a
# sample. Of one sample: addresses of whether each op is divided, and of the shares of all; the op that is being shared.
INFER = Record(
    "pieces", "next_piece", "stopped", "work_bytes", "chunk", "whole", "made", "taken", "sample_bytes", "divided", "shared",
    "op", after=CALL,
)  # fmt: skip

# Decay as the user means it, and divided by the sum of a batch's weights.
SETTINGS = Record("l2", "decay", number=types.float64)
# Units [first_unit, + units) of an op are the parameters [first_param, + n_params), of the array `entry`.
PART = Record("op", "first_unit", "units", "first_param", "n_params", "decays", "entry")
# Ops [forward, forward_end) forward, ops backward, ..., backward_end back, then kernel `sync` (-1: none) of `sync_op`.
SEGMENT = Record("forward", "forward_end", "backward", "backward_end", "sync_op", "sync")
# A matrix with a largest norm of its columns.
LIMIT = Record("op", "rows", "first_param", "stride", "columns")
