"""Pruning while a network is trained, a little at a time."""

from ..callbacks import Callback
from ..specs import check_count, check_number
from .pruning import check_scope, prunable, prune

SCHEDULES = {  # part of the sparsity that there is to be after a part u of the time
    "polynomial": lambda u: 1 - (1 - u) ** 3,
    "linear": lambda u: u,
    "once": lambda u: 1.0,
}


class MagnitudePruning(Callback):
    """Prune the weights that are smallest while a network is trained, until a part of them is 0; the others make up for it.

    A pruned weight stays 0: in this fit and in later ones, with any optimizer, in files and copies (see `Model.mask`). The
    fit takes as long as without; what gets faster is `Model.freeze`'s predictor, from half of the weights on.

    Parameters
    ----------
    sparsity : float
        Part of the weights that are 0 in the end, in [0, 1).
    start, end : float, default=0.0 and 0.75
        Between which parts of the fit's steps weights are pruned, 0 <= start <= end <= 1. After that the network has time to
        settle.
    every : int, default=100
        Steps of the optimizer from one time to the next; once at `end` in any case.
    schedule : {"polynomial", "linear", "once"}, default="polynomial"
        "polynomial": sparsity (1 - (1 - u)^3), u going from 0 at `start` to 1 at `end`: much while there is much that is not
        needed, little in the end. "once": all at `start`.
    layers, scope
        As for `compress.prune`.

    Raises
    ------
    ValueError
        If an argument is out of its range; when a fit begins, if the optimizer is L-BFGS, which minimizes one function from
        beginning to end (a network that is pruned already it can train), or there is nothing to prune.

    Notes
    -----
    The history gets "sparsity", the part that is pruned of the weights that may be. `EarlyStopping`, `ModelCheckpoint` and
    estimators that stop by themselves do not compare epochs with different ones, nor end the fit before `end`. A fit that is
    resumed with the same number of epochs goes on as if it had not ended. Where a fit has no end, `partial_fit`, prune with
    `compress.prune` from time to time.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, compress, layers
    >>> X = np.random.default_rng(0).standard_normal((500, 8)).astype("float32")
    >>> model = Model([layers.Dense(64, "relu"), layers.Dense(1)], random_state=0)
    >>> pruning = compress.MagnitudePruning(0.9, every=10)
    >>> history = model.fit(X, X[:, 0] - X[:, 1], epochs=20, callbacks=[pruning])
    >>> round(compress.sparsity(model)["all"], 2), round(history["sparsity"][-1], 2)
    (0.9, 0.9)

    References
    ----------
    Zhu, M. & Gupta, S. (2017). To prune, or not to prune: exploring the efficacy of pruning for model compression.
    arXiv:1710.01878.
    """

    def __init__(self, sparsity, start=0.0, end=0.75, every=100, schedule="polynomial", layers=None, scope="layer"):
        self.sparsity = check_number("sparsity", sparsity, "[0, 1)")
        self.start, self.end = check_number("start", start, "[0, 1]"), check_number("end", end, "[0, 1]")
        if self.start > self.end:
            raise ValueError(f"start must not be greater than end, got {start!r} and {end!r}")
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(map(repr, SCHEDULES))}, got {schedule!r}")
        self.every, self.schedule, self.scope = check_count("every", every), schedule, check_scope(scope)
        self.layers = list(layers) if isinstance(layers, tuple) else layers

    def check(self, fit):
        if not fit.has_rate:
            raise ValueError(
                "MagnitudePruning needs an optimizer of single steps, and L-BFGS has none; prune with AdamW or SGD (what is "
                "pruned stays so when L-BFGS trains on), or at once with compress.prune"
            )
        if not hasattr(fit.model, "mask"):
            raise ValueError(f"MagnitudePruning prunes single networks, got {type(fit.model).__name__}")
        prunable(fit.model, self.layers)

    def on_fit_begin(self, fit):
        fit.pruning = True

    def on_step(self, fit):
        (begin, end), step = fit.span, fit.model.step
        first, last = (begin + round(part * (end - begin)) for part in (self.start, self.end))
        last = first if self.schedule == "once" else last
        if step < first:
            return first
        u = min(1.0, (step - first) / (last - first)) if last > first else 1.0
        between = u < 1 and (step - first) % self.every  # of a fit that is resumed: its next time is to come
        if u > 0 and not between:
            prune(fit.model, self.sparsity * SCHEDULES[self.schedule](u), self.layers, self.scope)
        fit.pruning = step < last
        return min(last, first + ((step - first) // self.every + 1) * self.every) if fit.pruning else None

    def on_epoch_end(self, fit):
        fit.history.record(fit.epoch - 1, {"sparsity": self._pruned(fit.model)})

    def _pruned(self, model):
        """Part that is pruned of the weights that may be."""
        kept = model.layout.views(model.params if model.mask is None else model.mask)
        views = [kept[key] for key in prunable(model, self.layers)]
        pruned = 0 if model.mask is None else sum(int((view == 0).sum()) for view in views)
        return pruned / sum(view.size for view in views)

    def on_fit_end(self, fit):
        if fit.pruning and fit.error is None:
            fit.history.notes.append(
                f"the fit ended before all was pruned: {self._pruned(fit.model):.1%} of {self.sparsity:.1%}"
            )
        fit.pruning = False
