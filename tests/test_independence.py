"""Copies share nothing that training writes, a fit that fails leaves its estimator as it was, hooks have their ends."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from test_callbacks import X, Y, network

from fastdnn import DNNClassifier, MLPClassifier, MLPRegressor, Model, extending, layers, optimizers, schedules
from fastdnn.callbacks import Callback, EarlyStopping, LambdaCallback, TimeLimit
from fastdnn.history import History
from fastdnn.network import Best

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def state_of(model):
    """All of a model that training writes, by value."""
    found = {name: getattr(model.trained, name) for name in ("step", "epochs", "fit_start", "rate_factor", "plateau")}
    found["seed"] = model.seed
    found["history"] = dict(copy.deepcopy(model.history or {})), copy.deepcopy(vars(model.history)) if model.history else None
    found["arrays"] = [a.tobytes() for a in (model.params, model.state, model.moments, model.trained.control)]
    found["bests"] = [(best.epoch, best.params.tobytes(), best.state.tobytes()) for best in model.trained.bests]
    return found | {"optimizer": repr(model.optimizer), "averaged": model.averaged}


@pytest.mark.parametrize("duplicate", [Model.copy, copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(duplicate):
    model = network()
    model.optimizer = optimizers.Adam(schedules.ReduceOnPlateau(0.01, patience=0, min_delta=0.9))
    model.fit(X, Y, epochs=3)
    model.keep_best()
    before, other = state_of(model), duplicate(model)
    assert state_of(other) == before
    stop = EarlyStopping("loss", patience=9)
    other.fit(X, Y, epochs=6, resume=True, callbacks=[stop])
    other.optimizer.learning_rate = 0.5
    assert state_of(model) == before
    model.fit(X, Y, epochs=6, resume=True)
    assert [len(m.history["loss"]) for m in (model, other)] == [6, 6]
    assert model.history["loss"] == other.history["loss"]


@pytest.mark.parametrize("duplicate", [History.copy, copy.copy, copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_copies_of_a_history_are_independent(duplicate):
    history = network().fit(X, Y, epochs=2, callbacks=[EarlyStopping("loss")])
    history.notes.append("epoch 1: mine")
    before, noted, other = dict(copy.deepcopy(history)), copy.deepcopy(vars(history)), duplicate(history)
    assert type(other) is History
    assert (dict(other), vars(other)) == (before, noted)
    other.add(loss=1.0)
    other.notes.append("more")
    other.scores.append("val_f1")
    assert (dict(history), vars(history)) == (before, noted)


def test_pickles_of_before():
    """The model had all of `Trained` itself then, and one best epoch, a tuple, which `__new__` alone builds."""
    model = network()
    model.fit(X, Y, epochs=1)
    state, trained = model.__getstate__(), model.trained
    of_before = {name: state[name] for name in ("network", "_optimizer", "_dtype", "seed", "_grads")}
    of_before |= {"_slots": trained.moments, "_averaged": trained.averaged, "rules": trained.control}
    of_before |= {
        name: getattr(trained, name) for name in ("step", "epochs", "plateau", "rate_factor", "fit_start", "history")
    }
    of_before["best"] = Best.__new__(Best, model.params * 2, model.state.copy())
    other = Model.__new__(Model)
    other.__setstate__(of_before)
    other.copy().fit(X, Y, epochs=2, resume=True)
    other.restore_best()
    np.testing.assert_array_equal(other.params, model.params * 2)
    assert other.best is None


def test_copies_of_a_model_from_a_memory_map_share_no_workspace(tmp_path):
    model = network()
    model.fit(X, Y, epochs=1)
    joblib.dump(model, tmp_path / "m.joblib")
    mapped = joblib.load(tmp_path / "m.joblib", mmap_mode="r")
    other = mapped.copy()
    assert other.network.idle is not mapped.network.idle
    other.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(mapped.params, model.params)


@pytest.mark.parametrize("loaded", ["mapped", "pickled"])
def test_a_model_from_a_memory_map_goes_on_with_its_best(loaded, tmp_path):
    def callbacks(*more):
        return [LambdaCallback(lambda fit: fit.history.record(fit.epoch - 1, {"v": -abs(fit.epoch - 2)})), *more]

    def dump(fit):
        if fit.epoch == 3:
            joblib.dump(fit.model, tmp_path / "m.joblib")

    model = network()
    model.fit(X, Y, epochs=5, callbacks=callbacks(EarlyStopping("v", 9), LambdaCallback(dump)))
    other = joblib.load(tmp_path / "m.joblib", mmap_mode="r" if loaded == "mapped" else None)
    other.fit(X, Y, epochs=5, callbacks=callbacks(EarlyStopping("v", 9)), resume=True)
    assert other.history.restored == 1
    np.testing.assert_array_equal(other.params, model.params)


def test_methods_of_a_model_from_a_memory_map_that_write(tmp_path):
    model = Model([layers.Dense(8), layers.BatchNorm(), layers.Dense(10)], "cross_entropy", random_state=0)
    model.fit(X, Y, epochs=2)
    model.keep_best()
    joblib.dump(model, tmp_path / "m.joblib")

    def mapped():
        return joblib.load(tmp_path / "m.joblib", mmap_mode="r")

    other = mapped()
    other.restore_best()  # the parameters are equal: nothing but the statistics is written
    np.testing.assert_array_equal(other.state, model.state)
    other = mapped()
    other.make_writable()
    assert all(best.params.flags.writeable and best.state.flags.writeable for best in other.trained.bests)
    other.keep_best()
    assert other.best.params.flags.writeable


# ---------------------------------------------------------------- a fit that fails


def failing(at):
    def fail(fit):
        if fit.model.epochs >= at:
            raise RuntimeError("disk full")

    return LambdaCallback(fail)


def more_of(estimator, how):
    first = {"classes": np.unique(Y)} if how == "partial_fit" and not isinstance(estimator, MLPRegressor) else {}
    return estimator.partial_fit(X, Y, **first) if how == "partial_fit" else estimator.fit(X, Y)


def attributes(estimator):
    return {k: repr(v) for k, v in vars(estimator).items() if k not in ("model_", "_model", "_random_state", "_optimizer")}


ESTIMATORS = [
    DNNClassifier([layers.Dense(8, activation="relu")], epochs=3, random_state=0),
    MLPClassifier((8,), max_iter=3, random_state=0),
    MLPRegressor(
        hidden_layer_sizes=(8,), max_iter=3, solver="adamw", random_state=0,
        schedule=schedules.ReduceOnPlateau(0.01, patience=0, min_delta=0.9),
    ),
]  # fmt: skip


@pytest.mark.parametrize("how", ["partial_fit", "warm_start", "fit"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(estimator, how):
    model = clone(estimator).set_params(callbacks=[failing(99)], warm_start=how == "warm_start")
    network_of = "model_" if isinstance(model, DNNClassifier) else "_model"
    more_of(more_of(model, how), how)
    net = getattr(model, network_of)
    before, seen, view = attributes(model), state_of(net), next(iter(net.weights.values()))
    rate = getattr(model, "_optimizer", None) and dict(model._optimizer.state)
    same = copy.deepcopy(model)
    model.callbacks[0]._functions["on_epoch_end"] = failing(1)._functions["on_epoch_end"]
    with pytest.raises(RuntimeError, match="disk full"):
        more_of(model, how)
    model.callbacks[0]._functions["on_epoch_end"] = same.callbacks[0]._functions["on_epoch_end"]
    assert getattr(model, network_of) is net
    assert attributes(model) == before
    assert state_of(net) == seen
    assert next(iter(net.weights.values())).ctypes.data == view.ctypes.data
    assert rate is None or model._optimizer.state == rate
    more_of(model, how), more_of(same, how)  # goes on as if nothing had been
    assert model.history_["loss"] == same.history_["loss"]
    np.testing.assert_array_equal(getattr(model, network_of).params, getattr(same, network_of).params)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_first_fit_that_fails_leaves_nothing(estimator):
    model = clone(estimator).set_params(callbacks=[failing(1)])
    before = set(vars(model))
    with pytest.raises(RuntimeError, match="disk full"):
        more_of(model, "partial_fit")
    assert set(vars(model)) == before


def test_a_warning_that_is_an_error_leaves_the_estimator_as_it_was():
    model = MLPClassifier((8,), max_iter=3, warm_start=True, random_state=0).fit(X, Y)
    before, curve = state_of(model._model), list(model.loss_curve_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="Maximum iterations"):
            model.fit(X, Y)
    assert state_of(model._model) == before
    assert model.loss_curve_ == curve


# ---------------------------------------------------------------- StopIteration and ends


@pytest.mark.parametrize("hook", ["on_fit_begin", "on_epoch_begin", "on_epoch_end"])
@pytest.mark.parametrize("fit", [
    lambda c: network(optimizer="adam").fit(X, Y, epochs=9, callbacks=c),
    lambda c: network(optimizer="lbfgs").fit(X, Y, epochs=9, callbacks=c),
    lambda c: MLPClassifier((8,), solver="lbfgs", random_state=0, callbacks=c).fit(X, Y),
    lambda c: DNNClassifier([layers.Dense(8)], optimizer="lbfgs", random_state=0, callbacks=c).fit(X, Y),
])  # fmt: skip
def test_a_stop_iteration_of_a_callback_passes_on(fit, hook):
    seen, ends = [], LambdaCallback(on_fit_end=lambda fit: seen.append((fit.history.stopped, fit.epoch)))

    def stop(self, fit):
        if fit.epoch == (0 if hook == "on_fit_begin" else 2):
            raise StopIteration("mine")

    with pytest.raises(StopIteration, match="mine"):
        fit([ends, type("Stops", (Callback,), {hook: stop})()])
    assert seen == [("StopIteration: mine", 0 if hook == "on_fit_begin" else 2)]


def test_a_stop_iteration_within_an_iteration_passes_on():
    class Stops(Callback):
        def on_slice(self, fit, done):
            raise StopIteration("mine")

    model = network(optimizer="lbfgs")
    with pytest.raises(StopIteration, match="mine"):
        model.fit(X, Y, epochs=9, callbacks=[Stops()])
    assert model.history.stopped == "StopIteration: mine"


def test_a_time_limit_still_ends_lbfgs():
    many = np.tile(X, (100, 1)), np.tile(Y, 100)
    history = network(optimizer=optimizers.LBFGS(tolerance=0.0)).fit(*many, epochs=10**6, callbacks=[TimeLimit(0.2)])
    assert "time limit" in history.stopped
    stop = LambdaCallback(lambda fit: "enough" if fit.epoch == 3 else None)
    model = MLPClassifier(solver="lbfgs", random_state=0, callbacks=[stop]).fit(X, Y)
    assert (model.n_iter_, model.history_.stopped) == (3, "enough")


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_those_that_have_begun_have_their_end(error, resume):
    seen = []

    def hook(name):
        return {
            "on_fit_begin": lambda fit: seen.append(f"begin {name}"),
            "on_fit_end": lambda fit: seen.append(f"end {name}"),
        }

    def fail(fit):
        raise error

    model = network()
    model.fit(X, Y, epochs=2, callbacks=[EarlyStopping("loss")])
    model.trained.rate_factor = 0.5
    before = state_of(model)
    third = LambdaCallback(on_fit_begin=fail, on_fit_end=lambda fit: seen.append("end third"))
    callbacks = [LambdaCallback(**hook("first")), LambdaCallback(**hook("second")), third, LambdaCallback(**hook("fourth"))]
    with pytest.raises(type(error)):
        model.fit(X, Y, epochs=9, resume=resume, callbacks=callbacks)
    assert seen == ["begin first", "begin second", "end first", "end second"]
    assert state_of(model) == before


def test_an_interrupted_end_does_not_keep_others_from_theirs():
    def strike(fit):
        raise KeyboardInterrupt

    seen, stop = [], EarlyStopping("loss")
    model = network()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=2, callbacks=[LambdaCallback(on_fit_end=strike), stop, LambdaCallback(on_fit_end=seen.append)])
    assert len(seen) == 1
    assert model.history.restored == stop.best_epoch_


# ---------------------------------------------------------------- smaller ones


@pytest.mark.parametrize(("verbose", "lines"), [(np.True_, 2), (np.False_, 0), (np.int64(2), 2)])
def test_verbose_of_numpys_types(verbose, lines, capsys):
    network().fit(X, Y, epochs=2, verbose=verbose)
    assert capsys.readouterr().out.count("\n") == lines
    DNNClassifier([layers.Dense(4)], epochs=2, verbose=verbose).fit(X, Y)
    assert capsys.readouterr().out.count("\n") == lines


@pytest.mark.parametrize("verbose", [np.array([1, 2]), "loud", -1, None, 1.5])
def test_verbose_that_is_none(verbose):
    with pytest.raises(ValueError, match="verbose must be 0, 1, 2 or 'log'"):
        network().fit(X, Y, verbose=verbose)


def test_parts_that_are_in_no_table_are_named_when_loading(tmp_path):
    class Undecorated(extending.Loss):
        """log(1 + (z - y)^2)."""

        def pointwise(z, y, a, b):
            r = z - y
            return 2.0 * r / (1.0 + r * r), extending.log(1.0 + r * r)

    model = Model([layers.Dense(1)], loss=Undecorated(), random_state=0)
    model.fit(X, Y, epochs=1)
    model.save(tmp_path / "m.fdnn")
    with pytest.raises(ValueError, match="'Undecorated' is not a known part; give classes of your own as `parts`"):
        Model.load(tmp_path / "m.fdnn")
    loaded = Model.load(tmp_path / "m.fdnn", parts=[Undecorated])
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert type(loaded.loss) is Undecorated
