"""Every loss, from the table: value, gradient, link, weights, stability."""

import naive
import numpy as np
import pytest
from goldens import from_pytorch

from fastdnn import Model, layers
from fastdnn.losses import (
    LOSSES_TABLE,
    ClippedLogLoss,
    CrossEntropy,
    Focal,
    Hinge,
    Huber,
    Quantile,
    SquaredError,
    scores_link,
)

N = 29


def targets(name, n_out, rng):
    if name == "cross_entropy":
        return rng.integers(0, n_out, N)
    if name in ("log_loss", "hinge", "focal"):
        return rng.integers(0, 2, (N, n_out))
    if name == "gamma":
        return rng.gamma(2.0, size=(N, n_out))
    return rng.poisson(2.0, (N, n_out)) if name == "poisson" else rng.standard_normal((N, n_out))


def problem(name, n_out, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    model = Model([layers.Dense(n_out)], loss=name, dtype=dtype, random_state=2).build(4)
    return model, rng.standard_normal((N, 4)).astype(dtype), targets(name, n_out, rng), rng.uniform(0, 2, N)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_out", [1, 2, 5, 16, 17, 40])
@pytest.mark.parametrize("name", LOSSES_TABLE)
def test_value_and_gradient(name, n_out, weighted):
    model, X, y, w = problem(name, n_out)
    w = w if weighted else None
    expected = naive.loss(name, model.forward(X), y, w)
    loss, gradient = model.loss_and_grad(X, y, sample_weight=w)
    np.testing.assert_allclose(loss, expected, rtol=1e-11)
    np.testing.assert_allclose(model.evaluate(X, y, sample_weight=w)["loss"], expected, rtol=1e-11)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y, sample_weight=w)[0], model.params)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", LOSSES_TABLE)
def test_float32(name):
    single, X, y, w = problem(name, 3, "float32")
    double, *_ = problem(name, 3)
    double.params[...] = single.params
    np.testing.assert_allclose(single.loss_and_grad(X, y, w)[0], double.loss_and_grad(X, y, w)[0], rtol=2e-5)
    np.testing.assert_allclose(single.loss_and_grad(X, y, w)[1], double.loss_and_grad(X, y, w)[1], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "link"),
    [
        *[
            (name, lambda z: z)
            for name in ("squared_error", "absolute_error", "huber", "log_cosh", "quantile", "hinge", "linear")
        ],
        *[(name, np.exp) for name in ("poisson", "gamma")],
        *[(name, lambda z: 1 / (1 + np.exp(-z))) for name in ("log_loss", "focal", "adversarial")],
        *[(name, naive.softmax) for name in ("cross_entropy", "policy_gradient")],
    ],
)
def test_link(name, link):
    model, X, _, _ = problem(name, 5)
    np.testing.assert_allclose(model.predict(X), link(model.forward(X)), rtol=1e-13)


TORCH = {  # the same loss from PyTorch's functions, on scores z and targets y
    "squared_error": lambda F, z, y: 0.5 * F.mse_loss(z, y, reduction="none").sum(1),
    "absolute_error": lambda F, z, y: F.l1_loss(z, y, reduction="none").sum(1),
    "huber": lambda F, z, y: F.huber_loss(z, y, reduction="none").sum(1),
    "log_cosh": lambda F, z, y: (z - y).cosh().log().sum(1),
    "quantile": lambda F, z, y: (0.5 * (y - z).abs()).sum(1),
    "poisson": lambda F, z, y: (F.poisson_nll_loss(z, y, reduction="none") + y.xlogy(y) - y).sum(1),
    "gamma": lambda F, z, y: (y * (-z).exp() + z - y.log() - 1).sum(1),
    "log_loss": lambda F, z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(1),
    "hinge": lambda F, z, y: (1 - (2 * y - 1) * z).relu().sum(1),
    "focal": lambda F, z, y: (
        F.binary_cross_entropy_with_logits(z, y, reduction="none") * ((2 * y - 1) * -z).sigmoid() ** 2
    ).sum(1),
    "cross_entropy": lambda F, z, y: F.cross_entropy(z, y, reduction="none"),
    "linear": lambda F, z, y: (z * y).sum(1),
    "policy_gradient": lambda F, z, y: -(F.log_softmax(z, 1) * y).sum(1),
    "adversarial": lambda F, z, y: 2 * (F.softplus(z) - y.relu() * z).sum(1),
}


