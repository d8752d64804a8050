"""DNNClassifier and DNNRegressor on sequences: ids, masks, a label or a number for each step."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from fastdnn import DNNClassifier, DNNRegressor, layers
from fastdnn.optimizers import Adam

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(3, 13, 200)
IDS = RNG.integers(1, 30, (200, 12))
IDS[np.arange(12) >= LENGTHS[:, None]] = 0
NAMES = np.array(["a", "b", "c"])
LAST_IDS = NAMES[IDS[np.arange(200), LENGTHS - 1] % 3]


def classifier(sequences, **settings):
    settings = {"epochs": 40, "batch_size": 32, "random_state": 0, "optimizer": Adam(0.01), **settings}
    return DNNClassifier([layers.Embedding(30, 8, mask_zero=True), layers.GRU(16, return_sequences=sequences)], **settings)


def test_a_label_a_sequence():
    fitted = classifier(False).fit(IDS, LAST_IDS)
    assert fitted.score(IDS, LAST_IDS) > 0.9
    assert fitted.model_.dtype == np.float32
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(IDS), fitted.predict_proba(IDS))
    np.testing.assert_array_equal(fitted.predict(IDS.astype("uint8")), fitted.predict(IDS))
    assert fitted.transform(IDS).shape == (200, 16)
    assert cross_val_score(clone(fitted), IDS, LAST_IDS, cv=3).mean() > 0.5


def test_grid_search_over_units():
    grid = {"layers__1__units": [1, 8]}
    search = GridSearchCV(classifier(False), grid, cv=2).fit(IDS, LAST_IDS)
    assert search.best_params_ == {"layers__1__units": 8}


@pytest.mark.parametrize("labels", [NAMES[IDS % 3], np.where(IDS % 2, "odd", "even"), IDS % 3 - 1])
def test_a_label_a_step(labels):
    fitted = classifier(True).fit(IDS, labels)
    counted, classes = IDS > 0, np.unique(labels)
    predicted = fitted.predict(IDS)
    assert predicted.shape == (200, 12)
    np.testing.assert_array_equal(fitted.classes_, classes)
    assert fitted.score(IDS, labels) == (predicted == labels)[counted].mean() > 0.95
    probabilities = fitted.predict_proba(IDS)
    assert probabilities.shape == (200, 12, len(classes))
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(classes[probabilities.argmax(axis=-1)], predicted)


def test_labels_of_steps_that_do_not_count_are_no_classes():
    labels = np.where(IDS > 0, NAMES[IDS % 3], "padding")
    fitted = classifier(True, epochs=2, early_stopping=True, validation_fraction=0.2).fit(IDS, labels)
    np.testing.assert_array_equal(fitted.classes_, NAMES)
    assert 0 <= fitted.history_["val_accuracy"][-1] <= 1
    held_out = classifier(True, epochs=2).fit(IDS, labels, X_val=IDS[:50], y_val=labels[:50])
    assert held_out.history_["val_accuracy"][-1] == pytest.approx(held_out.score(IDS[:50], labels[:50]))


@pytest.mark.parametrize("several", [False, True])
def test_numbers_of_steps(several):
    X = RNG.standard_normal((200, 10, 3))
    sums = np.cumsum(X.sum(axis=2), axis=1)
    y = np.stack([sums, -sums], axis=-1) if several else sums
    settings = {"epochs": 60, "batch_size": 16, "random_state": 0, "validation_fraction": 0.2, "validation_split": "last"}
    fitted = DNNRegressor([layers.LSTM(16, return_sequences=True)], **settings).fit(X, y)
    assert fitted.predict(X).shape == y.shape
    assert fitted.score(X, y) > 0.9
    assert fitted.model_.dtype == np.float64
    weights = np.repeat([1.0, 0.0], 100)
    assert fitted.score(X, y, weights) == pytest.approx(fitted.score(X[:100], y[:100]))


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (IDS + 0.5, LAST_IDS, "must hold integers"),
        (IDS - 1, LAST_IDS, "ids of 0 to 29 for its Embedding, got -1"),
        (IDS + 1, LAST_IDS, "got 30|ids of 0 to 29"),
        (np.zeros_like(IDS), LAST_IDS, "no step of row 0"),
        (IDS.astype(str), LAST_IDS, "must hold integers, the ids of tokens, got strings; .*TextTokenizer"),
        (["a text", "another"] * 100, LAST_IDS, "got strings; .*TextTokenizer"),
    ],
)
def test_bad_ids(X, y, message):
    X = np.where(X == 30, 99, X) if getattr(X, "dtype", np.dtype(str)).kind in "iu" else X
    if message.startswith("got 30"):
        X = X.copy()
        X[4, 2] = 30
    with pytest.raises(ValueError, match=message):
        classifier(False, epochs=1).fit(X, y)


def test_targets_that_do_not_fit_the_steps():
    with pytest.raises(ValueError, match=r"y must have shape \(200, 12\) or .*without return_sequences"):
        classifier(True).fit(IDS, LAST_IDS)
    with pytest.raises(ValueError, match="class_weight must be None"):
        classifier(True, class_weight="balanced").fit(IDS, IDS % 3)
