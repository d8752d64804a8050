"""A graph of ONNX while it is made: nodes, constants, inputs and outputs, under names that occur once."""

import contextlib
import copy

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .. import __version__
from ..specs import check_count

LEAST_OPSET = 17
ML, ML_OPSET = "ai.onnx.ml", 3  # operators of labels and categories, for `node(..., domain=ML)`
FEW = 64  # numbers of a constant that is looked for among those that are there
TO_THE_END = 2**62  # of a slice, in either direction


def check_opset(given):
    """A version of ONNX's operators as an int; ValueError unless the package at hand knows it and it is 17 or later."""
    opset, newest = check_count("target_opset", given), onnx.defs.onnx_opset_version()
    if not LEAST_OPSET <= opset <= newest:
        raise ValueError(f"target_opset must be {LEAST_OPSET} to {newest}, which the onnx package here knows, got {given}")
    return opset


class Graph:
    """Nodes, constants, inputs and outputs of an ONNX graph, added one after the other.

    Parameters
    ----------
    dtype : {"float32", "float64"}, default="float32"
        Float type of its constants, and of its inputs and outputs unless they say another.
    target_opset : int, default=17
        Version of ONNX's operators, at least 17.
    prefix : str, default=""
        What all names begin with, where the graph becomes a part of another one.

    Attributes
    ----------
    nodes, initializers : list of NodeProto, list of TensorProto
        As they were added.
    inputs, outputs : list of ValueInfoProto
    opset : int

    Raises
    ------
    ValueError
        If target_opset is below 17, or newer than the onnx package.

    Examples
    --------
    >>> from fastdnn.onnx import Graph
    >>> graph = Graph()
    >>> x = graph.add_input("x", ("n", 3))
    >>> y = graph.node("Mul", x, graph.constant(2.0))
    >>> graph.add_output("y", y, ("n", 3))
    >>> [node.op_type for node in graph.model("double").graph.node]
    ['Mul', 'Identity']
    """

    def __init__(self, dtype="float32", target_opset=LEAST_OPSET, prefix=""):
        self.dtype, self.opset, self._prefix, self._scope = np.dtype(dtype), check_opset(target_opset), prefix, ""
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self._counts, self._constants = {}, {}
        self.twins = {}  # (name, order of its axes) -> name of the same numbers in that order

    @property
    def is_single(self):
        """Whether floats are float32: ONNX Runtime has some operators for no other, and attributes are float32."""
        return self.dtype == np.float32

    @contextlib.contextmanager
    def scope(self, name):
        """Names that are made within the block begin with `name` and a slash."""
        before, self._scope = self._scope, f"{name}/"
        yield
        self._scope = before

    def inner(self):
        """A graph for the body of one of this one's nodes: names occur once in both, constants stand in this one."""
        body = copy.copy(self)
        body.nodes, body.inputs, body.outputs, body.twins = [], [], [], {}
        return body

    def unique(self, name):
        """A name that nothing has yet, made of the prefix, the scope and `name`."""
        name = f"{self._prefix}{self._scope}{name}"
        while True:
            self._counts[name] = count = self._counts.get(name, 0) + 1
            if count == 1:
                return name
            name = f"{name}_{count - 1}"

    def node(self, op, *inputs, outputs=1, **attributes):
        """Add a node of ONNX's operator `op`.

        Parameters
        ----------
        op : str
            Its name in ONNX, "MatMul" for one.
        *inputs : str, Tensor or None
            Names of the inputs; None leaves an optional one out.
        outputs : int, default=1
            How many it has.
        **attributes
            Its attributes; None leaves one out.

        Returns
        -------
        str, or tuple of str where it has several outputs
        """
        given = ["" if x is None else getattr(x, "name", x) for x in inputs]
        while given and not given[-1]:
            given.pop()
        names = [self.unique(op.lower()) for _ in range(outputs)]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op, given, names, name=names[0], **attributes))
        return names[0] if outputs == 1 else tuple(names)

    def constant(self, value, name="constant", dtype=None):
        """Add an array (floats become the graph's float type, integers int64, unless dtype says otherwise); its name."""
        array = np.asarray(value)
        kinds = {"f": self.dtype, "i": np.int64, "u": np.int64}
        with np.errstate(over="ignore"):  # what is too large for a float32 is infinite in the network, too
            array = np.array(array, kinds.get(array.dtype.kind, array.dtype) if dtype is None else dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= FEW and name == "constant" else None
        if key is None or key not in self._constants:
            name = self.unique(name)
            self.initializers.append(numpy_helper.from_array(array, name))
            if key is None:
                return name
            self._constants[key] = name
        return self._constants[key]

    def cast(self, x, dtype):
        """x as numbers of another type."""
        return self.node("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def shape(self, x, first, end):
        """Sizes of the axes first..end of x, an int64 vector."""
        return self.node("Shape", x, start=first, end=end)

    def reduce(self, op, x, axes, keepdims=True):
        """x reduced over some axes by "ReduceSum", "ReduceMean" or "ReduceMax"."""
        if op != "ReduceSum" and self.opset < 18:  # from then on axes are an input of all of them
            return self.node(op, x, axes=list(axes), keepdims=int(keepdims))
        return self.node(op, x, self.constant(list(axes)), keepdims=int(keepdims))

    def slice(self, x, axis, first=0, end=TO_THE_END, step=1):
        """Places first..end of an axis; with a step of -1 from the last to the first."""
        if step < 0:
            first, end = -1, -TO_THE_END
        return self.node("Slice", x, *(self.constant([n]) for n in (first, end, axis, step)))

    def add_input(self, name, shape, dtype=None, default=None):
        """Add an input; returns its name.

        Parameters
        ----------
        name : str
        shape : tuple of int and str
            A str is the name of a size that may be any.
        dtype : dtype or None, default=None
            None is the graph's float type.
        default : array or None, default=None
            What stands in for it where it is not given, of type `dtype`.
        """
        self._counts[name] = 1
        dtype = self.dtype if dtype is None else dtype
        self.inputs.append(value_info(name, dtype, shape))
        if default is not None:
            self.initializers.append(numpy_helper.from_array(np.array(default, dtype), name))
        return name

    def add_output(self, name, x, shape, dtype=None):
        """Let x be the output of that name; shape and dtype as for `add_input`."""
        self._counts[name] = 1
        self.nodes.append(helper.make_node("Identity", [getattr(x, "name", x)], [name], name=name))
        self.outputs.append(value_info(name, self.dtype if dtype is None else dtype, shape))

    def proto(self, name, doc=""):
        """The `GraphProto`, as it is needed for the body of a node, without constants."""
        return helper.make_graph(self.nodes, name, self.inputs, self.outputs, doc_string=doc)

    def model(self, name, doc=""):
        """The `ModelProto`, checked.

        Parameters
        ----------
        name : str
            Of the graph.
        doc : str, default=""
            What it computes, in words.

        Raises
        ------
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError
            If the graph is none that ONNX allows: an exporter of a user's own is wrong.
        """
        graph, opsets = self.proto(name, doc), [helper.make_opsetid("", self.opset)]
        if any(node.domain == ML for node in self.nodes):
            opsets.append(helper.make_opsetid(ML, ML_OPSET))
        graph.initializer.extend(self.initializers)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
        model.producer_name, model.producer_version, model.doc_string = "fastdnn", __version__, doc
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        return model


def value_info(name, dtype, shape):
    """What ONNX is told of an input or an output; a shape of None says nothing but the type."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
