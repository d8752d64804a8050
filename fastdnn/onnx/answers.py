"""What estimators over one network answer, as nodes: labels and probabilities, numbers, codes."""

from typing import NamedTuple

from .labels import label_nodes, likely, winners
from .network import link_nodes, network_nodes


class Answer(NamedTuple):
    """Names of what a classifier says of samples.

    Attributes
    ----------
    label : str
        Labels (n, ...), indicators (n, ..., n_labels) of a multilabel problem.
    probabilities : str
        As `predict_proba` gives them.
    scores : str or None, default=None
        Before the link of the loss, (n, ..., n_outputs).
    """

    label: str
    probabilities: str
    scores: str | None = None


def classifier_nodes(graph, estimator, x, labels):
    """The `Answer` of an `MLPClassifier` or a `DNNClassifier`.

    x : name of the samples, as of `network_nodes`     labels : those of the classes, see `labels_of`
    """
    network = estimator._fitted_network().network
    scores = network_nodes(graph, network, x)
    p = link_nodes(graph, network, scores)
    if estimator.out_activation_ == "softmax":
        return Answer(winners(graph, p, labels), p, scores)
    if estimator.n_outputs_ > 1:
        return Answer(likely(graph, p), p, scores)
    second = graph.node("Squeeze", likely(graph, p), graph.constant([-1]))
    both = graph.node("Concat", graph.node("Sub", graph.constant(1.0), p), p, axis=-1)
    return Answer(label_nodes(graph, second, labels if len(labels) > 1 else labels.repeat(2)), both, scores)


def number_nodes(graph, estimator, x):
    """Name of what an `MLPRegressor` or a `DNNRegressor` predicts, (n, ..., n_outputs)."""
    network = estimator._fitted_network().network
    return link_nodes(graph, network, network_nodes(graph, network, x))


def code_nodes(graph, coder, x):
    """Name of the codes of an autoencoder, (n, n_components)."""
    network = coder.model_.network
    return network_nodes(graph, network.beginning(network.layers[: coder.n_encoder_layers_]), x)


def decoded_nodes(graph, coder, codes):
    """Name of the samples that an autoencoder makes of codes."""
    decoder = coder._decoder()
    return link_nodes(graph, decoder, network_nodes(graph, decoder, codes))


def hidden_nodes(graph, estimator, x):
    """Name of what the `transform` of a `DNNClassifier` or a `DNNRegressor` gives, (n, units)."""
    number, network = estimator._hidden(), estimator._fitted_network().network
    if number is not None:
        x = network_nodes(graph, network.beginning(network.layers[: number + 1]), x)
    return graph.node("Flatten", x)
