"""Who works on what: partitions are dealt to lanes, lanes to workers, and batches are divided among lanes."""

import math
from typing import NamedTuple


def assigned(sizes, holders, workers):
    """The worker of each item: one that holds it, unless another one would have much less to do.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each item.
    holders : sequence of sequences of workers
        Where each item lies, the best place first; none where it lies nowhere.
    workers : sequence
        All there are.

    Returns
    -------
    list
        Items are moved from who has most to who has least as long as the most that one has becomes less.
    """
    loads, found = dict.fromkeys(workers, 0), [None] * len(sizes)
    largest_first = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    for i in largest_first:
        here = [w for w in holders[i] if w in loads]
        found[i] = min(here or workers, key=loads.get)
        loads[found[i]] += sizes[i]
    while True:
        most, least = max(workers, key=loads.get), min(workers, key=loads.get)
        gap = loads[most] - loads[least]
        small_enough = [i for i in largest_first if found[i] == most and 0 < sizes[i] < gap] if gap > loads[most] / 8 else []
        if not small_enough:
            return found
        moved = min(small_enough, key=lambda i: abs(gap - 2 * sizes[i]))
        found[moved] = least
        loads[most], loads[least] = loads[most] - sizes[moved], loads[least] + sizes[moved]


class Lanes(NamedTuple):
    """How samples are divided: what a fit computes depends on this alone, not on where anything lies.

    Attributes
    ----------
    parts : tuple of tuples of int
        Partitions of each lane, in their order.
    rows : tuple of int
        Samples of each lane.
    batches : tuple of int
        Samples of a batch that each lane has.
    steps : int
        Steps of an epoch.
    """

    parts: tuple
    rows: tuple
    batches: tuple
    steps: int

    @classmethod
    def of(cls, parts, sizes, batch_size):
        """From the partitions of each lane, and the rows of each partition.

        A lane has a share of each batch in proportion to its samples, rounded up, so that all lanes end with the same step,
        but for rounding; a batch has one sample of each lane at the least.
        """
        rows = tuple(sum(sizes[p] for p in own) for own in parts)
        batches = tuple(-(-n * batch_size // sum(rows)) for n in rows)
        return cls(tuple(map(tuple, parts)), rows, batches, max(math.ceil(n / b) for n, b in zip(rows, batches, strict=True)))


class Placement(NamedTuple):
    """Lanes and the workers that host them.

    Attributes
    ----------
    lanes : Lanes
    workers : tuple of str
        Addresses, by rank; each hosts a lane at the least.
    hosted : tuple of tuples of int
        The lanes of each rank.
    """

    lanes: Lanes
    workers: tuple
    hosted: tuple


def placed(sizes, holders, workers, batch_size, n_lanes=None):
    """The `Placement` for partitions of these sizes, which these workers hold.

    n_lanes : None gives each worker one lane of the partitions that lie there; otherwise partition p belongs to lane
    p % n_lanes, whatever lies where.
    """
    if n_lanes is None:
        found = assigned(sizes, holders, workers)
        ranks = [w for w in workers if w in found]
        parts = [[p for p, at in enumerate(found) if at == w] for w in ranks]
        return Placement(Lanes.of(parts, sizes, batch_size), tuple(ranks), tuple((r,) for r in range(len(ranks))))
    parts = [range(lane, len(sizes), n_lanes) for lane in range(n_lanes)]
    lanes = Lanes.of(parts, sizes, batch_size)
    at = []
    for own in parts:
        rows = {w: sum(sizes[p] for p in own if w in holders[p]) for w in workers}
        best = max(rows.values())
        at.append([w for w in workers if rows[w] == best > 0])
    found = assigned(lanes.rows, at, workers)
    ranks = [w for w in workers if w in found]
    hosted = tuple(tuple(lane for lane, where in enumerate(found) if where == w) for w in ranks)
    return Placement(lanes, tuple(ranks), hosted)
