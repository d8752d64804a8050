"""ONNX of recurrent layers, masks and lengths, and sequences of another length than the model was built with.

The reference evaluator ignores the lengths of sequences in ONNX's recurrent operators: with float32 it is left out there.
In float64 they are loops over the steps, which both run.
"""

import numpy as np
import pytest
import sequences

from fastdnn import Model, layers
from fastdnn.layers.activation_function import ACTIVATIONS

runs, to_onnx = pytest.importorskip("onnx_runs"), pytest.importorskip("fastdnn.onnx").to_onnx
goes_by_any_length = pytest.importorskip("fastdnn.onnx.network").goes_by_any_length
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
every_cell = pytest.mark.parametrize("cell", sequences.CELLS)
MASK = np.random.default_rng(0).random((sequences.N, sequences.STEPS)) < 0.6  # gaps, and steps left out in front
MASK[:, 3] = True


@DTYPES
@every_cell
@pytest.mark.parametrize("both", [False, "concat", "sum"])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("steps", ["all", "lengths", "mask", "mask and lengths"])
def test_recurrent(cell, both, return_sequences, steps, dtype):
    parts = sequences.stack(cell, bool(both), 2, return_sequences, 5)
    if both:
        parts = [*(layers.Bidirectional(part.layer, both) for part in parts[:-1]), parts[-1]]
    parts = [layers.Masking(-1.5), *parts] if "mask" in steps else parts
    model, X, _ = sequences.model_and_data(parts, dtype)
    counts, lengths = np.ones_like(MASK), None
    if "mask" in steps:
        X[~MASK], counts = -1.5, MASK
    if "lengths" in steps:
        lengths = np.maximum(sequences.LENGTHS, 4) if "mask" in steps else sequences.LENGTHS
        counts = counts & (np.arange(sequences.STEPS) < lengths[:, None])
    exported = runs.check(model, X, lengths, counts if return_sequences else ...)
    runs.check(model, X[:1], None if lengths is None else lengths[:1], counts[:1] if return_sequences else ...)
    assert ("Scan" in runs.operators(exported)) == (dtype == "float64")


@DTYPES
@every_cell
@pytest.mark.parametrize("return_sequences", [False, True])
def test_backwards(cell, return_sequences, dtype):
    layer = sequences.CELLS[cell](4, return_sequences=return_sequences, go_backwards=True, use_bias=False, dropout=0.2)
    model, X, _ = sequences.model_and_data([layer, layers.Dense(3)], dtype)
    exported = runs.check(model, X, at_least=2)
    assert [i.name for i in exported.graph.input] == (["X"] if return_sequences else ["X", "lengths"])
    if not return_sequences:
        runs.check(model, X, sequences.LENGTHS)


@DTYPES
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "softmax"])
def test_activations_of_the_simple_recurrent_layer(activation, dtype):
    layer = layers.Bidirectional(layers.SimpleRNN(4, activation, return_sequences=True))
    model, X, _ = sequences.model_and_data([layer], dtype)
    model.params *= 0.5
    runs.check(model, X, sequences.LENGTHS, np.arange(sequences.STEPS) < sequences.LENGTHS[:, None])


BEFORE = [
    [],
    [layers.Dense(5, "relu")],
    [layers.LSTM(5, return_sequences=True)],
    [layers.Residual([layers.GRU(5, return_sequences=True)], [layers.LayerNorm(), layers.Dense(5)])],
]


@DTYPES
@pytest.mark.parametrize("pool", [layers.GlobalAvgPool1D, layers.GlobalMaxPool1D])
@pytest.mark.parametrize("before", BEFORE, ids=str)
def test_pooling_of_the_steps_that_count(pool, before, dtype):
    parts = [*before, layers.BatchNorm(), layers.Residual([layers.LayerNorm()]), pool(), layers.Dense(3)]
    model, X, _ = sequences.model_and_data(parts, dtype)
    runs.check(model, X, at_least=2)
    X[0, 5], X[2, 2] = np.inf, np.nan  # behind the ends
    if not before:
        runs.check(model, X, sequences.LENGTHS, at_least=2)


@DTYPES
@pytest.mark.parametrize("inside", [layers.GRU(5, return_sequences=True), layers.Conv1D(5, 3, padding="same")], ids=repr)
def test_steps_that_count_on_two_ways(inside, dtype):
    """Where one way mixes steps, all count behind the sum."""
    around = [layers.LayerNorm(), layers.Dense(5), layers.LSTM(5, return_sequences=True)]
    parts = [layers.Residual([inside], around), layers.GlobalMaxPool1D(), layers.Dense(3)]
    model, X, _ = sequences.model_and_data(parts, dtype)
    runs.check(model, X, sequences.LENGTHS)


@DTYPES
@pytest.mark.parametrize("mask_zero", [False, True])
def test_ids(mask_zero, dtype):
    parts = [layers.Embedding(9, 4, mask_zero=mask_zero), layers.GRU(5, return_sequences=True), layers.GlobalAvgPool1D()]
    model, _, _ = sequences.model_and_data([*parts, layers.Dense(3)], dtype, (7,))
    X = np.random.default_rng(1).integers(1, 9, (6, 7))
    X[~MASK] = 0
    runs.check(model, X)
    lengths = np.maximum(sequences.LENGTHS, 4)
    runs.check(model, X.astype(np.int64), lengths)


