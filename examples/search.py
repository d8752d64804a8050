"""A search over the parts of a network: its layers, its optimizer's settings, its schedule; hopeless settings end early.

python examples/search.py
"""

from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the next import possible
from sklearn.model_selection import HalvingRandomSearchCV, train_test_split

from fastdnn import DNNClassifier, layers, schedules


def main(candidates=8, seed=0):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split((X / 16).astype("float32"), y, random_state=seed)
    net = DNNClassifier(
        [layers.Dense(64, activation="relu"), layers.Dropout(0.1)],
        optimizer="adamw",
        schedule=schedules.OneCycle(0.01),
        batch_size=64,
        random_state=seed,
    )
    grid = {
        "layers__0__units": [32, 64, 128],
        "layers__0__activation": ["relu", "gelu", "tanh"],
        "layers__1__rate": [0.0, 0.2, 0.4],
        "optimizer__weight_decay": [0.0, 0.01, 0.1],
        "schedule__rate": [0.003, 0.01, 0.03],
    }
    search = HalvingRandomSearchCV(
        net, grid, n_candidates=candidates, resource="epochs", min_resources=5, max_resources=20, factor=2, cv=3, n_jobs=2,
        random_state=seed,
    ).fit(X_train, y_train)  # fmt: skip
    print(f"{len(search.cv_results_['params'])} fits of {search.n_candidates_} candidates for {search.n_resources_} epochs")
    print("best:", search.best_params_)
    accuracy = search.score(X_test, y_test)
    print(f"test accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
