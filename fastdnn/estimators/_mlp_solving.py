"""How the drop-in estimators train: scikit-learn's two kinds of solvers, step by step in its order, on fastdnn's engine."""

import contextlib
import warnings

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils.optimize import _check_optimize_result

from .._guard import guard
from ..fitting import Fit
from ..inputs import times
from ..minimizing import minimize, stop_iteration_passes
from ..rng import shuffle_as_numpy
from ..sources import Source
from ..steps import kept
from ..training import Training
from ._blas import one_blas_thread
from ._bridge import Bridge
from ._mlp_solver import StochasticSolver


class Solving:
    """The part of BaseMLP that minimizes: L-BFGS on all samples, stochastic solvers epoch by epoch."""

    def _training(self, source, y, sample_weight, batch_size, keep=False):
        """The network bound to samples; `keep` keeps the binding for the next call, of `partial_fit`, without the samples."""
        model = self._model
        targets = y.argmax(axis=1) if model.loss.labels and y.ndim > 1 else y
        targets = model.loss.check_targets(targets, model.n_out, model.dtype)
        key = "mlp", source.n, source.kind, targets.dtype, sample_weight is None, batch_size

        def make():
            return Training(model, source, targets, sample_weight, batch_size, as_sklearn=True)

        training = kept(model, key, make) if keep else make()
        training.take(source, targets, sample_weight)
        return training

    def _packed(self):
        """Positions of the weights in the flat buffer, in scikit-learn's order: all coefs_, then all intercepts_."""
        positions = np.arange(len(self._model.params))
        entries = sorted(self._model.layout.entries, key=lambda e: not e.decays)
        return np.concatenate([e.view(positions).ravel() for e in entries])

    def _loss_and_grad(self, training, x, positions):
        """Loss with its L2 term for the packed weights x, and its gradient, packed likewise, both in float64."""
        model = self._model
        model.make_writable()
        model.params[positions] = x
        loss = training.run_loss_and_grad()
        gradient = model.grads[positions].astype(np.float64)
        decay = self.alpha / (training.source.n if training.sample_weight is None else training.sample_weight.sum())
        decaying = x[: sum(w.size for w in self.coefs_)]
        gradient[: len(decaying)] += decay * decaying
        return loss + 0.5 * decay * np.dot(decaying, decaying), gradient

    def _loss_grad_lbfgs(self, packed, X, y, sample_weight, *_):
        """scikit-learn's private name for the function that L-BFGS minimizes; its own tests call it."""
        training = self._training(Source(X, self._model.dtype), y, sample_weight, len(y))
        return self._loss_and_grad(training, packed, self._packed())

    def _fit_lbfgs(self, source, y, sample_weight, callbacks):
        """SciPy's L-BFGS-B on the weights of the flat buffer, without its padding."""
        training = self._training(source, y, sample_weight, len(y))
        positions = self._packed()

        def report(intermediate_result):
            report.n += 1
            if self.verbose:
                print(f"Iteration {report.n}, loss = {intermediate_result.fun:.8f}")
            if run is not None:
                self._model.params[positions] = intermediate_result.x
                with stop_iteration_passes():
                    stops = run.end_epoch(float(intermediate_result.fun))
                if stops:
                    raise StopIteration  # which SciPy takes for the wish to end

        def objective(x):
            if run is not None and run.epoch_is_over and run.epoch < run.epochs:
                run.begin_epoch()
            return self._loss_and_grad(training, x, positions)

        report.n, run = 0, self._run(training, y, None, callbacks)
        with one_blas_thread(), run or contextlib.nullcontext():
            result = minimize(
                objective,
                self._model.params[positions].astype(np.float64),
                callback=report if self.verbose or run is not None else None,
                options={"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol},
            )
            self._model.params[positions] = result.x  # before the callbacks' end, which may put others back
        stopped = run is not None and run.history.stopped is not None  # no reason to warn
        self.n_iter_ = result.nit if stopped else _check_optimize_result("lbfgs", result, self.max_iter)
        self.loss_ = np.float64(result.fun)

    def _fit_stochastic(self, source, y, sample_weight, factors, first_pass, incremental, callbacks):
        model, largest = self._model, 200 if self.batch_size == "auto" else self.batch_size
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = StochasticSolver(self, min(largest, len(y)))
            model.optimizer = self._optimizer.optimizer
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        rows, validation = None, None
        if self.early_stopping:
            rows, validation = self._split(source, y, sample_weight)
        n = len(y) if rows is None else len(rows)
        batch_size = min(largest, n)
        if self.batch_size != "auto" and self.batch_size > n:
            warnings.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5)
        training = self._training(source, y, times(sample_weight, factors), batch_size, keep=incremental)
        if not incremental:
            training.first_step, training.total_steps = model.step, self.max_iter * -(-n // batch_size)
        # Only what is better than before this fit is put back at its end: so does scikit-learn, whose best weights are
        # the trained arrays themselves from the second fit on. A first fit starts with the initial weights as the best.
        best = model.params.copy() if self.early_stopping and first_pass else None
        order = np.arange(n, dtype=np.int64) if rows is None else rows.astype(np.int64)
        natural = not self.shuffle and rows is None
        self.n_iter_, run, mask = 0, self._run(training, y, rows, callbacks), model.mask
        guard(model).begin()
        try:
            with run or contextlib.nullcontext():
                while self.n_iter_ < self.max_iter:
                    if run is not None:
                        run.begin_epoch()
                    loss = self._epoch(training, order, natural)
                    if not training.done:  # stopped within the first batch
                        break
                    if not np.isfinite(loss) and not self.early_stopping and not np.isfinite(model.params).all():
                        break  # what has no number any more will not get one again; `_fit` says so
                    if (run is not None and run.pruning) or model.mask is not mask:
                        mask = model.mask
                        self._judge_anew()
                    if self._update_no_improvement_count(validation):
                        best = model.params.copy()
                    if run is not None and run.end_epoch(float(loss), **self._figures(training)):
                        break
                    if self._stops(loss if validation is None else -self.validation_scores_[-1]) or incremental:
                        break
                    if self.n_iter_ == self.max_iter:
                        warnings.warn(
                            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                            "converged yet.",
                            ConvergenceWarning,
                            stacklevel=5,
                        )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        finally:
            training.let_go()
        if best is not None:
            model.params[...] = best
            model.clear_pruned()

    def _epoch(self, training, order, natural):
        """One epoch, in another order unless it is to be the natural one; returns its loss."""
        if self.shuffle:
            shuffle_as_numpy(self._random_state, order)
        training.rate_factor = self._optimizer.rate_factor * self._model.trained.rate_factor
        with guard(self._model):  # another thread that pickles the estimator waits for a whole epoch
            loss = np.float64(training.run_epoch(None if natural else order, self._optimizer.learning_rate, self.alpha))
        if training.done:
            self.n_iter_ += 1
            self.loss_ = loss
            self.t_ += len(order)
            self.loss_curve_.append(loss)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        return loss

    def _stops(self, loss):
        """Whether there has been no improvement for too long; what the solver does after an epoch is done on the way."""
        self._optimizer.iteration_ends(self.t_, loss)
        if self._no_improvement_count > self.n_iter_no_change:
            what = "Validation score" if self.early_stopping else "Training loss"
            epochs = f"{self.n_iter_no_change:d} consecutive epochs."
            message = f"{what} did not improve more than tol={self.tol:f} for {epochs}"
            if self._optimizer.trigger_stopping(message, self.verbose):
                return True
            self._no_improvement_count = 0
        return False

    def _run(self, training, y, rows, callbacks):
        """The `Fit` that drives the callbacks, or None where there are none."""
        if not callbacks:
            self.__dict__.pop("history_", None)
            self.__dict__.pop("callbacks_", None)
            return None
        run = Fit(
            self._model, training, y, self.max_iter, rows, callbacks=callbacks, estimator=self,
            scores=["val_score"] if rows is not None else (), has_rate=self.solver != "lbfgs",
        )  # fmt: skip
        self.history_, self.callbacks_ = run.history, [c for c in callbacks if not isinstance(c, Bridge)]
        return run

    def _figures(self, training):
        """What the history holds of an epoch beside its loss."""
        found = {"rate": training.rate}
        if training.measures_norm and training.gradient_norm is not None:
            found["gradient_norm"] = training.gradient_norm
        return found | ({"val_score": self.validation_scores_[-1]} if self.early_stopping else {})

    def _split(self, source, y, sample_weight):
        """(rows to train on, (Source, y, weights) to validate on), drawn as scikit-learn draws them."""
        # Multilabel and multiclass targets are not stratified, as in scikit-learn: only one column of y can be.
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        train, held_out = train_test_split(
            np.arange(len(y)), random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        if len(held_out) < 2:
            raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
        weights = None if sample_weight is None else sample_weight[held_out]
        if weights is not None and not weights.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
        return train, (source.take(held_out), y[held_out], weights)

    def _judge_anew(self):
        """Compare no epoch to come with those before: there are none, or a callback has pruned the network since."""
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _update_no_improvement_count(self, validation):
        """Judge the epoch by the validation score or the training loss; True if it is the best validation so far."""
        if validation is None:
            better, value = self.loss_curve_[-1] < self.best_loss_, self.loss_curve_[-1]
            none = value > self.best_loss_ - self.tol
            if better:
                self.best_loss_ = value
            better = False
        else:
            source, y, weights = validation
            score = self._score(source, y, weights)
            self.validation_scores_.append(score)
            if self.verbose:
                print(f"Validation score: {score:f}")
            none = score < self.best_validation_score_ + self.tol
            better = score > self.best_validation_score_
            if better:
                self.best_validation_score_ = score
        self._no_improvement_count = self._no_improvement_count + 1 if none else 0
        return better
