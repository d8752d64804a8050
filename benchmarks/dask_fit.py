"""A fit on the workers of a local Dask cluster beside the same fit in one process with as many cores; one worker killed.

    python benchmarks/dask_fit.py [--rows 500000] [--epochs 5] [--workers 2] [--rounds 3]

500,000 samples of 54 features in 7 classes, as many as covtype has, which a random network of two layers decides about, with
a tenth of the labels wrong; 54-256-128-7, batches of 1024, accuracy on 50,000 other samples. The single process has as many
threads as there are workers, which have one each. Kernels are compiled, and samples are on the workers, before clocks run.
"""

import argparse
import os
import signal
import statistics
import threading
import time

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

from fastdnn import DNNClassifier, config_context
from fastdnn.distributed import DaskDNNClassifier

FEATURES, CLASSES, HELD_OUT, PARTS = 54, 7, 50_000, 16
SETTINGS = {"hidden_layer_sizes": (256, 128), "batch_size": 1024, "random_state": 0}


def make(rows):
    """X, y"""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, FEATURES)).astype("float32")
    hidden = np.tanh(X @ rng.standard_normal((FEATURES, 40)).astype("float32") * 0.3)
    y = (hidden @ rng.standard_normal((40, CLASSES)).astype("float32")).argmax(axis=1)
    wrong = rng.random(rows) < 0.1
    y[wrong] = rng.integers(0, CLASSES, wrong.sum())
    return X, y


def timed(estimator, X, y):
    """(seconds of the fit, history)"""
    began = time.perf_counter()
    estimator.fit(X, y)
    return time.perf_counter() - began, estimator.history_


def kill_one(client, after):
    """Kill the process of a worker in so many seconds."""
    pid = next(iter(client.run(os.getpid).values()))
    timer = threading.Timer(after, os.kill, (pid, signal.SIGKILL))
    timer.start()
    return timer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    X, y = make(given.rows + HELD_OUT)
    X, X_test, y, y_test = X[: given.rows], X[given.rows :], y[: given.rows], y[given.rows :]
    with (
        LocalCluster(given.workers, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        rows = -(-given.rows // PARTS)
        dX, dy = da.from_array(X, chunks=(rows, -1)).persist(), da.from_array(y, chunks=rows).persist()
        times, accuracies = {}, {}
        kinds = {
            "one process": lambda **s: DNNClassifier(**SETTINGS | s),
            "sync_every=1": lambda **s: DaskDNNClassifier(sync_every=1, lanes=given.workers, **SETTINGS | s),
            'sync_every="auto"': lambda **s: DaskDNNClassifier(lanes=given.workers, **SETTINGS | s),
        }
        for turn in range(given.rounds + 1):  # the first one compiles
            for kind, estimator in kinds.items():
                samples = (X, y) if kind == "one process" else (dX, dy)
                with config_context(n_threads=given.workers):
                    seconds, history = timed(clf := estimator(epochs=given.epochs if turn else 1), *samples)
                if turn:
                    times.setdefault(kind, []).append(seconds)
                    accuracies[kind] = clf.score(X_test, y_test)
                    print(f"{kind:20s} {seconds:7.2f} s, epochs {np.round(history['seconds'], 2)}", flush=True)
        timer = kill_one(client, min(times["sync_every=1"]) / 2)
        clf = kinds["sync_every=1"](epochs=given.epochs)
        times["sync_every=1, one worker killed"] = [timed(clf, dX, dy)[0]]
        timer.join()
        accuracies["sync_every=1, one worker killed"] = clf.score(X_test, y_test)
        alone = statistics.median(times["one process"])
        print(f"\n| {given.rows} rows, {given.epochs} epochs | seconds | times one process | accuracy |\n|---|---|---|---|")
        for kind, seconds in times.items():
            middle = statistics.median(seconds)
            print(f"| {kind} | {middle:.2f} | {middle / alone:.2f} | {accuracies[kind]:.4f} |")


if __name__ == "__main__":
    main()
