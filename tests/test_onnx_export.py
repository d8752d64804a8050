"""Exporting models to ONNX: files, versions of operators, what is refused, layers of a user's own."""

import os

import numpy as np
import pytest

import fastdnn
from fastdnn import GAN, Model, extending, layers

onnx, runs, exporting = (pytest.importorskip(name) for name in ("onnx", "onnx_runs", "fastdnn.onnx"))
Graph, Tensor, exporter, to_onnx = exporting.Graph, exporting.Tensor, exporting.exporter, exporting.to_onnx
RNG = np.random.default_rng(0)
NETWORKS = [
    ([layers.Dense(5, "gelu"), layers.LayerNorm(), layers.Dense(3, "mish")], (4,)),
    ([layers.Conv2D(4, 3, 1, "same"), layers.BatchNorm(activation="relu"), layers.MaxPool2D(), layers.Flatten()], (7, 6, 3)),
    ([layers.Conv2DTranspose(4, 3, 2), layers.UpSampling2D(), layers.ZeroPadding2D(), layers.GlobalAvgPool2D()], (4, 4, 3)),
    ([layers.Masking(), layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.GlobalMaxPool1D()], (6, 3)),
    ([layers.GRU(4, return_sequences=True), layers.SimpleRNN(3, "relu"), layers.Dense(2)], (6, 3)),
    ([layers.PiecewiseLinear([[0, 1, 2], [-1, 1]]), layers.PReLU(), layers.PeriodicEmbedding(2, 2)], (2,)),
    ([layers.Columns([((0,), [layers.CategoryEmbedding((3,), 2)]), ((1,), [])]), layers.Dense(2)], (2,)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("opset", [n for n in (17, 18, 20, 22, 24) if n <= onnx.defs.onnx_opset_version()])
@pytest.mark.parametrize(("parts", "shape"), NETWORKS, ids=str)
def test_versions_of_operators(parts, shape, opset, dtype):
    model = runs.made(parts, shape, dtype, "cross_entropy")
    exported = runs.check(model, RNG.standard_normal((5, *shape)).astype(dtype), target_opset=opset)
    assert [(o.domain, o.version) for o in exported.opset_import] == [("", opset)]


def test_newest_version_of_operators_is_exported():
    newest = onnx.defs.onnx_opset_version()
    for parts, shape in NETWORKS:
        assert to_onnx(runs.made(parts, shape), target_opset=newest).opset_import[0].version == newest


def test_version_17_is_what_every_runtime_reads():
    exported = to_onnx(runs.made([layers.Dense(3)], 4))
    assert (exported.ir_version, exported.opset_import[0].version) == (8, 17)
    assert (exported.producer_name, exported.producer_version) == ("fastdnn", fastdnn.__version__)
    assert "dense" in exported.doc_string


def test_few_and_no_samples():
    for parts, shape in NETWORKS:
        model = runs.made(parts, shape)
        exported = to_onnx(model)
        for n in (1, 2, 3):
            X = RNG.standard_normal((n, *shape)).astype("float32")
            np.testing.assert_allclose(runs.in_onnxruntime(exported, {"X": X})[0], model.predict(X), atol=1e-5)
    dense = to_onnx(runs.made([layers.Dense(5, "relu"), layers.Dense(3)], 4, loss="cross_entropy"))
    assert runs.in_onnxruntime(dense, {"X": np.zeros((0, 4), "float32")})[0].shape == (0, 3)


def test_outputs_and_names_of_weights():
    model = runs.made([layers.Dense(5, "relu"), layers.Residual([layers.Dense(5)])], 4)
    exported = to_onnx(model)
    assert [o.name for o in exported.graph.output] == ["predictions"]
    assert [o.name for o in to_onnx(model, scores=True).graph.output] == ["predictions", "scores"]
    names = {w.name for w in exported.graph.initializer}
    assert {"0.dense/kernel", "0.dense/bias", "1.residual.0.dense/kernel"} <= names
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in exported.graph.output]
    assert shapes == [["n", 5]]


def test_later_training_does_not_change_an_export():
    model = runs.made([layers.Dense(3)], 4)
    exported, X = to_onnx(model), RNG.standard_normal((5, 4)).astype("float32")
    expected = model.predict(X)
    model.params += 1
    np.testing.assert_allclose(runs.in_reference(exported, {"X": X})[0], expected, atol=1e-6)


# ---------------------------------------------------------------- files


def test_file(tmp_path):
    model = runs.made([layers.Dense(3)], 4)
    for path in (tmp_path / "model.onnx", str(tmp_path / "model.onnx")):
        exported = to_onnx(model, path)
        assert onnx.load(path) == exported
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_what_is_there_stays_where_the_export_fails(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="no parameters yet"):
        to_onnx(Model([layers.Dense(3)]), path)
    with pytest.raises(OSError, match="is a folder"):
        to_onnx(runs.made([layers.Dense(3)], 4), tmp_path)
    assert path.read_bytes() == b"before"


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("opset", [16, 0, 1000, 17.5, "17", None])
def test_target_opset_is_checked(opset):
    with pytest.raises(ValueError, match="target_opset must be"):
        to_onnx(runs.made([layers.Dense(3)], 4), target_opset=opset)


@pytest.mark.parametrize("given", [None, "model.fdnn", layers.Dense(3), [layers.Dense(3)], Model])
def test_what_is_no_model_is_refused(given):
    with pytest.raises(ValueError, match="model must be a fastdnn Model, or an estimator"):
        to_onnx(given)


def test_gan_is_two_networks():
    gan = GAN([layers.Dense(4)], [layers.Dense(5)], latent=3).build((4,))
    with pytest.raises(ValueError, match="a GAN is two networks"):
        to_onnx(gan)
    runs.check(gan.generator, RNG.standard_normal((5, 3)).astype("float32"), at_least=2)


# ---------------------------------------------------------------- of a user's own


class Doubled(layers.Layer):
    """y = 2 x; its kernels do not matter here."""

    name = "doubled"

    def emit(self, op, builder):
        raise NotImplementedError


class Swapped(Doubled):
    """y = -x."""

    def emit(self, op, builder):
        raise NotImplementedError


class Wide(layers.Dense):
    """A Dense under another name."""

    def __init__(self, units):
        super().__init__(units, activation="tanh")


class OtherDense(layers.Dense):
    """Something else."""

    def emit(self, op, builder):
        raise NotImplementedError


class Cubic(extending.ActivationFunction):
    """x^3"""

    needs_input = True

    def forward(x):
        return x * x * x

    def derivative(x):
        return 3.0 * x * x


@pytest.mark.parametrize("layer", [Doubled(), OtherDense(3)])
def test_layer_that_nobody_has_registered(layer):
    model = Model([layers.Dense(3), layers.Residual([layer])]).build(3)
    name = type(layer).__name__
    match = rf"layer 1.residual.0, {name}\(.*\): nothing is known .* @fastdnn.onnx.exporter\({name}\)"
    with pytest.raises(ValueError, match=match):
        to_onnx(model)


def test_subclass_that_computes_the_same():
    runs.check(runs.made([Wide(5)], 4), RNG.standard_normal((5, 4)).astype("float32"), at_least=2)


def test_activation_of_a_users_own():
    model, X = runs.made([layers.Dense(5, Cubic())], 4), RNG.standard_normal((5, 4)).astype("float32")
    with pytest.raises(ValueError, match=r"activation Cubic\(\): nothing is known .* @fastdnn.onnx.exporter\(Cubic\)"):
        to_onnx(model)

    @exporter(Cubic)
    def cubic(graph, activation, x):
        return graph.node("Mul", x, graph.node("Mul", x, x))

    runs.check(model, X, at_least=2)
    recurrent = runs.made([layers.SimpleRNN(4, Cubic())], (5, 3))
    recurrent.params *= 0.2
    runs.check(recurrent, RNG.standard_normal((5, 5, 3)).astype("float32"), at_least=2)


def test_layer_of_a_users_own(monkeypatch):
    @exporter(Doubled, orders=("last", "first"), any_length=True)
    def doubled(graph, layer, x, weights):
        assert isinstance(x, Tensor)
        assert weights == {}
        return graph.node("Mul", x, graph.constant(2.0))

    monkeypatch.setattr(Doubled, "emit", layers.Layer.emit)
    model = runs.made([Doubled(), layers.Dense(3)], (6, 4))
    X = RNG.standard_normal((5, 6, 4)).astype("float32")
    exported = to_onnx(model)
    np.testing.assert_allclose(runs.in_reference(exported, {"X": X})[0], model.predict(2 * X), atol=1e-5)
    with pytest.raises(ValueError, match="nothing is known of how ONNX says Swapped"):
        to_onnx(Model([Swapped(), layers.Dense(3)]).build(4))


@pytest.mark.parametrize("given", [(), (int,), (layers.Dense(3),), (layers.Dense, str)])
def test_exporters_are_of_classes_of_ours(given):
    with pytest.raises(ValueError, match="exporter takes classes of layers"):
        exporter(*given)


def test_exporters_that_give_no_valid_graph():
    class Wrong(extending.ActivationFunction):
        """x"""

    function = Wrong()
    function.is_identity = False

    @exporter(Wrong)
    def wrong(graph, activation, x):
        return graph.node("NoSuchOperator", x)

    with pytest.raises(onnx.checker.ValidationError, match="NoSuchOperator"):
        to_onnx(runs.made([layers.Activation(function)], 4))


# ---------------------------------------------------------------- graphs


def test_graph_as_a_part_of_another():
    graph = Graph(prefix="net_")
    with graph.scope("a"):
        names = [graph.node("Relu", "x"), graph.node("Relu", "x"), graph.constant(1.0), graph.constant(1.0)]
    assert names == ["net_a/relu", "net_a/relu_1", "net_a/constant", "net_a/constant"]
    assert [w.name for w in graph.initializers] == ["net_a/constant"]


def test_options_that_a_model_does_not_have():
    model = Model([layers.Dense(3)]).build(4)
    with pytest.raises(TypeError, match="options of to_onnx for a Model are scores, lengths, got zipmap"):
        exporting.to_onnx(model, zipmap=True)
    with pytest.raises(TypeError, match="for a MLPClassifier are zipmap, raw_scores, columns, got X"):
        exporting.to_onnx(fastdnn.MLPClassifier(), X=np.zeros((1, 4)))
