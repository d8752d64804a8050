"""Settings that are assigned later are checked and converted like the constructor's arguments."""

import copy
import pickle

import numpy as np
import pytest

from fastdnn import DNNRegressor, Model, layers, losses, optimizers, schedules
from fastdnn.callbacks import Callback, EarlyStopping, GradientMonitor, ModelCheckpoint, ReduceLROnPlateau, TimeLimit
from fastdnn.optimizers import OPTIMIZERS

X = np.random.default_rng(0).standard_normal((64, 3)).astype("float32")
Y = X[:, :1] - X[:, 1:2]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("value", [-1, "abc", None, float("nan"), True])
def test_every_number_of_every_optimizer_is_checked(name, value):
    optimizer = OPTIMIZERS[name]()
    before = optimizer.settings()
    numbers = [key for key, default in before.items() if isinstance(default, float)]
    assert numbers
    for key in numbers:
        with pytest.raises(ValueError, match=key):
            setattr(optimizer, key, value)
    assert optimizer.settings() == before


@pytest.mark.parametrize(
    ("spec", "key", "value"),
    [
        (optimizers.SGD(), "clip_norm", 0),
        (optimizers.SGD(), "average", 1.0),
        (optimizers.ScheduleFreeAdamW(), "learning_rate", schedules.Constant(0.1)),
        (optimizers.LBFGS(), "history", 0),
        (EarlyStopping(), "patience", 0),
        (EarlyStopping(), "min_delta", "abc"),
        (TimeLimit(1), "seconds", -1),
        (ReduceLROnPlateau(), "factor", 1.0),
        (ModelCheckpoint("a-{epoch}", keep=2), "path", "a"),
        (GradientMonitor(), "rows", 1.5),
    ],
    ids=repr,
)
def test_what_does_not_fit_is_refused_and_changes_nothing(spec, key, value):
    before = copy.deepcopy(spec)
    with pytest.raises(ValueError, match=key if not isinstance(spec, ModelCheckpoint) else "path"):
        setattr(spec, key, value)
    assert spec == before


def test_what_fits_is_converted_and_used():
    model = Model([layers.Dense(1)], optimizer=optimizers.Adam(0.1), random_state=0)
    model.fit(X, Y)
    model.optimizer.learning_rate = np.float32(0.5)
    assert type(model.optimizer.learning_rate) is float
    assert model.fit(X, Y)["rate"] == [0.5]
    model.optimizer.learning_rate = schedules.Step(0.25, every=1)
    model.fit(X, Y, batch_size=64)
    checkpoint = ModelCheckpoint("a-{epoch}")
    checkpoint.path = "b-{loss}"
    assert checkpoint._fields == ["loss"]


def test_a_rate_may_be_changed_between_epochs_of_a_fit_and_a_wrong_one_ends_it():
    model = Model([layers.Dense(1)], optimizer=optimizers.SGD(0.1), random_state=0)

    def halve(model, history):
        model.optimizer.learning_rate *= 0.5

    assert model.fit(X, Y, epochs=3, callbacks=[halve])["rate"] == [0.1, 0.05, 0.025]

    def wrong(model, history):
        model.optimizer.learning_rate = -1

    with pytest.raises(ValueError, match="learning_rate"):
        model.fit(X, Y, epochs=3, callbacks=[wrong])


def test_a_name_that_is_no_setting_is_refused():
    with pytest.raises(AttributeError, match=r"no setting 'lr'.*learning_rate"):
        optimizers.Adam().lr = 0.1
    for spec in (layers.Dense(3), schedules.OneCycle(0.1), losses.Huber()):
        with pytest.raises(AttributeError, match="fixed"):
            spec.rate_of_change = 0.1


def test_copies_and_pickles_are_checked_too():
    adam = optimizers.Adam()
    for optimizer in (copy.copy(adam), copy.deepcopy(adam), pickle.loads(pickle.dumps(adam))):
        with pytest.raises(ValueError, match="learning_rate"):
            optimizer.learning_rate = 0
    fitted = DNNRegressor(hidden_layer_sizes=(4,), epochs=1, optimizer=optimizers.Adam()).fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="learning_rate"):
        fitted.model_.optimizer.learning_rate = 0


def test_callbacks_of_ones_own_remember_under_any_name():
    class Counter(Callback):
        def __init__(self, count=0, names=()):
            self.count, self.seen = count, list(names)  # `names` is kept under another name

        def on_epoch_end(self, fit):
            self.count += 1
            self.last = fit.epoch

    counter = Counter()
    Model([layers.Dense(1)], random_state=0).fit(X, Y, epochs=3, callbacks=[counter])
    assert (counter.count, counter.last) == (3, 3)
