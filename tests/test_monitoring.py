"""What callbacks monitor: which value is the better one, whose best weights are put back, what is refused."""

import numpy as np
import pytest
from sklearn.metrics import make_scorer, mean_squared_error
from test_callbacks import X, Y, network

from fastdnn import DNNClassifier, MLPClassifier, Model, TrainingCurveDisplay, layers, optimizers, schedules
from fastdnn.callbacks import (
    Callback,
    EarlyStopping,
    GradientMonitor,
    LambdaCallback,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from fastdnn.history import History
from fastdnn.scoring import smaller_is_better

VALIDATION = X[300:], Y[300:]


def record(values, key):
    """A callback that records values of its own, epoch by epoch."""
    return LambdaCallback(lambda fit: fit.history.record(fit.epoch - 1, {key: values[fit.epoch - 1]}))


def keeper(kept):
    return LambdaCallback(lambda fit: kept.append((fit.model.params.copy(), fit.model.state.copy())))


# ---------------------------------------------------------------- whose best weights


def test_each_callback_has_its_own_best_and_the_last_one_wins():
    kept, first, last = [], EarlyStopping("up", patience=9), EarlyStopping("down", patience=9)
    up, down = record([0, 1, 5, 2, 2, 2], "up"), record([3, 3, 3, 3, 1, 3], "down_loss")
    last = EarlyStopping("down_loss", patience=9)
    model = network()
    history = model.fit(X, Y, epochs=6, callbacks=[up, down, keeper(kept), first, last])
    assert (first.best_epoch_, first.best_) == (2, 5.0)
    assert (last.best_epoch_, last.best_) == (4, 1.0)
    np.testing.assert_array_equal(model.params, kept[4][0])
    assert (history.restored, history.restored_by) == (4, "down_loss")
    assert model.best is None


def test_validation_loss_is_that_of_the_weights_left():
    model = network(optimizer=optimizers.Adam(0.02))
    last = EarlyStopping("val_loss", patience=5)
    model.fit(X[:300], Y[:300], epochs=60, validation_data=VALIDATION, callbacks=[EarlyStopping("loss", patience=5), last])
    assert last.best_ == min(model.history["val_loss"])
    assert model.evaluate(*VALIDATION)["loss"] == pytest.approx(last.best_, rel=1e-12)


def test_one_that_does_not_restore_or_has_no_value_leaves_it_to_the_others():
    for other in (EarlyStopping("v", patience=9, restore_best=False), EarlyStopping("nothing", patience=9)):
        kept, values = [], record([1, 2, 9, 1, 1], "v")
        nothing = record([np.nan] * 5, "nothing")
        model = network()
        callbacks = [values, nothing, keeper(kept), EarlyStopping("v", patience=9), other]
        history = model.fit(X, Y, epochs=5, callbacks=callbacks)
        np.testing.assert_array_equal(model.params, kept[2][0])
        assert (history.restored, history.restored_by) == (2, "v")


def test_what_a_callback_keeps_by_hand_is_not_what_is_restored():
    kept, stop = [], EarlyStopping("v", patience=9)
    by_hand = LambdaCallback(lambda fit: fit.model.keep_best())
    model = network()
    model.fit(X, Y, epochs=4, callbacks=[record([1, 9, 1, 1], "v"), keeper(kept), stop, by_hand])
    np.testing.assert_array_equal(model.params, kept[1][0])
    assert model.history.restored == 1


def test_equal_callbacks_on_one_key_keep_apart():
    kept, values = [], record([1.0, 1.05, 1.1, 1.2, 1.0], "v")
    coarse, fine = EarlyStopping("v", 9, min_delta=0.15), EarlyStopping("v", 9)
    for callbacks, epoch in (([coarse, fine], 3), ([fine, coarse], 3), ([fine, EarlyStopping("v", 9, min_delta=5)], 0)):
        kept.clear()
        model = network()
        model.fit(X, Y, epochs=5, callbacks=[values, keeper(kept), *callbacks])
        np.testing.assert_array_equal(model.params, kept[epoch][0])


@pytest.mark.parametrize("order", [1, -1])
def test_several_bests_travel_with_a_checkpoint(order, tmp_path):
    def fitted(epochs, model, kept=None):
        stops = [EarlyStopping("a", patience=20), EarlyStopping("b", patience=20)][::order]
        values = record([1, 9, 1, 1, 1, 1], "a"), record([1, 1, 9, 1, 1, 1], "b")
        save = LambdaCallback(lambda fit: fit.model.save(tmp_path / "m.fdnn") if fit.epoch == 4 else None)
        more = [] if kept is None else [keeper(kept)]
        model.fit(X, Y, epochs=epochs, callbacks=[*values, *more, *stops, save], resume=True)
        return stops

    kept, whole = [], network()
    fitted(6, whole, kept)
    resumed = Model.load(tmp_path / "m.fdnn")
    assert [best.epoch for best in resumed.trained.bests] == [1, 2][::order]
    stops = fitted(6, resumed)
    assert [stop.best_epoch_ for stop in stops] == [1, 2][::order]
    np.testing.assert_array_equal(resumed.params, whole.params)
    np.testing.assert_array_equal(resumed.params, kept[2 if order == 1 else 1][0])
    assert resumed.history.restored_by == ("b" if order == 1 else "a")
    resumed.save(tmp_path / "end.fdnn")
    assert Model.load(tmp_path / "end.fdnn").history.restored_by == resumed.history.restored_by


def test_a_resumed_fit_judges_by_the_weights_there_are():
    """Epoch 2's weights were put back: they are not those of the last epoch, which another key was best in."""
    values = record([1, 1, 9, 1, 1, 1], "a"), record([1, 2, 3, 4, 5, 1], "b")
    model = network()
    model.fit(X, Y, epochs=5, callbacks=[*values, EarlyStopping("a", patience=20)])
    before, stop = model.params.copy(), EarlyStopping("b", patience=20)
    model.fit(X, Y, epochs=6, callbacks=[*values, stop], resume=True)
    assert (stop.best_epoch_, stop.best_) == (2, 3.0)
    np.testing.assert_array_equal(model.params, before)


def test_a_fresh_fit_does_not_take_the_best_of_the_last_one(tmp_path):
    model = network()
    save = LambdaCallback(lambda fit: fit.model.save(tmp_path / "m.fdnn") if fit.epoch == 3 else None)
    model.fit(X, Y, epochs=3, callbacks=[record([9, 1, 1], "v"), EarlyStopping("v", 9), save])
    model = Model.load(tmp_path / "m.fdnn")
    assert model.best.epoch == 0
    kept = []
    model.fit(X, Y, epochs=2, callbacks=[record([9, 1], "v"), keeper(kept)])
    assert model.best is None
    stop = EarlyStopping("v", 9)
    model.fit(X, Y, epochs=3, callbacks=[record([9, 1, 1], "v"), stop], resume=True)
    assert stop.best_epoch_ == 1


# ---------------------------------------------------------------- which value is better


@pytest.mark.parametrize(
    "key",
    ["loss", "val_loss", "rmse", "val_RMSE", "my.mae", "max_error", "seconds", "gradient_norm", "mean_poisson_deviance",
     "perplexity", "nll", "val_brier", "mape", "val_rmse_2", "mse2", "log_loss"],
)  # fmt: skip
def test_smaller_is_better(key):
    assert smaller_is_better(key)
    assert not smaller_is_better(key, "max")
    assert not smaller_is_better(key, scores=[key])


@pytest.mark.parametrize(
    "key",
    ["accuracy", "val_r2", "neg_mean_squared_error", "val_neg_log_loss", "roc_auc", "val_score", "f1", "lossless", "", "2"],
)
def test_larger_is_better(key):
    assert not smaller_is_better(key)
    assert smaller_is_better(key, "min")


@pytest.mark.parametrize("mode", ["down", None, True, 1, ["min"]])
def test_modes_that_there_are_not(mode):
    for make in (EarlyStopping, ReduceLROnPlateau, lambda **k: ModelCheckpoint("m.fdnn", **k)):
        with pytest.raises(ValueError, match=r"mode must be one of \('auto', 'min', 'max'\)"):
            make(mode=mode)
    with pytest.raises(ValueError, match="mode must be one of"):
        History(loss=[1.0]).best("loss", mode)


@pytest.mark.parametrize(
    ("key", "mode", "best"), [("rmse", "auto", 1), ("mine", "min", 1), ("mine", "auto", 2), ("rmse", "max", 2)]
)
def test_all_monitors_know_the_mode(key, mode, best, tmp_path):
    values, stop = record([3.0, 1.0, 4.0, 2.0], key), EarlyStopping(key, patience=9, mode=mode)
    checkpoint = ModelCheckpoint(tmp_path / "m.fdnn", monitor=key, mode=mode)
    rate = ReduceLROnPlateau(key, 0.5, patience=0, mode=mode)
    model = network()
    history = model.fit(X, Y, epochs=4, callbacks=[values, rate, stop, checkpoint])
    assert stop.best_epoch_ == best == history.best(key, mode) == history.restored
    assert len(Model.load(tmp_path / "m.fdnn").history["loss"]) == best + 1
    falls = best == 1  # 3 1 4 2: reduced after the third, or after the second
    assert history["rate"] == pytest.approx([1e-3, 1e-3, 1e-3 if falls else 5e-4, 5e-4])
    display = TrainingCurveDisplay(history, key, mode).plot(keys=[key])
    assert display.ax_.lines[-1].get_xdata()[0] == best + 1


def test_threshold_of_what_falls():
    stop = EarlyStopping("rmse", threshold=1.5)
    history = network().fit(X, Y, epochs=4, callbacks=[record([3.0, 1.0, 4.0, 2.0], "rmse"), stop])
    assert len(history["loss"]) == 2


def test_of_scorers_the_larger_value_is_better_whatever_they_are_called(tmp_path):
    scoring = {"rmse": make_scorer(mean_squared_error, greater_is_better=False)}
    stop, model = EarlyStopping("val_rmse", patience=9), Model([layers.Dense(1)], random_state=0)
    history = model.fit(X, Y, epochs=5, validation_fraction=0.3, scoring=scoring, callbacks=[stop])
    best = int(np.argmax(history["val_rmse"]))
    assert max(history["val_rmse"]) < 0
    assert stop.best_epoch_ == best == history.best("val_rmse")
    model.save(tmp_path / "m.fdnn")
    assert Model.load(tmp_path / "m.fdnn").history.best("val_rmse") == best


# ---------------------------------------------------------------- keys that there are


@pytest.mark.parametrize("make", [
    lambda path: EarlyStopping("val_score"), lambda path: ReduceLROnPlateau("val_score"),
    lambda path: ModelCheckpoint(path / "{epoch}-{val_score:.2f}.fdnn", monitor="val_score"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_score_of_drop_in_estimators_can_be_monitored(make, tmp_path):
    model = MLPClassifier(max_iter=4, early_stopping=True, random_state=0, callbacks=[make(tmp_path)]).fit(X, Y)
    assert model.history_["val_score"] == model.validation_scores_
    assert model.history_.best("val_score") == int(np.argmax(model.validation_scores_))
    with pytest.raises(ValueError, match=r"monitor must be a key of the history, one of .*'val_score'"):
        MLPClassifier(early_stopping=True, callbacks=[EarlyStopping("val_accuracy")]).fit(X, Y)
    with pytest.raises(ValueError, match="needs validation data"):
        MLPClassifier(callbacks=[EarlyStopping("val_score")]).fit(X, Y)


def test_keys_of_modules_that_begin_like_ours(monkeypatch):
    class Own(Callback):
        def on_epoch_end(self, fit):
            fit.history.record(fit.epoch - 1, {"mine": fit.epoch})

    monkeypatch.setattr(Own, "__module__", "fastdnn_parts")
    stop = EarlyStopping("mine")
    network().fit(X, Y, epochs=3, callbacks=[Own(), stop])
    assert stop.best_epoch_ == 2


class Recorder:
    """By scikit-learn's protocol; writes into the history."""

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, **data):
        if context.task_name == "epoch":
            estimator.history_.record(len(estimator.history_["loss"]) - 1, {"mine": 1.0})


def test_keys_that_scikit_learns_callbacks_record(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "m.fdnn", monitor="mine")
    model = DNNClassifier(epochs=2, callbacks=[checkpoint], random_state=0).set_callbacks(Recorder())
    assert model.fit(X, Y).history_["mine"] == [1.0, 1.0]
    assert model.callbacks_[0].saved_[0][0] == 1.0


# ---------------------------------------------------------------- what cannot work, and what is no finding


@pytest.mark.parametrize("fit", [
    lambda c: network(optimizer="lbfgs").fit(X, Y, callbacks=c),
    lambda c: MLPClassifier(solver="lbfgs", callbacks=c).fit(X, Y),
    lambda c: DNNClassifier(optimizer="lbfgs", callbacks=c).fit(X, Y),
])  # fmt: skip
def test_a_rate_that_there_is_not(fit):
    with pytest.raises(ValueError, match="ReduceLROnPlateau needs an optimizer with a learning rate, and L-BFGS has none"):
        fit([ReduceLROnPlateau("loss")])
    with pytest.raises(ValueError, match="monitor must be a key of the history"):
        fit([EarlyStopping("rate")])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # one sample, equal samples
def test_few_or_equal_samples_say_nothing_of_dead_units():
    for rows, data in ((1, X), (256, X[:1]), (256, np.repeat(X[:1], 50, axis=0)), (3, X)):
        monitor = GradientMonitor(rows=rows)
        network().fit(data, Y[: len(data)], callbacks=[monitor])
        assert "dead" not in monitor.table_[0]
        assert not any("dead" in finding for finding in monitor.findings_)


# ---------------------------------------------------------------- another optimizer on the way


@pytest.mark.parametrize("resume", [False, True])
def test_an_optimizer_assigned_by_a_callback_goes_on_with_the_fit(resume):
    def swap(fit):
        if fit.epoch == 2:
            fit.model.optimizer = optimizers.SGD(schedules.Polynomial(0.1, power=1.0))

    kept, stop = [], EarlyStopping("v", patience=9)
    model = network()
    callbacks = [record([1, 9, 3, 2, 1, 0], "v"), LambdaCallback(swap), keeper(kept), stop]
    history = model.fit(X, Y, epochs=4 if resume else 6, callbacks=callbacks)
    assert model.history is history
    assert len(history["loss"]) == (4 if resume else 6)
    np.testing.assert_array_equal(model.params, kept[1][0])  # the best epoch lies before the change
    assert history["rate"][:2] == pytest.approx([1e-3, 1e-3])
    assert history["rate"][2] > 0.05
    assert history["rate"][-1] < 0.01  # the schedule has what was left of the fit
    assert model.step == (2 if resume else 4) * -(-len(X) // 32)
    if resume:
        more = model.fit(X, Y, epochs=6, callbacks=[record([0] * 6, "v"), keeper(kept)], resume=True)
        assert more is history
        assert len(history["loss"]) == 6


def test_a_fit_cannot_change_its_kind():
    def swap(fit):
        fit.model.optimizer = "lbfgs"

    model = network()
    with pytest.raises(ValueError, match="a callback cannot put LBFGS"):
        model.fit(X, Y, epochs=3, callbacks=[LambdaCallback(swap)])
    assert len(model.history["loss"]) == 1


# ---------------------------------------------------------------- keys that others record, ends with L-BFGS


class Rmse(Callback):
    """Records a figure that falls and rises again."""

    def __init__(self, key):
        self.key = key

    def on_epoch_end(self, fit):
        fit.history.record(fit.epoch - 1, {self.key: abs(fit.epoch - 3.0)})


@pytest.mark.parametrize("key", ["rmse", "val_rmse"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_key_that_another_callback_records_wherever_it_stands(key, order):
    stop = EarlyStopping(key, patience=9)
    network().fit(X, Y, epochs=5, callbacks=[stop, Rmse(key)][::order])
    assert (stop.best_, stop.best_epoch_) == (0.0, 2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_best_weights_of_a_drop_in_with_lbfgs_stay():
    seen = []
    note = LambdaCallback(lambda fit: seen.append(fit.model.params.copy()) and None)
    clf = MLPClassifier((8,), solver="lbfgs", max_iter=5, random_state=0)
    clf.set_params(callbacks=[EarlyStopping("rmse", patience=9), Rmse("rmse"), note]).fit(X, Y)
    seen = clf.callbacks_[2]._functions["on_epoch_end"].__closure__[0].cell_contents
    assert clf.history_.restored == 2
    np.testing.assert_array_equal(clf._model.params, seen[2])


def test_keys_of_norms_that_nobody_measures_are_refused():
    for fit in (
        lambda stop: network(optimizer=optimizers.Adam(skip_nonfinite=False)).fit(X, Y, callbacks=[stop]),
        lambda stop: MLPClassifier((8,), callbacks=[stop]).fit(X, Y),
    ):
        with pytest.raises(ValueError, match=r"monitor must be a key of the history, one of .*got 'gradient_norm'"):
            fit(EarlyStopping("gradient_norm"))


def test_a_scorer_s_stop_iteration_comes_out_of_lbfgs():
    def stops(estimator, X, y):
        raise StopIteration("mine")

    with pytest.raises(StopIteration, match="mine"):
        network(optimizer="lbfgs").fit(X, Y, epochs=3, validation_fraction=0.2, scoring=stops)
