"""What a step of one's own costs beside a step of a compiled epoch: each primitive on a network of 64-64-10 units.

    python benchmarks/loops.py [--batch 64]

Microseconds a call, medians of seven runs in turns; single precision, Adam.
"""

import argparse
import statistics
import time

import numpy as np

from fastdnn import Model, layers

CALLS = 1000


def primitives(batch):
    """{what: function that does it once}, and one that does CALLS steps of an epoch."""
    source = np.random.default_rng(0)
    X, y = source.standard_normal((batch, 64), "float32"), source.integers(0, 10, batch)
    models = [
        Model([layers.Dense(64, "relu"), layers.Dense(10)], loss="cross_entropy", random_state=0).build(64) for _ in range(4)
    ]
    plain, bound, gradients, epochs = models
    run, dscores = bound.bind(X, y), source.standard_normal((batch, 10)).astype("float32")
    gradient = gradients.loss_and_grad(X, y)[1]
    many_X, many_y = np.tile(X, (CALLS, 1)), np.tile(y, CALLS)
    return {
        "bind(X, y).step()": run.step,
        "train_on_batch(X, y)": lambda: plain.train_on_batch(X, y),
        "loss_and_grad(X, y)": lambda: gradients.loss_and_grad(X, y),
        "input_gradient(X, y)": lambda: gradients.input_gradient(X, y),
        "vjp(X, dscores)": lambda: gradients.vjp(X, dscores),
        "apply_gradient(g)": lambda: gradients.apply_gradient(gradient),
        "predict(X)": lambda: plain.predict(X),
    }, lambda: epochs.fit(many_X, many_y, epochs=1, batch_size=batch, shuffle=False)


def main(batch=64):
    calls, epoch = primitives(batch)
    found = {name: [] for name in ("a step of fit", *calls)}
    for turn in range(8):
        began = time.perf_counter()
        epoch()
        found["a step of fit"].append((time.perf_counter() - began) / CALLS)
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(CALLS):
                call()
            found[name].append((time.perf_counter() - began) / CALLS)
        if turn == 0:  # which compiles
            found = {name: [] for name in found}
    for name, seconds in found.items():
        print(f"{name:22s} {1e6 * statistics.median(seconds):7.1f} us")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    main(parser.parse_args().batch)
