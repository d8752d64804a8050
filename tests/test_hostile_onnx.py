"""ONNX files that are damaged or hostile: refused with one exception, or models that predict; no memory, no other file.

``python tests/test_hostile_onnx.py 5000`` tries that many mutants.
"""

import sys
import tracemalloc

import numpy as np
import pytest
from onnx_graphs import BASES, Graph, conv, dense, helper, numpy_helper, onnx
from onnx_mutants import attempt, attempts

from fastdnn import Model, ModelFormatError

MUTANTS = 300
SLACK = 1 << 21  # bytes that any import may take, whatever the size of the file
SECONDS = 5
OPENED = []  # names of files, where a test listens
LISTENS = []


def listen(event, args):
    if LISTENS and event == "open" and isinstance(args[0], (str, bytes)):
        OPENED.append(str(args[0]))


sys.addaudithook(listen)


@pytest.fixture
def opened():
    """The files that are opened during a test."""
    OPENED.clear()
    LISTENS.append(True)
    yield OPENED
    LISTENS.clear()


def refused(model, match=None, **settings):
    """The message of the exception."""
    with pytest.raises(ModelFormatError, match=match) as caught:
        Model.from_onnx(model, **settings)
    return str(caught.value)


# ---------------------------------------------------------------- one thing at a time


def test_files_that_are_none(tmp_path):
    data = dense().model().SerializeToString()
    for n in [*range(0, len(data) - 20, 7)]:
        refused(data[:n])
    for text in (b"", b"PK\x03\x04" * 30, b"\x80" * 1000, b"\xff" * 1000, b"\x0a" * 1000, b"\x3a\x80\x80\x80\x80\x7f"):
        refused(text, "no ONNX")
    path = tmp_path / "m.onnx"
    path.write_bytes(data[:100])
    assert refused(path, "cut off").startswith(repr(str(path)))
    refused(tmp_path, "not a file")
    with pytest.raises(FileNotFoundError):
        Model.from_onnx(tmp_path / "none")
    with pytest.raises(ValueError, match=r"a path, bytes or an onnx.ModelProto"):
        Model.from_onnx(3)
    refused(data, "max_bytes being 100", max_bytes=100)


def test_no_other_file_is_read(tmp_path, opened):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(96))
    for place in (secret.name, str(secret), f"../{tmp_path.name}/{secret.name}", "/etc/passwd"):
        model = dense().model()
        tensor = model.graph.initializer[0]
        onnx.external_data_helper.set_external_data(tensor, place)
        tensor.ClearField("raw_data")
        path = tmp_path / "m.onnx"
        path.write_bytes(model.SerializeToString())
        opened.clear()
        refused(path, "in another file .external data., and no other file is read")
        assert opened == [str(path)]
        tensor.data_location = onnx.TensorProto.DEFAULT  # and by the entries alone
        refused(model, "in another file")


def changed(change, base=dense):
    """A model after a function has changed its proto."""
    model = base().model()
    change(model, model.graph)
    return model


def dims(*sizes):
    def change(model, graph):
        del graph.initializer[0].dims[:]
        graph.initializer[0].dims.extend(sizes)

    return change


def rename(model, graph):
    graph.node[0].input[0] = graph.node[-2].output[0]


def twice(model, graph):
    graph.node.append(graph.node[0])


def without_input(model, graph):
    graph.node[1].input[0] = "nobody"


def without_weights(model, graph):
    del graph.initializer[1]


def two_of_a_name(model, graph):
    graph.initializer.append(graph.initializer[0])


def infinite(model, graph):
    graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((6, 4), np.inf, "float32"), "c0"))


def branches(model, graph):
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["inside"])], "g", [], graph.output)
    graph.node[1].CopyFrom(helper.make_node("If", ["x"], ["relu1a"], then_branch=inner, else_branch=inner))


def other_operator(model, graph):
    graph.node[1].op_type, graph.node[1].domain = "FusedThing", "com.example"


def old(model, graph):
    model.opset_import[0].version = 5


