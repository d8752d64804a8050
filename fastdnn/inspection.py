"""What a prediction hangs on: gradients of scores with respect to the samples, and their integrals."""

from typing import Any

import numpy as np
import scipy.special
from numpy.typing import ArrayLike

from .estimators import DNNClassifier, DNNRegressor, MLPClassifier, MLPRegressor
from .estimators._predict import checked
from .inputs import as_numbers, check_dense
from .model import Model
from .planning import value_bytes
from .specs import check_count

__all__ = ["input_gradients", "integrated_gradients"]

ESTIMATORS = DNNClassifier, DNNRegressor, MLPClassifier, MLPRegressor
BYTES = 1 << 25  # of values and their gradients of the rows that go through a network at once, and of the points of a path
ROWS = 4096  # most of them


def _network_of(model, X):
    """(`Model`, X as its estimator checks it); ValueError unless there are gradients with respect to such samples."""
    if not isinstance(model, (Model, *ESTIMATORS)):
        got, hint = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__, ""
        if hasattr(model, "named_steps"):
            hint = "; transform X by the steps before the network: pass pipeline[-1] and pipeline[:-1].transform(X)"
        elif hasattr(model, "best_estimator_"):
            hint = "; pass its best_estimator_"
        names = ", ".join(cls.__name__ for cls in ESTIMATORS)
        raise ValueError(f"model must be a fastdnn.Model or a fitted {names}, got {got}{hint}")
    network = model if isinstance(model, Model) else model._fitted_network()
    layout = network._built().layout
    if network.layers[0].takes_ids:
        raise ValueError(
            f"X of a network that begins with {network.layers[0]!r} holds ids, which have no gradients; pass a Model of the "
            "layers behind it, with their weights, and what it gives: model.forward(X, layer=0)"
        )
    if len(layout.shapes[-1]) != 1:
        raise ValueError(
            f"model must give a vector of scores for each sample, got scores of shape {layout.shapes[-1]}; "
            "Model.vjp(X, dscores) takes gradients of any combination of them"
        )
    check_dense(X, "X")
    return network, X if network is model else checked(model, network, X)


