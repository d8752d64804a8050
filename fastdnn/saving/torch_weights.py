"""Weights of a PyTorch `state_dict` in a safetensors file, for the layers of a model; PyTorch is not needed.

The safetensors library writes tensors sorted by their names, so the order of the modules is lost. What is left of it are the
numbers in the names ("features.0", "features.10"; "conv1", "conv2"); the rest follows from shapes, or must be told.

Reference: https://github.com/huggingface/safetensors; https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html
"""

import collections
import os
import re

import numpy as np

from ..layout import aligned
from .container import Container
from .errors import ModelFormatError
from .state import narrowed
from .torch_layers import modules

FLOATS = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
COUNTS = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "u1"}  # counters, no weights
PICKLES = ".pt", ".pth", ".bin", ".ckpt", ".pkl"
SHORTCUT = re.compile(r"(?:.*[.])?(?:downsample|shortcut)(?:[.].*)?", re.DOTALL)  # "layer2.0.downsample.1"
RECURRENT = re.compile("((?:.*[.])?)((?:weight|bias)_(?:ih|hh))_(l[0-9]{1,9})(_reverse)?", re.DOTALL)  # "rnn.weight_ih_l0"
MOST = 5  # names that a message lists


class StateDict(Container):
    """A safetensors file of anybody's."""

    max_header = 100_000_000
    dtypes = FLOATS | {name: np.dtype(code) for name, code in COUNTS.items()}

    def tensors(self):
        """dict of the shapes of what may be weights, by name."""
        return {name: shape for name, shape in self.shapes.items() if self.kinds[name] in FLOATS}

    def weights(self):
        """Pairs (name, array) of these, in the file's order, as float16, float32 or float64."""
        for name, array in self.arrays():
            if self.kinds[name] == "BF16":  # the upper half of a float32
                array = (array.astype(np.uint32) << 16).view(np.float32)
            if self.kinds[name] in FLOATS:
                yield name, array


def read_state_dict(layout, dtype, file, names):
    """(params, state), flat, from an open safetensors file of a state_dict; what does not fit is found before it is read."""
    try:
        reader = StateDict(file)
    except ModelFormatError:
        if is_pickle(file):
            raise ModelFormatError(
                "the file is a pickle of PyTorch's, which can execute code and is not read; in PyTorch, "
                "`from safetensors.torch import save_file; save_file(net.state_dict(), path)` writes one that is"
            ) from None
        raise
    if reader.metadata.get("format") == "fastdnn":
        raise ModelFormatError("the file is a model of fastdnn; take layout='fastdnn'")
    places = assigned(modules(layout), reader.tensors(), names or {})
    params, state = aligned(layout.size, dtype), aligned(layout.state_size, dtype)
    arrays = {**layout.views(params), **layout.state_views(state)}
    for name, array in reader.weights():
        for tensor in places[name]:
            values = tensor.convert(narrowed(name, array, dtype))
            arrays[tensor.key][...] = arrays[tensor.key] + values if tensor.adds else values
    return params, state


def is_pickle(file):
    """Whether a file is what `torch.save` writes: a zip of a pickle, or a pickle, by its first bytes or its name."""
    file.seek(0)
    start = file.read(8)
    plain = start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5" and any(start[4:])  # otherwise the length of a header
    return plain or start.startswith(b"PK\x03\x04") or os.fsdecode(file.name).lower().endswith(PICKLES)


# ---------------------------------------------------------------- which module is which layer


def assigned(wanted, shapes, names):
    """Where the tensors go: dict of name -> list of `Tensor`. Each layer has all of its own, and each tensor a layer.

    wanted : list of `Module`, of the layers     shapes : of the tensors, by name     names : as in `Model.load_weights`
    """
    found, names_of = collections.defaultdict(dict), {}
    for name in sorted(shapes, key=steps):
        module, last = parted(name)
        found[module][last], names_of[module, last] = shapes[name], name
    chosen = _named(wanted, found, names)
    told = set(chosen)
    # Whether names say which modules are on shortcuts, as torchvision's do, and the model has such layers.
    apart = any(module.on_shortcut for module in wanted) and any(map(SHORTCUT.fullmatch, found))
    _choose(wanted, found, chosen, apart)
    places = collections.defaultdict(list)
    for number, module in chosen.items():
        for last, tensor in wanted[number].tensors.items():
            name = names_of.get((module, last), _joined(module, last))
            _check_tensor(wanted[number], last, name, shapes.get(name))
            places[name].append(tensor)
    if left := [name for name in shapes if name not in places]:
        raise ModelFormatError(f"no layer of the model takes {_listed(left, shapes)}; each tensor must have its place")
    untold = sorted(chosen.keys() - told)
    rest = [
        (wanted[number].layer, chosen[number], (apart and wanted[number].on_shortcut, signature(_usual(wanted[number]))))
        for number in untold
    ]
    _check_order(rest)
    _check_known(rest)
    return places


def _named(wanted, found, names):
    """The modules that `names` gives: dict of number of the layer -> module; ValueError if it does not fit."""
    if not isinstance(names, dict):
        raise ValueError(f"names must be a dict of the model's keys and the file's, got {names!r}")
    chosen = {}
    for layer, given in names.items():
        numbers = [number for number, module in enumerate(wanted) if module.layer == layer]
        if not numbers:
            known = ", ".join(repr(module.layer) for module in wanted[:MOST])
            raise ValueError(f"names has {layer!r}, which is no layer with weights of this model; it has {known}, ...")
        given = [given] if isinstance(given, str) else given
        if not isinstance(given, (list, tuple)) or len(given) != len(numbers):
            raise ValueError(f"names must give {layer!r} {len(numbers)} name(s) of modules, got {given!r}")
        for module in given:
            if not isinstance(module, str) or module not in found:
                raise ValueError(f"names gives {layer!r} the module {module!r}; the file has {_some(found)}")
        chosen.update(zip(numbers, given, strict=True))
    return chosen


