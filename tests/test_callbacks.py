"""The callbacks one by one, and what all of them must be able to do."""

import copy
import csv
import os
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

import fastdnn
from fastdnn import DNNClassifier, MLPClassifier, Model, callbacks, layers, optimizers
from fastdnn.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    GradientMonitor,
    LambdaCallback,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TimeLimit,
    TrainingWarning,
)

X, Y = load_digits(return_X_y=True)
X = (X / 8 - 1).astype("float32")[:400]
Y = Y[:400]


def network(activation="relu", hidden=(24,), seed=0, optimizer="adam"):
    found = [layers.Dense(n, activation=activation) for n in hidden]
    return Model([*found, layers.Dense(10)], loss="cross_entropy", optimizer=optimizer, random_state=seed)


def nothing(fit):
    return None


def every(folder):
    return [
        EarlyStopping(patience=2),
        ModelCheckpoint(os.path.join(folder, "m.fdnn"), monitor="loss"),
        ReduceLROnPlateau("loss", patience=1),
        TimeLimit(100),
        CSVLogger(os.path.join(folder, "log.csv")),
        LambdaCallback(nothing),
        GradientMonitor(warn=False),
    ]


def test_the_list_is_whole():
    names = {type(c).__name__ for c in every("")} | {"Callback", "TrainingWarning"}
    assert names == set(callbacks.__all__)


@pytest.mark.parametrize("number", range(7))
def test_copies_pickles_prints_and_compares(number, tmp_path):
    callback = every(tmp_path)[number]
    model = network()
    model.fit(X, Y, epochs=2, callbacks=[callback])
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback)), clone(callback, safe=False)):
        assert other == callback
        assert repr(other) == repr(callback)
        network().fit(X, Y, epochs=1, callbacks=[other])
    assert type(callback)(**callback.settings()) == callback
    if not isinstance(callback, (LambdaCallback, ModelCheckpoint, CSVLogger)):
        names = {**vars(callbacks)}
        assert eval(repr(callback), names) == callback


@pytest.mark.parametrize("estimator", [DNNClassifier(epochs=3, random_state=0), MLPClassifier(max_iter=3, random_state=0)])
def test_in_the_workers_of_a_grid_search(estimator, tmp_path):
    estimator.set_params(callbacks=every(tmp_path))
    name = "epochs" if isinstance(estimator, DNNClassifier) else "max_iter"
    with pytest.warns() if name == "max_iter" else open(os.devnull):
        search = GridSearchCV(estimator, {name: [2, 3]}, n_jobs=2, cv=2).fit(X, Y)
    best = search.best_estimator_
    assert [type(c) for c in best.callbacks_] == [type(c) for c in best.callbacks]
    assert all(a is not b for a, b in zip(best.callbacks_, best.callbacks, strict=True))
    assert best.callbacks_[0].best_epoch_ is not None
    assert not hasattr(best.callbacks[0], "best_epoch_")


def test_absent_callbacks_leave_no_trace():
    model = MLPClassifier(max_iter=3, tol=1, n_iter_no_change=1, random_state=0).fit(X, Y)
    assert not hasattr(model, "history_")
    assert not hasattr(model, "callbacks_")


def test_drop_in_estimators_stop_and_record():
    model = MLPClassifier(
        max_iter=50, early_stopping=True, n_iter_no_change=50, random_state=0,
        callbacks=[EarlyStopping("val_score", threshold=0.3), lambda model, history: None],
    ).fit(X, Y)  # fmt: skip
    assert model.history_["val_score"][-1] >= 0.3
    assert model.n_iter_ == len(model.history_["loss"]) == len(model.loss_curve_) < 50
    assert "threshold" in model.history_.stopped
    plain = MLPClassifier(max_iter=model.n_iter_, random_state=0, callbacks=[nothing_at_all])
    with pytest.warns(match="Maximum iterations"):
        plain.fit(X, Y)
    same = clone(plain).set_params(callbacks=None)
    with pytest.warns(match="Maximum iterations"):
        same.fit(X, Y)
    np.testing.assert_array_equal(plain.coefs_[0], same.coefs_[0])
    lbfgs = MLPClassifier(solver="lbfgs", random_state=0, callbacks=[stop_at_five]).fit(X, Y)
    assert len(lbfgs.history_["loss"]) == lbfgs.n_iter_ == 5


def nothing_at_all(model, history):
    return None


def stop_at_five(model, history):
    return len(history["loss"]) == 5


# ---------------------------------------------------------------- checkpoints


