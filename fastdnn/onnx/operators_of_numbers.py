"""Operators that work number by number: activations, sums and products, scaling of features."""

import math
from functools import partial

import numpy as np
from scipy.special import erf

from ..layers import Activation, Dropout, ParametricActivation, PReLU
from .calls import OPERATORS, Ids, features, operator
from .dimensions import axis, joined, size_of
from .drafts import Affine, Draft, LogSoftmax, Pair, residual
from .functions import (
    POINTS,
    SELU_ALPHA,
    SELU_SCALE,
    as_drafts,
    clipped,
    elu,
    gelu,
    gelu_tanh,
    hard_sigmoid,
    hard_swish,
    leaky,
    leaky_relu,
    line,
    mish,
    near,
    selu,
    sigmoid,
    softplus,
    softsign,
    values_at_points,
)
from .reading import FLOATS
from .tracing import Traced

TWO = axis(2)  # of the two classes of a classifier that computes the probability of one

PLAIN = {  # operators of one number without settings
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": sigmoid,
    "Tanh": np.tanh,
    "Softplus": softplus,
    "Softsign": softsign,
    "HardSwish": hard_swish,
    "Mish": mish,
    "Erf": erf,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Abs": np.abs,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Not": np.logical_not,
}
SEVERAL = {  # of several numbers
    "Sub": np.subtract,
    "Div": np.true_divide,
    "Pow": np.power,
    "Greater": np.greater,
    "Less": np.less,
    "GreaterOrEqual": np.greater_equal,
    "LessOrEqual": np.less_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Where": np.where,
}


def unary(call, function, drafts=None):
    """A function of the one value that depends on the samples; the layers that it is, if it is no activation."""
    known = None if drafts is None else lambda functions: drafts() if functions == [None] else None
    return call.tracer.function(str(call.node), [call.data(0)], function, known)


def _plain(call):
    return unary(call, PLAIN[call.node.op])


OPERATORS.update(dict.fromkeys(PLAIN, _plain))


@operator("Elu", "Celu")
def _elu(call):
    alpha = call.attribute("alpha", 1.0)
    if call.node.op == "Celu":
        return unary(call, lambda x: alpha * elu(x / alpha))
    return unary(call, lambda x: elu(x, alpha))


@operator("Selu")
def _selu(call):
    alpha, gamma = call.attribute("alpha", SELU_ALPHA), call.attribute("gamma", SELU_SCALE)
    return unary(call, lambda x: selu(x, alpha, gamma))


@operator("LeakyRelu")
def _leaky_relu(call):
    alpha = call.attribute("alpha", 0.01)
    return unary(call, lambda x: leaky_relu(x, alpha), lambda: leaky(alpha))


@operator("Gelu")
def _gelu(call):
    if call.attribute("approximate", "none") == "tanh":
        return unary(call, gelu_tanh)
    return unary(call, gelu)


@operator("Swish")
def _swish(call):
    alpha = call.attribute("alpha", 1.0)
    return unary(call, lambda x: x * sigmoid(alpha * x))


@operator("HardSigmoid")
def _hard_sigmoid(call):
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    return unary(call, lambda x: hard_sigmoid(x, alpha, beta), lambda: clipped(alpha, beta, 0.0, 1.0))


@operator("Clip")
def _clip(call):
    low, high = call.attribute("min", -math.inf), call.attribute("max", math.inf)
    low, high = call.scalar(1, low), call.scalar(2, high)
    bounded = math.isfinite(low) and math.isfinite(high) and low < high
    return unary(call, lambda x: np.clip(x, low, high), (lambda: clipped(1.0, 0.0, low, high)) if bounded else None)


@operator("PRelu")
def _prelu(call):
    value, slope = call.data(0), call.weights(1)
    if slope.size == 1:  # each feature gets one of its own
        stage, slopes, theirs = call.tracer.settle(value), float(slope.reshape(-1)[0]), None
    else:
        stage, slopes, theirs = by_features(call, value, slope)
    return call.tracer.made(stage, Draft(PReLU, arrays={"slope": slopes}), None, value.axes, gives=theirs)


@operator("Dropout")
def _dropout(call):
    value, rate = call.data(0), call.scalar(1, call.attribute("ratio", 0.5))
    if rate == 0:
        return value
    return call.tracer.made(call.tracer.settle(value), Draft(Dropout, {"rate": rate}), None, value.axes)


