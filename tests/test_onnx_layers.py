"""ONNX of every layer and activation, with all their options, beside ONNX Runtime and onnx's reference evaluator."""

import numpy as np
import pytest
import test_layers

from fastdnn import Model, layers
from fastdnn.layers.activation_function import ACTIVATIONS

runs, exporting, registry = (pytest.importorskip(name) for name in ("onnx_runs", "fastdnn.onnx", "fastdnn.onnx.registry"))
to_onnx, exporter_of = exporting.to_onnx, registry.exporter_of
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def samples(n, shape, dtype):
    return np.random.default_rng(3).standard_normal((n, *shape)).astype(dtype)


# ---------------------------------------------------------------- the whole table


def test_every_layer_of_the_table_is_exported():
    tested = [layer for case, _ in test_layers.CASES for layer in case]
    tested += [layers.Embedding(3, 2), layers.Masking()]
    assert {type(layer) for layer in tested} == set(layers.LAYERS.values())
    for layer in tested:
        for _, leaf in layer.leaves("0"):
            assert exporter_of(leaf) is not None, leaf


@DTYPES
@test_layers.every_case
def test_layer(case, shape, dtype):
    model = test_layers.around(case, False, dtype, shape)
    for n in (1, 7):
        runs.check(model, samples(n, shape, dtype))


def test_every_activation_of_the_table_is_exported():
    assert all(exporter_of(f) is not None for f in ACTIVATIONS.values() if not f.is_identity)


@DTYPES
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_in_all_ranges(name, dtype):
    model = Model([layers.Activation(name)], dtype=dtype).build(401)
    X = np.concatenate([np.linspace(-12, 12, 361), np.linspace(-80, 80, 40)]).astype(dtype)[None]
    X = X / 8 if name == "softmax" else X
    exported = runs.check(model, X, at_least=2)
    for run in runs.runners(exported):
        theirs = run(exported, {"X": X})[0]
        close = np.abs(theirs - model.predict(X)) <= runs.BOUNDS[dtype] * np.maximum(np.abs(X), 0.02)
        assert close.all(), X[~close]
        broken = np.full_like(X, np.nan)
        assert np.isnan(run(exported, {"X": broken})[0]).all()


@DTYPES
@pytest.mark.parametrize("name", ["softmax", "gelu", "gelu_tanh", "hard_swish", "selu"])
def test_activations_within_layers(name, dtype):
    parts = [layers.Conv2D(5, 2, activation=name), layers.BatchNorm(activation=name), layers.Dense(4, name)]
    runs.check(runs.made(parts, (4, 5, 3), dtype), samples(7, (4, 5, 3), dtype))


# ---------------------------------------------------------------- options of layers

CONVOLUTIONS = [
    layers.Conv2D(4, 3, strides=2, padding="same"),
    layers.Conv2D(4, (2, 5), strides=(3, 2), padding="same", use_bias=False),
    layers.Conv2D(4, 4, padding="same", dilation_rate=(2, 1)),
    layers.Conv2D(6, 3, groups=2, padding=1),
    layers.Conv2D(6, (1, 3), groups=6, padding=((0, 0), (2, 1))),
    layers.Conv2D(8, 1, strides=2, activation="relu"),
    layers.Conv2D(4, 3, spectral_norm=True, activation="tanh"),
    layers.Conv2DTranspose(4, 3),
    layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
    layers.Conv2DTranspose(4, 4, strides=(2, 3), padding="same", use_bias=False),
    layers.Conv2DTranspose(4, 2, strides=3, padding="same"),
    layers.Conv2DTranspose(4, 2, strides=3, padding="valid", output_padding=2),
    layers.Conv2DTranspose(4, 3, strides=2, padding=1, output_padding=1, activation="leaky_relu"),
    layers.Conv2DTranspose(4, (3, 2), padding=((1, 0), (0, 2)), dilation_rate=2),
    layers.Conv2DTranspose(4, 3, spectral_norm=True),
    layers.DepthwiseConv2D(3),
    layers.DepthwiseConv2D((3, 2), strides=2, padding="same", depth_multiplier=3, activation="elu"),
    layers.DepthwiseConv2D(2, dilation_rate=2, padding=((1, 0), (0, 1)), use_bias=False),
    layers.SeparableConv2D(4, 3, strides=2, padding="same", depth_multiplier=2, activation="silu"),
    layers.SeparableConv2D(4, 2, dilation_rate=2, use_bias=False),
    layers.MaxPool2D(),
    layers.MaxPool2D((3, 2), strides=(2, 1), padding="same"),
    layers.MaxPool2D(3, padding=((1, 0), (2, 1))),
    layers.AvgPool2D(3, strides=2, padding="same"),
    layers.AvgPool2D((2, 3), padding=((1, 0), (1, 2))),
    layers.UpSampling2D((3, 2)),
    layers.ZeroPadding2D(((1, 0), (2, 3))),
    layers.GlobalMaxPool2D(),
    layers.GlobalAvgPool2D(),
]


