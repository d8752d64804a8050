"""Predictions in a process that has neither Numba nor the training half: from machine code that an earlier one has kept.

A `snapshot` is what a network's bound program is made of, as bytes: tables, arrays and the object code of its kernels. A
process that has all of the package takes one (`taking`); one that has just started reads it (`files`), lets LLVM link the
object code (`linking`) and calls it (`running`). Only `taking` imports Numba.
"""
