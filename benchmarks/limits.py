"""What the processor can do: its rate of fused multiply-adds, measured, for shares of the peak."""

import threading
import time

from llvmlite import ir
from numba import types

from fastdnn._isa import isa
from fastdnn._jit import kernel
from fastdnn._simd import INT64, Emit, Vec, intrinsic_of


def _spin_typing(typingctx, like, n):
    """n rounds of independent fused multiply-adds that stay in registers; their sum, so that none is left out."""

    def codegen(context, builder, signature, values):
        e = Emit(builder, like.dtype)
        loop, done, before = builder.append_basic_block("loop"), builder.append_basic_block("done"), builder.block
        builder.branch(loop)
        builder.position_at_end(loop)
        i, sums = builder.phi(INT64), [Vec(e, builder.phi(e.vector)) for _ in range(accumulators())]
        factor = e.constant(0.999)
        new = [e.call("fma", s, factor, factor) if isa().fma else s * factor + factor for s in sums]
        following = builder.add(i, ir.Constant(INT64, 1))
        for phi, first, value in [(i, ir.Constant(INT64, 0), following)] + [
            (s.v, e.constant(float(k)).v, x.v) for k, (s, x) in enumerate(zip(sums, new, strict=True))
        ]:
            phi.add_incoming(first, before)
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, values[1]), loop, done)
        builder.position_at_end(done)
        e.store(sum(new[1:], new[0]), values[0])
        return context.get_dummy_value()

    return types.void(like, types.intp), codegen


def accumulators():
    return 20 if isa().registers == 32 else 12


_spin = intrinsic_of(2, _spin_typing)


@kernel(lambda real: types.void(types.CPointer(real), types.intp))
def spin(result, n):
    """n * accumulators() vectors of fused multiply-adds; writes one vector."""
    _spin(result, n)


def fma_peak(dtype="float32", threads=1, rounds=5):
    """Flops a second of so many threads at once, the best of some rounds of about 30 ms."""
    import ctypes

    import numpy as np

    n, lanes = 1_500_000, isa().bytes // np.dtype(dtype).itemsize
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(spin.address(dtype))
    results, seconds = np.zeros((threads, 1024), dtype), []
    for _ in range(rounds):
        workers = [threading.Thread(target=run, args=(results[t].ctypes.data, n)) for t in range(threads)]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds.append(time.perf_counter() - began)
    return 2 * n * accumulators() * lanes * threads / min(seconds)


if __name__ == "__main__":
    for kind in ("float32", "float64"):
        print(f"{kind}: {fma_peak(kind) / 1e9:.1f} GFLOP/s on one thread")
