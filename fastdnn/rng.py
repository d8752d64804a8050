"""Random numbers: one counter-based generator per purpose, and the initializers of weights.

Streams are keyed by (seed, purpose, index), never by thread or by how many numbers something else has drawn: adding a
layer does not change the weights of another, and training can resume in the middle. Reference: Salmon et al. 2011,
Parallel random numbers: as easy as 1, 2, 3 (Philox), as NumPy implements it.
"""

import ctypes
import functools

import numpy as np
from numba import types

from ._jit import kernel
from ._simd import caller

WEIGHTS, SHUFFLE, SPLIT = range(3)  # purposes


def check_seed(random_state):
    """An int seed from None (entropy of the system), an int >= 0, or a NumPy RandomState or Generator (drawn from)."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool) and random_state >= 0:
        return int(random_state)
    raise ValueError(
        f"random_state must be None, an integer >= 0, a numpy RandomState or a numpy Generator, got {random_state!r}"
    )


def generator(seed, purpose, index=0):
    """A NumPy Generator of its own for (seed, purpose, index)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, purpose, index])))


def _next_uint32_signature(real):
    return types.uint32(types.int64)


_next_uint32 = caller(_next_uint32_signature, 1)


@kernel(lambda real: types.void(types.CPointer(types.int64), types.intp, types.int64, types.int64))
def shuffle(order, n, next_uint32, state):
    """Fisher and Yates' shuffle of n < 2**32 numbers with the draws of NumPy's legacy generators: masked, then rejected."""
    i, mask = n - 1, 1
    while mask < i:
        mask = 2 * mask + 1
    while i > 0:  # without a branch that the draw decides: a third of the draws are rejected, and each surprise costs 5 ns
        j = np.int64(_next_uint32(next_uint32, state)) & mask
        accepted = j <= i
        j = j if accepted else i
        order[i], order[j] = order[j], order[i]
        i -= np.int64(accepted)
        if i <= mask >> 1:
            mask >>= 1


def shuffle_as_numpy(random_state, order):
    """``random_state.shuffle(order)`` for a contiguous int64 array: the same order and state after it, in half the time."""
    source = getattr(random_state, "_bit_generator", None)
    if source is None or order.dtype != np.int64 or len(order) >= 2**32:
        random_state.shuffle(order)
        return
    with source.lock:
        interface = source.ctypes
        draw = ctypes.cast(interface.next_uint32, ctypes.c_void_p).value
        _compiled_shuffle()(order.ctypes.data, len(order), draw, interface.state_address)


@functools.cache
def _compiled_shuffle():
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(shuffle.address("float64"))


def _uniform(scale):
    def draw(rng, shape, fan_in, fan_out):
        bound = np.sqrt(3.0 * scale(fan_in, fan_out))
        return rng.uniform(-bound, bound, shape)

    return draw


def _normal(scale):
    def draw(rng, shape, fan_in, fan_out):
        return rng.standard_normal(shape) * np.sqrt(scale(fan_in, fan_out))

    return draw


def _glorot(fan_in, fan_out):
    return 2.0 / (fan_in + fan_out)


def _he(fan_in, fan_out):
    return 2.0 / fan_in


# name -> draw(rng, shape, fan_in, fan_out); the functions above give the variance. Glorot & Bengio 2010; He et al. 2015.
INITIALIZERS = {
    "glorot_uniform": _uniform(_glorot),
    "glorot_normal": _normal(_glorot),
    "he_uniform": _uniform(_he),
    "he_normal": _normal(_he),
    "zeros": lambda rng, shape, fan_in, fan_out: np.zeros(shape),
}


def check_initializer(name):
    """The name itself if there is an initializer of that name; otherwise ValueError with the list of names."""
    if not isinstance(name, str) or name not in INITIALIZERS:
        raise ValueError(f"initializer must be one of {sorted(INITIALIZERS)}, got {name!r}")
    return name
