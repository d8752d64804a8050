"""Generators against discriminators, and single steps: fastdnn beside PyTorch, as times and as shares of the peak.

    python benchmarks/adversarial.py [CASE ...] [--threads 2] [--rounds 2] [--alone]

A process for each (case, library), in turns, in both orders; medians in the steady state. The first three are fits of four
epochs of adversarial training (Adam, non-saturating loss), the last two 1,000 steps of a network with 64-64-10 units and
batches of 64, so that milliseconds are microseconds a step: batch by batch, and on bound buffers; PyTorch's is the faster of
its eager and its compiled step. Flops are those of the products alone that a step needs: of the generator forward, back and
the gradient of the weights, of the discriminator these for real and made samples, and forward and back for the generator's
gradient.
"""

import os
from itertools import pairwise

from turns import compare

BATCH, STEPS, EPOCHS = 64, 1000, 4
# name: (samples, samples of a batch, generator, discriminator): sizes of dense layers, or the name of convolutional ones
CASES = {
    "dense": (8192, 64, (64, 256, 256, 784), (784, 256, 128, 1)),
    "ring": (51200, 256, (16, 128, 128, 2), (2, 128, 128, 1)),
    "images": (2048, 64, "convolutions", "convolutions"),
    "on_batch": "train_on_batch",
    "bound": "step",
}


def products(sizes):
    """Flops of a sample on its way forward."""
    return sum(2 * a * b for a, b in pairwise(sizes))


def flops_of_epoch(case):
    """Flops of the products of what is timed."""
    if isinstance(case, str):
        return STEPS * BATCH * (3 * products((64, 64, 10)) - products((64, 64)))
    n, _, generator, discriminator = case
    if isinstance(generator, str):
        # (first layer, the others): Dense and two transposed convolutions; two convolutions and a Dense.
        made = 2 * 64 * 3136, 2 * (49 * 64 * 32 * 16 + 196 * 32 * 16)
        judged = 2 * 196 * 32 * 16, 2 * (49 * 32 * 64 * 16 + 3136)
        return EPOCHS * n * (2 * made[0] + 3 * made[1] + 2 * (2 * judged[0] + 3 * judged[1]) + 2 * sum(judged))
    of_generator = 3 * products(generator) - products(generator[:2])
    of_discriminator = 2 * (3 * products(discriminator) - products(discriminator[:2])) + 2 * products(discriminator)
    return EPOCHS * n * (of_generator + of_discriminator)


def real(case):
    import numpy as np

    n, _, _, discriminator = case
    shape = (28, 28, 1) if isinstance(discriminator, str) else discriminator[:1]
    return np.random.default_rng(0).uniform(-1, 1, (n, *shape)).astype("float32")


def steps(bound):
    """A function that takes STEPS steps."""
    import numpy as np

    from fastdnn import Model, layers

    source = np.random.default_rng(0)
    X, y = source.standard_normal((BATCH, 64), "float32"), source.integers(0, 10, BATCH)
    model = Model([layers.Dense(64, "relu"), layers.Dense(10)], loss="cross_entropy", random_state=0)
    step = model.bind(X, y).step if bound else lambda: model.train_on_batch(X, y)

    def epoch():
        for _ in range(STEPS):
            step()

    return epoch


def ours(case):
    """A function that trains some epochs."""
    from fastdnn import GAN, layers

    _, batch, generator, discriminator = case
    if isinstance(generator, str):
        codes = 64
        made = [
            layers.Dense(3136, use_bias=False), layers.BatchNorm(activation="relu"), layers.Reshape((7, 7, 64)),
            layers.Conv2DTranspose(32, 4, strides=2, padding="same", use_bias=False), layers.BatchNorm(activation="relu"),
            layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh"),
        ]  # fmt: skip
        judged = [
            layers.Conv2D(32, 4, strides=2, padding="same", activation="relu"),
            layers.Conv2D(64, 4, strides=2, padding="same", use_bias=False), layers.BatchNorm(activation="relu"),
            layers.Flatten(),
        ]  # fmt: skip
    else:
        codes, *hidden, width = generator
        made = [*(layers.Dense(size, "relu") for size in hidden), layers.Dense(width, "tanh")]
        judged = [layers.Dense(size, "relu") for size in discriminator[1:-1]]
    gan, X = GAN(made, judged, latent=codes, instance_noise=0, random_state=0), real(case)
    return lambda: gan.fit(X, epochs=EPOCHS, batch_size=batch)


def torch_steps(compiled):
    """The same as `steps` of PyTorch."""
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    X, y = torch.randn(BATCH, 64), torch.randint(10, (BATCH,))
    optimizer, criterion = torch.optim.Adam(net.parameters(), 1e-3, fused=True), nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(net(X), y)
        loss.backward()
        optimizer.step()
        return loss

    step = torch.compile(step) if compiled else step

    def epoch():
        for _ in range(STEPS):
            step().item()

    return epoch


def pytorch(case):
    """A function that trains some epochs."""
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits, softplus

    _, batch, generator, discriminator = case

    def dense(sizes, last):
        layers = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        return nn.Sequential(*layers[:-1], *last)

    if isinstance(generator, str):
        codes = 64
        G = nn.Sequential(
            nn.Linear(64, 3136, bias=False), nn.BatchNorm1d(3136), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        D = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Flatten(), nn.Linear(3136, 1),
        )  # fmt: skip
        X = torch.from_numpy(real(case)).permute(0, 3, 1, 2).contiguous()
    else:
        codes, G, D, X = generator[0], dense(generator, [nn.Tanh()]), dense(discriminator, []), torch.from_numpy(real(case))
    of_G, of_D = (torch.optim.Adam(net.parameters(), 2e-3, betas=(0.5, 0.999), fused=True) for net in (G, D))

    def epoch():
        for rows in torch.randperm(len(X)).split(batch):
            made = G(torch.randn(len(rows), codes))
            score = D(X[rows])
            loss = binary_cross_entropy_with_logits(score, torch.full_like(score, 0.9)) + softplus(D(made.detach())).mean()
            of_D.zero_grad(set_to_none=True)
            loss.backward()
            of_D.step()
            for p in D.parameters():  # whose gradients nobody wants in the generator's step
                p.requires_grad_(False)
            of_G.zero_grad(set_to_none=True)
            softplus(-D(made)).mean().backward()
            of_G.step()
            for p in D.parameters():
                p.requires_grad_(True)

    return lambda: [epoch() for _ in range(EPOCHS)]


def runs(library, case):
    if library == "PyTorch":
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if isinstance(case, str):
        return [steps(case == "step")] if library == "fastdnn" else [torch_steps(False), torch_steps(True)]
    return [ours(case) if library == "fastdnn" else pytorch(case)]


if __name__ == "__main__":
    compare(__file__, __doc__, CASES, runs, flops_of_epoch)
