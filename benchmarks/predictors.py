"""Predictions of frozen networks beside ONNX Runtime's: one row, and all rows of a set.

    python benchmarks/predictors.py [CASE ...] [--threads 2] [--rounds 3] [--forms frozen,bfloat16,int8,onnx]

Forms: "model" is `Model.predict`, "frozen" float32, "int8" with ranges of each row, "int8-fixed" with those of 256 samples,
"sparse" the network with 90 % of the weights of its dense layers pruned; "onnx" is ONNX Runtime with what `to_onnx` makes,
"onnx-int8" the same quantized by its own tools (dynamic for dense networks, static otherwise). A process for each (case,
form), in turns, in both orders; the median of the rounds' medians. ONNX Runtime checks no input.

    python benchmarks/predictors.py --start [CASE ...]

measures seconds from the start of a process to the first prediction of a predictor that an earlier process has loaded once.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
from turns import measured

# name: (samples, shape of one, network); (kind, sizes ...): "bn" and "relu" stand behind what they change
CASES = {
    "digits": (1797, (64,), [("dense", 100), "relu", ("dense", 10)]),
    "adult": (32768, (104,), [("dense", 128), "relu", ("dense", 64), "relu", ("dense", 2)]),
    "mnist": (16384, (784,), [("dense", 512), "relu", ("dense", 256), "relu", ("dense", 10)]),
    "cnn": (
        2048, (28, 28, 1),
        [("conv", 32), "relu", ("conv", 64), "relu", "pool", ("conv", 64), "relu", "pool", "flat", ("dense", 128), "relu",
         ("dense", 10)],
    ),
    "sep": (
        2048, (28, 28, 1),
        [("conv", 32), "bn", "relu", ("sep", 64), "bn", "relu", "pool", ("sep", 128), "bn", "relu", "mean", ("dense", 10)],
    ),
    "lstm64": (1024, (64, 64), [("lstm", 64), ("dense", 10)]),
}  # fmt: skip
FORMS = "frozen", "bfloat16", "int8", "int8-fixed", "onnx", "onnx-int8"


def network(case):
    """A built model of a case."""
    from fastdnn import Model, layers

    of_name = {
        "relu": lambda: layers.Activation("relu"),
        "bn": layers.BatchNorm,
        "pool": lambda: layers.MaxPool2D(2),
        "flat": layers.Flatten,
        "mean": layers.GlobalAvgPool2D,
        "dense": layers.Dense,
        "conv": lambda n: layers.Conv2D(n, 3, padding="same"),
        "sep": lambda n: layers.SeparableConv2D(n, 3, padding="same"),
        "lstm": layers.LSTM,
    }
    parts = [of_name[part]() if isinstance(part, str) else of_name[part[0]](*part[1:]) for part in case[2]]
    return Model(parts, loss="cross_entropy", random_state=0).build(case[1])


def in_onnx(model, X, quantized):
    """A function that predicts in ONNX Runtime."""
    import onnxruntime

    from fastdnn.onnx import to_onnx

    lengths = {"lengths": False} if len(X.shape) == 3 else {}
    folder = pathlib.Path(tempfile.mkdtemp())
    to_onnx(model, folder / "model.onnx", **lengths)
    if quantized:
        quantize(folder, X)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = int(os.environ["OMP_NUM_THREADS"]), 3
    session = onnxruntime.InferenceSession(folder / ("int8.onnx" if quantized else "model.onnx"), options)
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def quantize(folder, X):
    """Write int8.onnx beside model.onnx, by ONNX Runtime's own tools: per channel, unsigned bytes of activations."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantType,
        quant_pre_process,
        quantize_dynamic,
        quantize_static,
    )

    quant_pre_process(folder / "model.onnx", folder / "prepared.onnx", skip_symbolic_shape=True)
    settings = {"weight_type": QuantType.QInt8, "per_channel": True}
    if X.ndim == 2:
        quantize_dynamic(folder / "prepared.onnx", folder / "int8.onnx", **settings)
        return

    class Samples(CalibrationDataReader):
        left = iter(np.split(X[:256], 4))

        def get_next(self):
            found = next(self.left, None)
            return None if found is None else {"X": found}

    quantize_static(folder / "prepared.onnx", folder / "int8.onnx", Samples(), activation_type=QuantType.QUInt8, **settings)


def predictor(form, model, X):
    """A function that predicts in that form."""
    if form.startswith("onnx"):
        return in_onnx(model, X, form.endswith("int8"))
    if form == "sparse":
        for key, weight in model.weights.items():
            if key.endswith("dense.kernel"):
                weight[np.abs(weight) < np.quantile(np.abs(weight), 0.9)] = 0
    settings = {"frozen": {}, "sparse": {}, "int8-fixed": {"dtype": "int8", "calibration": X[:256]}}
    return model.predict if form == "model" else model.freeze(**settings.get(form, {"dtype": form})).predict


def median_seconds(f, X, times):
    """Of a call: of so many at the least and half a second, after a first; threads take some milliseconds to be chosen."""
    f(X)
    found, until = [], time.perf_counter() + 0.5
    while len(found) < times or time.perf_counter() < until:
        began = time.perf_counter()
        f(X)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def work(form, name):
    """[seconds of one row, of all] of a process of its own."""
    warnings.simplefilter("ignore")
    if os.environ["OMP_NUM_THREADS"] == "1" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    n, shape, _ = CASES[name]
    X = np.random.default_rng(0).standard_normal((n, *shape), np.float32)
    f = predictor(form, network(CASES[name]), X)
    return [median_seconds(f, X[:1], 1000), median_seconds(f, X, 9)]


FIRST = """
import sys
import numpy as np
from fastdnn.predictor import load
predictor = load(sys.argv[1])
predictor.predict(np.zeros((1, *predictor.input_shape), np.float32))
assert "numba" not in sys.modules or sys.argv[2] == "0"
"""


def start(name, times=15):
    """Print the median seconds of so many processes that load a predictor and predict a row."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "model.fdnn"))
        network(CASES[name]).freeze().save(path)
        found = []
        for i in range(times + 2):  # the first one compiles and keeps
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", FIRST, path, str(i)], check=True)
            found.append(time.perf_counter() - began)
    print(f"{name:10} {statistics.median(found[2:]):.3f} s to the first prediction", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--start", action="store_true", help="seconds to the first prediction of a process")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(*arguments.worker)))
        return
    if arguments.start:
        for name in arguments.cases or CASES:
            start(name)
        return
    there = importlib.util.find_spec("onnxruntime")
    forms = [form for form in arguments.forms.split(",") if there or not form.startswith("onnx")]
    for name in arguments.cases or CASES:
        found = {form: [] for form in forms}
        for i in range(arguments.rounds):
            for form in forms[:: -1 if i % 2 else 1]:
                found[form].append(measured(__file__, form, name, arguments.threads))
        print(f"{name}, {arguments.threads} threads")
        for form, times in found.items():
            one, every = (statistics.median(t[k] for t in times) for k in (0, 1))
            print(f"    {form:10} one row {1e6 * one:8.1f} us, {CASES[name][0]} rows {1e3 * every:8.2f} ms", flush=True)


if __name__ == "__main__":
    main()
