"""PyTorch's forms of layers, with the weights of ours."""

import math

N_IN = 6  # features of the samples of `test_layers`


def torch_twin(torch, case, weights, state, training):
    """The layers of a case as PyTorch's, with the weights and statistics of ours.

    What works on rows gets rows (n, N_IN), whatever the shape of a sample; a case that gives other rows than it takes gets
    whole samples.
    """
    modules = []
    for layer in case:
        kind = layer.name
        if kind == "dense":
            made = torch.nn.Linear(N_IN, layer.units)
            made.weight.data, made.bias.data = torch.tensor(next(weights).T.copy()), torch.tensor(next(weights))
            modules += [made, torch.nn.Tanh()] if layer.activation == "tanh" else [made]
        elif kind == "activation":
            modules.append({"gelu": torch.nn.GELU(), "relu": torch.nn.ReLU(), "softplus": torch.nn.Softplus(),
                            "softmax": torch.nn.Softmax(dim=1)}[layer.activation])  # fmt: skip
        elif kind == "prelu":
            modules.append(torch.nn.PReLU())
            modules[-1].weight.data = torch.tensor(next(weights))
        elif kind in ("batch_norm", "layer_norm"):
            made = torch.nn.BatchNorm1d(N_IN) if kind == "batch_norm" else torch.nn.LayerNorm(N_IN)
            made.weight.data, made.bias.data = torch.tensor(next(weights)), torch.tensor(next(weights))
            if kind == "batch_norm":
                made.running_mean, made.running_var = torch.tensor(next(state)), torch.tensor(next(state))
            modules.append(made)
        elif kind == "rescaling":
            modules.append(Formula(lambda x, layer=layer: layer.scale * x + layer.offset))
        elif kind == "scale":
            modules.append(Formula(lambda x, s: s * x, next(weights)))
        elif kind == "parametric_activation":
            f = {"tanh": torch.tanh, "mish": torch.nn.functional.mish}[layer.activation]
            modules.append(Formula(lambda x, alpha, f=f: x + alpha * (f(x) - x), next(weights)))
        elif kind == "piecewise_linear":
            modules.append(Formula(lambda x, edges=layer.edges: torch.cat(
                [((x[..., j, None] - e[:-1]) / e.diff()).clamp(0, 1) for j, e in enumerate(map(x.new_tensor, edges))], -1
            )))  # fmt: skip
        elif kind == "periodic_embedding":
            modules.append(Formula(waves, *(next(weights).T for _ in range(2)), next(weights), next(weights).T))
        elif kind == "category_embedding":
            modules.append(Formula(vectors, next(weights).T, counts=layer.n_categories))
        elif kind == "columns":
            inside = [(columns, torch_twin(torch, group, weights, state, training)) for columns, group in layer.groups]
            modules.append(Beside(inside))
        elif kind == "residual":
            inside = torch_twin(torch, layer.layers, weights, state, training)
            shortcut = layer.shortcut and torch_twin(torch, layer.shortcut, weights, state, training)
            modules.append(Around(inside, shortcut))
        elif kind == "flatten":
            modules.append(torch.nn.Flatten())
        elif kind in ("dropout", "alpha_dropout", "gaussian_noise"):
            assert not training, "PyTorch's random numbers are others"
        else:
            assert kind == "reshape", f"write PyTorch's form of {kind} here"
    return torch.nn.Sequential(*modules).double().train(training)


def Formula(f, *arrays, **settings):
    """A module x -> f(x, *parameters), with these arrays as its parameters."""
    import torch

    class Written(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.arrays = torch.nn.ParameterList(torch.tensor(a.copy()) for a in arrays)

        def forward(self, x):
            return f(x, *self.arrays, **settings)

    return Written()


def waves(x, frequency, phase, kernel, bias):
    """PyTorch's form of a `PeriodicEmbedding`; its matrices transposed, as those of a Linear are."""
    import torch

    z = torch.cos(2 * math.pi * x[..., None] * frequency.T + phase.T)
    mixed = torch.einsum("...jf,jkf->...jk", z, kernel) + bias.T
    return torch.cat([x[..., None], mixed], -1).flatten(-2)


def vectors(x, table, counts):
    """PyTorch's form of a `CategoryEmbedding`, its table transposed."""
    import torch

    counts = torch.tensor(counts)
    codes = torch.where((x >= 0) & (x < counts), x, 0).long() + counts.cumsum(0) - counts
    return table.T[codes].flatten(-2) + 0 * x.sum()


def Beside(groups):
    """A module of modules that get columns of their own."""
    import torch

    class Groups(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = torch.nn.ModuleList(module for _, module in groups)

        def forward(self, x):
            taken = zip(groups, self.inside, strict=True)
            return torch.cat([module(x[:, list(columns)]) for (columns, _), module in taken], 1)

    return Groups()


def Around(inside, shortcut=None):
    """A module x -> x + inside(x), or shortcut(x) + inside(x)."""
    import torch

    class Sum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inside, self.shortcut = inside, shortcut

        def forward(self, x):
            return (x if self.shortcut is None else self.shortcut(x)) + self.inside(x)

    return Sum()
