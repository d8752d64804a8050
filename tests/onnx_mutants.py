"""ONNX files in which something is wrong, by chance, and what reading them takes."""

import contextlib
import math
import random
import time
import tracemalloc

import numpy as np
from onnx_graphs import BASES, numpy_helper, onnx

from fastdnn import Model, ModelFormatError

NUMBERS = [0, 1, -1, 2, 3, 7, 127, 1 << 16, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 62) + 1, -(1 << 62), -(1 << 63)]


def mutated_bytes(data, rng):
    """Some bytes changed, taken out, put in twice, or the end cut off."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, n = rng.randrange(len(data)), rng.choice([1, 1, 2, 4, 8, 30])
        kind = rng.randrange(6)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + n] = bytes(rng.randrange(256) for _ in range(n))
        elif kind == 2:
            del data[at : at + n]
        elif kind == 3:
            data[at:at] = data[at : at + n] * rng.choice([1, 2, 50])
        elif kind == 4:
            data[at : at + n] = b"\xff" * n
        elif rng.random() < 0.3:
            del data[at:]
        if not data:
            break
    return bytes(data)


def mutated_node(graph, rng):
    node = rng.choice(graph.node)
    names = [*(n for other in graph.node for n in (*other.input, *other.output)), "", "nobody"]
    kind = rng.randrange(7)
    if kind == 0:
        node.op_type = rng.choice([*(other.op_type for other in graph.node), "Loop", "GRU", "Pad", "Slice", "Tile", "Expand"])
    elif kind == 1 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind == 2:
        node.output[0] = rng.choice(names)
    elif kind == 3 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif kind == 4:
        node.input.append(rng.choice(names))
    elif kind == 5:
        graph.node.insert(rng.randrange(len(graph.node)), node)
    else:
        graph.node.remove(node)


def mutated_attribute(graph, rng):
    node = rng.choice([n for n in graph.node if n.attribute] or list(graph.node))
    if not node.attribute:
        return
    attribute = rng.choice(node.attribute)
    kind = rng.randrange(4)
    if kind == 0:
        attribute.type = rng.randrange(15)
    elif kind == 1:
        attribute.i, attribute.f = rng.choice(NUMBERS), rng.choice([0.0, -1.0, math.nan, math.inf, 1e30, 1e-30])
    elif kind == 2 and attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
    else:
        attribute.ints.extend(rng.choice(NUMBERS) for _ in range(rng.randrange(3)))
        attribute.s = rng.choice([b"", b"SAME_UPPER", b"reverse", b"\xff"])


def mutated_tensor(graph, rng):
    tensor = rng.choice(graph.initializer)
    kind = rng.randrange(6)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
    elif kind == 1:
        tensor.dims.append(rng.choice(NUMBERS))
    elif kind == 2:
        tensor.data_type = rng.randrange(20)
    elif kind == 3:
        tensor.data_location = 1
    elif kind == 4 and tensor.data_type == onnx.TensorProto.INT64:
        values = numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[:1] = rng.choice(NUMBERS)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    elif kind == 4:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(np.full_like(array, rng.choice([math.nan, math.inf, 3e38])), tensor.name))
    else:
        order = rng.sample(list(tensor.dims), len(tensor.dims))
        del tensor.dims[:]
        tensor.dims.extend(order)


def mutated_input(graph, rng):
    info = rng.choice([*graph.input, *graph.output]).type.tensor_type
    if rng.random() < 0.3 or not info.shape.dim:
        info.elem_type = rng.randrange(20)
    else:
        info.shape.dim[rng.randrange(len(info.shape.dim))].dim_value = rng.choice(NUMBERS)


def mutant(rng):
    """The bytes of a file in which something is wrong."""
    model = rng.choice(list(BASES.values()))().model()
    if rng.random() < 0.4:
        return mutated_bytes(model.SerializeToString(), rng)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if model.graph.node and model.graph.initializer and model.graph.output:
            with contextlib.suppress(Exception):  # onnx's, where a mutation before is in the way
                rng.choice([mutated_node, mutated_attribute, mutated_tensor, mutated_input])(model.graph, rng)
    return model.SerializeToString()


def attempt(data):
    """Read a file; (what came of it, bytes of memory at most, seconds). A model that comes of it predicts."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        model = Model.from_onnx(data)
    except ModelFormatError as error:
        model, outcome = None, str(error)
        assert outcome
        assert len(outcome) < 3000
    peak, seconds = tracemalloc.get_traced_memory()[1], time.perf_counter() - start
    tracemalloc.stop()
    if model is not None:
        outcome, shape = "", model.layout.shapes[0]
        if max(map(math.prod, model.layout.shapes)) <= 1 << 14:
            ids = model.layers[0].takes_ids
            X = np.zeros((2, *shape), np.int64) if ids else np.random.default_rng(0).standard_normal((2, *shape))
            assert model.predict(X).shape == (2, *model.layout.shapes[-1])
    return outcome, peak, seconds


def attempts(n, seed):
    """How many of n mutants are models after all, and the most memory beyond twice their size, and time, that one took."""
    rng, accepted, worst, slowest = random.Random(seed), 0, 0, 0.0
    for _ in range(n):
        data = mutant(rng)
        outcome, peak, seconds = attempt(data)
        accepted, worst, slowest = accepted + (not outcome), max(worst, peak - 2 * len(data)), max(slowest, seconds)
    return accepted, worst, slowest
