"""Model: a network of layers; fit, predict, evaluate, save, look inside."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike, DTypeLike

from .data.blocks import as_stream
from .fitting import fit
from .frozen import Predictor, freeze
from .history import History
from .html import network_html
from .layers import Layer
from .losses import Loss
from .optimizers import Optimizer
from .predictions import Predictions
from .preparing import prepare
from .saving import Files
from .specs import check_count
from .streaming import prepare_stream
from .summary import summary
from .training import Training


class Model(Predictions, Files):
    """A feed-forward network: layers one after the other, a loss, an optimizer.

    Parameters
    ----------
    layers : list of Layer
        At least one; the last one gives the scores that the loss works on.
    loss : str or Loss, default="squared_error"
        Name in `fastdnn.losses.LOSSES_TABLE`, or an instance for other settings than the default.
    optimizer : str or Optimizer, default="adam"
        Name in `fastdnn.optimizers.OPTIMIZERS`, or an instance for other settings than the default. A schedule in it runs
        once through each `fit`.
    dtype : {"float32", "float64", "bfloat16"}, default="float32"
        Float type of everything: parameters, activations, results. "bfloat16" is mixed precision: all this is float32, and in
        training `Dense`, `Conv1D` and `Conv2D` (from 32 inputs and outputs, 18 channels on, which must be even, without
        groups) multiply numbers rounded to bfloat16, of 8 bits, and sum up in float32. Predictions and evaluations are those
        of float32. It is faster where the processor has vdpbf16ps (`summary` says so), slower elsewhere, with the same bits
        but for denormal numbers.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the weights and the shuffles. The same seed gives the same bits on any number of threads.

    Attributes
    ----------
    params, grads : ndarray of shape (n,)
        All parameters and their gradients in flat arrays; rows of matrices are padded (the padding is 0 and stays 0).
    weights, gradients : dict of str -> ndarray
        Views into the two, "0.dense.kernel" of shape (n_in, n_out), "0.dense.bias" of shape (n_out,), in layer order.
        Assign with ``model.weights[key][...] = values``.
    history : History or None
        Of the last fit.
    epochs, step : int
        Epochs trained in all; steps since the optimizer was set.
    dtype, precision : numpy.dtype, str
        Float type of all values; what products are of in training, the `dtype` that was given.

    Raises
    ------
    ValueError
        If an argument is not one of those named above.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers
    >>> X = np.random.default_rng(0).standard_normal((200, 4)).astype("float32")
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> m = Model([layers.Dense(32, activation="tanh"), layers.Dense(2)], loss="cross_entropy", random_state=0)
    >>> history = m.fit(X, y, epochs=200, batch_size=20)
    >>> m.predict(X).shape
    (200, 2)
    >>> m.evaluate(X, y)["accuracy"] > 0.9
    True
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        loss: str | Loss = "squared_error",
        optimizer: str | Optimizer = "adam",
        dtype: DTypeLike = "float32",
        random_state: Any = None,
    ) -> None:
        super().__init__(layers, loss, optimizer, dtype, random_state)

    def bind(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, batch_size: int = 32, training: bool = True,
        piece: int | None = None, mixes: bool = False,
    ) -> Training:  # fmt: skip
        """A step of this network on the samples as they are at the time, without checks and allocations: a `Training`.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`; checked here, once. The network is built first, if it is not.
        batch_size : int, default=32
            Samples in a batch of `epoch`; ``step()`` takes all of them.
        training : bool, default=True
            Whether layers behave as in training.
        piece : int or None, default=None
            Samples that go through the network at once, where a batch is to be taken in several parts.
        mixes : bool, default=False
            Whether samples are mixed with others; for `fit`.

        Returns
        -------
        Training
            ``X`` and ``y`` are the arrays that its kernels read (X itself where it is a C-contiguous array of the model's
            float type); who writes into them decides about the next ``step()``, which returns the mean loss before it.
            ``epoch(order)`` takes the samples batch by batch, ``loss_and_grad()`` leaves the gradient in `grads`.

        Notes
        -----
        Numbers written into ``X`` and ``y`` later are not looked at: NaN in them makes the step's loss NaN, and it is left
        out (see `Optimizer`). Class numbers are, for kernels index with them.

        Examples
        --------
        >>> import numpy as np
        >>> from fastdnn import Model, layers
        >>> X, y = np.zeros((64, 3), "float32"), np.zeros(64, "float32")
        >>> bound, rng = Model([layers.Dense(1)], optimizer="sgd", random_state=0).bind(X, y), np.random.default_rng(0)
        >>> for _ in range(500):
        ...     X[...] = rng.standard_normal(X.shape)
        ...     bound.y[:, 0] = X.sum(axis=1)
        ...     loss = bound.step()
        >>> loss < 0.1
        True
        """
        source, targets, weights = self.check(self.network, X, y, sample_weight)
        batch_size = min(check_count("batch_size", batch_size), source.n)
        if self.layout is None:
            self.build(source.shape)
        return Training(self, source, targets, weights, batch_size, training=training, piece=piece, mixes=mixes)

    # ------------------------------------------------------------ training

    def fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        epochs: int = 1,
        batch_size: int = 32,
        sample_weight: ArrayLike | None = None,
        validation_data: tuple | None = None,
        callbacks: Sequence[Any] = (),
        verbose: int | str = 0,
        shuffle: bool = True,
        class_weight: dict | str | None = None,
        *,
        validation_fraction: float | None = None,
        validation_split: str = "random",
        groups: ArrayLike | None = None,
        scoring: Any = None,
        accumulate: int = 1,
        resume: bool = False,
        lengths: ArrayLike | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        shuffle_buffer: int | None = None,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features), or a stream
            Samples, finite; more dimensions where layers take them. A stream is a `fastdnn.data.BlockSource`
            (`ParquetSource`, say), or a list, a function or another iterable that gives blocks (X, y), (X, y, sample_weight)
            or (X, y, sample_weight, lengths) anew for each epoch; a generator gives one epoch.
        y : array-like of shape (n,) or (n, n_out), or None
            Targets: class numbers for "cross_entropy", otherwise numbers. None with a stream.
        epochs : int, default=1
            Passes over the data; with `resume` those already done are counted.
        batch_size : int, default=32
            Samples in a step; the last one of an epoch may have fewer.
        sample_weight : array-like of shape (n,) or None
            Weights >= 0 of the samples.
        validation_data : tuple (X, y), (X, y, sample_weight) or (X, y, sample_weight, lengths), a stream, or None
            Evaluated after each epoch.
        callbacks : sequence of Callback or callable, default=()
            See `fastdnn.callbacks`. A function is called after each epoch as ``f(model, history)``; a true result ends the
            training.
        verbose : {0, 1, 2, "log"}, default=0
            0 prints nothing; 1 shows a progress bar where rich is installed and there is a terminal or a notebook, otherwise
            a line an epoch; 2 a line an epoch; "log" the lines through the logger "fastdnn".
        shuffle : bool, default=True
            Whether to take the samples in another random order each epoch.
        class_weight : dict or "balanced", default=None
            Weight of each class, for targets that are class numbers: they multiply the sample weights in training, not in
            validation. "balanced" is (sum of the sample weights) / (number of classes * sum of those of the class).
        validation_fraction : float or None, default=None
            Part of the samples to hold out and evaluate after each epoch, in (0, 1), in place of `validation_data`.
        validation_split : {"random", "stratified", "grouped", "last"}, default="random"
            Which part: by class numbers y, by `groups` (whole ones), or the last samples of a series in time.
        groups : array-like of shape (n,) or None
            Group of each sample, for "grouped".
        scoring : str, callable, list or dict, default=None
            scikit-learn's scorers as metrics of the validation data: "roc_auc" becomes "val_roc_auc" of the history.
        accumulate : int, default=1
            Batches whose gradients add up to one step: like a batch of `batch_size * accumulate` samples, in the memory of
            one of `batch_size` (BatchNorm normalizes with the smaller ones).
        resume : bool, default=False
            Whether to go on with the last fit of this model, loaded from a file perhaps, up to `epochs` in all. Saved after
            an epoch (by `ModelCheckpoint`, say) it goes on as if it had not ended, bit for bit; a schedule without a number
            of steps of its own needs the same `epochs` as before for that. A model without a fit starts one.
        lengths : array-like of int, shape (n,), or None, default=None
            Steps of each sequence that count, 1 to time; those behind them are padding, whatever finite numbers (or ids)
            stand there. They keep the state of recurrent layers, whose output there is 0, and count in no loss, no metric, no
            batch statistics and no global pooling (see `layers.Masking` for where a mask ends). A batch takes time by its
            lengths.
        mixup : float, default=0.0
            In [0, inf); 0 turns it off. Each sample of a batch becomes share * sample + (1 - share) * another one of the
            epoch, and its target the same mixture; the share is drawn from Beta(mixup, mixup). Reference: Zhang et al.
            2018, arXiv:1710.09412.
        cutmix : float, default=0.0
            In [0, inf); 0 turns it off. A box of each image (height, width, channels) is taken from another one of the
            epoch. Its center is drawn uniformly, its part of the area is 1 - share, the share being drawn from Beta(cutmix,
            cutmix); it is cut off at the border, and targets are mixed by the area that is left. Reference: Yun et al.
            2019, arXiv:1905.04899.
        shuffle_buffer : int or None, default=None
            Of a stream: samples among which a batch is drawn; half as many more are in memory. None is what 64 MB hold.

        Returns
        -------
        History
            dict of lists, one value an epoch: "loss", "val_loss" and metrics with validation data, "rate",
            "gradient_norm", "seconds". Penalties (l1, l2) are part of "loss". Also `Model.history`; its attribute `stopped`
            says in words why the fit ended early.

        Raises
        ------
        ValueError
            If the data or an argument does not fit; raised before anything is changed.

        Warns
        -----
        RuntimeWarning
            If training has stopped because the loss of an epoch was not finite.
        sklearn.exceptions.ConvergenceWarning
            If the model is of little use at the end, and why: more than 1 % of the steps were left out (not finite), it gives
            the same for all samples, all samples or all targets are the same, there is only one.

        Notes
        -----
        Ctrl-C ends the training within about 0.1 s and raises KeyboardInterrupt; the model stays usable.

        A schedule without a number of steps of its own (``OneCycle(0.01)``) runs once through each fit; one that needs none,
        or has its own (``OneCycle(0.01, total=5000)``), goes on from fit to fit until another optimizer is assigned.

        With both mixup and cutmix each sample draws one of the two with equal probability. They take dense samples, a loss of
        numbers, cross_entropy or log_loss, and an optimizer of batches. "loss" is that of the mixed targets; what is
        validated or evaluated is not mixed. A sample's weight is its own, whatever it is mixed with. Samples are mixed before
        the first layer, but after a Reshape there.
        """
        given = {
            "epochs": epochs, "batch_size": batch_size, "validation_data": validation_data, "callbacks": callbacks,
            "verbose": verbose, "shuffle": shuffle, "class_weight": class_weight, "validation_split": validation_split,
            "scoring": scoring, "accumulate": accumulate, "resume": resume, "mixup": mixup, "cutmix": cutmix,
            "sample_weight": sample_weight, "validation_fraction": validation_fraction, "groups": groups, "lengths": lengths,
        }  # fmt: skip
        stream = as_stream(X, y)
        if stream is not None:
            return fit(prepare_stream(self, stream, shuffle_buffer=shuffle_buffer, **given))
        if shuffle_buffer is not None:
            raise ValueError("shuffle_buffer is for streams; samples of an array are shuffled among all")
        if y is None:
            raise ValueError("y is missing; without it X must be a stream of blocks (X, y), see fastdnn.data")
        return fit(prepare(self, X, y, **given))

    def freeze(self, dtype: str = "float32", calibration: Any = None, percentile: float = 100.0) -> Predictor:
        """A `Predictor` of this network as it is now: smaller, faster, and no training.

        Batch norm goes into the weights before it, dropout and augmentation go, activations join products. Of a `Dense` of
        whose weights 60 % or more are 0 (see `fastdnn.compress`) only the others are left, in "float32" and "float64".

        Parameters
        ----------
        dtype : {"float32", "float64", "bfloat16", "int8"}, default="float32"
            Of the products of dense and convolutional layers (groups and depthwise ones excepted); everything else, and all
            sums, are float32. "bfloat16" halves the weights, "int8" quarters them: 255 steps for each output of a layer.
        calibration : array-like of samples, or None
            "int8": what the ranges of all samples are taken from, once for all; numbers beyond are clipped. None finds the
            range of each row (in convolutions of each sample) as it comes, which takes longer and needs no data.
        percentile : float, default=100.0
            In (50, 100]: part of the numbers of the calibration data that lie in the range; 100 takes the least and the
            largest.

        Returns
        -------
        Predictor
            With ``predict(X, lengths=None, out=None)``, ``save(path)`` and ``summary()``.

        Raises
        ------
        ValueError
            If the model is not built, an argument is not one of those named above, or calibration is not of finite samples of
            the network's shape.

        Examples
        --------
        >>> import numpy as np
        >>> from fastdnn import Model, layers
        >>> m = Model([layers.Dense(16), layers.BatchNorm(activation="relu"), layers.Dense(3)], random_state=0).build(8)
        >>> X = np.random.default_rng(0).standard_normal((20, 8)).astype("float32")
        >>> bool(np.allclose(m.freeze().predict(X), m.predict(X), atol=1e-6))
        True
        >>> float(np.abs(m.freeze("int8").predict(X) - m.predict(X)).max()) < 0.1
        True
        """
        return freeze(Model, self, dtype, calibration, percentile)

    # ------------------------------------------------------------ looking inside

    def history_keys(self, scorers=(), validates=True):
        """Keys that a validation adds to the history."""
        return [f"val_{name}" for name in ("loss", *self.loss.metric_names(), *scorers)] if validates else []

    def summary(self, batch_size: int = 32) -> str:
        """Table of the layers, their output shapes, parameters and flops a row, as a string.

        Below it: the memory that a fit in batches of that size takes beside the samples, and the threads that it uses.
        ValueError if the model is not built.
        """
        self._built()
        return summary(self, check_count("batch_size", batch_size))

    def _repr_html_(self):
        """The network as a drawing, for notebooks."""
        return network_html(self)

    def __repr__(self):
        state = "not built" if self.layout is None else f"{self.layout.n_params:,} parameters"
        return f"<Model of {len(self.layers)} layers, {state}, {self.precision}>"
