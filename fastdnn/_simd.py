"""Vector code as LLVM IR: vectors with arithmetic, pointers.

Numba's own loops reach a fraction of the machine where it matters: `np.exp` in a loop is a scalar call (SVML is gone),
and an Adam update written as a plain loop takes 2.3 ns a parameter against 0.3 ns as vector IR. So whatever touches
memory in bulk is written with `Vec` (a vector with operators) and loops over rows of them (`_rows`), and Numba's own
language only walks the rows. Generic vector IR is legal on every processor; nothing here needs a particular instruction.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._isa import isa

INT32, INT64 = ir.IntType(32), ir.IntType(64)


def intrinsic_of(n_args, typing):
    """`intrinsic` of typing(typingctx, *args) with exactly n_args arguments: Numba cannot lower star arguments."""
    names = ", ".join(f"a{i}" for i in range(n_args))
    scope = {"typing": typing}
    exec(f"def made(typingctx, {names}):\n    return typing(typingctx, {names})", scope)
    scope["made"].__name__ = typing.__name__  # not in the text: that of a lambda is no name
    return intrinsic(scope["made"])


# ---------------------------------------------------------------- vectors


class Emit:
    """Vector operations on an llvmlite builder, for one float type; `width` lanes if that is fewer than a register has."""

    def __init__(self, builder, real, width=None):
        self.builder, self.real = builder, real
        self.bits = real.bitwidth
        self.width = min(isa().width(real), width or isa().width(real))
        self.scalar = ir.FloatType() if self.bits == 32 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, self.width)
        self.integer = ir.IntType(self.bits)
        self.integers = ir.VectorType(self.integer, self.width)

    def constant(self, value):
        return Vec(self, ir.Constant(self.vector, [float(value)] * self.width))

    def value(self, x):
        """A `Vec` as it is, a Python number as a vector of it."""
        return x if isinstance(x, Vec) else self.constant(x)

    def splat(self, scalar):
        """All lanes the same LLVM scalar."""
        kind = ir.VectorType(scalar.type, self.width)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
        lanes = ir.Constant(ir.VectorType(INT32, self.width), [0] * self.width)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def at(self, pointer, offset):
        if isinstance(offset, int):
            offset = ir.Constant(INT64, offset)
        return self.builder.gep(pointer, [offset])

    def load(self, pointer):
        # align: NumPy promises no more than the item's; without it LLVM emits aligned moves, which fault.
        where = self.builder.bitcast(pointer, self.vector.as_pointer())
        return Vec(self, self.builder.load(where, align=self.bits // 8))

    def store(self, x, pointer):
        self.builder.store(x.v, self.builder.bitcast(pointer, self.vector.as_pointer()), align=self.bits // 8)

    def opaque(self, pointer):
        """The pointer, of which the compiler does not know where it comes from; no instruction."""
        kind = ir.FunctionType(pointer.type, [pointer.type])
        return self.builder.call(ir.InlineAsm(kind, "", "=r,0"), [pointer])

    def prefetch(self, pointer):
        """Ask for the cache line at `pointer`; any address is harmless."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, INT32, INT32, INT32])
        f = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        read, keep, data = (ir.Constant(INT32, x) for x in (0, 3, 1))
        self.builder.call(f, [self.builder.bitcast(pointer, byte), read, keep, data])

    def call(self, name, *args):
        kind = ir.FunctionType(self.vector, [self.vector] * len(args))
        f = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}.v{self.width}f{self.bits}")
        return Vec(self, self.builder.call(f, [a.v for a in args]))

    def lanes_below(self, n):
        """Mask of the lanes whose index is smaller than the LLVM int64 n."""
        index = ir.Constant(ir.VectorType(INT64, self.width), list(range(self.width)))
        return Mask(self, self.builder.icmp_signed("<", index, self.splat(n)))

    def reduce(self, x, combine):
        """One scalar from all lanes, halves onto halves: the order is fixed by the width alone."""
        step, v = self.width // 2, x
        while step:
            lanes = [(i + step) % self.width for i in range(self.width)]
            other = self.builder.shuffle_vector(v.v, v.v, ir.Constant(ir.VectorType(INT32, self.width), lanes))
            v, step = combine(v, Vec(self, other)), step // 2
        return self.builder.extract_element(v.v, ir.Constant(INT32, 0))


def _refused(what, instead):
    """A method that raises the TypeError that says what to write instead."""

    def method(self, *_):
        raise TypeError(f"a vector under construction has no {what}: {instead}")

    return method


