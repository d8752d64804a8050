"""An operator at work: what a node of a graph gets, with every kind of input checked, and the table of what is supported."""

from typing import NamedTuple

import numpy as np

from ..saving.errors import ModelFormatError
from .dimensions import size_of
from .tracing import Traced

OPERATORS = {}  # name -> function of a Call, which gives the value of the first output, or of several


def operator(*names):
    """Decorator: put a function into the table."""

    def put(function):
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return put


class Call:
    """A node with the values of its inputs: arrays, `Traced`, or what one operator alone understands.

    Attributes
    ----------
    tracer : Tracer
    node : Node
    values : list
        Of the inputs; None where one is left out.
    """

    def __init__(self, tracer, node, values):
        self.tracer, self.node, self.values = tracer, node, values
        self.attribute = node.attribute

    def has(self, number):
        """Whether there is an input of that number."""
        return number < len(self.values) and self.values[number] is not None

    def is_constant(self, number):
        """Whether an input depends on nothing but the file."""
        return self.has(number) and isinstance(self.values[number], np.ndarray)

    def data(self, number=0):
        """An input that depends on the samples."""
        value = self.values[number] if self.has(number) else None
        if not isinstance(value, Traced):
            what = "missing" if value is None else "a constant" if isinstance(value, np.ndarray) else str(value)
            raise ModelFormatError(f"its input {number} must be a value that layers can make of the samples, it is {what}")
        return value

    def constant(self, number, kinds="iufb"):
        """An input that is an array, of numbers of these kinds."""
        value = self.values[number] if self.has(number) else None
        if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
            what = "missing" if value is None else f"of type {value.dtype}" if isinstance(value, np.ndarray) else "computed"
            raise ModelFormatError(f"its input {number} must be a constant, it is {what}")
        return value

    def weights(self, number, rank=None, shape=None):
        """An input that holds weights: floats of that rank or shape."""
        array = self.constant(number, "f")
        if (rank is not None and array.ndim != rank) or (shape is not None and array.shape != shape) or not array.size:
            wanted = f"of shape {shape}" if shape is not None else f"with {rank} axes"
            raise ModelFormatError(f"its input {number} must be numbers {wanted}, it has the shape {array.shape}")
        return array

    def vector(self, number, size):
        """An input of so many floats."""
        return self.weights(number, shape=(size,))

    def scalar(self, number, default):
        """An input of one number, as a float."""
        if not self.has(number):
            return default
        array = self.constant(number)
        if array.size != 1:
            raise ModelFormatError(f"its input {number} must be one number, it has the shape {array.shape}")
        return float(array.reshape(-1)[0])

    def integers(self, number, name, default=None):
        """Integers, which older operator sets have as an attribute and newer ones as an input; a tuple, or the default."""
        if self.has(number):
            array = self.constant(number, "iu")
            if array.ndim > 1 or array.size > 64:
                raise ModelFormatError(f"its input {number} must be a few integers, it has the shape {array.shape}")
            return tuple(int(n) for n in array.reshape(-1))
        return self.attribute(name, default, tuple)

    def axis(self, value, number):
        """The number of an axis of a value, negative ones counted from the end."""
        rank = len(value.axes) if isinstance(value, Traced) else np.ndim(value)
        if not -rank <= number < rank:
            raise ModelFormatError(f"it has no axis {number}: the value has {rank}")
        return number % rank

    def rank(self, value, *ranks):
        """ModelFormatError unless a value has one of these numbers of axes, which is given back."""
        found = len(value.axes)
        if found not in ranks:
            raise ModelFormatError(f"its input must have {' or '.join(map(str, ranks))} axes, it has the shape {value.shape}")
        return found

    def refuse(self, why):
        """ModelFormatError: this use of the operator is not supported."""
        raise ModelFormatError(why)

    def only(self, **wanted):
        """ModelFormatError unless attributes have the only values that are supported."""
        for name, value in wanted.items():
            if (found := self.attribute(name, value)) != value:
                raise ModelFormatError(f"{name}={found!r} is not supported, {value!r} is")


class Ids(NamedTuple):
    """The samples as integers, for an Embedding."""

    value: Traced

    def __str__(self):
        return "the input made integers, which are for an embedding (Gather)"


def features(value, number):
    """Number of features on an axis of a value."""
    return size_of(value.axes[number])


def without(axes, numbers):
    """The axes but some."""
    return tuple(axis for i, axis in enumerate(axes) if i not in numbers)