@pytest.mark.parametrize("name", LOSSES_TABLE)
def test_same_as_pytorch(name):
    assert name in TORCH, f"write PyTorch's form of {name} into TORCH"
    model, X, y, _ = problem(name, 3)
    loss, _ = model.loss_and_grad(X, y)

    def compute(torch):
        W, b = (torch.tensor(w, requires_grad=True) for w in model.weights.values())
        targets = torch.tensor(y if name == "cross_entropy" else y * 1.0)
        expected = TORCH[name](torch.nn.functional, torch.tensor(X) @ W + b, targets).mean()
        expected.backward()
        return expected, W.grad, b.grad

    expected, *gradients = from_pytorch(f"losses {name}", compute)
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    for ours, theirs in zip(model.gradients.values(), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("n_out", [3, 17])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("soft", [False, True])
def test_soft_targets_and_label_smoothing_as_in_pytorch(soft, smoothing, n_out):
    model, X, y, w = problem("cross_entropy", n_out)
    model.loss = CrossEntropy(label_smoothing=smoothing)
    rng = np.random.default_rng(5)
    y = rng.dirichlet(np.ones(n_out), N) if soft else y
    loss, gradient = model.loss_and_grad(X, y, sample_weight=w)
    scores = model.forward(X)

    def compute(torch):
        settings = {"reduction": "none", "label_smoothing": smoothing}
        return (torch.nn.functional.cross_entropy(torch.tensor(scores), torch.tensor(y), **settings),)

    (rows,) = from_pytorch(f"losses cross_entropy {soft} {smoothing} {n_out}", compute)
    np.testing.assert_allclose(loss, np.average(rows, weights=w), rtol=1e-9)
    np.testing.assert_allclose(model.evaluate(X, y, sample_weight=w)["loss"], loss, rtol=1e-12)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y, sample_weight=w)[0], model.params)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "loss",
    [Huber(0.3), Hinge(squared=True), Focal(0.0), Focal(1.5, alpha=0.2), Quantile((0.1, 0.5, 0.9)), Quantile(0.25)],
    ids=repr,
)
def test_gradients_of_other_settings(loss):
    model, X, y, w = problem(loss.name, 3)
    model.loss = loss
    y = y[:, 0] if isinstance(loss.__dict__.get("quantiles"), tuple) else y
    _, gradient = model.loss_and_grad(X, y, sample_weight=w)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y, sample_weight=w)[0], model.params)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("n_out", [3, 17])
def test_a_loss_made_of_cross_entropy_keeps_its_own_link(n_out):
    class Scores(CrossEntropy):
        name, link = "scores_cross_entropy", scores_link

    X = np.random.default_rng(0).standard_normal((20, 5))
    model = Model([layers.Dense(n_out)], loss=Scores(), dtype="float64", random_state=0).build(5)
    np.testing.assert_array_equal(model.predict(X), model.forward(X))


