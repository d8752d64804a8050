"""Model: a network of layers that owns the flat arrays; build, fit, predict, evaluate, look inside."""

import warnings

import numpy as np
from sklearn.utils import assert_all_finite

from . import engine, rng
from .history import History
from .inputs import Source
from .layers.base import DATA, LOSSES, RESULT, SAMPLE_WEIGHT, SCALE, Layer, Y, check_count
from .losses import get_loss, scores_link
from .optimizers import get_optimizer
from .program import Layout, Program, aligned, own
from .training import PIECE, Training, worthwhile_threads

CHUNK_BYTES = 512 * 1024  # activations of a chunk in inference: about half of a second-level cache
DTYPES = ("float32", "float64")


def check_weights(sample_weight, n):
    """float64 array of shape (n,) or None; ValueError unless finite, not negative and not all zero."""
    if sample_weight is None:
        return None
    weights = np.ascontiguousarray(sample_weight, np.float64)
    if weights.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), got {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError("sample_weight must be finite, not negative and not all zero")
    return weights


class Model:
    """A feed-forward network: layers one after the other, a loss, an optimizer.

    Parameters
    ----------
    layers : list of Layer
        At least one; the last one gives the scores that the loss works on.
    loss : str or Loss, default="squared_error"
        Name in `fastdnn.losses`: "squared_error", "cross_entropy", "log_loss", "poisson".
    optimizer : str or Optimizer, default="adam"
        Name in `fastdnn.optimizers`, or an instance for other settings than the default.
    dtype : {"float32", "float64"}, default="float32"
        Float type of everything: parameters, activations, results.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the weights and the shuffles. The same seed gives the same bits on any number of threads.

    Attributes
    ----------
    params, grads : ndarray of shape (n,)
        All parameters and their gradients in flat arrays; rows of matrices are padded (the padding is 0 and stays 0).
    weights, gradients : dict of str -> ndarray
        Views into the two, "0.dense.kernel" of shape (n_in, n_out), "0.dense.bias" of shape (n_out,), in layer order.
        Assign with ``model.weights[key][...] = values``.

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

    def __init__(self, layers, loss="squared_error", optimizer="adam", dtype="float32", random_state=None):
        layers = list(layers) if isinstance(layers, (list, tuple)) else layers
        if not isinstance(layers, list) or not layers or not all(isinstance(layer, Layer) for layer in layers):
            raise ValueError(f"layers must be a list of at least one fastdnn layer, got {layers!r}")
        name = np.dtype(dtype).name
        if name not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
        self.layers, self.loss, self.optimizer = layers, get_loss(loss), get_optimizer(optimizer)
        self.dtype, self.seed = np.dtype(name), rng.check_seed(random_state)
        self.layout = self.params = self.slots = None
        self.step, self.epochs = 0, 0
        self._grads, self._idle = None, []

    # ------------------------------------------------------------ building

    def build(self, input_shape, initialize=True):
        """Lay out the parameters for samples of that shape and initialize them.

        Parameters
        ----------
        input_shape : tuple of int or int
            Shape of one sample, (features,).
        initialize : bool, default=True
            Whether to draw initial values; otherwise all parameters are 0.

        Returns
        -------
        Model
            Itself.

        Raises
        ------
        ValueError
            If a layer does not fit the shape; the message names it.
        """
        shape = (input_shape,) if isinstance(input_shape, (int, np.integer)) else tuple(input_shape)
        shape = tuple(check_count("input_shape", n) for n in shape)
        self.layout = Layout(self.layers, shape)
        self.params = aligned(self.layout.size, self.dtype)
        for i, entry in enumerate(self.layout.entries if initialize else ()):
            fan_in, fan_out = (entry.shape[0], entry.shape[-1]) if len(entry.shape) > 1 else (1, entry.shape[0])
            draw = rng.INITIALIZERS[entry.initializer]
            entry.view(self.params)[...] = draw(rng.generator(self.seed, rng.WEIGHTS, i), entry.shape, fan_in, fan_out)
        self._grads, self.slots, self._idle = None, None, []
        self.step, self.epochs = 0, 0
        return self

    def _built(self):
        if self.layout is None:
            raise ValueError("this Model has no parameters yet: call fit(X, y) or build(input_shape) first")

    @property
    def grads(self):
        """Flat gradient, as the last `loss_and_grad` or training step left it."""
        self._built()
        if self._grads is None:
            self._grads = aligned(self.layout.size, self.dtype)
        return self._grads

    @property
    def weights(self):
        """dict of views into `params`, in layer order."""
        self._built()
        return self.layout.views(self.params)

    @property
    def gradients(self):
        """dict of views into `grads`, with the keys of `weights`."""
        return self.layout.views(self.grads)

    def make_writable(self):
        """Give the model flat arrays of its own, aligned for the kernels, where they came read-only from a memory map."""
        self.params, self.slots = own(self.params), own(self.slots)

    def make_slots(self):
        """The optimizer's flat memory, made on first use."""
        if self.slots is None:
            self.slots = aligned(max(1, self.optimizer.n_slots) * self.layout.size, self.dtype)
        return self.slots

    def reset_optimizer(self, optimizer=None):
        """Forget the optimizer's memory; take another optimizer if one is given."""
        self.optimizer = self.optimizer if optimizer is None else get_optimizer(optimizer)
        self.slots, self.step = None, 0

    # ------------------------------------------------------------ data

    def _source(self, X, build=False, finite=True):
        source = X if isinstance(X, Source) else Source(X, self.dtype)
        if source.n == 0:
            raise ValueError("X has no samples")
        if finite:
            assert_all_finite(source.arrays[0], input_name="X")
        if self.layout is None and build:
            self.build(source.shape)
        self._built()
        if tuple(source.shape) != self.layout.shapes[0]:
            raise ValueError(f"X must hold samples of shape {self.layout.shapes[0]}, got {tuple(source.shape)}")
        return source

    @property
    def n_out(self):
        """Number of scores of a sample."""
        self._built()
        return int(np.prod(self.layout.shapes[-1]))

    def training(self, X, y, sample_weight=None, batch_size=32):
        """A `Training` of this network on the data, checked; what `fit` and the estimators drive epoch by epoch."""
        source = self._source(X, build=True)
        targets = self.loss.check_targets(y, self.n_out, self.dtype)
        if np.ndim(y) == 0 or len(y) != source.n:
            raise ValueError(f"X has {source.n} samples and y has {np.shape(y)[:1] or 'none'}; they must be as many")
        weights = check_weights(sample_weight, source.n)
        return Training(self, source, targets, weights, min(check_count("batch_size", batch_size), source.n))

    # ------------------------------------------------------------ training

    def fit(
        self, X, y, epochs=1, batch_size=32, sample_weight=None, validation_data=None, callbacks=(), verbose=0, shuffle=True
    ):  # fmt: skip
        """Train for a number of epochs.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, features)
            Samples, finite.
        y : array-like of shape (n,) or (n, n_out)
            Targets: class numbers for "cross_entropy", otherwise numbers.
        epochs : int, default=1
            Passes over the data.
        batch_size : int, default=32
            Samples in a step; the last one of an epoch may have fewer.
        sample_weight : array-like of shape (n,) or None
            Weights >= 0 of the samples.
        validation_data : tuple (X, y) or None
            Evaluated after each epoch.
        callbacks : sequence of callable, default=()
            Each is called after each epoch as ``callback(model, history)``; a true result ends the training.
        verbose : int, default=0
            0 prints nothing, 1 a line an epoch.
        shuffle : bool, default=True
            Whether to take the samples in another random order each epoch.

        Returns
        -------
        History
            dict of lists, one value an epoch: "loss", and "val_loss" and the metrics with `validation_data`.

        Raises
        ------
        ValueError
            If the data or an argument does not fit; raised before anything is changed.

        Notes
        -----
        Ctrl-C ends the training within about 0.1 s and raises KeyboardInterrupt; the model stays usable.
        """
        check_count("epochs", epochs)
        training = self.training(X, y, sample_weight, batch_size)
        history = History()
        for epoch in range(epochs):
            order = rng.generator(self.seed, rng.SHUFFLE, self.epochs).permutation(training.source.n) if shuffle else None
            history.add(loss=training.epoch(order))
            self.epochs += 1
            if validation_data is not None:
                history.add(**{f"val_{k}": v for k, v in self.evaluate(*validation_data).items()})
            if verbose:
                print(f"Epoch {epoch + 1}/{epochs} " + "  ".join(f"{k} {v[-1]:.6g}" for k, v in history.items()))
            if not np.isfinite(history["loss"][-1]):
                warnings.warn(
                    f"the loss is {history['loss'][-1]} in epoch {epoch + 1}: training stopped. Scale the data to about unit "
                    "variance or take a smaller learning rate",
                    RuntimeWarning,
                    stacklevel=2,
                )
                break
            if any([callback(self, history) for callback in callbacks]):
                break
        return history

    def loss_and_grad(self, X, y, sample_weight=None, training=False):
        """Mean loss of the samples and its gradient, without changing the parameters.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        training : bool, default=False
            Whether layers that behave differently in training do so (none of the present ones does).

        Returns
        -------
        loss : float
        gradient : ndarray, laid out as `params`
            A copy of `grads`.
        """
        run = self.training(X, y, sample_weight, PIECE)
        return run.loss_and_grad(), self.grads.copy()

    # ------------------------------------------------------------ inference

    def forward(self, X):
        """Raw scores, before the loss's link: ndarray of shape (n, n_out). NaN in a sample gives NaN in its scores."""
        return self._infer(X, scores_link)

    def predict(self, X):
        """Predictions, the loss's link applied (probabilities, means): ndarray of shape (n, n_out).

        Computed in chunks: beyond the result, memory does not grow with n. A row's result does not depend on the others.
        """
        return self._infer(X, self.loss.link)

    def _infer(self, X, kernel):
        source = self._source(X, finite=False)
        result = np.empty((source.n, self.n_out), self.dtype)
        data = np.zeros(DATA, np.int64)
        data[RESULT] = result.ctypes.data
        self._run(source, data, kernel)
        return result

    def _run(self, source, data, kernel):
        """Take all samples forward and end with `kernel`, on a program that no other Python thread uses meanwhile."""
        flops = 2 * self.layout.size * source.n
        threads = worthwhile_threads(flops, 1, self.dtype.itemsize)
        program = self._borrow(source)
        threads = min(threads, -(-source.n // program.rows))
        source.fill(data)
        program.end_with(kernel)
        work = program.workspace(threads)
        at = np.zeros(engine.AT, np.int64)
        at[: engine.WORK + 1] = self.params.ctypes.data, 0, work.ctypes.data
        step = max(program.rows * threads, int(2e9 / max(1, 2 * self.layout.size)))  # about 0.1 s, for Ctrl-C
        for first in range(0, source.n, step):
            last = min(first + step, source.n)
            engine.infer(threads, program.table, data, at, program.n_work * work.itemsize, program.rows, first, last)
        self._idle.append(program)

    def _borrow(self, source):
        while self._idle:
            program = self._idle.pop()
            if program.sparse == source.sparse:
                return program
        widest = max(int(np.prod(shape)) for shape in self.layout.shapes)
        rows = min(256, max(32, CHUNK_BYTES // (2 * widest * self.dtype.itemsize)))
        return Program(self.layers, self.layout, self.loss, source, self.dtype, rows, training=False)

    def evaluate(self, X, y, sample_weight=None):
        """Loss and metrics of the samples.

        Returns
        -------
        dict
            "loss", and "accuracy" for "cross_entropy" and "log_loss" or "r2" otherwise.
        """
        source = self._source(X, finite=False)
        targets = self.loss.check_targets(y, self.n_out, self.dtype)
        if len(y) != source.n:
            raise ValueError(f"X has {source.n} samples and y has {len(y)}; they must be as many")
        weights = check_weights(sample_weight, source.n)
        losses, scale = np.zeros(source.n), np.array([1.0 / (source.n if weights is None else weights.sum())])
        data = np.zeros(DATA, np.int64)
        data[[Y, LOSSES, SCALE]] = targets.ctypes.data, losses.ctypes.data, scale.ctypes.data
        if weights is not None:
            data[SAMPLE_WEIGHT] = weights.ctypes.data
        self._run(source, data, self.loss.kernel)
        return {"loss": float(losses.sum()), **self.loss.metrics(self.predict(X), np.asarray(y), weights)}

    # ------------------------------------------------------------ looking inside

    def summary(self):
        """Table of the layers, their output shapes and parameters, as a string."""
        self._built()
        rows = [("layer", "output", "parameters")]
        for i, layer in enumerate(self.layers):
            count = sum(int(np.prod(e.shape)) for e in self.layout.entries if e.layer == i)
            rows.append((f"{i}.{layer!r}", str(self.layout.shapes[i + 1]), f"{count:,}"))
        widths = [max(len(row[c]) for row in rows) for c in range(3)]
        lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        lines.insert(1, "-" * len(lines[0]))
        total = self.layout.n_params
        lines.append(f"{total:,} parameters, {total * self.dtype.itemsize / 1e6:.2f} MB in {self.dtype.name}")
        lines.append(f"input {self.layout.shapes[0]}, {self.loss!r}, {self.optimizer!r}")
        return "\n".join(lines)

    def __repr__(self):
        state = "not built" if self.layout is None else f"{self.layout.n_params:,} parameters"
        return f"<Model of {len(self.layers)} layers, {state}, {self.dtype.name}>"

    def __getstate__(self):
        return {**self.__dict__, "_idle": [], "_grads": None}
