"""Specs: small objects that are made of their constructor's arguments. Layers, losses, optimizers, schedules are such."""

import abc
import functools
import inspect
import os
from types import MappingProxyType

import numpy as np


def is_default(value, default):
    """Whether a setting is its default, or the default for each of several axes."""
    several = isinstance(value, tuple) and isinstance(default, int) and value
    return all(v == default for v in value) if several else same(value, default)


def same(a, b):
    """Whether two settings are equal, arrays by their values."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return bool(a == b)


class SpecType(abc.ABCMeta):
    """The type of the classes of specs: an object is told when its constructor has ended."""

    def __call__(cls, *args, **kwargs):
        spec = super().__call__(*args, **kwargs)
        object.__setattr__(spec, "_made", True)
        return spec


@functools.cache
def setting_names(cls):
    """Names of the arguments of a spec's constructor."""
    return frozenset(cls.defaults())


class Spec(metaclass=SpecType):
    """A small object that is made of its constructor's arguments: compared by them, printed by those not the default.

    Each argument is kept as an attribute of its name; what else an object keeps has a name with an underscore at one end. The
    attributes are set once: a network is laid out from them, so changing one later would not fit the memory any more. Where
    a class says `changeable`, what is assigned goes through the constructor first, with its checks and conversions.
    """

    changeable = False
    older_names = MappingProxyType({})  # of arguments, in files of before -> as they are called now

    def __setattr__(self, name, value):
        if "_made" in self.__dict__ and not (name.startswith("_") or name.endswith("_")):
            value = self._checked(name, value)
        super().__setattr__(name, value)

    def _checked(self, name, value):
        """What the constructor makes of a setting that is assigned; AttributeError if it cannot be."""
        if not self.changeable:
            raise AttributeError(f"{type(self).__name__}.{name} is fixed; make a new {type(self).__name__} instead")
        if name not in setting_names(type(self)):
            names = ", ".join(map(repr, sorted(setting_names(type(self)))))
            raise AttributeError(f"{type(self).__name__} has no setting {name!r}; it has {names}")
        return getattr(type(self)(**{**self.settings(), name: value}), name)

    @classmethod
    def defaults(cls):
        """dict of the constructor's arguments and their defaults (`inspect.Parameter.empty` where there is none).

        What it takes as ``**rules`` are the arguments of the base class's constructor.
        """
        found = {}
        for owner in cls.__mro__[:-1]:
            if "__init__" in vars(owner):
                _, *parameters = inspect.signature(owner.__init__).parameters.values()
                found.update((p.name, p.default) for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in found)
                if all(p.kind is not p.VAR_KEYWORD for p in parameters):
                    break
        return found

    def settings(self):
        """dict of the constructor's arguments as they are: ``type(spec)(**spec.settings()) == spec``."""
        return {name: getattr(self, name) for name in self.defaults()}

    def replace(self, **changes):
        """A new spec with some arguments changed; `name__inner` reaches into an argument that is a spec or a list of them.

        Examples
        --------
        >>> from fastdnn import optimizers, schedules
        >>> optimizers.Adam(schedules.OneCycle(0.01)).replace(learning_rate__rate=0.1, beta_1=0.8)
        Adam(learning_rate=OneCycle(rate=0.1), beta_1=0.8)
        """
        spec = self
        for path, value in changes.items():
            spec = replaced(spec, path.split("__"), value)
        return spec

    def _public(self):
        return {k: v for k, v in vars(self).items() if not (k.startswith("_") or k.endswith("_"))}

    def __repr__(self):
        settings = self._public()
        given = {k: settings[k] for k, d in self.defaults().items() if k in settings and not is_default(settings[k], d)}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in given.items())})"

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = self._public(), other._public()
        return mine.keys() == theirs.keys() and all(same(v, theirs[k]) for k, v in mine.items())

    def __hash__(self):
        return hash((type(self).__name__, *(f"{k}={v!r}" for k, v in self._public().items())))


def replaced(value, path, new):
    """`value` with what stands at `path` (names of arguments, numbers in lists) replaced; the original stays as it is."""
    if not path:
        return new
    name, *rest = path
    if isinstance(value, (list, tuple)):
        if not name.isdigit() or int(name) >= len(value):
            raise ValueError(f"{name!r} is no position in a list of {len(value)}; take 0 to {len(value) - 1}")
        items = list(value)
        items[int(name)] = replaced(items[int(name)], rest, new)
        return type(value)(items)
    if not isinstance(value, Spec):
        raise ValueError(f"{value!r} has no parameter {name!r}")
    settings = value.settings()
    if name not in settings:
        raise ValueError(
            f"{type(value).__name__} has no parameter {name!r}; it has {', '.join(map(repr, settings)) or 'none'}"
        )
    return type(value)(**{**settings, name: replaced(settings[name], rest, new)})


def nested(value, prefix):
    """dict of all that `replaced` reaches in `value`, by "prefix__name"."""
    if isinstance(value, Spec):
        items = value.settings().items()
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Spec) for item in value):
        items = enumerate(value)
    else:
        return {}
    found = {}
    for name, item in items:
        found[f"{prefix}__{name}"] = item
        found.update(nested(item, f"{prefix}__{name}"))
    return found


def check_count(name, value, least=1):
    """`value` as an int, or ValueError if it is not an integer of at least `least` (and less than 2**62)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not least <= value < 1 << 62:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    return int(value)


def check_path(name, value):
    """`value` as a str, or ValueError if it is no str or path-like."""
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"{name} must be a str or path-like, got {value!r}")
    return os.fspath(value)


def check_number(name, value, interval):
    """`value` as a float, or ValueError if it is no number in the interval, written "(0, inf)", "[0, 1)" or "[0, 1]"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    good = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))
    good = good and (value > low if interval[0] == "(" else value >= low)
    if not good or not (value < high if interval[-1] == ")" else value <= high):
        raise ValueError(f"{name} must be a number in {interval}, got {value!r}")
    return float(value)
