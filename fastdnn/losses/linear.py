"""What any other program makes of the scores: a loss that is linear in them."""

from .base import Loss, loss


@loss
class Linear(Loss):
    """Scores times given coefficients, summed over the outputs: loss = sum_j y_j z_j; no link.

    The targets are the coefficients, any finite numbers: the derivative of something else with respect to the scores, or
    signs that say which scores are to rise (-1) and which to fall (1). Nothing bounds it from below; who trains with it does.
    Reference: Arjovsky et al. 2017, Wasserstein GAN, arXiv:1701.07875, whose critics are trained so.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.Linear(), dtype="float64").build(1)
    >>> model.weights["0.dense.kernel"] = [[2.0]]
    >>> model.input_gradient([[1.0], [5.0]], [-1.0, 1.0])
    array([[-1.],
           [ 1.]])
    """

    name = "linear"

    def pointwise(z, y, a, b):
        return y, y * z

    def metric_names(self):
        return []

    def metrics(self, predictions, y, sample_weight):
        return {}
