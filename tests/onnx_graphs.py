"""Small ONNX graphs, made without the libraries that export them."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


class Graph:
    """A graph that is written down operator by operator.

    shape : of a sample     opset : version of the operators     kind : type of the input     batch : name or number
    """

    def __init__(self, *shape, opset=17, kind=1, batch="n", axis=0):
        dims = list(shape)
        dims.insert(axis, batch)
        self.nodes, self.tensors, self.opset, self.last = [], [], opset, "x"
        self.inputs = [helper.make_tensor_value_info("x", kind, dims)]
        self.rng = np.random.default_rng(len(shape))

    def constant(self, array, name=None):
        """The name of an initializer."""
        name = name or f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def normal(self, *shape):
        """The name of one of random numbers."""
        values = self.rng.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5
        return self.constant(values.astype("float32"))

    def add(self, op, *inputs, outputs=1, domain="", **attributes):
        """An operator on the last value and what else there is, or on `inputs` that begin with a name; its outputs' names."""
        names = [f"{op.lower()}{len(self.nodes)}{'abc'[i]}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(op, list(inputs), names, name=f"node{len(self.nodes)}", domain=domain, **attributes)
        )
        self.last = names[0]
        return names[0] if outputs == 1 else names

    def on(self, op, *inputs, **attributes):
        """An operator on the last value and others."""
        return self.add(op, self.last, *inputs, **attributes)

    def model(self, *outputs):
        """The ModelProto."""
        infos = [helper.make_tensor_value_info(name, 1, None) for name in outputs or [self.last]]
        graph = helper.make_graph(self.nodes, "g", self.inputs, infos, self.tensors)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("ai.onnx.ml", 3)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def one(op, shape, *constants, end=None, **attributes):
    """A graph of one operator on samples of that shape."""
    g = Graph(*shape, opset=attributes.pop("opset", 17), batch=attributes.pop("batch", "n"))
    g.on(op, *(c if isinstance(c, str) else g.constant(c) for c in constants), **attributes)
    for more in end or ():
        g.on(*more)
    return g


def dense():
    g = Graph(4)
    g.on("Gemm", g.normal(6, 4), g.normal(6), transB=1)
    g.on("Relu")
    g.on("MatMul", g.normal(6, 3))
    g.on("Add", g.normal(3))
    g.on("Softmax")
    return g


def conv():
    g = Graph(3, 8, 8)
    g.on("Conv", g.normal(4, 3, 3, 3), g.normal(4), pads=[1, 1, 1, 1])
    scale = [g.normal(4) for _ in range(3)]
    g.on("BatchNormalization", *scale, g.constant(np.full(4, 0.7, "float32")))
    x = g.on("Relu")
    g.on("Conv", g.normal(4, 4, 3, 3), g.normal(4), pads=[1, 1, 1, 1])
    g.add("Add", g.last, x)
    g.on("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    shape = g.on("Shape")
    first = g.add("Gather", shape, g.constant(np.array(0)), axis=0)
    first = g.add("Unsqueeze", first, g.constant(np.array([0])))
    target = g.add("Concat", first, g.constant(np.array([-1])), axis=0)
    g.add("Reshape", g.nodes[-5].output[0], target)
    g.on("Gemm", g.normal(64, 2), g.normal(2))
    return g


def lstm():
    g = Graph(5, 3)
    g.on("Transpose", perm=[1, 0, 2])
    shape = g.add("Shape", g.last)
    batch = g.add("Gather", shape, g.constant(np.array([1])), axis=0)
    shape = g.add("Concat", g.constant(np.array([2])), batch, g.constant(np.array([4])), axis=0)
    zeros = g.add("ConstantOfShape", shape)
    weights = g.normal(2, 16, 3), g.normal(2, 16, 4), g.normal(2, 32)
    given = g.nodes[0].output[0], *weights, "", zeros, zeros
    g.add("LSTM", *given, outputs=3, hidden_size=4, direction="bidirectional")
    g.on("Transpose", perm=[0, 2, 1, 3])
    g.on("Reshape", g.constant(np.array([0, 0, -1])))
    g.on("Transpose", perm=[1, 0, 2])
    g.on("ReduceMean", axes=[1], keepdims=0)
    g.on("Gemm", g.normal(8, 2), g.normal(2))
    g.on("Sigmoid")
    return g


def embedding():
    g = Graph(6, kind=7)
    g.add("Gather", g.normal(9, 5), "x")
    weights = g.normal(5), g.normal(5)
    g.on("LayerNormalization", *weights)
    g.on("Transpose", perm=[0, 2, 1])
    g.on("Conv", g.normal(3, 5, 3), g.normal(3))
    x = g.last
    g.add("Mul", x, g.add("Sigmoid", x))
    g.on("GlobalAveragePool")
    g.on("Flatten")
    g.on("Gemm", g.normal(3, 2), g.normal(2))
    return g


BASES = {"dense": dense, "conv": conv, "lstm": lstm, "embedding": embedding}
