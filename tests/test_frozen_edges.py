"""Frozen predictors at the edges: no rows, numbers that are not finite, layers of users, files whose arrays do not fit."""

import json

import numpy as np
import pytest
import scipy.sparse
from frozen_networks import network

from fastdnn import Model, ModelFormatError, config_context, layers
from fastdnn.frozen.files import FORMAT, VERSION, written
from fastdnn.frozen.loading import read
from fastdnn.inference import Inference
from fastdnn.saving.container import write


def test_no_rows_at_all():
    for name in ("images", "dense"):
        model, X = network(name)
        for predictor in (model, model.freeze(), model.freeze("int8")):
            assert predictor.predict(X[:0]).shape == (0, *model.layout.shapes[-1])


def test_sparse_samples():
    model, X = network("wide")
    X[np.random.default_rng(0).random(X.shape) < 0.9] = 0
    weight = model.weights["0.dense.kernel"]
    weight[np.random.default_rng(1).random(weight.shape) < 0.8] = 0
    for dtype in ("float32", "bfloat16", "int8"):
        predictor = model.freeze(dtype)
        want, got = predictor.predict(X), predictor.predict(scipy.sparse.csr_array(X))
        np.testing.assert_array_equal(got, want)


@pytest.mark.filterwarnings("error")
def test_weights_that_are_not_finite_spoil_their_output():
    model = Model([layers.Dense(3)], random_state=0).build(5)
    model.weights["0.dense.kernel"][2, 0] = np.nan
    for dtype in ("float32", "bfloat16", "int8"):
        np.testing.assert_array_equal(np.isnan(model.freeze(dtype).predict(np.ones((2, 5), "float32")))[0], [1, 0, 0])


def test_large_numbers_do_not_overflow_the_range():
    model = Model([layers.Dense(3)], random_state=0).build(5)
    model.weights["0.dense.kernel"][...] *= 0.01
    X = np.float32([[3e38, -3e38, 0, 1e38, 0]])
    want = model.predict(X)
    assert np.abs(model.freeze("int8").predict(X) - want).max() < 0.02 * np.abs(want).max()


class Clamped(layers.Dense):
    """A user's: never below 0."""

    def emit(self, op, builder):
        super().emit(op, builder)
        op.clamps = 1


class Silent(layers.Dropout):
    """A user's."""


def test_classes_made_of_layers_are_left_alone():
    model = Model([Clamped(16), layers.BatchNorm(), layers.Dense(3)], random_state=0).build(5)
    model.states["1.batch_norm.mean"][...] = 1
    X = np.random.default_rng(0).standard_normal((20, 5)).astype("float32")
    np.testing.assert_allclose(model.freeze().predict(X), model.predict(X), atol=1e-6)
    assert type(Model([Silent(0.5), layers.Dense(1)]).build(3).freeze().model.layers[0]) is Silent


def test_nothing_but_dropout():
    X = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(Model([layers.Dropout(0.5)]).build(4).freeze().predict(X), X)


def test_out_in_the_memory_of_x():
    model = Model([layers.Dense(4)], random_state=0).build(4)
    buffer = np.ones((6, 4), "float32")
    with pytest.raises(ValueError, match="memory of X"):
        model.predict(buffer[:-1], out=buffer[1:])


class MyModel(Model):
    """A user's."""

    def __init__(self, units):
        super().__init__([layers.Dense(units)], random_state=0)


def test_models_with_constructors_of_their_own():
    model = MyModel(3).build(4)
    X = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(model.freeze().predict(X), model.predict(X))


@pytest.mark.parametrize(
    "X",
    [np.ones((5, 7), "float32"), np.full((5, 31), np.nan), np.full((5, 31), 1e39), "abc"],
    ids=["shape", "nan", "big", "text"],
)
def test_calibration_is_checked(X):
    with pytest.raises(ValueError, match=r"X|calibration"):
        network("dense")[0].freeze("int8", X)


def test_calibration_with_a_sparse_matrix():
    model, X = network("dense")
    model.freeze("int8", scipy.sparse.csr_array(X))


CHANGES = {
    "one more axis": lambda s, a: a.update({"leaf0/values": np.zeros((len(a["leaf0/values"]), 0), np.float32)}),
    "pairs of indices": lambda s, a: a.update({"leaf0/indices": np.stack([a["leaf0/indices"]] * 2, axis=1)}),
    "another float type": lambda s, a: s.update({"float": "float64", "dtype": "float64"}),
    "starts that wrap": lambda s, a: a["leaf0/starts"].__setitem__(slice(1, 4), [2**31 - 1, -(2**31), -1]),
    "an index outside": lambda s, a: a["leaf0/indices"].__setitem__(0, 10**6),
    "a dtype that is none": lambda s, a: s.update({"dtype": "nonsense"}),
    "bytes of -128": lambda s, a: a["leaf1/kernel"].__setitem__((0, 0), -128),
    "a range of text": lambda s, a: s["layers"][1].update({"range": "01"}),
    "a range too wide": lambda s, a: s["layers"][1].update({"range": [-1e308, 1e308]}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_files_whose_checksum_is_right_and_whose_arrays_do_not_fit(change, tmp_path):
    model = Model([layers.Dense(64), layers.Dense(8)], random_state=0).build(40)
    weight = model.weights["0.dense.kernel"]
    weight[np.random.default_rng(0).random(weight.shape) < 0.9] = 0
    predictor = model.freeze("int8" if change.startswith(("bytes", "a range")) else "float32")
    settings, arrays = written(predictor)
    arrays = {name: np.array(a) for name, a in arrays.items()}
    CHANGES[change](settings, arrays)
    text = json.dumps(settings)
    write(tmp_path / "p.fdnn", {"format": FORMAT, "version": VERSION, "predictor": text}, arrays)
    with pytest.raises(ModelFormatError):
        read(Model, tmp_path / "p.fdnn")


def test_borders_that_are_larger_than_the_file(tmp_path):
    predictor = Model([layers.Conv2D(2, 3, padding=1, strides=3), layers.Flatten()], random_state=0).build((6, 6, 1)).freeze()
    settings, arrays = written(predictor)
    settings["layers"][0].update(padding=[[10**7, 10**7], [10**7, 10**7]], strides=[10**7, 10**7])
    text = json.dumps(settings)
    write(tmp_path / "p.fdnn", {"format": FORMAT, "version": VERSION, "predictor": text}, dict(arrays))
    with pytest.raises(ModelFormatError):
        read(Model, tmp_path / "p.fdnn")


def test_threads_of_one_sample_are_those_of_the_moment():
    model, _ = network("images")
    predictor = model.freeze()
    inference = Inference(predictor.model.network, np.dtype("float32"), "float")
    inference.flops_per_row = 10**9
    for n in (2, 1, 3):
        with config_context(n_threads=n):
            assert inference._choice_of_one().most == n
