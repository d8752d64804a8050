"""Weights that are 0 and stay so: which ones, by their magnitude.

The mask of a model (`Model.mask`) is what holds them: where it is 0 the weights, their gradients and all that an optimizer
remembers of them are 0, and optimizers leave 0 where all of these are, as they do with the padding between the parameters. So
it holds with momentum, weight decay and averages, in every step, at the cost of one pass over gradients in the cache.
"""

import numpy as np

from ..specs import check_number

SCOPES = "layer", "global"


def check_scope(scope):
    """The scope; ValueError unless it is one."""
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(map(repr, SCOPES))}, got {scope!r}")
    return scope


def built(model):
    """The `Network` of a model; ValueError unless it is a `Model`, and built."""
    if not hasattr(model, "layout"):
        raise ValueError(
            f"model must be a Model, got {type(model).__name__}; a fitted estimator's is its model_, and a GAN has two,"
            " generator and discriminator"
        )
    return model._built()


def prunable(model, layers=None):
    """Keys of the weights that may be pruned, in layer order; ValueError where `layers`, see `prune`, has none."""
    layout = built(model).layout
    keys = [e.key for e in layout.entries if len(e.shape) > 1 and not e.parameter.few_rows and e.decays]
    if layers is None:
        trained = {e.key for e in layout.entries if e.parameter.learning_rate_factor > 0}
        keys = [key for key in keys if key in trained]
        if not keys:
            raise ValueError("the model has no weight matrices that are trained: there is nothing to prune")
        return keys
    chosen, layers = set(), layers if isinstance(layers, (list, tuple, set, range)) else [layers]
    if not layers:
        raise ValueError("layers must name one layer at least; None is all that are trained")
    for layer in layers:
        found = [key for key in keys if _belongs(key, layer, len(model.layers))]
        if not found:
            raise ValueError(
                f"layers must be numbers of layers with weight matrices, or their keys, one of {keys}, got {layer!r}; vectors"
                " of ids (Embedding) cannot be pruned"
            )
        chosen.update(found)
    return [key for key in keys if key in chosen]


def _belongs(key, layer, n_layers):
    """Whether the weights of that key are of a layer, which is given by its number or by (the first parts of) the key."""
    if isinstance(layer, str):
        return key == layer or key.startswith(f"{layer}.")
    if isinstance(layer, bool) or not isinstance(layer, (int, np.integer)) or not -n_layers <= layer < n_layers:
        return False
    return key.startswith(f"{layer % n_layers}.")


def smallest(values, n):
    """Mask of the n smallest numbers of a vector; of equal ones the first, and NaN counts as infinite."""
    if n == 0:
        return np.zeros(len(values), bool)
    values = np.where(np.isnan(values), np.inf, values)
    limit = np.partition(values, n - 1)[n - 1]
    found = values < limit
    found[np.flatnonzero(values == limit)[: n - np.count_nonzero(found)]] = True
    return found


def prune(model, sparsity, layers=None, scope="layer"):
    """Set the smallest weights of a model to 0, where they stay in all trainings from now on.

    Biases and the weights of normalizations are left. What is pruned already stays so and counts.

    Parameters
    ----------
    model : Model
        Built; it is changed.
    sparsity : float
        Part of the weights of the layers that are to be 0, in [0, 1].
    layers : list of int or str, or None, default=None
        Numbers of layers (negative ones count from the end), or keys of `Model.weights` or their first parts,
        "2.residual.0.dense". None is all weight matrices that are trained, `Embedding` excepted.
    scope : {"layer", "global"}, default="layer"
        Whether so much is pruned of each matrix, or of all of them together, by the same limit.

    Returns
    -------
    Model
        The model itself.

    Raises
    ------
    ValueError
        If an argument is not one of those named above, or there is nothing to prune.

    Examples
    --------
    >>> from fastdnn import Model, compress, layers
    >>> model = Model([layers.Dense(64, "relu"), layers.Dense(2)], random_state=0).build(20)
    >>> compress.sparsity(compress.prune(model, 0.75))
    {'0.dense.kernel': 0.75, '1.dense.kernel': 0.75, 'all': 0.75}

    References
    ----------
    Han, S. et al. (2015). Learning both weights and connections for efficient neural networks. arXiv:1506.02626.
    """
    sparsity, layout = check_number("sparsity", sparsity, "[0, 1]"), built(model).layout
    keys = prunable(model, layers)
    mask = np.ones(layout.size, bool) if model.mask is None else model.mask != 0
    kept = layout.views(mask)
    for group in [keys] if check_scope(scope) == "global" else [[key] for key in keys]:
        magnitudes = [np.where(kept[key], np.abs(model.weights[key]), -1.0).ravel() for key in group]
        out = smallest(np.concatenate(magnitudes), round(sparsity * sum(map(len, magnitudes))))
        for key, part in zip(group, np.split(out, np.cumsum([len(m) for m in magnitudes])[:-1]), strict=True):
            kept[key] &= ~part.reshape(kept[key].shape)
    model.mask = mask
    return model


