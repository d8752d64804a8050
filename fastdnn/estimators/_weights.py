"""The lists behind `coefs_` and `intercepts_`: views into the network's flat buffer that stay views."""

import numpy as np


class WeightList(list):
    """List of views; assigning an item writes into the view instead of replacing it, so the network sees it."""

    def __setitem__(self, index, value):
        targets, values = self[index], value
        if not isinstance(index, slice):
            targets, values = [targets], [value]
        write_all(targets, values, f"item {index}")

    def __reduce__(self):
        return list, ([a.copy() for a in self],)


def write_all(views, values, name):
    """Write arrays into views of the same shapes; ValueError (nothing written) if they do not match."""
    values = [np.asarray(v) for v in values]
    shapes, given = [v.shape for v in views], [v.shape for v in values]
    if shapes != given:
        raise ValueError(f"{name} must have the shapes of the fitted network, {shapes}, got {given}")
    for view, value in zip(views, values, strict=True):
        view[...] = value


def weights_property(part, name):
    """Property of an estimator: the arrays called `part` of its `_model`, or what the user set before there is one."""

    def get(self):
        model = self.__dict__.get("_model")
        if model is not None:
            return WeightList(view for key, view in model.weights.items() if key.endswith(part))
        try:
            return self.__dict__["_given_weights"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def set_(self, values):
        if self.__dict__.get("_model") is not None:
            self._model.make_writable()
            write_all(get(self), values, name)
        else:
            self.__dict__.setdefault("_given_weights", {})[name] = list(values)

    return property(get, set_)
