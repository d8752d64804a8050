"""A table with columns of all kinds, and estimators that are fitted to it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_classifier

from fastdnn import TabularClassifier, TabularRegressor

ESTIMATORS = [TabularClassifier, TabularRegressor]
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)


def frame(n=300, seed=0):
    """A table with numbers, gaps, categories, dates, and a column that says nothing; targets in numbers."""
    rng = np.random.default_rng(seed)
    size, city, day = rng.lognormal(3, 1, n), rng.choice(["Oslo", "Rome", "Lima"], n), rng.integers(0, 700, n)
    y = np.log(size) + (city == "Rome") * 2 + np.sin(day / 60) + 0.1 * rng.standard_normal(n)
    size[rng.random(n) < 0.1] = np.nan
    table = pd.DataFrame({
        "size": size,
        "city": city,
        "day": pd.Timestamp("2023-01-01") + pd.to_timedelta(day, unit="D"),
        "rooms": pd.array(rng.integers(1, 6, n), "Int64"),
        "new": rng.random(n) < 0.5,
        "street": [f"s{i}" for i in rng.integers(0, 30, n)],
        "noise": rng.standard_normal(n),
        "nothing": np.full(n, np.nan),
        "one": 1.0,
    })  # fmt: skip
    return table, y


def labels(y):
    return np.where(y > np.median(y), "high", "low")


def fitted(estimator, n=300, **settings):
    X, y = frame(n)
    settings = {"preset": "fast", "epochs": 30, "random_state": 0} | settings
    return estimator(**settings).fit(X, labels(y) if is_classifier(estimator()) else y), X, y


def numbers(model, X):
    return model.predict_proba(X) if is_classifier(model) else model.predict(X)
