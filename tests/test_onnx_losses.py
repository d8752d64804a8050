"""ONNX of the losses' links: predictions beside ONNX Runtime and onnx's reference evaluator."""

import numpy as np
import pytest

from fastdnn import Model, extending, layers, losses

runs, exporting = (pytest.importorskip(name) for name in ("onnx_runs", "fastdnn.onnx"))
exporter, to_onnx = exporting.exporter, exporting.to_onnx

OTHERS = [
    losses.CrossEntropy(label_smoothing=0.1),
    losses.Focal(alpha=0.3),
    losses.Quantile((0.1, 0.5, 0.9)),
    losses.Hinge(squared=True),
    losses.SquaredError(mean_over_outputs=True),
    losses.ClippedLogLoss(),
    losses.PolicyGradient(0.1),
    *(losses.Adversarial(kind) for kind in ("non_saturating", "least_squares", "hinge")),
]
EXPECTED = {
    "softmax": lambda z: np.exp(z - z.max(-1, keepdims=True)) / np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "exp": np.exp,
    "none": lambda z: z,
}
LINKS = {
    "cross_entropy": "softmax", "policy_gradient": "softmax", "log_loss": "sigmoid", "clipped_log_loss": "sigmoid",
    "focal": "sigmoid", "poisson": "exp", "gamma": "exp",
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_out", [3, 18])
@pytest.mark.parametrize("loss", [*losses.LOSSES_TABLE, *OTHERS], ids=str)
def test_link(loss, n_out, dtype):
    X = np.random.default_rng(0).standard_normal((7, 4)).astype(dtype)
    X[3, 2] = np.nan
    model = runs.made([layers.Dense(5, "tanh"), layers.Dense(n_out)], 4, dtype, loss)
    exported = runs.check(model, X, at_least=2)
    name = LINKS.get(model.loss.name, "none")
    if isinstance(model.loss, losses.Adversarial):
        name = "sigmoid" if model.loss.kind == "non_saturating" else "none"
    for run in runs.runners(exported):
        predictions, _ = run(exported, {"X": X})[:1] * 2
        scores = model.forward(X).astype(float)
        np.testing.assert_allclose(predictions, EXPECTED[name](scores), atol=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "log_loss", "poisson"])
@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 4)])
def test_link_of_several_rows_a_sample(loss, shape):
    X = np.random.default_rng(0).standard_normal((7, *shape)).astype("float32")
    runs.check(runs.made([layers.Dense(3)], shape, loss=loss), X, at_least=2)


def test_extreme_scores():
    for loss in ("cross_entropy", "log_loss", "poisson"):
        model = Model([layers.Rescaling(1.0)], loss=loss).build(3)
        X = np.array([[200, -200, 0], [88, -110, 1e30], [-1e30, -1e30, -1e30]], "float32")
        exported = to_onnx(model)
        for run in runs.runners(exported):
            np.testing.assert_allclose(run(exported, {"X": X})[0], model.predict(X), rtol=1e-5, atol=1e-30)


class Squared(losses.Loss):
    """(z^2 - y)^2; link square."""

    def pointwise(z, y, a, b):
        r = z * z - y
        return 4.0 * r * z, r * r

    def inverse(z):
        return z * z


class Cauchy(losses.Loss):
    """log(1 + (z - y)^2), which has no link."""

    def pointwise(z, y, a, b):
        r = z - y
        return 2.0 * r / (1.0 + r * r), extending.log(1.0 + r * r)


def test_losses_of_a_users_own():
    X = np.random.default_rng(0).standard_normal((7, 4)).astype("float32")
    runs.check(runs.made([layers.Dense(3)], 4, loss=Cauchy()), X, at_least=2)
    model = runs.made([layers.Dense(3)], 4, loss=Squared())
    with pytest.raises(ValueError, match=r"loss Squared\(\): nothing is known .* @fastdnn.onnx.exporter\(Squared\)"):
        to_onnx(model)

    @exporter(Squared)
    def squared(graph, loss, scores):
        return graph.node("Mul", scores, scores)

    runs.check(model, X, at_least=2)