def masks(model):
    """What is pruned, by key: bool arrays of the shape of the weights, False where they stay 0; keys without are left out.

    Parameters
    ----------
    model : Model
        Built.

    Returns
    -------
    dict of str -> ndarray of bool
        Empty where nothing is pruned; `apply_masks` takes it.
    """
    layout = built(model).layout
    found = {} if model.mask is None else layout.views(model.mask)
    return {key: view != 0 for key, view in found.items() if not view.all()}


def apply_masks(model, masks):
    """Prune the weights of a model where masks say so, and no others: those of another training, perhaps.

    Parameters
    ----------
    model : Model
        Built; it is changed. Weights that were pruned before, and are not now, are 0 and free to move.
    masks : dict of str -> array of bool
        By keys of `Model.weights`, of the same shape: False where the weights are to be 0 and stay so.

    Returns
    -------
    Model
        The model itself.

    Raises
    ------
    ValueError
        If a key or a shape is not one of the model's weights, or masks is no dict.

    Examples
    --------
    Rewinding: the weights of an early epoch with the masks of the end, trained again.

    >>> import numpy as np
    >>> from fastdnn import Model, compress, layers
    >>> X = np.random.default_rng(0).standard_normal((200, 4)).astype("float32")
    >>> model = Model([layers.Dense(32, "tanh"), layers.Dense(1)], random_state=0)
    >>> history = model.fit(X, X[:, 0] * X[:, 1], epochs=2)
    >>> early = model.copy()
    >>> history = model.fit(X, X[:, 0] * X[:, 1], epochs=20)
    >>> found = compress.masks(compress.prune(model, 0.8))
    >>> history = compress.apply_masks(early, found).fit(X, X[:, 0] * X[:, 1], epochs=20)
    >>> compress.sparsity(early)["all"]
    0.8

    References
    ----------
    Frankle, J. et al. (2020). Linear mode connectivity and the lottery ticket hypothesis. arXiv:1912.05671.
    """
    layout = built(model).layout
    mask = np.ones(layout.size, bool)
    views = layout.views(mask)
    if not isinstance(masks, dict):
        raise ValueError(f"masks must be a dict of arrays by the keys of Model.weights, got {type(masks).__name__}")
    for key, values in masks.items():
        values = np.asarray(values)
        if key not in views or values.shape != views[key].shape:
            wanted = views[key].shape if key in views else f"a key of {list(views)}"
            raise ValueError(f"masks has {key!r} of shape {values.shape}, expected {wanted}")
        views[key][...] = values != 0
    model.mask = mask if masks else None
    return model


def sparsity(model):
    """What part of the weights is 0: pruned, or 0 by chance.

    Parameters
    ----------
    model : Model
        Built.

    Returns
    -------
    dict of str -> float
        Of each weight matrix by its key, then of them together, "all". Biases and the like do not count.
    """
    weights = {e.key: e.view(model.params) for e in built(model).layout.entries if len(e.shape) > 1}
    zeros = {key: int((w == 0).sum()) for key, w in weights.items()}
    sizes = sum(w.size for w in weights.values())
    return {key: zeros[key] / w.size for key, w in weights.items()} | {"all": sum(zeros.values()) / max(1, sizes)}
