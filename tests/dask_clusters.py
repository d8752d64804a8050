"""Shared by the tests of `fastdnn.distributed`: clusters, samples in partitions, networks."""

import contextlib
import time

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask.array as da
from distributed import Client, LocalCluster

from fastdnn import Model, layers

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1201, 8)).astype("float32")
Y = (X[:, :3].sum(axis=1) > 0).astype(int) + (X[:, 3] > 1)
WEIGHTS = RNG.uniform(0.5, 2.0, len(X))
CHUNKS = (300, 250, 51, 200, 150, 250)


@contextlib.contextmanager
def cluster(n_workers, processes=False):
    """A client of so many workers of one thread each."""
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=processes, dashboard_address=":0", memory_limit=0
        ) as made,
        Client(made) as client,
    ):
        yield client


def eventually(condition, seconds=10.0):
    """Whether a condition holds within so many seconds: what other threads and processes do is asked for again and again."""
    until = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < until:
        time.sleep(0.02)
    return bool(holds)


def samples(chunks=CHUNKS, weights=False):
    """(dask X, dask y) or (dask X, dask y, dask weights)"""
    given = [da.from_array(X, chunks=(chunks, -1)), da.from_array(Y, chunks=(chunks,))]
    return (*given, da.from_array(WEIGHTS, chunks=(chunks,))) if weights else tuple(given)


def network(random_state=3, **settings):
    hidden = [layers.Dense(16, activation="relu"), layers.BatchNorm(), layers.Dropout(0.1)]
    return Model([*hidden, layers.Dense(3)], **{"loss": "cross_entropy", "random_state": random_state} | settings)


def bits(model):
    return model.params.tobytes() + model.state.tobytes() + model.moments.tobytes()
