"""The compiled loops that walk a program. They know no layer, no loss, no optimizer and no float type.

A step of training is two phases that threads share (see `_phases`). In the first each share is some of the batch's rows,
taken through all ops, forward and back. In the second it is some parts of the parameters: gradient, update and whatever is
derived from the parameters, one after the other while the part is in the cache. The gradient is a sum over fixed slots of
rows (`Training.slots`), each summed in order: the results do not depend on the number of threads.

Where no share is without a slot, each sums the gradients of its own slots in the first phase: then gradients cross between
the cores and not activations, which are more in small networks, and whole matrices are one product instead of a product
for each part. The sums are the same.

Both loops look at the clock and return when their time is up, wherever they are: who called them goes on from there.
"""

import math

from . import _atomic
from ._jit import driver, inner
from ._phases import (
    OVER,
    PHASES,
    SHARES,
    ZERO,
    arrive,
    claim,
    end_phase,
    end_phases,
    next_phase,
    open_phase,
    share_is_done,
    ticks,
)
from ._simd import caller, doubles_at, integers_at
from .layers.base import (
    BACKWARD,
    BASE,
    BLOCK,
    COLUMNS,
    DATA,
    FIRST_ROW,
    FORWARD,
    GRADIENT,
    REFRESH,
    ROWS,
    SAMPLE_ROWS,
    STEP,
    op_signature,
)
from .optimizers.base import (
    NUMBERS,
    SCALE_OF_GRADIENT,
    add_signature,
    average_signature,
    limit_signature,
    norm_signature,
    update_signature,
)

# Entries of `job`, the table of a call: those of `_phases`, then addresses and counts that the loops need.
(PROGRAM, OPS, DATA_AT, PARAMS, WORK, TIME, FIRST, LAST) = range(PHASES, PHASES + 8)  # TIME: ticks until it is to return
AT = PHASES + 8
# of `train`, first those that change from call to call
(SKIP, BATCH, N, BATCH_SHARES, VALUES, NUMBERS_AT) = range(AT, AT + 6)
(SLOT_COUNT, SEGMENTS, N_SEGMENTS, PARTS, N_PARTS, BOUNDS, RULES_AT, SETTINGS, GRADS, SLOTS, UPDATE) = range(AT + 6, AT + 17)
(N_PARAMS, SCRATCH, SCRATCH_BYTES, ITEMSIZE, OWN, ADD, NORM, AVERAGE, AVERAGED, LIMIT, LIMITS) = range(AT + 17, AT + 28)
(N_LIMITS, LIMIT_NORMS, FACTORS, SKIP_NONFINITE, CAPACITY, SCALE_AT, LOSSES_AT, SQUARES) = range(AT + 28, AT + 36)
# of its phases, written by the leader: what is to be done, by which segment, with which rows and numbers of the optimizer
(KIND, SEGMENT_AT, AT_ROW, BEGIN, N_ROWS, NUMBERS_NOW, FINAL, FINE) = range(AT + 36, AT + 44)
LOSS_ROWS = AT + 44  # rows of a sample for the loss
TRAIN_JOB = AT + 45
# of `infer`: pieces, the next one that nobody has taken, whether to take no more, and bytes of a workspace
(PIECES, NEXT_PIECE, STOPPED, WORK_BYTES) = range(AT, AT + 4)
INFER_JOB = AT + 4

REFRESH_ALL, THROUGH, GRADIENTS, UPDATES = range(4)  # kinds of phases
L2, DECAY = range(2)  # entries of the `settings`: decay as the user means it, and divided by the sum of a batch's weights

# Entries of `rules`: largest norm of a gradient, decay of the averaged parameters; written: steps skipped so far,
# and, of the norms of the gradients, how many there were and their sum.
CLIP_NORM, AVERAGE_DECAY, SKIPPED, NORMS, NORM_SUM = range(5)
RULES = 8
# Columns of `parts`: units [LO, LO + UNITS) of op OP are the parameters [FIRST_PARAM, + SIZE), of the array ENTRY.
OP, LO, UNITS, FIRST_PARAM, SIZE, DECAYS, ENTRY = range(7)
PART, SEGMENT = 7, 6  # columns of `parts` and `segments`
FACTOR = 4  # columns of `Layout.factors`

