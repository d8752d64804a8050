"""Names for the entries of tables: what an op, a call of the engine or a product is told stands in one, by address.

A `Record` is the list of a table's names. In Python ``DATA.rows`` is the number of the entry, for arrays. In compiled code a
value of the record's type has the entries as attributes: ``data.rows`` reads and ``data.rows = n`` writes, each as fast as
through a bare pointer. Such a value comes as an argument (`Record.type` in a signature) or from an address (`Record.view`).
"""

import hashlib

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, lower_setattr_generic, models, register_model

INT64 = ir.IntType(64)


class RecordType(types.Type):
    """Numba's type of a pointer to a table with names. Two are the same if names and numbers are."""

    def __init__(self, names, number):
        self.names, self.number = names, number
        # Short, for it becomes part of the symbols of all functions that take one.
        super().__init__(f"Record{hashlib.sha256(repr((names, number)).encode()).hexdigest()[:12]}")


class Record:
    """The names of the entries of a table of 8-byte numbers.

    Parameters
    ----------
    *names : str
        In the order of the entries.
    after : Record or None
        Whose names come first.
    size : int or None
        Entries in all, where there is to be room for the names of other records.
    number : numba.types.int64 or float64
        What the entries are.

    Attributes
    ----------
    type : RecordType
        Of values in compiled code.
    view : intrinsic
        ``view(address, n)`` in compiled code, under a global name: record number n of the table at the int64 `address`.
    local : intrinsic
        ``local()`` in compiled code, under a global name: a record on the stack of the function where this stands, not
        initialized.
    <name> : int
        Number of the entry of that name.
    """

    def __init__(self, *names, after=None, size=None, number=types.int64):
        self.names = (*(after.names if after else ()), *names)
        self.size, self.type = size or len(self.names), RecordType(self.names, number)
        self.view, self.local = _view_of(self.type, self.size), _local_of(self.type, self.size)
        if len(set(self.names)) < len(self.names) or len(self.names) > self.size or {*self.names} & {*vars(self)}:
            raise ValueError(f"a record needs at most {self.size} different names of its own, got {self.names}")
        vars(self).update((name, i) for i, name in enumerate(self.names))

    def on(self, table):
        """A table, a one-dimensional array, with its entries as attributes, in Python."""
        return Entries(self, table)


class Entries:
    """A table whose entries have names, in Python; see `Record.on`."""

    __slots__ = ("_record", "table")

    def __init__(self, record, table):
        object.__setattr__(self, "_record", record)
        object.__setattr__(self, "table", table)

    def _entry(self, name):
        if name not in self._record.names:
            raise AttributeError(f"there is no entry {name!r}, only {', '.join(self._record.names)}")
        return getattr(self._record, name)

    def __getattr__(self, name):
        return self.table[self._entry(name)].item()

    def __setattr__(self, name, value):
        self.table[self._entry(name)] = value


@register_model(RecordType)
class RecordModel(models.PrimitiveModel):
    """A pointer to the first entry."""

    def __init__(self, manager, kind):
        super().__init__(manager, kind, manager.lookup(kind.number).get_value_type().as_pointer())


@infer_getattr
class RecordAttribute(AttributeTemplate):
    """The types of the entries."""

    key = RecordType

    def generic_resolve(self, kind, name):
        return kind.number if name in kind.names else None


def _entry(builder, kind, pointer, name):
    return builder.gep(pointer, [ir.Constant(INT64, kind.names.index(name))])


@lower_getattr_generic(RecordType)
def _read(context, builder, kind, pointer, name):
    return builder.load(_entry(builder, kind, pointer, name))


@lower_setattr_generic(RecordType)
def _write(context, builder, signature, args, name):
    kind, given = signature.args
    value = context.cast(builder, args[1], given, kind.number)
    builder.store(value, _entry(builder, kind, args[0], name))


@intrinsic
def copy_record(typingctx, source, target, n):
    """Copy the first n entries of a record to another of the same kind."""

    def codegen(context, builder, signature, a):
        cgutils.raw_memcpy(builder, a[1], a[0], a[2], 8)
        return context.get_dummy_value()

    return types.void(source, target, types.intp), codegen


def _view_of(kind, size):
    def view(typingctx, address, n):
        def codegen(context, builder, signature, a):
            pointer = builder.inttoptr(a[0], context.get_value_type(kind))
            return builder.gep(pointer, [builder.mul(a[1], ir.Constant(INT64, size))])

        return kind(types.int64, types.intp), codegen

    view.__name__ = f"view_{kind.name}"
    return intrinsic(view)


def _local_of(kind, size):
    def local(typingctx):
        def codegen(context, builder, signature, a):
            return cgutils.alloca_once(builder, context.get_value_type(kind).pointee, size=size)

        return kind(), codegen

    local.__name__ = f"local_{kind.name}"
    return intrinsic(local)
