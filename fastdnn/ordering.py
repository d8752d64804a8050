"""The order in which sequences of unequal length stand in a batch, so that what is behind their ends costs little time."""

import functools

import numpy as np


def shard_bounds(rows, shards, unit):
    """Tuple of shards + 1 first rows of the shards of so many samples, as `engine.cut` has them."""
    units = -(-rows // unit)
    return tuple(min(rows, -(-units * s // shards) * unit) for s in range(shards + 1))


@functools.cache
def places_by_length(bounds):
    """Ranks by length, the longest first, of the sequences at each place of a batch with these shards.

    Sequences of about the same length share a shard, which takes as many steps as its longest one. A short shard comes after
    each long one, so that threads that take several, one after the other, have about the same work.
    """
    shards = len(bounds) - 1
    by_rank = sorted(range(shards), key=lambda s: s // 2 if s % 2 == 0 else shards - 1 - s // 2)
    places = np.concatenate([np.arange(bounds[s], bounds[s + 1]) for s in by_rank])
    ranks = np.empty(bounds[-1], np.int64)
    ranks[places] = np.arange(bounds[-1])
    return ranks


def by_length(order, lengths, batch_size, capacity, shards, unit):
    """The samples of each batch in another order, int64: see `places_by_length`.

    order : (n,) the samples of an epoch     lengths : of all samples     capacity : of a batch that is there at once
    """
    order, n = np.array(order), len(order)
    for start in range(0, n, batch_size):
        for first in range(start, min(n, start + batch_size), capacity):
            end = min(n, start + batch_size, first + capacity)
            piece = order[first:end]
            longest_first = piece[np.argsort(-lengths[piece], kind="stable")]
            order[first:end] = longest_first[places_by_length(shard_bounds(end - first, shards, unit))]
    return order
