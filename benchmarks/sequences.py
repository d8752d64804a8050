"""Training of recurrent and text networks: fastdnn beside PyTorch, as times and as shares of the processor's peak.

    python benchmarks/sequences.py [CASE ...] [--threads 2] [--rounds 2] [--alone]

A process for each (case, library), in turns, in both orders; medians of epochs in the steady state. The peak is that of fused
multiply-adds on as many threads, measured in the same run; flops are those of the products alone: forward, the recurrent
gradient, the input gradient (not of the first layer) and the weight gradient. PyTorch runs with Adam in its fused form.
"""

import os

from turns import compare

# name: (samples, steps, features or ids (negative), classes, samples of a batch, whether each step has a target, network)
CASES = {
    "lstm64": (1024, 64, 64, 10, 32, False, [("lstm", 64)]),
    "lstm256": (1024, 64, 64, 10, 64, False, [("lstm", 256)]),
    "lstm_long": (256, 200, 32, 10, 16, False, [("lstm", 128)]),
    "gru64": (1024, 64, 64, 10, 32, False, [("gru", 64)]),
    "stacked": (512, 50, 16, 5, 32, False, [("lstm", 64), ("lstm", 64)]),
    "charlm": (512, 100, -65, 65, 32, True, [("embedding", 64), ("lstm", 256)]),
    "textcnn": (2048, 100, -10000, 2, 64, False, [("embedding", 64), ("conv", 100)]),
}
WIDTH = 5  # steps that a convolution sees


def flops_of_epoch(case):
    """Flops of the products of all samples."""
    n, steps, width, classes, _, sequences, network = case
    total, first = 0, True
    for kind, units in network:
        if kind != "embedding":
            gates = {"lstm": 4, "gru": 3, "conv": 1}[kind]
            of_inputs = 2 * steps * gates * units * width * (WIDTH if kind == "conv" else 1)
            of_states = 0 if kind == "conv" else 2 * steps * gates * units * units
            total += (2 if first else 3) * of_inputs + 3 * of_states
        width, first = units, False
    return n * (total + 3 * 2 * (steps if sequences else 1) * width * classes)


def data(case):
    import numpy as np

    n, steps, width, classes, _, sequences, _ = case
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, (n, steps) if sequences else n)
    return rng.integers(0, -width, (n, steps)) if width < 0 else rng.standard_normal((n, steps, width), "float32"), y


def ours(case):
    """A function that trains one epoch."""
    from fastdnn import Model, layers, optimizers

    _, _, width, classes, batch, sequences, network = case
    stack = []
    for i, (kind, units) in enumerate(network):
        if kind == "embedding":
            stack.append(layers.Embedding(-width, units))
        elif kind == "conv":
            stack += [layers.Conv1D(units, WIDTH, padding="same", activation="relu"), layers.GlobalMaxPool1D()]
        else:
            made = layers.LSTM if kind == "lstm" else layers.GRU
            stack.append(made(units, return_sequences=sequences or i + 1 < len(network)))
    model = Model([*stack, layers.Dense(classes)], loss="cross_entropy", optimizer=optimizers.Adam(1e-3), random_state=0)
    X, y = data(case)
    return lambda: model.fit(X, y, epochs=1, batch_size=batch)


def pytorch(case):
    """A function that trains one epoch."""
    import torch
    from torch import nn

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    _, _, width, classes, batch, sequences, network = case
    modules = nn.ModuleList()
    for kind, units in network:
        if kind == "embedding":
            modules.append(nn.Embedding(-width, units))
        elif kind == "conv":
            modules.append(nn.Conv1d(width, units, WIDTH, padding="same"))
        else:
            modules.append((nn.LSTM if kind == "lstm" else nn.GRU)(width, units, batch_first=True))
        width = units
    modules.append(nn.Linear(width, classes))
    X, y = map(torch.from_numpy, data(case))
    optimizer, criterion = torch.optim.Adam(modules.parameters(), 1e-3, fused=True), nn.CrossEntropyLoss()

    def scores(x):
        for module in modules[:-1]:
            if isinstance(module, nn.Conv1d):
                x = module(x.transpose(1, 2)).relu().amax(dim=2)
            else:
                x = module(x)[0] if isinstance(module, nn.RNNBase) else module(x)
        return modules[-1](x if sequences or x.ndim == 2 else x[:, -1])

    def epoch():
        for rows in torch.randperm(len(X)).split(batch):
            optimizer.zero_grad(set_to_none=True)
            criterion(scores(X[rows]).flatten(0, -2), y[rows].flatten()).backward()
            optimizer.step()

    return epoch


def runs(library, case):
    return [ours(case) if library == "fastdnn" else pytorch(case)]


if __name__ == "__main__":
    compare(__file__, __doc__, CASES, runs, flops_of_epoch)
