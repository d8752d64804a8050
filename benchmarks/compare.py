"""fastdnn beside scikit-learn (and PyTorch where it is installed): the README's table.

    python benchmarks/compare.py [CASE ...] [--rounds 3] [--threads 2] [--libraries fastdnn,scikit-learn,pytorch]

Every library runs in a process of its own, so that their thread pools do not fight; within a round they take turns, so
that a drift of the machine's speed hits all alike. A figure is the median over the rounds of one training epoch in the
steady state: (a fit of many epochs - a fit of one) / the difference. "first fit" is a fit of one epoch in a new process,
with fastdnn's kernels read from the cache.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise

#       name       rows  in   hidden              out batch dtype
CASES = {
    "digits": (1797, 64, (100,), 10, 200, "float32"),
    "adult": (32768, 104, (128, 64), 2, 128, "float32"),
    "tabular": (20640, 8, (256, 256, 256), 1, 256, "float32"),
    "mnist": (16384, 784, (512, 256), 10, 128, "float32"),
    "mnist64": (8192, 784, (512, 256), 10, 128, "float64"),
    "deep": (8192, 64, (128,) * 16, 10, 256, "float32"),
    "wide": (8192, 256, (1024, 1024, 1024), 10, 512, "float32"),
}


def data(rows, features, outputs, dtype):
    import numpy as np

    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, features)).astype(dtype)
    if outputs == 1:
        return X, (2 * X[:, 0] + np.sin(X[:, 1])).astype(dtype)
    return X, (np.abs(X[:, :8]).sum(axis=1) * 3).astype(int) % outputs


def estimator_times(module, case):
    """(seconds of the first fit, seconds an epoch) of an estimator with scikit-learn's interface."""
    rows, features, hidden, outputs, batch, dtype = case
    X, y = data(rows, features, outputs, dtype)
    kind = module.MLPRegressor if outputs == 1 else module.MLPClassifier

    def fit(epochs):
        settings = {"batch_size": batch, "max_iter": epochs, "tol": 0.0, "n_iter_no_change": 10**6, "random_state": 0}
        model = kind(hidden_layer_sizes=hidden, **settings)
        began = time.perf_counter()
        model.fit(X, y)
        return time.perf_counter() - began

    first = fit(1)
    epochs = max(3, min(60, int(1.5 / first)))
    return first, statistics.median((fit(1 + epochs) - fit(1)) / epochs for _ in range(2))


def torch_times(case):
    import torch

    rows, features, hidden, outputs, batch, dtype = case
    X, y = (torch.from_numpy(a) for a in data(rows, features, outputs, dtype))
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    widths = (features, *hidden)
    parts = [part for a, b in pairwise(widths) for part in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    network = torch.nn.Sequential(*parts, torch.nn.Linear(widths[-1], outputs)).to(X.dtype)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    loss = torch.nn.MSELoss() if outputs == 1 else torch.nn.CrossEntropyLoss()
    y = y.reshape(-1, 1) if outputs == 1 else y

    def epoch():
        began = time.perf_counter()
        order = torch.randperm(rows)
        for i in range(0, rows, batch):
            chosen = order[i : i + batch]
            optimizer.zero_grad(set_to_none=True)
            loss(network(X[chosen]), y[chosen]).backward()
            optimizer.step()
        return time.perf_counter() - began

    return epoch(), statistics.median(epoch() for _ in range(5))


def worker(library, case):
    import warnings

    warnings.filterwarnings("ignore")
    if library == "pytorch":
        return torch_times(case)
    import importlib

    return estimator_times(importlib.import_module({"scikit-learn": "sklearn.neural_network"}.get(library, library)), case)


def measure(library, name, threads):
    limits = {v: str(threads) for v in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, __file__, "--worker", library, name], env={**os.environ, **limits}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{library} failed on {name}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    )
    parser.add_argument("--libraries", help="default: fastdnn, scikit-learn, and pytorch if it is installed")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(arguments.worker[0], CASES[arguments.worker[1]])))
        return
    from importlib.util import find_spec

    default = "fastdnn,scikit-learn" + (",pytorch" if find_spec("torch") else "")
    libraries = (arguments.libraries or default).split(",")
    print(f"milliseconds an epoch on {arguments.threads} threads, median of {arguments.rounds} rounds in turns\n")
    print("| case | network | " + " | ".join(libraries) + " | times scikit-learn |")
    print("|---" * (3 + len(libraries)) + "|")
    for name in arguments.cases or CASES:
        rows, features, hidden, outputs, batch, dtype = CASES[name]
        rounds = [[measure(library, name, arguments.threads) for library in libraries] for _ in range(arguments.rounds)]
        epoch = {lib: statistics.median(r[i][1] for r in rounds) for i, lib in enumerate(libraries)}
        middle = f"{hidden[0]} x {len(hidden)}" if len(set(hidden)) == 1 and len(hidden) > 3 else "-".join(map(str, hidden))
        network = f"{rows} rows, {features}-{middle}-{outputs}, batch {batch}, {dtype}"
        ratio = f"{epoch['scikit-learn'] / epoch['fastdnn']:.1f}" if {"scikit-learn", "fastdnn"} <= epoch.keys() else ""
        print(
            f"| {name} | {network} | " + " | ".join(f"{1e3 * epoch[lib]:.2f}" for lib in libraries) + f" | {ratio} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
