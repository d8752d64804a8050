"""Parameters of estimators: set from a signature, and nested ones, ``optimizer__learning_rate``, ``layers__1__rate``."""

import copy
import inspect
from typing import Any, Self

from ..losses import get_loss
from ..optimizers import get_optimizer
from ..specs import nested, replaced


def set_all(estimator, given):
    """Set the parameters of an estimator, from the `locals()` of its `__init__`, whose signature lists them."""
    for name in inspect.signature(type(estimator).__init__).parameters:
        if name != "self":
            setattr(estimator, name, given[name])


def made_optimizer(estimator):
    """A copy of an estimator's optimizer, for a rate may be changed in it, with its `schedule`, if it has one."""
    optimizer = copy.deepcopy(get_optimizer(estimator.optimizer))
    if estimator.schedule is None:
        return optimizer
    if "learning_rate" not in optimizer.settings():
        raise ValueError(f"schedule cannot be used with optimizer={estimator.optimizer!r}, which has no learning rate")
    return optimizer.replace(learning_rate=estimator.schedule)


BY_NAME = {"optimizer": get_optimizer, "loss": get_loss}  # parameters that a string may stand for


class NestedParameters:
    """`get_params` and `set_params` that reach into specs and lists of them, which they replace and never change."""

    def get_params(self, deep: bool = True) -> dict:
        """Parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list the parameters inside of specs too, "layers__0__units".

        Returns
        -------
        params : dict
            Parameter names and their values.
        """
        params = super().get_params(deep=False)
        if deep:
            for name, value in list(params.items()):
                params.update(nested(value, name))
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator.

        Parameters
        ----------
        **params : dict
            Parameters by name; "optimizer__learning_rate" or "layers__1__rate" reaches into a spec or a list of them. Those
            without "__" are set first. A spec is replaced by a new one, so other estimators that share it keep theirs.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        super().set_params(**{name: value for name, value in params.items() if "__" not in name})
        own = super().get_params(deep=False)
        for name, value in params.items():
            first, *path = name.split("__")
            if path:
                if first not in own:
                    raise ValueError(
                        f"Invalid parameter {first!r} for estimator {self}. Valid parameters are: {sorted(own)!r}."
                    )
                whole = getattr(self, first)
                whole = BY_NAME[first](whole) if first in BY_NAME and isinstance(whole, str) else whole
                setattr(self, first, replaced(whole, path, value))
        return self
