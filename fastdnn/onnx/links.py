"""Links of the losses: what they make of raw scores."""

from ..losses import Gamma, LogLoss, Poisson, scores_link
from ..losses.classification import Focal
from ..losses.cross_entropy import narrow_link, softmax_link
from .registry import exporter_of

# Kernels of links, and the operators that compute the same; None is none at all.
LINKS = {
    scores_link: None,
    softmax_link: "Softmax",
    narrow_link: "Softmax",
    LogLoss.link: "Sigmoid",
    Focal.link: "Sigmoid",
    Poisson.link: "Exp",
    Gamma.link: "Exp",
}


def linked(graph, loss, scores, n_out):
    """Name of the predictions that a loss makes of scores (n, ..., n_out); ValueError where ONNX is not told how."""
    own, kernel = exporter_of(loss), loss.link_for(n_out)
    if own is not None:
        return own.function(graph, loss, scores)
    if kernel not in LINKS:
        name = type(loss).__name__
        raise ValueError(
            f"loss {loss!r}: nothing is known of how ONNX says its link; write a function that adds its nodes and register "
            f"it with @fastdnn.onnx.exporter({name})"
        )
    op = LINKS[kernel]
    if op is None:
        return scores
    return graph.node(op, scores, axis=-1 if op == "Softmax" else None)