class _Inspected:
    """A network, samples for it, and of each sample the score that is looked at.

    Parameters
    ----------
    model, X, target, lengths
        As for `input_gradients`.

    Attributes
    ----------
    network : Model
    X : ndarray of shape (n, ...)
        The samples, finite, of whatever number type.
    mask : ndarray of shape (n, time), or None
        True where a step of a sequence counts.
    """

    def __init__(self, model, X, target, lengths):
        self.network, X = _network_of(model, X)
        source = self.network._source(X, self.network.layout, lengths=lengths)
        self.X = source.arrays[0].reshape(source.n, *source.shape)
        self.mask = None if source.mask is None else source.mask > 0
        self._lengths = None if lengths is None else np.asarray(lengths)
        n_out, loss = self.network.n_out, self.network.loss
        of_classes = loss.labels or "accuracy" in loss.metric_names()
        self._by_sign = of_classes and n_out == 1 and not loss.labels  # one score for two classes
        self._labels = getattr(model, "classes_", np.arange(2 if self._by_sign else n_out))
        self._what = "classes" if of_classes else "outputs"
        self._numbers = self._numbers_of(target if target is not None or of_classes else 0)

    def _numbers_of(self, target):
        """(n,) positions of the targets among the labels, None for the predicted ones; ValueError if there is another."""
        if target is None:
            return None
        n, labels, what = len(self.X), np.asarray(self._labels).tolist(), self._what
        try:
            shape = np.shape(target)
        except ValueError:  # of lists of several lengths
            shape = "of several lengths"
        if shape not in ((), (n,)):
            raise ValueError(f"target must be one of the {what}, or one for each of the {n} samples, got shape {shape}")
        known = {label: i for i, label in enumerate(labels)}
        given = [target] if shape == () else list(target)
        given = [value.item() if isinstance(value, (np.generic, np.ndarray)) else value for value in given]
        wrong = [value for value in given if value.__hash__ is None or value not in known]
        if wrong:
            some = f"{labels}" if len(labels) < 12 else f"{labels[0]!r}, {labels[1]!r}, ..., {labels[-1]!r}"
            raise ValueError(f"target must be one of the {what} {some}, or an array of them, got {wrong[0]!r}")
        return np.broadcast_to([known[value] for value in given], (n,))

    @property
    def rows(self):
        """Rows that go through the network at once."""
        return max(1, min(ROWS, BYTES // value_bytes(self.network.layout, self.network.dtype.itemsize)))

    def parts(self, rows):
        """Slices of the samples, so many at a time."""
        return [slice(first, min(first + rows, len(self.X))) for first in range(0, len(self.X), rows)]

    def samples(self, part):
        """Samples of a slice, of the network's float type."""
        return self.X[part].astype(self.network.dtype, copy=False)

    def dscores(self, part):
        """(rows, n_out): 1, or -1, at the score of each sample of a slice that is looked at, 0 elsewhere."""
        if self._numbers is not None:
            numbers = self._numbers[part]
        else:
            scores = self.network.forward(self.X[part], lengths=self._lengths_of(part, 1))
            numbers = scores[:, 0] > 0 if self._by_sign else scores.argmax(axis=1)
        found = np.zeros((len(numbers), self.network.n_out), self.network.dtype)
        columns, values = (0, np.where(numbers == 1, 1, -1)) if self._by_sign else (numbers, 1)
        found[np.arange(len(numbers)), columns] = values
        return found

    def gradients(self, X, dscores, part):
        """Gradient of sum(scores * dscores) with respect to X, the samples of a slice, or several such sets of samples."""
        return self.network.vjp(X, dscores, lengths=self._lengths_of(part, len(X) // max(1, part.stop - part.start)))[0]

    def _lengths_of(self, part, times):
        return None if self._lengths is None else np.tile(self._lengths[part], times)


def input_gradients(
    model: Model | DNNClassifier | DNNRegressor | MLPClassifier | MLPRegressor, X: ArrayLike, target: Any = None, *,
    lengths: ArrayLike | None = None,
) -> np.ndarray:  # fmt: skip
    """Gradient of one score of each sample with respect to the sample.

    The score is the raw one, before the loss's link (softmax, sigmoid, exp). Its gradient says how the score changes with
    small changes of each feature or pixel; its absolute value as a picture is a saliency map.

    Parameters
    ----------
    model : Model or estimator
        A built `Model`, or a fitted `DNNClassifier`, `DNNRegressor`, `MLPClassifier` or `MLPRegressor`. It is left as it is,
        but for `Model.grads`. Of a pipeline pass the last step, and what the steps before it make of X:
        ``input_gradients(pipeline[-1], pipeline[:-1].transform(X))``.
    X : array-like of shape (n, ...)
        Samples, finite and dense; no ids.
    target : label, array-like of shape (n,) or None, default=None
        Which score, one for all samples or one for each. For a classifier one of `classes_`; for a `Model` whose loss is one
        of classes a class number; otherwise the number of an output. None takes the predicted class (of several labels
        that of the largest score), or output 0 where there are no classes. One score for two classes is that of the second
        class; the first one has its negative.
    lengths : array-like of int, shape (n,), or None, default=None
        Steps of each sequence that count, as for `Model.forward`.

    Returns
    -------
    ndarray of the shape of X, of the model's float type
        0 for steps of sequences that a mask leaves out.

    Raises
    ------
    ValueError
        If an argument does not fit, or the model gives more than a vector of scores for each sample.

    See Also
    --------
    integrated_gradients : Shares of the features in the score.
    Model.input_gradient : Gradient of the mean loss of the samples.
    Model.vjp : Gradient of any combination of scores.

    Notes
    -----
    Samples go through the network some at a time: beside the result, memory does not grow with n. A sample's gradient does
    not depend on the others.

    References
    ----------
    Simonyan, K., Vedaldi, A. & Zisserman, A. (2014). Deep inside convolutional networks: visualising image classification
    models and saliency maps. arXiv:1312.6034.

    Examples
    --------
    >>> from fastdnn import Model, inspection, layers
    >>> m = Model([layers.Dense(2)], loss="cross_entropy", dtype="float64").build(3)
    >>> m.weights["0.dense.kernel"] = [[1.0, 0.0], [2.0, 0.0], [0.0, 5.0]]
    >>> inspection.input_gradients(m, [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])  # of classes 0 and 1, which are predicted
    array([[1., 2., 0.],
           [0., 0., 5.]])
    >>> inspection.input_gradients(m, [[1.0, 1.0, 0.0]], target=1)
    array([[0., 0., 5.]])
    """
    inspected = _Inspected(model, X, target, lengths)
    found = np.empty(inspected.X.shape, inspected.network.dtype)
    for part in inspected.parts(inspected.rows):
        found[part] = inspected.gradients(inspected.samples(part), inspected.dscores(part), part)
    return found


def integrated_gradients(
    model: Model | DNNClassifier | DNNRegressor | MLPClassifier | MLPRegressor, X: ArrayLike, target: Any = None,
    baseline: ArrayLike | None = None, steps: int = 50, *, lengths: ArrayLike | None = None,
) -> np.ndarray:  # fmt: skip
    """Shares of the features of each sample in its score, compared with the score of a baseline.

    The share of feature i is (x_i - b_i) times the mean of the score's gradient with respect to feature i over the straight
    path from the baseline b to the sample x. The shares of a sample sum to score(x) - score(b), up to the error of the
    integral. Of a linear model with the weights w they are w * (x - b).

    Parameters
    ----------
    model, X, target, lengths
        As for `input_gradients`. Where target is None, the class that is predicted of the sample is looked at along its
        whole path.
    baseline : None, float, array-like of the shape of one sample or of X, default=None
        Where the paths begin: a sample that says nothing. None is zeros: black images, or the mean of features that have
        been standardized. For other tables the mean of the training samples is a usual choice.
    steps : int, default=50
        Points of the path at which gradients are taken (Gauss-Legendre). ReLU and max pooling make paths with corners, which
        need more points: compare the sum of the shares with the difference of the scores.

    Returns
    -------
    ndarray of the shape of X, of the model's float type
        0 for steps of sequences that a mask leaves out.

    Raises
    ------
    ValueError
        If an argument does not fit, or the model gives more than a vector of scores for each sample.

    See Also
    --------
    input_gradients : The gradient at the sample alone.

    Notes
    -----
    Points go through the network some at a time: beside the result, memory grows neither with n nor with `steps`. A sample's
    shares do not depend on the others.

    References
    ----------
    Sundararajan, M., Taly, A. & Yan, Q. (2017). Axiomatic attribution for deep networks. ICML, arXiv:1703.01365.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import DNNRegressor, inspection
    >>> X = np.random.default_rng(0).standard_normal((500, 3))
    >>> y = 2 * X[:, 0] + X[:, 1] ** 2  # and nothing of the third feature
    >>> model = DNNRegressor(hidden_layer_sizes=(32,), activation="tanh", random_state=0).fit(X, y)
    >>> shares = inspection.integrated_gradients(model, X, baseline=X.mean(axis=0))
    >>> np.abs(shares).mean(axis=0).argsort()[::-1]
    array([0, 1, 2])
    >>> difference = model.predict(X) - model.predict(X.mean(axis=0, keepdims=True))
    >>> bool(np.allclose(shares.sum(axis=1), difference, atol=1e-5))
    True
    """
    steps, inspected = check_count("steps", steps), _Inspected(model, X, target, lengths)
    n, *shape = inspected.X.shape
    dtype = inspected.network.dtype
    starts = np.broadcast_to(_check_baseline(baseline, (n, *shape), dtype), (n, *shape))
    places, weights = scipy.special.roots_legendre(steps)
    places, weights = ((places + 1) / 2).astype(dtype).reshape(-1, 1, *(1 for _ in shape)), (weights / 2).astype(dtype)
    found, at_once = np.empty((n, *shape), dtype), inspected.rows
    for part in inspected.parts(max(1, at_once // steps)):
        x, dscores = inspected.samples(part), inspected.dscores(part)
        start = starts[part]
        if inspected.mask is not None:  # steps that do not count stay as they are: at the value of a Masking layer, say
            start = np.where(inspected.mask[part].reshape(*inspected.mask[part].shape, 1), start, x)
        way, total = x - start, np.zeros(x.shape)
        for some in (slice(k, k + at_once) for k in range(0, steps, at_once)):
            points = (start + places[some] * way).reshape(-1, *shape)
            weighted = (weights[some, None, None] * dscores).reshape(-1, dscores.shape[1])
            for gradient in inspected.gradients(points, weighted, part).reshape(-1, *x.shape):
                total += gradient  # one after the other: the same sums however many go through the network at once
        found[part] = total * way
    return found


def _check_baseline(baseline, shape, dtype):
    """The baseline as an array that NumPy can broadcast to samples of that shape (n, ...); ValueError if it is none."""
    found = as_numbers(0 if baseline is None else baseline, "baseline", dtype)
    if found.shape not in ((), shape[1:], (1, *shape[1:]), shape):
        raise ValueError(
            f"baseline must be None, a number, one sample of shape {shape[1:]} or an array of the shape of X, {shape}, "
            f"got shape {found.shape}"
        )
    if not np.isfinite(found).all():
        raise ValueError("baseline must be finite, got NaN or infinity")
    return found