_call_op = caller(op_signature, 8)
_call_update = caller(update_signature, 9)
_call_add = caller(add_signature, 4)
_call_norm = caller(norm_signature, 3)
_call_average = caller(average_signature, 5)
_call_limit = caller(limit_signature, 6)


@inner
def run(job, kind, o, data, work, start, lo, n):
    """Call kernel `kind` (FORWARD, ...) of op o, if it has one, for samples lo..lo+n; data and work are addresses."""
    row = integers_at(job[PROGRAM], o * COLUMNS)
    if row[kind]:
        rows = row[SAMPLE_ROWS]
        _call_op(row[kind], row, integers_at(data, 0), job[PARAMS], 0, work, start * rows, lo * rows, n * rows)


@inner
def run_units(job, kind, o, data, grads, start, lo, n):
    """Call GRADIENT or REFRESH of op o, if it has one, for units lo..lo+n of its parameters; data and grads are addresses."""
    row = integers_at(job[PROGRAM], o * COLUMNS)
    if row[kind]:
        _call_op(row[kind], row, integers_at(data, 0), job[PARAMS], grads, job[WORK], start, lo, n)


# ---------------------------------------------------------------- the first phase: rows


@inner
def segment_rows(job, data, lo, n):
    """Rows lo..lo+n of the workspace through the ops of one segment, forward and back."""
    segment, work, start = integers_at(job[SEGMENT_AT], 0), job[WORK], job[AT_ROW]
    for o in range(segment[0], segment[1]):
        run(job, FORWARD, o, data, work, start, lo, n)
    for o in range(segment[2], segment[3] - 1, -1):
        run(job, BACKWARD, o, data, work, start, lo, n)


@inner
def slot_gradients(job, data, grads):
    """The gradients of all parameters, summed over the rows of the slot `data`."""
    p = 0
    while p < job[N_PARTS]:
        first, units = integers_at(job[PARTS], p * PART), 0
        while p < job[N_PARTS] and integers_at(job[PARTS], p * PART)[ENTRY] == first[ENTRY]:
            units += integers_at(job[PARTS], p * PART)[UNITS]
            p += 1
        run_units(job, GRADIENT, first[OP], data, grads, job[AT_ROW], first[LO], units)


@inner
def slot(job, s):
    """Table `data` of slot s."""
    return integers_at(job[DATA_AT], s * DATA)


