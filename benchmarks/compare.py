"""fastdnn beside scikit-learn, PyTorch (eager and compiled), JAX and ONNX Runtime: the README's tables.

    python benchmarks/compare.py [CASE ...] [--what training,inference,start] [--rounds 3] [--threads 2] [--write]

Every library runs in a process of its own, so that their thread pools do not fight; within a round they take turns, so
that a drift of the machine's speed hits all alike; figures are medians over the rounds. Training is one epoch in the
steady state, beside the share of the FMA peak that the same round measured. Inference is one row and all rows. Start is
import and first fit of the digits case in a new process: cold (empty caches) and warm. `--write` puts the tables into the
README between its markers. Peers: pip install scikit-learn torch jax optax onnxruntime onnx onnxscript; those that are not
installed are left out.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from peers import CASES, PREDICTORS, TRAINERS, describe, flops_per_row, installed, predict, train

README = pathlib.Path(__file__).parents[1] / "README.md"
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def work(what, library, name):
    """In a process of its own: a list of figures."""
    import warnings

    warnings.filterwarnings("ignore")
    case, threads = CASES[name], int(os.environ["OMP_NUM_THREADS"])
    if hasattr(os, "sched_setaffinity") and threads < len(os.sched_getaffinity(0)):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # XLA minds nothing else
    if library == "limit":
        from limits import fma_peak

        return [0.0, flops_per_row(case) * case[0] / fma_peak(case[5], threads)]
    if what == "start":
        began = time.perf_counter()
        train_first = {"fastdnn": "fastdnn", "scikit-learn": "sklearn.neural_network"}.get(library)
        if train_first:
            from peers import data, estimator

            estimator(library, case, 1).fit(*data(case))
        else:
            train(library, case)
        return [time.perf_counter() - began]
    return (train if what == "training" else predict)(library, case)


def measure(what, library, name, threads, cache=None):
    settings = {**dict.fromkeys(LIMITS, str(threads)), "FASTDNN_QUIET": "1"}
    if threads == 1:
        settings["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    if cache:
        settings |= {"NUMBA_CACHE_DIR": cache}
    command = [sys.executable, __file__, "--worker", what, library, name]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{library} failed on {name}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def medians(what, libraries, name, arguments):
    """{library: [median of each figure]} over the rounds, in turns."""
    found = {library: [] for library in libraries}
    for _ in range(arguments.rounds):
        for library, figures in found.items():
            figures.append(measure(what, library, name, arguments.threads))
    return {lib: [statistics.median(f) for f in zip(*figures, strict=True)] for lib, figures in found.items()}


def table(head, rows):
    """Lines of a Markdown table; rows come one after the other and are printed as they come."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    print("\n" + "\n".join(lines), flush=True)
    for row in rows:
        lines.append("| " + " | ".join(row) + " |")
        print(lines[-1], flush=True)
    return lines


def training(arguments):
    libraries = installed(TRAINERS)

    def rows():
        for name in arguments.cases or CASES:
            found = medians("training", ["limit", *libraries], name, arguments)
            epoch = {lib: figures[1] for lib, figures in found.items()}
            best = min((epoch[lib] for lib in libraries if lib != "fastdnn"), default=float("nan"))
            yield [
                name, describe(CASES[name]), *(f"{1e3 * epoch[lib]:.2f}" for lib in libraries),
                f"{100 * epoch['limit'] / epoch['fastdnn']:.0f} %", f"{best / epoch['fastdnn']:.2f}",
            ]  # fmt: skip

    return table(["case", "network", *libraries, "share of peak", "times the best peer"], rows())


def inference(arguments):
    libraries = installed(PREDICTORS)

    def rows():
        for name in arguments.cases or ("digits", "adult", "mnist"):
            found = medians("inference", libraries, name, arguments)
            yield [f"{name}, one row", *(f"{1e3 * found[lib][0]:.4f}" for lib in libraries)]
            yield [f"{name}, {CASES[name][0]} rows", *(f"{1e3 * found[lib][1]:.2f}" for lib in libraries)]

    return table(["milliseconds", *libraries], rows())


def start(arguments):
    libraries = installed(("fastdnn", "scikit-learn"))

    def rows():
        for library in libraries:
            with tempfile.TemporaryDirectory() as cache:
                cold, *warm = [measure("start", library, "digits", arguments.threads, cache)[0] for _ in range(6)]
            yield [library, f"{cold:.2f}", f"{statistics.median(warm):.2f}"]

    return table(["seconds", "cold", "warm"], rows())


def write(name, lines):
    """Put a table into the README between the markers <!-- name --> and <!-- end -->."""
    text = README.read_text()
    head, rest = text.split(f"<!-- {name} -->\n", 1)
    README.write_text(f"{head}<!-- {name} -->\n" + "\n".join(lines) + "\n<!-- end -->" + rest.split("<!-- end -->", 1)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--what", default="training,inference,start")
    parser.add_argument("--rounds", type=int, default=3)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--write", action="store_true", help="put the tables into the README")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(*arguments.worker)))
        return
    unknown = set(arguments.cases) - set(CASES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    print(f"{arguments.threads} threads, medians of {arguments.rounds} rounds in turns")
    for what in arguments.what.split(","):
        lines = {"training": training, "inference": inference, "start": start}[what](arguments)
        if arguments.write:
            write(what, lines)


if __name__ == "__main__":
    main()
