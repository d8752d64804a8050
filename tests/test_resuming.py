"""Going on with a fit: in another process, with callbacks that remember, after an end of any kind."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from test_fitting import X, Y, network

from fastdnn import Model, layers, optimizers, schedules
from fastdnn.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint, ReduceLROnPlateau, TimeLimit
from fastdnn.optimizers import OPTIMIZERS


def parts(name):
    """An optimizer by its name, with a schedule where it takes one, and the layers it can train."""
    if name == "lbfgs":
        return optimizers.LBFGS(), ()
    rate = {"sgd": 0.05}.get(name, 0.005)
    extra = {"average": 0.9, "clip_norm": 1.0} if name != "schedule_free_adamw" else {}
    rate = rate if name == "schedule_free_adamw" else schedules.OneCycle(rate)
    return OPTIMIZERS[name](rate, **extra), (layers.BatchNorm(), layers.Dropout(0.3))


RESUME = """
import sys
import numpy as np
from fastdnn import Model, config_context
sys.path.insert(0, sys.argv[3])
import test_resuming as t
model = Model.load(sys.argv[1])
with config_context(n_threads=1):
    model.fit(t.X, t.Y, epochs=6, batch_size=100, validation_fraction=0.2, resume=True,
              callbacks=[t.EarlyStopping(patience=50)])
