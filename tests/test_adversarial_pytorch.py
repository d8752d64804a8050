"""GAN and its losses: the same numbers as PyTorch's."""

import functools
import pickle

import numpy as np
import pytest
from adversarial import DENSE, IMAGES, NORMED, SHARDS
from goldens import from_pytorch

from fastdnn import GAN, Model, layers, losses, optimizers
from fastdnn.adversarial_training import AdversarialTraining
from fastdnn.losses.adversarial import KINDS
from fastdnn.schedules import Polynomial


def twin(torch, model):
    """The layers of a model as PyTorch's, with its weights; images have their channels last at both ends."""
    nn, weights, modules = torch.nn, iter([w.copy() for w in model.weights.values()]), []

    class Turn(nn.Module):
        def __init__(self, *order):
            super().__init__()
            self.order = order

        def forward(self, x):
            return x.permute(*self.order) if x.ndim == 4 else x

    def activation(layer):
        return [nn.Tanh()] if getattr(layer, "activation", None) == "tanh" else []

    shapes = model.layout.shapes
    for number, layer in enumerate(model.layers):
        kind = layer.name
        if kind == "dense":
            made = nn.Linear(shapes[number][-1], layer.units, bias=layer.use_bias)
            made.weight.data = torch.tensor(next(weights).T.copy())
            if layer.use_bias:
                made.bias.data = torch.tensor(next(weights))
            modules += [made, *activation(layer)]
        elif kind in ("conv2d", "conv2d_transpose"):
            c_in, transposed = shapes[number][-1], kind == "conv2d_transpose"
            new = nn.ConvTranspose2d if transposed else nn.Conv2d
            padding = {} if transposed else {"padding": layer.padding if isinstance(layer.padding, str) else 0}
            made = new(c_in, layer.filters, layer.kernel_size, layer.strides, bias=layer.use_bias, **padding)
            kernel = next(weights)  # (height, width, in, out), of transposed ones too
            made.weight.data = torch.tensor(kernel.transpose((2, 3, 0, 1) if transposed else (3, 2, 0, 1)).copy())
            if layer.use_bias:
                made.bias.data = torch.tensor(next(weights))
            modules += [Turn(0, 3, 1, 2), made, Turn(0, 2, 3, 1), *activation(layer)]
        elif kind == "batch_norm":
            made = (nn.BatchNorm2d if len(shapes[number]) == 3 else nn.BatchNorm1d)(shapes[number][-1], eps=layer.epsilon)
            made.weight.data, made.bias.data = torch.tensor(next(weights)), torch.tensor(next(weights))
            modules += [Turn(0, 3, 1, 2), made, Turn(0, 2, 3, 1)]
        elif kind == "reshape":
            modules.append(nn.Unflatten(1, layer.shape))
        elif kind == "flatten":
            modules.append(nn.Flatten())
        else:
            assert kind == "activation", kind
            modules.append(nn.Tanh())
    return nn.Sequential(*modules).double()


def discriminator_loss(torch, kind, real, made, smoothing):
    F = torch.nn.functional
    return {
        "non_saturating": lambda: (
            F.binary_cross_entropy_with_logits(real, torch.full_like(real, 1 - smoothing)) + F.softplus(made).mean()
        ),
        "least_squares": lambda: ((real - (1 - smoothing)) ** 2).mean() + (made**2).mean(),
        "hinge": lambda: (1 - real).relu().mean() + (1 + made).relu().mean(),
    }[kind]()


