"""Training of convolutional networks: fastdnn beside PyTorch, as times and as shares of the processor's peak.

    python benchmarks/images.py [CASE ...] [--threads 2] [--rounds 2] [--alone]

A process for each (case, library), in turns, in both orders; medians of epochs in the steady state. The peak is that of fused
multiply-adds on as many threads, measured in the same run; flops are those of the products alone. PyTorch's time is the
better one of its two memory formats, with Adam in its fused form.
"""

import math
import os

from turns import compare

# name: (samples, shape of one, classes, samples of a batch, network); a number of filters is a 3 x 3 convolution with a ReLU
CASES = {
    "lenet5": (4000, (28, 28, 1), 10, 100, [("conv", 6, 5, 1), "pool", ("conv", 16, 5, 1), "pool", "flat", 120, 84]),
    "cnn": (2048, (28, 28, 1), 10, 64, [("conv", 32, 3, 1), ("conv", 64, 3, 1), "pool", ("conv", 64, 3, 1), "pool", "flat",
                                        128]),
    "cnn_bn": (2048, (28, 28, 1), 10, 64, [("norm", 16, 3, 1), ("norm", 32, 3, 2), ("norm", 64, 3, 2), "mean"]),
    "separable": (2048, (28, 28, 1), 10, 64, [("norm", 32, 3, 1), ("sep", 64, 3, 1), "pool", ("sep", 128, 3, 1), "mean"]),
    "vgg": (1024, (32, 32, 3), 10, 64, [("conv", 64, 3, 1), ("conv", 64, 3, 1), "pool", ("conv", 128, 3, 1),
                                        ("conv", 128, 3, 1), "pool", "flat", 256]),
}  # fmt: skip


def products(case):
    """[(layer, shape of its input, flops of its products forward)]"""
    shape, found = case[1], []
    for layer in [*case[4], case[2]]:
        flops, before = 0, shape
        if layer == "pool":
            shape = shape[0] // 2, shape[1] // 2, shape[2]
        elif layer in ("flat", "mean"):
            shape = (math.prod(shape) if layer == "flat" else shape[-1],)
        elif isinstance(layer, int):
            flops, shape = 2 * shape[0] * layer, (layer,)
        else:
            kind, filters, size, stride = layer
            height, width = (-(-n // stride) for n in shape[:2])
            of_pixel = shape[2] * (size * size + filters) if kind == "sep" else shape[2] * size * size * filters
            flops, shape = 2 * height * width * of_pixel, (height, width, filters)
        found.append((layer, before, flops))
    return found


def flops_of_epoch(case):
    """Forward, input gradient (not of the first layer) and weight gradient of all samples."""
    flops = [f for *_, f in products(case)]
    first = next(f for f in flops if f)
    return case[0] * (3 * sum(flops) - first)


def data(case):
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.standard_normal((case[0], *case[1])).astype("float32"), rng.integers(0, case[2], case[0])


def ours(case):
    """A function that trains one epoch."""
    from fastdnn import Model, layers, optimizers

    stack = []
    for layer, _, _ in products(case)[:-1]:
        if layer == "pool":
            stack.append(layers.MaxPool2D())
        elif layer in ("flat", "mean"):
            stack.append(layers.Flatten() if layer == "flat" else layers.GlobalAvgPool2D())
        elif isinstance(layer, int):
            stack.append(layers.Dense(layer, activation="relu"))
        else:
            kind, filters, size, stride = layer
            made = layers.SeparableConv2D if kind == "sep" else layers.Conv2D
            stack.append(made(filters, size, stride, "same", activation="relu" if kind == "conv" else "identity"))
            stack += [] if kind == "conv" else [layers.BatchNorm(activation="relu")]
    model = Model([*stack, layers.Dense(case[2])], loss="cross_entropy", optimizer=optimizers.Adam(1e-3), random_state=0)
    X, y = data(case)
    return lambda: model.fit(X, y, epochs=1, batch_size=case[3])


def torch_network(case):
    from torch import nn

    modules = []
    for layer, shape, _ in products(case):
        if layer == "pool":
            modules.append(nn.MaxPool2d(2))
        elif layer in ("flat", "mean"):
            modules += [] if layer == "flat" else [nn.AdaptiveAvgPool2d(1)]
            modules.append(nn.Flatten())
        elif isinstance(layer, int):
            modules += [nn.Linear(shape[0], layer), nn.ReLU()]
        else:
            kind, filters, size, stride = layer
            channels, border = shape[2], size // 2
            if kind == "sep":
                modules.append(nn.Conv2d(channels, channels, size, stride, border, groups=channels, bias=False))
                size, stride, border = 1, 1, 0
            modules.append(nn.Conv2d(channels, filters, size, stride, border))
            modules += [] if kind == "conv" else [nn.BatchNorm2d(filters)]
            modules.append(nn.ReLU())
    return nn.Sequential(*modules[:-1])


def pytorch(case, layout):
    """A function that trains one epoch, images in that memory format."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    network, (X, y) = torch_network(case).to(memory_format=layout), map(torch.from_numpy, data(case))
    X = X.permute(0, 3, 1, 2).contiguous(memory_format=layout)
    optimizer, criterion = torch.optim.Adam(network.parameters(), 1e-3, fused=True), torch.nn.CrossEntropyLoss()

    def epoch():
        for rows in torch.randperm(len(X)).split(case[3]):
            optimizer.zero_grad(set_to_none=True)
            criterion(network(X[rows]), y[rows]).backward()
            optimizer.step()

    return epoch


def runs(library, case):
    if library == "fastdnn":
        return [ours(case)]
    import torch

    return [pytorch(case, layout) for layout in (torch.contiguous_format, torch.channels_last)]


if __name__ == "__main__":
    compare(__file__, __doc__, CASES, runs, flops_of_epoch)
