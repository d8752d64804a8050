"""Layers that change shapes or the way that numbers take, and those that do nothing in inference."""

from ..layers import Flatten, Masking, Reshape, Sampling
from ..layers.augmentation import Geometric, RandomErasing
from ..layers.base import Layer
from ..layers.columns import Open, Put, Take
from ..layers.noise import AlphaDropout, Dropout, GaussianNoise, SpatialDropout
from ..layers.shape import Join, Shortcut, Split
from .dense import ANY
from .registry import exporter
from .tensors import LAST, TIME, turned


@exporter(Layer, Dropout, AlphaDropout, GaussianNoise, SpatialDropout, Geometric, RandomErasing, Masking, orders=ANY,
          any_length=True)  # fmt: skip
def nothing(graph, layer, x, weights):
    return x.name


@exporter(Flatten, Reshape)
def reshape(graph, layer, x, weights):
    return graph.node("Reshape", x, graph.constant([0, *layer.output_shape(x.shape)]))  # 0 keeps the number of samples


@exporter(Split, orders=ANY, any_length=True)
def split(graph, layer, x, weights):
    return x._replace(ways=(*x.ways, x))


@exporter(Shortcut, orders=ANY, any_length=True)
def shortcut(graph, layer, x, weights):
    *ways, start = x.ways
    return start._replace(ways=(*ways, x))


@exporter(Join, orders=ANY, any_length=True)
def join(graph, layer, x, weights):
    *ways, around = x.ways
    name = graph.node("Add", x, turned(graph, around, x.order))
    return x._replace(name=name, ways=tuple(ways), steps=x.steps and around.steps)


@exporter(Sampling, orders=(LAST, TIME), any_length=True)
def sampling(graph, layer, x, weights):
    return graph.slice(x, x.channel_axis, end=x.shape[-1] // 2)


# ---------------------------------------------------------------- groups of columns: a way is (samples, what groups made)


@exporter(Open)
def open_columns(graph, layer, x, weights):
    return x._replace(ways=(*x.ways, (x.name, ())))


@exporter(Take)
def take_columns(graph, layer, x, weights):
    samples, _ = x.ways[-1]
    return graph.node("Gather", samples, graph.constant(list(layer.columns), "columns"), axis=1)


@exporter(Put)
def put_columns(graph, layer, x, weights):
    *ways, (samples, parts) = x.ways
    parts = (*parts, x.name)
    if not layer.last:
        return x._replace(ways=(*ways, (samples, parts)))
    return x._replace(name=graph.node("Concat", *parts, axis=1), ways=tuple(ways))
