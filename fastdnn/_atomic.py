"""Reads and writes of int64 words that several threads share, and a hint for loops that wait for them.

A word is given by its address. A release makes all that was written before it visible to who acquires the same word.
"""

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

INT32, INT64 = ir.IntType(32), ir.IntType(64)
# Instructions that do nothing, slowly, on every processor of the kind: LLVM's name, and what it is given.
WAIT_HINTS = {"x86_64": ("llvm.x86.sse2.pause",), "aarch64": ("llvm.aarch64.hint", 1), "arm64": ("llvm.aarch64.hint", 1)}


def _word(builder, address):
    return builder.inttoptr(address, INT64.as_pointer())


@intrinsic
def load(typingctx, address):
    """The word at `address`; acquires."""

    def codegen(context, builder, signature, a):
        return builder.load_atomic(_word(builder, a[0]), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def store(typingctx, address, value):
    """Write the word at `address`; releases."""

    def codegen(context, builder, signature, a):
        builder.store_atomic(a[1], _word(builder, a[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def add(typingctx, address, value):
    """Add to the word at `address`; returns what it was before. Acquires and releases."""

    def codegen(context, builder, signature, a):
        return builder.atomic_rmw("add", _word(builder, a[0]), a[1], "acq_rel")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def swap_if(typingctx, address, expected, value):
    """Write the word at `address` if it is `expected`; returns whether it was. Acquires and releases."""

    def codegen(context, builder, signature, a):
        pair = builder.cmpxchg(_word(builder, a[0]), a[1], a[2], "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(types.int64, types.int64, types.int64), codegen


@intrinsic
def hint_waiting(typingctx):
    """Tell the processor that this is a loop that waits."""

    def codegen(context, builder, signature, a):
        name, *given = WAIT_HINTS.get(llvm.get_default_triple().split("-")[0], (None,))
        if name:
            kind = ir.FunctionType(ir.VoidType(), [INT32] * len(given))
            f = cgutils.get_or_insert_function(builder.module, kind, name)
            builder.call(f, [ir.Constant(INT32, x) for x in given])
        return context.get_dummy_value()

    return types.void(), codegen
