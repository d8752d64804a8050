"""Labels of classes in a graph: which one is the answer, and probabilities by label."""

import numpy as np
from onnx import TensorProto, helper

from .graph import ML

ZIPMAPS = False, True, "columns"


def labels_of(classes):
    """Labels as ONNX has them.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Integers, whole floats, booleans or strings.

    Returns
    -------
    ndarray of int64, booleans being 0 and 1, or of object, all of them str

    Raises
    ------
    ValueError
        If there are others.
    """
    values = np.asarray(classes).tolist()
    if all(isinstance(value, str) for value in values):
        return np.array(values, object)
    wrong = [value for value in values if isinstance(value, str) or value != int(value) or not -(2**63) <= value < 2**63]
    if wrong:
        raise ValueError(f"class labels must be strings or whole numbers of 64 bits for ONNX, got {wrong[0]!r}")
    return np.array(list(map(int, values)), np.int64)


def label_nodes(graph, numbers, labels):
    """Name of the labels of class numbers, int64 of any shape."""
    return graph.node("Gather", graph.constant(labels, "labels"), numbers)


def winners(graph, p, labels):
    """Name of the labels (n, ...) of the largest of the probabilities (n, ..., n_classes), of equal ones the first."""
    return label_nodes(graph, graph.node("ArgMax", p, axis=-1, keepdims=0), labels)


def likely(graph, p, dtype=None):
    """Name of 1 where a probability, of that float type, is above a half, int64 of the same shape."""
    return graph.cast(graph.node("Greater", p, graph.constant(0.5, dtype=dtype)), np.int64)


def add_probabilities(graph, p, labels, zipmap, shape, dtype):
    """Let probabilities be the output "probabilities", or what `zipmap` makes of them.

    shape : of the probabilities, as of `Graph.add_output`     dtype : their float type
    """
    if zipmap not in ZIPMAPS:
        raise ValueError(f"zipmap must be False, True or 'columns', got {zipmap!r}")
    if not zipmap:
        graph.add_output(graph.unique("probabilities"), p, shape, dtype)
        return
    if len(shape) > 2:
        raise ValueError("zipmap must be False for networks that give something for each step of a sequence")
    if zipmap == "columns":
        letter = "i" if labels.dtype == np.int64 else "s"
        for number, label in enumerate(labels.tolist()):
            column = graph.node("Gather", p, graph.constant(number), axis=1)
            graph.add_output(graph.unique(f"{letter}{label}"), column, shape[:1], dtype)
        return
    single = graph.cast(p, np.float32) if dtype != np.float32 else p  # dictionaries hold nothing else
    name, strings = graph.unique("probabilities"), labels.dtype != np.int64
    keys = {"classlabels_strings" if strings else "classlabels_int64s": labels.tolist()}
    graph.nodes.append(helper.make_node("ZipMap", [single], [name], name=name, domain=ML, **keys))
    numbers = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    each = helper.make_map_type_proto(TensorProto.STRING if strings else TensorProto.INT64, numbers)
    graph.outputs.append(helper.make_value_info(name, helper.make_sequence_type_proto(each)))
