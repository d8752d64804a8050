"""Operators and graphs that are read as layers, beside ONNX Runtime."""

import numpy as np
import pytest
from onnx_graphs import BASES, Graph, dense, helper, numpy_helper, one, onnx

from fastdnn import Model, ModelFormatError, layers, losses

runtime = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(5)
LAST = {4: (0, 2, 3, 1), 3: (0, 2, 1)}


def normal(*shape):
    return RNG.standard_normal(shape).astype("float32")


def ran(model, **feeds):
    """What ONNX Runtime makes of the samples."""
    return runtime.InferenceSession(model.SerializeToString()).run(None, feeds)[0]


def same(graph, x, turn=None, turn_back=None, **settings):
    """The model of a graph, which gives what ONNX Runtime does."""
    proto = graph.model() if isinstance(graph, Graph) else graph
    model, expected = Model.from_onnx(proto, **settings), ran(proto, x=x)
    expected = expected if turn_back is None else expected.transpose(turn_back)
    found = model.predict(x if turn is None else x.transpose(turn))
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-5, atol=1e-5)
    return model


# ---------------------------------------------------------------- whole graphs


@pytest.mark.parametrize("name", BASES)
def test_graphs(name):
    g = BASES[name]()
    x = (
        RNG.integers(0, 9, (5, 6))
        if name == "embedding"
        else normal(5, *[d.dim_value for d in g.inputs[0].type.tensor_type.shape.dim][1:])
    )
    model = same(g, x, LAST[4] if name == "conv" else None)
    wanted = {"dense": losses.CrossEntropy, "lstm": losses.LogLoss}.get(name, losses.SquaredError)
    assert type(model.loss) is wanted


