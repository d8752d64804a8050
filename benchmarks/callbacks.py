"""What callbacks cost: epochs of the digits case without any, with EarlyStopping, and with a LambdaCallback.

    python benchmarks/callbacks.py [--rounds 15] [--epochs 300]

The three take turns in one process; printed are medians, and their ratios to the first.
"""

import argparse
import statistics
import time
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fastdnn import DNNClassifier, MLPClassifier
from fastdnn.callbacks import EarlyStopping, LambdaCallback

SETTINGS = {
    "no callback": None,
    "EarlyStopping": [EarlyStopping("loss", patience=10**6)],
    "LambdaCallback": [LambdaCallback(lambda fit: fit.history["loss"][-1] < 0)],
}


ESTIMATORS = {
    "MLPClassifier": lambda epochs, **more: MLPClassifier((100,), max_iter=epochs, tol=0, n_iter_no_change=10**6, **more),
    "DNNClassifier": lambda epochs, **more: DNNClassifier(hidden_layer_sizes=(100,), epochs=epochs, **more),
}


def seconds(estimator, callbacks, X, y, epochs):
    """Of an epoch: what a long fit takes more than a short one."""
    times = []
    for n in (epochs // 10, epochs):
        began = time.perf_counter()
        ESTIMATORS[estimator](n, callbacks=callbacks, random_state=0, batch_size=200).fit(X, y)
        times.append(time.perf_counter() - began)
    return (times[1] - times[0]) / (epochs - epochs // 10)


def main(rounds=15, epochs=300):
    X, y = load_digits(return_X_y=True)
    X = X.astype("float32")
    warnings.simplefilter("ignore", ConvergenceWarning)
    for estimator in ESTIMATORS:
        times = {key: [] for key in SETTINGS}
        for r in range(rounds + 1):
            for key in list(SETTINGS)[:: 1 if r % 2 else -1]:
                taken = seconds(estimator, SETTINGS[key], X, y, epochs)
                times[key] += [taken] if r else []  # the first round warms up
        print(f"{estimator}, digits 64-100-10, batch 200, float32: microseconds an epoch, median of {rounds}")
        base = statistics.median(times["no callback"])
        for key, values in times.items():
            middle = statistics.median(values)
            print(f"  {key:16} {1e6 * middle:7.1f}  {100 * (middle / base - 1):+5.1f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=300)
    main(**vars(parser.parse_args()))
