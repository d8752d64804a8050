"""A network with fewer neurons, channels and units."""

import copy

import numpy as np

from ..layout import Layout
from ..specs import check_count, check_number, replaced
from .importance import by_loss, by_values, by_weights, moments_of
from .pruning import built, smallest
from .units import find_units

IMPORTANCES = "magnitude", "loss"


def shrink(model, X=None, y=None, *, flops=None, fraction=None, importance="magnitude", multiple=8, layers=None):
    """A smaller model without the neurons, channels and units that matter least; train it on to make up for them.

    What goes are whole neurons of `Dense`, channels of convolutions, units of recurrent layers (all gates, both directions),
    with all that belongs to them: their part of a batch normalization, the weights behind them, through pooling and
    `Flatten`. The network is smaller and faster by as much.

    Parameters
    ----------
    model : Model
        Built; it stays as it is.
    X : array-like of shape (n, ...), or None
        Samples by which to judge, some hundred or thousand. With "magnitude" they are optional; the mean of what a unit gave
        then goes into the bias behind it, or into the mean of a batch normalization there.
    y : array-like of shape (n, ...), or None
        Targets of those, for "loss".
    flops : float or None
        Part of the operations of a prediction that are left at the most, in (0, 1). Layers lose the same part of their
        units, but for rounding.
    fraction : float or None
        In place of it, part of the units of each layer that are left, in (0, 1).
    importance : {"magnitude", "loss"}, default="magnitude"
        What is left are the units with the largest values: "magnitude" the standard deviation of what a unit gives (its root
        mean square where the mean can go nowhere) times the norm of the weights that take it (without X the norm of the
        weights that make it, or the factor of its batch normalization, in place of the deviation); "loss" the change of the
        loss without it, to first order, over batches.
    multiple : int, default=8
        What is left of a layer is a multiple of it, where it has more: products compute multiples of 8 columns anyway.
    layers : list of int, or None
        Numbers of the layers that may lose units (negative ones count from the end); None is all.

    Returns
    -------
    Model
        A new one, with the weights that are left, an optimizer like the old one's that begins anew, and no history.

    Raises
    ------
    ValueError
        If an argument is not one of those named above, no layer can lose units, so few operations are not to be had, or what
        the layers make of X is not finite.

    Notes
    -----
    Left as they are: the scores; what comes to a `Residual` and what it gives, for they are added up (layers inside it but
    the last lose units); outputs of an `Embedding`; what comes to `Columns`, grouped convolutions, layers with
    `spectral_norm`, softmax within a network, `Reshape` to numbers that are told, and layers of your own, and what these
    give. A `LayerNorm` normalizes what is left by itself, so there the others change too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, compress, layers
    >>> X = np.random.default_rng(0).standard_normal((500, 8)).astype("float32")
    >>> model = Model([layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(1)], random_state=0)
    >>> history = model.fit(X, X[:, 0] * X[:, 1], epochs=10)
    >>> small = compress.shrink(model, X, flops=0.5)
    >>> history = small.fit(X, X[:, 0] * X[:, 1], epochs=10)
    >>> [layer.units for layer in small.layers], bool(small.layout.flops <= 0.5 * model.layout.flops)
    ([40, 48, 1], True)

    References
    ----------
    Li, H. et al. (2017). Pruning filters for efficient convnets. arXiv:1608.08710.
    Molchanov, P. et al. (2019). Importance estimation for neural network pruning. arXiv:1906.10771 (the change of the loss).
    """
    network, multiple = built(model), check_count("multiple", multiple)
    X, y = _checked_data(X, y, importance)
    values = dict(model.weights) | dict(model.states)
    found = _of_layers(find_units(network.layers, network.layout.shapes[0], values), layers, len(network.layers))
    counts = _counts(model, found, flops, fraction, multiple)
    moments = [None if X is None else moments_of(model, units, X) for units in found]
    if importance == "loss":
        scores = by_loss(model, found, X, y)
    else:
        scores = [
            by_weights(u, values) if m is None else by_values(u, values, m) for u, m in zip(found, moments, strict=True)
        ]
    kept = [~smallest(s, units.count - n) for s, units, n in zip(scores, found, counts, strict=True)]
    arrays = {key: array.copy() for key, array in values.items()}
    for units, stay, of_values in zip(found, kept, moments, strict=True):
        if of_values is not None:
            _shift(arrays, units, ~stay, of_values[0])
    return _made(model, _resized(network.layers, found, counts), arrays, found, kept)


