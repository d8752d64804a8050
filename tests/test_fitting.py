"""What goes with a fit: validation, metrics, history, accumulation, progress, ends of all kinds, resuming."""

import logging
import os
import signal
import threading
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import get_scorer, make_scorer

from fastdnn import Model, layers, optimizers, schedules
from fastdnn.callbacks import EarlyStopping, LambdaCallback, ReduceLROnPlateau, TimeLimit
from fastdnn.losses import LOSSES_TABLE, CrossEntropy
from fastdnn.scoring import scored
from fastdnn.validation import hold_out

X, Y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")


def network(*more, optimizer="adam", n_out=10, loss="cross_entropy", seed=0, dtype="float32"):
    found = [layers.Dense(24, activation="relu"), *more, layers.Dense(n_out)]
    return Model(found, loss=loss, optimizer=optimizer, random_state=seed, dtype=dtype)


# ---------------------------------------------------------------- validation


def test_history_has_what_happened():
    model = network()
    history = model.fit(X, Y, epochs=3, validation_fraction=0.2, scoring=["f1_macro", "neg_log_loss"])
    assert list(history) == [
        "loss", "val_loss", "val_accuracy", "val_f1_macro", "val_neg_log_loss", "rate", "gradient_norm", "seconds",
    ]  # fmt: skip
    assert all(len(values) == 3 for values in history.values())
    assert history is model.history
    assert history.stopped is None
    assert history["rate"] == [0.001] * 3
    assert history["val_neg_log_loss"][-1] == pytest.approx(-history["val_loss"][-1], rel=1e-5)
    assert history.best("val_loss") == 2
    frame = history.to_frame()
    assert frame.index.name == "epoch"
    assert frame.loc[3, "loss"] == history["loss"][2]


def test_gradient_norm_is_the_mean_over_the_steps():
    model = network(optimizer=optimizers.SGD(1e-3))
    before = model.build(64).params.copy()
    _, gradient = model.loss_and_grad(X, Y)
    np.testing.assert_array_equal(model.params, before)
    history = model.fit(X, Y, epochs=1, batch_size=len(X), shuffle=False)
    assert history["gradient_norm"][0] == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


@pytest.mark.parametrize("split", ["random", "stratified", "grouped", "last"])
def test_held_out_samples(split):
    groups = np.repeat(np.arange(18), 100)[: len(Y)] if split == "grouped" else None
    train, held_out = hold_out(0.25, split, len(Y), Y, groups, 0)
    assert sorted([*train, *held_out]) == list(range(len(Y)))
    assert abs(len(held_out) - len(Y) / 4) < 120
    if split == "stratified":
        np.testing.assert_allclose(np.bincount(Y[held_out]) / len(held_out), np.bincount(Y) / len(Y), atol=0.005)
    if split == "grouped":
        assert not set(groups[train]) & set(groups[held_out])
    if split == "last":
        assert held_out[0] == len(train)


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_a_fraction_is_the_same_as_the_samples_themselves(form):
    seed = int(np.random.default_rng(0).integers(1))  # 0
    model = network(seed=seed)
    model.fit(form(X), Y, epochs=2, validation_fraction=0.2, validation_split="last", shuffle=False)
    first = len(X) - int(np.ceil(0.2 * len(X)))
    other = network(seed=seed)
    other.fit(form(X[:first]), Y[:first], epochs=2, validation_data=(form(X[first:]), Y[first:]), shuffle=False)
    np.testing.assert_array_equal(model.params, other.params)
    assert model.history["val_loss"] == other.history["val_loss"]


def test_held_out_samples_teach_nothing():
    changed = X.copy()
    _, held_out = hold_out(0.3, "last", len(X), Y, None, 0)
    changed[held_out] = 0.5
    models = [network() for _ in range(2)]
    for model, samples in zip(models, (X, changed), strict=True):
        model.fit(samples, Y, epochs=2, validation_fraction=0.3, validation_split="last")
    np.testing.assert_array_equal(models[0].params, models[1].params)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_fraction": 1.5}, "validation_fraction must be a number in"),
        ({"validation_fraction": 0.1, "validation_split": "some"}, "validation_split must be one of"),
        ({"validation_fraction": 0.1, "groups": np.zeros(len(Y))}, "belong together"),
        ({"validation_fraction": 0.1, "validation_data": (X, Y)}, "exclude each other"),
        ({"validation_data": (X[:, :5], Y)}, "of the shape of X"),
        ({"validation_data": X}, "must be a tuple"),
        ({"scoring": "accuracy"}, "needs validation data"),
        ({"scoring": "acuracy", "validation_fraction": 0.1}, "acuracy"),
        ({"scoring": [3], "validation_fraction": 0.1}, "names of scikit-learn's scorers"),
        ({"verbose": -1}, "verbose must be 0, 1, 2"),
        ({"accumulate": 0}, "accumulate must be an integer >= 1"),
        ({"callbacks": [3]}, "callbacks must be a list"),
        ({"callbacks": [EarlyStopping]}, "callbacks must be a list"),
        ({"callbacks": [EarlyStopping("val_loss")]}, "needs validation data"),
        ({"callbacks": [EarlyStopping(3)]}, "monitor must be a key"),
    ],
)
def test_mistakes_are_found_before_anything_changes(settings, message):
    model = network().build(64)
    before = model.params.copy()
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, **settings)
    np.testing.assert_array_equal(model.params, before)
    assert model.history is None
    assert model.step == 0