CHANGES = [
    (dims(2**62, 2**62), "has 24 numbers, and its shape"),
    (dims(1 << 20, 1 << 20), "has 24 numbers, and its shape"),
    (dims(-1, 4), "sizes >= 0"),
    (dims(*[1] * 60), "at most 16 sizes"),
    (dims(4, 6), r"its input 2 of shape \(6,\) is no bias of 4 units"),
    (rename, "which a later one makes: a cycle"),
    (twice, "is made twice"),
    (without_input, "which nobody makes"),
    (without_weights, "'c1', which nobody makes"),
    (two_of_a_name, "must have names, each another one"),
    (infinite, "'0.dense.kernel' has NaN or infinity in it; finite=False"),
    (branches, r"If .node 'relu1a'.: this operator is not supported; supported are Abs, Add"),
    (other_operator, r"com.example.FusedThing .node 'node1'.: this operator is not supported"),
    (old, "operator set 5; sets 7 to"),
    (lambda m, g: g.ClearField("output"), "0 outputs of floats"),
    (lambda m, g: g.ClearField("input"), "'x', which nobody makes"),
    (lambda m, g: m.ClearField("graph"), "outputs"),
    (lambda m, g: g.initializer[0].ClearField("raw_data"), "has 0 numbers"),
    (lambda m, g: setattr(g.initializer[0], "data_type", 8), "has the type 8"),
    (lambda m, g: setattr(g.initializer[0], "data_type", 7), "has 12 numbers"),
    (lambda m, g: g.node.extend([helper.make_node("Relu", ["x"], [f"r{i}"]) for i in range(10_001)]), "10_?000 being"),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_changed(number):
    change, match = CHANGES[number]
    message = refused(changed(change), match)
    assert refused(changed(change).SerializeToString(), match) == message


def test_not_finite_where_that_is_wanted():
    assert np.isinf(Model.from_onnx(changed(infinite), finite=False).weights["0.dense.kernel"]).all()


HUGE = {
    "ConstantOfShape": lambda g, n: g.add("ConstantOfShape", n),
    "Expand": lambda g, n: g.add("Add", g.add("Expand", g.constant(np.float32(1)), n), g.constant(np.float32(1))),
    "Range": lambda g, n: g.add("Range", *(g.constant(np.int64(k)) for k in (0, 1 << 40, 1))),
    "Tile": lambda g, n: g.add("Tile", g.constant(np.ones((2, 2), "float32")), n),
    "ReduceProd": lambda g, n: g.add("ReduceProd", g.add("Expand", g.constant(np.float32(1)), n)),
    "Concat": lambda g, n: g.add("Concat", *[g.add("ConstantOfShape", n)] * 3, axis=0),
    "Gather": lambda g, n: g.add("Gather", g.add("ConstantOfShape", n), g.constant(np.zeros(1000, np.int64))),
    "Transpose": lambda g, n: g.add("Reshape", g.add("Transpose", g.add("Exp", g.add("ConstantOfShape", n))), n),
}


@pytest.mark.parametrize("name", HUGE)
def test_constants_that_would_be_huge(name):
    g = Graph(4)
    made = HUGE[name](g, g.constant(np.array([1 << 20, 1 << 20])))
    g.add("Add", "x", made)
    tracemalloc.start()
    refused(g.model())
    assert tracemalloc.get_traced_memory()[1] < SLACK
    tracemalloc.stop()


def test_numbers_that_the_file_does_not_have():
    for g in (Graph(1 << 30), Graph(1 << 20, 1 << 20)):
        g.on("LeakyRelu", alpha=0.3)  # a number for each feature
        refused(g.model(), "for which a file of|too large")
    g = Graph(3, 8, 8)
    g.on("ConvTranspose", g.normal(3, 1, 1, 1), strides=[1 << 20, 1 << 20])
    refused(g.model(), "too large")
    g = Graph(3, 8, 8)
    g.on("Conv", g.normal(1, 3, 1, 1), pads=[1 << 40] * 4)
    refused(g.model(), "size")


def test_depth():
    g = Graph(4)
    for _ in range(300):
        g.on("Sigmoid")
    g.on("Gemm", g.normal(4, 2))
    assert len(Model.from_onnx(g.model()).layers) == 301
    g = Graph(4)
    names = ["x"]
    for _ in range(60):
        names.append(g.on("Gemm", g.normal(4, 4)))
    for name in names[-2::-1]:
        g.add("Add", name, g.last)
    refused(g.model(), "more than 50 residuals stand in each other")
    graph = b""
    for _ in range(200):
        graph = field(1, field(5, field(6, graph)))  # a node with an attribute that is a graph
    refused(field(7, graph), "no ONNX file")


def field(number, payload):
    """A field of bytes, as protobuf writes it."""
    length, varint = len(payload), b""
    while length > 127:
        varint, length = varint + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + varint + bytes([length]) + payload


def test_parts_that_unfold():
    """Empty messages take a hundred times their bytes in memory, integers eight times."""
    for part in (field(1, b""), field(5, b""), field(5, field(4, bytes(9)))):
        data = field(7, part * 150_000)
        tracemalloc.start()
        refused(data, "several times its size")
        assert tracemalloc.get_traced_memory()[1] < SLACK
        tracemalloc.stop()


def test_mutants(opened):
    for base in (dense, conv):  # what is imported and compiled once is not counted
        assert not attempt(base().model().SerializeToString())[0]
    opened.clear()
    accepted, worst, slowest = attempts(MUTANTS, seed=16)
    assert 0 < accepted < MUTANTS
    assert worst < SLACK
    assert slowest < SECONDS
    assert not [name for name in opened if name.endswith((".onnx", ".data", "passwd"))]


if __name__ == "__main__":
    count, seed = (*map(int, sys.argv[1:]), 0)[:2] if len(sys.argv) > 1 else (MUTANTS, 0)
    for base in BASES.values():
        attempt(base().model().SerializeToString())
    accepted, worst, slowest = attempts(count, seed)
    print(f"{count} mutants: {accepted} are models; {worst} bytes beyond twice the file at most; {slowest:.2f} s at most")
