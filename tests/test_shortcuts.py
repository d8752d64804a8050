"""Residual blocks with a shortcut: the sum of two ways, in training and inference, in pieces, beside PyTorch."""

import numpy as np
import pytest
from goldens import from_pytorch
from test_torch_weights import compare

from fastdnn import Model, layers, optimizers
from fastdnn.saving.plain import from_plain, known_types, to_plain


def basic_block(filters, stride=1, projection=True):
    """The block of a ResNet-18."""
    inside = [
        layers.Conv2D(filters, 3, stride, 1, use_bias=False),
        layers.BatchNorm(momentum=0.1, activation="relu"),
        layers.Conv2D(filters, 3, padding=1, use_bias=False),
        layers.BatchNorm(momentum=0.1),
    ]
    around = [layers.Conv2D(filters, 1, stride, use_bias=False), layers.BatchNorm(momentum=0.1)] if projection else None
    return [layers.Residual(inside, shortcut=around), layers.Activation("relu")]


def resnet(**settings):
    first = layers.Conv2D(6, 3, padding=1, activation="relu")
    blocks = [*basic_block(6, projection=False), *basic_block(8, 2), *basic_block(10, 2)]
    return Model([first, *blocks, layers.GlobalAvgPool2D(), layers.Dense(3)], random_state=0, **settings).build((9, 8, 3))


def images(n, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 9, 8, 3)).astype(dtype), np.arange(n) % 3


INSIDE = {
    "rows": ([layers.Dense(9, "tanh"), layers.Dropout(0.2), layers.Dense(5)], (5,)),
    "images": ([layers.Conv2D(5, 3, padding=1), layers.BatchNorm(), layers.Activation("relu")], (4, 6, 5)),
    "series": ([layers.GRU(5, return_sequences=True), layers.LayerNorm()], (7, 5)),
}


@pytest.mark.parametrize("name", INSIDE)
def test_a_shortcut_that_does_nothing_is_a_plain_block_bit_for_bit(name):
    inside, shape = INSIDE[name]
    rng, found = np.random.default_rng(0), []
    X, y = rng.standard_normal((70, *shape)).astype("float32"), rng.standard_normal((70, *shape[:-1], 3))
    for around in (None, [layers.Activation("identity")], [layers.Dropout(0.0), layers.Activation("identity")]):
        parts = [layers.Dense(5, "relu"), layers.Residual(inside, around), layers.Dense(3)]
        model = Model(parts, random_state=0).build(shape)
        loss, _ = model.loss_and_grad(X, y)
        gradients = [model.gradients[f"1.residual.0.{inside[0].name}.{kind}"].copy() for kind in ("kernel", "bias")]
        found.append([loss, model.forward(X), *gradients])
    for other in found[1:]:
        for a, b in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_inference_is_the_way_forward():
    X, y = images(300)
    model = resnet(loss="cross_entropy")
    model.fit(X, y, epochs=2)
    scores = model.forward(X)
    loss, _ = model.loss_and_grad(X, y, training=False)
    shifted = scores - scores.max(axis=1, keepdims=True)
    expected = (np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(300), y]).mean()
    assert loss == pytest.approx(expected, rel=1e-5)
    for n in (1, 2, 7, 64, 257):
        np.testing.assert_array_equal(model.forward(X[:n]), scores[:n])
    np.testing.assert_allclose(model.freeze("float64").forward(X), scores, atol=1e-5)


def test_batches_in_pieces_are_one_batch():
    X, y = images(96, "float64")
    block = layers.Residual([layers.Conv2D(6, 3, 2, 1, activation="tanh")], shortcut=[layers.Conv2D(6, 1, 2)])
    found = []
    for settings in ({"batch_size": 48}, {"batch_size": 12, "accumulate": 4}):
        vectors = layers.Residual([layers.Dense(7)], shortcut=[layers.Dense(7, "relu")])
        model = Model([block, layers.Flatten(), vectors, layers.Dense(3)], "cross_entropy", dtype="float64", random_state=0)
        model.fit(X, y, epochs=3, **settings)
        found.append(model.params)
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)


