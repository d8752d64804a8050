"""A fit: epochs of steps (or of L-BFGS, see `minimizing`), with what goes with it: history, validation, callbacks."""

import contextlib
import math
import time
import warnings

from . import rng
from ._guard import guard
from .callbacks import Callback
from .convergence import judged
from .feeding import ArrayFeed
from .history import History
from .minimizing import check_network, fit_lbfgs
from .network import Best
from .schedules import get_schedule
from .scoring import score, scored, smaller_is_better

ADDING = "LambdaCallback", "FunctionCallback", "Bridge", "Judge"  # callbacks that put keys of their own into the history


class Fit:
    """A fit under way: what callbacks see, and what drives them.

    Parameters
    ----------
    model : Model
        Built.
    training : Training
        The model bound to the samples.
    y : array-like
        Targets of the samples, as the user gave them.
    epochs : int
        How many are wanted; of a resumed fit, those before counted.
    rows : ndarray of int or None
        Rows to train on, where others are held out.
    validation : tuple (X, y, sample_weight or None) or None
        What is evaluated after each epoch.
    scorers : dict of str -> scorer
        Metrics of the validation data, beside the loss's own.
    judged : tuple (estimator, X, y) or None
        What the scorers get; None is a view of the model with the validation data.
    callbacks : list of Callback
        In the order in which they are called.
    shuffle : bool
        Whether each epoch takes the samples in another order.
    resume : bool
        Whether to go on with the model's last fit.
    estimator : estimator or None
        Whose fit it is, where it is an estimator's.
    scores : sequence of str
        Keys of scores that the history gets beside those of `scorers`.
    has_rate : bool or None
        Whether the steps have a learning rate, which is the optimizer's business if None.

    Attributes
    ----------
    history : History
        The model's.
    epoch : int
        Epochs done.
    validates : bool
        Whether the history gets keys that begin with "val_".
    bests : list of Best
        What callbacks keep of their best epochs, in the order of the callbacks.
    error : BaseException or None
        What ended the fit, once it has, if something did.
    mixing : Mixing or None
        What samples are mixed with, where they are.
    pruning : bool
        Whether a callback will prune the network further: what there is now is not what is wanted, however good it is.
    """

    def __init__(
        self, model, training, y, epochs, rows=None, validation=None, scorers=None, judged=None, callbacks=(), shuffle=True,
        resume=False, estimator=None, scores=(), has_rate=None,
    ):  # fmt: skip
        self.model, self.training, self.y, self.epochs, self.rows = model, training, y, epochs, rows
        self.validation, self.scorers, self.shuffle, self.estimator = validation, scorers or {}, shuffle, estimator
        self.epoch_is_over, self.error, self.bests, self._optimizer = True, None, [], model.optimizer
        self.judged, self.schedule, self.validates = judged, None, validation is not None or len(scores) > 0
        self.has_rate = not model.optimizer.full_batch if has_rate is None else has_rate
        self.scores, self.resumes = [*(f"val_{name}" for name in self.scorers), *scores], resume
        if validation is not None and judged is None:
            self.judged = scored(model, validation[3]), *validation[:2]
        self.began, self._fresh, self.mixing = False, not resume or model.history is None, None
        self.pruning, self.feed = False, ArrayFeed(self, rows)
        self.history = History() if self._fresh else model.history
        self.epoch = 0 if self._fresh else model.epochs - model.trained.fit_start[1]
        self.callbacks = sorted(callbacks, key=lambda callback: callback.comes_last)
        # Only what a callback has of its own: an epoch of a small network takes 0.4 ms.
        # Those that watch a key come after those that may record it.
        last = sorted(self.callbacks, key=lambda callback: callback.watches)
        self._hooks = {
            name: [
                getattr(c, name)
                for c in (last if name == "on_epoch_end" else self.callbacks)
                if getattr(type(c), name, None) is not getattr(Callback, name, None)
            ]
            for name in ("on_epoch_begin", "on_slice", "on_step", "on_turn", "on_epoch_end", "on_fit_end")
        }
        training.watch = self._on_slice if self._hooks["on_slice"] or self.feed.ahead else None

    # ------------------------------------------------------------ for callbacks

    @property
    def n(self):
        """Number of samples that are trained on in an epoch; None of a stream where nobody knows."""
        return self.feed.n

    @property
    def keys(self):
        """Keys that the history gets, as far as that is known: callbacks of the user's may add their own."""
        of_steps = ["rate", *["gradient_norm"] * self.training.measures_norm] if self.has_rate else []
        of_validation = self.model.history_keys(self.scorers, self.validation is not None)
        return list(dict.fromkeys(["loss", *of_steps, "seconds", *of_validation, *self.scores]))

    def sign(self, key, mode):
        """-1.0 where the smaller value of a key is the better one, 1.0 where the larger is; see `smaller_is_better`."""
        return -1.0 if smaller_is_better(key, mode, self.history.scores) else 1.0

    def best_of(self, epoch):
        """A `Best` of the calling callback's own, for `on_fit_begin`: of several callbacks', the last one's is put back.

        In it are the weights of that epoch, if the fit that is resumed has kept them; otherwise there is nothing in it.
        """
        kept = [] if self._fresh or epoch is None else [best for best in self.model.trained.bests if best.params is not None]
        kept = [best for best in kept if best.epoch in (epoch, None)]
        best = kept[0].copy() if kept else Best()
        best.epoch = epoch
        self.bests.append(best)
        return best

    def restore(self, best, key):
        """Put back the weights in `best`, from `best_of`, if it is the last in which there are some; for `on_fit_end`."""
        kept = [other for other in self.bests if other.params is not None]
        if kept and kept[-1] is best:
            self.history.restored, self.history.restored_by, self.model.trained.bests = best.epoch, key, [best]
            self.model.restore_best()

    def monitored(self, key, what="monitor"):
        """The key of the history that a callback is to watch; None is the validation loss, or the loss without one.

        ValueError if there will be none of that name, as far as that is known: callbacks of the user's may add their own.
        """
        if key is None:
            return "loss" if self.validation is None else "val_loss"
        if not isinstance(key, str):
            raise ValueError(f"{what} must be a key of the history, got {key!r}")
        parts = [*[self.model.loss] * self.validates, *self.callbacks]  # a loss may have metrics of its own
        ours = f"{__package__}."  # with the dot: a module of the user's may be called fastdnn_parts
        known = all(type(p).__module__.startswith(ours) and type(p).__name__ not in ADDING for p in parts)
        if known and key.startswith("val_") and not self.validates:
            raise ValueError(f"{what}={key!r} needs validation data; give some, or take one of {self.keys}")
        if known and key not in self.keys:
            raise ValueError(f"{what} must be a key of the history, one of {self.keys}, got {key!r}")
        return key

    def value(self, key):
        """The value of the last epoch; NaN if it has none because its loss was not finite."""
        values = self.history.get(key)
        if values is None and math.isfinite(self.history["loss"][-1]):
            raise ValueError(f"monitor must be a key of the history, one of {sorted(self.history)}, got {key!r}")
        return values[-1] if values is not None and len(values) == self.epoch else math.nan

    def sample(self, n):
        """The first n samples that are trained on and their targets, as `Model.loss_and_grad` takes them."""
        return self.feed.sample(n)

    # ------------------------------------------------------------ driving

    def __enter__(self):
        model = self.model
        for callback in self.callbacks:
            callback.check(self)
        factor, begun, self._first, stopped = model.trained.rate_factor, [], model.epochs - self.epoch, self.history.stopped
        self.history.scores = list(dict.fromkeys([*self.history.scores, *self.scores]))
        if self._fresh:
            model.trained.rate_factor, model.trained.place = 1.0, None
        try:
            for callback in self.callbacks:
                callback.on_fit_begin(self)
                begun.append(callback)
            self._look_for_another_optimizer()
        except BaseException as error:
            self._hooks["on_fit_end"], self.bests = [callback.on_fit_end for callback in begun], []
            self.__exit__(type(error), error, error.__traceback__)
            model.trained.rate_factor, self.history.stopped = factor, stopped
            raise
        if self._fresh:
            model.trained.fit_start = model.step, self._first
            # The last fit's epochs are not this one's.
            model.trained.bests = [best for best in model.trained.bests if best.epoch is None]
        self.history.stopped = self.history.restored = self.history.restored_by = None
        self._own()
        self._steps = [(0, hook) for hook in self._hooks["on_step"]]
        self.training.at_step, self.training.next_step = self.at_step, self.at_step()
        self.began = True
        return self

    def _own(self):
        """Give the model the history and best epochs of this fit; it forgets them when it gets another optimizer."""
        self.model.history, self._optimizer = self.history, self.model.optimizer
        self.model.trained.bests = self.bests or self.model.trained.bests

    def _look_for_another_optimizer(self):
        """Go on with the optimizer that a callback has assigned: its steps begin at 0, its schedule has what is left."""
        model, before = self.model, self._optimizer
        if model.optimizer is before:
            return
        self._own()
        model.trained.fit_start = model.step, self._first
        if model.optimizer.full_batch != before.full_batch:
            raise ValueError(
                f"a callback cannot put {model.optimizer!r} in the place of {before!r} during a fit; call fit anew with it"
            )
        if self.schedule is not None:
            self.set_schedule()

    def set_schedule(self):
        """Let the training follow the schedule of the model's optimizer."""
        model, training, self.schedule = self.model, self.training, get_schedule(self.model.optimizer.learning_rate)
        training.first_step = model.trained.fit_start[0] if self.schedule.spans_fit else 0
        if self.n is None:  # of a stream, whose schedule does not ask
            training.total_steps = None
            return
        left = (self.epochs - self.epoch) * -(-self.n // training.batch_size) - self.feed.steps_done
        training.total_steps = model.step - model.trained.fit_start[0] + left

    def __exit__(self, kind, error, trace):
        self.error = error
        if error is not None:
            ctrl_c = isinstance(error, KeyboardInterrupt)
            self.history.stopped = "interrupted by the user (Ctrl-C)" if ctrl_c else f"{kind.__name__}: {error}"
        self.training.watch, self.training.next_step, errors = None, None, []
        for end in self._hooks["on_fit_end"]:
            try:
                end(self)
                if self.began:
                    self._look_for_another_optimizer()
            except BaseException as problem:  # raised below: the others must have their end first, weights to be put back
                errors.append(problem)
        if error is not None:
            for problem in errors:
                error.add_note(f"and at the end of the fit: {type(problem).__name__}: {problem}")
        elif errors:
            raise errors[0]

    def call(self, hook, *args):
        """Call all callbacks; the first reason to stop is kept. Returns whether there is one."""
        for call in self._hooks[hook]:
            result = call(self, *args)
            if result and self.history.stopped is None:
                self.history.stopped = result if isinstance(result, str) else "a callback asked for it"
            self._look_for_another_optimizer()
        return self.history.stopped is not None

    def _on_slice(self, done):
        return self.call("on_slice", self.feed.share(done))

    def at_step(self):
        """Call the callbacks that want to be after this step; returns the next one after which one does, or None."""
        step = self.model.step
        self._steps = [(hook(self) if due <= step else due, hook) for due, hook in self._steps]
        self._steps = [(due, hook) for due, hook in self._steps if due is not None]
        return min((due for due, _ in self._steps), default=None)

    @property
    def span(self):
        """(the model's step before the first one of the fit, that after the last one), if it runs to its end.

        ValueError where nobody knows how many samples an epoch has.
        """
        if self.n is None:
            raise ValueError(
                "the stream does not say how many samples it has, from which steps are counted: give it a number n_samples"
            )
        first = self.model.trained.fit_start[0]
        return first, first + self.epochs * -(-self.n // self.training.batch_size)

    def order(self):
        """The rows of the next epoch, or None for all in their order."""
        if not self.shuffle:
            return self.rows
        order = rng.generator(self.model.seed, rng.SHUFFLE, self.model.epochs).permutation(self.n)
        return order if self.rows is None else self.rows[order]

    def begin_epoch(self):
        """What comes before an epoch."""
        self._began, self.epoch_is_over = time.perf_counter(), False
        self.call("on_epoch_begin")

    def end_epoch(self, loss, **figures):
        """What comes after an epoch: `record_epoch`, callbacks. Returns whether to stop."""
        with guard(self.model):
            self.record_epoch(loss, **figures)
        return self.call("on_epoch_end")

    def record_epoch(self, loss, **figures):
        """Validation, history, schedules that react."""
        model, values, finite = self.model, {"loss": loss}, math.isfinite(loss)
        self.epoch += 1
        model.epochs += 1
        self.epoch_is_over = True
        if self.validation is not None and finite:
            X, y, weights, lengths = self.validation
            values.update((f"val_{key}", value) for key, value in model.evaluate(X, y, weights, lengths).items())
            for name, scorer in self.scorers.items():
                values[f"val_{name}"] = score(name, scorer, *self.judged, weights)
        values.update(figures, seconds=time.perf_counter() - self._began)
        self.history.record(self.epoch - 1, values)
        if not finite:
            self.history.stopped = f"the loss is {loss} in epoch {self.epoch}"
        elif self.schedule is not None and self.schedule.reacts:
            self.schedule.observe(values.get("val_loss", loss), model.trained.plateau)


def fit(run, quiet=False):
    """Carry out a `Fit` with the model's optimizer; returns the `History`.

    quiet : whether nothing is said at the end of a model that is of little use, see `judged`: of one of many
    """
    full_batch = run.model.optimizer.full_batch
    if full_batch:
        check_network(run.model, run.training.program)
    if len(run.training.limits):
        run.model.optimizer.refuse("max_norm")
    if run.epoch >= run.epochs:  # a resumed fit that has nothing left to do
        return run.history
    guard(run.model).begin()
    with contextlib.closing(run.feed), contextlib.nullcontext() if quiet else judged(run), run:
        (fit_lbfgs if full_batch else fit_steps)(run)
    return run.history


def fit_steps(run):
    """Epochs of steps with the optimizer's rates."""
    history = run.history
    run.set_schedule()
    while run.epoch < run.epochs and history.stopped is None:
        run.begin_epoch()
        if not run.feed.epoch():  # stopped within the first batch
            break
        run.call("on_epoch_end")
        if not math.isfinite(history["loss"][-1]):
            warnings.warn(
                f"{history.stopped}: training stopped. Scale the data to about unit variance or take a smaller learning rate",
                RuntimeWarning,
                stacklevel=4,
            )
