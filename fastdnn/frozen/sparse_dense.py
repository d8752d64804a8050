"""Dense layers of frozen predictors most of whose weights are 0: only the others are kept, and multiplied with.

Many rows stand side by side in the lanes of vectors: x is transposed, and an output is the sum of some of its rows, each
times a number. A single row is taken input by input. Each sum is in the order of the inputs, so a row's result is the same
bits however many there are.
Reference: Elsen, E. et al. (2020). Fast sparse convnets. arXiv:1911.09723.
"""

import numpy as np

from ..gemm import ALIGN, padded
from ..layers import Dense
from ..layers.activation_function import activated, get_activation
from ..layers.weighted import Weighted
from ..saving.errors import ModelFormatError
from ..specs import check_count
from ..transpose import transpose
from .sparse_kernels import SPARSE, groups_of_lanes, inputs_of_block, sparse_forward

# Part of the weights that must be 0 for the rest to be faster by itself than all together.
LEAST_ZEROS = 0.6


class SparseDense(Weighted):
    """y = f(x W + b) on the last axis, W being mostly 0; it only predicts.

    Parameters
    ----------
    features, units : int
        Numbers of the input and of the output.
    dtype : {"float32", "float64"}, default="float32"
        Float type of the weights.
    activation
        As in `Dense`.

    Attributes
    ----------
    arrays_ : dict of str -> ndarray, or None before `take`
        Output by output: "values", the weights that are not 0, and "indices", int32, their inputs in rising order; "starts",
        int32, where each output's begin, and their number; "bias".

    Notes
    -----
    2 flops a weight that is not 0; x and y are transposed besides. A number of x that is not finite makes the whole row
    NaN, as it does where W has zeros in memory.
    """

    name, record = "sparse_dense", SPARSE
    rows_at_once = 96  # fewer sums at once wait for each other
    arrays_ = None

    def __init__(self, features, units, dtype="float32", activation="identity"):
        self.features, self.units = check_count("features", features), check_count("units", units)
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        self.dtype = dtype
        self._weigh(activation, True, None, "zeros", 0.0, 0.0, 1.0, None)

    def settings(self):
        return {name: getattr(self, name) for name in ("features", "units", "dtype", "activation")}

    def take(self, kernel, bias):
        """Make the arrays of a kernel (features, units) and a bias."""
        outputs, inputs = np.nonzero(np.asarray(kernel).T)
        starts = np.concatenate([[0], np.cumsum(np.bincount(outputs, minlength=self.units))])
        self.arrays_ = {
            "values": np.asarray(kernel).T[outputs, inputs].astype(self.dtype),
            "indices": inputs.astype(np.int32),
            "starts": starts.astype(np.int32),
            "bias": np.asarray(bias).astype(self.dtype),
        }
        return self

    @property
    def real(self):
        """Float type of the networks that it may be in."""
        return self.dtype

    @property
    def kernel_(self):
        """The kernel with its zeros."""
        found, a = np.zeros((self.features, self.units), self.dtype), self.arrays_
        found[a["indices"], np.repeat(np.arange(self.units), np.diff(a["starts"]))] = a["values"]
        return found

    def array_shapes(self, input_shape):
        """{name: (shape, dtype)} of `arrays_`; None is a length that only they know."""
        shapes = {"values": (None,), "indices": (None,), "starts": (self.units + 1,), "bias": (self.units,)}
        return {k: (shape, np.dtype(np.int32 if k in ("indices", "starts") else self.dtype)) for k, shape in shapes.items()}

    def check_arrays(self):
        """ModelFormatError unless the arrays fit each other: kernels trust them."""
        values, indices, starts = (self.arrays_[name] for name in ("values", "indices", "starts"))
        sound = starts[0] == 0 and starts[-1] == len(indices) == len(values) and (starts[1:] >= starts[:-1]).all()
        if (
            not sound
            or values.ndim > 1
            or indices.ndim > 1
            or (len(indices) and not 0 <= indices.min() <= indices.max() < self.features)
        ):
            raise ModelFormatError(f"the arrays of {self!r} do not fit each other")

    def output_shape(self, input_shape):
        if input_shape[-1] != self.features:
            raise ValueError(
                f"the last axis of samples must have {self.features} numbers, got the shape {tuple(input_shape)}"
            )
        return (*input_shape[:-1], self.units)

    def parameters(self, input_shape):
        return []

    def flops(self, input_shape):
        rows = int(np.prod(input_shape[:-1]))
        return rows * (2 * (0 if self.arrays_ is None else len(self.arrays_["values"])) + self.units)

    def emit(self, op, builder):
        if builder.with_gradient:
            raise ValueError(f"{type(self).__name__} only predicts")
        arrays, n_in, n_out = self.arrays_, self.features, self.units
        op.forward, op.transpose = sparse_forward.address(builder.dtype), transpose.address(builder.dtype)
        op.n_in, op.n_out, op.ld_in, op.ld_out, op.sample_rows = n_in, n_out, padded(n_in), padded(n_out), builder.sample_rows
        op.x, op.y = builder.input, builder.new_rows(n_out)
        op.groups, op.block = groups_of_lanes(builder.dtype), inputs_of_block(builder.dtype)
        by_outputs, by_inputs = self._by_outputs(op.block), self._by_inputs()
        op.values, op.indices = builder.array(by_outputs[0]), builder.array(by_outputs[1])
        op.starts = builder.integers(by_outputs[2])
        op.column_values, op.column_indices = builder.array(by_inputs[0]), builder.array(by_inputs[1])
        op.column_starts, op.bias = builder.integers(by_inputs[2]), builder.reals(arrays["bias"])
        lanes = ALIGN * op.groups
        op.y_turned = lanes * op.block
        op.spoiled = op.y_turned + lanes * padded(n_out)
        op.behind = op.spoiled + lanes
        builder.new_scratch(op, op.behind + ALIGN * padded(n_out))
        activated(op, builder, get_activation(self.activation))

    def _by_outputs(self, block):
        """(values, inputs within the block, starts) block by block of so many inputs, in each output by output."""
        arrays = self.arrays_
        outputs, blocks = np.repeat(np.arange(self.units), np.diff(arrays["starts"])), arrays["indices"] // block
        order, places = np.argsort(blocks, kind="stable"), blocks * self.units + outputs
        starts = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=-(-self.features // block) * self.units))])
        return arrays["values"][order], (arrays["indices"] % block)[order], starts

    def _by_inputs(self):
        """(values, outputs, starts) input by input."""
        arrays = self.arrays_
        outputs = np.repeat(np.arange(self.units, dtype=np.int32), np.diff(arrays["starts"]))
        order = np.argsort(arrays["indices"], kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(arrays["indices"], minlength=self.features))])
        return arrays["values"][order], outputs[order], starts


def sparse(layer, kernel, bias, dtype):
    """The `SparseDense` that takes the place of a `Dense`, if so many of its weights are 0 that it is faster; else None."""
    kernel = np.asarray(kernel, dtype)
    if type(layer) is not Dense or np.count_nonzero(kernel) > (1 - LEAST_ZEROS) * kernel.size:
        return None
    return SparseDense(*kernel.shape, dtype, layer.activation).take(kernel, bias)
