"""The lists behind `coefs_` and `intercepts_`: views into the network's flat buffer that stay views."""

import numpy as np


def views(model, part):
    """Views of all weights whose key ends with `part`, in layer order."""
    return [view for key, view in model.weights.items() if key.endswith(part)]


def write_all(targets, values, name):
    """Write arrays into views of the same shapes; ValueError (nothing written) if they do not match."""
    values = [np.asarray(v) for v in values]
    shapes, given = [v.shape for v in targets], [v.shape for v in values]
    if shapes != given:
        raise ValueError(f"{name} must have the shapes of the fitted network, {shapes}, got {given}")
    for target, value in zip(targets, values, strict=True):
        target[...] = value


class WeightList(list):
    """List of views; assigning an item writes into the view instead of replacing it, so the network sees it."""

    def __init__(self, model, part):
        super().__init__(views(model, part))
        self._model, self._part = model, part

    def __setitem__(self, index, value):
        self._model.make_writable()  # after a memory map there are new views
        super().__setitem__(slice(None), views(self._model, self._part))
        single = not isinstance(index, slice)
        write_all([self[index]] if single else self[index], [value] if single else value, f"item {index}")

    def __reduce__(self):
        return list, ([a.copy() for a in self],)


def weights_property(part, name):
    """Property of an estimator: the arrays called `part` of its `_model`, or what the user set before there is one."""

    def get(self):
        model = self.__dict__.get("_model")
        if model is not None:
            return WeightList(model, part)
        try:
            return self.__dict__["_given_weights"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def set_(self, values):
        if self.__dict__.get("_model") is not None:
            get(self)[:] = values
        else:
            self.__dict__.setdefault("_given_weights", {})[name] = list(values)

    def delete(self):
        get(self)
        self.__dict__.pop("_model", None)
        self.__dict__.get("_given_weights", {}).pop(name, None)

    return property(get, set_, delete)