@inner
def rows_of_share(job, share):
    """Rows of a share through a segment; where shares have slots of their own, their gradients too."""
    shares, here = job[SHARES], job[DATA_AT]
    if job[OWN]:
        first, end = job[SLOT_COUNT] * share // shares, job[SLOT_COUNT] * (share + 1) // shares
        lo = slot(job, first)[FIRST_ROW]
        n = slot(job, end - 1)[FIRST_ROW] + slot(job, end - 1)[ROWS] - lo
        if n > 0:
            segment_rows(job, here + first * 8 * DATA, lo, n)
            for s in range(first, end):
                if slot(job, s)[ROWS] > 0:
                    slot_gradients(job, here + s * 8 * DATA, job[GRADS] + s * job[OWN])
    else:
        rows, unit = job[N_ROWS], BLOCK if job[N_SEGMENTS] > 1 else 1
        blocks = (rows + unit - 1) // unit
        lo = min(rows, blocks * share // shares * unit)
        n = min(rows, blocks * (share + 1) // shares * unit) - lo
        if n > 0:
            segment_rows(job, here, lo, n)


# ---------------------------------------------------------------- the second phase: parameters


@inner
def part_gradient(job, part, share):
    """The gradient of one part, over all slots; returns the address of the array that holds it."""
    scratch = job[SCRATCH] + share * 2 * job[SCRATCH_BYTES] - part[FIRST_PARAM] * job[ITEMSIZE]
    grads = job[GRADS] if job[GRADS] else scratch + job[SCRATCH_BYTES]
    if integers_at(job[PROGRAM], part[OP] * COLUMNS)[GRADIENT]:
        for s in range(job[SLOT_COUNT]):
            if slot(job, s)[ROWS] > 0:
                more = s > 0 or job[AT_ROW] > job[BEGIN]
                source = grads + s * job[OWN] if job[OWN] else scratch
                if not job[OWN]:
                    target, data = scratch if more else grads, job[DATA_AT] + s * 8 * DATA
                    run_units(job, GRADIENT, part[OP], data, target, job[AT_ROW], part[LO], part[UNITS])
                if more:
                    _call_add(job[ADD], grads, source, part[FIRST_PARAM], part[SIZE])
    return grads


@inner
def part_update(job, p, grads):
    """Update part p and refresh what is derived from it; returns its penalty, before the update."""
    part, factors = integers_at(job[PARTS], p * PART), job[FACTORS] + p * FACTOR * 8
    if not integers_at(job[PROGRAM], part[OP] * COLUMNS)[GRADIENT]:  # an op without a gradient is frozen
        return 0.0
    penalty = _call_update(
        job[UPDATE], job[NUMBERS_NOW], factors, job[PARAMS], grads, job[SLOTS], job[N_PARAMS], part[FIRST_PARAM], part[SIZE],
        doubles_at(job[SETTINGS])[DECAY] * part[DECAYS] + doubles_at(factors)[0]
    )  # fmt: skip
    if job[AVERAGED] and not job[N_LIMITS]:
        decay = doubles_at(job[RULES_AT])[AVERAGE_DECAY]
        _call_average(job[AVERAGE], job[AVERAGED], job[PARAMS], part[FIRST_PARAM], part[SIZE], decay)
    run_units(job, REFRESH, part[OP], 0, 0, 0, part[LO], part[UNITS])
    return penalty


@inner
def parts_of_share(job, share):
    """What a phase of another kind than THROUGH does with the parts of a share."""
    bounds, squares = integers_at(job[BOUNDS], share), doubles_at(job[SQUARES])
    for p in range(bounds[0], bounds[1]):
        part = integers_at(job[PARTS], p * PART)
        if job[KIND] == REFRESH_ALL:
            run_units(job, REFRESH, part[OP], 0, 0, 0, part[LO], part[UNITS])
        elif job[KIND] == GRADIENTS:
            grads = part_gradient(job, part, share)
            if job[FINAL] and job[NORM]:
                squares[p] = _call_norm(job[NORM], grads, part[FIRST_PARAM], part[SIZE])
            elif job[FINAL] and job[FINE]:
                squares[p] = part_update(job, p, grads)
        else:
            squares[p] = part_update(job, p, job[GRADS])


# ---------------------------------------------------------------- phases


@inner
def do_share(job, share):
    """A share of the phase that is open."""
    if job[KIND] == THROUGH:
        rows_of_share(job, share)
    else:
        parts_of_share(job, share)


@inner
def take_shares(job, phase, first):
    """Do the shares of a phase that nobody else has claimed, one's own first."""
    for k in range(job[SHARES]):
        share = (first + k) % job[SHARES]
        if claim(job, phase, share):
            do_share(job, share)
            share_is_done(job)


@inner
def together(job):
    """Leader: a phase of the kind job[KIND], from its beginning to its end."""
    if job[SHARES] == 1:  # nobody helps: without claims, which cost small networks 3 %
        do_share(job, job[ZERO])
        return
    phase = open_phase(job)
    take_shares(job, phase, job[ZERO])
    end_phase(job, phase)


@inner
def help_leader(job, number):
    """Helper: shares of all phases that the leader opens."""
    phase = job[ZERO]
    while phase != OVER:
        phase = next_phase(job, phase)
        if phase != OVER:
            take_shares(job, phase, number % job[SHARES])


# ---------------------------------------------------------------- training


@inner
def limit_norms(job):
    """Shorten the columns of the matrices that have a largest norm; the average, if there is one, takes what is left."""
    norms = doubles_at(job[LIMIT_NORMS])
    for k in range(job[N_LIMITS]):
        row = integers_at(job[LIMITS], 5 * k)
        _call_limit(job[LIMIT], job[PARAMS], row[2], row[1], row[4], row[3], norms[k])
        run_units(job, REFRESH, row[0], 0, 0, 0, 0, row[1])
    if job[AVERAGED]:
        for p in range(job[N_PARTS]):
            part = integers_at(job[PARTS], p * PART)
            decay = doubles_at(job[RULES_AT])[AVERAGE_DECAY]
            _call_average(job[AVERAGE], job[AVERAGED], job[PARAMS], part[FIRST_PARAM], part[SIZE], decay)


@inner
def cut(rows, slots, s):
    """First row of slot s."""
    return (rows * s + slots - 1) // slots


@inner
def forward_and_back(job, b, base, rows):
    """Rows `base`.. of the order through the network; returns the loss of batch b so far, its sum over the samples."""
    slots, losses = job[SLOT_COUNT], doubles_at(job[LOSSES_AT])
    for s in range(slots):
        data = slot(job, s)
        data[FIRST_ROW] = cut(rows, slots, s)
        data[ROWS] = cut(rows, slots, s + 1) - data[FIRST_ROW]
        data[BASE] = base
    doubles_at(job[SCALE_AT])[0] = doubles_at(job[BATCH_SHARES])[b]
    job[AT_ROW], job[N_ROWS] = base, rows
    for g in range(job[N_SEGMENTS]):
        job[SEGMENT_AT] = job[SEGMENTS] + g * SEGMENT * 8
        segment = integers_at(job[SEGMENT_AT], 0)
        job[KIND] = THROUGH
        together(job)
        if segment[5] >= 0:
            run(job, segment[5], segment[4], job[DATA_AT], job[WORK], base, 0, rows)
    loss = doubles_at(job[VALUES])[b]  # a batch may come in several pieces: one sum, wherever it is cut
    for i in range(rows * job[LOSS_ROWS]):
        loss += losses[i]
    return loss


@inner
def judge_norm(job):
    """Whether the norm of the gradient allows the step; takes note of it, and scales the gradient if it is too large."""
    total, rules, squares = 0.0, doubles_at(job[RULES_AT]), doubles_at(job[SQUARES])
    for p in range(job[N_PARTS]):
        total += squares[p]
    norm = math.sqrt(total)
    if rules[CLIP_NORM] > 0.0 and norm > rules[CLIP_NORM]:
        doubles_at(job[NUMBERS_NOW])[SCALE_OF_GRADIENT] = rules[CLIP_NORM] / norm
    if job[SKIP_NONFINITE] and not math.isfinite(norm):
        return 0
    rules[NORMS] += 1.0
    rules[NORM_SUM] += norm
    return 1


@inner
def gradients_and_update(job, b, loss):
    """The gradients of the rows that have gone through the network, and the step, if they are the batch's last ones."""
    job[NUMBERS_NOW] = job[NUMBERS_AT] + (b - job[FIRST]) * NUMBERS * 8
    job[FINE] = 1 if not job[SKIP_NONFINITE] or math.isfinite(loss) else 0
    settings = doubles_at(job[SETTINGS])
    settings[DECAY] = settings[L2] * doubles_at(job[BATCH_SHARES])[b]
    job[KIND] = GRADIENTS
    together(job)
    if job[FINAL] and job[NORM]:
        if job[FINE]:
            job[FINE] = judge_norm(job)
        if job[FINE]:
            job[KIND] = UPDATES
            together(job)
    if job[FINAL] and job[FINE] and job[N_LIMITS]:
        limit_norms(job)
    if job[FINAL] and not job[FINE]:
        doubles_at(job[RULES_AT])[SKIPPED] += 1.0
        for p in range(job[N_PARTS]):
            doubles_at(job[SQUARES])[p] = 0.0


@inner
def train_piece(job, b, skip):
    """The rows of batch b from `skip` on, as many as the workspace holds; returns how many rows of it are done, 0 if all."""
    begin = b * job[BATCH]
    end, base = min(job[N], begin + job[BATCH]), begin + skip
    values, empty = doubles_at(job[VALUES]), job[UPDATE] != 0 and doubles_at(job[BATCH_SHARES])[b] == 0.0
    rows = min(job[CAPACITY], end - base)
    job[BEGIN], job[FINAL] = begin, 1 if job[UPDATE] and base + rows == end else 0
    if not empty:
        loss = forward_and_back(job, b, base, rows)
        gradients_and_update(job, b, loss)
        if job[FINAL]:
            for p in range(job[N_PARTS]):
                loss += doubles_at(job[SQUARES])[p]
        values[b] = loss
    if empty or base + rows == end:
        if job[UPDATE]:
            for s in range(job[SLOT_COUNT]):
                slot(job, s)[STEP] += 1
        return 0
    return skip + rows


@driver
def train(job_at):
    """Batches job[FIRST]..job[LAST] of an epoch: values[b] += mean loss + penalty of batch b; parameters updated in place.

    Returns when they are done or the time is up, one piece of a batch at the least; job[FIRST] and job[SKIP] are then where
    to go on. A batch without weights (its share is 0) is left out.

    DATA_AT : (SLOT_COUNT, DATA) table     RULES_AT (RULES,), SETTINGS (2,) : see above
    PROGRAM (OPS, COLUMNS), SEGMENTS (N_SEGMENTS, 6), PARTS (N_PARTS, 7), BOUNDS (SHARES + 1,) : see `program`
    SKIP : rows of batch FIRST that are done already     BATCH : samples in a batch     N : samples in the epoch
    BATCH_SHARES[b] : 1 / sum of the weights of batch b     SCALE_AT (1,) : written, that of the current batch
    LOSSES_AT (CAPACITY * LOSS_ROWS,), SQUARES (N_PARTS,) : scratch
    CAPACITY : rows of the workspace; a larger batch is taken in pieces, whose gradients add up in GRADS, and the update comes
    with the last of them
    NUMBERS_AT (LAST - FIRST, NUMBERS) : of the optimizer; UPDATE = 0 leaves the parameters and keeps the gradients
    settings[L2] : weight decay, divided by the sum of the weights of the batch as scikit-learn does
    SCRATCH : for each share, twice the room for the gradient of one part: of a slot, and the sum, which is used up at once
    and never leaves the cache, unless GRADS is an array to keep it in
    OWN : the SHARES <= slots shares sum the gradients of their own slots, each in its part of GRADS, OWN bytes long
    NORM : the norm of the gradient decides about the update, so that all of it (GRADS) comes before any of this: a third
    phase. SKIP_NONFINITE : a step whose loss or norm is not finite is left out, and counted in rules[SKIPPED].
    """
    job = integers_at(job_at, 0)
    number = arrive(job)
    if number > 0:
        help_leader(job, number)
        return
    until = ticks(job) + job[TIME]
    job[KIND] = REFRESH_ALL
    together(job)
    b, skip = job[FIRST], job[SKIP]
    while b < job[LAST]:
        skip = train_piece(job, b, skip)
        if skip == 0:
            b += 1
        if ticks(job) >= until:
            break
    job[FIRST], job[SKIP] = b, skip
    end_phases(job)


# ---------------------------------------------------------------- inference


@driver
def infer(job_at):
    """Samples job[FIRST]..job[LAST] forward through all ops, the last of which writes results, in job[PIECES] pieces.

    Each thread has a workspace of its own, WORK_BYTES after that of the one before it, and takes the next piece that nobody
    has taken until there is none or the time is up; job[NEXT_PIECE] is then where to go on.
    """
    job = integers_at(job_at, 0)
    number, count, pieces = arrive(job), job[LAST] - job[FIRST], job[PIECES]
    if number >= job[SHARES]:
        return
    work, here = job[WORK] + number * job[WORK_BYTES], integers_at(job_at, 0)
    until = ticks(job) + job[TIME] if number == 0 else 0
    while not _atomic.load(job_at + 8 * STOPPED):
        piece = _atomic.add(job_at + 8 * NEXT_PIECE, 1)
        if piece >= pieces:
            return
        start = job[FIRST] + count * piece // pieces
        n = job[FIRST] + count * (piece + 1) // pieces - start
        if n > 0:
            for o in range(job[OPS]):
                run(here, FORWARD, o, job[DATA_AT], work, start, 0, n)
        if number == 0 and ticks(job) >= until:
            _atomic.store(job_at + 8 * STOPPED, 1)
