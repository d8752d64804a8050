"""One network, five libraries: how each of them trains and predicts it. `compare.py` runs these, a process each."""

import importlib
import importlib.util
import os
import statistics
import time
from itertools import pairwise

#       name       rows  in   hidden              out batch dtype
CASES = {
    "digits": (1797, 64, (100,), 10, 200, "float32"),
    "tiny32": (8192, 16, (32, 32), 2, 32, "float32"),
    "adult": (32768, 104, (128, 64), 2, 128, "float32"),
    "tabular": (20640, 8, (256, 256, 256), 1, 256, "float32"),
    "mnist": (16384, 784, (512, 256), 10, 128, "float32"),
    "mnist64": (8192, 784, (512, 256), 10, 128, "float64"),
    "deep": (8192, 64, (128,) * 16, 10, 256, "float32"),
    "wide": (8192, 256, (1024, 1024, 1024), 10, 512, "float32"),
}
NEEDS = {
    "fastdnn": ["fastdnn"],
    "scikit-learn": ["sklearn.neural_network"],
    "PyTorch": ["torch"],
    "PyTorch compiled": ["torch"],
    "JAX": ["jax", "optax"],
    "ONNX Runtime": ["onnxruntime", "torch", "onnx"],
}
TRAINERS = ("fastdnn", "scikit-learn", "PyTorch", "PyTorch compiled", "JAX")
PREDICTORS = ("fastdnn", "scikit-learn", "PyTorch", "ONNX Runtime")


def installed(libraries):
    return [name for name in libraries if all(importlib.util.find_spec(module) for module in NEEDS[name])]


def prepare(library):
    """Import what the library needs, estimators too: fastdnn imports a part of itself when it is asked for by name."""
    for module in NEEDS[library]:
        imported = importlib.import_module(module)
        for name in ("MLPClassifier", "MLPRegressor"):
            getattr(imported, name, None)


def flops_per_row(case):
    """Flops of the dense products of one training step a row: forward, weight and input gradient (not of the first layer)."""
    products = [a * b for a, b in pairwise((case[1], *case[2], case[3]))]
    return 6 * sum(products) - 2 * products[0]


def describe(case):
    rows, features, hidden, outputs, batch, dtype = case
    middle = f"{hidden[0]} x {len(hidden)}" if len(set(hidden)) == 1 and len(hidden) > 3 else "-".join(map(str, hidden))
    return f"{rows} rows, {features}-{middle}-{outputs}, batch {batch}, {dtype}"


def data(case):
    import numpy as np

    rows, features, _, outputs, _, dtype = case
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, features)).astype(dtype)
    if outputs == 1:
        return X, (2 * X[:, 0] + np.sin(X[:, 1])).astype(dtype)
    return X, (np.abs(X[:, :8]).sum(axis=1) * 3).astype(int) % outputs


def estimator(library, case, epochs):
    module = importlib.import_module("sklearn.neural_network" if library == "scikit-learn" else "fastdnn")
    kind = module.MLPRegressor if case[3] == 1 else module.MLPClassifier
    settings = {"max_iter": epochs, "tol": 0.0, "n_iter_no_change": 10**6, "random_state": 0, "alpha": 0.0}
    return kind(hidden_layer_sizes=case[2], batch_size=case[4], **settings)


def train_estimator(library, case):
    """(seconds of the first fit, of one epoch, imports left out), the second from fits of different lengths."""
    X, y = data(case)

    def fit(epochs):
        model = estimator(library, case, epochs)
        began = time.perf_counter()
        model.fit(X, y)
        return time.perf_counter() - began

    first = fit(1)
    epochs = max(3, min(60, int(1.5 / fit(1))))
    return first, statistics.median((fit(1 + epochs) - fit(1)) / epochs for _ in range(3))


