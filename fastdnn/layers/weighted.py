"""What layers that multiply by a kernel have in common: activation, bias, initializers, penalties, and the two parameters."""

from ..initializers import check_initializer
from ..specs import check_number
from .activation_function import check_activation, get_activation
from .base import Layer, Parameter
from .spectral_norm import normalized


def keep_rules(layer, l1, l2, learning_rate_factor, max_norm=None):
    """Let a layer keep the rules by which its parameters are trained, checked; see `Dense`."""
    layer.l1, layer.l2 = (check_number(name, value, "[0, inf)") for name, value in (("l1", l1), ("l2", l2)))
    layer.learning_rate_factor = check_number("learning_rate_factor", learning_rate_factor, "[0, inf)")
    layer.max_norm = None if max_norm is None else check_number("max_norm", max_norm, "(0, inf)")


class Weighted(Layer):
    """Base of layers y = f(kernel applied to x + b)."""

    spectral_norm, bias_learning_rate_factor = False, None
    _whole = _activation_behind = None  # of the first part of a layer whose kernel is normalized: that, and its activation

    def __repr__(self):
        return super().__repr__() if self._whole is None else repr(self._whole)

    def leaves(self, key):
        return normalized(self, key) if self.spectral_norm else [(key, self)]

    def _weigh(
        self, activation, use_bias, initializer, bias_initializer, l1, l2, learning_rate_factor, max_norm,
        bias_learning_rate_factor=None,
    ):  # fmt: skip
        """Keep what the constructor was told of the parameters, checked; see `Dense`."""
        self.activation, self.use_bias = check_activation(activation), bool(use_bias)
        self.initializer = None if initializer is None else check_initializer(initializer)
        self.bias_initializer = check_initializer(bias_initializer)
        keep_rules(self, l1, l2, learning_rate_factor, max_norm)
        own = bias_learning_rate_factor
        self.bias_learning_rate_factor = None if own is None else check_number("bias_learning_rate_factor", own, "[0, inf)")

    def bias_parameter(self, n_out):
        """The bias, of so many outputs; its factor of the learning rate is that of the layer unless it has one of its own."""
        own = self.bias_learning_rate_factor
        factor = self.learning_rate_factor if own is None else own
        return Parameter("bias", (n_out,), self.bias_initializer, decays=False, learning_rate_factor=factor)

    def _kernel_and_bias(self, name, shape, fans=None, n_out=None, last_axes=1):
        """The parameters: a kernel of that name and shape, whose last axis is the outputs unless n_out is, and the bias."""
        activation = self._activation_behind or self.activation
        initializer = self.initializer if self.initializer is not None else get_activation(activation).initializer
        kernel = Parameter(
            name, shape, initializer, True, l1=self.l1, l2=self.l2, max_norm=self.max_norm,
            learning_rate_factor=self.learning_rate_factor, fans=fans, last_axes=last_axes, whole=self._whole is not None,
        )  # fmt: skip
        self.kernel_rows_ = kernel.rows  # what divides by its norm asks for them
        return [kernel, self.bias_parameter(n_out or shape[-1])] if self.use_bias else [kernel]
