"""What ONNX Runtime and onnx's reference evaluator make of exported models, for the tests of the export."""

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from fastdnn import Model
from fastdnn.onnx import to_onnx
from fastdnn.onnx.masks import finds_steps

try:
    import onnxruntime
except ImportError:  # the reference alone
    onnxruntime = None

NO_FLOAT64 = {"Conv", "ConvTranspose", "AveragePool", "Resize"}  # ONNX Runtime has no kernel of these for it
BOUNDS = {"float32": 1e-5, "float64": 1e-10}


def in_onnxruntime(exported, feeds):
    session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def in_reference(exported, feeds):
    with np.errstate(all="ignore"):  # it warns of NaN and of what overflows
        return ReferenceEvaluator(exported).run(None, feeds)


def runners(exported, all_steps=True):
    """Functions that run a model: of the two those that can.

    The reference knows no activation of RNN but Tanh, and ignores the lengths of sequences in recurrent operators, so that it
    is right with them only where all steps count.
    """
    nodes, (first, *_) = exported.graph.node, exported.graph.output
    double = first.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
    found = []
    if onnxruntime is not None and not (double and NO_FLOAT64 & {node.op_type for node in nodes}):
        found.append(in_onnxruntime)
    recurrent = [node for node in nodes if node.op_type in ("LSTM", "GRU", "RNN")]
    others = [a for node in recurrent for a in node.attribute if a.name == "activations" and set(a.strings) != {b"Tanh"}]
    if not others and (all_steps or not recurrent):
        found.append(in_reference)
    return found


def odd_weights(model):
    """The model with numbers everywhere that are not those of the start; statistics and slopes above 0."""
    rng = np.random.default_rng(4)
    for view in (*model.weights.values(), *model.states.values()):
        view[...] = np.abs(view + 0.3 * rng.standard_normal(view.shape)) * np.where(rng.random(view.shape) < 0.5, -1, 1)
    for key, view in model.states.items():
        view[...] = np.abs(view) + 0.1 if key.endswith(".var") else view
    return model


def made(parts, shape, dtype="float32", loss="squared_error"):
    """A model of these layers, built for samples of that shape."""
    return odd_weights(Model(parts, loss=loss, dtype=dtype, random_state=1).build(shape))


def check(model, X, lengths=None, counts=..., at_least=1, **options):
    """Export a model, and compare scores and predictions with its own; returns the export.

    counts : what of the results is compared, an index     at_least : programs that must have run it
    """
    exported = to_onnx(model, scores=True, **options)
    feeds = {"X": X} if lengths is None else {"X": X, "lengths": np.asarray(lengths, np.int64)}
    expected = model.predict(X, lengths=lengths), model.forward(X, lengths=lengths)
    found = runners(exported, lengths is None and not finds_steps(model.layers[0]))
    assert len(found) >= at_least
    for run in found:
        for ours, theirs in zip(expected, run(exported, feeds), strict=True):
            assert theirs.dtype == ours.dtype
            assert theirs.shape == ours.shape
            bound = BOUNDS[model.dtype.name] * max(1, np.abs(ours).max(where=np.isfinite(ours), initial=0))
            np.testing.assert_allclose(theirs[counts], ours[counts], rtol=0, atol=bound, err_msg=run.__name__)
    return exported


def operators(exported):
    """Names of the operators of a model's nodes, in order, without the last Identity of each output."""
    return [node.op_type for node in exported.graph.node if node.op_type != "Identity"]