model.save(sys.argv[2])
"""


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resumed_in_another_process_is_as_if_never_ended(name, tmp_path):
    def fitted(epochs, end=None):
        optimizer, more = parts(name)
        model = network(*more, optimizer=optimizer)
        stop = [] if end is None else [LambdaCallback(lambda fit: "enough" if fit.epoch == end else None)]
        # a checkpoint within the fit: the best weights so far travel with it
        save = LambdaCallback(lambda fit: fit.model.save(tmp_path / "half.fdnn") if fit.epoch == 3 else None)
        model.fit(
            X, Y, epochs=epochs, batch_size=100, validation_fraction=0.2, callbacks=[EarlyStopping(patience=50), save, *stop]
        )
        return model

    whole, _ = fitted(6), fitted(6, end=3)
    script, here = tmp_path / "resume.py", os.path.dirname(__file__)
    script.write_text(RESUME)
    command = [sys.executable, script, tmp_path / "half.fdnn", tmp_path / "whole.fdnn", here]
    subprocess.run(command, check=True, capture_output=True, text=True)
    resumed = Model.load(tmp_path / "whole.fdnn")
    np.testing.assert_array_equal(resumed.params, whole.params)
    np.testing.assert_array_equal(resumed.state, whole.state)
    for key in ("loss", "val_loss", "val_accuracy"):
        assert resumed.history[key] == whole.history[key]
    if whole.averaged is not None:
        np.testing.assert_array_equal(resumed.averaged, whole.averaged)


@pytest.mark.parametrize("rate", [schedules.Exponential(0.01, 0.99), schedules.OneCycle(0.01, total=200), 0.003])
def test_two_fits_are_one_where_the_schedule_needs_no_number_of_steps(rate, tmp_path):
    once = network(layers.Dropout(0.2), optimizer=optimizers.Adam(rate))
    once.fit(X, Y, epochs=4)
    twice = network(layers.Dropout(0.2), optimizer=optimizers.Adam(rate))
    twice.fit(X, Y, epochs=2)
    twice.save(tmp_path / "m.fdnn")
    twice = Model.load(tmp_path / "m.fdnn")
    twice.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(once.params, twice.params)


def test_resume_without_a_fit_starts_one_and_with_a_finished_one_does_nothing():
    model = network()
    model.fit(X, Y, epochs=2, resume=True)
    before = model.params.copy()
    assert len(model.fit(X, Y, epochs=2, resume=True)["loss"]) == 2
    np.testing.assert_array_equal(model.params, before)
    assert len(model.fit(X, Y, epochs=3, resume=True)["loss"]) == 3
    assert len(model.fit(X, Y, epochs=1)["loss"]) == 1


def test_a_reduced_rate_and_patience_go_on_too(tmp_path):
    def callbacks():
        return [
            ReduceLROnPlateau("loss", 0.5, 1, 1.0),
            EarlyStopping("loss", patience=4, min_delta=100.0, restore_best=False),
        ]

    whole = network()
    whole.fit(X, Y, epochs=20, callbacks=callbacks())
    half = network()
    half.fit(X, Y, epochs=3, callbacks=callbacks())
    half.save(tmp_path / "m.fdnn")
    half = Model.load(tmp_path / "m.fdnn")
    half.fit(X, Y, epochs=20, callbacks=callbacks(), resume=True)
    assert half.history["rate"] == whole.history["rate"]
    np.testing.assert_array_equal(half.params, whole.params)


def test_the_best_epoch_before_an_end_counts_after_it(tmp_path):
    """Restored weights are those of the best epoch; a resumed fit that finds none better puts them back again."""
    model = network(optimizer=optimizers.SGD(50.0))  # gets worse
    with pytest.warns(ConvergenceWarning, match="the same for all samples"):
        first = model.fit(X, Y, epochs=50, validation_fraction=0.2, callbacks=[EarlyStopping(patience=3)])
    best = first.best("val_loss")
    assert first.restored == best
    before = model.params.copy()
    model.save(tmp_path / "m.fdnn")
    model = Model.load(tmp_path / "m.fdnn")
    stop = EarlyStopping(patience=30)
    model.fit(X, Y, epochs=len(first["loss"]) + 3, validation_fraction=0.2, callbacks=[stop], resume=True)
    if stop.best_epoch_ == best:
        np.testing.assert_array_equal(model.params, before)
    other = network(optimizer=optimizers.SGD(0.1))
    other.fit(X, Y, epochs=3, validation_fraction=0.2)
    stop = EarlyStopping(patience=30)
    other.fit(X, Y, epochs=4, validation_fraction=0.2, callbacks=[stop], resume=True)
    assert stop.best_epoch_ in (2, 3)


def test_a_checkpoint_of_a_resumed_fit_does_not_replace_a_better_one(tmp_path):
    path = tmp_path / "best.fdnn"
    model = network()
    model.fit(X, Y, epochs=3, validation_fraction=0.2, callbacks=[ModelCheckpoint(path)])
    best = Model.load(path).history["val_loss"][-1]
    model.optimizer.learning_rate = 1e3
    model.fit(X, Y, epochs=6, validation_fraction=0.2, callbacks=[ModelCheckpoint(path)], resume=True)
    assert Model.load(path).history["val_loss"][-1] == best


def test_validation_that_begins_later_is_aligned():
    model = network()
    model.fit(X, Y, epochs=2)
    history = model.fit(X, Y, epochs=4, validation_fraction=0.2, callbacks=[EarlyStopping("val_loss")], resume=True)
    assert np.isnan(history["val_loss"][:2]).all()
    assert np.isfinite(history["val_loss"][2:]).all()
    assert history.best("val_loss") == 3


def test_the_reason_is_in_the_checkpoint_and_a_cut_epoch_is_not(tmp_path, interruptible):
    path = tmp_path / "m.fdnn"
    callbacks = [ModelCheckpoint(path, best_only=False, every=3), EarlyStopping("val_accuracy", threshold=0.5)]
    network().fit(X, Y, epochs=200, validation_fraction=0.2, callbacks=callbacks)
    assert "threshold" in Model.load(path).history.stopped
    rows = np.tile(X, (200, 1))
    model = Model(
        [layers.Dense(256, activation="relu"), layers.Dense(256), layers.Dense(10)], "cross_entropy", random_state=0
    )

    def strike(fit):
        if fit.epoch == 1:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        model.fit(rows, np.tile(Y, 200), epochs=9, callbacks=[ModelCheckpoint(path, best_only=False), LambdaCallback(strike)])
    saved = Model.load(path)
    assert saved.step == saved.epochs * -(-len(rows) // 32)


def test_assigning_an_optimizer_begins_anew(tmp_path):
    model = network()
    model.fit(X, Y, epochs=2)
    model.optimizer = "sgd"
    model.save(tmp_path / "m.fdnn")
    assert Model.load(tmp_path / "m.fdnn").history is None
    assert len(model.fit(X, Y, epochs=2, resume=True)["loss"]) == 2


def test_lbfgs_that_has_had_its_iterations_stays():
    model = network(optimizer="lbfgs", dtype="float64")
    model.fit(X[:200], Y[:200], epochs=10)
    before = model.params.copy()
    model.fit(X[:200], Y[:200], epochs=5, resume=True)
    np.testing.assert_array_equal(model.params, before)


def test_time_limit_of_lbfgs():
    model = network(optimizer=optimizers.LBFGS(tolerance=0.0), n_out=10)
    history = model.fit(np.tile(X, (100, 1)), np.tile(Y, 100), epochs=10_000, callbacks=[TimeLimit(0.3)])
    assert "time limit" in history.stopped
    assert np.isfinite(model.params).all()


def test_two_reductions_multiply():
    callbacks = [ReduceLROnPlateau("loss", 0.5, 0, 1.0), ReduceLROnPlateau("loss", 0.1, 0, 1.0)]
    history = network().fit(X, Y, epochs=3, callbacks=callbacks)
    assert history["rate"] == pytest.approx([1e-3, 1e-3, 5e-5])
