"""Predictors in files for the tests of quick starts, and Python processes."""

import os
import pathlib
import subprocess
import sys

import numpy as np
from frozen_networks import NETWORKS, network

import fastdnn
from fastdnn import Model, _cache, layers
from fastdnn.frozen import Predictor
from fastdnn.predictor import QuickPredictor, load
from fastdnn.quick import keeping

PACKAGE = pathlib.Path(fastdnn.__file__).parent
MORE = {
    "lstm": ([layers.LSTM(12, return_sequences=True), layers.GRU(7), layers.Dense(3)], (9, 4), "cross_entropy"),
    "both ways": ([layers.Bidirectional(layers.GRU(6)), layers.Dense(1)], (5, 3), "log_loss"),
    "rnn": ([layers.SimpleRNN(6, return_sequences=True), layers.Dense(2)], (7, 3), "squared_error"),
    "masking": ([layers.Masking(), layers.LSTM(6), layers.Dense(2)], (6, 3), "cross_entropy"),
    "ids": ([layers.Embedding(11, 5), layers.Conv1D(8, 3), layers.GlobalMaxPool1D(), layers.Dense(2)], (8,), "cross_entropy"),
    "masked ids": ([layers.Embedding(11, 5, mask_zero=True), layers.GRU(4), layers.Dense(2)], (8,), "cross_entropy"),
    "bytes": (
        [layers.Rescaling(1 / 255), layers.Conv2D(6, 3), layers.Flatten(), layers.Dense(4)],
        (9, 9, 3),
        "cross_entropy",
    ),
    "enlarged": ([layers.Conv2DTranspose(3, 3, strides=2), layers.GlobalAvgPool2D()], (5, 5, 2), "squared_error"),
    "tables": (
        [
            layers.Columns(
                [((0, 1), [layers.PeriodicEmbedding(4), layers.Flatten()]), ((2,), [layers.CategoryEmbedding([4], 3)])]
            ),
            layers.LayerNorm(),
            layers.Dense(2),
        ],
        (3,),
        "poisson",
    ),
}


def samples(name, model, n):
    """Samples for a network of MORE."""
    rng, shape = np.random.default_rng(1), (n, *model.layout.shapes[0])
    if "ids" in name:
        return np.where(np.arange(shape[1]) < rng.integers(1, 9, (n, 1)), rng.integers(1, 11, shape), 0)
    if name == "bytes":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    X = rng.standard_normal(shape).astype(model.dtype)
    if name == "masking":
        X[:, 4:] *= rng.integers(0, 2, (n, 1, 1))
    if name == "tables":
        X[:, 2] = rng.integers(0, 4, n)
    return X


def saved(tmp_path, name="dense", dtype="float32", frozen="float32"):
    """(path of its file, predictor, samples) of a frozen network."""
    if name in NETWORKS:
        model, X = network(name)
    else:
        parts, shape, loss = MORE[name]
        model = Model(parts, loss=loss, dtype=dtype, random_state=0).build(shape)
        X = samples(name, model, 300)
    made = model.freeze(frozen)
    made.save(tmp_path / "it.fdnn")
    return tmp_path / "it.fdnn", made, X


def forget(path):
    """Remove what an earlier run has kept of the same predictor."""
    for ending in (keeping.NEW, keeping.TRIED, keeping.READY):
        kept(path, ending).unlink(missing_ok=True)


def quick(path):
    """The file's predictor, from the second load on: the first one keeps what that needs."""
    forget(path)
    assert type(load(path)) is Predictor
    found = load(path)
    assert type(found) is QuickPredictor
    assert kept(path).exists()
    return found


def kept(path, ending=keeping.READY):
    """Where the snapshot of the predictor in a file is."""
    return pathlib.Path(_cache.cache_folder(), keeping.name_of(path) + ending)


def python(code, *arguments, **environment):
    """Output of a new Python process that finds the tested package first."""
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment}
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()
