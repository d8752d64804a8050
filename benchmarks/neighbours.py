"""Short fits, predictions, a grid search and Ctrl-C while every core has another process to run.

    python benchmarks/neighbours.py [CASE ...] [--seconds 3] [--rounds 2] [--processes N] [--alone]

One busy loop a core runs beside all of it (`--processes 0`: a free machine). A line gives medians of an epoch, or of a
prediction of all rows, with one thread and with all, the worst time of all threads, and the same of scikit-learn and
PyTorch where they are installed, unless `--alone`. Each (case, library, threads) runs in a process of its own, in turns,
in both orders.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import warnings

from peers import CASES, data, estimator, installed, torch_network

BUSY = "import os, time\nwhile os.getppid() == {parent} and time.time() < {until}: pass"
SMALL = {"4-32-16-4": (60_000, 4, (32, 16), 4, 200, "float32"), "11-300-1": (4096, 11, (300,), 1, 16, "float32")}
ALL = SMALL | CASES


def epochs_of(library, case):
    """A function that trains one epoch, or makes a fit of one."""
    X, y = data(case)
    if library != "PyTorch":
        return lambda: estimator(library, case, 1).fit(X, y)
    import torch

    network = torch_network(case)
    X, y = torch.from_numpy(X), torch.from_numpy(y.reshape(-1, 1) if case[3] == 1 else y)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    criterion = torch.nn.MSELoss() if case[3] == 1 else torch.nn.CrossEntropyLoss()

    def epoch():
        for i in range(0, len(X), case[4]):
            optimizer.zero_grad(set_to_none=True)
            criterion(network(X[i : i + case[4]]), y[i : i + case[4]]).backward()
            optimizer.step()

    return epoch


def predictions_of(library, case):
    """A function that predicts all rows."""
    X, y = data(case)
    if library != "PyTorch":
        model = estimator(library, case, 1).fit(X[:1024], y[:1024])
        return lambda: model.predict(X)
    import torch

    network, X = torch_network(case).eval(), torch.from_numpy(X)

    def predict():
        with torch.inference_mode():
            return network(X).numpy()

    return predict


def work(what, library, name, seconds):
    """Seconds of one call after the other, for so long (five calls at the least); the first is not counted."""
    run = (epochs_of if what == "epoch" else predictions_of)(library, ALL[name])
    run()
    found, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(found) < 5:
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return found


def search(seconds):
    """Seconds of a grid search of small fits, by one process and by two."""
    from sklearn.model_selection import GridSearchCV

    from fastdnn import MLPClassifier

    X, y = data(CASES["digits"])
    found = []
    for n_jobs in (1, 2):
        grid = {"alpha": [1e-5, 1e-4, 1e-3, 1e-2], "hidden_layer_sizes": [(32,), (64, 32)]}
        model = GridSearchCV(MLPClassifier(max_iter=30, random_state=0), grid, cv=3, n_jobs=n_jobs)
        model.fit(X, y)
        began = time.perf_counter()
        model.fit(X, y)
        found.append(time.perf_counter() - began)
    return found


def long_fit():
    """A fit that only Ctrl-C ends."""
    from fastdnn import Model, layers

    X, _ = data(SMALL["4-32-16-4"])
    model = Model([layers.Dense(32, activation="tanh"), layers.Dense(16), layers.Dense(4)], random_state=0)
    model.fit(X, X, epochs=1, batch_size=200)
    print("begins", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        model.fit(X, X, epochs=10**7, batch_size=200)
    print("ended", flush=True)


def started(*arguments, threads=None):
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, "FASTDNN_QUIET": "1", **({} if threads is None else dict.fromkeys(limits, str(threads)))}
    command = [sys.executable, "-W", "ignore", __file__, "--worker", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def figures(*arguments, threads=None):
    return json.loads(started(*arguments, threads=threads).communicate()[0].splitlines()[-1])


def measure(what, name, arguments):
    """{(library, threads): seconds of all calls} over the rounds, in both orders."""
    cores = os.cpu_count()
    peers = [] if arguments.alone else installed(["scikit-learn", "PyTorch"])
    kinds = [("fastdnn", 1), ("fastdnn", cores)] + [(peer, cores) for peer in peers]
    found = {kind: [] for kind in kinds}
    for i in range(arguments.rounds):
        for library, threads in kinds[:: -1 if i % 2 else 1]:
            found[library, threads] += figures(what, library, name, arguments.seconds, threads=threads)
    return found


def show(what, name, found):
    (_, one), (_, several), *peers = found.items()
    a, b = statistics.median(one), statistics.median(several)
    others = ", ".join(f"{library} {1e3 * statistics.median(seconds):.2f}" for (library, _), seconds in peers)
    print(
        f"{name:10} {what:9} one thread {1e3 * a:8.2f} ms, all {1e3 * b:8.2f} ({b / a:.2f} times), means "
        f"{1e3 * statistics.mean(one):.2f} and {1e3 * statistics.mean(several):.2f}, worst {1e3 * max(one):.2f} and "
        f"{1e3 * max(several):.2f}; {others}",
        flush=True,
    )


def interrupt():
    """Seconds from SIGINT to the end of a fit."""
    process = started("ctrl-c")
    process.stdout.readline()
    time.sleep(1.0)
    began = time.perf_counter()
    process.send_signal(signal.SIGINT)
    process.stdout.readline()
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(ALL)}; all without")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each process and figure")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="busy ones beside")
    parser.add_argument("--alone", action="store_true", help="without scikit-learn and PyTorch, which take most of the time")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        warnings.filterwarnings("ignore")
        what, *rest = arguments.worker
        if what == "ctrl-c":
            long_fit()
        else:
            print(json.dumps(search(0) if what == "search" else work(what, rest[0], rest[1], float(rest[2]))))
        return
    code = BUSY.format(parent=os.getpid(), until=time.time() + 3600)
    busy = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(arguments.processes)]
    try:
        for name in arguments.cases or ALL:
            for what in ("epoch", "predict"):
                show(what, name, measure(what, name, arguments))
        one, two = figures("search")
        print(f"grid search of 24 small fits: n_jobs=1 {one:.2f} s, n_jobs=2 {two:.2f} s")
        print(f"Ctrl-C: {', '.join(f'{interrupt():.3f}' for _ in range(5))} s", flush=True)
    finally:
        for process in busy:
            process.kill()


if __name__ == "__main__":
    main()
