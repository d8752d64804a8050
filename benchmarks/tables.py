"""Tables as they come: TabularClassifier and TabularRegressor beside scikit-learn's MLP and boosted trees.

    python benchmarks/tables.py [SET ...] [--data FOLDER] [--splits N] [--models fast,balanced,best,mlp,hgb,lightgbm]
    python benchmarks/tables.py [SET ...] [--data FOLDER] --models quantiles

Sets that scikit-learn bundles (diabetes, breast_cancer, wine) need no folder; the others are read from FOLDER/<name>/ as
their sources publish them. Nothing is set by data set. The trees get categories as such, the MLP a pipeline of means,
standard scaling and one-hot columns. Each line is the mean over the splits, with the seconds of a fit and a prediction.
"quantiles" are those of 10, 50 and 90 %: the share of the tests between the outer two, and of rows in which some cross.
"""

import argparse
import gzip
import io
import pathlib
import statistics
import tarfile
import time
import warnings

import numpy as np
import pandas as pd
from sklearn import datasets, metrics
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastdnn import TabularClassifier, TabularRegressor

ADULT = (
    "age workclass fnlwgt education education_years marital occupation relationship race sex gain loss hours country income"
)

# ---------------------------------------------------------------- data


def arff(path):
    """A frame from a gzipped ARFF file; its last column, or the one that holds words, is the target."""
    lines = gzip.open(path, "rt", errors="replace").read().splitlines()
    names = [line.split()[1].strip("'\"") for line in lines if line.lower().startswith("@attribute")]
    first = next(k for k, line in enumerate(lines) if line.lower().startswith("@data")) + 1
    rows = "\n".join(line for line in lines[first:] if line.strip() and not line.startswith("%"))
    frame = pd.read_csv(io.StringIO(rows), names=names, na_values="?", skipinitialspace=True)
    words = [c for c in frame if frame[c].dtype.kind not in "if"]
    return frame, words[0] if words else frame.columns[-1]


def random_splits(X, y, n, strata=False, share=0.2):
    """n splits, of which the tests have that share of the rows."""
    for seed in range(n):
        train, test = train_test_split(np.arange(len(y)), test_size=share, random_state=seed, stratify=y if strata else None)
        yield X.iloc[train], y[train], X.iloc[test], y[test]


def last(X, y, share=0.2):
    """One split: the last rows are the test."""
    n = round((1 - share) * len(y))
    yield X.iloc[:n], y[:n], X.iloc[n:], y[n:]


def uci(folder, name, n):
    """Splits as published with Gal & Ghahramani 2016."""
    with tarfile.open(folder / f"uci_{name}" / f"{name}_splits.tar.gz") as archive:
        names = archive.getnames()

        def read(file):
            return np.loadtxt(archive.extractfile(next(m for m in names if m.endswith(f"/{file}"))))

        data, columns, target = read("data.txt"), read("index_features.txt").astype(int), int(read("index_target.txt"))
        splits = [[read(f"index_{part}_{k}.txt").astype(int) for part in ("train", "test")] for k in range(n)]
    X, y = pd.DataFrame(data[:, columns], columns=[f"x{c}" for c in columns]), data[:, target]
    for train, test in splits:
        yield X.iloc[train], y[train], X.iloc[test], y[test]


