"""Fits of DNNClassifier and DNNRegressor: validation, going on, interruptions, scikit-learn's callbacks."""

import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the next import possible
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_dnn import CANCER, DIGITS

from fastdnn import (
    DNNClassifier,
    DNNRegressor,
    MLPClassifier,
    Model,
    callbacks,
    layers,
    optimizers,
    schedules,
)


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
        ({"X_val": np.full((3, 30), np.nan), "y_val": [0, 1, 0]}, "X_val and y_val: .*NaN"),
    ],
)
def test_mistakes_in_the_arguments_of_fit(arguments, message):
    X, _, y, _ = CANCER
    with pytest.raises(ValueError, match=message):
        DNNClassifier(epochs=1).fit(X, y, **arguments)
