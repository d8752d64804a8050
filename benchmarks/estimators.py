"""Whole fits beside scikit-learn's, in turns: Fashion-MNIST, and a grid search over a pipeline with two workers.

    python benchmarks/estimators.py [--fashion FOLDER] [--rounds 3]

FOLDER holds the four idx files (see examples/fashion_mnist.py). Each fit runs in a process of its own; its seconds contain
everything that `fit` does, fastdnn's kernels being read from the cache.
"""

import argparse
import importlib
import json
import pathlib
import statistics
import subprocess
import sys
import time
import warnings

MODULES = {"fastdnn": "fastdnn", "scikit-learn": "sklearn.neural_network"}


def fashion(module, folder):
    """(seconds, test accuracy) of hidden layers (512, 256), 10 epochs, batches of 200, float32 pixels."""
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "examples"))
    from fashion_mnist import load

    X_train, y_train, X_test, y_test = load(folder)
    model = module.MLPClassifier((512, 256), batch_size=200, max_iter=10, random_state=0)
    began = time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - began
    return seconds, model.score(X_test, y_test)


def grid(module, folder):
    """(seconds, best score) of GridSearchCV(n_jobs=2) over a Pipeline on 10,000 x 64 float32, 4 settings, 3 folds."""
    import numpy as np
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    X = rng.standard_normal((10_000, 64)).astype(np.float32)
    y = (np.abs(X[:, :6]).sum(axis=1) * 2).astype(int) % 4
    pipeline = make_pipeline(StandardScaler(), module.MLPClassifier(max_iter=20, random_state=0))
    settings = {"mlpclassifier__alpha": [1e-4, 1e-2], "mlpclassifier__hidden_layer_sizes": [(64,), (64, 32)]}
    search = GridSearchCV(pipeline, settings, cv=3, n_jobs=2)
    began = time.perf_counter()
    search.fit(X, y)
    return time.perf_counter() - began, search.best_score_


TASKS = {"fashion": fashion, "grid": grid}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", metavar="FOLDER", help="folder with Fashion-MNIST; left out without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        task, library, folder = arguments.worker
        warnings.filterwarnings("ignore")
        print(json.dumps(TASKS[task](importlib.import_module(MODULES[library]), folder)))
        return
    for task in TASKS if arguments.fashion else ["grid"]:
        print(TASKS[task].__doc__)
        results = {library: [] for library in MODULES}
        for _ in range(arguments.rounds):
            for library, rows in results.items():
                call = [sys.executable, "-W", "ignore", __file__, "--worker", task, library, arguments.fashion or ""]
                done = subprocess.run(call, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"{library} failed:\n{done.stderr}")
                rows.append(json.loads(done.stdout.splitlines()[-1]))
        seconds = {library: statistics.median(r[0] for r in rows) for library, rows in results.items()}
        for library, rows in results.items():
            print(f"  {library:14}{seconds[library]:8.2f} s   score {rows[0][1]:.4f}")
        print(f"  {seconds['scikit-learn'] / seconds['fastdnn']:.1f} times faster", flush=True)


if __name__ == "__main__":
    main()
