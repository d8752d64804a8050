"""From a model to a `Predictor`."""

import copy

from .._guard import guard
from ..layers import Activation, Dense
from ..specs import check_number
from .calibration import ranges_of
from .folding import PRODUCTS, parts_of
from .narrow import narrowed
from .predictor import Predictor
from .sparse_dense import sparse

DTYPES = "float32", "float64", "bfloat16", "int8"


def freeze(make_model, model, dtype="float32", calibration=None, percentile=100.0):
    """`Model.freeze`; make_model : the class `Model`."""
    model._built()
    with guard(model):  # between two epochs, where another thread trains
        network = model._built()
        values = dict(network.layout.views(network.params)) | dict(network.layout.state_views(network.state))
        values = {key: array.copy() for key, array in values.items()}
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(repr, DTYPES))}, got {dtype!r}")
    if calibration is not None and dtype != "int8":
        raise ValueError(f"calibration is of dtype='int8' only, got dtype={dtype!r}")
    percentile = check_number("percentile", percentile, "(50, 100]")
    shape, real = network.layout.shapes[0], "float64" if dtype == "float64" else "float32"

    def frozen(change, dtype):
        parts = parts_of(network.layers, "", values, change) or parts_of([Activation("identity")], "", {}, None)
        return Predictor.of_parts(make_model, parts, network.loss, shape, real, dtype)

    if dtype.startswith("float"):
        return frozen(_without_zeros(real), dtype)
    ranges = None
    if calibration is not None:
        products = []
        found = ranges_of(frozen(_noting(products), "float32"), calibration, percentile)
        ranges = iter([found[id(layer)] for layer in products])
    return frozen(_narrowing(dtype, ranges), dtype)


def _without_zeros(real):
    """The `change` of `parts_of` that leaves out weights that are 0, where that is faster."""

    def change(part):
        layer = sparse(part.layer, *part.kernel_and_bias, real) if type(part.layer) is Dense else None
        return part if layer is None else part._replace(layer=layer, arrays=[{}])

    return change


def _noting(products):
    """The `change` of `parts_of` that notes the products in the order in which it meets them, each an object of its own."""

    def change(part):
        if type(part.layer) in PRODUCTS:
            part = part._replace(layer=copy.copy(part.layer))
            products.append(part.layer)
        return part

    return change


def _narrowing(dtype, ranges):
    """The `change` of `parts_of` that makes products narrow; ranges : those of the products as it meets them."""

    def change(part):
        if type(part.layer) not in PRODUCTS:
            return part
        kernel, bias = part.kernel_and_bias
        layer = narrowed(part.layer, kernel, bias, dtype, next(ranges) if ranges else None)
        return part if layer is None else part._replace(layer=layer, arrays=[{}])

    return change
