"""Files in which what two ways make of the samples is subtracted: a `Residual`, one way of which changes the sign."""

import numpy as np
import pytest
from onnx_graphs import Graph
from test_onnx_operators import normal, same

from fastdnn import layers


def dense(g):
    return g.add("Gemm", "x", g.normal(4, 4))


def tanh(g):
    return g.add("Tanh", "x")


DENSE, TANH, MINUS = layers.Dense(4, use_bias=False), layers.Activation("tanh"), layers.Rescaling(-1.0)
DIFFERENCES = [  # the two terms, the ways
    ((lambda g: "x", dense), ([DENSE, MINUS],)),
    ((dense, lambda g: "x"), ([DENSE], [MINUS])),
    ((dense, dense), ([DENSE, MINUS], [DENSE])),
    ((lambda g: "x", tanh), ([TANH, MINUS],)),
    ((tanh, lambda g: "x"), ([MINUS], [TANH])),
    ((tanh, lambda g: g.add("Sigmoid", "x")), ([layers.Activation("logistic"), MINUS], [TANH])),
    ((lambda g: g.add("Relu", dense(g)), tanh), ([layers.Dense(4, "relu", use_bias=False)], [TANH, MINUS])),
]


@pytest.mark.parametrize("number", range(len(DIFFERENCES)))
def test_differences_of_two_ways(number):
    (first, second), ways = DIFFERENCES[number]
    g = Graph(4)
    g.add("Sub", first(g), second(g))
    alone = same(g, normal(5, 4)).layers
    g.on("Gemm", g.normal(4, 3))
    model = same(g, normal(5, 4))
    assert alone == model.layers[:1] == (layers.Residual(*ways),)
    assert np.isfinite(model.fit(normal(9, 4), normal(9, 3), epochs=1)["loss"]).all()
