"""What skl2onnx is told of an estimator: the shapes of its outputs, and its nodes."""

import importlib.util

import numpy as np
from onnx import helper

if importlib.util.find_spec("skl2onnx") is None:
    raise ModuleNotFoundError('pipelines need packages that are not installed: pip install "fastdnn[onnx]"')

from skl2onnx import convert_sklearn, get_latest_tested_opset_version, update_registered_converter  # noqa: F401 - for `pipelines`
from skl2onnx._parse import _parse_sklearn_classifier
from skl2onnx._supported_operators import sklearn_operator_name_map  # noqa: F401 - for `target_scaling`
from skl2onnx.common.data_types import (
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
    guess_proto_type,
    guess_tensor_type,
)
from skl2onnx.common.utils_classifier import get_label_classes

from .answers import classifier_nodes, code_nodes, hidden_nodes, number_nodes
from .facts import has_indicators, is_autoencoder, is_tabular, n_numbers, n_probabilities, network_of, network_type
from .graph import Graph
from .labels import labels_of
from .table_inputs import TableInputs, beside
from .tabular import tabular_classifier_nodes, tabular_regressor_nodes


def parse(scope, model, inputs, custom_parsers=None):
    """The outputs of a classifier whose `transform` may be what is used: see the option "transform"."""
    if not scope.get_options(model, {"transform": False})["transform"]:
        return _parse_sklearn_classifier(scope, model, inputs, custom_parsers=custom_parsers)
    operator = scope.declare_local_operator(alias(type(model)), model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("variable", guess_tensor_type(inputs[0].type)))
    return operator.outputs


def alias(cls):
    """Name of a class among skl2onnx's operators."""
    return f"Fastdnn{cls.__name__}"


def shapes(operator):
    """Set the types and shapes of an operator's outputs."""
    estimator, n = operator.raw_operator, operator.inputs[0].get_first_dimension()
    rows = [n] if is_tabular(estimator) else [n, *network_of(estimator).layout.shapes[-1][:-1]]
    result = float_type(operator)
    if len(operator.outputs) == 2:
        labels = labels_of(get_label_classes(operator.scope_inst, estimator))
        kind = Int64TensorType if labels.dtype == np.int64 or has_indicators(estimator) else StringTensorType
        operator.outputs[0].set_type(kind([*rows, len(labels)] if has_indicators(estimator) else rows))
        shape = [*rows, n_probabilities(estimator)]
        if any(user.type == "SklearnZipMap" for user in operator.outputs[1].operators_inputs_):
            result = FloatTensorType  # dictionaries hold nothing else
    elif is_autoencoder(estimator):
        shape = [n, estimator.n_components_]
    elif transforms(operator.scope_inst, estimator):
        shape = [n, estimator._n_features_out]
    else:
        shape = [*rows, n_numbers(estimator)]
    operator.outputs[-1].set_type(result(shape))


def float_type(operator):
    """skl2onnx's type of an operator's results, by that of its input."""
    return type(guess_tensor_type(operator.inputs[0].type))


def transforms(scope, estimator):
    """Whether the option "transform" is set."""
    return scope.get_options(estimator, {}).get("transform", False)


def convert(scope, operator, container):
    """Add the nodes of an operator."""
    estimator = operator.raw_operator
    graph = part_of(scope, container, network_type(estimator))
    x = samples(graph, estimator, operator.inputs)
    if len(operator.outputs) == 2:
        labels = labels_of(get_label_classes(scope, estimator))
        nodes = tabular_classifier_nodes if is_tabular(estimator) else classifier_nodes
        answer = nodes(graph, estimator, x, labels)
        raw = container.get_options(estimator, {}).get("raw_scores", False)
        connect(graph, answer.label, operator.outputs[0])
        found = both_signs(graph, estimator, answer.scores) if raw else answer.probabilities
    elif is_autoencoder(estimator):
        found = code_nodes(graph, estimator, x)
    elif transforms(scope, estimator):
        found = hidden_nodes(graph, estimator, x)
    else:
        found = (tabular_regressor_nodes if is_tabular(estimator) else number_nodes)(graph, estimator, x)
    connect(graph, graph.node("Cast", found, to=guess_proto_type(operator.outputs[-1].type)), operator.outputs[-1])
    add(graph, container)


def part_of(scope, container, dtype):
    """A `Graph` whose nodes are to be skl2onnx's."""
    return Graph(dtype, container.target_opset, scope.get_unique_variable_name("fastdnn") + "/")


def add(graph, container):
    """Give what is in the graph to skl2onnx."""
    for node in graph.nodes:
        container.check_white_black_list(node.op_type)
    container.nodes.extend(graph.nodes)
    container.initializers.extend(graph.initializers)
    container.node_domain_version_pair_sets.add(("", graph.opset))


def samples(graph, estimator, inputs):
    """What an estimator's nodes take, of skl2onnx's variables: one of all features, or several that are put together."""
    wrong = [x.raw_name for x in inputs if isinstance(x.type, StringTensorType)]
    if wrong:
        raise ValueError(
            f"a {type(estimator).__name__} in a pipeline takes numbers, but {wrong[0]!r} holds strings: encode them, with a "
            "OneHotEncoder in a ColumnTransformer, say"
        )
    ids = not is_tabular(estimator) and network_of(estimator).layout.leaves[0][1].takes_ids
    dtype = np.int64 if ids else np.float64 if is_tabular(estimator) else graph.dtype
    x = beside(graph, [graph.cast(x.full_name, dtype) for x in inputs])
    return TableInputs(graph, estimator._reader, x=x) if is_tabular(estimator) else x


def both_signs(graph, classifier, scores):
    """Scores as skl2onnx takes them: those of two classes are -s and s."""
    if classifier.n_outputs_ > 1:
        return scores
    return graph.node("Concat", graph.node("Neg", scores), scores, axis=-1)


def connect(graph, name, variable):
    """Let what has a name in the graph be one of skl2onnx's variables."""
    graph.nodes.append(helper.make_node("Identity", [name], [variable.full_name], name=graph.unique("identity")))
