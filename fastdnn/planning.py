"""How the samples of a batch go through a network: in pieces, by shards, so many at once.

The network and the size of the batch decide that, never the number of threads: the same seed gives the same bits on any.
"""

from typing import NamedTuple

from .layers.base import BLOCK
from .program import value_size

PIECE = 1024  # rows of a larger batch that are taken at once: bounds the workspace, their gradients add up
# The gradient of a network of at most SHARD_SIZE parameters is summed over SHARDS shards of the rows of a batch, SHARD_ROWS
# or more in all, so that two threads can do so each on its own rows: an epoch of 64-100-10 takes 0.46 ms so, not 0.55.
SHARDS, SHARD_SIZE, SHARD_ROWS = 2, 1 << 16, 32
# Networks of series and images have few weights beside the work of a sample, so that more shards cost little. Where large
# dense layers follow, a shard has so many samples that reading their weights for each is not what takes the time, and where
# they are very large twice as many: 3 % of vgg's epoch; cnn's values leave the cache then, for 2 %.
MANY_SHARDS, SHARD_SAMPLES = 8, 8
PIECE_BYTES = 1 << 27  # of values and their gradients that are there at once, unless BLOCK samples take more
# Of those that go forward and back together, of samples of several rows, and rows that a product should have.
CHUNK_BYTES, CHUNK_ROWS = 512 * 1024, 64
SHARD_BYTES = 1 << 22  # of the values of a shard and their gradients: larger ones are not faster
STEP_ROWS = 8  # samples that recurrent layers take through their steps together, at the least: rows of a product each step


def shard_samples(layout):
    """Samples that a shard of a network of images or series has at the least."""
    if layout.goes_by_steps:
        return STEP_ROWS
    dense = sum(e.rows * e.stride for e in layout.entries if e.layer + 1 >= layout.first_whole)
    return 1 if dense <= SHARD_SIZE else SHARD_SAMPLES if dense <= 16 * SHARD_SIZE else 2 * SHARD_SAMPLES


def n_shards(layout, rows):
    """Shards of `rows` samples that the gradient of a network is summed over: fixed by the network, not by the threads."""
    if layout.first_whole:
        return max(1, min(MANY_SHARDS, rows // shard_samples(layout)))
    return SHARDS if layout.size <= SHARD_SIZE and rows >= SHARD_ROWS else 1


class Plan(NamedTuple):
    """How the samples of a batch are taken: decided by the network and the batch size, never by the threads."""

    capacity: int  # that are there at once; a larger batch comes in pieces
    shards: int  # that gradients are summed over
    by_shards: bool  # whether each shard goes through all ops, and its gradients are summed, before the next
    apart: bool  # whether each thread has a workspace of its own, for the samples of one shard
    chunk: int  # that go through the ops of a segment together, where they do so by shards
    unit: int  # that no cut parts

    @property
    def rows(self):
        """Samples that a workspace holds."""
        units = -(-self.capacity // self.unit)
        return -(-units // self.shards) * self.unit if self.apart else self.capacity

    @property
    def slots(self):
        """Threads that share a workspace."""
        return self.shards if self.by_shards and not self.apart else 1


def value_bytes(layout, itemsize):
    """Bytes of the values of a sample and their gradients."""
    behind = zip(layout.leaves, layout.shapes[1:], strict=True)
    counted = [layout.shapes[0], *(shape for (_, layer), shape in behind if layer.new_value)]
    return 2 * sum(map(value_size, counted)) * itemsize


def plan(layout, itemsize, batch_size, piece=None, precision=""):
    """The `Plan` for a network; piece: rows of a batch that go through it at once, where the caller decides that.

    precision : of the products
    """
    by_shards, size = layout.first_whole > 0, value_bytes(layout, itemsize)
    most = MANY_SHARDS * max(shard_samples(layout), SHARD_BYTES // size) if by_shards else PIECE_BYTES // size
    capacity = min(batch_size, piece or min(PIECE, max(BLOCK, most)))
    whole = any(layer.needs_batch for _, layer in layout.leaves)  # all rows must be there at once
    capacity = batch_size if whole and not piece else capacity
    shards = n_shards(layout, capacity) if by_shards or not whole else 1
    chunk, unit = max(CHUNK_BYTES // size, CHUNK_ROWS // layout.most_rows, 1), layout.unit_of(precision)
    chunk = capacity if layout.goes_by_steps else -(-chunk // unit) * unit
    return Plan(capacity, shards, by_shards, by_shards and not whole, chunk, unit)
