"""Every optimizer against its formula, and against PyTorch where that has the same one."""

import inspect

import naive
import numpy as np
import pytest

from fastdnn import Model, layers
from fastdnn.optimizers import (
    LBFGS,
    OPTIMIZERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    NAdam,
    Optimizer,
    RMSprop,
    ScheduleFreeAdamW,
)

CASES = [
    SGD(0.1),
    SGD(0.1, 0.9),
    SGD(0.1, 0.9, nesterov=True),
    RMSprop(0.01),
    RMSprop(0.01, 0.9, momentum=0.8),
    Adagrad(0.05),
    Adam(0.01),
    Adam(0.02, 0.5, 0.9, 1e-3),
    Adam(0.02, 0.5, 0.9, 1e-3, correct_epsilon=False),
    AdamW(0.01, weight_decay=0.3),
    NAdam(0.01),
    ScheduleFreeAdamW(0.01),
    ScheduleFreeAdamW(0.01, warmup=5),
]
RULES = inspect.signature(Optimizer.__init__).parameters.keys() - {"self", "learning_rate"}


def settings(optimizer):
    """Its own settings, as the oracles take them."""
    return {k: v for k, v in optimizer.settings().items() if k not in RULES or (k == "weight_decay" and v)}


def problem(optimizer, dtype="float64", activation="tanh"):
    rng = np.random.default_rng(0)
    shapes = [layers.Dense(21, activation=activation), layers.Dense(1)]
    model = Model(shapes, optimizer=optimizer, dtype=dtype, random_state=0).build(6)
    return model, rng.standard_normal((40, 6)), rng.standard_normal(40)


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_ten_steps_of_the_formula(optimizer, l2):
    model, X, y = problem(optimizer)
    other, _, _ = problem(optimizer)
    run, states = model.bind(X, y, batch_size=40), {key: {} for key in other.weights}
    for _ in range(10):
        run.epoch(l2=l2)
        other.loss_and_grad(X, y)
        for (key, p), g in zip(other.weights.items(), other.gradients.values(), strict=True):
            g = g + l2 / 40 * p * key.endswith("kernel")
            p[...] = getattr(naive, optimizer.name)(p, g, states[key], **settings(optimizer))
    optimizer.to_training(model.params, model.moments)
    np.testing.assert_allclose(model.params, other.params, rtol=1e-9, atol=1e-12)


def test_every_optimizer_has_a_case():
    own = {kind for kind in OPTIMIZERS.values() if kind.__module__.startswith("fastdnn.")}
    assert {type(o) for o in CASES} == own - {LBFGS}


def torch_peer(torch, optimizer, groups):
    """The same optimizer in PyTorch, or None."""
    kind, o = type(optimizer), optimizer
    if kind is SGD:
        return torch.optim.SGD(groups, lr=o.learning_rate, momentum=o.momentum, nesterov=o.nesterov)
    if kind is RMSprop:
        return torch.optim.RMSprop(groups, lr=o.learning_rate, alpha=o.rho, momentum=o.momentum, eps=o.epsilon)
    if kind is Adagrad:
        return torch.optim.Adagrad(groups, lr=o.learning_rate, eps=o.epsilon)
    if kind in (Adam, AdamW, NAdam) and getattr(o, "correct_epsilon", True):
        more = {"momentum_decay": o.momentum_decay} if kind is NAdam else {}
        return getattr(torch.optim, kind.__name__)(
            groups, lr=o.learning_rate, betas=(o.beta_1, o.beta_2), eps=o.epsilon, **more
        )
    return None


@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_same_as_pytorch(optimizer, monkeypatch):
    torch = pytest.importorskip("torch")
    module = inspect.getmodule(torch.optim.NAdam)  # whose running product of momenta is a float32 otherwise
    monkeypatch.setattr(module, "_get_scalar_dtype", lambda *_: torch.float64)
    model, X, y = problem(optimizer)
    weights = [torch.tensor(w, requires_grad=True) for w in model.weights.values()]
    decays = [optimizer.weight_decay * (w.ndim == 2) for w in weights]  # biases and scales are spared
    peer = torch_peer(torch, optimizer, [{"params": [w], "weight_decay": d} for w, d in zip(weights, decays, strict=True)])
    if peer is None:
        assert isinstance(optimizer, ScheduleFreeAdamW) or not optimizer.correct_epsilon
        return
    run = model.bind(X, y, batch_size=40)
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
        run = model.bind(X, y, batch_size=10)
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