@operator("Identity", "ai.onnx.ml.ZipMap")
def _identity(call):
    return call.values[0]  # a classifier's probabilities in a dict for each sample are the same numbers


@operator("Cast", "CastLike")
def _cast(call):
    if call.node.op == "CastLike":
        return call.values[0]
    value = call.data(0)
    if call.attribute("to", 1) not in FLOATS:
        if value is not call.tracer.input:
            call.refuse("it makes integers of computed numbers, and layers give floats")
        return Ids(value)
    return value


# ---------------------------------------------------------------- several values


def _several(call):
    """A function of values, or of values and single numbers."""
    return combined(call, SEVERAL[call.node.op])


def combined(call, function):
    """The value that is a function of one value number by number; an error if it is one of several."""
    values = [value for value in call.values if isinstance(value, Traced)]
    numbers = [None if isinstance(v, Traced) else call.scalar(i, math.nan) for i, v in enumerate(call.values)]
    if not values or any(np.ndim(v) > len(values[0].axes) for v in call.values if isinstance(v, np.ndarray)):
        call.refuse("its constant has more axes than the value that it is combined with")
    distinct = list({id(value): value for value in values}.values())
    which = [next(i for i, v in enumerate(distinct) if v is value) for value in values]

    def of_distinct(*given):
        given = iter([given[i] for i in which])
        return function(*(next(given) if number is None else number for number in numbers))

    found = call.tracer.function(str(call.node), distinct, of_distinct, partial(_skipped, call))
    if found is None:
        call.refuse("it combines values made of the samples on different ways; a sum or difference of two, a Residual, may")
    return found


def _skipped(call, functions):
    """Layers of x + f(x), or of g(x) + f(x), or of a difference, these being functions of single numbers."""
    if call.node.op not in ("Add", "Sum", "Sub") or len(functions) != 2:
        return None
    ways = [[] if f is None else as_drafts(f) for f in functions]
    if None in ways:
        return None
    if call.node.op == "Sub":
        ways[1] = [*ways[1], *line(-1.0, 0.0)]
    around, inside = sorted(ways, key=len)
    return [residual(inside, around)] if inside else None


OPERATORS.update(dict.fromkeys(SEVERAL, _several))


@operator("Min", "Max")
def _extreme(call):
    return combined(call, np.minimum if call.node.op == "Min" else np.maximum)


@operator("Add", "Sum")
def _add(call):
    if _apart(call):
        a, b = call.values
        return blended(call, a, b) or blended(call, b, a) or call.tracer.sum(a, b)
    return affine(call, lambda number: (1.0, number), np.add)


def blended(call, a, b):
    """The sum of (1 - alpha) x and alpha f(x), a ParametricActivation; None if it is another one."""
    line, curve = call.tracer.settle(a), call.tracer.settle(b)
    inside = curve.parent
    if not (line.plain and curve.plain and line.plain.layer is curve.plain.layer is Affine and inside.plain):
        return None
    first, second = line.plain.arrays, curve.plain.arrays
    whole = not np.any(first["offset"]) and not np.any(second["offset"]) and near(first["scale"] + second["scale"], 1.0)
    if inside.plain.layer is not Activation or inside.parent is not line.parent or a.axes != b.axes or not whole:
        return None
    draft = Draft(ParametricActivation, inside.plain.settings, {"alpha": second["scale"]})
    return call.tracer.made(line.parent, draft, None, a.axes, gives=curve.gives)


def _apart(call):
    """Whether it has two values that are made of the samples, and are no functions of one, number by number."""
    if len(call.values) != 2 or not all(isinstance(value, Traced) for value in call.values):
        return False
    sources = [{id(value), *(id(source) for source, _, _ in value.views)} for value in call.values]
    return call.values[0].axes != call.values[1].axes or not sources[0] & sources[1]


@operator("Mul")
def _mul(call):
    return affine(call, lambda number: (number, 0.0), np.multiply)


@operator("Sub")
def _sub(call):
    if _apart(call):
        a, b = call.values
        return call.tracer.sum(a, call.tracer.function(str(call.node), [b], np.negative))
    if call.is_constant(0):
        return affine(call, lambda number: (-1.0, number), np.subtract)
    return affine(call, lambda number: (1.0, -number), np.subtract)


