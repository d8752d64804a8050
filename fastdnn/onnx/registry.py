"""Who exports what: functions by the class of the layer, activation or loss that they are for."""

from collections.abc import Callable
from typing import NamedTuple

from ..layers.activation_function import ActivationFunction
from ..layers.base import Layer
from ..losses.base import Loss
from .tensors import LAST

EXPORTERS = {}  # class -> Exporter

# What a class computes is what these say: a subclass that leaves them as they are computes the same.
DEFINED_BY = {Layer: ("emit", "kernels"), ActivationFunction: ("forward", "forward_kernel"), Loss: ("link_for", "link")}


class Exporter(NamedTuple):
    """How a layer, an activation or a loss becomes nodes, see `exporter`."""

    function: Callable
    orders: tuple
    any_length: Callable


def exporter(*classes, orders=(LAST,), any_length=False):
    """Decorator: the function makes nodes of ONNX of layers, activations or losses of these classes.

    Parameters
    ----------
    *classes : class
        Subclasses of `fastdnn.layers.Layer`, `ActivationFunction` or `fastdnn.losses.Loss`. A subclass of one of them is
        exported by the same function, unless it computes something else (overrides `emit`, `forward`, `link`).
    orders : tuple of {"last", "first", "time"}, default=("last",)
        Of layers: the orders of the axes that the function takes, the best one first: (n, ..., channels),
        (n, channels, ...), (time, n, channels). What it gets is brought into one of them; what it returns has the same.
    any_length : bool or callable, default=False
        Of layers: whether sequences (time, ...) may have any length, so that the nodes must not know it; or a function of
        the layer that says so.

    Returns
    -------
    decorator
        Of a function ``f(graph, layer, x, weights)``: `graph` a `Graph`, `x` the `Tensor` of the layer's input and `weights`
        the layer's arrays by their names, running statistics included. It returns the name of the result, or a `Tensor`. Of
        an activation or a loss it is ``f(graph, activation, x)`` or ``f(graph, loss, scores)``, `scores` being the name of
        raw scores (n, ..., n_out).

    Raises
    ------
    ValueError
        If what is given is no such class.

    Examples
    --------
    An activation of one's own, written as `fastdnn.layers.activations` shows, and how ONNX says it:

    >>> from fastdnn import Model, extending, layers
    >>> from fastdnn.onnx import exporter, to_onnx
    >>> class Cubic(extending.ActivationFunction):
    ...     needs_input = True
    ...     def forward(x):
    ...         return x * x * x
    ...     def derivative(x):
    ...         return 3.0 * x * x
    >>> @exporter(Cubic)
    ... def cubic(graph, activation, x):
    ...     return graph.node("Mul", x, graph.node("Mul", x, x))
    >>> model = Model([layers.Dense(2, activation=Cubic())], random_state=0).build(3)
    >>> [node.op_type for node in to_onnx(model).graph.node]
    ['Gemm', 'Mul', 'Mul', 'Identity']
    """
    wrong = [cls for cls in classes if not isinstance(cls, type) or not issubclass(cls, tuple(DEFINED_BY))]
    if wrong or not classes:
        raise ValueError(f"exporter takes classes of layers, activations or losses, got {(wrong or ['nothing'])[0]!r}")

    def register(function):
        found = Exporter(function, orders, any_length if callable(any_length) else lambda layer: any_length)
        EXPORTERS.update(dict.fromkeys(classes, found))
        return function

    return register


def exporter_of(thing):
    """The `Exporter` of a layer, an activation or a loss, or None: that of the nearest class that computes the same."""
    cls = type(thing)
    (names,) = (names for base, names in DEFINED_BY.items() if issubclass(cls, base))
    for base in cls.__mro__:
        if base in EXPORTERS:
            same = all(getattr(cls, name, None) is getattr(base, name, None) for name in names)
            return EXPORTERS[base] if same else None
    return None


def check_exporter(thing, what):
    """The `Exporter` of a layer or an activation; ValueError, which says how to register one, if there is none."""
    found = exporter_of(thing)
    if found is None:
        name = type(thing).__name__
        raise ValueError(
            f"{what}: nothing is known of how ONNX says {name}; write a function that adds its nodes and register it with "
            f"@fastdnn.onnx.exporter({name}), whose documentation has an example"
        )
    return found
