"""The settings of the networks of a table, by task, preset and number of rows, and the networks that they make."""

import math
from dataclasses import dataclass, fields, replace

from ..layers import Dense, Dropout, Scale
from ..model import Model
from ..optimizers import AdamW
from ..schedules import CosLog

TINY = 50  # rows, below which none are held out


@dataclass(frozen=True)
class Recipe:
    """How the networks of an ensemble are built and trained.

    Reference: RealMLP-TD-S, arXiv:2407.04491, with changes whose gain was measured.

    Attributes
    ----------
    hidden : tuple of int or float
        Units of the hidden layers; a float is a multiple of the features behind the encoding.
    activation : str
        Of the hidden layers.
    rate : float
        Highest learning rate of a layer of one input; one of d inputs has 1 / sqrt(d) of it.
    epochs, batch_size : int
        Of the schedule, and of a step.
    bins : tuple of int
        Bins of the piecewise-linear encoding of numbers, of the networks in turns; 0 for none.
    dropout, weight_decay, label_smoothing : float
        Against learning by heart.
    members : int
        Networks of the ensemble.
    folds : int
        Parts of the rows, of which each network holds one out; 0 trains on all rows.
    refits : bool or None
        Whether the networks are trained anew on all rows, up to the epoch that was best for all together; None: where numbers
        are predicted well.
    logarithm : bool
        Whether they learn logarithms of the targets.
    """

    hidden: tuple = (128, 128, 128)
    activation: str = "mish"
    rate: float = 0.07
    epochs: int = 256
    batch_size: int = 256
    bins: tuple = (16,)
    dropout: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    members: int = 5
    folds: int = 5
    refits: bool | None = False
    logarithm: bool = False

    def model(self, first, n_inputs, n_outputs, loss, steps, seed):
        """The network behind `first`, layers that make n_inputs features of a row; its schedule is `steps` long."""
        optimizer = AdamW(CosLog(self.rate, total=steps), beta_2=BETA_2, weight_decay=self.weight_decay)
        layers = [*first, Scale(learning_rate_factor=SCALE_RATE), *self._layers(n_inputs, n_outputs)]
        return Model(layers, loss=loss, optimizer=optimizer, random_state=seed)

    def _layers(self, n_inputs, n_outputs):
        found, d = [], n_inputs
        for size in self.hidden:
            units = size if isinstance(size, int) else max(1, round(size * n_inputs))
            how = {
                "initializer": "lecun_normal",
                "bias_initializer": "lecun_normal",
                "learning_rate_factor": 1 / math.sqrt(d),
            }
            found.append(Dense(units, self.activation, bias_learning_rate_factor=BIAS_RATE, **how))
            found += [Dropout(self.dropout)] if self.dropout else []
            d = units
        return [*found, Dense(n_outputs, initializer=0.0, **_rates(d))]

    def __str__(self):
        usual = Recipe()
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return ", ".join(f"{k}={v}" for k, v in values.items() if k in ("hidden", "epochs") or v != getattr(usual, k))


def _rates(d):
    """Factors of the rate for the weights and the bias of a layer of d inputs."""
    return {"learning_rate_factor": 1 / math.sqrt(d), "bias_learning_rate_factor": BIAS_RATE}


# RealMLP's: factors of the rate of the scaling layer and of biases, and Adam's second decay.
SCALE_RATE, BIAS_RATE, BETA_2 = 6.0, 0.1, 0.95


NAMES = {"hidden_layer_sizes": "hidden", "learning_rate": "rate", "n_bins": "bins", "n_models": "members", "refit": "refits"}
SMALL = 5000  # rows, below which many short steps, many epochs and networks of all rows pay
# Rows from which on: epochs of the schedule, samples of a step. A fit seldom goes to the end of the schedule.
LENGTHS = ((200_000, 32, 1024), (30_000, 128, 256), (SMALL, 128, 128), (TINY, 256, 64))


def recipes_for(n, classes, preset, given, logarithms=(False,), spreads=False):
    """The recipes that are tried for a table, the usual one first; their weights are found on held out rows.

    n : rows     classes : whether probabilities are learned, not numbers     given : settings that the user has chosen
    logarithms : which of the targets themselves (False) and their logarithms (True) may be learned
    spreads : see `Task`
    """
    changes = {NAMES.get(name, name): value for name, value in given.items()}
    usual = Recipe(rate=0.04, label_smoothing=0.1) if classes else Recipe()
    members = {"fast": 1, "balanced": 5, "best": 10}
    if spreads and TINY <= n < SMALL:
        # Two networks have not seen a row: the spread around one is wider than around the mean of all. 80 % of energy's rows
        # were to be within: with 5 networks 84.1 % were, with 10 82.3 %.
        members["balanced"] = 10
    usual = replace(usual, members=members[preset], logarithm=logarithms[0])
    if n < TINY:  # all at once: nothing to choose by
        return [replace(replace(usual, epochs=128, batch_size=n, bins=(0,)), **changes | {"folds": 0, "refits": False})]
    epochs, batch_size = next(lengths for least, *lengths in LENGTHS if n >= least)
    usual = replace(usual, epochs=epochs, batch_size=batch_size)
    if n >= SMALL:
        usual = replace(usual, bins=(64,), dropout=0.1)
        others = [{"bins": (0,), "dropout": 0.0}, *([{"label_smoothing": 0.0}] if classes else [])]
    elif classes:
        usual = replace(usual, bins=(0, 16))
        others = [{"bins": (0,), "dropout": 0.3}, {"bins": (64,), "dropout": 0.3}]
    else:
        usual = replace(usual, bins=(48,), refits=False if preset == "fast" else None)
        others = [{"bins": (0,), "dropout": 0.3}]
    if preset == "fast":
        return [replace(replace(usual, epochs=epochs // 2), **changes)]
    others += [{"hidden": (), "bins": (0,)}] if n < SMALL else []
    others += [{"logarithm": True}] if len(logarithms) > 1 else []
    if preset == "best":
        others += [{"hidden": (256, 256, 256)}, {"rate": usual.rate / 3}, {"weight_decay": 0.03}]
    return list(dict.fromkeys(replace(replace(usual, **other), **changes) for other in [{}, *others]))


# Rows of a stream from which on: epochs of the schedule, networks of a recipe by preset. Of more than a million rows a few
# epochs are enough: a network has seen 16 million or more at the end of the schedule.
STREAMED = ((8_000_000, 2, (1, 1, 1)), (4_000_000, 4, (1, 1, 1)), (1_000_000, 16, (1, 1, 2)), (0, None, (1, 2, 4)))


def recipes_of_stream(n, classes, preset, given, logarithms):
    """`recipes_for` a stream that is read anew in each epoch of each network, of which the same rows are held out."""
    epochs, members = next(settings for least, *settings in STREAMED if n >= least)
    usual = {"n_models": members[("fast", "balanced", "best").index(preset)]}
    if epochs is not None:
        usual["epochs"] = max(1, epochs // 2) if preset == "fast" else epochs
    return recipes_for(n, classes, preset, usual | given | {"refit": False}, logarithms)
