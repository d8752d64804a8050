"""DNNClassifier and DNNRegressor: scikit-learn's checks, any layers, nested parameters, validation, searches."""

import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_multilabel_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the next import possible
from sklearn.metrics import roc_auc_score
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
    MLPClassifier,
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


# ---------------------------------------------------------------- validation


def test_early_stopping_on_a_score_restores_the_best_epoch():
    X, _, y, _ = CANCER
    clf = DNNClassifier(
        epochs=200, early_stopping=True, patience=5, scoring=["roc_auc", "f1"],
        optimizer=optimizers.Adam(0.02), random_state=0,
    ).fit(X, y)  # fmt: skip
    history, (stop,) = clf.history_, clf.callbacks_
    assert stop.monitor == "val_roc_auc"
    assert stop.best_epoch_ == history.best("val_roc_auc")
    assert clf.n_epochs_ == stop.best_epoch_ + 1 + 5 < 200
    assert "val_roc_auc was best in epoch" in history.stopped
    again = clone(clf).set_params(epochs=stop.best_epoch_ + 1).fit(X, y)
    np.testing.assert_array_equal(again.model_.params, clf.model_.params)


def test_labels_of_validation_samples_are_the_users():
    X, X_test, y, y_test = CANCER
    y, y_test = np.array(["no", "yes"])[y], np.array(["no", "yes"])[y_test]
    clf = DNNClassifier(epochs=3, scoring={"f1": sklearn.metrics.make_scorer(sklearn.metrics.f1_score, pos_label="no")})
    clf.fit(X, y, X_val=X_test, y_val=y_test, sample_weight_val=np.ones(len(y_test)))
    assert clf.history_["val_f1"][-1] == sklearn.metrics.f1_score(y_test, clf.predict(X_test), pos_label="no")
    with pytest.raises(ValueError, match=r"y_val has classes that y has not: \['maybe'\]"):
        clf.fit(X, y, X_val=X_test, y_val=np.full(len(y_test), "maybe"))
    with pytest.raises(ValueError, match="belong together"):
        clf.fit(X, y, X_val=X_test)
    with pytest.raises(ValueError, match="must be None where X_val"):
        clone(clf).set_params(validation_fraction=0.1).fit(X, y, X_val=X_test, y_val=y_test)


def test_validation_samples_in_a_pipeline():
    X, X_test, y, y_test = CANCER
    frame, frame_test = (pd.DataFrame(a, columns=[f"c{i}" for i in range(30)]) for a in (X, X_test))
    with sklearn.config_context(enable_metadata_routing=True):
        clf = DNNClassifier(epochs=30, scoring="roc_auc", early_stopping=True, random_state=0)
        clf.set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), clf, transform_input=["X_val"])
        pipeline.fit(frame, y, X_val=frame_test, y_val=y_test)
    auc = roc_auc_score(y_test, pipeline.predict_proba(frame_test)[:, 1])
    assert auc == pytest.approx(max(clf.history_["val_roc_auc"] if hasattr(clf, "history_") else [auc]))
    assert auc > 0.98
    fitted = pipeline[-1]
    assert max(fitted.history_["val_roc_auc"]) == pytest.approx(auc)


def test_groups_and_series():
    X, y = load_diabetes(return_X_y=True)
    groups = np.arange(len(y)) // 20
    regr = DNNRegressor(epochs=2, validation_fraction=0.3, random_state=0).fit(X, y, groups=groups)
    assert "val_r2" in regr.history_
    series = DNNRegressor(epochs=2, validation_fraction=0.25, validation_split="last", shuffle=False, random_state=0).fit(
        X, y
    )
    n = len(y) - int(np.ceil(0.25 * len(y)))
    same = DNNRegressor(epochs=2, shuffle=False, random_state=0).fit(X[:n], y[:n], X_val=X[n:], y_val=y[n:])
    assert series.history_["val_loss"] == same.history_["val_loss"]


# ---------------------------------------------------------------- going on


