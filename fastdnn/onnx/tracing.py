"""What becomes of the samples on their way through a graph: stages, made by layers one after the other, and views of them.

The values of a graph are constants (arrays) or `Traced`: the numbers of a stage, in ONNX's axes, perhaps with a function
applied to each number that is not a layer yet. So an activation that a file spells out (x times its sigmoid) is known by its
values once somebody needs it, and an axis changes its place without a layer (see `dimensions`).
"""

from functools import partial

from ..layers import Flatten, Reshape
from ..saving.errors import ModelFormatError
from .dimensions import axis, joined, matched, positions, regrouped, resolved, shape_of
from .drafts import Draft, residual
from .functions import as_drafts

MOST_NESTED = 50  # residuals in each other
MOST_VIEWS = 12  # operators that a function may be spelled out with
OTHER_ORDER = "it needs the axes in another order than the layers before leave them in, and there is no layer for that"


class BatchAxis(ModelFormatError):
    """The axis of the samples is where another one must be."""


class OtherOrder(ModelFormatError):
    """Axes would have to change places."""

    def __init__(self, message=OTHER_ORDER):
        super().__init__(message)


class Stage:
    """What a layer makes of the stage before; the samples are one without.

    Parameters
    ----------
    parent : Stage or None
    draft : Draft or None
        The layer.
    axes : tuple of tuples of Factor, or None
        Those of a sample, ours; None where they are the parent's, whatever these will be.
    takes, gives : tuple of Factor or None
        Features in ONNX's order, where the weights depend on them: those of the parent, and those of this stage.
    pliable : bool
        Whether the order of the features on the last axis is still open: it is that of the columns of a matrix.

    Attributes
    ----------
    plain : Draft or None
        The layer with its weights in ONNX's order of features.
    depth : int
        Layers before it.
    contains : frozenset of Stage
        Of a Residual all stages that have become a part of it.
    last : tuple (Stage, axis, number) or None
        Of a recurrent layer that gives all steps: what it makes if it gives the last one only, and which step that is.
    """

    def __init__(self, parent, draft, axes=None, takes=None, gives=None, pliable=False):
        self.parent, self.plain, self._axes, self.last, self.contains = parent, draft, axes, None, frozenset()
        self.takes, self.gives, self.pliable = takes, gives, pliable
        self.depth = 0 if parent is None else parent.depth + 1

    @property
    def follows(self):
        """Whether its axes are the parent's."""
        return self._axes is None and self.parent is not None

    @property
    def first(self):
        """The stage before it whose axes it has, or itself."""
        stage = self
        while stage.follows:
            stage = stage.parent
        return stage

    @property
    def axes(self):
        """Those of a sample; None of the input, and of what has its axes, while nobody has asked for an order."""
        axes = self.first._axes
        return None if axes is None else resolved(axes)

    @axes.setter
    def axes(self, axes):
        self.first._axes = axes

    @property
    def core(self):
        """The stage before it that it has the numbers of, in other axes; or itself."""
        stage = self
        while stage.plain is not None and stage.plain.reshapes and joined(stage.parent.axes) == joined(stage.axes):
            stage = stage.parent
        return stage

    def draft(self):
        """The layer, its weights in our order of features."""
        rows, columns = self.takes, self.gives
        if rows is not None:
            rows = positions(joined(resolved((rows,))), self.parent.axes[-1])
        if columns is not None:
            columns = positions(joined(resolved((columns,))), self.axes[-1])
        return self.plain.ordered(rows, columns)


class Traced:
    """A value that depends on the samples.

    Attributes
    ----------
    stage : Stage or None
        Whose numbers it is; None of a function that is no layer yet.
    axes : tuple of tuples of Factor
        ONNX's, that of the samples included.
    views : list of (Traced, function, callable)
        What it is a function of, number by number, the nearest first; what layers the operator itself is known to be.
    label : str
        Of the node that made it, for messages.
    is_unknown : bool
        Whether no layers have been found for its function.
    """

    def __init__(self, stage, axes, views=(), label=""):
        self.stage, self._axes, self.views, self.label, self.is_unknown = stage, axes, list(views), label, False

    @property
    def axes(self):
        return resolved(self._axes)

    @property
    def shape(self):
        return shape_of(self.axes)