def _choose(wanted, found, chosen, apart):
    """Give each layer that has none the first module left that is like it, in the order of the numbers in their names.

    apart : whether those on shortcuts are told by their names
    """
    queues, named = collections.defaultdict(collections.deque), set(chosen.values())
    for module, shapes in found.items():
        if module not in named:
            queues[apart and bool(SHORTCUT.fullmatch(module)), signature(shapes)].append(module)
    for number, module in enumerate(wanted):
        if number not in chosen:
            queue = queues[apart and module.on_shortcut, signature(_usual(module))]
            if not queue:
                taken = set(chosen.values())
                left = {_joined(name, last): s for name in found if name not in taken for last, s in found[name].items()}
                tensors = ", ".join(f"{last} {shape}" for last, shape in _usual(module).items())
                raise ModelFormatError(
                    f"the layer {module.layer} takes a module with {tensors}, and there is none like it left in the file; "
                    f"not taken by the layers before: {_listed(left, left)}"
                )
            chosen[number] = queue.popleft()


def signature(shapes):
    """What a module with tensors of these shapes can be told by: what it is and, where it has one, its main shape."""
    if "running_mean" in shapes:
        return "batch_norm", shapes["running_mean"]
    if "weight_ih" in shapes:  # of a recurrent layer, and whether it has two directions
        return "recurrent", shapes["weight_ih"], shapes.get("weight_hh"), "weight_ih_reverse" in shapes
    weight = shapes.get("weight")
    if weight is None:
        return (None,)
    if len(weight) > 1:
        return "matrix", weight
    return ("layer_norm", weight) if "bias" in shapes else ("prelu",)  # which may have one slope for all


def _usual(module):
    return {last: tensor.shapes[0] for last, tensor in module.tensors.items()}


def _check_tensor(module, last, name, shape):
    """ModelFormatError unless the file has the tensor, in a shape that fits."""
    shapes = module.tensors[last].shapes
    if shape is None:
        hint = "; a layer made with use_bias=False takes none" if module.tensors[last].key.endswith(".bias") else ""
        raise ModelFormatError(f"the file lacks {name[:80]!r} of shape {shapes[0]} for the layer {module.layer}{hint}")
    if shape not in shapes:
        raise ModelFormatError(f"{name[:80]!r} must have shape {shapes[0]} for the layer {module.layer}, got {shape}")


# ---------------------------------------------------------------- what the names say about the order


def steps(name):
    """A name as a list of pairs (text, number at its end or -1), which sorts "2" before "10", "conv2" before "conv10"."""
    parts = (re.fullmatch(r"(.*?)([0-9]{0,9})", part, re.DOTALL).groups() for part in name.split("."))
    return [(text, int(number) if number else -1) for text, number in parts]


def _check_order(rest):
    """ModelFormatError if layers would take modules with numbers in another order than that of the numbers.

    rest : list of (layer, module, signature), in layer order
    """
    root = {}
    for layer, module, _ in rest:
        inside = root
        for text, number in steps(module):
            before = inside.get(text)
            if before is None or before[0] < number:
                inside[text] = before = (number, module, {})
            elif before[0] > number:
                raise ModelFormatError(
                    f"by their shapes, the layer {layer} is {module[:80]!r}, and one before it is {before[1][:80]!r}; is "
                    "the model built of the same layers? Where this is meant, say so: "
                    f"names={{{layer!r}: {module[:80]!r}}}"
                )
            inside = before[2]


def _check_known(rest):
    """ModelFormatError if of two modules that are alike nothing says which comes first."""
    last = {}
    for layer, module, kind in rest:
        if kind in last:
            other_layer, other = last[kind]
            known = next((a[0] == b[0] for a, b in zip(steps(other), steps(module), strict=False) if a != b), False)
            if not known:  # where their names part there are no numbers
                raise ModelFormatError(
                    f"the file does not say whether {other[:80]!r} or {module[:80]!r}, which have the same shapes, comes "
                    f"first; say so: names={{{other_layer!r}: ..., {layer!r}: ...}}"
                )
        last[kind] = layer, module


def parted(name):
    """(module, last part) of the name of a tensor; the layer k of an LSTM "rnn" is the module "rnn.l<k>"."""
    if found := RECURRENT.fullmatch(name):
        module, last, layer, reverse = found.groups()
        return f"{module}{layer}", f"{last}{reverse or ''}"
    module, _, last = name.rpartition(".")
    return module, last


def _joined(module, last):
    """The name of a tensor that the file lacks."""
    outer, _, layer = module.rpartition(".")
    if last.startswith(("weight_", "bias_")) and re.fullmatch("l[0-9]+", layer):
        last, reverse = last.removesuffix("_reverse"), "_reverse" * last.endswith("_reverse")
        last, module = f"{last}_{layer}{reverse}", outer
    return f"{module}.{last}" if module else last


def _some(names):
    """The first few of the names."""
    first = [repr(name[:80]) for _, name in zip(range(MOST), names, strict=False)]
    return ", ".join(first) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")


def _listed(names, shapes):
    """The first few of the names, with shapes."""
    first = [f"{name[:80]!r} {shapes[name]}" for _, name in zip(range(MOST), names, strict=False)]
    return (", ".join(first) or "none") + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
