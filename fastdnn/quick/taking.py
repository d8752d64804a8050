"""Taking a snapshot of a network: its programs for samples that come as arrays, with all that they point to."""

import contextlib

import numpy as np

from .._cache import cache_folder, numba_target
from .._jit import compiled_functions
from .._stamp import host_target, package_stamp
from ..forward import infer
from ..layers import Embedding, Layer, Masking
from ..layers.base import DATA
from ..program import done_by_gather
from ..tables import INFER
from .files import MOST_BYTES
from .keeping import has_snapshot, keep
from .linking import STAND_INS
from .machine_code import object_code, stand_ins
from .relocations import Refused, bound
from .running import CALL_ENTRIES, DATA_ENTRIES, TYPES, Snapshot
from .samples import as_samples
from .symbols import symbols


def keep_snapshot(name, model, about):
    """Keep the snapshot of a model for later processes, if there can be one.

    Not where nothing is kept, where Numba compiles for something else than `host_target` says, or for large networks: they
    take long to read, whatever they start with.

    Parameters
    ----------
    name : str
        Of the snapshot: `keeping.name_of` the file that the model was read from.
    model : Model
        Built.
    about : dict
        What else is to be known of the predictor, as JSON has it.
    """
    network = model._built()
    large = network.params.nbytes + network.state.nbytes > MOST_BYTES // 2
    if cache_folder() is None or large or numba_target() != host_target():
        return
    with contextlib.suppress(Refused, LookupError, OSError, ValueError):
        if not has_snapshot(name):
            header, blobs = take(network, network.loss.link_for(network.n_out), about)
            if sum(map(len, blobs)) < MOST_BYTES:
                _check(Snapshot(package_stamp(), header, blobs), model)
                keep(name, header, blobs)


def _check(snapshot, model):
    """Refused unless a snapshot predicts what the model does."""
    shape, random = (3, *snapshot.input_shape), np.random.default_rng(0)
    most = snapshot.header["ids"] or 256
    for kind in snapshot.header["programs"]:
        X = random.standard_normal(shape) if kind == "float" else random.integers(1 < most, most, shape)
        X, result = X.astype(TYPES.get(kind, snapshot.dtype)), np.empty((3, *snapshot.output_shape), snapshot.dtype)
        snapshot.run(as_samples(X, snapshot), result, lambda: False)
        if not np.array_equal(result, model.predict(X), equal_nan=True):
            raise Refused(f"the program for {kind} has other results")


def take(network, kernel, about):
    """(header, blobs) of a snapshot of `network`, whose samples end with `kernel`, the loss's link.

    Raises
    ------
    Refused
        If it has parts that are not the package's own, or that cannot be explained.
    """
    parts = [*(layer for _, layer in network.layout.leaves), *network.layers, network.loss]
    foreign = next((part for part in parts if type(part).__module__.split(".")[0] != __package__.split(".")[0]), None)
    if foreign is not None:
        raise Refused(f"{foreign!r} is not of the package")
    blobs, mask = Blobs(), _mask_value(network)
    programs = {kind: bound(network, kernel, kind, mask is not None) for kind in _kinds(network)}
    driver = infer.compile().native_name
    codes, needs = _object_files({driver, *(name for program in programs.values() for name in program.functions)})
    header = {
        "about": about,
        "float": network.params.dtype.name,
        "shapes": [network.layout.shapes[0], network.layout.shapes[-1]],
        "ids": getattr(network.layers[0], "n_tokens", 0) if network.layers[0].takes_ids else 0,
        "mask": mask,
        "programs": {kind: _as_plain(program, blobs) for kind, program in programs.items()},
        "entries": {name: getattr(INFER, name) for name in CALL_ENTRIES},
        "data_entries": {name: getattr(DATA, name) for name in DATA_ENTRIES},
        "driver": driver,
        "needs": sorted(needs),
        "codes": {name: blobs.add(np.frombuffer(code, np.uint8)) for name, code in codes.items()},
        "stand_ins": blobs.add(np.frombuffer(stand_ins(), np.uint8)),
    }
    return header, blobs.arrays


def _kinds(network):
    """Kinds of sources for which there are programs: floats, and bytes where they are not scaled as the floats are."""
    first, leaves = network.layers[0], network.layout.leaves
    if first.takes_ids:
        if not isinstance(first, Embedding):
            raise Refused(f"nobody knows what ids {first!r} takes")
        return ["ids"]
    return ["float"] + ["u1"] * (done_by_gather(leaves, "u1") != done_by_gather(leaves, "float"))


def _mask_value(network):
    """The number by which a step of a sample does not count, or None where all count."""
    first = network.layers[0]
    if type(first).mask is Layer.mask or (isinstance(first, Embedding) and not first.mask_zero):
        return None
    if not isinstance(first, (Embedding, Masking)):
        raise Refused(f"nobody knows what steps {first!r} leaves out")
    network.layout.check_mask()
    return first.value if isinstance(first, Masking) else 0


class Blobs:
    """Arrays of bytes that are to be written, each once."""

    def __init__(self):
        self.arrays, self._numbers = [], {}

    def add(self, array):
        """Number of an array among them."""
        array = np.ascontiguousarray(array)
        key = array.ctypes.data, array.nbytes
        if key not in self._numbers:
            self._numbers[key] = len(self.arrays)
            self.arrays.append(array.reshape(-1).view(np.uint8))  # which keeps the array, and its address its own
        return self._numbers[key]


def _as_plain(program, blobs):
    """What a header says of a `Bound` program.

    Of each region: its role, its bytes, the blob that it starts with (-1: none; zeros follow), whether it is shared.
    """
    regions = []
    for role, array, shared in program.regions:
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if not shared:  # a workspace is all zeros but for its start
            content = content[: np.flatnonzero(content)[-1] + 1].copy() if content.any() else content[:0]
        regions.append([role, array.nbytes, blobs.add(content) if len(content) else -1, shared])
    relocations = np.array(program.relocations, np.int64).reshape(-1, 4)
    return {
        "regions": regions,
        "relocations": blobs.add(relocations),
        "functions": program.functions,
        "capacity": program.capacity,
    }


def _object_files(names):
    """({name of a C function: its object file}, symbols that these need of the process)."""
    codes, needs = {}, set()
    for compiled in compiled_functions().values():
        name = compiled.native_name
        if name in names:
            code = object_code(compiled)
            if code is None:
                raise Refused(f"{name} is not in the cache of kernels")
            defined, needed = symbols(code)
            if name not in defined:
                raise Refused(f"{name} is not in its object file")
            codes[name] = code
            needs |= needed
    return codes, needs - set(STAND_INS)
