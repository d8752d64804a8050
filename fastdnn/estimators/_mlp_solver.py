"""The stochastic solvers of the drop-in estimators: optimizers by name, and scikit-learn's learning rates over the epochs."""

from ..optimizers import SGD, Adagrad, Adam, AdamW, NAdam, RMSprop, ScheduleFreeAdamW

SOLVERS = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "schedule_free_adamw": ScheduleFreeAdamW,
}


class StochasticSolver:
    """State of a stochastic solver that lasts beyond an epoch, except the moments, which the network keeps.

    Attributes
    ----------
    learning_rate : float or None
        Present rate; None where a schedule gives each step its own.
    rate_factor : float
        What a schedule that reacts to the loss has made of its rates.
    optimizer : Optimizer
        What the network updates its parameters with.
    """

    def __init__(self, estimator, batch_size):
        self.schedule = estimator.learning_rate if estimator.solver == "sgd" else "constant"
        self.learning_rate_init, self.power_t = estimator.learning_rate_init, estimator.power_t
        self.learning_rate = float(estimator.learning_rate_init)
        self.step_schedule, self.state = estimator.schedule, {}
        # A diverging training ends with scikit-learn's error, so no step may be left out.
        rules = {"clip_norm": estimator.clip_norm, "clip_value": estimator.clip_value, "skip_nonfinite": False}
        rules["l1"] = estimator.l1 / batch_size  # as scikit-learn divides alpha
        if estimator.weight_decay is not None:
            rules["weight_decay"] = estimator.weight_decay
        e = estimator
        settings = {
            "sgd": {"momentum": e.momentum, "nesterov": e.nesterovs_momentum},
            "adam": {"beta_1": e.beta_1, "beta_2": e.beta_2, "epsilon": e.epsilon, "correct_epsilon": False},
            "rmsprop": {"epsilon": e.epsilon},
            "adagrad": {"epsilon": e.epsilon},
        }.get(e.solver, {"beta_1": e.beta_1, "beta_2": e.beta_2, "epsilon": e.epsilon})
        self.optimizer = SOLVERS[e.solver](self.learning_rate, **settings, **rules)
        if self.step_schedule is not None:
            self.optimizer.learning_rate, self.learning_rate = self.step_schedule, None

    def __copy__(self):
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__ | {"state": dict(self.state)})
        return new

    @property
    def rate_factor(self):
        """Factor of a schedule that reacts to the loss."""
        return self.state.get("factor", 1.0)

    def iteration_ends(self, t, loss):
        """After an epoch, with t samples seen so far: rate = init / (t + 1)^power_t if "invscaling"."""
        if self.schedule == "invscaling":
            self.learning_rate = float(self.learning_rate_init) / (t + 1) ** self.power_t
        if self.step_schedule is not None and self.step_schedule.reacts:
            self.step_schedule.observe(loss, self.state)

    def trigger_stopping(self, message, verbose):
        """Whether to stop when there is no improvement; "adaptive" divides the rate by 5 first, down to 1e-6."""
        stop = self.schedule != "adaptive" or self.learning_rate <= 1e-6
        if not stop:
            self.learning_rate /= 5.0
        if verbose:
            if not stop:
                print(f"{message} Setting learning rate to {self.learning_rate:f}")
            else:
                print(f"{message} {'Learning rate too small. ' if self.schedule == 'adaptive' else ''}Stopping.")
        return stop