class Lanes:
    """Base of `Mask` and `Vec`: an LLVM value whose lanes differ when the code runs, and are not known when it is written.

    So whatever asks for one answer for all lanes is an error. Python's own default would take each vector for true, and
    ``x if x > 0 else 0`` would be the identity.
    """

    __slots__ = ("e", "v")
    __array_ufunc__ = None  # NumPy's functions and scalars leave the operation to us, or raise TypeError
    __hash__ = None

    def __init__(self, e, v):
        self.e, self.v = e, v

    __bool__ = _refused(
        "truth value",
        "write where(mask, a, b) for `a if mask else b`; minimum, maximum and absolute for min, max and abs; "
        "mask & mask, mask | mask and ~mask for `and`, `or`, `not` and chains of comparisons",
    )
    __float__ = __int__ = __index__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = _refused(
        "number", "use the functions of vectors in fastdnn.extending (exp, log, sqrt, ...) for those of math and NumPy"
    )
    __eq__ = __ne__ = _refused("== and !=", "use a.equals(b) or ~a.equals(b), which give a mask for `where`")
    __len__ = __iter__ = __getitem__ = __contains__ = _refused("items", "all lanes are computed at once, with operators")
    __pow__ = __rpow__ = _refused("power", "multiply, or use sqrt, exp and log of fastdnn.extending")
    __abs__ = _refused("abs", "use fastdnn.extending.absolute")


class Mask(Lanes):
    """A vector of truth values, for `where`; combined with &, | and ~."""

    __slots__ = ()

    def _combine(self, how, other):
        if not isinstance(other, Mask):
            raise TypeError(f"a mask can be combined with another one only, got {other!r}; put comparisons in parentheses")
        return Mask(self.e, getattr(self.e.builder, how)(self.v, other.v))

    def __and__(self, other):
        return self._combine("and_", other)

    def __or__(self, other):
        return self._combine("or_", other)

    def __invert__(self):
        return Mask(self.e, self.e.builder.not_(self.v))


class Vec(Lanes):
    """A vector of floats under construction; arithmetic with other vectors and with Python numbers emits IR."""

    __slots__ = ()

    def _other(self, x):
        return self.e.value(x)

    def __add__(self, x):
        return Vec(self.e, self.e.builder.fadd(self.v, self._other(x).v))

    def __sub__(self, x):
        return Vec(self.e, self.e.builder.fsub(self.v, self._other(x).v))

    def __mul__(self, x):
        return Vec(self.e, self.e.builder.fmul(self.v, self._other(x).v))

    def __truediv__(self, x):
        return Vec(self.e, self.e.builder.fdiv(self.v, self._other(x).v))

    def __radd__(self, x):
        return self._other(x) + self

    def __rsub__(self, x):
        return self._other(x) - self

    def __rmul__(self, x):
        return self._other(x) * self

    def __rtruediv__(self, x):
        return self._other(x) / self

    def __neg__(self):
        return Vec(self.e, self.e.builder.fneg(self.v))

    def _compare(self, how, x):
        return Mask(self.e, self.e.builder.fcmp_ordered(how, self.v, self._other(x).v))

    def __lt__(self, x):
        return self._compare("<", x)

    def __le__(self, x):
        return self._compare("<=", x)

    def __gt__(self, x):
        return self._compare(">", x)

    def __ge__(self, x):
        return self._compare(">=", x)

    def equals(self, x):
        """Mask of the lanes that are equal (NaN equals nothing)."""
        return self._compare("==", x)

    def is_nan(self):
        """Mask of the lanes that are NaN."""
        return Mask(self.e, self.e.builder.fcmp_unordered("uno", self.v, self.v))

    def bits(self):
        return self.e.builder.bitcast(self.v, self.e.integers)


def where(mask, a, b):
    """a where the mask is set, b elsewhere; both may be Python numbers."""
    if not isinstance(mask, Mask):
        raise TypeError(f"where needs the mask that a comparison of vectors gives, got {mask!r}")
    return Vec(mask.e, mask.e.builder.select(mask.v, mask.e.value(a).v, mask.e.value(b).v))


# ---------------------------------------------------------------- pointers


@intrinsic
def offset(typingctx, pointer, n):
    """Pointer to element n after `pointer`."""
    return pointer(pointer, types.intp), lambda context, builder, signature, a: builder.gep(a[0], [a[1]])


