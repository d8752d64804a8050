"""What the two networks of a generative adversarial pair are trained by."""

from .._math import absolute, log1p, maximum, sigmoid_parts
from .._simd import where
from .base import Loss, loss, scores_link
from .classification import LogLoss

KINDS = "non_saturating", "least_squares", "hinge"
PLAYERS = "discriminator", "generator"


@loss
class Adversarial(Loss):
    """Loss of a discriminator that tells real samples from made ones, or of the generator that makes them.

    A target t > 0 says that a score z is to be one of a real sample, t < 0 of a made one, and 0 that it does not count (of
    the scores for several classes, those of others). Losses of a score, for t > 0 and t < 0:

    - "non_saturating": log(1 + exp(z)) - t z and log(1 + exp(z)); link sigmoid
    - "least_squares": (z - t)^2 and z^2; no link
    - "hinge": max(0, 1 - z) and max(0, 1 + z), of the generator -z and z; no link

    A discriminator's is twice their mean: with as many real samples as made ones, the mean of either, added up.

    Parameters
    ----------
    kind : {"non_saturating", "least_squares", "hinge"}, default="non_saturating"
        As above.
    player : {"discriminator", "generator"}, default="discriminator"
        Whose loss it is.

    References
    ----------
    Goodfellow, I. et al. (2014). Generative adversarial networks. arXiv:1406.2661.
    Mao, X. et al. (2016). Least squares generative adversarial networks. arXiv:1611.04076.
    Lim, J. & Ye, J. (2017). Geometric GAN (hinge). arXiv:1705.02894.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.Adversarial("least_squares")).build(1)
    >>> model.params = 0 * model.params
    >>> model.loss_and_grad([[1.0], [2.0]], [0.5, -1.0])[0]  # 0.5^2 of the real one and 0 of the made one
    0.25
    """

    name = "adversarial"

    def __init__(self, kind="non_saturating", player="discriminator"):
        for name, value, allowed in (("kind", kind, KINDS), ("player", player, PLAYERS)):
            if not isinstance(value, str) or value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
        self.kind, self.player = kind, player

    def constants(self, dtype):
        linear = self.kind == "hinge" and self.player == "generator"
        return 3.0 if linear else float(KINDS.index(self.kind)), 2.0 if self.player == "discriminator" else 1.0

    def link_for(self, n_out):
        return LogLoss.link if self.kind == "non_saturating" else scores_link

    def pointwise(z, t, kind, factor):
        wanted = maximum(t, 0.0)
        p, u = sigmoid_parts(z)
        sign = where(t > 0.0, -1.0, 1.0)
        margin = maximum(1.0 + sign * z, 0.0)
        of_hinge = where(kind > 2.5, sign, where(margin > 0.0, sign, margin))  # NaN stays
        slope = where(kind < 0.5, p - wanted, where(kind < 1.5, 2.0 * (z - wanted), of_hinge))
        value = where(
            kind < 0.5,
            maximum(z, 0.0) - z * wanted + log1p(u),
            where(kind < 1.5, (z - wanted) * (z - wanted), where(kind < 2.5, margin, sign * z)),
        )
        counts = absolute(t) > 0.0
        return where(counts, factor * slope, 0.0), where(counts, factor * value, 0.0)

    def metric_names(self):
        return []

    def metrics(self, predictions, y, sample_weight):
        return {}
