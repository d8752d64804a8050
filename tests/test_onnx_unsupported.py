"""ONNX operators, and uses of them, for which there is no layer, say what is supported."""

import numpy as np
import pytest
from onnx_graphs import BASES, Graph, conv, dense, one

from fastdnn import Model, ModelFormatError

IMAGE = (3, 7, 6)


def of_shared_layers():
    """x + f(x) and x + g(f(x)), added."""
    g = conv()
    x = g.nodes[2].output[0]
    shared = g.add("Conv", x, g.normal(4, 4, 1, 1))
    first, second = g.add("Add", shared, x), g.add("Add", g.add("Conv", shared, g.normal(4, 4, 1, 1)), x)
    g.add("Add", first, second)
    return g


def last_of_both():
    g = BASES["lstm"]()
    node = next(node for node in g.nodes if node.op_type == "ReduceMean")
    g.add("Gather", node.input[0], g.constant(np.array(-1)), axis=1)
    g.on("MatMul", g.normal(8, 2))
    return g


def gru_of_another_kind():
    g = Graph(5, 3)
    g.on("Transpose", perm=[1, 0, 2])
    g.add("GRU", g.last, g.normal(1, 12, 3), g.normal(1, 12, 4), outputs=2, hidden_size=4)
    return g


def state_of_another_size():
    g = Graph(5, 3)
    g.on("Transpose", perm=[1, 0, 2])
    states = np.zeros((1, 1, 4), "float32"), np.zeros((1, 1, 7), "float32")
    weights = g.normal(1, 16, 3), g.normal(1, 16, 4), g.normal(1, 32)
    g.add("LSTM", g.last, *weights, "", *map(g.constant, states), outputs=3, hidden_size=4)
    return g


def first_step_of_many():
    """A state of zeros times its weights, as recurrent layers begin that are written step by step."""
    g = dense()
    g.add("Add", g.last, g.add("MatMul", g.constant(np.zeros((1, 3), "float32")), g.normal(3, 1)))
    return g


def turned_at_the_end():
    g = Graph(3, 8, 8)
    g.on("Conv", g.normal(4, 3, 3, 3))
    g.on("Flatten")
    return g


REFUSED = [
    (first_step_of_many(), "MatMul .*: none of its inputs is made of the samples, .* written step by step"),
    (one("Elu", (4,), alpha=0.5), r"Elu .node 'node0'. gives a function of single numbers that is no activation"),
    (one("Sin", (4,)), r"Sin .node 'node0'.: this operator is not supported; supported are Abs, Add, And, AveragePool"),
    (one("MatMul", (4, 4), np.ones((2, 4, 4), "float32")), "its input 1 must be a matrix"),
    (one("Resize", IMAGE, "", np.float32([1, 1, 2, 2]), mode="linear"), "repeated pixels are supported"),
    (one("Pad", IMAGE, np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect"), "mode='reflect' is not supported"),
    (one("Pad", IMAGE, np.array([0, 1, 0, 0, 0, 1, 1, 1]), np.float32(1)), "a border of zeros"),
    (one("MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 2]), "dilations=.2, 2. are not supported"),
    (one("ReduceMean", IMAGE, axes=[0, 1]), "global pooling"),
    (one("Gather", IMAGE, np.array([0, 2]), axis=2), "single slices along an axis"),
    (one("Cast", (4,), to=7, end=[["Relu"]]), "the input made integers, which are for an embedding"),
    (one("ArgMax", (4,), axis=1), "ArgMax"),
    (of_shared_layers(), r"Add .node 'node\d+'.: it adds what two ways have made that share layers"),
    (last_of_both(), "of a bidirectional one, whose last step is the first one of a direction"),
    (gru_of_another_kind(), "linear_before_reset=0"),
    (state_of_another_size(), "its input 6, the state that it starts from, must be 0, for 4 units"),
    (turned_at_the_end(), "ends by flattening"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_is_not_supported_says_so(number):
    g, match = REFUSED[number]
    with pytest.raises(ModelFormatError, match=match):
        Model.from_onnx(g.model())


def test_which_output():
    g = dense()
    proto = g.model(g.nodes[1].output[0], g.last)
    with pytest.raises(ModelFormatError, match=r"2 outputs of floats, 'relu1a', 'softmax4a'; say which one"):
        Model.from_onnx(proto)
    assert Model.from_onnx(proto, output="softmax4a").n_out == 3
    with pytest.raises(ModelFormatError, match="output must be the name of a value of the file"):
        Model.from_onnx(proto, output="none")
