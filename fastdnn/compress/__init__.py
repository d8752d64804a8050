"""Smaller networks: weights that are 0 and stay so, neurons, channels and units that go, weights that can be bytes."""

from .gradual import MagnitudePruning
from .pruning import apply_masks, masks, prune, sparsity
from .quantization import QuantizationAware
from .shrinking import shrink

__all__ = ["MagnitudePruning", "QuantizationAware", "apply_masks", "masks", "prune", "shrink", "sparsity"]