def test_a_monitor_that_is_not_there_says_what_is():
    with pytest.raises(ValueError, match=r"one of \['loss', 'rate'"):
        network().fit(X, Y, epochs=2, callbacks=[EarlyStopping("acc")])


# ---------------------------------------------------------------- scorers


@pytest.mark.parametrize("loss", LOSSES_TABLE)
def test_scorers_see_a_model_as_what_it_is(loss):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((60, 4)).astype("float32")
    kind = LOSSES_TABLE[loss]()
    classes = kind.labels or isinstance(kind, (LOSSES_TABLE["log_loss"], LOSSES_TABLE["focal"], LOSSES_TABLE["hinge"]))
    y = (data[:, 0] > 0).astype(int) if classes else np.exp(data[:, 0]) + 0.5
    model = network(n_out=2 if kind.labels else 1, loss=kind)
    model.fit(data, y, epochs=3)
    view = scored(model)
    names = ["accuracy", "balanced_accuracy", "roc_auc"] if classes else ["r2", "neg_mean_absolute_error"]
    if classes and hasattr(view, "predict_proba"):
        names.append("neg_brier_score")
    for name in names:
        assert np.isfinite(get_scorer(name)(view, data, y))
    if classes:
        assert get_scorer("accuracy")(view, data, y) == np.mean(view.predict(data) == y)


def test_multilabel_scores():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((60, 4)).astype("float32")
    y = (data[:, :3] > 0).astype(int)
    history = network(n_out=3, loss="log_loss").fit(data, y, epochs=3, validation_fraction=0.5, scoring="roc_auc")
    assert len(history["val_roc_auc"]) == 3


def test_scorers_of_ones_own_and_weights():
    def rows(y_true, y_pred, sample_weight=None):
        return -1.0 if sample_weight is None else float(np.sum(sample_weight))

    def plain(estimator, X, y):
        return 7.0

    weights = np.linspace(0.1, 1, len(Y))
    history = network().fit(
        X, Y, sample_weight=weights, validation_fraction=0.2, validation_split="last",
        scoring={"sum": make_scorer(rows), "plain": plain},
    )  # fmt: skip
    held_out = int(np.ceil(0.2 * len(X)))
    assert history["val_sum"][0] == pytest.approx(weights[-held_out:].sum())
    assert history["val_plain"] == [7.0]
    assert network().fit(X, Y, validation_fraction=0.2, scoring=plain)["val_plain"] == [7.0]


# ---------------------------------------------------------------- accumulation


def test_accumulated_batches_are_one_batch():
    one = network(dtype="float64")
    one.fit(X, Y, epochs=2, batch_size=256)
    several = network(dtype="float64")
    several.fit(X, Y, epochs=2, batch_size=64, accumulate=4)
    np.testing.assert_allclose(several.params, one.params, rtol=1e-9, atol=1e-12)
    assert several.step == one.step
    assert several.bind(X, Y, None, 256, piece=64).program.rows == 64