class Tracer:
    """The road of the samples through a graph, as far as it has been walked.

    Parameters
    ----------
    axes : tuple of tuples of Factor
        Of the input in the file.
    batch : Factor
        The one that counts samples.
    input_type : int
        Type of the input in the file, of TensorProto's.
    turned : bool
        Whether the input has its channels last where nothing else is said.
    """

    def __init__(self, axes, batch, input_type, turned):
        self.batch, self._given, self.input_type, self.turned = batch, axes, input_type, turned
        self.input = Traced(Stage(None, None, None), axes, label="the input")

    # ------------------------------------------------------------ the order of axes

    @property
    def own(self):
        """Axes of a sample of the input in the file."""
        return tuple(axis for axis in resolved(self._given) if not self.is_batch(axis)) or ((),)

    @property
    def usual(self):
        """Axes of a sample of the input, where nobody asks for others."""
        own = self.own
        return (*own[1:], own[0]) if self.turned else own

    def is_batch(self, axis):
        """Whether an axis is that of the samples, and nothing else."""
        return axis == (self.batch,)

    def settle(self, value):
        """The stage of a value, after layers for its function have been added."""
        if self._found(value) is None:
            raise ModelFormatError(
                f"{value.label} gives a function of single numbers that is no activation of fastdnn; activations are "
                "known by their values: relu, leaky_relu of any slope, elu, selu, gelu and its approximation gelu_tanh, "
                "silu, mish, tanh, logistic, softplus, softsign, hard_swish, relu6, and straight lines between two bounds"
            )
        return value.stage

    def _found(self, value):
        """The stage of a value, as `settle` has it, or None; from the source farthest away that it is a known function of."""
        for source, function, known in [] if value.stage or value.is_unknown else reversed(value.views):
            drafts = as_drafts(function)
            drafts = known() if drafts is None else drafts
            if drafts is not None and (stage := self._found(source)) is not None:
                for draft in drafts:
                    stage = Stage(stage, draft)
                value.stage = stage
                break
        value.is_unknown = value.stage is None
        return value.stage

    def lay(self, stage, wanted):
        """Decide about the order of axes, as far as it is open."""
        first = stage.first
        if first._axes is None:
            own = self.usual
            turns = wanted is not None and sorted(map(hash, own)) == sorted(map(hash, wanted))
            first.axes = wanted if turns or (wanted is not None and len(own) == 1 < len(wanted)) else own
        elif first.pliable and wanted is not None:
            *before, features = first.axes
            flat, n = joined(wanted), len(joined(before))
            if flat[:n] == joined(before) and set(flat[n:]) == set(features):
                first.axes = (*before, flat[n:])

    def fix(self, stage):
        """Decide about the order of axes, for good."""
        self.lay(stage, None)
        stage.first.pliable = False

    def arranged(self, stage, axes):
        """The stage with its numbers, in the order in which they are, in these axes."""
        if stage.axes == axes:
            return stage
        if joined(stage.axes) != joined(axes):
            raise OtherOrder
        self.fix(stage)
        stage = stage.core
        if stage.axes == axes:
            return stage
        shape = shape_of(axes)
        return Stage(stage, Draft(Flatten) if len(shape) == 1 else Draft(Reshape, {"shape": shape}), axes)

    def with_last(self, value, numbers):
        """The stage with the axes of these numbers as our last one, in whatever order of its factors."""
        stage, theirs = self.settle(value), value.axes
        wanted = joined(theirs[number] for number in numbers)
        if self.batch in wanted:
            raise BatchAxis("it works across samples, or the axis of the samples is another one than the first")
        others = (axis for i, axis in enumerate(theirs) if i not in numbers and not self.is_batch(axis))
        others = (*(tuple(f for f in axis if f is not self.batch) for axis in others), wanted)
        if stage.axes is None and set(joined(self.usual)[-len(wanted) :]) == set(wanted):
            self.lay(stage, None)
        elif stage.axes is None or set(stage.axes[-1]) != set(wanted):
            self.lay(stage, others)
        own = stage.axes
        flat = joined(own)
        before, inner = flat[: len(flat) - len(wanted)], flat[len(flat) - len(wanted) :]
        if set(inner) != set(wanted):
            raise OtherOrder
        if own[-1] == inner and (all(own[:-1]) or len(own) < len(theirs)):  # otherwise without axes of size 1 of ours
            return stage
        lead, left = [], len(before)
        for factors in own:
            if left and factors:
                lead.append(factors[:left])
                left -= len(lead[-1])
        return self.arranged(stage, (*lead, inner))

    def as_image(self, value, spatial, channel, dims=None):
        """The stage with samples (places..., channels), of `dims` places, for layers of windows."""
        stage, theirs = self.settle(value), value.axes
        if not self.is_batch(theirs[0]) or self.batch in joined(theirs[1:]):
            raise BatchAxis("its input must have the samples on its first axis, alone")
        places, channels = tuple(theirs[i] for i in spatial), theirs[channel]
        self.lay(stage, (*places, channels))
        flat = joined(stage.axes)
        inner = flat[len(flat) - len(channels) :]
        if set(inner) != set(channels) or flat[: len(flat) - len(channels)] != joined(places):
            raise OtherOrder
        more = ((),) * ((dims or len(places)) - len(places))
        return self.arranged(stage, (*more, *places, inner))

    # ------------------------------------------------------------ values from values

    def made(self, stage, draft, ours, theirs, **features):
        """What a layer makes of a stage; features : as of `Stage`."""
        return Traced(Stage(stage, draft, ours, **features), theirs)

    def viewed(self, value, axes):
        """The same numbers with other axes in ONNX."""
        return Traced(self.settle(value), axes)

    def reshaped(self, value, sizes):
        """The value with axes of other sizes."""
        stage, axes = self.settle(value), regrouped(joined(value.axes), sizes)
        if axes is not None:
            return Traced(stage, axes)
        self.fix(stage)
        batch, *own = joined(value.axes)
        if batch is not self.batch or tuple(own) != joined(stage.axes) or not sizes or sizes[0] != batch.size:
            raise OtherOrder("it mixes channels and places, or samples, which fastdnn has in another order")
        ours = tuple(axis(n) for n in sizes[1:])
        return self.made(stage, Draft(Reshape, {"shape": tuple(sizes[1:])}), ours, ((batch,), *ours))

    def function(self, label, values, combine, known=None):
        """A value that is a function, number by number, of values that are functions of one; None if they are of several.

        combine : of arrays, the numbers of the values
        known : tells what layers it is, if any, by the functions that the values are of a source of theirs (None: itself)
        """
        if any(value.axes != values[0].axes for value in values):
            return None
        for value in values:
            if len(value.views) >= MOST_VIEWS:
                self.settle(value)
                value.views = []
        sources = [{id(v): (v, None), **{id(s): (s, f) for s, f, _ in v.views}} for v in values]
        views = []
        for key, (source, _) in sources[0].items():
            if all(key in found for found in sources):
                functions = [found[key][1] for found in sources]
                views.append((source, _composed(combine, functions), partial(known or _unknown, functions)))
        return Traced(None, values[0].axes, views, label) if views else None

    def sum(self, a, b):
        """x + f(x) or g(x) + f(x): what two ways from one value have made, in either order."""
        first, second = self.settle(a), self.settle(b)
        if first.core.depth > second.core.depth:
            a, b, first, second = b, a, second, first
        start = _parting(first.core, second.core)
        if first.core is start:
            first = start
        elif first.first.pliable and not second.first.pliable:  # the one whose order is open takes the other's
            a, b, first, second = b, a, second, first
        self.fix(first)
        pairs = matched(a.axes, b.axes)
        ours = pairs and tuple(tuple(pairs.get(f) for f in factors) for factors in first.axes)
        if ours:
            self.lay(second, ours)
        if not ours or joined(second.axes) != joined(ours):
            raise OtherOrder("it adds values whose axes fastdnn has in different orders")
        self.fix(second)
        around, inside = _way(start, first), _way(start, self.arranged(second, ours))
        parts = [*around, *inside]
        contains = frozenset(parts).union(*(stage.contains for stage in parts))
        if len(contains) < sum(1 + len(stage.contains) for stage in parts):
            raise ModelFormatError(
                "it adds what two ways have made that share layers; a Residual's ways have layers of their own"
            )
        draft = residual([stage.draft() for stage in inside], [stage.draft() for stage in around])
        if draft.nested > MOST_NESTED:
            raise ModelFormatError(f"more than {MOST_NESTED} residuals stand in each other")
        made = self.made(start, draft, ours, b.axes)
        made.stage.contains = contains
        return made


def _parting(first, second):
    """The last stage that is before both."""
    while first is not second:
        if first.depth > second.depth:
            first = first.parent
        elif second.depth > first.depth:
            second = second.parent
        else:
            first, second = first.parent, second.parent
    return first


def _way(start, end):
    """The stages behind one, up to another."""
    found = []
    while end is not start:
        found.append(end)
        end = end.parent
    return found[::-1]


def _composed(combine, functions):
    """The function of one number that gives what `combine` makes of several functions of it (None: the number itself)."""
    return lambda x: combine(*(x if f is None else f(x) for f in functions))


def _unknown(functions):
    return None