def test_a_step_of_a_resnet_is_that_of_pytorch():
    """Loss, parameters and running statistics after two steps of SGD."""
    X, y = images(20, "float64")
    model = resnet(loss="cross_entropy", dtype="float64", optimizer=optimizers.SGD(0.1))
    start = {key: w.copy() for key, w in model.weights.items()}
    losses = [model.train_on_batch(X, y) for _ in range(2)]

    def compute(torch):
        nn, F = torch.nn, torch.nn.functional

        def convolution(key):
            bias = start.get(f"{key}.bias")
            weight = torch.tensor(start[f"{key}.kernel"].transpose(3, 2, 0, 1).copy(), requires_grad=True)
            return weight, None if bias is None else torch.tensor(bias, requires_grad=True)

        tensors = {key: convolution(key) for key in [k.rpartition(".")[0] for k in start if k.endswith("conv2d.kernel")]}
        norms = {k.rpartition(".")[0]: nn.BatchNorm2d(len(w)).double() for k, w in start.items() if k.endswith("gamma")}
        out = nn.Linear(10, 3).double()
        out.weight.data = torch.tensor(start["8.dense.kernel"].T.copy())
        out.bias.data = torch.tensor(start["8.dense.bias"])

        def conv(x, key, stride, padding):
            return F.conv2d(x, *tensors[key], stride=stride, padding=padding)

        def forward(x):
            x = conv(x, "0.conv2d", 1, 1).relu()
            for number, stride in ((1, 1), (3, 2), (5, 2)):
                key = f"{number}.residual"
                z = norms[f"{key}.1.batch_norm"](conv(x, f"{key}.0.conv2d", stride, 1)).relu()
                z = norms[f"{key}.3.batch_norm"](conv(z, f"{key}.2.conv2d", 1, 1))
                if stride > 1:
                    x = norms[f"{key}.shortcut.1.batch_norm"](conv(x, f"{key}.shortcut.0.conv2d", stride, 0))
                x = (x + z).relu()
            return out(x.mean((2, 3)))

        trained = [t for pair in tensors.values() for t in pair if t is not None]
        trained += [p for module in (*norms.values(), out) for p in module.parameters()]
        optimizer, values = torch.optim.SGD(trained, 0.1), []
        for _ in range(2):
            optimizer.zero_grad()
            values.append(F.cross_entropy(forward(torch.tensor(X.transpose(0, 3, 1, 2).copy())), torch.tensor(y)))
            values[-1].backward()
            optimizer.step()
        kernels = [w.permute(2, 3, 1, 0) for w, _ in tensors.values()]
        # The variances that run along are divided by n - 1 in PyTorch.
        statistics = [a for norm in norms.values() for a in (norm.weight, norm.bias, norm.running_mean)]
        return [torch.stack(values), *kernels, *statistics, out.weight.T]

    expected, *theirs = from_pytorch("two steps of a resnet", compute)
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    w = model.weights
    ours = [a for key, a in w.items() if key.endswith("conv2d.kernel")]
    for key in [k.rpartition(".")[0] for k in w if k.endswith("gamma")]:
        ours += [w[f"{key}.gamma"], w[f"{key}.beta"], model.states[f"{key}.mean"]]
    for a, b in zip([*ours, w["8.dense.kernel"]], theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_fit_lowers_the_loss(precision):
    X, y = images(90)
    history = resnet(loss="cross_entropy", dtype=precision).fit(X, y, epochs=12, batch_size=30)
    assert history["loss"][-1] < 0.6 * history["loss"][0]


def test_frozen_ways_need_no_gradient():
    """Parameters of one way, or of both, that do not move: the others' gradients stay what they are."""
    X, y = np.random.default_rng(0).standard_normal((20, 5)), np.zeros((20, 4))
    gradients = {}
    for still in ((), ("inside",), ("around",), ("inside", "around")):
        rates = {name: {"learning_rate_factor": 0.0} if name in still else {} for name in ("inside", "around")}
        inside = [layers.Dense(6, "tanh", **rates["inside"]), layers.Dense(4, **rates["inside"])]
        block = layers.Residual(inside, shortcut=[layers.Dense(4, "tanh", **rates["around"])])
        model = Model([block, layers.Dense(4)], dtype="float64", random_state=0).build(5)
        model.loss_and_grad(X, y)
        gradients[still] = {key: g.copy() for key, g in model.gradients.items()}
    for still, found in gradients.items():
        for key, gradient in found.items():
            way = "around" if ".shortcut." in key else "inside" if ".residual." in key else ""
            if way not in still:
                np.testing.assert_array_equal(gradient, gradients[()][key])


def test_plain_blocks_are_written_as_before():
    plain = layers.Residual([layers.Dense(3)])
    assert to_plain(plain) == {"type": "Residual", "layers": [{"type": "Dense", "units": 3}]}
    assert from_plain(to_plain(plain), known_types()) == plain != layers.Residual([layers.Dense(3)], [layers.Dense(3)])
    keys = [key for key in resnet().weights if ".shortcut." in key]
    assert keys[:2] == ["3.residual.shortcut.0.conv2d.kernel", "3.residual.shortcut.1.batch_norm.gamma"]


def test_a_group_of_columns_with_two_ways():
    block = layers.Residual([layers.Dense(6, "tanh")], shortcut=[layers.Dense(6)])
    table = layers.Columns([((0, 2), [block, layers.Dense(3)]), ((1,), [block])])
    model = Model([table, layers.Dense(2)], dtype="float64", random_state=0).build(3)
    assert table.width == 9
    X, w = np.random.default_rng(0).standard_normal((7, 3)), model.weights
    ways = [
        np.tanh(part @ w[f"0.columns.{i}.residual.0.dense.kernel"])
        + part @ w[f"0.columns.{i}.residual.shortcut.0.dense.kernel"]
        for i, part in ((0, X[:, [0, 2]]), (2, X[:, [1]]))
    ]
    expected = np.hstack([ways[0] @ w["0.columns.1.dense.kernel"], ways[1]]) @ w["1.dense.kernel"]
    np.testing.assert_allclose(model.forward(X), expected, rtol=1e-12)


def test_blocks_of_a_resnet(tmp_path):
    """Torchvision's names, by which modules of the same shapes are told apart; the classifier behind a flattened image."""
    nn = pytest.importorskip("torch").nn

    class Block(nn.Module):
        def __init__(self, n_in, n_out, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
            self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
            self.downsample = None
            if stride > 1:
                self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

        def forward(self, x):
            y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (y + (x if self.downsample is None else self.downsample(x))).relu()

    names = "conv1", "bn1", "relu", "layer1", "layer2", "flatten", "fc"
    modules = [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    modules += [nn.Sequential(Block(4, 4, 1), Block(4, 4, 1)), nn.Sequential(Block(4, 6, 2), Block(6, 6, 1))]
    net = nn.Sequential()
    for name, module in zip(names, [*modules, nn.Flatten(), nn.Linear(54, 5)], strict=True):
        net.add_module(name, module)

    def block(filters, stride):
        inside = [layers.Conv2D(filters, 3, stride, 1, use_bias=False), layers.BatchNorm(activation="relu")]
        inside += [layers.Conv2D(filters, 3, padding=1, use_bias=False), layers.BatchNorm()]
        around = [layers.Conv2D(filters, 1, stride, use_bias=False), layers.BatchNorm()] if stride > 1 else None
        return [layers.Residual(inside, around), layers.Activation("relu")]

    first = layers.Conv2D(4, 3, use_bias=False), layers.BatchNorm(activation="relu")
    ours = [*first, *block(4, 1), *block(4, 1), *block(6, 2), *block(6, 1), layers.Flatten(), layers.Dense(5)]
    compare(net, ours, (7, 8, 3), tmp_path / "m", move=True, names={"1.batch_norm": "bn1"})


def test_two_ways_from_flattened_features(tmp_path):
    nn = pytest.importorskip("torch").nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.shortcut = nn.Sequential(nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 12)), nn.BatchNorm1d(12)

        def forward(self, x):
            return self.shortcut(x) + self.inner(x)

    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), Block(), nn.BatchNorm1d(12), nn.Linear(12, 2))
    block = layers.Residual([layers.Dense(5, activation="tanh"), layers.Dense(12)], shortcut=[layers.BatchNorm()])
    ours = [layers.Conv2D(3, 2), layers.Flatten(), block, layers.BatchNorm(), layers.Dense(2)]
    compare(net, ours, (3, 3, 2), tmp_path / "m", move=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Residual([layers.Dense(3)], []), r"shortcut must be a list of at least one fastdnn layer, got \[\]"),
        (lambda: layers.Residual([layers.Dense(3)], layers.Dense(3)), "shortcut must be a list of at least one"),
        (
            lambda: Model([layers.Residual([layers.Dense(3)], [layers.Dense(4)])]).build(2),
            r"layer 0.residual: .* shape \(3,\) and those of the shortcut \(4,\).* let shortcut=\[...\] give \(3,\)",
        ),
        (
            lambda: Model([layers.Residual([layers.Dense(3)])]).build(2),
            r"shortcut=\[...\] are layers that make it of the input",
        ),
        (
            lambda: Model([layers.Residual([layers.Dense(2)], [layers.Masking()])]).build((3, 2)).forward(np.ones((1, 3, 2))),
            "Masking.* must be the first layer",
        ),
        (
            lambda: Model([layers.Residual([layers.Dense(2)], [layers.Embedding(5, 2)])]).build((3, 2)),
            r"layer 0.residual.shortcut.0, Embedding\(.*: samples must be ids of shape",
        ),
    ],
)
def test_errors_say_what_to_do(make, message):
    with pytest.raises(ValueError, match=message):
        make()
