"""Frozen predictors: what they predict, in which form, how they are kept."""

import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from frozen_networks import NETWORKS, network

from fastdnn import Model, ModelFormatError, config_context, layers
from fastdnn.frozen.loading import read
from fastdnn.narrowing import quantized, rounded, widened

# Largest difference of a score, as a part of the largest score: a rounding of bfloat16 is 2^-9 of a number, a step of int8
# 1/255 of a range.
TOLERANCES = {"float32": 2e-6, "float64": 2e-6, "bfloat16": 0.02, "int8": 0.04}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", NETWORKS)
def test_scores(name, dtype):
    model, X = network(name)
    predictor = model.freeze(dtype)
    want, got = model.forward(X), predictor.forward(X)
    assert got.dtype == (np.float64 if dtype == "float64" else np.float32)
    assert np.abs(got - want).max() < TOLERANCES[dtype] * np.abs(want).max()
    np.testing.assert_allclose(predictor.predict(X).sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", ["dense", "images", "series"])
def test_rows_do_not_depend_on_each_other_and_nan_stays_in_its_row(name, dtype):
    model, X = network(name)
    predictor = model.freeze(dtype)
    want = predictor.predict(X)
    np.testing.assert_array_equal(np.concatenate([predictor.predict(X[i : i + 1]) for i in range(5)]), want[:5])
    X[1].flat[3], X[2].flat[0] = np.nan, np.inf
    got = predictor.predict(X)
    assert np.isnan(got[1]).all()
    np.testing.assert_array_equal(got[3:], want[3:])


def dense_by_numpy(model, X, dtype):
    """Scores of a network of dense layers with ReLU, as the products of that dtype are defined."""
    h, names = X.astype(np.float64), list(model.weights)
    for kernel, bias in zip(names[::2], names[1::2], strict=True):
        W, b = model.weights[kernel], model.weights[bias].astype(np.float64)
        if dtype == "bfloat16":
            h = widened(rounded(h.astype(np.float32))).astype(np.float64) @ widened(rounded(W)).astype(np.float64) + b
        else:
            q, scale = quantized(W)
            low, high = np.minimum(h.min(axis=1), 0), np.maximum(h.max(axis=1), 0)
            step = ((high - low) / 255)[:, None]
            zero = np.floor(-low[:, None] / step + 0.5)
            bytes_ = np.floor(np.clip(h / step + zero, 0, 255) + 0.5).clip(0, 255)
            h = step * scale * ((bytes_ - zero) @ q.astype(np.float64)) + b
        h = h if kernel == names[-2] else np.maximum(h, 0)
    return h


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_products_are_what_they_are_said_to_be(dtype):
    parts = [layers.Dense(67, activation="relu"), layers.Dense(40, activation="relu"), layers.Dense(7)]
    model = Model(parts, loss="cross_entropy", random_state=3).build(101)
    X = np.random.default_rng(3).standard_normal((50, 101)).astype(np.float32)
    want, got = dense_by_numpy(model, X, dtype), model.freeze(dtype).forward(X)
    off = np.abs(got - want) / np.abs(want).max()
    # A number that lies on the border of two steps may be rounded the other way in float32.
    assert np.median(off) < 1e-5
    assert off.max() < (5e-3 if dtype == "bfloat16" else 1e-2)


def test_calibration_takes_ranges_of_the_samples_in_order():
    model, X = network("residual")
    for percentile, worst in ((100.0, 0.04), (99.9, 0.3)):
        predictor = model.freeze("int8", X, percentile)
        ranges = [leaf.range for _, leaf in predictor.model.layout.leaves if hasattr(leaf, "range")]
        assert len(ranges) == 4
        low, high = ranges[0]
        assert (low > X.min(), high < X.max()) == ((percentile < 100,) * 2)
        want = model.forward(X)
        assert np.abs(predictor.forward(X) - want).max() < worst * np.abs(want).max()
    beyond = model.freeze("int8", X).predict(100 * X)
    assert np.isfinite(beyond).all()  # clipped


def test_norms_of_both_ways_are_in_their_convolutions():
    block = network("projected")[0].freeze().model.layers[1]
    assert [type(layer).__name__ for layer in (*block.layers, *block.shortcut)] == ["Conv2D"] * 3
    assert [layer.activation for layer in (*block.layers, *block.shortcut)] == ["relu", "identity", "identity"]
    model, X = network("projected")
    predictor = model.freeze("int8", X)
    assert len([leaf for _, leaf in predictor.model.layout.leaves if getattr(leaf, "range", None)]) == 6
    want = model.forward(X)
    assert np.abs(predictor.forward(X) - want).max() < 0.04 * np.abs(want).max()


def test_norms_are_in_depthwise_and_pointwise_convolutions():
    model, X = network("mobile")
    predictor = model.freeze()
    found = [(type(layer).__name__, layer.activation) for layer in predictor.model.layers[:5]]
    halves = ("DepthwiseConv2D", "identity"), ("Conv2D", "elu"), ("DepthwiseConv2D", "identity"), ("Conv2D", "tanh")
    assert found == [("DepthwiseConv2D", "relu"), *halves]
    assert [type(layer).__name__ for layer in predictor.model.layers[5:]] == ["BatchNorm", "GlobalAvgPool2D", "Dense"]
    products = [leaf for _, leaf in model.freeze("int8", X).model.layout.leaves if getattr(leaf, "range", None)]
    assert len(products) == 3  # those of single pixels, and the last


def test_rows_of_zeros_and_of_one_sign():
    model, X = network("wide")
    fixed, widest = model.freeze("int8", X), np.abs(model.forward(X)).max()
    for rows in (np.zeros_like(X), np.abs(X), -np.abs(X), X * 1e-35):
        want = model.forward(rows)
        assert np.abs(model.freeze("int8").forward(rows) - want).max() < 0.04 * np.abs(want).max()
        assert np.abs(fixed.forward(rows) - want).max() < 0.2 * widest  # whose ranges are those of X


def test_float_is_smaller_by_what_training_needs_only():
    model, X = network("images")
    predictor = model.freeze()
    kinds = [type(layer).__name__ for layer in predictor.model.layers]
    assert kinds == ["Conv2D", "MaxPool2D", "Conv2D", "Conv2D", "Flatten", "Dense"]
    assert predictor.model.layers[0].activation == "relu"
    before = predictor.predict(X)
    model.params[...] = 0  # the predictor is of its own
    np.testing.assert_array_equal(predictor.predict(X), before)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", ["images", "residual", "projected", "columns", "series"])
def test_files_and_pickles(name, dtype, tmp_path):
    model, X = network(name)
    predictor = model.freeze(dtype, X if dtype == "int8" and name == "images" else None)
    path = tmp_path / "p.fdnn"
    predictor.save(path)
    _, loaded = read(Model, path)
    want = predictor.predict(X)
    for other in (loaded, pickle.loads(pickle.dumps(predictor))):
        assert (other.dtype, other.input_shape, other.output_shape) == (dtype, X.shape[1:], want.shape[1:])
        np.testing.assert_array_equal(other.predict(X), want)
    assert repr(loaded) == repr(predictor)
    assert loaded.summary() == predictor.summary()


def test_files_are_small(tmp_path):
    model = Model([layers.Dense(512, activation="relu"), layers.Dense(256, activation="relu"), layers.Dense(10)]).build(784)
    sizes = {}
    for dtype in ("float32", "bfloat16", "int8"):
        model.freeze(dtype).save(tmp_path / dtype)
        sizes[dtype] = (tmp_path / dtype).stat().st_size
    assert sizes["bfloat16"] < 0.51 * sizes["float32"]
    assert sizes["int8"] < 0.27 * sizes["float32"]


def test_damaged_files_are_errors(tmp_path):
    path, rng = tmp_path / "p.fdnn", np.random.default_rng(0)
    network("images")[0].freeze("int8").save(path)
    whole = path.read_bytes()
    for _ in range(200):
        bad = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            bad[rng.integers(len(bad) if rng.random() < 0.5 else 1500)] = rng.integers(256)
        if rng.random() < 0.3:
            bad = bad[: rng.integers(len(bad))]
        if bytes(bad) == whole:
            continue
        path.write_bytes(bad)
        with pytest.raises(ModelFormatError):
            read(Model, path)


def test_out():
    model, X = network("images")
    predictor = model.freeze()
    want, out = predictor.predict(X), np.full((33, 10), 7, np.float32)
    assert predictor.predict(X, out=out) is out
    np.testing.assert_array_equal(out, want)
    one = np.empty((1, 10), np.float32)
    assert predictor.predict(X[:1], out=one) is one
    np.testing.assert_array_equal(one, want[:1])
    for bad in (np.empty((32, 10), np.float32), np.empty((33, 10)), np.empty((33, 20), np.float32)[:, ::2], [0] * 33):
        with pytest.raises(ValueError, match="out must be a writable C-contiguous float32 array of shape"):
            predictor.predict(X, out=bad)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("float16",), "dtype must be one of 'float32'"),
        (("float32", np.zeros((3, 31))), "calibration is of dtype='int8' only"),
        (("int8", None, 20), "percentile"),
        (("int8", np.full((3, 31), np.nan)), "Input X contains NaN"),
    ],
)
def test_messages(arguments, words):
    with pytest.raises(ValueError, match=words):
        network("dense")[0].freeze(*arguments)


