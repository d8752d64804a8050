"""Every optimizer against its formula, and against PyTorch where that has the same one."""

import naive
import numpy as np
import pytest

from fastdnn import Model, layers
from fastdnn.optimizers import OPTIMIZERS, SGD, Adam

CASES = [SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, nesterov=True), Adam(0.01), Adam(0.02, 0.5, 0.9, 1e-3)]


def problem(optimizer, dtype="float64"):
    rng = np.random.default_rng(0)
    shapes = [layers.Dense(21, activation="tanh"), layers.Dense(1)]
    model = Model(shapes, optimizer=optimizer, dtype=dtype, random_state=0).build(6)
    return model, rng.standard_normal((40, 6)), rng.standard_normal(40)


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_ten_steps_of_the_formula(optimizer, l2):
    model, X, y = problem(optimizer)
    other, _, _ = problem(optimizer)
    run, states = model.training(X, y, batch_size=40), {key: {} for key in other.weights}
    for _ in range(10):
        run.epoch(l2=l2)
        other.loss_and_grad(X, y)
        for (key, p), g in zip(other.weights.items(), other.gradients.values(), strict=True):
            g = g + l2 / 40 * p * key.endswith("kernel")
            p[...] = getattr(naive, optimizer.name)(p, g, states[key], **vars(optimizer))
    np.testing.assert_allclose(model.params, other.params, rtol=1e-9, atol=1e-12)


def test_every_optimizer_has_a_case():
    assert {type(o) for o in CASES} == set(OPTIMIZERS.values())


@pytest.mark.parametrize("optimizer", [c for c in CASES if isinstance(c, SGD)], ids=repr)
def test_same_as_pytorch(optimizer):
    torch = pytest.importorskip("torch")
    model, X, y = problem(optimizer)
    weights = [torch.tensor(w, requires_grad=True) for w in model.weights.values()]
    peer = torch.optim.SGD(weights, lr=optimizer.learning_rate, momentum=optimizer.momentum, nesterov=optimizer.nesterov)
    run = model.training(X, y, batch_size=40)
    for _ in range(10):
        run.epoch()
        peer.zero_grad()
        W1, b1, W2, b2 = weights
        out = torch.tanh(torch.tensor(X) @ W1 + b1) @ W2 + b2
        (0.5 * ((out[:, 0] - torch.tensor(y)) ** 2).mean()).backward()
        peer.step()
    for ours, theirs in zip(model.weights.values(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_float32(optimizer):
    single, X, y = problem(optimizer, "float32")
    double, _, _ = problem(optimizer)
    double.params[...] = single.params
    for model in (single, double):
        run = model.training(X, y, batch_size=10)
        for _ in range(5):
            run.epoch()
    np.testing.assert_allclose(single.params, double.params, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("widths", [(21, 1), (1, 3), (1, 1, 16)])
def test_padding_stays_zero(widths):
    shapes = [layers.Dense(n, activation="tanh") for n in widths]
    model = Model(shapes, optimizer=Adam(0.1), dtype="float64", random_state=0).build(6)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6)), rng.standard_normal((40, widths[-1]))
    model.fit(X, y, epochs=3, batch_size=7)
    own = np.zeros(len(model.params), bool)
    for view in model.layout.views(own).values():
        view[...] = True
    assert model.params[own].all()
    assert not model.params[~own].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0), r"learning_rate must be a number in \(0, inf\), got 0"),
        (lambda: SGD(0.1, 1.5), "momentum must be"),
        (lambda: Adam(beta_1=1.0), r"beta_1 must be a number in \[0, 1\), got 1.0"),
        (lambda: Adam(epsilon=0), "epsilon"),
        (lambda: Model([layers.Dense(1)], optimizer="adm"), "optimizer must be an Optimizer or one of"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
