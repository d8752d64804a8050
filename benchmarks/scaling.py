"""How the time of training grows: rows, width, depth, batch and threads, with fitted exponents and a picture.

    python benchmarks/scaling.py [--picture scaling.png] [--rounds 3] [--quick]

One epoch of a ReLU network in the steady state, everything but one thing held: 4096 rows, 64 inputs, two hidden layers of
256 units, batches of 128, all threads. The exponent is the slope of log(time) against log(size): 1 for rows and depth, 2
for large widths, below 0 for batches where a step's fixed costs matter. Rounds go through all sizes in turn.
"""

import argparse
import statistics
import time

import numpy as np

from fastdnn import Model, config_context, get_num_threads, layers

BASE = {"rows": 4096, "width": 256, "depth": 2, "batch": 128, "threads": None}
SIZES = {
    "rows": (1024, 2048, 4096, 8192, 16384),
    "width": (16, 32, 64, 128, 256, 512, 1024),
    "depth": (1, 2, 4, 8, 16),
    "batch": (8, 16, 32, 64, 128, 256, 512),
}


def epoch_of(rows, width, depth, batch, threads):
    """A function that trains one epoch and returns its seconds."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((rows, 64)).astype("float32"), rng.integers(0, 10, rows)
    network = [layers.Dense(width, activation="relu") for _ in range(depth)] + [layers.Dense(10)]
    with config_context(n_threads=threads):
        training = Model(network, loss="cross_entropy", random_state=0).bind(X, y, batch_size=batch)

    def run():
        with config_context(n_threads=threads):
            began = time.perf_counter()
            training.epoch()
            return time.perf_counter() - began

    run()
    return run


def measure(rounds, quick):
    """{thing: [(size, seconds)]}."""
    sizes = {**SIZES, "threads": tuple(range(1, get_num_threads() + 1))}
    if quick:
        sizes = {thing: values[:3] for thing, values in sizes.items()}
    runs = {(thing, size): epoch_of(**{**BASE, thing: size}) for thing, values in sizes.items() for size in values}
    times = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            times[key].append(run())
    return {thing: [(size, statistics.median(times[thing, size])) for size in values] for thing, values in sizes.items()}


def exponent(points):
    """Slope of log(time) against log(size), least squares; NaN for one point."""
    sizes, seconds = np.log(np.array(points, float)).T
    return float(np.polyfit(sizes, seconds, 1)[0]) if len(points) > 1 else float("nan")


def picture(found, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(3.1 * len(found), 3.2), layout="constrained", sharey=True)
    for ax, (thing, points) in zip(axes, found.items(), strict=True):
        sizes, seconds = np.array(points).T
        ax.loglog(sizes, 1e3 * seconds, "o-", color="#1f5fa8", base=2)
        ax.set_xticks(sizes, [f"{int(s)}" for s in sizes], fontsize=7, rotation=45)
        ax.minorticks_off()
        ax.set_title(f"{thing}: exponent {exponent(points):.2f}", fontsize=10)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("milliseconds an epoch")
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", help="file to draw into (needs matplotlib)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="three sizes of each, to see that it works")
    arguments = parser.parse_args()
    found = measure(arguments.rounds, arguments.quick)
    print("| with growing | " + "milliseconds an epoch | exponent | last step |\n|---|---|---|---|")
    for thing, points in found.items():
        times = ", ".join(f"{size}: {1e3 * seconds:.2f}" for size, seconds in points)
        print(f"| {thing} | {times} | {exponent(points):.2f} | {exponent(points[-2:]):.2f} |")
    if arguments.picture:
        picture(found, arguments.picture)


if __name__ == "__main__":
    main()