def test_partial_fit_is_an_epoch():
    X, _, y, _ = DIGITS
    clf = DNNClassifier(shuffle=False, random_state=0)
    for _ in range(3):
        clf.partial_fit(X, y, classes=np.arange(10))
    whole = DNNClassifier(shuffle=False, epochs=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(clf.model_.params, whole.model_.params)
    assert clf.history_["loss"] == whole.history_["loss"]
    with pytest.raises(ValueError, match="classes not in"):
        clf.partial_fit(X[:2], [1, 77])
    with pytest.raises(ValueError, match="give total"):
        DNNClassifier(schedule=schedules.OneCycle(0.1)).partial_fit(X, y, classes=np.arange(10))
    with pytest.raises(ValueError, match="does not hold samples out"):
        DNNClassifier(early_stopping=True).partial_fit(X, y, classes=np.arange(10))


def test_warm_start_goes_on():
    X, _, y, _ = DIGITS
    clf = DNNClassifier(epochs=2, warm_start=True, random_state=0).fit(X, y)
    before = clf.model_.params.copy()
    loss = clf.history_["loss"][-1]
    clf.fit(X, y)
    assert clf.history_["loss"][0] < loss
    assert (clf.model_.params != before).any()
    with pytest.raises(ValueError, match="warm_start=False"):
        clf.set_params(hidden_layer_sizes=(7,)).fit(X, y)


def test_ctrl_c_leaves_a_fitted_estimator(interruptible):
    import os
    import signal

    X, _, y, _ = DIGITS
    strike = callbacks.LambdaCallback(
        lambda fit: threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start() if fit.epoch == 2 else None
    )
    clf = DNNClassifier(epochs=10**6, callbacks=[strike], random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf.fit(X, y)
    assert clf.history_.stopped == "interrupted by the user (Ctrl-C)"
    assert clf.score(X, y) > 0.05


def test_pickles(tmp_path):
    X, X_test, y, _ = DIGITS
    clf = DNNClassifier([layers.Dense(9), layers.BatchNorm()], epochs=2, early_stopping=True, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(X_test), clf.predict_proba(X_test))
    assert again.history_ == clf.history_
    clf.model_.save(tmp_path / "m.fdnn")
    np.testing.assert_array_equal(Model.load(tmp_path / "m.fdnn").predict(X_test), clf.predict_proba(X_test))
    for estimator in (clf, again):
        estimator.set_params(early_stopping=False).partial_fit(X, y)
    np.testing.assert_array_equal(again.model_.params, clf.model_.params)


class Recorder:
    """scikit-learn's protocol, noting what is called."""

    def __init__(self):
        self.seen = []

    def setup(self, estimator, context):
        self.seen.append("setup")

    def teardown(self, estimator, context):
        self.seen.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.seen.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context):
        self.seen.append(f"end {context.task_name}")


def test_scikit_learns_callbacks_end_after_an_error():
    X, _, y, _ = CANCER
    recorder = Recorder()

    def fail(fit):
        raise RuntimeError("no")

    clf = DNNClassifier(callbacks=[callbacks.LambdaCallback(fail)]).set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="no"):
        clf.fit(X, y)
    assert recorder.seen[-1] == "teardown"
    assert not hasattr(clf, "model_")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["dnn", "mlp"])
def test_scikit_learns_callbacks_with_lbfgs(name):
    X, _, y, _ = CANCER
    X = StandardScaler().fit_transform(X)
    recorder = Recorder()
    kinds = {"dnn": DNNClassifier(optimizer="lbfgs", epochs=3), "mlp": MLPClassifier(solver="lbfgs", max_iter=3)}
    kinds[name].set_callbacks(recorder).fit(X, y)
    assert recorder.seen == ["setup", "begin fit", *["begin epoch", "end epoch"] * 3, "end fit", "teardown"]


def test_no_partial_fit_with_lbfgs():
    assert not hasattr(DNNClassifier(optimizer="lbfgs"), "partial_fit")
    assert hasattr(DNNClassifier(), "partial_fit")


def test_a_callback_shared_by_clones_is_copied():
    X, _, y, _ = CANCER
    stop = callbacks.EarlyStopping("loss", patience=2)
    one, two = (DNNClassifier(epochs=n, random_state=0).set_callbacks(stop).fit(X, y) for n in (5, 3))
    assert one.callbacks_[0] is not two.callbacks_[0]
    assert not hasattr(stop, "best_")


@pytest.mark.parametrize("form", ["coo_matrix", "bsr_array", "list"])
def test_samples_of_any_form_are_held_out(form):
    X, _, y, _ = CANCER
    X = X.tolist() if form == "list" else getattr(scipy.sparse, form)(X)
    clf = DNNClassifier(epochs=2, early_stopping=True, scoring="roc_auc", random_state=0).fit(X, list(y))
    assert len(clf.history_["val_roc_auc"]) == 2


def test_no_hidden_layers():
    X, _, y, _ = DIGITS
    clf = DNNClassifier([], epochs=5, random_state=0).fit(X, y)
    np.testing.assert_array_equal(clf.transform(X[:5]), X[:5])
    assert len(clf.get_feature_names_out()) == 64


def test_what_partial_fit_leaves_and_takes():
    X, _, y, _ = CANCER
    clf = DNNClassifier(warm_start=True, random_state=0)
    with pytest.raises(ValueError, match="NaN"):
        clf.partial_fit(np.full_like(X, np.nan), y, classes=[0, 1])
    assert not hasattr(clf, "classes_")
    clf.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X[y == 0], y[y == 0])
    assert len(clf.history_["loss"]) == 2


def test_balanced_classes_with_sample_weights():
    X, _, y, _ = CANCER
    weights = np.random.default_rng(0).integers(0, 3, len(y))
    clf = DNNClassifier(epochs=3, batch_size=10**4, class_weight="balanced", random_state=0)
    weighted = clone(clf).fit(X, y, sample_weight=weights).predict_proba(X)
    repeated = clone(clf).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights)).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_weight_val": [1.0]}, "sample_weight_val needs X_val"),
        ({"groups": np.zeros(426)}, "groups say what is held out"),
        ({"X_val": np.full((3, 30), np.nan), "y_val": [0, 1, 0]}, "X_val, y_val or sample_weight_val: .*NaN"),
    ],
)
def test_mistakes_in_the_arguments_of_fit(arguments, message):
    X, _, y, _ = CANCER
    with pytest.raises(ValueError, match=message):
        DNNClassifier(epochs=1).fit(X, y, **arguments)
