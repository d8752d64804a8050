"""Models, estimators and pipelines as ONNX models."""

import inspect
import os

import numpy as np
from sklearn.base import BaseEstimator

from .. import estimators
from ..adversarial import GAN
from ..model import Model
from ..saving.container import replacing
from .graph import LEAST_OPSET, Graph
from .network import input_shape, link_nodes, network_nodes, takes_lengths

ANY_LENGTH = np.iinfo(np.int32).max  # of sequences whose lengths are not given: the first steps, as many as there are


def to_onnx(model, path=None, target_opset=LEAST_OPSET, **options):
    """A trained model, an estimator or a scikit-learn pipeline as an ONNX model, which other programs can run.

    Parameters
    ----------
    model : Model, estimator of fastdnn, or scikit-learn estimator with such ones in it
        Built or fitted.
    path : str, path-like or None, default=None
        File to write it to, whole or not at all; what is there is replaced.
    target_opset : int, default=17
        Version of ONNX's operators, 17 or later. 17 runs everywhere.
    **options
        Of a `Model`: ``scores=True`` adds an output "scores", what `Model.forward` gives; ``lengths=False`` leaves out the
        input of that name. Of estimators and pipelines see `fastdnn.onnx.estimators` and `fastdnn.onnx.pipelines`.

    Returns
    -------
    onnx.ModelProto
        Checked by ONNX's checker and its strict shape inference. That of a `Model` has the input "X", samples (n, ...) of the
        model's float type, channels last (int64 where the first layer takes ids), and the output "predictions", what
        `Model.predict` gives. Where lengths of sequences change the predictions there is an input "lengths", int64 (n,),
        which need not be given: all steps count then (ONNX Runtime logs a warning of such inputs as it loads a model).
        Sequences may have another number of steps than those that the model was built with, unless a layer needs that number
        (`layers.Flatten`, `layers.Reshape`).

    Raises
    ------
    ValueError
        If the model is not built or fitted, has a layer, activation or loss that ONNX is not told how to say (`exporter` is
        for that), or target_opset is out of its range.
    TypeError
        If an option is none of such a model.
    ImportError
        Without the packages of ``pip install "fastdnn[onnx]"``.

    Notes
    -----
    It does what `predict` does: no dropout, noise or augmentation; batch norm by its running statistics. Float32 is what
    runtimes are made for: ONNX Runtime has no convolution, average pooling or error function (gelu) for float64, so that it
    refuses such models; those of dense, recurrent and tabular layers it runs in either type. NaN in a sample gives NaN in its
    predictions, except where a runtime's maximum leaves it out (ONNX Runtime's ReduceMax and GlobalMaxPool do).

    Examples
    --------
    >>> import numpy as np
    >>> from onnx.reference import ReferenceEvaluator
    >>> from fastdnn import Model, layers
    >>> from fastdnn.onnx import to_onnx
    >>> model = Model([layers.Dense(8, "relu"), layers.Dense(3)], loss="cross_entropy", random_state=0).build(4)
    >>> exported = to_onnx(model)
    >>> [(x.name, x.type.tensor_type.elem_type) for x in (*exported.graph.input, *exported.graph.output)]
    [('X', 1), ('predictions', 1)]
    >>> X = np.random.default_rng(0).standard_normal((5, 4), dtype="float32")
    >>> (predictions,) = ReferenceEvaluator(exported).run(None, {"X": X})
    >>> bool(np.allclose(predictions, model.predict(X), atol=1e-6))
    True
    """
    export = exporting(model)
    known = list(inspect.signature(export).parameters)[2:]
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(f"options of to_onnx for a {type(model).__name__} are {', '.join(known)}, got {unknown[0]}")
    exported = export(model, target_opset, **options)
    if path is not None:
        with replacing(os.fspath(path)) as file:
            file.write(exported.SerializeToString())
    return exported


def exporting(model):
    """The function that exports what is given, f(model, target_opset, **options); ValueError if there is none."""
    if isinstance(model, Model):
        return model_to_onnx
    if isinstance(model, tuple(getattr(estimators, name) for name in estimators.__all__)):
        from .estimators import estimator_to_onnx

        return estimator_to_onnx
    if isinstance(model, GAN):
        raise ValueError("a GAN is two networks: export one of them, to_onnx(gan.generator) or to_onnx(gan.discriminator)")
    if isinstance(model, BaseEstimator):
        from .pipelines import pipeline_to_onnx

        return pipeline_to_onnx
    raise ValueError(
        "model must be a fastdnn Model, or an estimator of fastdnn or scikit-learn, none of them frozen, got "
        f"{type(model).__name__}"
    )


def model_to_onnx(model, target_opset=LEAST_OPSET, scores=False, lengths=True):
    """A `Model` as an ONNX model, see `to_onnx`, with an output "scores" and an input "lengths", or without."""
    network = model._built()
    graph, layout = Graph(model.dtype, target_opset), network.layout
    before, after = input_shape(layout)
    x = graph.add_input("X", before, np.int64 if layout.leaves[0][1].takes_ids else None)
    given = None
    if lengths and takes_lengths(layout):
        given = graph.add_input("lengths", ("n or 1",), np.int64, default=[ANY_LENGTH])
    found = network_nodes(graph, network, x, given)
    graph.add_output("predictions", link_nodes(graph, network, found), after)
    if scores:
        graph.add_output("scores", found, after)
    layers = ", ".join(layer.name for layer in network.layers)
    return graph.model("network", f"fastdnn Model of the layers {layers}; loss {network.loss.name}, {model.dtype}.")
