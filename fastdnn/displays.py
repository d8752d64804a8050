"""Pictures of a training and of a network, as scikit-learn's displays; matplotlib is imported when one is drawn."""

import numpy as np

from .diagram import scene, size_of
from .scoring import check_mode, smaller_is_better

FORWARD, BACKWARD, MUTED = "#1868b7", "#b34700", "#777777"


def _pyplot():
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'fastdnn[plot]'") from error
    return plt


class TrainingCurveDisplay:
    """The curves of a training: losses, and the scores of the validation samples.

    Parameters
    ----------
    history : dict of str -> list of float
        A `History`, or any dict of lists with a value an epoch.
    monitor : str or None, default=None
        Key whose best epoch is marked; None is "val_loss", if there is one.
    mode : {"auto", "min", "max"}, default="auto"
        Whether its smallest or its largest value is the best; see `fastdnn.history.History.best`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Of the losses (or of all, where `ax` was given).
    ax_scores_ : matplotlib Axes or None
        Of the scores.
    figure_ : matplotlib Figure
    lines_ : dict of str -> Line2D
        By key of the history.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import DNNRegressor, TrainingCurveDisplay
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> regr = DNNRegressor(epochs=5, validation_fraction=0.2, random_state=0).fit(X, X[:, 0])
    >>> display = TrainingCurveDisplay.from_estimator(regr)
    >>> list(display.lines_)
    ['loss', 'val_loss', 'val_r2']
    """

    def __init__(self, history, monitor=None, mode="auto"):
        self.history, self.monitor, self.mode = history, monitor, check_mode(mode)

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, keys=None):
        """Draw the curves of a fitted estimator or model.

        Parameters
        ----------
        estimator : Model, GAN, an estimator of fastdnn's, or Pipeline ending with one
            Fitted; scikit-learn's own MLP too. Of a GAN the losses of both networks are drawn.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure, with the scores below the losses.
        keys : list of str, default=None
            What to draw; None draws losses and scores.

        Returns
        -------
        display : TrainingCurveDisplay

        Raises
        ------
        ValueError
            If it has not been fitted.
        """
        estimator = estimator[-1] if hasattr(estimator, "steps") else estimator
        history = getattr(estimator, "history_", None) or getattr(estimator, "history", None)
        if history is None and hasattr(estimator, "loss_curve_"):
            history = {"loss": estimator.loss_curve_}
            if getattr(estimator, "validation_scores_", None):
                history["val_score"] = estimator.validation_scores_
        if not history:
            raise ValueError(f"{type(estimator).__name__} has no history yet: call fit first")
        stopping = [c for c in getattr(estimator, "callbacks_", []) if getattr(c, "best_epoch_", None) is not None]
        watched = (stopping[-1].monitor, stopping[-1].mode) if stopping else ()  # the last one's weights are put back
        return cls(history, *watched).plot(ax=ax, keys=keys)

    def _falls(self, key):
        """Whether the smaller value of a key is the better one."""
        mode = self.mode if key == self.monitor else "auto"
        return smaller_is_better(key, mode, getattr(self.history, "scores", ()))

    def plot(self, ax=None, *, keys=None):
        """Draw; returns the display itself. Parameters as for `from_estimator`."""
        if keys is None:
            keys = [key for key in self.history if key.endswith("loss") or key.startswith("val_")]
        keys = [keys] if isinstance(keys, str) else list(keys)
        missing = [key for key in keys if key not in self.history]
        if missing or not keys:
            raise ValueError(f"keys must be among {sorted(self.history)}, got {missing}")
        losses = [key for key in keys if self._falls(key)]
        scores = [key for key in keys if key not in losses]
        self.ax_scores_, self.lines_ = None, {}
        if ax is not None:
            self.ax_, self.figure_ = ax, ax.figure
            groups = [(ax, keys)]
        elif losses and scores:
            self.figure_, axes = _pyplot().subplots(2, 1, sharex=True, figsize=(6.4, 6.4), layout="constrained")
            self.ax_, self.ax_scores_ = axes
            groups = [(axes[0], losses), (axes[1], scores)]
        else:
            self.figure_, self.ax_ = _pyplot().subplots(figsize=(6.4, 4.0), layout="constrained")
            groups = [(self.ax_, keys)]
        for where, group in groups:
            self._draw(where, group)
        groups[-1][0].set_xlabel("epoch")
        self._mark_best(groups)
        return self

    def _draw(self, ax, keys):
        for key in keys:
            values = self.history[key]
            style = "-" if len(values) > 1 else "o"
            (self.lines_[key],) = ax.plot(np.arange(1, len(values) + 1), values, style, label=key)
        kinds = {"loss" if key.endswith("loss") else "score" if key.startswith("val_") else key for key in keys}
        ax.set_ylabel(" / ".join(sorted(kinds)))
        ax.grid(alpha=0.3)
        ax.xaxis.get_major_locator().set_params(integer=True)

    def _mark_best(self, groups):
        """A vertical line at the best epoch of what was monitored."""
        key = self.monitor or "val_loss"
        values = np.array(self.history.get(key, []), float)
        if np.isfinite(values).any():
            best = int(np.nanargmin(values) if self._falls(key) else np.nanargmax(values))
            for ax, group in groups:
                label = f"best {key}: {values[best]:.4g}" if key in group else None
                ax.axvline(best + 1, color=MUTED, linestyle=":", label=label)
        for ax, _ in groups:
            ax.legend()


