"""DNNClassifier and DNNRegressor: scikit-learn's checks, any layers, nested parameters, searches."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_multilabel_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the next import possible
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_get_feature_names_out_error,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    parametrize_with_checks,
)

from fastdnn import (
    DNNClassifier,
    DNNRegressor,
    Model,
    callbacks,
    config_context,
    layers,
    losses,
    optimizers,
    schedules,
)

ESTIMATORS = DNNClassifier, DNNRegressor
DIGITS = train_test_split(*load_digits(return_X_y=True), random_state=0)
CANCER = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)


# ---------------------------------------------------------------- scikit-learn's own checks


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # one sample, one class
@parametrize_with_checks([cls() for cls in ESTIMATORS])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:X .* feature names:UserWarning")  # the checks mix frames and arrays on purpose
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "check",
    [
        check_param_validation,
        check_dataframe_column_names_consistency,
        check_get_feature_names_out_error,
        check_set_output_transform,
        check_set_output_transform_pandas,
        check_transformer_get_feature_names_out,
        check_transformer_get_feature_names_out_pandas,
    ],
)
def test_checks_outside_the_suite(estimator, check):
    check(estimator.__name__, estimator(epochs=5))


# ---------------------------------------------------------------- networks


def test_the_short_way_and_the_long_way():
    X, _, y, _ = DIGITS
    short = DNNClassifier(
        hidden_layer_sizes=(20, 10), activation=["relu", "tanh"], dropout=[0.1, 0], epochs=2, random_state=0
    )
    long = DNNClassifier(
        [layers.Dense(20, activation="relu"), layers.Dropout(0.1), layers.Dense(10, activation="tanh")],
        epochs=2,
        random_state=0,
    )
    np.testing.assert_array_equal(short.fit(X, y).model_.params, long.fit(X, y).model_.params)
    assert short.model_.layers[-1] == layers.Dense(10)


def test_a_fit_is_the_models():
    X, X_test, y, _ = DIGITS
    clf = DNNClassifier(
        [layers.Dense(20, activation="relu"), layers.BatchNorm()], epochs=3, batch_size=64, random_state=7
    ).fit(X, y)
    model = Model([*clf.layers, layers.Dense(10)], "cross_entropy", "adam", "float64", clf.model_.seed)
    model.fit(X, y, epochs=3, batch_size=64)
    np.testing.assert_array_equal(clf.predict_proba(X_test), model.predict(X_test))
    assert clf.history_["loss"] == model.history["loss"]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "strings"])
def test_classification(kind):
    if kind == "multilabel":
        X, y = make_multilabel_classification(300, 10, n_classes=4, random_state=0)
    else:
        X, y = load_breast_cancer(return_X_y=True) if kind == "binary" else load_digits(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        y = np.array([f"class {c}" for c in y]) if kind == "strings" else y
    clf = DNNClassifier(epochs=60, optimizer=optimizers.Adam(0.02), random_state=0).fit(X, y)
    p, scores, predicted = clf.predict_proba(X), clf.decision_function(X), clf.predict(X)
    assert clf.score(X, y) > (0.6 if kind == "multilabel" else 0.97)
    assert p.shape == (len(y), clf.classes_.size if kind != "multilabel" else 4)
    if kind == "multilabel":
        np.testing.assert_allclose(p, 1 / (1 + np.exp(-scores)), rtol=1e-10)
    elif kind == "binary":
        assert scores.shape == (len(y),)
        np.testing.assert_array_equal(predicted == clf.classes_[1], scores > 0)
    else:
        np.testing.assert_array_equal(predicted, clf.classes_[scores.argmax(axis=1)])


def test_regression_with_several_targets_and_quantiles():
    X, y = load_diabetes(return_X_y=True)
    both = np.column_stack([y, -y]) / y.std()
    regr = DNNRegressor(epochs=100, optimizer=optimizers.Adam(0.01), random_state=0).fit(X, both)
    assert regr.predict(X).shape == both.shape
    assert regr.score(X, both) > 0.5
    regr = DNNRegressor(loss=losses.Quantile((0.1, 0.5, 0.9)), optimizer=optimizers.Adam(0.01), random_state=0).fit(
        X, y / y.std()
    )
    low, _, high = regr.predict(X).T
    assert np.mean(low <= high) > 0.95
    assert regr.score(X, y / y.std()) > 0.3
    with pytest.raises(ValueError, match="take a classifier"):
        DNNRegressor(loss="log_loss").fit(X, y)


def test_class_weight_and_focal_loss():
    X, X_test, y, y_test = CANCER
    weighted = make_pipeline(StandardScaler(), DNNClassifier(class_weight={0: 1, 1: 1e-6}, epochs=20, random_state=0)).fit(
        X, y
    )
    assert (weighted.predict(X_test) == 0).mean() > 0.9
    focal = make_pipeline(StandardScaler(), DNNClassifier(loss=losses.Focal(), epochs=60, random_state=0)).fit(X, y)
    assert focal.score(X_test, y_test) > 0.95


def test_images_go_in_as_they_are():
    X, _, y, _ = DIGITS
    images = X.reshape(-1, 8, 8)
    clf = DNNClassifier([layers.Flatten(), layers.Dense(20, activation="relu")], epochs=2, random_state=0).fit(images, y)
    flat = DNNClassifier([layers.Dense(20, activation="relu")], epochs=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(images), flat.predict_proba(X))
    assert clf.transform(images[:3]).shape == (3, 20)
    with pytest.raises(ValueError, match="Found array with dim 3"):
        DNNClassifier().fit(images, y)


def test_sparse_samples():
    X, _, y, _ = DIGITS
    dense = DNNClassifier(epochs=2, random_state=0).fit(X, y)
    sparse = DNNClassifier(epochs=2, random_state=0).fit(scipy.sparse.csr_matrix(X), y)
    np.testing.assert_allclose(
        sparse.predict_proba(scipy.sparse.csr_matrix(X)), dense.predict_proba(X), rtol=1e-9, atol=1e-12
    )


def test_hidden_features_have_names():
    X, _, y, _ = CANCER
    X = X / 1000
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(30)])
    clf = (
        DNNClassifier(
            [layers.Dense(8, activation="tanh"), layers.Dropout(0.1), layers.Dense(4, activation="relu")],
            epochs=2,
            random_state=0,
        )
        .set_output(transform="pandas")
        .fit(frame, y)
    )
    hidden = clf.transform(frame)
    assert list(hidden.columns) == [f"dnnclassifier{i}" for i in range(4)]
    first = clf.set_params(transform_layer=0).transform(frame)
    kernel, bias = clf.model_.weights["0.dense.kernel"], clf.model_.weights["0.dense.bias"]
    np.testing.assert_allclose(first, np.tanh(X @ kernel + bias), rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="transform_layer must be from -3 to 2"):
        clf.set_params(transform_layer=3).transform(frame)


def test_dtypes():
    X, _, y, _ = DIGITS
    assert DNNClassifier(epochs=1).fit(X.astype("f4"), y).predict_proba(X.astype("f4")).dtype == "float32"
    assert DNNClassifier(epochs=1).fit(X, y).predict_proba(X).dtype == "float64"
    assert DNNClassifier(epochs=1).fit(X.astype(int), y).model_.dtype == "float64"


def test_same_bits_on_any_number_of_threads():
    X, _, y, _ = DIGITS
    found = set()
    for n in (1, 2, 3):
        with config_context(n_threads=n):
            clf = DNNClassifier(
                [layers.Dense(50, activation="relu"), layers.BatchNorm(), layers.Dropout(0.2)], epochs=3, early_stopping=True,
                schedule=schedules.OneCycle(0.01), random_state=0,
            ).fit(X, y)  # fmt: skip
        found.add(clf.model_.params.tobytes())
    assert len(found) == 1


# ---------------------------------------------------------------- parameters


def test_nested_parameters():
    net = [layers.Dense(20), layers.Dropout(0.1)]
    clf = DNNClassifier(net, optimizer=optimizers.Adam(schedules.OneCycle(0.1)), callbacks=[callbacks.EarlyStopping("loss")])
    params = clf.get_params()
    assert params["layers__1__rate"] == 0.1
    assert params["optimizer__learning_rate__rate"] == 0.1
    assert params["callbacks__0__patience"] == 10
    other = clone(clf).set_params(
        layers__1__rate=0.5, optimizer__learning_rate=0.2, callbacks__0__patience=3, loss__gamma=3.0, loss="focal"
    )
    assert other.layers == [layers.Dense(20), layers.Dropout(0.5)]
    assert other.optimizer == optimizers.Adam(0.2)
    assert other.loss == losses.Focal(3.0)
    assert clf.layers is net
    assert net == [layers.Dense(20), layers.Dropout(0.1)]
    assert DNNClassifier().set_params(optimizer__learning_rate=0.5).optimizer == optimizers.Adam(0.5)
    for name in ("layers__7__rate", "layers__1__rat", "optimizer__rate", "nothing__x", "nothing", "epochs__x"):
        with pytest.raises(ValueError, match=r"no position|no parameter|Invalid parameter"):
            clf.set_params(**{name: 1})
    assert "Dropout(rate=0.1)" in repr(clf)


@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_searches_over_parts_are_the_same_in_workers(search):
    X, _, y, _ = DIGITS
    X, y = X[:400], y[:400]
    clf = DNNClassifier(
        [layers.Dense(16, activation="relu"), layers.Dropout(0.1)], optimizer="adamw", schedule=schedules.OneCycle(0.01),
        early_stopping=True, patience=3, scoring="neg_log_loss",
        callbacks=[callbacks.TimeLimit(1000), callbacks.ReduceLROnPlateau("loss")], random_state=0,
    )  # fmt: skip
    grid = {"layers__1__rate": [0.0, 0.4], "optimizer__weight_decay": [0.0, 0.1], "schedule__rate": [0.01]}
    more = (
        {"resource": "epochs", "min_resources": 2, "max_resources": 8, "factor": 2} if search is HalvingGridSearchCV else {}
    )
    clf.set_params(epochs=4)
    results = [search(clf, grid, cv=2, n_jobs=n, **({"random_state": 0} | more if more else {})).fit(X, y) for n in (1, 2)]
    for key in ("mean_test_score", "std_test_score", "param_layers__1__rate"):
        np.testing.assert_array_equal(results[0].cv_results_[key], results[1].cv_results_[key])
    if more:
        assert results[0].n_resources_[-1] == 8
        assert results[0].best_estimator_.epochs == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": [3]}, "layers must be a list of fastdnn layers"),
        ({"optimizer": "adm"}, "optimizer must be an Optimizer or one of"),
        ({"activation": "rele"}, "activation must be one of"),
        ({"activation": ["relu"] * 2}, "one for each of the 1 hidden layers"),
        ({"loss": losses.CrossEntropy(), "epochs": 1}, "does not fit two classes"),
        ({"scoring": "accuracy"}, "scoring needs validation data"),
        ({"validation_fraction": 0.1, "validation_split": "grouped"}, "belong together"),
        ({"callbacks": [callbacks.EarlyStopping("val_f1")]}, "needs validation data"),
        ({"schedule": schedules.OneCycle(0.1), "optimizer": "lbfgs"}, "schedule cannot be used with optimizer='lbfgs'"),
        ({"early_stopping": True, "scoring": "acc"}, "acc"),
    ],
)
def test_mistakes_say_what_to_do_and_change_nothing(settings, message):
    X, _, y, _ = CANCER
    clf = DNNClassifier(epochs=1, random_state=0).fit(X, y)
    before = dict(vars(clf))
    with pytest.raises(ValueError, match=message):
        clf.set_params(**settings).fit(X, y)
    assert vars(clf) == before | settings


def test_a_misspelt_parameter():
    with pytest.raises(TypeError, match="epoch"):
        DNNClassifier(epoch=3)
