"""Whole fits and predictions of the estimators beside scikit-learn: pytest benchmarks/test_estimators.py --benchmark-enable

Both run in this process, so their thread pools may disturb each other; `compare.py` takes a process for each.
"""

import pytest
from peers import CASES, data, estimator


@pytest.mark.parametrize("library", ["fastdnn", "scikit-learn"])
@pytest.mark.parametrize("name", ["digits", "tabular"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fit(benchmark, name, library):
    X, y = data(CASES[name] if benchmark.enabled else (600, *CASES[name][1:]))
    model = benchmark.pedantic(estimator(library, CASES[name], 5).fit, (X, y), rounds=5, warmup_rounds=1)
    assert len(model.loss_curve_) == 5


@pytest.mark.parametrize("library", ["fastdnn", "scikit-learn"])
@pytest.mark.parametrize("rows", [1, 32, 1797])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_predict_proba(benchmark, rows, library):
    X, y = data(CASES["digits"])
    model = estimator(library, CASES["digits"], 1).fit(X, y)
    result = benchmark.pedantic(model.predict_proba, (X[:rows],), rounds=50, iterations=5, warmup_rounds=3)
    assert result.shape == (rows, 10)