@DTYPES
@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=repr)
def test_images(layer, dtype):
    shape = 9, 8, 6
    for parts in ([layer], [layers.Conv2D(6, 1), layer, layers.PReLU(), layers.Conv2D(3, 1)]):
        if len(parts) > 1 and len(layer.output_shape(shape)) == 1:
            continue
        runs.check(runs.made(parts, shape, dtype), samples(7, shape, dtype))


SERIES = [
    layers.Conv1D(4, 3, strides=2, padding="same"),
    layers.Conv1D(4, 3, padding="causal", dilation_rate=3),
    layers.Conv1D(6, 2, padding=(3, 0), groups=3, activation="softmax"),
    layers.Conv1D(4, 2, spectral_norm=True),
    layers.MaxPool1D(3, strides=2, padding="same"),
    layers.MaxPool1D(2, padding=(1, 0)),
    layers.AvgPool1D(4, strides=3, padding="same"),
    layers.GlobalMaxPool1D(),
    layers.GlobalAvgPool1D(),
]


@DTYPES
@pytest.mark.parametrize("layer", SERIES, ids=repr)
def test_series(layer, dtype):
    for shape in [(11, 6), (12, 6)]:
        for parts in ([layer], [layers.Dense(6), layer, layers.LayerNorm()]):
            runs.check(runs.made(parts, shape, dtype), samples(7, shape, dtype))


VECTORS = [
    layers.Dense(4, "tanh", use_bias=False),
    layers.Dense(4, "relu", spectral_norm=True),
    layers.Dense(4, spectral_norm=True, use_bias=False),
    layers.Rescaling(1 / 255, -0.3),
    layers.LayerNorm(1e-9),
    layers.BatchNorm(epsilon=0.3, activation="relu6"),
    layers.PeriodicEmbedding(3, 2, sigma=0.5),
    layers.CategoryEmbedding((2, 5, 3), 4),
    layers.PiecewiseLinear([[-1e30, 1e30], [0, 1e-38, 1], [-0.7, -0.2, 0.1, 0.9]]),
    layers.Reshape((3, 1)),
]


@DTYPES
@pytest.mark.parametrize("layer", VECTORS, ids=repr)
def test_vectors_and_nan(layer, dtype):
    model, X = runs.made([layer], 3, dtype), 3 * samples(7, (3,), dtype)
    X[3, 1], X[4, 0] = np.nan, 100.0
    exported = runs.check(model, X, at_least=2)
    assert "Softplus" not in runs.operators(exported)


@DTYPES
def test_categories_that_there_are_not(dtype):
    model = runs.made([layers.CategoryEmbedding((3, 4), 2), layers.Dense(2)], 2, dtype)
    X = np.array([[0, 3], [2, 1], [3, 4], [-1, -0.0], [1.7, np.nan], [np.inf, -np.inf]], dtype)
    runs.check(model, X, at_least=2)