def test_focal_without_focus_is_the_log_loss():
    model, X, y, _ = problem("log_loss", 3)
    expected = model.loss_and_grad(X, y)
    model.loss = Focal(0.0)
    for ours, theirs in zip(model.loss_and_grad(X, y), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("name", ["hinge", "focal"])
def test_class_numbers_are_taken_one_against_the_rest(name):
    model, X, _, _ = problem(name, 4)
    y = np.arange(N) % 4
    assert model.loss_and_grad(X, y)[0] == model.loss_and_grad(X, np.eye(4)[y])[0]
    assert model.evaluate(X, y)["accuracy"] == np.mean(model.predict(X).argmax(axis=1) == y)


def test_several_quantiles_of_several_targets():
    model, X, _, _ = problem("quantile", 6)
    model.loss = Quantile((0.1, 0.5, 0.9))
    y = np.random.default_rng(3).standard_normal((N, 2))
    r = np.repeat(y, 3, axis=1) - model.forward(X)
    q = np.tile([0.1, 0.5, 0.9], 2)
    assert model.loss_and_grad(X, y)[0] == pytest.approx(np.maximum(q * r, (q - 1) * r).sum(axis=1).mean(), rel=1e-12)
    assert model.evaluate(X, y)["coverage_0.9"] == pytest.approx(np.mean(r[:, 2::3] <= 0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["cross_entropy", "log_loss", "focal"])
def test_huge_scores(name, dtype):
    model = Model([layers.Dense(2)], loss=name, dtype=dtype, random_state=0).build(2)
    model.weights["0.dense.kernel"][...] = np.eye(2)
    X = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    y = np.array([0, 1]) if name == "cross_entropy" else np.eye(2)
    right, wrong = model.loss_and_grad(X, y), model.loss_and_grad(X, 1 - y)
    assert right[0] == 0
    assert wrong[0] == pytest.approx(2e4)
    assert np.isfinite(right[1]).all()
    assert np.isfinite(wrong[1]).all()


@pytest.mark.parametrize("name", LOSSES_TABLE)
def test_nan_scores_give_a_nan_loss(name):
    model, X, y, _ = problem(name, 3)
    model.params[...] = np.nan
    assert np.isnan(model.loss_and_grad(X, y)[0])
    assert np.isnan(model.predict(X)).all()


def test_zero_weight_rows_do_not_count():
    model, X, y, w = problem("cross_entropy", 4)
    w[10:] = 0
    some, alone = model.loss_and_grad(X, y, sample_weight=w), model.loss_and_grad(X[:10], y[:10], sample_weight=w[:10])
    np.testing.assert_allclose(some[0], alone[0], rtol=1e-13)
    np.testing.assert_allclose(some[1], alone[1], rtol=1e-11, atol=1e-15)


def test_mean_over_outputs_changes_the_report_only():
    model, X, y, _ = problem("squared_error", 4)
    other = Model(model.layers, loss=SquaredError(mean_over_outputs=True), dtype="float64", random_state=2).build(4)
    a, b = model.loss_and_grad(X, y), other.loss_and_grad(X, y)
    assert a[0] == pytest.approx(4 * b[0])
    np.testing.assert_array_equal(a[1], b[1])


@pytest.mark.parametrize(("loss", "labels"), [(CrossEntropy(clip=True), True), (ClippedLogLoss(), False)])
def test_clipped_losses_are_bounded_by_the_epsilon(loss, labels):
    model = Model([layers.Dense(2)], loss=loss, dtype="float64").build(1)
    model.weights["0.dense.kernel"][...] = [[1.0, -1.0]]
    y = np.array([1]) if labels else np.array([[0, 1]])
    eps = np.finfo(float).eps
    assert model.loss_and_grad([[1e3]], y)[0] == pytest.approx(-np.log(eps) * (1 if labels else 2), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "y", "message"),
    [
        ("cross_entropy", np.array([0, 1, 3]), "class numbers must be 0 to 2"),
        ("cross_entropy", np.array([0.5, 1, 2]), "class numbers"),
        ("cross_entropy", np.zeros((3, 2)), "class numbers"),
        ("cross_entropy", np.full((3, 3), -1.0), "probabilities >= 0"),
        ("gamma", np.zeros((3, 3)), "gamma needs targets > 0"),
        ("hinge", np.full((3, 3), 0.5), "hinge needs targets 0 and 1"),
        ("focal", np.full((3, 3), 2.0), "focal needs targets 0 and 1"),
        ("log_loss", np.full((3, 3), 2.0), "between 0 and 1"),
        ("poisson", np.full((3, 3), -1.0), "targets >= 0"),
        ("squared_error", np.zeros((3, 2)), r"y must have shape \(n, 3\) .*got \(3, 2\)"),
        ("squared_error", np.full((3, 3), np.nan), "y contains NaN"),
        ("squared_error", np.full((3, 3), 1e39), "y contains values too large for float32"),
        ("squared_error", np.full((3, 3), 1j), "y must hold real numbers, got complex128"),
        ("squared_error", None, "y must have one target for each"),
        ("squared_error", 3.0, "y must have one target for each"),
        ("cross_entropy", np.array(["a", "b", "a"]), "np.unique"),
        ("cross_entropy", np.array(["a", "b", "a"], object), "np.unique"),
        ("squared_error", np.full((3, 3), "a"), "y must hold real numbers"),
    ],
)
def test_wrong_targets(name, y, message):
    model = Model([layers.Dense(3)], loss=name).build(2)
    with pytest.raises(ValueError, match=message):
        model.loss_and_grad(np.zeros((3, 2)), y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quantile(1.5), "a quantile must be a number in"),
        (lambda: Quantile(()), "at least one"),
        (lambda: Huber(0), "delta must be a number"),
        (lambda: Focal(-1), "gamma must be a number"),
        (lambda: CrossEntropy(label_smoothing=1.0), "label_smoothing"),
        (lambda: Model([layers.Dense(2)], loss=Quantile((0.1, 0.5, 0.9))).fit([[0.0]], [0.0]), "multiple of 3 outputs"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
