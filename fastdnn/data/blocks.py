"""Streams: samples that come in blocks, again in each epoch, and are never all there at once."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from .. import rng

END = object()  # what comes after the last block: None may come of a reader that has failed


class Block(NamedTuple):
    """Samples that come together, as a stream gives them: checked by who takes them."""

    X: Any
    y: Any
    sample_weight: Any = None
    lengths: Any = None
    place: str = ""  # where they are from, for messages: a file, say


class BlockSource:
    """Base of the streams. A subclass gives `blocks`, and `n_samples` where it is known.

    Attributes
    ----------
    n_samples : int or None
        Samples in a pass; None where nobody knows before.
    one_pass : bool
        Whether there is only one: a generator's.
    """

    n_samples: int | None = None
    one_pass = False

    def blocks(self, seed: int | None = None) -> Iterator[Block]:
        """A new pass: an iterator of `Block` or of tuples (X, y), (X, y, sample_weight), (X, y, sample_weight, lengths).

        Parameters
        ----------
        seed : int or None, default=None
            Key of the order of the blocks, where a source can give them in another one; None is the order of its own.
        """
        raise NotImplementedError

    def __array__(self, dtype=None, copy=None):
        """ValueError where somebody wants an array, whom streams are not for."""
        raise ValueError(
            "X is a stream of blocks, which `fit` and `predict` of Model, DNNClassifier, DNNRegressor, TabularClassifier and "
            "TabularRegressor take; what was called needs an array"
        )

    def parts(self) -> list[Callable[[], Iterator]]:
        """Functions that give the blocks of a pass, in its own order, part by part: another order is one of the parts."""
        return [self.blocks]

    def numbered(self, seed: int | None = None, first: int = 0) -> Iterator[tuple[str, Block]]:
        """The blocks of a pass and their names, "block 3 (part.parquet)"; what goes wrong in between has a note on where.

        Numbers are those in the order of this pass, from 0.
        """
        passing, number = iter(self.blocks(seed)), first
        while True:
            try:
                item = next(passing, END)
            except Exception as error:
                note = f"raised by the stream, which was to give its block {number}"
                if note not in getattr(error, "__notes__", ()):  # of a stream of a stream
                    error.add_note(note)
                raise
            if item is END:
                return
            name = f"block {number}"
            if not isinstance(item, Block):
                if not isinstance(item, (tuple, list)) or len(item) not in (2, 3, 4):
                    raise ValueError(
                        f"{name} must be a tuple (X, y), (X, y, sample_weight) or (X, y, sample_weight, lengths), got "
                        f"{describe(item)}"
                    )
                item = Block(*item)
            yield name + (f" ({item.place})" if item.place else ""), item
            number += 1


class Blocks(BlockSource):
    """The blocks of an iterable, of a function that gives one, or of a list, whose order can be another in each epoch."""

    def __init__(self, given):
        self._given = given
        self.one_pass = not callable(given) and iter(given) is given

    def blocks(self, seed=None):
        given = self._given() if callable(self._given) else self._given
        if seed is not None and isinstance(given, Sequence):
            return (given[k] for k in order_of(len(given), seed))
        return iter(given)

    def parts(self):
        given = self._given
        return [partial(iter, [item]) for item in given] if isinstance(given, Sequence) else [self.blocks]


def order_of(n, seed):
    """The order of the n parts of a pass: their own one where the seed is None."""
    return range(n) if seed is None else rng.generator(seed, rng.BLOCKS).permutation(n)


class Mapped(BlockSource):
    """The blocks of another source, each of which goes through a function of (name, block)."""

    def __init__(self, source, change):
        self._source, self._change = source, change
        self.n_samples, self.one_pass = source.n_samples, source.one_pass

    def blocks(self, seed=None):
        return (self._change(name, block)._replace(place=block.place) for name, block in self._source.numbered(seed))


def peeked(source):
    """(name and block of the first, a source that gives that block, too); ValueError where there is none."""
    passing = source.numbered()
    first = next(passing, None)
    if first is None:
        raise ValueError("the stream has no blocks")
    if source.one_pass:
        source = Blocks(itertools.chain([first[1]], (block for _, block in passing)))
    return first, source


def describe(item):
    """A few words on what somebody has given."""
    n = f" of {len(item)}" if isinstance(item, (tuple, list)) else ""
    return f"a {type(item).__name__}{n}"


def as_stream(X, y=None):
    """X as a `BlockSource`, if it is one, a function or an iterable of blocks; None for arrays, frames and lists of numbers.

    Without targets `y`, which come in the blocks: ValueError where there are some.
    """
    if isinstance(X, BlockSource):
        stream = X
    elif y is not None or scipy.sparse.issparse(X) or hasattr(X, "__array__") or hasattr(X, "__dataframe__"):
        return None
    elif callable(X):
        stream = Blocks(X)
    elif isinstance(X, (str, bytes, dict)) or (not isinstance(X, Iterable) and not hasattr(X, "__getitem__")):
        return None
    elif isinstance(X, (list, tuple)) and not (X and of_arrays(X[0])):
        return None
    else:
        stream = Blocks(X)
    if y is not None:
        raise ValueError("y must be None where X is a stream: its blocks are tuples (X, y)")
    return stream


def of_arrays(item):
    """Whether the first of a list may be a block: a tuple of arrays or lists, or a list of arrays, not one of lists."""
    if not isinstance(item, (tuple, list)):
        return False
    others = (str, bytes) if isinstance(item, tuple) else (str, bytes, list, tuple)  # lists of lists are samples
    return any(np.ndim(part) for part in item if not isinstance(part, others))


@contextlib.contextmanager
def in_block(name):
    """A ValueError or TypeError in the body of a `with` statement says which block it is about."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{name}: {error}") from error
