"""Callback that looks into the layers and says in words what is wrong."""

import warnings

import numpy as np

from ..layers import Activation, Dense
from ..layers.activation_function import get_activation
from ..specs import check_count
from .base import Callback


class TrainingWarning(UserWarning):
    """What `GradientMonitor` has found."""


class GradientMonitor(Callback):
    """Look for dead units, and for gradients that vanish or explode on their way back, and say so in words.

    Parameters
    ----------
    every : int, default=1
        Look after every so many epochs (the first one included).
    rows : int, default=256
        Training samples to look with, the first ones. Less than 8, or samples that are all the same, say nothing of units
        that give the same value for every sample: then none are taken for dead.
    warn : bool, default=True
        Whether to warn (`TrainingWarning`) the first time that something is found, besides noting it in `history.notes`.

    Attributes
    ----------
    table_ : list of dict
        One for each weight matrix, as last seen: "key", "weights" and "gradient" (root mean squares), "ratio" (of the
        gradient to the largest of all), and for the activation after it "dead" (part of the units that give the same value
        for every sample, where the activation has a flat part).
    findings_ : list of str
        What has been found, "epoch 3: ...".

    Notes
    -----
    A look costs one forward and one backward pass of `rows` samples, and a forward pass for each layer with an activation
    that may die.

    A gradient vanishes where its root mean square is less than 1e-5 of the largest matrix's, and explodes where it is more
    than 1e3 times the median's. Units are reported as dead where it is a tenth of them or more.

    References
    ----------
    Glorot, X. & Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural networks. AISTATS.

    Examples
    --------
    >>> from fastdnn.callbacks import GradientMonitor
    >>> GradientMonitor(every=5)
    GradientMonitor(every=5)
    """

    VANISHED, EXPLODED, DEAD, LEAST_ROWS = 1e-5, 1e3, 0.1, 8

    def __init__(self, every=1, rows=256, warn=True):
        self.every, self.rows, self.warn = check_count("every", every), check_count("rows", rows), bool(warn)

    def on_fit_begin(self, fit):
        self.table_, self.findings_, self._said = [], [], set()

    def on_epoch_end(self, fit):
        if (fit.epoch - 1) % self.every:
            return
        self.table_ = _table(fit.model, *fit.sample(self.rows), self.LEAST_ROWS)
        for what, text in _findings(self.table_, self):
            finding = f"epoch {fit.epoch}: {text}"
            self.findings_.append(finding)
            fit.history.notes.append(finding)
            if self.warn and what not in self._said:
                warnings.warn(finding, TrainingWarning, stacklevel=2)
            self._said.add(what)


def _rms(a):
    return float(np.sqrt(np.mean(np.square(a, dtype=np.float64)))) if a.size else 0.0


def _table(model, X, y, least_rows):
    """A dict for each weight matrix, from the samples X and targets y; with `least_rows` of dead units, too."""
    model.loss_and_grad(X, y)
    gradients = {key: view for key, view in model.gradients.items() if view.ndim > 1}
    largest = max(map(_rms, gradients.values()), default=0.0)
    table = []
    for key, gradient in gradients.items():
        rms = _rms(gradient)
        row = {"key": key, "weights": _rms(model.weights[key]), "gradient": rms, "ratio": rms / largest if largest else 0.0}
        table.append(row)
    dead = dict(_dead(model, X)) if X.n >= least_rows and not X.all_same() else {}
    for row in table:
        if row["key"] in dead:
            row["dead"] = dead[row["key"]]
    return table


def _dead(model, X):
    """(key of the last weight matrix before it, part of the units that are dead) for each activation with a flat part."""
    last = None
    for number, layer in enumerate(model.layers):
        if isinstance(layer, Dense):
            last = f"{number}.{layer.name}.kernel"
        name = getattr(layer, "activation", None) if isinstance(layer, (Dense, Activation)) else None
        if last is not None and name is not None and get_activation(name).clamps:
            values = model.forward(X, layer=number)
            yield last, float(np.mean(np.ptp(values, axis=0) == 0))


def _findings(table, limits):
    """(kind and layer, text) of everything that is wrong."""
    median = float(np.median([row["gradient"] for row in table])) if table else 0.0
    for row in table:
        where = row["key"].rpartition(".")[0]
        if not np.isfinite(row["gradient"]):
            yield ("nan", where), f"the gradient of {where} is not finite; take a smaller learning rate, or clip_norm"
        elif row["ratio"] < limits.VANISHED:
            yield (
                ("vanished", where),
                f"the gradient of {where} vanishes: {row['ratio']:.1e} of the largest layer's. Residual layers, BatchNorm or "
                "LayerNorm, or relu in place of a saturating activation let it through",
            )
        elif median and row["gradient"] > limits.EXPLODED * median:
            yield (
                ("exploded", where),
                f"the gradient of {where} explodes: {row['gradient'] / median:.1e} times the median layer's. clip_norm, "
                "a smaller learning rate or smaller initial weights keep it in bounds",
            )
        if row.get("dead", 0.0) >= limits.DEAD:
            yield (
                ("dead", where),
                f"{row['dead']:.0%} of the units of {where} are dead: they give the same value for every sample. A smaller "
                "learning rate, leaky_relu or BatchNorm before the activation keep them alive",
            )
