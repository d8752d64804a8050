"""A table as it is: categories, dates, gaps, numbers of any scale. Accuracy, what matters, why a prediction is what it is.

python examples/tables.py                                     a table of flats that it makes
python examples/tables.py titanic.csv --target survived       one of yours: classes if the target is no float
"""

import argparse

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from fastdnn import TabularClassifier, TabularRegressor


def flats(n=3000, seed=0):
    """A table of flats and their rents."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({
        "area": rng.lognormal(4.2, 0.4, n).round(1),
        "district": rng.choice(["harbour", "old town", "north", "hills", "station"], n, p=[0.1, 0.2, 0.3, 0.1, 0.3]),
        "street": [f"street {k}" for k in rng.zipf(1.3, n) % 60],
        "built": rng.integers(1880, 2024, n).astype(float),
        "offered": pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 1200, n), unit="D"),
        "lift": rng.random(n) < 0.4,
    })  # fmt: skip
    by_district = table.district.map({"harbour": 1.5, "old town": 1.35, "north": 0.9, "hills": 1.2, "station": 1.0})
    age = np.where(table.built < 1919, 0.1, np.where(table.built > 2010, 0.25, -0.05))
    years = (table.offered - table.offered.min()).dt.days / 365
    rent = 11 * table.area**0.92 * by_district * (1 + age + 0.05 * table.lift) * 1.05**years
    table.loc[rng.random(n) < 0.15, "built"] = np.nan
    return table, (rent * np.exp(0.05 * rng.standard_normal(n))).to_numpy()


def main(path=None, target=None, n=3000, preset="balanced", seed=0):
    if path is None:
        X, y = flats(n, seed)
    else:
        X = pd.read_csv(path)
        y = X.pop(target).to_numpy()
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
    numbers = y.dtype.kind == "f"
    model = (TabularRegressor if numbers else TabularClassifier)(preset, random_state=seed).fit(X, y)
    print(model.summary())
    score = model.score(X_test, y_test)
    print(
        f"\ntest {'R2' if numbers else 'accuracy'} {score:.4f}\n\nwhat matters: how much worse held out rows are without it"
    )
    for i in np.argsort(-model.feature_importances_)[:6]:
        print(f"  {X.columns[i]:12} {model.feature_importances_[i]:8.4g}")
    shares = model.explain(X_test[:1])[0]
    print(f"\nwhy the first row of the test is {model.predict(X_test[:1])[0]!s:.7}, beside a row of medians:")
    for i in np.argsort(-np.abs(shares))[:6]:
        print(f"  {X.columns[i]:12} {X_test.iloc[0, i]!s:12.12} {shares[i]:+8.4g}")
    if numbers:
        low, high = TabularRegressor("fast", quantiles=(0.1, 0.9), random_state=seed).fit(X, y).predict(X_test).T
        inside = np.mean((low <= y_test) & (y_test <= high))
        print(f"\nbetween the quantiles 0.1 and 0.9 are {inside:.1%} of the test rows")
    return score


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?")
    parser.add_argument("--target", help="name of the column to predict")
    parser.add_argument("--preset", default="balanced")
    args = parser.parse_args()
    if args.path and not args.target:
        parser.error("--target says which column of the table is to be predicted")
    main(args.path, args.target, preset=args.preset)