def test_a_model_without_parameters_cannot_be_frozen():
    with pytest.raises(ValueError, match="no parameters yet"):
        Model([layers.Dense(1)]).freeze()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_bits_do_not_depend_on_threads(dtype):
    model, _ = network("images")
    X = np.random.default_rng(0).standard_normal((700, 17, 15, 3)).astype(np.float32)
    predictor, found = model.freeze(dtype), []
    for n in (1, 2, 3, 4):
        with config_context(n_threads=n):
            found.append(predictor.predict(X))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


SCRIPT = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
from frozen_networks import network
from fastdnn._dots import byte_product, has_bfloat16
found = {}
for name in ("wide", "images"):
    model, X = network(name)
    for dtype in ("bfloat16", "int8"):
        found[name + dtype] = model.freeze(dtype).forward(X)
np.savez(sys.argv[2], instructions=np.array([has_bfloat16(), bool(byte_product())]), **found)
"""


def test_processors_without_the_instructions_agree(tmp_path):
    """Sums of bytes are the same bits; floats around them may be rounded otherwise where there is no AVX-512."""
    here, found = str(pathlib.Path(__file__).parent), []
    for name, cpu in (("own", {}), ("haswell", {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""})):
        env = {**os.environ, **cpu}
        path = tmp_path / f"{name}.npz"
        subprocess.run([sys.executable, "-c", SCRIPT, here, str(path)], env=env, check=True)
        found.append(np.load(path))
    if np.array_equal(found[0]["instructions"], [False, False]) or not found[1].files:
        pytest.skip("this processor has no such instructions")
    assert not found[1]["instructions"].any()
    for key in found[0].files[1:]:
        a, b = found[0][key], found[1][key]
        np.testing.assert_allclose(a, b, atol=2e-3 * np.abs(a).max())
        assert np.median(np.abs(a - b)) < 1e-6 * np.abs(a).max()
