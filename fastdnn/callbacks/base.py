"""What a callback is. To add one, add one class in a file of this folder, and its line in the table of contents."""

from ..specs import Spec, setting_names


class Callback(Spec):
    """Base of the callbacks: what is called while a network is being fitted. A subclass overrides what it needs.

    Each method gets the `Fit` (see `fastdnn.fitting`) that is under way: its `model`, `history`, `epoch` (epochs done),
    `epochs`, `validation` and `estimator`.

    Settings are the constructor's arguments, kept under their names; what a callback remembers during a fit has a name that
    begins with an underscore, what it has found one that ends with one. `on_fit_begin` sets both anew, so one callback may
    serve one fit after the other; estimators fit with a copy, which their attribute `callbacks_` holds. Nothing that cannot
    be pickled or copied may be kept (no open files, no locks).

    A callback may put values of its own into the history: ``fit.history.record(fit.epoch - 1, {"mine": 3.0})``.

    `on_slice(fit, done)`, if a subclass has it, is called about every 0.1 s within an epoch, `done` being the part of it that
    is over; a true result ends the epoch early and the fit with it.

    `on_turn(fit)`, if a subclass has it, is called where samples come in a stream, after each turn of its shuffle buffer; a
    true result ends the fit. The model may be saved then, and the fit resumed there.

    `on_step(fit)`, if a subclass has it, is called before the first step, and then after each step that it asks for: it
    returns the number of the step (`fit.model.step`) after which it is called next, or None. It may change the network.
    Fits by L-BFGS have no such steps.
    """

    changeable = True
    watches = False  # whether it looks at a key of the history, and so comes after those that may record it
    comes_last = False  # whether it is called after all others, whatever its place in the list

    def _checked(self, name, value):
        names = setting_names(type(self))  # users' callbacks may remember under any name, and keep arguments under others
        return super()._checked(name, value) if name in names and names <= self.__dict__.keys() else value

    def check(self, fit):
        """ValueError if the callback does not fit the `Fit`; called for all callbacks before anything begins."""

    def on_fit_begin(self, fit):
        """Before the first epoch; `fit.history` has the epochs before if a fit is resumed."""

    def on_epoch_begin(self, fit):
        """Before an epoch."""

    def on_epoch_end(self, fit):
        """After an epoch; a true result ends the fit: the reason, as a string."""

    def on_fit_end(self, fit):
        """After the last epoch, whatever ended the fit (`fit.history.stopped` says what), Ctrl-C and errors included."""

    # scikit-learn's protocol (`sklearn.callback.FitCallback`), so that `estimator.set_callbacks` takes ours too: fastdnn's
    # estimators then call the methods above, and other ones these.

    def setup(self, estimator, context):
        """Nothing; part of scikit-learn's protocol."""

    def teardown(self, estimator, context):
        """Nothing; part of scikit-learn's protocol."""

    def on_fit_task_begin(self, estimator, context):
        """Nothing; part of scikit-learn's protocol."""

    def on_fit_task_end(self, estimator, context):
        """Nothing; part of scikit-learn's protocol."""
        return False


class FunctionCallback(Callback):
    """A function (model, history) of the user's as a callback: called after each epoch, a true result ends the fit."""

    def __init__(self, function):
        self.function = function

    def on_epoch_end(self, fit):
        return self.function(fit.model, fit.history)


def check_callbacks(given):
    """A list of `Callback`; ValueError unless it is one, a function (model, history), or a list of such."""
    given = list(given) if isinstance(given, (list, tuple)) else [] if given is None else [given]
    for callback in given:
        if isinstance(callback, type) or not (isinstance(callback, Callback) or callable(callback)):
            raise ValueError(
                f"callbacks must be a list of fastdnn callbacks or functions (model, history), got {callback!r} in it"
            )
    return [c if isinstance(c, Callback) else FunctionCallback(c) for c in given]
