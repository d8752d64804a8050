"""Estimators as ONNX models."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from .answers import classifier_nodes, code_nodes, decoded_nodes, number_nodes
from .facts import (
    has_indicators,
    is_autoencoder,
    is_tabular,
    n_numbers,
    n_probabilities,
    network_of,
    network_type,
    result_type,
)
from .graph import LEAST_OPSET, Graph
from .labels import add_probabilities, labels_of
from .network import input_shape
from .table_inputs import add_table
from .tabular import tabular_classifier_nodes, tabular_regressor_nodes


def estimator_to_onnx(estimator, target_opset=LEAST_OPSET, zipmap=False, raw_scores=False, columns=None):
    """A fitted estimator as an ONNX model.

    Parameters
    ----------
    estimator : estimator of fastdnn
        Fitted.
    target_opset : int, default=17
        Version of ONNX's operators.
    zipmap : bool or "columns", default=False
        Of classifiers, what "probabilities" are: an array; True: a sequence of a dictionary for each sample, from labels to
        float32 (as skl2onnx has them); "columns": an output for each class, "i" or "s" and the label, of shape (n,).
    raw_scores : bool, default=False
        Whether there is an output "scores", too, what `decision_function` gives.
    columns : bool or None, default=None
        Of `TabularClassifier` and `TabularRegressor`, whether each column is an input of its own; None: where not all of them
        are numbers.

    Returns
    -------
    onnx.ModelProto
        Its input is "X", samples (n, ...) of the network's float type (int64 where they are ids). Its outputs:

        - of classifiers "label", int64 or str (n,), for booleans 0 and 1, or indicators (n, n_labels), and "probabilities",
          as `predict_proba` gives them;
        - of regressors "variable", (n, n_outputs), also where `predict` gives (n,);
        - of autoencoders "codes", "reconstruction", and "error", what `reconstruction_error` gives.

        That of an estimator for tables takes "X" as float64, or the columns by their names, each of shape (n, 1):

        - numbers as float64, NaN where missing;
        - categories as str, as int64 (booleans, too), or as float64 where there were floats in fit; any other value (NaN of
          floats) is missing. If both strings and numbers were in a column they are strings;
        - dates as int64, nanoseconds since 1970, by the clocks of the time zone in fit if there was one, durations as int64,
          nanoseconds, times as int64, nanoseconds since midnight. -2**63, NumPy's NaT, is missing.

        Columns without a value in fit have no input. Each input has a description (`doc_string`). Its results are float64.

    Raises
    ------
    ValueError
        If an option is none of this estimator, a layer or a column cannot be said in ONNX (it is named), or classes are
        neither strings nor integers.
    sklearn.exceptions.NotFittedError
        If it is not fitted.

    Notes
    -----
    Infinite numbers in a table, which `predict` refuses, are taken as very large ones.

    Examples
    --------
    >>> from onnx.reference import ReferenceEvaluator
    >>> from sklearn.datasets import load_iris
    >>> from fastdnn import DNNClassifier
    >>> from fastdnn.onnx import to_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> X = X.astype("float32")
    >>> clf = DNNClassifier(epochs=20, random_state=0).fit(X, y)
    >>> label, probabilities = ReferenceEvaluator(to_onnx(clf)).run(None, {"X": X})
    >>> bool((label == clf.predict(X)).all()), probabilities.shape
    (True, (150, 3))
    """
    check_is_fitted(estimator)
    name, classifies = type(estimator).__name__, is_classifier(estimator)
    if zipmap is not False and not classifies:
        raise ValueError(f"zipmap must be False for a {name}, which has no classes, got {zipmap!r}")
    if raw_scores and not hasattr(estimator, "decision_function"):
        raise ValueError(f"raw_scores must be False for a {name}, which has no decision_function")
    if columns is not None and not is_tabular(estimator):
        raise ValueError(f"columns must be None for a {name}, whose samples are one array, got {columns!r}")
    graph = Graph(network_type(estimator), target_opset)
    if is_tabular(estimator):
        x, before, rows = add_table(graph, estimator._reader, columns), None, ("n",)
    else:
        layout = network_of(estimator).layout
        before, after = input_shape(layout)
        x, rows = graph.add_input("X", before, np.int64 if layout.leaves[0][1].takes_ids else None), tuple(after[:-1])
    if classifies:
        add_classifier(graph, estimator, x, rows, zipmap, raw_scores)
    elif is_autoencoder(estimator):
        add_autoencoder(graph, estimator, x, before)
    else:
        nodes = tabular_regressor_nodes if is_tabular(estimator) else number_nodes
        variable, shape = nodes(graph, estimator, x), (*rows, n_numbers(estimator))
        graph.add_output(graph.unique("variable"), variable, shape, result_type(estimator))
    return graph.model(name, f"fastdnn {name}")


def add_classifier(graph, estimator, x, rows, zipmap, raw_scores):
    """Add the nodes and the outputs of a classifier; rows : shape of what has a label, samples or steps."""
    labels = labels_of(estimator.classes_)
    nodes = tabular_classifier_nodes if is_tabular(estimator) else classifier_nodes
    answer = nodes(graph, estimator, x, labels)
    if has_indicators(estimator):
        graph.add_output(graph.unique("label"), answer.label, (*rows, len(labels)), np.int64)
    else:
        graph.add_output(graph.unique("label"), answer.label, rows, labels.dtype)
    columns = n_probabilities(estimator)
    keys = labels if len(labels) == columns else labels.repeat(2)  # of one class there are two probabilities
    add_probabilities(graph, answer.probabilities, keys, zipmap, (*rows, columns), result_type(estimator))
    if raw_scores:
        scores, shape = answer.scores, (*rows, estimator.n_outputs_)
        if estimator.n_outputs_ == 1:
            scores, shape = graph.node("Squeeze", scores, graph.constant([-1])), rows
        graph.add_output(graph.unique("scores"), scores, shape)


def add_autoencoder(graph, coder, x, before):
    """Add the nodes and the outputs of an autoencoder; before : shape of its samples."""
    code = code_nodes(graph, coder, x)
    made = decoded_nodes(graph, coder, code)
    difference = graph.node("Sub", *(graph.node("Flatten", graph.cast(name, np.float64)) for name in (made, x)))
    error = graph.reduce("ReduceMean", graph.node("Mul", difference, difference), [1], keepdims=False)
    graph.add_output("codes", code, ("n", coder.n_components_))
    graph.add_output("reconstruction", made, before)
    graph.add_output("error", error, ("n",), np.float64)
