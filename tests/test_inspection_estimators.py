"""Gradients of the scores of estimators: labels, outputs, frames, and what their messages say."""

import naive
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from fastdnn import DNNClassifier, DNNRegressor, MLPClassifier, MLPRegressor, layers
from fastdnn.inspection import input_gradients, integrated_gradients

BOTH = [input_gradients, integrated_gradients]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("cls", [DNNClassifier, MLPClassifier])
@pytest.mark.parametrize("labels", [["b", "a", "c"], [3, 7, 5], ["yes", "no"], [False, True]])
def test_labels_of_classifiers(cls, labels):
    rng, numbers = np.random.default_rng(0), np.arange(60) % len(labels)
    X, y = rng.standard_normal((60, 4)) + 2 * numbers[:, None], np.array(labels)[numbers]
    epochs = {"epochs": 5} if cls is DNNClassifier else {"max_iter": 5}
    model = cls(hidden_layer_sizes=(8,), activation="tanh", random_state=0, **epochs).fit(X, y)
    X, middle = X[:5].copy(), X.mean(axis=0)

    def score(X, number):
        z = model._fitted_network().forward(X)
        return z[:, number] if len(labels) > 2 else z[:, 0] if number == 1 else -z[:, 0]

    for number, label in enumerate(model.classes_):
        numeric = naive.central_difference(lambda number=number: score(X, number).sum(), X, h=1e-5)
        for target in (label, label.item(), [label] * 5, np.array([label] * 5), pd.Series([label] * 5)):
            np.testing.assert_allclose(input_gradients(model, X, target), numeric, rtol=1e-6, atol=1e-9)
        shares = integrated_gradients(model, X, label, middle).sum(axis=1)
        np.testing.assert_allclose(shares, score(X, number) - score(middle[None], number), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(input_gradients(model, X), input_gradients(model, X, model.predict(X)))
    with pytest.raises(ValueError, match=r"target must be one of the classes \[.*\], or an array of them, got 'else'"):
        input_gradients(model, X, ["else"] * 5)


def test_several_labels():
    X = np.random.default_rng(0).standard_normal((80, 3))
    model = DNNClassifier(hidden_layer_sizes=(8,), epochs=3, random_state=0).fit(X, (X > 0).astype(int))
    np.testing.assert_array_equal(input_gradients(model, X, 2), input_gradients(model.model_, X, 2))
    largest = model.predict_proba(X).argmax(axis=1)
    np.testing.assert_array_equal(input_gradients(model, X), input_gradients(model, X, largest))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "model", [DNNRegressor(epochs=3), MLPRegressor(max_iter=3), MLPRegressor(solver="lbfgs", max_iter=3)]
)
def test_regressors(model, dtype):
    X = np.random.default_rng(0).standard_normal((80, 3)).astype(dtype)
    model.set_params(hidden_layer_sizes=(8,), activation="tanh", random_state=0)
    model.fit(X, X[:, 0] - X[:, 1])
    gradient = input_gradients(model, X)
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, input_gradients(model, X, 0))
    difference = model.predict(X) - model.predict(np.zeros((1, 3), dtype))
    np.testing.assert_allclose(integrated_gradients(model, X).sum(axis=1), difference, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"target must be one of the outputs \[0\], or an array of them, got 1"):
        input_gradients(model, X, 1)
    model.fit(X, X[:, :2])
    difference = model.predict(X)[:, 1] - model.predict(np.ones((1, 3), dtype))[:, 1]
    np.testing.assert_allclose(integrated_gradients(model, X, 1, 1).sum(axis=1), difference, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(input_gradients(model, X), input_gradients(model, X, 0))


def test_images_of_an_estimator_and_frames(recwarn):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6, 8, 2)), np.arange(40) % 4
    stack = [layers.Conv2D(8, 3, padding="same"), layers.BatchNorm(activation="tanh"), layers.AvgPool2D(), layers.Flatten()]
    model = DNNClassifier(stack, epochs=1, random_state=0).fit(X, y)
    assert integrated_gradients(model, X, steps=3).shape == input_gradients(model, X).shape == X.shape
    frame = pd.DataFrame(rng.standard_normal((40, 3)), columns=list("abc"))
    model = DNNClassifier(hidden_layer_sizes=(4,), epochs=1, random_state=0).fit(frame, y)
    assert type(input_gradients(model, frame)) is np.ndarray
    with pytest.raises(ValueError, match="feature names should match"):
        input_gradients(model, frame[["c", "b", "a"]])
    assert integrated_gradients(model, frame, baseline=frame.mean()).shape == (40, 3)


def test_estimators_say_what_is_wrong():
    X = np.random.default_rng(0).standard_normal((20, 3))
    for function in BOTH:
        for estimator in (DNNClassifier(), DNNRegressor(), MLPClassifier(), MLPRegressor()):
            with pytest.raises(NotFittedError, match="not fitted yet"):
                function(estimator, X)
        model = DNNRegressor(epochs=1, random_state=0).fit(scipy.sparse.csr_array(X), X[:, 0])
        with pytest.raises(ValueError, match="X must be a dense array, got a sparse matrix; use X"):
            function(model, scipy.sparse.csr_array(X))
        with pytest.raises(ValueError, match="Input X contains NaN"):
            function(model, np.where(X > 1, np.nan, X))
        with pytest.raises(ValueError, match="X has 2 features, but DNNRegressor is expecting 3 features"):
            function(model, X[:, :2])
        with pytest.raises(ValueError, match="got GridSearchCV; pass its best_estimator_"):
            function(GridSearchCV(model, {"epochs": [1]}, cv=2).fit(X, X[:, 0]), X)