@operator("Div")
def _div(call):
    if call.is_constant(0):
        return combined(call, np.true_divide)
    return affine(call, lambda number: (1 / number, 0.0), np.true_divide)


def affine(call, terms, function):
    """scale x + offset with a constant of several numbers, `terms` of which are both; a function of number by number else."""
    constants = [number for number in range(len(call.values)) if call.is_constant(number)]
    if len(call.values) != 2 or not constants or call.values[constants[0]].size == 1:
        return combined(call, function)
    value, numbers = call.data(1 - constants[0]), call.weights(constants[0])
    stage, vector, theirs = by_features(call, value, numbers)
    return scaled(call, value, stage, theirs, *terms(vector.astype(np.float64)))


def scaled(call, value, stage, theirs, scale, offset):
    """scale x + offset with numbers of each feature."""
    shape = tuple(map(size_of, stage.axes))
    scale, offset = (np.broadcast_to(np.asarray(n, np.float64), shape[-1:]) for n in (scale, offset))
    draft = Draft(Affine, {"shape": shape}, {"scale": scale, "offset": offset})
    return call.tracer.made(stage, draft, None, value.axes, gives=theirs)


def by_features(call, value, constant):
    """(stage, vector, factors) of a constant that is broadcast to a value; our last axis is what it varies on."""
    rank = len(value.axes)
    if constant.ndim > rank:
        call.refuse(f"its constant has more axes, shape {constant.shape}, than the value, shape {value.shape}")
    shape = (1,) * (rank - constant.ndim) + constant.shape
    axes = [i for i, n in enumerate(shape) if n != 1]
    if any(shape[i] != features(value, i) for i in axes):
        call.refuse(f"its constant of shape {constant.shape} does not fit the value of shape {value.shape}")
    return call.tracer.with_last(value, axes), constant.reshape(-1), joined(value.axes[i] for i in axes)


@operator("ai.onnx.ml.Scaler")
def _scaler(call):
    value = call.data(0)
    call.rank(value, 2)
    width = features(value, 1)
    offset, scale = (np.array(call.attribute(name, (), tuple), np.float64) for name in ("offset", "scale"))
    if any(n.size not in (1, width) for n in (offset, scale)):
        call.refuse(f"it has {offset.size} and {scale.size} numbers for {width} features")
    if offset.size == scale.size == 1:
        return unary(call, lambda x: (x - offset[0]) * scale[0])
    return scaled(call, value, call.tracer.with_last(value, [1]), value.axes[1], scale, -offset * scale)


# ---------------------------------------------------------------- rows


@operator("Softmax", "LogSoftmax")
def _softmax(call):
    value = call.data(0)
    axis = call.axis(value, call.attribute("axis", 1 if call.node.opset < 13 else -1))
    if call.node.opset < 13 and axis != len(value.axes) - 1:
        call.refuse("before operator set 13 it works on all axes behind the one it names, which must be the last")
    draft = Draft(LogSoftmax) if call.node.op == "LogSoftmax" else softmax()
    return call.tracer.made(call.tracer.with_last(value, [axis]), draft, None, value.axes)


def softmax():
    """A softmax as a layer."""
    return Draft(Activation, {"activation": "softmax"})


def with_complement(call, values, axis):
    """The concatenation of 1 - p and p, p being sigmoids: what scikit-learn's classifiers give; None if it is another one."""
    first, second = values
    sources = {id(source): function for source, function, _ in first.views}
    for source, function, _ in second.views:
        if id(source) in sources:
            rest, p = values_at_points(sources[id(source)]), values_at_points(function)
            if p is not None and rest is not None and near(p, sigmoid(POINTS)) and near(rest, sigmoid(-POINTS)):
                if features(second, axis) != 1:  # several labels: the probability of each
                    return second
                stage = call.tracer.with_last(source, [axis])
                ours, theirs = (*stage.axes[:-1], TWO), (*source.axes[:axis], TWO, *source.axes[axis + 1 :])
                pair = call.tracer.made(stage, Draft(Pair), ours, theirs)
                return call.tracer.made(pair.stage, softmax(), ours, theirs)
    return None