def generator_loss(torch, kind, made):
    F = torch.nn.functional
    of = {"non_saturating": lambda: F.softplus(-made), "least_squares": lambda: (made - 1) ** 2, "hinge": lambda: -made}
    return of[kind]().mean()


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nets", [DENSE, NORMED, IMAGES, SHARDS], ids=["dense", "normed", "images", "shards"])
def test_ten_alternating_steps_as_in_pytorch(nets, kind, classes):
    """The same weights, codes and samples: losses, and all weights after ten steps of either network."""
    generator, discriminator, shape = nets
    source = np.random.default_rng(0)
    n, steps = 16, 10
    X = source.uniform(-1, 1, (n * steps, *shape))
    y = source.integers(0, classes, len(X)) if classes else None
    adam = kind != "hinge"  # whose gradients are all the same at first, nothing behind a batch norm: see NORMED
    rate = Polynomial(1e-2)
    optimizer = optimizers.Adam(rate, beta_1=0.5) if adam else optimizers.SGD(rate, momentum=0.0)
    gan = GAN(
        generator, discriminator, latent=4, loss=kind, instance_noise=0, dtype="float64", random_state=3,
        generator_optimizer=optimizer, discriminator_optimizer=optimizer,
    ).build(shape, None if y is None else np.arange(classes))  # fmt: skip
    training = AdversarialTraining(gan, X, y, n)
    training.set_schedule(steps)
    codes = list(training._codes(steps))
    kept = pickle.dumps((gan.generator, gan.discriminator))
    found = training.run_epoch(np.arange(len(X)))

    def compute(torch):
        models = pickle.loads(kept)
        G, D = (twin(torch, model) for model in models)
        new = functools.partial(torch.optim.Adam, betas=(0.5, 0.999)) if adam else torch.optim.SGD
        optimizers_ = [new(net.parameters(), 1e-2) for net in (G, D)]
        sums = [0.0, 0.0]
        for step in range(steps):
            for o in optimizers_:
                o.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
            rows = slice(n * step, n * step + n)
            z, own = torch.tensor(codes[step]), torch.zeros(n, dtype=int)
            if classes:
                own = torch.tensor(y[rows])
                z = torch.cat([z, torch.nn.functional.one_hot(own, classes).double()], 1)
            own = own[:, None]
            made = G(z)
            of_discriminator = discriminator_loss(
                torch, kind, D(torch.tensor(X[rows])).gather(1, own), D(made.detach()).gather(1, own), gan.label_smoothing
            )
            optimizers_[1].zero_grad()
            of_discriminator.backward()
            optimizers_[1].step()
            of_generator = generator_loss(torch, kind, D(made).gather(1, own))
            optimizers_[0].zero_grad()
            of_generator.backward()
            optimizers_[0].step()
            sums = [sums[0] + of_discriminator.item() / steps, sums[1] + of_generator.item() / steps]
        return sums, *(p for net in (G, D) for p in net.parameters())

    name = f"gan {kind} {classes} {generator} {discriminator}"
    expected, *weights = from_pytorch(name, compute)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    ours = [w for model in (gan.generator, gan.discriminator) for w in model.weights.values()]
    for mine, theirs in zip(ours, weights, strict=True):
        # Of kernels, in PyTorch's order of axes: the same numbers.
        np.testing.assert_allclose(np.sort(mine.ravel()), np.sort(theirs.ravel()), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_as_in_pytorch_and_what_does_not_count(kind, player):
    source = np.random.default_rng(0)
    z, t = 2 * source.standard_normal((40, 3)), source.choice([0.9, 0, -1], (40, 3))
    model = Model([layers.Activation("identity")], loss=losses.Adversarial(kind, player), dtype="float64").build(3)
    gradient = model.input_gradient(z, t)
    value = model.loss_and_grad(z, t)[0]

    def compute(torch):
        scores, targets = torch.tensor(z, requires_grad=True), torch.tensor(t)
        F, sign = torch.nn.functional, torch.sign(targets)
        of = {
            "non_saturating": lambda: F.softplus(scores) - targets.relu() * scores,
            "least_squares": lambda: (scores - targets.relu()) ** 2,
            "hinge": lambda: (1 - sign * scores).relu() if player == "discriminator" else -sign * scores,
        }[kind]()
        total = (of * sign.abs()).sum(1).mean() * (2 if player == "discriminator" else 1)
        total.backward()
        return total, scores.grad

    expected, of_scores = from_pytorch(f"adversarial loss {kind} {player}", compute)
    assert value == pytest.approx(float(expected), rel=1e-12)
    np.testing.assert_allclose(gradient, of_scores, rtol=1e-9, atol=1e-15)
