"""The shuffle buffer: samples of a stream are drawn from among many, while a thread reads those that come next.

The buffer has three parts of equal size, in places that keep changing: one is trained on, one waits, one is being filled. In
each turn the samples that wait and those that have come are shuffled together, and half of them is trained on. What a batch
holds depends on the seed and on the order of the samples alone, not on how they are cut into blocks nor on anybody's speed.
"""

import numpy as np

from .. import rng
from .ahead import Ahead
from .blocks import in_block
from .places import places_for

BUFFER_BYTES = 1 << 26  # of the samples that a batch is drawn from, where nobody says how many


class ShuffleBuffer:
    """Samples of a stream, in turns.

    Parameters
    ----------
    stream : BlockSource
        Where they come from.
    check : callable
        Gives the `Samples` of a block: called with its name and the block.
    width : callable
        Gives how many targets a sample has, of `Samples`.
    batch_size : int
        A turn has a multiple of so many samples, but for the last of an epoch.
    most : int or None
        Samples that a batch is drawn from, at least two batches; None is what `BUFFER_BYTES` hold.
    shuffle : bool
        Whether samples are shuffled, and blocks where the stream can; otherwise turns are of samples as they come.

    Attributes
    ----------
    places : Places or SparsePlaces
        Where samples are, from `open` on.
    read : int
        Samples of the epoch that have been read.
    """

    def __init__(self, stream, check, width, batch_size, most, shuffle):
        self._stream, self._check, self._batch_size, self._shuffle = stream, check, batch_size, shuffle
        self._most, self._width, self.places, self.read = most, width, None, 0
        self._pass, self._first, self._ended = None, None, False

    def open(self, seed, epoch):
        """Read the first block of an epoch, by which the places are laid out; returns its `Samples`."""
        self._start(seed, epoch)
        samples = self._next()
        if samples is None:
            raise ValueError("the stream has no blocks")
        self._first = (seed, epoch), samples
        if self.places is None:
            one = places_for(samples, self._width(samples), 1)
            most = self._most or BUFFER_BYTES // one.row_bytes
            if self._stream.n_samples is not None:
                most = min(most, self._stream.n_samples + 2 * self._batch_size)
            self.part = max(1, most // 2 // self._batch_size) * self._batch_size
            self.places = places_for(samples, self._width(samples), 3 * self.part)
        return samples

    def first(self):
        """Places of some of the first samples, where they stand already, for who looks at a few before training."""
        samples = self._first[1]
        if self.places.source.sparse:
            return np.arange(1)
        some = np.arange(min(samples.source.n, self.part))
        self.places.write(some, samples, 0, len(some))
        return some

    def _start(self, seed, epoch):
        key = int(rng.generator(seed, rng.BLOCKS, epoch).integers(2**62)) if self._shuffle else None
        self._pass, self.read = self._stream.numbered(key), 0
        self._samples, self._at, self._name = None, 0, ""

    def _next(self):
        """The `Samples` of the next block; None at the end."""
        found = next(self._pass, None)
        if found is None:
            return None
        self._name, block = found
        return self._check(self._name, block)

    def _fill(self, free):
        """Read samples into free places; returns how many, fewer than there are places at the end of the stream."""
        done = 0
        while done < len(free) and not self._ended:
            if self._samples is None:
                self._samples, self._at = self._next(), 0
                if self._samples is None:
                    break
            count = min(self._samples.source.n - self._at, len(free) - done)
            with in_block(self._name):
                self.places.write(free[done : done + count], self._samples, self._at, self._at + count)
            self._at, done = self._at + count, done + count
            if self._at == self._samples.source.n:
                self._samples = None
        self.read += done
        return done

    def turns(self, seed, epoch, skip=0):
        """(number, places, what `Places.bound` gives for them) of each turn of an epoch: a generator.

        The samples of a turn stay until the next one is asked for. Of the first `skip` turns only the reading is done; fewer
        than so many are a ValueError.
        """
        if self._first is not None and self._first[0] == (seed, epoch):
            self._samples = self._first[1]  # of the pass that `open` has begun
        else:
            self._start(seed, epoch)
        self._first, self._ended, turns = None, False, 0
        with Ahead(self._fill, self._pass.close) as ahead:
            try:
                for turn, (active, bound) in enumerate(self._turns(ahead, seed, epoch)):
                    turns += 1
                    if turn >= skip and len(active):
                        yield turn, active, bound
            finally:
                self._ended = True  # the thread reads no other block
        if turns < skip or not self.read:
            raise ValueError(
                f"the stream has ended after {self.read} samples, before the place in the epoch where the fit had come to: "
                "a resumed fit needs the same blocks in the same order"
                if self.read
                else f"the stream has no blocks in epoch {epoch + 1}: give something that can be read again, "
                "a list or a function that returns a generator"
            )

    def _turns(self, ahead, seed, epoch):
        turn, over, places = 0, False, np.arange(3 * self.part)
        waiting, filling, spare = places[:0], places[: 2 * self.part], places[2 * self.part :]
        ahead.begin(filling)
        while not over:
            filled = ahead.result()
            over, pool = filled < len(filling), np.concatenate([waiting, filling[:filled]])
            if self._shuffle:
                pool = rng.generator(seed, rng.TURNS, (epoch << 32) + turn).permutation(pool)
            size = len(pool) if over else self.part
            active, waiting = pool[:size], pool[size:]
            bound = self.places.bound(active)  # before anything else is written
            if not over:
                filling, spare = spare, ascending(active, len(places))
                ahead.begin(filling)
            yield active, bound
            turn += 1


def ascending(places, count):
    """Places in ascending order: to write rows there takes a third of the time that it takes in a random order."""
    there = np.zeros(count, bool)
    there[places] = True
    return np.flatnonzero(there)
