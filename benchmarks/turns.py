"""Training epochs of networks in fastdnn and PyTorch: a process for each, in turns, as times and as shares of the peak."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from limits import fma_peak
from peers import installed


def seconds_of_epochs(run):
    """Seconds of some epochs, the first left out."""
    run()
    found = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return found


def measured(file, library, name, threads):
    """What a process of its own measures."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
    command = [sys.executable, "-W", "ignore", file, "--worker", library, name]
    done = subprocess.run(
        command, env={**os.environ, "FASTDNN_QUIET": "1", **limits}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def compare(file, description, cases, runs, flops_of_epoch):
    """Measure the cases that the command line names and print a line for each.

    runs(library, case) : functions that train one epoch each; of several the fastest counts
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(cases)}")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--alone", action="store_true", help="without PyTorch")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        library, name = arguments.worker
        print(json.dumps(min(map(seconds_of_epochs, runs(library, cases[name])), key=statistics.median)))
        return
    libraries = ["fastdnn"] + ([] if arguments.alone else installed(["PyTorch"]))
    for name in arguments.cases or cases:
        found, peaks = {library: [] for library in libraries}, []
        for i in range(arguments.rounds):
            peaks.append(fma_peak(threads=arguments.threads))
            for library in libraries[:: -1 if i % 2 else 1]:
                found[library] += measured(file, library, name, arguments.threads)
        flops = flops_of_epoch(cases[name])
        seconds = {library: statistics.median(times) for library, times in found.items()}
        each = [f"{lib} {1e3 * s:8.1f} ms ({100 * flops / s / max(peaks):4.1f} %)" for lib, s in seconds.items()]
        ratio = f", {seconds['PyTorch'] / seconds['fastdnn']:.2f} times as fast" if "PyTorch" in seconds else ""
        print(f"{name:10} {arguments.threads} threads: {', '.join(each)}{ratio}", flush=True)
