"""Axes as products of factors, which ONNX and our layers have in different orders.

PyTorch's image has the axes (samples, channels, height, width), ours (height, width, channels); flattened, one has the order
channels, height, width and the other height, width, channels. Both are the same factors, grouped into axes: a Transpose or a
Reshape of a graph is another order or another grouping of ONNX's, and nothing happens to our numbers until a layer needs
its features on the last axis. So no numbers of factors are ever written down but those of a matrix whose rows change places.
"""

import math

import numpy as np

SAMPLES = (1 << 31) - 1  # the number of samples where a file leaves it open: a prime number above all sizes, to be told by


class Factor:
    """A factor of the size of an axis; it may turn out to be made of two, an outer and an inner one."""

    __slots__ = ("_parts", "is_batch", "size")

    def __init__(self, size, is_batch=False):
        self.size, self.is_batch, self._parts = size, is_batch, ()

    def leaves(self):
        """What it is made of."""
        return [leaf for part in self._parts for leaf in part.leaves()] if self._parts else [self]

    def split(self, outer):
        """(outer, inner) of which it is made from now on."""
        self._parts = Factor(outer), Factor(self.size // outer)
        return self._parts


def axis(size):
    """A new axis, a tuple of factors; one of size 1 has none."""
    if not 1 <= size < SAMPLES:
        raise ValueError(f"an axis would have the size {size}")
    return (Factor(size),) if size != 1 else ()


def resolved(axes):
    """The axes by what their factors are made of by now."""
    return tuple(tuple(leaf for factor in factors for leaf in factor.leaves()) for factors in axes)


def joined(axes):
    """The factors of several axes as one axis."""
    return tuple(factor for factors in axes for factor in factors)


def size_of(factors):
    """Size of an axis."""
    return math.prod(factor.size for factor in factors)


def shape_of(axes):
    """Sizes of the axes."""
    return tuple(map(size_of, axes))


def regrouped(factors, sizes):
    """The factors in their order as axes of these sizes, which may split some; None if they cannot be that."""
    rest, axes = list(reversed(factors)), []
    for number, size in enumerate(sizes):
        taken, left = [], size
        one_follows = number + 1 < len(sizes) and sizes[number + 1] == 1
        while rest and (left > 1 or (rest[-1].size == 1 and not (taken and one_follows))):  # of size 1: one sample
            factor = rest.pop()
            if left % factor.size == 0:
                taken.append(factor)
                left //= factor.size
            elif left > 1 and factor.size % left == 0 and not factor.is_batch:
                outer, inner = factor.split(left)
                taken.append(outer)
                rest.append(inner)
                left = 1
            else:
                return None
            if factor.size == 1 and size == 1:
                break
        if left != 1:
            return None
        axes.append(tuple(taken))
    return None if rest else tuple(axes)


def positions(theirs, ours):
    """Where the numbers of an axis in our order of its factors stand in theirs; None if that is the same."""
    if tuple(theirs) == tuple(ours):
        return None
    sizes = [factor.size for factor in theirs]
    order = [theirs.index(factor) for factor in ours]
    return np.arange(math.prod(sizes)).reshape(sizes).transpose(order).ravel()


def matched(a, b):
    """dict of the factors of one list of axes to those of another of the same sizes; None if they are cut differently."""
    found = {}
    for first, second in zip(a, b, strict=True):
        first, second = list(reversed(first)), list(reversed(second))
        while first and second:
            x, y = first.pop(), second.pop()
            if x.size != y.size:
                larger, smaller, rest = (x, y, first) if x.size > y.size else (y, x, second)
                if larger.size % smaller.size or x.is_batch or y.is_batch:
                    return None
                outer, inner = larger.split(smaller.size)
                rest.append(inner)
                x, y = (outer, y) if larger is x else (x, outer)
            found[x] = y
        if first or second:
            return None
    return found