def test_batch_norm_accumulates_over_its_own_batches():
    """Its statistics are those of the small batches: the gradient is the mean of theirs."""
    model = network(layers.BatchNorm(), dtype="float64", optimizer=optimizers.SGD(0.1)).build(64)
    gradients = [model.loss_and_grad(X[i : i + 32], Y[i : i + 32], training=True)[1] for i in (0, 32)]
    before = model.params.copy()
    model.fit(X[:64], Y[:64], batch_size=32, accumulate=2, shuffle=False)
    np.testing.assert_allclose(model.params, before - 0.1 * np.mean(gradients, axis=0), rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- progress


def test_verbose_lines(capsys):
    network().fit(X, Y, epochs=2, verbose=2, callbacks=[LambdaCallback(lambda fit: "enough" if fit.epoch == 2 else None)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Epoch 1/2 loss ")
    assert lines[2] == "Stopped after epoch 2: enough"


def test_verbose_through_logging(caplog, capsys):
    with caplog.at_level(logging.INFO, logger="fastdnn"):
        network().fit(X, Y, epochs=2, verbose="log")
    assert [record.message[:9] for record in caplog.records] == ["Epoch 1/2", "Epoch 2/2"]
    assert capsys.readouterr().out == ""


def test_a_bar_on_a_terminal(monkeypatch):
    rich_console = pytest.importorskip("rich.console")
    import io

    text = io.StringIO()
    console = rich_console.Console(file=text, force_terminal=True, width=120)
    monkeypatch.setattr(rich_console, "Console", lambda: console)
    network().fit(X, Y, epochs=3, verbose=1)
    assert "3/3" in text.getvalue()
    assert "loss" in text.getvalue()


# ---------------------------------------------------------------- ends


def test_patience_restores_the_best_epoch_bit_for_bit():
    kept = {}

    def keep(fit):
        kept[fit.epoch] = fit.model.params.copy(), fit.model.state.copy()

    stop = EarlyStopping("val_loss", patience=3)
    model = network(layers.BatchNorm(), optimizer=optimizers.Adam(0.05))
    history = model.fit(X, Y, epochs=200, validation_fraction=0.3, callbacks=[LambdaCallback(keep), stop])
    best = history.best("val_loss")
    assert len(history["loss"]) == best + 1 + 3 < 200
    assert (stop.best_epoch_, stop.best_) == (best, history["val_loss"][best])
    np.testing.assert_array_equal(model.params, kept[best + 1][0])
    np.testing.assert_array_equal(model.state, kept[best + 1][1])
    assert f"val_loss was best in epoch {best + 1} and has not improved for 3 epochs" in history.stopped


def test_threshold():
    history = network().fit(
        X, Y, epochs=200, validation_fraction=0.2, callbacks=[EarlyStopping("val_accuracy", threshold=0.5)]
    )
    assert history["val_accuracy"][-1] >= 0.5 > max([0, *history["val_accuracy"][:-1]])
    assert "the threshold being 0.5" in history.stopped


def test_min_delta():
    history = network().fit(
        X, Y, epochs=50, callbacks=[EarlyStopping("loss", patience=2, min_delta=100.0, restore_best=False)]
    )
    assert len(history["loss"]) == 3  # the first is the best for good


def test_time_limit_ends_within_an_epoch():
    rng = np.random.default_rng(0)
    many = rng.standard_normal((200_000, 64)).astype("float32")
    targets = rng.integers(0, 10, len(many))
    model = Model([layers.Dense(512, activation="relu"), layers.Dense(512, activation="relu"), layers.Dense(10)],
                  loss="cross_entropy", random_state=0)  # fmt: skip
    model.fit(many[:64], targets[:64])  # compiled
    step = model.step
    history = model.fit(many, targets, epochs=50, batch_size=64, callbacks=[TimeLimit(0.5)])
    assert "the time limit of 0.5 s is over" in history.stopped
    assert len(history["loss"]) < 50
    assert model.step > step
    assert np.isfinite(model.predict(many[:5])).all()


def test_ctrl_c_ends_with_the_best_weights_and_says_why(interruptible):
    stop = EarlyStopping("loss")
    model = network()

    def strike(fit):
        if fit.epoch == 3:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=10**6, callbacks=[stop, LambdaCallback(strike)])
    assert model.history.stopped == "interrupted by the user (Ctrl-C)"
    assert len(model.history["loss"]) >= 3
    assert model.best is None
    assert np.isfinite(model.predict(X)).all()


def test_an_error_in_a_callback_passes_on_and_is_noted():
    def fail(fit):
        raise RuntimeError("no")

    ended, model = [], network()
    with pytest.raises(RuntimeError, match="no"):
        model.fit(X, Y, callbacks=[LambdaCallback(fail, on_fit_end=ended.append)])
    assert len(ended) == 1
    assert model.history.stopped == "RuntimeError: no"


def test_reduce_lr_on_plateau():
    callback = ReduceLROnPlateau("val_loss", factor=0.5, patience=0, min_delta=1.0, min_rate=2e-4)
    history = network().fit(X, Y, epochs=5, validation_fraction=0.2, callbacks=[callback])
    assert history["rate"] == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4, 2e-4])
    perfect = ReduceLROnPlateau("val_accuracy", patience=0)  # scores are better when larger
    history = network().fit(X, Y, epochs=3, validation_fraction=0.2, callbacks=[perfect])
    assert history["val_accuracy"] == sorted(set(history["val_accuracy"]))
    assert history["rate"] == [1e-3] * 3
    slower = schedules.Constant(0.01)
    history = network(optimizer=optimizers.SGD(slower)).fit(
        X, Y, epochs=3, callbacks=[ReduceLROnPlateau("loss", 0.1, 0, 1.0)]
    )
    assert history["rate"] == pytest.approx([0.01, 0.01, 0.001])


def test_no_warning_without_a_reason():
    data, y = load_breast_cancer(return_X_y=True)
    data = ((data - data.mean(0)) / data.std(0)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(n_out=2, loss=CrossEntropy()).fit(data, y, epochs=2, validation_fraction=0.2, scoring="roc_auc")