def california(folder, n):
    frame, target = arff(folder / "california_housing" / "cal.housing.arff.gz")
    X, y = frame.drop(columns=target), frame[target].to_numpy(float) / 1e5
    for seed in range(n):
        order = np.random.default_rng(seed).permutation(len(y))
        test, train = order[: len(y) // 4], order[len(y) // 4 :]
        yield X.iloc[train], y[train], X.iloc[test], y[test]


def adult(folder, n):
    found = []
    for part in ("train", "test"):
        path = folder / "adult" / f"adult-{part}.csv.gz"
        frame = pd.read_csv(path, names=ADULT.split(), na_values="?", skipinitialspace=True)
        found += [frame.drop(columns="income"), frame.income.str.strip(" .").to_numpy(str)]
    yield tuple(found)


def words(name, strata=True):
    def make(folder, n):
        frame, target = arff(folder / name / f"{name}.arff.gz")
        yield from random_splits(frame.drop(columns=target), frame[target].to_numpy(), n, strata)

    return make


def csv(path, target, dropped=(), splits=random_splits, **settings):
    def make(folder, n):
        frame = pd.read_csv(folder / path).drop(columns=list(dropped))
        X, y = frame.drop(columns=target), frame[target].to_numpy()
        yield from (splits(X, y) if splits is last else splits(X, y, n, **settings))

    return make


def bundled(load, strata):
    def make(folder, n):
        X, y = load(return_X_y=True, as_frame=True)
        yield from random_splits(X, y.to_numpy(), n, strata)

    return make


# name: (splits of (folder, n), their number, task)
SETS = {
    "diabetes": (bundled(datasets.load_diabetes, False), 10, "numbers"),
    "breast_cancer": (bundled(datasets.load_breast_cancer, True), 10, "classes"),
    "wine": (bundled(datasets.load_wine, True), 10, "classes"),
    "energy": (lambda folder, n: uci(folder, "energy", n), 20, "numbers"),
    "concrete": (lambda folder, n: uci(folder, "concrete", n), 20, "numbers"),
    "kin8nm": (lambda folder, n: uci(folder, "kin8nm", n), 5, "numbers"),
    "power_plant": (lambda folder, n: uci(folder, "power_plant", n), 5, "numbers"),
    "california": (california, 3, "numbers"),
    "diamonds": (csv("diamonds/diamonds.csv.gz", "price"), 2, "numbers"),
    "bike_sharing": (
        csv("bike_sharing/hour.csv.gz", "cnt", ("instant", "dteday", "casual", "registered"), last), 1, "counts",
    ),
    "adult": (adult, 1, "classes"),
    "spambase": (words("spambase"), 5, "classes"),
    "letter": (words("letter"), 2, "classes"),
    "titanic": (csv("titanic/titanic.csv.gz", "survived", ("alive",), strata=True), 10, "classes"),
    "electricity": (csv("electricity_elec2/elec.csv.gz", "class", splits=last), 1, "classes"),
}  # fmt: skip

# ---------------------------------------------------------------- models

QUANTILES = 0.1, 0.5, 0.9


def for_trees(X, X_test):
    """The tables with what is no number as categories, and names that LightGBM takes."""
    X, X_test = X.copy(), X_test.copy()
    for c in X:
        if X[c].dtype.kind not in "iuf":
            X[c] = X[c].astype("category")
            X_test[c] = pd.Categorical(X_test[c], categories=X[c].cat.categories)
    X.columns = X_test.columns = [f"x{i}" for i in range(X.shape[1])]
    return X, X_test


def prepared(X, model):
    """A pipeline for networks that take no gaps, scales and categories."""
    numbers = [c for c in X if X[c].dtype.kind in "iuf"]
    others = [c for c in X if c not in numbers]
    hot = make_pipeline(FillText(), OneHotEncoder(handle_unknown="ignore"))
    return make_pipeline(
        make_column_transformer((make_pipeline(SimpleImputer(), StandardScaler()), numbers), (hot, others)), model
    )


def FillText():
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(lambda X: X.astype(object).where(X.notna(), "missing").astype(str))


def models(task, seed, names, X):
    """name -> (model, whether it gets tables for trees)"""
    classes = task == "classes"
    ours = TabularClassifier if classes else TabularRegressor
    mlp, trees = (MLPClassifier, HistGradientBoostingClassifier) if classes else (MLPRegressor, HistGradientBoostingRegressor)
    found = {
        "fast": (ours("fast", random_state=seed), False),
        "balanced": (ours(random_state=seed), False),
        "best": (ours("best", random_state=seed), False),
        "mlp": (prepared(X, mlp(random_state=seed)), False),
        "hgb": (trees(random_state=seed, categorical_features="from_dtype"), True),
    }
    if not classes:
        found["quantiles"] = TabularRegressor(quantiles=QUANTILES, random_state=seed), False
    if "lightgbm" in names:
        import lightgbm

        kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
        found["lightgbm"] = kind(random_state=seed, verbose=-1), True
    return {name: found[name] for name in names if name in found}


def scores(task, model, X, y):
    """What is printed of a fitted model."""
    if task == "classes":
        p = model.predict_proba(X)
        numbers = np.searchsorted(model.classes_, y)
        several = {"multi_class": "ovr", "labels": np.arange(p.shape[1])} if p.shape[1] > 2 else {}
        return {
            "accuracy": metrics.accuracy_score(numbers, p.argmax(axis=1)),
            "log loss": metrics.log_loss(numbers, p, labels=np.arange(p.shape[1])),
            "ROC AUC": metrics.roc_auc_score(numbers, p if several else p[:, 1], **several),
        }
    p = model.predict(X)
    if p.ndim == 2:
        inside, crossing = (p[:, 0] <= y) & (y <= p[:, 2]), (np.diff(p, axis=1) < 0).any(axis=1)
        return {"coverage": inside.mean(), "crossing": crossing.mean(), "width": (p[:, 2] - p[:, 0]).mean()}
    found = {"RMSE": metrics.root_mean_squared_error(y, p)}
    if task == "counts":
        p = np.maximum(p, 1e-3)
        found["RMSLE"] = metrics.root_mean_squared_log_error(y, p)
        found["Poisson deviance"] = metrics.mean_poisson_deviance(y, p)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}")
    parser.add_argument("--data", type=pathlib.Path, help="folder with the sets that are not bundled")
    parser.add_argument("--splits", type=int, help="at most so many of each set")
    parser.add_argument("--models", default="fast,balanced,mlp,hgb,lightgbm")
    args = parser.parse_args()
    names = args.models.split(",")
    for name in args.sets or (list(SETS) if args.data else ["diabetes", "breast_cancer", "wine"]):
        make, n, task = SETS[name]
        found = {}
        for seed, (X, y, X_test, y_test) in enumerate(make(args.data, min(n, args.splits or n))):
            trees = for_trees(X, X_test)
            for key, (model, for_tree) in models(task, seed, names, X).items():
                a, b = trees if for_tree else (X, X_test)
                began = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of MLPs that have not converged
                    model.fit(a, y)
                    values = scores(task, model, b, y_test)
                found.setdefault(key, []).append(values | {"s": time.perf_counter() - began})
        for key, rows in found.items():
            means = {metric: statistics.fmean(row[metric] for row in rows) for metric in rows[0]}
            print(f"{name:14} {key:9}", "  ".join(f"{metric} {value:.4g}" for metric, value in means.items()), flush=True)


if __name__ == "__main__":
    main()