def test_lengths_may_be_left_out_and_count_up_to_the_end():
    model, X, _ = sequences.model_and_data(sequences.stack("lstm", False, 1, False, 4), "float32")
    exported, without = to_onnx(model), to_onnx(model, lengths=False)
    assert runs.operators(without) == ["Transpose", "LSTM", "Squeeze", "Gemm", "Softmax"]
    assert [i.name for i in without.graph.input] == ["X"]
    for run in (runs.in_onnxruntime, runs.in_reference):
        for one in (exported, without):
            np.testing.assert_allclose(run(one, {"X": X})[0], model.predict(X), atol=1e-6)
    long = np.full(len(X), 1000)  # more than there are
    np.testing.assert_allclose(runs.in_onnxruntime(exported, {"X": X, "lengths": long})[0], model.predict(X), atol=1e-6)


NO_LENGTHS = [
    ([layers.Dense(3)], (4,)),
    ([layers.Dense(3), layers.BatchNorm()], (7, 4)),
    ([layers.Conv1D(3, 2), layers.GlobalAvgPool1D()], (7, 4)),
    ([layers.GlobalAvgPool2D()], (7, 7, 4)),
    ([layers.Flatten(), layers.Reshape((7, 4)), layers.GRU(3)], (7, 4)),
]


@pytest.mark.parametrize(("parts", "shape"), NO_LENGTHS, ids=str)
def test_no_lengths_where_they_change_nothing(parts, shape):
    assert [i.name for i in to_onnx(runs.made(parts, shape)).graph.input] == ["X"]


def test_masks_that_mean_nothing_are_refused_as_by_the_model():
    model = Model([layers.Masking(), layers.Conv1D(3, 2), layers.GlobalAvgPool1D()]).build((7, 4))
    with pytest.raises(ValueError, match="mean nothing to this network"):
        to_onnx(model)
    model = Model([layers.Masking(), layers.GRU(3, return_sequences=True, go_backwards=True)]).build((7, 4))
    with pytest.raises(ValueError, match="it cannot turn masked sequences around"):
        to_onnx(model)


# ---------------------------------------------------------------- another number of steps

ANY_LENGTH = [
    [layers.LSTM(4, return_sequences=True), layers.Dense(3)],
    [layers.Bidirectional(layers.GRU(4, return_sequences=True)), layers.GlobalMaxPool1D(), layers.Dense(3)],
    [layers.Conv1D(4, 3), layers.MaxPool1D(), layers.Conv1D(4, 2, padding="same"), layers.LayerNorm()],
    [layers.Conv1D(4, 3, padding="causal", dilation_rate=2), layers.Residual([layers.Conv1D(4, 3, padding="same")])],
    [layers.PeriodicEmbedding(3, 2), layers.Scale(), layers.GRU(3), layers.Dense(4, "relu"), layers.Reshape((2, 2))],
    [layers.Masking(), layers.SimpleRNN(3, return_sequences=True), layers.GlobalAvgPool1D()],
    [layers.Residual([layers.Conv1D(5, 3, padding="same")], [layers.Dense(5)]), layers.GRU(3)],
    [layers.Masking(), layers.Residual([layers.Conv1D(5, 3, padding="same")], [layers.GRU(5, return_sequences=True)])],
    [layers.Residual([layers.LSTM(5)], shortcut=[layers.GlobalMaxPool1D(), layers.Dense(5)]), layers.Dense(2)],
]


@DTYPES
@pytest.mark.parametrize("parts", ANY_LENGTH, ids=str)
def test_sequences_of_any_length(parts, dtype):
    built = runs.made(parts, (9, 4), dtype)
    exported = to_onnx(built)
    for steps in (9, 14):
        model = Model(parts, dtype=dtype).build((steps, 4))
        model.params = built.params
        X = np.random.default_rng(0).standard_normal((5, steps, 4)).astype(dtype)
        X[1, -2:] = 0
        for run in runs.runners(exported, not isinstance(parts[0], layers.Masking)):
            bound = runs.BOUNDS[dtype]
            np.testing.assert_allclose(run(exported, {"X": X})[0], model.predict(X), rtol=bound, atol=bound)
    assert [d.dim_param or d.dim_value for d in exported.graph.input[0].type.tensor_type.shape.dim] == ["n", "time", 4]


FIXED_LENGTH = [
    [layers.LSTM(4, return_sequences=True), layers.Flatten()],
    [layers.Conv1D(4, 3, strides=2, padding="same"), layers.GlobalAvgPool1D()],
    [layers.AvgPool1D(2, padding="same"), layers.GlobalAvgPool1D()],
    [layers.Reshape((4, 9)), layers.GRU(3)],
]


@pytest.mark.parametrize("parts", FIXED_LENGTH, ids=str)
def test_sequences_of_the_length_that_a_layer_needs(parts):
    exported = runs.check(runs.made(parts, (9, 4)), np.ones((3, 9, 4), "float32"))
    assert [d.dim_param or d.dim_value for d in exported.graph.input[0].type.tensor_type.shape.dim] == ["n", 9, 4]


def test_ways_that_might_differ_for_other_lengths_are_exported_for_one():
    halved = layers.Residual([layers.Conv1D(4, 3, 2, "same")], shortcut=[layers.AvgPool1D(2), layers.Dense(4)])
    kept = layers.Residual([layers.Conv1D(4, 3, padding="same")], shortcut=[layers.Dense(4)])
    assert not goes_by_any_length(Model([halved]).build((8, 3)).layout)
    assert goes_by_any_length(Model([kept]).build((8, 3)).layout)