def test_checkpoints_keep_the_best(tmp_path):
    path = tmp_path / "best-{epoch:02d}-{val_accuracy:.2f}.fdnn"
    checkpoint = ModelCheckpoint(path, monitor="val_accuracy", keep=2)
    model = network(optimizer=optimizers.Adam(0.02))
    history = model.fit(X, Y, epochs=8, validation_fraction=0.3, callbacks=[checkpoint])
    values = np.array(history["val_accuracy"])
    assert len(list(tmp_path.iterdir())) == 2
    assert checkpoint.saved_[-1][0] == values.max()
    best = Model.load(checkpoint.saved_[-1][1])
    assert best.history["val_accuracy"][-1] == values.max()
    assert [v for v, _ in checkpoint.saved_] == sorted(values)[-2:]


def test_checkpoints_of_the_last_epochs(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}.fdnn", best_only=False, keep=3, every=2)
    model = network()
    model.fit(X, Y, epochs=9, callbacks=[checkpoint])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["6.fdnn", "8.fdnn", "9.fdnn"]
    np.testing.assert_array_equal(Model.load(tmp_path / "9.fdnn").params, model.params)


def test_checkpoint_after_an_error_in_the_middle(tmp_path):
    def fail(fit):
        if fit.epoch == 3:
            raise RuntimeError("power cut")

    model = network()
    with pytest.raises(RuntimeError):
        model.fit(X, Y, epochs=9, callbacks=[ModelCheckpoint(tmp_path / "m.fdnn", best_only=False), LambdaCallback(fail)])
    loaded = Model.load(tmp_path / "m.fdnn")
    loaded.fit(X, Y, epochs=9, resume=True)
    whole = network()
    whole.fit(X, Y, epochs=9)
    np.testing.assert_array_equal(loaded.params, whole.params)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelCheckpoint("m.fdnn", keep=2), "must contain {epoch}"),
        (lambda: ModelCheckpoint("m.fdnn", keep=0), "keep must be an integer >= 1"),
        (lambda: EarlyStopping(patience=0), "patience must be an integer >= 1"),
        (lambda: EarlyStopping(min_delta=-1), "min_delta must be a number in"),
        (lambda: TimeLimit(0), "seconds must be a number in"),
        (lambda: ReduceLROnPlateau(factor=2), "factor must be a number in"),
        (lambda: LambdaCallback(3), "on_epoch_end must be a function"),
        (lambda: GradientMonitor(every=0), "every must be an integer"),
    ],
)
def test_mistakes_in_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (lambda path: ModelCheckpoint(path / "{nokey}.fdnn"), "a field of path must be a key of the history"),
        (lambda path: ModelCheckpoint(path / "{}.fdnn"), "a field of path must be a key of the history"),
        (lambda path: ModelCheckpoint(path), "must be a file in a folder"),
        (lambda path: EarlyStopping("los"), "monitor must be a key of the history"),
        (lambda path: ReduceLROnPlateau("val_los"), "needs validation data"),
    ],
)
def test_mistakes_are_found_before_anything_begins(callback, message, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("precious")
    model = network()
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, callbacks=[CSVLogger(log), callback(tmp_path)])
    assert log.read_text() == "precious"
    assert model.history is None
    assert model.step == 0


def test_an_end_that_fails_does_not_keep_others_from_theirs():
    def fail(fit):
        raise RuntimeError("disk full")

    stop = EarlyStopping("loss")
    model = network(optimizer=optimizers.SGD(50.0))
    with pytest.raises(RuntimeError, match="disk full"):
        model.fit(X, Y, epochs=5, callbacks=[LambdaCallback(on_fit_end=fail), stop])
    assert model.best is None
    assert model.history.restored == stop.best_epoch_


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="a folder that exists"):
        network().fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "no" / "m.fdnn")])
    with pytest.raises(OSError, match="no"):
        network().fit(X, Y, callbacks=[CSVLogger(tmp_path / "no" / "m.csv")])


# ---------------------------------------------------------------- logs


def test_csv(tmp_path):
    path = tmp_path / "log.csv"
    model = network()
    model.fit(X, Y, epochs=3, callbacks=[CSVLogger(path)])
    model.fit(X, Y, epochs=5, callbacks=[CSVLogger(path)], resume=True)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [float(row["loss"]) for row in rows] == model.history["loss"]
    model.fit(X, Y, epochs=1, callbacks=[CSVLogger(path, append=True)])
    assert len(path.read_text().splitlines()) == 7
    model.fit(X, Y, epochs=1, callbacks=[CSVLogger(path)])
    assert len(path.read_text().splitlines()) == 2


