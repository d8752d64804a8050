"""ONNX files, read without trusting them.

What a file says about sizes is checked against the bytes that are there before memory is taken for it; nothing outside the
file is read, and nothing of the graph that the wanted output does not depend on. What is left is a `Graph` of arrays and
plain values, which no longer holds on to the file.

Reference: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; https://protobuf.dev/programming-guides/encoding
"""

import math
import os

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from ..saving.errors import ModelFormatError
from ..saving.state import check_file
from ..specs import check_count, check_path

MOST_NODES = 10_000
MOST_RANK = 16
MOST_DEEP = 90  # messages in each other; protobuf itself ends at 100
OLDEST_OPSET = 7  # before it, operators were told which axes to broadcast
SLACK = 1 << 24  # bytes that a small file may take beyond what is counted for its size
MESSAGE, TEXT, NUMBER = 200, 32, 8  # bytes of memory that a message, a text and a number take, about
VARINTS = 3, 4, 5, 8, 13  # types of fields, as descriptors of protobuf number them: integers of as many bytes as they need

CUT_OFF = "this is no ONNX file, or one that is cut off"

# Types of tensors: how their bytes are read, and the field that has them where they are not raw.
TENSORS = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("u1", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    16: ("<u2", "int32_data"),
}
BOOL, HALVES, BFLOAT = 9, (10, 16), 16
RECURRENT = "LSTM", "GRU", "RNN"
FLOATS, INTEGERS = (1, 10, 11, 16), (2, 3, 4, 5, 6, 7, 12, 13)


def read_model(model, max_bytes=None):
    """(ModelProto, its bytes) from a path, bytes or a ModelProto."""
    max_bytes = None if max_bytes is None else check_count("max_bytes", max_bytes)
    if isinstance(model, onnx.ModelProto):
        size = model.ByteSize()
        _check_size(size, max_bytes)
        return model, size
    if isinstance(model, (bytes, bytearray, memoryview)):
        data = model
        _check_size(len(data), max_bytes)
    elif isinstance(model, (str, os.PathLike)):
        path = check_path("model", model)
        check_file(path)
        with open(path, "rb") as file:
            _check_size(os.fstat(file.fileno()).st_size, max_bytes)
            data = file.read()
    else:
        raise ValueError(f"model must be a path, bytes or an onnx.ModelProto, got {type(model).__name__}")
    return parsed(onnx.ModelProto(), data), len(data)


def _check_size(size, max_bytes):
    if max_bytes is not None and size > max_bytes:
        raise ModelFormatError(f"the file has {size} bytes, max_bytes being {max_bytes}")


def parsed(message, data):
    """A message with what the bytes hold; ModelFormatError if they are no such message, or take far more memory as one."""
    data = memoryview(data).cast("B")
    check_unfolding(data, message.DESCRIPTOR)
    try:
        message.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        raise ModelFormatError(f"{CUT_OFF}: {str(error)[:200]}") from None
    return message


def check_unfolding(data, descriptor):
    """ModelFormatError if what a parser would make of the bytes takes much more memory than they do.

    An empty message is two bytes in a file and a hundred times as much in memory, a number one byte and eight times as much.
    """
    allowed, kinds, at, end, message, outer = len(data) + SLACK, {}, 0, len(data), descriptor, []
    while outer or at < end:
        if at == end:
            at, end, message = outer.pop()
            continue
        if message.full_name not in kinds:
            kinds[message.full_name] = {field.number: field for field in message.fields}
        tag, at = _varint(data, at, end)
        wire, field = tag & 7, kinds[message.full_name].get(tag >> 3)
        if wire == 0:
            _, at = _varint(data, at, end)
            allowed -= NUMBER
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
            allowed -= NUMBER
        elif wire == 2:
            length, at = _varint(data, at, end)
            if length > end - at:
                raise ModelFormatError(CUT_OFF)
            allowed -= TEXT
            if field is not None and field.message_type is not None:
                allowed -= MESSAGE
                outer.append((at + length, end, message))
                end, message = at + length, field.message_type
            else:
                at += length
                if field is not None and field.type in VARINTS:  # many in one field
                    allowed -= NUMBER * length
        else:
            raise ModelFormatError("this is no ONNX file: it has groups of fields")
        if at > end or len(outer) > MOST_DEEP:
            raise ModelFormatError(CUT_OFF)
        if allowed < 0:
            raise ModelFormatError("the file would take several times its size in memory: it is made of empty parts")