def _made(model, layers, arrays, found, kept):
    """A model of those layers, with what is left of the arrays; kept : of each of `found`, which units stay."""
    optimizer = copy.copy(model.optimizer)
    new = type(model)(layers, loss=model.loss, optimizer=optimizer, dtype=model.precision, random_state=model.seed)
    new.build(model.layout.shapes[0], initialize=False)
    for views in (new.weights, new.states):
        views.update({key: _cut(arrays[key], key, found, kept) for key in views})
    if model.mask is not None:
        mask, before = np.ones(new.layout.size, bool), model.layout.views(model.mask)
        new.layout.views(mask).update({key: _cut(view, key, found, kept) for key, view in before.items()})
        new.mask = mask
    return new


def _checked_data(X, y, importance):
    if importance not in IMPORTANCES:
        raise ValueError(f"importance must be one of {', '.join(map(repr, IMPORTANCES))}, got {importance!r}")
    if importance == "loss" and (X is None or y is None):
        raise ValueError("importance='loss' needs samples and targets: give X and y")
    if X is None:
        return None, None
    X, y = (a if a is None or hasattr(a, "shape") else np.asarray(a) for a in (X, y))
    if X.shape[0] == 0 or (y is not None and len(y) != X.shape[0]):
        raise ValueError(
            f"X must have samples, and y one target for each, got {X.shape[0]} and {None if y is None else len(y)}"
        )
    return X, y


def _of_layers(found, layers, n_layers):
    """Those of the `Units` that stand in the layers of these numbers; ValueError where there are none."""
    if layers is not None:
        wanted = layers if isinstance(layers, (list, tuple, range)) else [layers]
        if not all(isinstance(i, (int, np.integer)) and -n_layers <= i < n_layers for i in wanted):
            raise ValueError(f"layers must be numbers of layers, {-n_layers} to {n_layers - 1}, got {layers!r}")
        found = [units for units in found if int(units.path[0]) in {i % n_layers for i in wanted}]
    if not found:
        raise ValueError(
            "none of the layers can lose units: their outputs are the scores, are added up by a Residual, or come to a layer "
            "that needs all of them (see Notes)"
        )
    return found


def _resized(layers, found, counts):
    """The layers with other numbers of units."""
    layers = list(layers)
    for units, n in zip(found, counts, strict=True):
        layers = replaced(layers, units.path, int(n))
    return layers


def _counts(model, found, flops, fraction, multiple):
    """How many units are left of each of `found`."""
    if (flops is None) == (fraction is None):
        raise ValueError(f"give one of flops and fraction, got flops={flops!r} and fraction={fraction!r}")
    sizes = np.array([units.count for units in found])
    steps = np.where(sizes > multiple, multiple, 1)

    def of_part(part):
        return np.clip(np.floor(part * sizes / steps + 1e-9).astype(int) * steps, np.minimum(steps, sizes), sizes)

    if fraction is not None:
        fraction = check_number("fraction", fraction, "(0, 1)")
        return np.clip(np.rint(fraction * sizes / steps).astype(int) * steps, np.minimum(steps, sizes), sizes)
    most = check_number("flops", flops, "(0, 1)") * model.layout.flops

    def cost(counts):
        return Layout(_resized(model.layers, found, counts), model.layout.shapes[0]).flops

    low, high = 0.0, 1.0
    if cost(of_part(low)) > most:
        raise ValueError(
            f"flops={flops!r} cannot be reached: {cost(of_part(low)) / model.layout.flops:.3f} are left where all layers that"
            " can lose units have lost all that they can"
        )
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(of_part(middle)) <= most else (low, middle)
    counts = of_part(low)
    for i in np.argsort(counts / sizes, kind="stable"):  # what rounding has left over, first to the layer that has lost most
        more = counts.copy()
        more[i] = min(more[i] + steps[i], sizes[i])
        counts = more if cost(more) <= most else counts
    return counts


def _shift(arrays, units, gone, means):
    """Put the mean of what goes where a constant belongs."""
    for cut in units.outgoing:
        if cut.key in units.shifts:
            key, factor = units.shifts[cut.key]
            kernel = np.asarray(arrays[cut.key], np.float64)
            kernel = kernel.reshape(-1, *kernel.shape[-2:]).sum(axis=0)  # over the places of a convolution
            positions = cut.positions[gone].ravel()
            arrays[key] += (factor * (means[positions] @ kernel[positions])).astype(arrays[key].dtype)


def _cut(array, key, found, kept):
    """What is left of an array."""
    for units, stay in zip(found, kept, strict=True):
        for cut in units.cuts:
            if cut.key == key:
                array = np.take(array, np.sort(cut.positions[stay].ravel()), axis=cut.axis)
    return array
