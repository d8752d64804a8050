"""Pipeline and GridSearchCV over hidden sizes, alpha and learning rate, in two worker processes.

python examples/grid_search.py
"""

import time
import warnings

from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastdnn import MLPClassifier


def main(max_iter=60, n_jobs=2):
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=max_iter, random_state=0))
    grid = {
        "mlpclassifier__hidden_layer_sizes": [(20,), (50,), (50, 20)],
        "mlpclassifier__alpha": [1e-4, 1e-1],
        "mlpclassifier__learning_rate_init": [1e-3, 1e-2],
    }
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=n_jobs)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a short fit is enough to compare settings
        search.fit(X_train, y_train)
    fits = len(search.cv_results_["params"]) * search.n_splits_
    print(f"{fits} fits in {time.perf_counter() - began:.1f} s, best cross-validated accuracy {search.best_score_:.3f}")
    for name, value in search.best_params_.items():
        print(f"  {name.split('__')[1]} = {value}")
    accuracy = search.score(X_test, y_test)
    print(f"test accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    # Needed wherever worker processes are started: they import this file.
    main()
