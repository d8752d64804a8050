"""fastdnn beside scikit-learn, PyTorch (eager and compiled), JAX and ONNX Runtime: the tables of README.md here.

    python benchmarks/compare.py [CASE ...] [--what training,inference,start] [--rounds 3] [--threads 2] [--write]

Every library runs in a process of its own, so that their thread pools do not fight; within a round they take turns, so
that a drift of the machine's speed hits all alike; figures are medians over the rounds. Training is one epoch in the
steady state, beside the share of the FMA peak that the same round measured (PyTorch and JAX leave out an epoch's last, short
batch). Inference is one row and all rows. Start is import and first fit (or epoch) of the digits case in a new process, the
interpreter's own start left out: cold (empty caches, once) and warm. `--write` puts the tables of a whole run into README.md
here, and a summary of training into the project's, between their markers. Peers: pip install scikit-learn torch jax optax
onnxruntime onnx onnxscript; those that are not installed are left out, one that fails shows "-".
"""

import argparse
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

from peers import CASES, PREDICTORS, TRAINERS, describe, flops_per_row, installed, predict, prepare, train

HERE = pathlib.Path(__file__).resolve().parent
PAGES = {**dict.fromkeys(("training", "inference", "start"), HERE / "README.md"), "summary": HERE.parent / "README.md"}
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
        prepare(library)
        imported = time.perf_counter() - began
        return [imported + train(library, case)[0]]
    return (train if what == "training" else predict)(library, case)


def measure(what, library, name, threads, cache=None):
    settings = {**dict.fromkeys(LIMITS, str(threads)), "FASTDNN_QUIET": "1"}
    if threads == 1:
        settings["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    if cache:
        settings |= {"NUMBA_CACHE_DIR": cache, "TORCHINDUCTOR_CACHE_DIR": cache, "JAX_COMPILATION_CACHE_DIR": cache}
    command = [sys.executable, __file__, "--worker", what, library, name]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    if done.returncode:
        print(f"{library} failed on {name}: {(done.stderr.strip().splitlines() or ['?'])[-1]}", file=sys.stderr)
        return [float("nan"), float("nan")]
    return json.loads(done.stdout.splitlines()[-1])


def shown(value, digits):
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


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
            peers = [epoch[lib] for lib in libraries if lib != "fastdnn" and not math.isnan(epoch[lib])]
            best = min(peers, default=float("nan"))
            yield [
                name, describe(CASES[name]), *(shown(1e3 * epoch[lib], 2) for lib in libraries),
                f"{100 * epoch['limit'] / epoch['fastdnn']:.0f} %", shown(best / epoch["fastdnn"], 2),
            ]  # fmt: skip

    return table(["case, ms an epoch", "network", *libraries, "share of peak", "times the best peer"], rows())


def inference(arguments):
    libraries = installed(PREDICTORS)

    def rows():
        for name in arguments.cases or ("digits", "adult", "mnist"):
            found = medians("inference", libraries, name, arguments)
            yield [f"{name}, one row", *(shown(1e3 * found[lib][0], 4) for lib in libraries)]
            yield [f"{name}, {CASES[name][0]} rows", *(shown(1e3 * found[lib][1], 2) for lib in libraries)]

    return table(["milliseconds", *libraries], rows())


def start(arguments):
    libraries = installed(TRAINERS)

    def rows():
        for library in libraries:
            with tempfile.TemporaryDirectory() as cache:
                cold, *warm = [measure("start", library, "digits", arguments.threads, cache)[0] for _ in range(6)]
            yield [library, shown(cold, 2), shown(statistics.median(warm), 2)]

    return table(["seconds", "cold", "warm"], rows())


def summary(lines):
    """Lines of the project's table, of those of training: how many times as fast each peer's epoch is."""
    head, _, *rows = ([cell.strip() for cell in line.strip("| ").split("|")] for line in lines)
    peers = [peer for peer in ("scikit-learn", "PyTorch", "JAX") if peer in head]
    own, share = head.index("fastdnn"), head.index("share of peak")

    def times(row, peer):
        theirs = row[head.index(peer)]
        return "-" if "-" in (theirs, row[own]) else f"{float(theirs) / float(row[own]):.1f}"

    kept = ([*row[:2], *(times(row, peer) for peer in peers), row[share]] for row in rows)
    return table(["times as fast, an epoch", "network", *peers, "share of peak"], kept)


def write(name, lines):
    """Put a table into its page between the markers <!-- name --> and <!-- end -->."""
    page, found = PAGES[name], marked(name)
    text, new = page.read_text(), page.with_suffix(".new")
    new.write_text(text[: found.start(1)] + "\n".join(lines) + "\n" + text[found.end(1) :])
    os.replace(new, page)


def marked(name):
    """Match of the part of its page between the markers of that name, without another marker in it."""
    return re.search(rf"<!-- {name} -->\n((?:(?!<!--).)*)<!-- end -->", PAGES[name].read_text(), re.DOTALL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--what", default="training,inference,start")
    parser.add_argument("--rounds", type=int, default=3)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--write", action="store_true", help="put the tables into the pages")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(*arguments.worker)))
        return
    unknown = set(arguments.cases) - set(CASES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    tables = {"training": training, "inference": inference, "start": start}
    chosen = arguments.what.split(",")
    if not set(chosen) <= set(tables) or arguments.rounds < 1 or arguments.threads < 1:
        parser.error(f"--what takes {', '.join(tables)}; --rounds and --threads at least 1")
    if arguments.write and (arguments.cases or not all(map(marked, PAGES))):
        parser.error("--write takes all cases, and pages with the markers <!-- training --> ... <!-- end --> and so on")
    print(f"{arguments.threads} threads, medians of {arguments.rounds} rounds in turns")
    for what in chosen:
        lines = tables[what](arguments)
        if arguments.write:
            write(what, lines)
            if what == "training":
                write("summary", summary(lines))


if __name__ == "__main__":
    main()
