"""Random numbers: one counter-based generator per purpose.

Streams are keyed by (seed, purpose, index), never by thread or by how many numbers something else has drawn: adding a
layer does not change the weights of another, and training can resume in the middle. Reference: Salmon et al. 2011,
Parallel random numbers: as easy as 1, 2, 3 (Philox), as NumPy implements it.
"""

import ctypes
import functools

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ._jit import kernel
from ._simd import INT32, INT64, Emit, caller, intrinsic_of

WEIGHTS, SHUFFLE, SPLIT, NOISE, MIXING, LATENT, INSTANCE_NOISE, BLOCKS, TURNS = range(9)  # purposes


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


# ---------------------------------------------------------------- random numbers inside kernels

ROUNDS = 7  # the fewest with which Philox4x32 passes every test of TestU01's BigCrush, table 2 of the paper
_FACTORS, _STEPS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)


def key(seed, *path):
    """An int64 key for `uniform_row`, of its own for each seed and path of integers."""
    return int(np.random.SeedSequence([seed, NOISE, *path]).generate_state(1, np.uint64)[0].view(np.int64))


def _uniform_row_typing(typingctx, target, n, key, row, step):
    def codegen(context, builder, signature, values):
        target, n, key, row, step = values
        lanes, wide, narrow = 16, ir.VectorType(INT64, 16), ir.VectorType(INT32, 16)
        e = Emit(builder, signature.args[0].dtype)

        def constant(value):
            return ir.Constant(wide, [value] * lanes)

        def splat(scalar):
            first = builder.insert_element(ir.Constant(wide, ir.Undefined), scalar, ir.Constant(INT32, 0))
            return builder.shuffle_vector(first, first, ir.Constant(narrow, [0] * lanes))

        word = constant(0xFFFFFFFF)
        keys = splat(key)
        index = ir.Constant(wide, list(range(lanes)))
        with cgutils.for_range_slice(builder, ir.Constant(INT64, 0), n, ir.Constant(INT64, 64), intp=INT64) as (j, _):
            c = [
                builder.add(splat(builder.lshr(j, ir.Constant(INT64, 2))), index),
                builder.and_(splat(row), word),
                builder.and_(splat(step), word),
                builder.lshr(splat(step), constant(32)),
            ]
            k = [builder.and_(keys, word), builder.lshr(keys, constant(32))]
            for _ in range(ROUNDS):
                p, q = (builder.mul(x, constant(f)) for x, f in zip((c[0], c[2]), _FACTORS, strict=True))
                high_p, high_q = (builder.lshr(x, constant(32)) for x in (p, q))
                c = [
                    builder.xor(builder.xor(high_q, c[1]), k[0]),
                    builder.and_(q, word),
                    builder.xor(builder.xor(high_p, c[3]), k[1]),
                    builder.and_(p, word),
                ]
                k = [builder.and_(builder.add(x, constant(s)), word) for x, s in zip(k, _STEPS, strict=True)]
            for w in range(4):
                at = builder.add(j, ir.Constant(INT64, 16 * w))
                with builder.if_then(builder.icmp_signed("<", at, n)):
                    bits = builder.trunc(builder.lshr(c[w], constant(9)), narrow)
                    kind = ir.VectorType(e.scalar, lanes)
                    x = builder.fadd(builder.sitofp(bits, kind), ir.Constant(kind, [0.5] * lanes))
                    x = builder.fmul(x, ir.Constant(kind, [2.0**-23] * lanes))
                    builder.store(x, builder.bitcast(e.at(target, at), kind.as_pointer()), align=e.bits // 8)
        return context.get_dummy_value()

    return types.void(target, types.intp, types.int64, types.int64, types.int64), codegen


# uniform_row(target, n, key, row, step): target[0:n] = uniform numbers between 0 and 1, (k + 1/2) / 2**23; n is a multiple of
# 16. They depend on key, row, step and the column alone: number j comes from word j // 16 % 4 of Philox4x32's output for the
# counter (j // 64 * 16 + j % 16, row, step).
uniform_row = intrinsic_of(5, _uniform_row_typing)
