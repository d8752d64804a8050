"""Regression with early stopping: disease progression of 442 patients, scaled inputs and target.

python examples/regression.py
"""

from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastdnn import MLPRegressor


def main(max_iter=500):
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    network = MLPRegressor(
        hidden_layer_sizes=(32, 16),
        activation="tanh",
        early_stopping=True,
        validation_fraction=0.15,
        n_iter_no_change=20,
        max_iter=max_iter,
        random_state=0,
    )
    # A network trains well on inputs and targets of about unit variance; predictions come back in the target's unit.
    model = TransformedTargetRegressor(make_pipeline(StandardScaler(), network), transformer=StandardScaler())
    model.fit(X_train, y_train)
    fitted = model.regressor_[-1]
    error = root_mean_squared_error(y_test, model.predict(X_test))
    print(f"{fitted.n_iter_} epochs, best validation R2 {fitted.best_validation_score_:.3f}")
    print(f"test RMSE {error:.1f} (always predicting the mean: {y_test.std():.1f})")
    return error / y_test.std()


if __name__ == "__main__":
    main()