def torch_network(case):
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    widths = (case[1], *case[2])
    parts = [part for a, b in pairwise(widths) for part in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    return torch.nn.Sequential(*parts, torch.nn.Linear(widths[-1], case[3])).to(getattr(torch, case[5]))


def train_torch(library, case):
    import torch

    rows, batch, network = case[0], case[4], torch_network(case)
    X, y = (torch.from_numpy(a) for a in data(case))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    criterion = torch.nn.MSELoss() if case[3] == 1 else torch.nn.CrossEntropyLoss()
    y = y.reshape(-1, 1) if case[3] == 1 else y

    def loss(x, target):
        return criterion(network(x), target)

    loss = torch.compile(loss) if library == "PyTorch compiled" else loss

    def epoch():
        began = time.perf_counter()
        order = torch.randperm(rows)
        for i in range(0, rows - batch + 1, batch):  # whole batches: another size would be compiled again
            chosen = order[i : i + batch]
            optimizer.zero_grad(set_to_none=True)
            loss(X[chosen], y[chosen]).backward()
            optimizer.step()
        return time.perf_counter() - began

    return epoch(), statistics.median([epoch() for _ in range(6)][1:])


def train_jax(library, case):
    """Whole epochs compiled: batches in a scan, shuffled on the device."""
    import jax
    import optax

    jax.config.update("jax_enable_x64", case[5] == "float64")
    rows, _, _, outputs, batch, _ = case
    X, y = (jax.numpy.asarray(a) for a in data(case))
    key, widths = jax.random.PRNGKey(0), (case[1], *case[2], outputs)
    params = [
        (jax.random.normal(jax.random.fold_in(key, i), (a, b), X.dtype) * (2 / a) ** 0.5, jax.numpy.zeros(b, X.dtype))
        for i, (a, b) in enumerate(pairwise(widths))
    ]
    optimizer = optax.adam(1e-3)

    def loss(params, x, target):
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        z = x @ params[-1][0] + params[-1][1]
        if outputs == 1:
            return ((z[:, 0] - target) ** 2).mean()
        return optax.softmax_cross_entropy_with_integer_labels(z, target).mean()

    @jax.jit
    def run(params, state, key):
        order = jax.random.permutation(key, rows)[: rows // batch * batch].reshape(-1, batch)

        def step(carried, chosen):
            params, state = carried
            updates, state = optimizer.update(jax.grad(loss)(params, X[chosen], y[chosen]), state)
            return (optax.apply_updates(params, updates), state), 0.0

        return jax.lax.scan(step, (params, state), order)[0]

    state, seconds = optimizer.init(params), []
    for i in range(6):
        began = time.perf_counter()
        params, state = jax.block_until_ready(run(params, state, jax.random.fold_in(key, i)))
        seconds.append(time.perf_counter() - began)
    return seconds[0], statistics.median(seconds[2:])


def train(library, case):
    """(seconds of the first fit or epoch in this process, seconds of an epoch in the steady state)."""
    if library in ("fastdnn", "scikit-learn"):
        return train_estimator(library, case)
    return (train_jax if library == "JAX" else train_torch)(library, case)


def predictor(library, case):
    if library in ("fastdnn", "scikit-learn"):
        X, y = data((min(case[0], 1024), *case[1:]))
        model = estimator(library, case, 1).fit(X, y)
        return model.predict if case[3] == 1 else model.predict_proba
    import torch

    network = torch_network(case).eval()
    if library == "PyTorch":

        def run(a):
            with torch.inference_mode():
                return network(torch.from_numpy(a)).numpy()

        return run
    import io

    import onnxruntime

    buffer, example = io.BytesIO(), torch.zeros((2, case[1]), dtype=getattr(torch, case[5]))
    torch.onnx.export(network, (example,), buffer, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(buffer.getvalue(), options)
    return lambda a: session.run(None, {"x": a})


def predict(library, case):
    """(seconds of one row, of all rows), medians."""
    X, run = data(case)[0], predictor(library, case)

    def median(rows, repeats):
        run(rows)
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            run(rows)
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds)

    return median(X[:1], 500), median(X, 15)