def _varint(data, at, end):
    """(number, where the next field starts)"""
    value, shift = 0, 0
    while at < end and shift < 70:
        byte = data[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ModelFormatError(CUT_OFF)


# ---------------------------------------------------------------- tensors


def array_of(tensor):
    """A TensorProto as an array that cannot be written to; bfloat16 becomes float32. Its size is checked before."""
    name, dims = tensor.name[:80], tuple(tensor.dims)
    if tensor.data_location == 1 or len(tensor.external_data):
        raise ModelFormatError(
            f"the numbers of {name!r} are in another file (external data), and no other file is read; write all into one: "
            "torch.onnx.export(..., external_data=False), or onnx.save(onnx.load(path), new_path)"
        )
    if tensor.data_type not in TENSORS:
        raise ModelFormatError(f"{name!r} has the type {tensor.data_type} of onnx.TensorProto; numbers and bool are read")
    if len(dims) > MOST_RANK or any(n < 0 for n in dims) or tensor.HasField("segment"):
        raise ModelFormatError(f"{name!r} must have at most {MOST_RANK} sizes >= 0, in one piece, got {dims[:MOST_RANK]}")
    code, field = TENSORS[tensor.data_type]
    dtype, count = np.dtype(code), math.prod(dims)  # Python's integers do not overflow
    values, raw = getattr(tensor, field), tensor.raw_data if tensor.HasField("raw_data") else None
    given = len(values) if raw is None else len(raw) / dtype.itemsize
    if given != count:
        raise ModelFormatError(f"{name!r} has {given:g} numbers, and its shape {dims} takes {count}")
    if raw is not None:
        array = np.frombuffer(raw, dtype)
    elif tensor.data_type in HALVES:  # their bits
        array = _numbers(values, "i4", count).astype("<u2").view(dtype)
    else:
        array = _numbers(values, dtype, count)
    if tensor.data_type == BFLOAT:  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    array = array.astype(bool) if tensor.data_type == BOOL else array
    array.flags.writeable = False
    return array.reshape(dims)


def _numbers(values, dtype, count):
    """An array of a repeated field; ModelFormatError if a number does not fit the type."""
    try:
        return np.fromiter(values, dtype, count)
    except (OverflowError, ValueError) as error:
        raise ModelFormatError(f"a tensor has numbers that do not fit its type: {error}") from None


# ---------------------------------------------------------------- graphs


class Node:
    """An operator of a graph, with plain values as attributes.

    Attributes
    ----------
    op, name : str
        "Gemm", "com.microsoft.FusedConv", ...; the node's own name, or that of its output.
    inputs, outputs : list of str
        Names of values; "" is none.
    opset : int
        Version of the operators of its domain.
    """

    def __init__(self, op, name, inputs, outputs, attributes, opset):
        self.op, self.inputs, self.outputs, self.opset = op, inputs, outputs, opset
        self.name, self._attributes = name or next(filter(None, outputs), ""), attributes

    @classmethod
    def of(cls, proto, opsets):
        """The node of a NodeProto."""
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        attributes = {attribute.name: _value_of(attribute) for attribute in proto.attribute}
        op, opset = f"{domain}.{proto.op_type}" if domain else proto.op_type, opsets.get(domain, 1)
        return cls(op, proto.name, list(proto.input), list(proto.output), attributes, opset)

    def __str__(self):
        return f"{self.op[:80]} (node {self.name[:80]!r})"

    def input(self, number):
        """The name of an input, "" where there is none."""
        return self.inputs[number] if number < len(self.inputs) else ""

    def attribute(self, name, default, kind=None):
        """An attribute of the default's type, or of `kind`; a list of integers is a tuple."""
        value, kind = self._attributes.get(name, default), kind or type(default)
        if value is default:
            return default
        if not isinstance(value, kind) or (kind is float and not math.isfinite(value)):
            raise ModelFormatError(f"its attribute {name!r} must be of type {kind.__name__}, got {str(value)[:80]}")
        return value


def _value_of(attribute):
    """What an AttributeProto says; what nobody reads (graphs, types) is its name."""
    if attribute.type == 1:
        return float(str(np.float32(attribute.f)))  # 1e-05, and not 9.999999747378752e-06
    if attribute.type == 2:
        return attribute.i
    if attribute.type in (6, 7):
        return tuple(attribute.floats if attribute.type == 6 else attribute.ints)
    if attribute.type == 3:
        return attribute.s.decode("utf-8", "replace")
    if attribute.type == 8:
        return tuple(text.decode("utf-8", "replace") for text in attribute.strings)
    if attribute.type == 4:
        return array_of(attribute.t)
    return {"attribute": attribute.name}


class Graph:
    """What an output of a model is computed from, in order, checked for being a graph at all.

    Attributes
    ----------
    nodes : list of Node
    constants : dict of str -> ndarray
    input : str
        Name of the samples.
    input_dims : list of int or None
        Sizes of their axes, None where the file leaves them open; None in all where it does not even say how many.
    input_type : int
        Of TensorProto's types.
    lengths : set of str
        Names of inputs that give the lengths of sequences.
    output : str
    size : int
        Bytes of the file.
    """

    def __init__(self, model, size, output=None):
        self.size, graph = size, model.graph
        self.opsets = _opsets(model)
        if len(graph.node) > MOST_NODES:
            raise ModelFormatError(f"the graph has {len(graph.node)} nodes, {MOST_NODES} being the most that are read")
        tensors = _named(graph.initializer, "initializers")
        inputs = {name: info for name, info in _named(graph.input, "inputs").items() if name not in tensors}
        for tensor in tensors.values():
            if tensor.data_location == 1:
                array_of(tensor)  # which refuses it
        makers = _makers(graph, tensors.keys() | inputs.keys())
        self.output = _chosen_output(graph, makers, output)
        needed, used = _needed(graph, makers, self.output)
        _check_order(graph, needed, makers, tensors.keys() | inputs.keys())
        self.nodes = [Node.of(graph.node[number], self.opsets) for number in sorted(needed)]
        self.constants = {name: array_of(tensors[name]) for name in tensors if name in used}
        self._take_inputs({name: info for name, info in inputs.items() if name in used})

    def _take_inputs(self, inputs):
        """Find the samples among the inputs that are used."""
        other = {name for node in self.nodes for i, name in enumerate(node.inputs) if not _gives_lengths(node, i)}
        self.lengths = inputs.keys() - other
        samples = [name for name in inputs if name not in self.lengths]
        if len(samples) != 1:
            raise ModelFormatError(
                f"the output {self.output[:80]!r} depends on {len(samples)} inputs, {_some(samples)}; a Model takes one"
            )
        (self.input,) = samples
        kind = inputs[self.input].type.tensor_type
        self.input_type = kind.elem_type
        if self.input_type not in (*FLOATS, *INTEGERS):
            raise ModelFormatError(f"the input {self.input[:80]!r} must be a tensor of numbers")
        self.input_dims = None
        if kind.HasField("shape"):
            self.input_dims = [d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim]


def _gives_lengths(node, number):
    return number == 4 and node.op in RECURRENT


def _opsets(model):
    """Versions of the operators, by domain ("" is ONNX's own)."""
    opsets = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if domain in opsets and opsets[domain] != entry.version:
            raise ModelFormatError(f"the file has two versions of the operators of the domain {domain[:80]!r}")
        opsets[domain] = entry.version
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opsets.get("", 0) <= newest:
        raise ModelFormatError(
            f"this is no ONNX model, or one of the operator set {opsets.get('', 0)}; sets {OLDEST_OPSET} to {newest} are read"
        )
    return opsets


def _named(items, what):
    """dict by name; ModelFormatError if a name is there twice, or missing."""
    found = {item.name: item for item in items}
    if len(found) != len(items) or "" in found:
        raise ModelFormatError(f"the {what} of the graph must have names, each another one")
    return found


def _makers(graph, given):
    """Numbers of the nodes that make the values, by name."""
    makers = {}
    for number, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in makers or name in given:
                raise ModelFormatError(f"the value {name[:80]!r} is made twice")
            makers[name] = number
    return makers


def _chosen_output(graph, makers, output):
    """Name of the output that becomes the network's."""
    outputs = _named(graph.output, "outputs")
    if output is not None:
        if output not in makers:
            raise ValueError(f"output must be the name of a value of the file, one of {_some(outputs)}, got {output!r}")
        return output
    floats = [n for n, info in outputs.items() if info.type.tensor_type.elem_type in (0, *FLOATS) and n in makers]
    if len(floats) != 1:  # labels of a classifier are integers or texts
        raise ModelFormatError(
            f"the file has {len(floats)} outputs of floats, {_some(floats)}; say which one the network is to have: output=..."
        )
    return floats[0]


def _needed(graph, makers, output):
    """(numbers of the nodes, names of the values) that the output depends on."""
    needed, used, pending = set(), {output}, [output]
    while pending:
        number = makers.get(pending.pop())
        if number is not None and number not in needed:
            needed.add(number)
            new = {name for name in graph.node[number].input if name and name not in used}
            used |= new
            pending += new
    return needed, used


def _check_order(graph, needed, makers, given):
    """ModelFormatError unless nodes use what is there before them, as ONNX has it: then there are no cycles either."""
    for number in needed:
        for name in filter(None, graph.node[number].input):
            if name not in given and makers.get(name, number) >= number:
                why = "which nobody makes" if name not in makers else "which a later one makes: a cycle, or a wrong order"
                node = graph.node[number]
                raise ModelFormatError(f"{node.op_type[:80]} (node {node.name[:80]!r}) uses the value {name[:80]!r}, {why}")


def _some(names):
    """The first few of the names."""
    names = [repr(name[:80]) for name in names]
    return (", ".join(names[:5]) or "none") + (f" and {len(names) - 5} more" if len(names) > 5 else "")
