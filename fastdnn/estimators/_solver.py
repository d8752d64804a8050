"""Learning rates of the stochastic solvers over the epochs, as scikit-learn has them."""

from ..optimizers import SGD, Adam


class StochasticSolver:
    """State of "sgd" or "adam" that lasts beyond an epoch, except the moments, which the network keeps.

    Attributes
    ----------
    learning_rate : float
        Present rate.
    optimizer : Optimizer
        What the network updates its parameters with.
    """

    def __init__(self, estimator):
        self.schedule = estimator.learning_rate if estimator.solver == "sgd" else "constant"
        self.learning_rate_init, self.power_t = estimator.learning_rate_init, estimator.power_t
        self.learning_rate = float(estimator.learning_rate_init)
        if estimator.solver == "sgd":
            self.optimizer = SGD(self.learning_rate, estimator.momentum, estimator.nesterovs_momentum)
        else:
            self.optimizer = Adam(self.learning_rate, estimator.beta_1, estimator.beta_2, estimator.epsilon)

    def iteration_ends(self, t):
        """After an epoch, with t samples seen so far: rate = init / (t + 1)^power_t if "invscaling"."""
        if self.schedule == "invscaling":
            self.learning_rate = float(self.learning_rate_init) / (t + 1) ** self.power_t

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