def test_keras():
    """Channels last in the file, Transposes around each convolution."""
    g = Graph(8, 8, 3)
    for channels, filters in ((3, 4), (4, 6)):
        g.on("Transpose", perm=[0, 3, 1, 2])
        g.on("Conv", g.normal(filters, channels, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
        g.on("Transpose", perm=[0, 2, 3, 1])
        g.on("Add", g.normal(filters))
        g.on("Relu")
    g.on("Pad", g.constant(np.array([0, 1, 0, 0, 0, 0, 1, 0])))
    g.on("Reshape", g.constant(np.array([-1, 54])))
    g.on("MatMul", g.normal(54, 5))
    g.on("Add", g.normal(5))
    g.on("Softmax", axis=-1)
    model = same(g, normal(4, 8, 8, 3))
    first, second, border, flat, last = model.layers
    assert first == layers.Conv2D(4, 3, 2, ((0, 1), (0, 1)), activation="relu")
    assert second == layers.Conv2D(6, 3, 2, ((0, 1), (0, 1)), activation="relu")
    assert (border, flat, last) == (layers.ZeroPadding2D(((1, 0), (0, 1))), layers.Flatten(), layers.Dense(5))


def test_a_step_after_images_are_flattened_and_made_again():
    g = Graph(12, batch=3)  # a fixed number of samples
    g.on("Gemm", g.normal(12, 24), g.normal(24))
    g.on("Reshape", g.constant(np.array([3, 6, 2, 2])))
    x = g.on("Tanh")
    g.on("Conv", g.normal(6, 6, 1, 1), g.normal(6))
    g.add("Add", x, g.last)
    g.on("Flatten")
    g.on("LayerNormalization", g.normal(24), g.normal(24))
    g.on("Gemm", g.normal(24, 2))
    model = same(g, normal(3, 12))
    first, way, norm, _ = model.layers
    assert (first, way.layers[0], norm) == (layers.Dense(24, "tanh"), layers.Reshape((2, 2, 6)), layers.LayerNorm())
    assert model.predict(normal(7, 12)).shape == (7, 2)


def test_samples_with_channels_in_front_need_no_turning_where_they_are_flattened_first():
    g = Graph(3, 4, 5)
    g.on("Flatten")
    g.on("Gemm", g.normal(60, 2))
    assert same(g, normal(4, 3, 4, 5)).layout.shapes[0] == (3, 4, 5)
    g = Graph(3, 6, 6)  # last in the file, and only look as if they were in front
    g.on("Transpose", perm=[0, 3, 1, 2])
    g.on("Conv", g.normal(2, 6, 2, 2))
    same(g, normal(4, 3, 6, 6), None, LAST[4])


def test_vectors_that_the_file_makes_something_else_of():
    g = Graph(20)
    g.on("Reshape", g.constant(np.array([-1, 1, 4, 5])))
    g.on("Conv", g.normal(2, 1, 3, 3))
    g.on("Flatten")
    g.on("Gemm", g.normal(12, 2))
    assert same(g, normal(4, 20)).layers[0] == layers.Reshape((4, 5, 1))
    g = Graph(9)
    g.on("Reshape", g.constant(np.array([-1, 9, 1])))
    g.on("Transpose", perm=[1, 0, 2])
    weights = g.normal(1, 16, 1), g.normal(1, 16, 4)
    _, state, _ = g.add("LSTM", g.last, *weights, outputs=3, hidden_size=4)
    g.add("Squeeze", state, g.constant(np.array([0])))
    assert same(g, normal(4, 9)).layers[0] == layers.Reshape((9, 1))
    g = Graph(60)  # of several channels, in front in the file
    g.on("Reshape", g.constant(np.array([-1, 3, 4, 5])))
    g.on("Conv", g.normal(2, 3, 3, 3))
    x = normal(4, 60)
    found = Model.from_onnx(g.model()).predict(x.reshape(4, 3, 4, 5).transpose(LAST[4]))
    np.testing.assert_allclose(found, ran(g.model(), x=x).transpose(LAST[4]), atol=1e-5)


def test_a_lengths_input_becomes_the_argument():
    g = Graph(5, 3)
    g.inputs.append(helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, ["n"]))
    g.on("Transpose", perm=[1, 0, 2])
    weights = g.normal(2, 12, 3), g.normal(2, 12, 4), g.normal(2, 24)
    _, state = g.add(
        "GRU", g.last, *weights, "lengths", outputs=2, hidden_size=4, direction="bidirectional", linear_before_reset=1
    )
    g.add("Transpose", state, perm=[1, 0, 2])
    g.on("Flatten")
    x, lengths, proto = normal(4, 5, 3), np.array([5, 3, 1, 2]), g.model()
    found = Model.from_onnx(proto).predict(x, lengths=lengths)
    np.testing.assert_allclose(found, ran(proto, x=x, lengths=lengths.astype("int32")), atol=1e-6)


def test_sizes_that_the_file_leaves_open():
    g = Graph("time", 3)
    g.on("Transpose", perm=[0, 2, 1])
    g.on("Conv", g.normal(4, 3, 3))
    g.on("GlobalMaxPool")
    g.on("Flatten")
    with pytest.raises(ModelFormatError, match=r"leaves sizes of a sample open, .None, 3.: give them"):
        Model.from_onnx(g.model())
    with pytest.raises(ModelFormatError, match=r"do not fit input_shape=.7, 2."):
        Model.from_onnx(g.model(), input_shape=(7, 2))
    same(g, normal(4, 7, 3), input_shape=(7, 3))


# ---------------------------------------------------------------- single operators


IMAGE = (3, 7, 6)
AUTO = "SAME_UPPER", "SAME_LOWER", "VALID"
WINDOWS = [
    *(("Conv", [normal(4, 3, 3, 2), normal(4)], {"auto_pad": a, "strides": [2, 1]}) for a in AUTO),
    ("Conv", [normal(6, 1, 2, 3)], {"group": 3, "pads": [1, 0, 2, 1], "dilations": [2, 1]}),
    ("Conv", [normal(4, 3, 1, 1)], {"strides": [3, 2]}),
    ("ConvTranspose", [normal(3, 4, 3, 3), normal(4)], {"strides": [2, 3], "pads": [1, 0, 1, 2], "output_padding": [1, 2]}),
    ("ConvTranspose", [normal(3, 2, 4, 4)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("ConvTranspose", [normal(3, 2, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ("ConvTranspose", [normal(3, 2, 3, 4)], {"strides": [2, 2], "output_shape": [14, 13]}),
    *(("MaxPool", [], {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": a}) for a in AUTO),
    ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 1], "ceil_mode": 1}),
    ("AveragePool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 0]}),
    ("AveragePool", [], {"kernel_shape": [2, 3], "pads": [1, 1, 0, 2], "count_include_pad": 1, "ceil_mode": 1}),
    ("GlobalAveragePool", [], {}),
    ("GlobalMaxPool", [], {}),
    ("Pad", [np.array([0, 0, 1, 0, 0, 0, 2, 3])], {}),
    ("Resize", ["", np.array([1, 1, 2, 3], "f4")], {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ("Resize", ["", np.array([1, 1, 3, 1], "f4")], {}),
    ("Resize", ["", "", np.array([2, 3, 14, 18])], {"coordinate_transformation_mode": "pytorch_half_pixel", "batch": 2}),
    ("PRelu", [normal(3, 1, 1)], {}),
    ("BatchNormalization", [normal(3), normal(3), normal(3), abs(normal(3)) + 0.5], {"epsilon": 0.01}),
    ("LayerNormalization", [normal(3, 7, 6), normal(3, 7, 6)], {"axis": 1, "end": [["Conv", "w"]]}),
    ("Softmax", [], {"axis": 1}),
    ("Add", [normal(3, 1, 1)], {}),
    ("Mul", [normal(1, 3, 1, 1)], {}),
]


@pytest.mark.parametrize("number", range(len(WINDOWS)))
def test_images(number):
    op, constants, attributes = WINDOWS[number]
    g = one(op, IMAGE, *constants, **attributes)
    g.constant(normal(2, 3, 2, 2), "w")
    same(g, normal(2, *IMAGE), LAST[4], LAST[4])


SERIES = [
    ("Conv", [normal(4, 3, 3)], {"pads": [2, 0], "dilations": [2]}),
    ("Conv", [normal(3, 1, 3), normal(3)], {"group": 3, "strides": [2]}),
    ("ConvTranspose", [normal(3, 2, 4)], {"strides": [2], "pads": [1, 1]}),
    ("MaxPool", [], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    ("AveragePool", [], {"kernel_shape": [3], "pads": [1, 1], "count_include_pad": 1}),
    ("Pad", [np.array([0, 0, 1, 0, 0, 2])], {}),
    ("Resize", ["", np.array([1, 1, 2], "f4")], {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ("BatchNormalization", [normal(3), normal(3), normal(3), abs(normal(3)) + 0.5], {}),
]


@pytest.mark.parametrize("number", range(len(SERIES)))
def test_series(number):
    op, constants, attributes = SERIES[number]
    same(one(op, (3, 9), *constants, **attributes), normal(2, 3, 9), LAST[3], LAST[3])


VECTORS = [
    one("Gemm", (4,), normal(4, 3), normal(1, 3), alpha=0.5, beta=2.0),
    one("Gemm", (4,), normal(3, 4), normal(1), transB=1),
    one("MatMul", (4,), normal(4, 3), end=[["Sub", "y"]]),
    one("Div", (4,), normal(4) + 3),
    one("Clip", (4,), np.float32(-0.5), np.float32(1.5)),
    one("Clip", (4,), np.float32(0), np.float32(6)),
    one("HardSigmoid", (4,), alpha=0.3, beta=0.4),
    one("LeakyRelu", (4,), alpha=0.3),
    one("PRelu", (4,), np.float32([0.3])),
    one("Celu", (4,), alpha=1.0),
    one("Mish", (4,), opset=18),
    one("Gelu", (4,), opset=20),
    one("Gelu", (4,), approximate="tanh", opset=20),
    one("Reshape", (4,), np.array([0, 2, -1]), end=[["Flatten"]]),
    one("Unsqueeze", (4,), np.array([1, -1]), end=[["Squeeze"]]),
]


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_vectors(number):
    g = VECTORS[number]
    if any("y" in node.input for node in g.nodes):
        g.constant(normal(3), "y")
    same(g, 3 * normal(5, 4))


def gelu_tanh(g):
    """As PyTorch's exporter writes it before operator set 20."""
    half, third, one, three, root = (g.constant(np.float32(c)) for c in (0.5, 0.044715, 1, 3, (2 / np.pi) ** 0.5))
    inner = g.add("Add", "x", g.add("Mul", third, g.add("Pow", "x", three)))
    return g.add("Mul", g.add("Mul", half, "x"), g.add("Add", one, g.add("Tanh", g.add("Mul", root, inner))))


SPELLED = {
    "silu": lambda g: g.add("Mul", g.add("Sigmoid", "x"), "x"),
    "mish": lambda g: g.add("Mul", "x", g.add("Tanh", g.add("Softplus", "x"))),
    "hard_swish": lambda g: g.add("Mul", "x", g.add("HardSigmoid", "x", alpha=1 / 6, beta=0.5)),
    "relu6": lambda g: g.add("Min", g.add("Relu", "x"), g.constant(np.float32(6))),
    "softsign": lambda g: g.add("Div", "x", g.add("Add", g.constant(np.float32(1)), g.add("Abs", "x"))),
    "softplus": lambda g: g.add("Log", g.add("Add", g.add("Exp", "x"), g.constant(np.float32(1)))),
    "gelu": lambda g: g.add(
        "Mul",
        g.add("Mul", g.constant(np.float32(0.5)), "x"),
        g.add("Add", g.constant(np.float32(1)), g.add("Erf", g.add("Mul", "x", g.constant(np.float32(0.5**0.5))))),
    ),
    "gelu_tanh": gelu_tanh,
}


@pytest.mark.parametrize("name", SPELLED)
def test_activations_that_are_spelled_out(name):
    g = Graph(4)
    SPELLED[name](g)
    g.on("Gemm", g.normal(4, 3))
    assert same(g, 3 * normal(5, 4)).layers[0] == layers.Activation(name)
    y = SPELLED[name](g := Graph(4))
    g.add("Add", "x", y)
    assert same(g, 3 * normal(5, 4)).layers == (layers.Residual([layers.Activation(name)]),)
    y = SPELLED[name](g := Graph(4))
    g.add("Add", g.add("Tanh", "x"), y)
    assert same(g, 3 * normal(5, 4)).layers == (layers.Residual([layers.Activation(name)], [layers.Activation("tanh")]),)


RECURRENT = [
    ("LSTM", 4, {"direction": "forward"}),
    ("LSTM", 4, {"direction": "reverse"}),
    ("LSTM", 4, {"direction": "bidirectional"}),
    ("GRU", 3, {"direction": "forward", "linear_before_reset": 1}),
    ("GRU", 3, {"direction": "bidirectional", "linear_before_reset": 1}),
    ("RNN", 1, {"direction": "reverse"}),
    ("RNN", 1, {"direction": "bidirectional", "activations": ["Relu", "Relu"]}),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("number", range(len(RECURRENT)))
def test_recurrent(number, bias):
    op, gates, attributes = RECURRENT[number]
    directions = 1 + (attributes["direction"] == "bidirectional")
    for what in ("state", "steps"):
        g = Graph(6, 3)
        g.on("Transpose", perm=[1, 0, 2])
        weights = [g.normal(directions, 5 * gates, 3), g.normal(directions, 5 * gates, 5)]
        weights += [g.normal(directions, 10 * gates)] if bias else []
        y, h = g.add(op, g.last, *weights, outputs=2, hidden_size=5, **attributes)
        if what == "state":
            g.add("Transpose", h, perm=[1, 0, 2])
            g.on("Flatten")
        elif attributes["direction"] == "reverse":
            continue
        else:
            g.add("Transpose", y, perm=[2, 0, 1, 3])
            g.on("Reshape", g.constant(np.array([0, 6, -1])))
        g.on("MatMul", g.normal(5 * directions, 2))
        same(g, normal(4, 6, 3))


# ---------------------------------------------------------------- numbers of other types


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16", "DOUBLE", "fields"])
def test_types_of_weights(kind):
    proto = dense().model()
    expected = Model.from_onnx(proto).weights
    for tensor in proto.graph.initializer:
        array, name = numpy_helper.to_array(tensor), tensor.name
        if kind == "fields":
            tensor.CopyFrom(helper.make_tensor(name, onnx.TensorProto.FLOAT, array.shape, array.ravel()))
        elif kind == "BFLOAT16":
            bits = (np.ascontiguousarray(array).view("u4") >> 16).astype("u2")
            tensor.CopyFrom(helper.make_tensor(name, onnx.TensorProto.BFLOAT16, array.shape, bits.tobytes(), raw=True))
        else:
            tensor.CopyFrom(numpy_helper.from_array(array.astype({"FLOAT16": "f2", "DOUBLE": "f8"}[kind]), name))
    found = Model.from_onnx(proto).weights
    for key, array in expected.items():
        bound = {"FLOAT16": 1e-3, "BFLOAT16": 1e-2}.get(kind, 0)
        np.testing.assert_allclose(found[key], array, rtol=bound, atol=bound / 10)


def test_losses():
    proto = dense().model()
    x = normal(3, 4)
    expected = ran(proto, x=x)
    assert type(Model.from_onnx(proto, loss="squared_error").layers[-1]) is layers.Dense
    np.testing.assert_allclose(Model.from_onnx(proto, loss="squared_error").predict(x), expected, atol=1e-6)
    np.testing.assert_allclose(
        Model.from_onnx(proto, losses.CrossEntropy(label_smoothing=0.1)).predict(x), expected, atol=1e-6
    )
    with pytest.raises(ValueError, match="loss must be"):
        Model.from_onnx(proto, loss="none")
    model = Model.from_onnx(proto, optimizer="sgd", dtype="float64", random_state=3, output=proto.graph.node[1].output[0])
    assert (model.dtype, model.n_out, model.seed) == (np.float64, 6, 3)


# ---------------------------------------------------------------- our own files


OWN = [
    (
        [
            layers.Dense(5, "gelu"),
            layers.BatchNorm(),
            layers.Residual([layers.Dense(5, "tanh"), layers.LayerNorm()]),
            layers.Dense(2),
        ],
        (4,),
    ),
    ([layers.Conv2D(4, 3, 2, "same", activation="mish"), layers.MaxPool2D(), layers.Flatten(), layers.Dense(2)], (9, 8, 3)),
    (
        [
            layers.Residual(
                [layers.Conv2D(4, 3, 2, 1), layers.BatchNorm(activation="tanh"), layers.Residual([layers.Conv2D(4, 1)])],
                shortcut=[layers.Conv2D(4, 1, 2), layers.Residual([layers.PReLU()], [layers.BatchNorm()])],
            ),
            layers.Flatten(),
            layers.Residual([layers.Dense(2, "relu")], shortcut=[layers.Dense(5), layers.LayerNorm(), layers.Dense(2)]),
        ],
        (5, 4, 3),
    ),
    ([layers.SeparableConv2D(4, 3), layers.ParametricActivation("relu"), layers.GlobalAvgPool2D()], (9, 8, 3)),
    ([layers.Conv1D(4, 3, padding="causal"), layers.PReLU(), layers.AvgPool1D(), layers.Flatten(), layers.Dense(2)], (8, 3)),
    ([layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.GRU(3), layers.Dense(2)], (6, 3)),
]


@pytest.mark.parametrize("number", range(len(OWN)))
def test_there_and_back(number):
    from fastdnn.onnx import to_onnx

    own, shape = OWN[number]
    model, x = Model(own, random_state=0).build(shape), normal(5, *shape)
    back = Model.from_onnx(to_onnx(model), input_shape=shape)
    np.testing.assert_allclose(back.predict(x), model.predict(x), atol=1e-5)
