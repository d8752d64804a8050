"""Messages about data name the argument, what came, and what to do."""

import numpy as np
import pandas as pd
import pytest

from fastdnn import DNNClassifier, DNNRegressor, MLPClassifier, Model, layers

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = (X[:, 0] > 0).astype(int)
HOLE = X.copy()
HOLE[3, 1] = np.nan
SOME = np.array([0.0, 1.0, pd.NA] * 20, object)
FIRST_40 = (np.arange(60) < 40) * 1.0


def fit(y=Y, X=X, loss="cross_entropy", **arguments):
    return Model([layers.Dense(2 if loss == "cross_entropy" else 1)], loss=loss, random_state=0).fit(X, y, **arguments)


def dnn(y=Y, X=X, kind=DNNClassifier, settings=(), **arguments):
    return kind(epochs=1, random_state=0, **dict(settings)).fit(X, y, **arguments)


def needs_a_class(estimator, X, y):
    raise ValueError("no class 7")


LAST = {"validation_fraction": 0.2, "validation_split": "last"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        # validation data
        (lambda: fit(validation_data=(HOLE, Y)), "validation_data: Input X contains NaN"),
        (lambda: fit(X[:, 0], loss="squared_error", validation_data=(X, HOLE[:, 1])), "validation_data: y contains NaN"),
        (lambda: fit(validation_data=(X, Y, -np.ones(60))), "validation_data: sample_weight must be finite and not negative"),
        (lambda: fit(validation_data=(X, Y[:5])), "validation_data: y must have one target for each of the 60 samples"),
        (lambda: fit(validation_data=(X, Y + 1)), "validation_data: class numbers must be 0 to 1"),
        (lambda: dnn(X_val=HOLE, y_val=Y), "X_val and y_val: Input X contains NaN"),
        (lambda: dnn(X_val=X, y_val=SOME), "X_val and y_val: y contains missing values"),
        (lambda: dnn(X_val=X, y_val=Y, sample_weight_val=-np.ones(60)), "sample_weight_val must be finite and not negative"),
        (lambda: dnn(X_val=X, y_val=Y, sample_weight_val=np.zeros(60)), "sample_weight_val must not be all zero"),
        (lambda: dnn(X_val=X, y_val=Y, sample_weight_val=np.ones(7)), r"sample_weight_val must have shape \(60,\)"),
        # what is held out
        (
            lambda: fit(sample_weight=FIRST_40, **LAST),
            "the samples held out by validation_fraction=0.2 all have the weight 0",
        ),
        (lambda: fit(sample_weight=1 - (np.arange(60) < 50), **LAST), "the samples left to train on by validation_fraction"),
        (
            lambda: dnn(settings={"early_stopping": True, "validation_split": "last"}, sample_weight=FIRST_40),
            "the samples held out by validation_fraction=0.1",
        ),
        (
            lambda: fit(scoring=needs_a_class, **LAST),
            "scoring='needs_a_class' cannot judge the 12 validation samples: no class 7 .*hold out more of them",
        ),
        (
            lambda: dnn(np.arange(60) // 48, settings={"scoring": {"mine": "neg_log_loss"}, **LAST}),
            "scoring='mine' cannot judge the 12 validation samples",
        ),
        # missing values
        (lambda: fit(SOME, loss="squared_error"), r"y contains missing values \(<NA>\)"),
        (lambda: fit(pd.array([0, 1, pd.NA] * 20, dtype="Int64")), "y contains NaN, cross_entropy needs class numbers"),
        (lambda: fit(np.where(Y, 1.0, np.nan)), "y contains NaN, cross_entropy needs class numbers"),
        (lambda: fit(X=pd.DataFrame(X).astype(object).replace(X[0, 0], pd.NA)), "X contains missing values"),
        (lambda: dnn(X=pd.DataFrame(X).astype(object).replace(X[0, 0], pd.NA)), "X contains missing values"),
        (lambda: dnn(SOME), "y contains missing values"),
        (lambda: dnn(np.array(["a", None] * 30, object)), r"y contains missing values \(None\)"),
        (lambda: dnn(np.array(["a", np.nan] * 30, object)), r"y contains missing values \(nan\)"),
        (lambda: dnn(["a", None] * 30), r"y contains missing values \(None\)"),
        (lambda: dnn(SOME, kind=DNNRegressor), "y contains missing values"),
        (lambda: MLPClassifier(max_iter=1).fit(X, np.array(["a", None] * 30, object)), "y contains missing values"),
        # strings
        (lambda: fit(X=X.astype(str)), r"X must hold real numbers, got the string '.*'; use X\.astype\(float\)"),
        (lambda: fit(X=X.astype(str).astype(object)), "X must hold real numbers, got the string"),
        (lambda: fit(X[:, 0].astype(str), loss="squared_error"), "y must hold real numbers, got the string"),
        (lambda: fit(sample_weight=np.ones(60).astype(str)), "sample_weight must hold real numbers, got the string"),
        (lambda: Model([layers.Dense(1)]).build(4).predict(X.astype(str)), "X must hold real numbers, got the string"),
        (lambda: dnn(np.array(["a", 1] * 30, object)), "y must hold strings or numbers, got both"),
        (lambda: MLPClassifier(max_iter=1).fit(X, np.array(["a", 1] * 30, object)), "y must hold strings or numbers"),
        # arrays that are not what they seem
        (lambda: fit(X=np.ma.masked_greater(X, 1)), r"X has masked entries; fill them, X\.filled"),
        (lambda: fit(X=X[:, :0]), r"X has no features, its shape is \(60, 0\)"),
        (lambda: fit(X=np.full((60, 4), 1e300)), "Input X contains infinity"),
        (lambda: fit(X=X * np.inf), "Input X contains"),
        # weights
        (lambda: fit(class_weight={0: pd.NA, 1: 1}), "class_weight must hold finite numbers >= 0, got <NA> for class 0"),
        (lambda: dnn(settings={"class_weight": {0: "1", 1: 1}}), "class_weight must hold finite numbers >= 0, got '1'"),
        (lambda: fit(sample_weight=np.zeros(60)), "sample_weight must not be all zero"),
        (lambda: fit(sample_weight=np.full(60, np.nan)), "sample_weight must be finite and not negative, got nan"),
        (
            lambda: dnn(settings={"class_weight": {0: 0, 1: 0}}),
            "class_weight must hold finite numbers >= 0, not all of them 0",
        ),
        (
            lambda: dnn(settings={"class_weight": {0: 0, 1: 1}}, sample_weight=1.0 - Y),
            "class_weight and sample_weight together give every sample the weight 0",
        ),
        (
            lambda: MLPClassifier(class_weight={0: 0, 1: 1}).fit(X, Y, 1.0 - Y),
            "class_weight and sample_weight together give every sample the weight 0",
        ),
        (lambda: fit(class_weight={0: -1, 1: 1}), "class_weight must hold finite numbers >= 0"),
    ],
)
def test_messages_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