def test_hooks_come_in_order():
    seen = []

    class Recorder(Callback):
        def on_fit_begin(self, fit):
            seen.append("begin")

        def on_epoch_begin(self, fit):
            seen.append(f"epoch {fit.epoch}")

        def on_epoch_end(self, fit):
            seen.append(f"end {fit.epoch} {len(fit.history['loss'])}")

        def on_fit_end(self, fit):
            seen.append(f"done {fit.epochs}")

    network().fit(X, Y, epochs=2, callbacks=[Recorder()])
    assert seen == ["begin", "epoch 0", "end 1 1", "epoch 1", "end 2 2", "done 2"]


# ---------------------------------------------------------------- the monitor


def test_monitor_finds_dead_units():
    model = network(hidden=(20,)).build(64)
    model.weights["0.dense.bias"][:5] = -1e3
    model.weights["0.dense.bias"][5:] = 1.0
    monitor = GradientMonitor()
    with pytest.warns(TrainingWarning, match="25% of the units of 0.dense are dead"):
        history = model.fit(X, Y, epochs=2, callbacks=[monitor])
    assert monitor.table_[0]["dead"] == 0.25
    assert len(history.notes) == len(monitor.findings_) == 2  # noted each time, warned once


def test_monitor_finds_vanishing_gradients():
    monitor = GradientMonitor(warn=False)
    with pytest.warns(ConvergenceWarning, match="the same for all samples"):
        network("sigmoid", hidden=[20] * 12).fit(X, Y, callbacks=[monitor])
    assert any("the gradient of 0.dense vanishes" in finding for finding in monitor.findings_)
    assert monitor.table_[0]["ratio"] < 1e-5


def test_monitor_finds_exploding_gradients():
    model = network("identity", hidden=[20] * 6, optimizer=optimizers.SGD(1e-30)).build(64)
    for i, factor in enumerate((1, 1, 1e4, 1, 1, 1, 1)):
        model.weights[f"{i}.dense.kernel"][...] *= factor
    model.weights["6.dense.kernel"][...] *= 1e-5
    monitor = GradientMonitor(warn=False)
    model.fit(X, Y, callbacks=[monitor])
    assert any("explodes" in finding for finding in monitor.findings_)


def test_monitor_is_content_with_a_good_network():
    monitor = GradientMonitor()
    network(hidden=(32, 32)).fit(X, Y, epochs=3, callbacks=[monitor])
    assert monitor.findings_ == []
    assert [row["key"] for row in monitor.table_] == ["0.dense.kernel", "1.dense.kernel", "2.dense.kernel"]


def test_monitor_gradients_are_the_models():
    model, monitor = network(), GradientMonitor(rows=100, warn=False)
    model.fit(X, Y, callbacks=[monitor])
    model.loss_and_grad(X[:100], Y[:100])
    assert monitor.table_[0]["gradient"] == pytest.approx(np.sqrt(np.mean(model.gradients["0.dense.kernel"] ** 2)), rel=1e-5)


# ---------------------------------------------------------------- scikit-learn's protocol


class Counter:
    """A callback by scikit-learn's protocol that counts, scores and stops."""

    def __init__(self, stop=None):
        self.stop, self.seen, self.scores = stop, [], []

    def setup(self, estimator, context):
        self.seen.append("setup")

    def teardown(self, estimator, context):
        self.seen.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.seen.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.seen.append(("end", context.task_name))
        self.scores.append(fitted_estimator.score(X, y))
        return context.task_name == "epoch" and sum(s == ("end", "epoch") for s in self.seen) == self.stop


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", [DNNClassifier(epochs=5, random_state=0), MLPClassifier(max_iter=5, random_state=0)])
def test_scikit_learns_callbacks(estimator):
    counter = Counter(stop=3)
    fitted = estimator.set_callbacks(counter, EarlyStopping("loss", patience=100)).fit(X, Y)
    epochs = [("begin", "epoch"), ("end", "epoch")] * 3
    assert counter.seen == ["setup", ("begin", "fit"), *epochs, ("end", "fit"), "teardown"]
    assert counter.scores[2] == counter.scores[3] == fitted.score(X, Y)
    assert counter.scores[0] != counter.scores[2]  # each is of its own epoch
    assert len(fitted.history_["loss"]) == 3
    assert "scikit-learn" in fitted.history_.stopped
    assert type(fitted.callbacks_[0]) is EarlyStopping


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", [DNNClassifier(epochs=3, random_state=0), MLPClassifier(max_iter=3, random_state=0)])
def test_scikit_learns_scoring_monitor_and_progress_bar(estimator, capsys):
    from sklearn.callback import ProgressBar, ScoringMonitor

    pytest.importorskip("rich")
    monitor = ScoringMonitor(scoring="accuracy")
    estimator.set_callbacks(monitor, ProgressBar()).fit(X, Y)
    scores = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(scores) == 3
    assert scores[-1] == estimator.score(X, Y)


def test_public_names():
    assert fastdnn.callbacks is callbacks