class NetworkDisplay:
    """A network on one sheet: layers, shapes, parameters, the way forward and the way of the gradients back.

    Parameters
    ----------
    model : Model
        Built or fitted.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from fastdnn import Model, NetworkDisplay, layers
    >>> model = Model([layers.Dense(32, activation="relu"), layers.Dense(2)], loss="cross_entropy").build(20)
    >>> NetworkDisplay.from_estimator(model).ax_.get_title()
    '2 layers, 738 parameters, 1,442 flops a row, float32'
    """

    def __init__(self, model):
        self.model = model

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the network of a fitted estimator, or a built model.

        Parameters
        ----------
        estimator : Model, DNNClassifier, DNNRegressor, MLPClassifier or MLPRegressor
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure of the drawing's size.

        Returns
        -------
        display : NetworkDisplay

        Raises
        ------
        ValueError
            If there is no network yet.
        """
        estimator = estimator[-1] if hasattr(estimator, "steps") else estimator
        model = getattr(estimator, "model_", None) or getattr(estimator, "_model", None) or estimator
        if getattr(model, "layout", None) is None:
            raise ValueError(f"{type(estimator).__name__} has no network yet: call fit, or build of a Model, first")
        return cls(model).plot(ax=ax)

    def plot(self, ax=None):
        """Draw; returns the display itself. Parameters as for `from_estimator`."""
        drawing = scene(self.model)
        if ax is None:
            _, ax = _pyplot().subplots(figsize=(drawing.width / 90, drawing.height / 90 + 0.4), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        ax.set(xlim=(0, drawing.width), ylim=(drawing.height, 0), aspect="equal", title=size_of(self.model))
        ax.set_axis_off()
        for rectangle in drawing.rectangles:
            _rectangle(ax, *rectangle)
        for points, kind in drawing.arrows:
            _arrow(ax, points, kind)
        size = ax.get_window_extent().transformed(self.figure_.dpi_scale_trans.inverted())
        font = 9 * min(1.0, size.width * 90 / drawing.width, size.height * 90 / drawing.height)
        for x, y, text, anchor, kind in drawing.texts:
            _text(ax, x, y, text, anchor, kind, font)
        return self


def _rectangle(ax, x, y, width, height, kind):
    from matplotlib.patches import FancyBboxPatch

    faces = {"layer": "#f0f2f5", "end": "white", "repeat": "none", "residual": "none"}
    ax.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=6",
            facecolor=faces[kind],
            edgecolor=MUTED,
            linestyle="--" if kind == "residual" else "-",
            linewidth=1.8 if kind == "repeat" else 1.0,
        )
    )


def _arrow(ax, points, kind):
    color = FORWARD if kind == "forward" else BACKWARD
    ax.plot(*zip(*points[:-1], strict=True), color=color, linewidth=1.4) if len(points) > 2 else None
    head = {"arrowstyle": "-|>", "color": color, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=points[-1], xytext=points[-2], arrowprops=head)


def _text(ax, x, y, text, anchor, kind, size):
    color = {"forward": FORWARD, "backward": BACKWARD, "detail": "#555555"}.get(kind, "black")
    align = {"start": "left", "middle": "center", "end": "right"}[anchor]
    weight = "bold" if kind in ("title", "badge") else "normal"
    ax.text(x, y, text.replace("$", r"\$"), ha=align, va="baseline", color=color, fontsize=size, fontweight=weight)