@DTYPES
def test_groups_of_columns(dtype):
    table = layers.Columns(
        [
            ((3, 0), [layers.Scale(2.0), layers.PeriodicEmbedding(4, 3)]),
            ((1,), [layers.Columns([((0,), []), ((0,), [layers.Dense(2, "tanh")])])]),
            ((2, 2, 0), [layers.Residual([layers.Dense(3)]), layers.Reshape((3, 1)), layers.Flatten()]),
            ((4,), [layers.CategoryEmbedding((3,), 2)]),
        ]
    )
    X = samples(7, (5,), dtype)
    X[:, 4] = [0, 1, 2, 0, 5, 1, 2]
    runs.check(runs.made([table, layers.Dense(3)], 5, dtype), X, at_least=2)


@DTYPES
@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_ids(loss, dtype):
    parts = [layers.Embedding(9, 4), layers.Conv1D(5, 3, padding="same"), layers.GlobalMaxPool1D(), layers.Dense(3)]
    X = np.random.default_rng(0).integers(0, 9, (7, 6))
    exported = runs.check(runs.made(parts, (6,), dtype, loss), X)
    assert exported.graph.input[0].type.tensor_type.elem_type == 7  # int64


@pytest.mark.parametrize("name", ["Dropout", "AlphaDropout", "GaussianNoise", "SpatialDropout"])
def test_noise_leaves_no_nodes(name):
    model = runs.made([layers.Dense(3), getattr(layers, name)(0.3)], (4, 3))
    assert runs.operators(to_onnx(model)) == ["MatMul", "Add"]


# ---------------------------------------------------------------- deep networks


@DTYPES
def test_deep_residual_network_of_images_keeps_channels_first(dtype):
    def block(filters):
        inside = [layers.Conv2D(filters, 3, padding="same", use_bias=False), layers.BatchNorm(activation="relu")]
        return layers.Residual([*inside, *inside, layers.Activation("silu"), layers.Dropout(0.2), layers.PReLU()])

    parts = [layers.Rescaling(0.5), layers.Conv2D(8, 3, padding="same", activation="relu"), block(8), block(8)]
    parts += [layers.MaxPool2D(), layers.Conv2D(12, 3), block(12), layers.AvgPool2D(2, padding="same"), block(12)]
    model = runs.made([*parts, layers.Flatten(), layers.Dense(10)], (11, 10, 3), dtype, "cross_entropy")
    for view in model.weights.values():
        view[...] *= 0.4
    exported = runs.check(model, samples(7, (11, 10, 3), dtype))
    assert runs.operators(exported).count("Transpose") == 2
    pooled = runs.made([*parts, layers.GlobalAvgPool2D(), layers.Dense(10)], (11, 10, 3), dtype)
    if dtype == "float32":
        assert runs.operators(to_onnx(pooled)).count("Transpose") == 1


def test_transposes_of_a_way_around_are_shared():
    block = layers.Residual([layers.LayerNorm(), layers.Conv1D(4, 3, padding="same")])
    model = runs.made([layers.Conv1D(4, 3), block, layers.GlobalAvgPool1D()], (9, 4))
    exported = runs.check(model, samples(7, (9, 4), "float32"), at_least=2)
    assert runs.operators(exported).count("Transpose") == 3  # in front, and around the norm


def test_spectral_norm_is_in_the_kernel():
    model = runs.made([layers.Dense(5, spectral_norm=True)], 4, "float64")
    model.fit(samples(30, (4,), "float64"), samples(30, (5,), "float64"), epochs=60, batch_size=10)
    exported = runs.check(model, samples(7, (4,), "float64"), at_least=2)
    assert runs.operators(exported) == ["Gemm"]
    kernel = next(w for w in exported.graph.initializer if w.name.endswith("kernel"))
    largest = np.linalg.norm(np.frombuffer(kernel.raw_data).reshape(4, 5), 2)
    assert largest == pytest.approx(1, abs=0.05)
