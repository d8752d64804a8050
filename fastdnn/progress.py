"""What `verbose` shows of a fit: a bar of rich's on a terminal, otherwise lines, or records of `logging`."""

import logging

import numpy as np

from .callbacks import Callback


class Lines(Callback):
    """A line an epoch: "Epoch 3/10 loss 0.25  val_loss 0.31"."""

    def __init__(self, write):
        self.write = write

    def on_epoch_end(self, fit):
        self.write(f"Epoch {fit.epoch}/{fit.epochs} " + figures(fit))

    def on_fit_end(self, fit):
        if fit.history.stopped:
            self.write(f"Stopped after epoch {fit.epoch}: {fit.history.stopped}")


class Bar(Callback):
    """A progress bar with the figures of the last epoch."""

    def __init__(self, console):
        self.console = console

    def on_fit_begin(self, fit):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._progress = Progress(*columns, console=self.console)
        self._task = self._progress.add_task("", total=fit.epochs, completed=fit.epoch)
        self._progress.start()

    def on_slice(self, fit, done):
        self._progress.update(self._task, completed=fit.epoch + done)

    def on_epoch_end(self, fit):
        self._progress.update(self._task, completed=fit.epoch, description=figures(fit))

    def on_fit_end(self, fit):
        if fit.history.stopped:
            self._progress.update(self._task, description=f"{figures(fit)}  {fit.history.stopped}")
        self._progress.stop()


def figures(fit):
    """The last value of everything in the history, as text; without what is only of use in a table."""
    shown = {key: values[-1] for key, values in fit.history.items() if key not in ("seconds", "gradient_norm")}
    return "  ".join(f"{key} {value:.6g}" for key, value in shown.items())


def reporter(verbose):
    """A list with the callback that shows what `verbose` asks for, or none.

    Parameters
    ----------
    verbose : bool, int or "log"
        0 or False nothing; 1 or True a bar where rich is installed and there is a terminal or a notebook, otherwise a line
        an epoch; 2 or more a line an epoch; "log" the same lines through the logger "fastdnn", level INFO.
    """
    text = isinstance(verbose, str) and verbose == "log"
    if not text and not (isinstance(verbose, (bool, np.bool_, int, np.integer)) and verbose >= 0):
        raise ValueError(f"verbose must be 0, 1, 2 or 'log', got {verbose!r}")
    if not verbose:
        return []
    if text:
        return [Lines(logging.getLogger("fastdnn").info)]
    if verbose == 1:
        try:
            from rich.console import Console
        except ImportError:
            return [Lines(print)]
        console = Console()
        if console.is_terminal or console.is_jupyter:
            return [Bar(console)]
    return [Lines(print)]