@intrinsic
def pointer_at(typingctx, address, like):
    """The int64 `address` as a pointer of the type of `like`."""

    def codegen(context, builder, signature, a):
        return builder.inttoptr(a[0], context.get_value_type(signature.return_type))

    return like(types.int64, like), codegen


@intrinsic
def doubles_at(typingctx, address):
    """The int64 `address` as a pointer to float64."""
    kind = types.CPointer(types.float64)

    def codegen(context, builder, signature, a):
        return builder.inttoptr(a[0], context.get_value_type(kind))

    return kind(types.int64), codegen


@intrinsic
def integers_at(typingctx, address, n):
    """Pointer to the int64 number n of the array that starts at the int64 `address`."""
    kind = types.CPointer(types.int64)

    def codegen(context, builder, signature, a):
        return builder.gep(builder.inttoptr(a[0], context.get_value_type(kind)), [a[1]])

    return kind(types.int64, types.intp), codegen


@intrinsic
def bytes_at(typingctx, address, n):
    """Pointer to byte number n of the array of uint8 that starts at the int64 `address`."""
    kind = types.CPointer(types.uint8)

    def codegen(context, builder, signature, a):
        return builder.gep(builder.inttoptr(a[0], context.get_value_type(kind)), [a[1]])

    return kind(types.int64, types.intp), codegen


@intrinsic
def real(typingctx, like, value):
    """The float64 `value` in the float type that pointer `like` points to: an untyped literal would widen float32."""

    def codegen(context, builder, signature, a):
        return context.cast(builder, a[1], types.float64, signature.return_type)

    return like.dtype(like, types.float64), codegen


@intrinsic
def one_by_one(typingctx, number):
    """The integer, in a way that keeps the loop around it one of single numbers, and one loop for all that it may be.

    LLVM makes vectors of loops over labels and weights, with divisions lane by lane, and copies of them for each answer to
    a question that is the same in all turns: three times the code to compile, and none of it faster.
    """

    def codegen(context, builder, signature, a):
        return builder.call(ir.InlineAsm(ir.FunctionType(INT64, [INT64]), "", "=r,0", side_effect=True), a)

    return types.int64(types.int64), codegen


@intrinsic
def prefetch(typingctx, pointer):
    """Ask for the cache line at `pointer`; any address is harmless."""

    def codegen(context, builder, signature, a):
        Emit(builder, signature.args[0].dtype).prefetch(a[0])
        return context.get_dummy_value()

    return types.void(pointer), codegen


@intrinsic
def local(typingctx, like):
    """Pointer to room for 256 elements on the stack, of the float type that pointer `like` points to; not initialized."""

    def codegen(context, builder, signature, a):
        kind = context.get_value_type(signature.return_type.dtype)
        return cgutils.alloca_once(builder, kind, size=256)

    return like(like), codegen


@intrinsic
def copy(typingctx, source, target, n):
    """Copy n elements from pointer `source` to pointer `target` (memcpy)."""

    def codegen(context, builder, signature, a):
        size = signature.args[0].dtype.bitwidth // 8
        cgutils.raw_memcpy(builder, a[1], a[0], a[2], size)
        return context.get_dummy_value()

    return types.void(source, target, types.intp), codegen


def caller(signature, n_args):
    """Intrinsic: call the C function whose address is in an int64, with `n_args` arguments.

    `signature` is a function of the float type, as for `kernel`; the float type is that of the first float pointer among
    the arguments. Pointers may be given as int64 addresses: machine code takes both alike, so code that knows no float
    type (the engine) can call kernels of either.
    """

    def call(typingctx, address, *args):
        reals = [a.dtype for a in args if isinstance(a, types.CPointer) and isinstance(a.dtype, types.Float)]
        wanted = signature(reals[0] if reals else types.float32)

        def codegen(context, builder, sig, a):
            kinds = [context.get_value_type(t) for t in wanted.args]
            void = wanted.return_type == types.void
            result = ir.VoidType() if void else context.get_value_type(wanted.return_type)
            f = builder.inttoptr(a[0], ir.FunctionType(result, kinds).as_pointer())
            values = [
                builder.inttoptr(v, k) if isinstance(v.type, ir.IntType) and isinstance(k, ir.PointerType) else v
                for v, k in zip(a[1:], kinds, strict=True)
            ]
            value = builder.call(f, values)
            return context.get_dummy_value() if void else value

        given = [types.int64 if isinstance(a, types.Integer) else w for a, w in zip(args, wanted.args, strict=True)]
        return wanted.return_type(types.int64, *given), codegen

    return intrinsic_of(n_args + 1, call)
