"""Which numbers of a program's tables are addresses, and of what.

It is found by making the program twice, the second time from copies of everything: a number that has changed must point to
the same place of the same array both times, one that has not is the address of a kernel, or too small for an address.
Anything else, and there is no snapshot.
"""

import pickle
from typing import NamedTuple

import numpy as np

from .._jit import compiled_functions
from .._system import functions
from ..inference import Inference
from ..layers.base import OP
from ..layers.recurrent_rows import CELL
from ..layout import Layout
from ..network import Network
from .running import CLOCK, GIVE_WAY

LEAST_ADDRESS = 1 << 32  # of code: numbers of a program are smaller
UNUSED = [OP.backward, OP.gradient, OP.refresh]  # kernels that nobody calls here


class Refused(Exception):
    """There can be no snapshot; the message says why."""


class Region(NamedTuple):
    """An array that tables point into, or that is one.

    role : what it is called where a call needs to find it, else ""     shared : whether all threads use the same one
    """

    role: str
    array: np.ndarray
    shared: bool = False

    def offset(self, address):
        """Where in the array an address is, or None."""
        found = address - self.array.ctypes.data
        return found if 0 <= found < max(1, self.array.nbytes) else None


class Bound(NamedTuple):
    """A program with what it points to.

    relocations : rows (region, cell of its array, region that it points into, offset there); of functions the number is that
    of one in `functions` behind all regions     functions : names of their symbols     capacity : of the `Inference`
    """

    regions: list
    relocations: list
    functions: list
    capacity: int


def bound(network, kernel, kind, masked):
    """The `Bound` program of a network that ends with `kernel`, for sources of a kind.

    Raises
    ------
    Refused
        If a number cannot be explained.
    """
    dtype = network.params.dtype
    inference, again, other = (Inference(each, dtype, kind, masked) for each in (network, network, _copied(network)))
    regions, same, others = ([*_regions(each, kernel)] for each in (inference, again, other))
    regions = [a._replace(shared=a.array is b.array) for a, b in zip(regions, same, strict=True)]
    program, names, found, called = inference._program, _names(), [], []
    keys = {id(program.table): OP.key} | {id(cells): CELL.key for cells in program.cells.values()}
    for number, (a, b) in enumerate(zip(regions, others, strict=True)):
        if a.array.dtype != np.int64:
            if a.array.tobytes() != b.array.tobytes():
                raise Refused(f"array {number} is never the same")
            continue
        for cell, value, second in _suspects(a.array, b.array, keys.get(id(a.array))):
            if a.shared:
                raise Refused(f"array {number} is shared, and has addresses")
            if value == second and value in names:
                called += [names[value]] * (names[value] not in called)
                place = len(regions) + called.index(names[value]), 0
            else:
                place = _place(value, regions)
                if value == second or place is None or place != _place(second, others):
                    raise Refused(f"cell {cell} of array {number} may be an address, nobody knows of what")
            found.append((number, cell, *place))
    return Bound(regions, found, called, inference.capacity)


def _copied(network):
    """A network of its own with the same numbers: none of its arrays stands where one of the other's does."""
    layers = pickle.loads(pickle.dumps(network.layers))
    layout = Layout(layers, network.layout.shapes[0])
    return Network(layers, network.loss, layout, network.params.copy(), network.state.copy(), [])


def _names():
    """{address: name} of functions that a program may call."""
    clock, _, _, give_way = functions()
    compiled = {address: function.native_name for address, function in compiled_functions().items()}
    found = compiled | {clock: CLOCK, give_way: GIVE_WAY}
    return {address: name for address, name in found.items() if address >= LEAST_ADDRESS}


def _regions(inference, kernel):
    """The arrays of a program, in the same order each time."""
    program, (_, job, gate, _) = inference._program, inference._bound(1)
    program.end_with(kernel.address(program.dtype))
    program.table[:, UNUSED] = 0
    params, state, [(reading, _)] = inference._arrays
    for role, array in {"job": job, "data": inference.data, "gate": gate}.items():
        yield Region(role, array)
    for array in (inference._flag, program.work, program.table, params, state, reading, *program.kept):
        yield Region("", array)


def _suspects(table, other, keys):
    """Triples (cell, number, number in the other table) of what may be an address.

    keys : column of keys of random numbers, which may look like anything, or None
    """
    a, b, columns = table.reshape(-1), other.reshape(-1), table.shape[-1]
    for cell in np.flatnonzero((a != b) | (np.abs(a) >= LEAST_ADDRESS)).tolist():
        if a[cell] != b[cell] or keys is None or cell % columns != keys:
            yield cell, int(a[cell]), int(b[cell])


def _place(address, regions):
    """(number of the region that an address is in, its offset there), or None."""
    for number, region in enumerate(regions):
        offset = region.offset(address)
        if offset is not None:
            return number, offset
    return None
