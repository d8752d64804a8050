"""Layers of images and series: PyTorch's numbers at odd sizes, strides, dilations, groups, borders, and what is refused."""

import numpy as np
import pytest
from goldens import from_pytorch

from fastdnn import Model, layers
from fastdnn.optimizers import SGD, Adam

# ---------------------------------------------------------------- against PyTorch

# (layer, shape of a sample, what PyTorch makes of (n, channels, height, width) and weights in our shapes)


def functional():
    import torch

    return torch.nn.functional


def kernels(w):
    """Kernel (height, width, in, out) as PyTorch's (out, in, height, width)."""
    return w.permute(3, 2, 0, 1)


def conv(pads=((0, 0), (0, 0)), act="relu", **settings):
    """PyTorch's convolution with a border as we give it."""

    def compute(x, w):
        F, (rows, columns) = functional(), pads
        y = F.conv2d(F.pad(x, (*columns, *rows)), kernels(w[0]), w[1] if len(w) > 1 else None, **settings)
        return getattr(y, act)() if act else y

    return compute


def depthwise(pads=((0, 0), (0, 0)), **settings):
    def compute(x, w):
        F, (rows, columns) = functional(), pads
        kernel = w[0].flatten(2).permute(2, 0, 1).unsqueeze(1)
        return F.conv2d(F.pad(x, (*columns, *rows)), kernel, w[1], groups=x.shape[1], **settings).tanh()

    return compute


def separable(pads, **settings):
    def compute(x, w):
        F, (rows, columns) = functional(), pads
        kernel = w[0].flatten(2).permute(2, 0, 1).unsqueeze(1)
        y = F.conv2d(F.pad(x, (*columns, *rows)), kernel, groups=x.shape[1], **settings)
        return F.conv2d(y, kernels(w[1]), w[2]).relu()

    return compute


def transposed(act="relu", **settings):
    def compute(x, w):
        y = functional().conv_transpose2d(x, w[0].permute(2, 3, 0, 1), w[1], **settings)
        return getattr(y, act)() if act else y

    return compute


def pooled(how, *args, **settings):
    return lambda x, w: getattr(functional(), how)(x, *args, **settings)


def conv1d(before=0, behind=0, **settings):
    """Series are images of one row."""

    def compute(x, w):
        F = functional()
        y = F.conv1d(F.pad(x[:, :, 0], (before, behind)), w[0].permute(2, 1, 0), w[1], **settings)
        return y.relu().unsqueeze(2)

    return compute


L = layers
ONE = ((1, 1), (1, 1))
TORCH_CASES = [
    (L.Conv2D(4, 3, activation="relu"), (5, 6, 1), conv()),
    (L.Conv2D(16, 3, padding="same", activation="relu"), (5, 6, 16), conv(ONE)),
    (L.Conv2D(10, (5, 3), padding=((2, 1), (0, 2)), activation="tanh"), (7, 9, 3), conv(((2, 1), (0, 2)), "tanh")),
    (L.Conv2D(24, 3, 2, 1, activation="relu"), (9, 8, 6), conv(ONE, stride=2)),
    (L.Conv2D(7, 3, 2, "same"), (8, 9, 5), conv(((0, 1), (1, 1)), "", stride=2)),  # Keras's rule: the odd zero at the end
    (L.Conv2D(24, 3, (2, 3), 1, (2, 1), activation="relu"), (9, 8, 6), conv(ONE, stride=(2, 3), dilation=(2, 1))),
    (L.Conv2D(9, (2, 3), 3, 1, (1, 2), activation="relu"), (9, 8, 6), conv(ONE, stride=3, dilation=(1, 2))),
    (L.Conv2D(8, 3, 2, 3, 3, activation="relu"), (11, 10, 4), conv(((3, 3), (3, 3)), stride=2, dilation=3)),
    (L.Conv2D(9, 3, padding=1, groups=3, activation="relu"), (9, 8, 6), conv(ONE, groups=3)),
    (L.Conv2D(16, 3, 2, 1, groups=16, activation="relu"), (6, 5, 16), conv(ONE, groups=16, stride=2)),
    (L.Conv2D(16, 3, 2, 1, groups=2, activation="tanh"), (9, 8, 32), conv(ONE, "tanh", groups=2, stride=2)),
    (L.Conv2D(6, 2, padding="same", groups=3, activation="tanh", use_bias=False), (5, 5, 3),
     conv(((0, 1), (0, 1)), "tanh", groups=3)),
    (L.Conv2D(32, 1, activation="relu"), (6, 6, 16), conv()),
    (L.Conv2D(5, 1, 2, activation="relu"), (6, 6, 3), conv(stride=2)),
    (L.Conv2D(5, 3, padding="same", activation="relu"), (1, 1, 3), conv(ONE)),
    (L.Conv2D(20, 7, padding="same", use_bias=False), (8, 8, 20), conv(((3, 3), (3, 3)), "")),
    (L.Conv2D(6, 4, padding="same", activation="relu"), (6, 7, 2), conv(((1, 2), (1, 2)))),
    (L.Conv2D(16, 3), (8, 8, 16), conv(act="")),
    (L.Conv2D(3, (1, 7), (1, 2), activation="relu"), (3, 12, 40), conv(stride=(1, 2))),
    (L.Conv1D(6, 4, padding="same", activation="relu"), (11, 3), conv1d(1, 2)),
    (L.Conv1D(18, 3, 2, "causal", activation="relu"), (11, 16), conv1d(2, 0, stride=2)),
    (L.Conv1D(6, 3, 1, (4, 1), 2, 2, activation="relu"), (9, 4), conv1d(4, 1, dilation=2, groups=2)),
    (L.Conv1D(5, 8, 3, activation="relu"), (21, 1), conv1d(stride=3)),
    (L.DepthwiseConv2D(3, activation="tanh"), (5, 6, 3), depthwise()),
    (L.DepthwiseConv2D((5, 3), 2, ((2, 1), (1, 1)), activation="tanh"), (9, 8, 20), depthwise(((2, 1), (1, 1)), stride=2)),
    (L.DepthwiseConv2D(2, 3, activation="tanh"), (9, 12, 20), depthwise(stride=3)),
    (L.DepthwiseConv2D(3, (1, 2), 1, 3, activation="tanh"), (9, 8, 5), depthwise(ONE, stride=(1, 2))),
    (L.DepthwiseConv2D((3, 2), dilation_rate=(2, 3), activation="tanh"), (9, 8, 16), depthwise(dilation=(2, 3))),
    (L.DepthwiseConv2D(7, padding="same", activation="tanh"), (9, 10, 17), depthwise(((3, 3), (3, 3)))),
    (L.SeparableConv2D(20, 3, padding="same", activation="relu"), (9, 9, 16), separable(ONE)),
    (L.SeparableConv2D(20, 3, 2, depth_multiplier=2, activation="relu"), (9, 9, 3), separable(((0, 0), (0, 0)), stride=2)),
    (L.Conv2DTranspose(4, 3, activation="relu"), (5, 6, 3), transposed()),
    (L.Conv2DTranspose(16, 4, 2, 1, activation="relu"), (5, 6, 16), transposed(stride=2, padding=1)),
    (L.Conv2DTranspose(20, 3, 2, 1, 1, activation="tanh"), (4, 3, 7),
     transposed("tanh", stride=2, padding=1, output_padding=1)),
    (L.Conv2DTranspose(9, (2, 3), (3, 2), 0), (3, 4, 5), transposed("", stride=(3, 2))),
    (L.Conv2DTranspose(10, 3, (2, 3), (1, 0), (1, 0), (2, 1), activation="relu"), (5, 4, 6),
     transposed(stride=(2, 3), padding=(1, 0), output_padding=(1, 0), dilation=(2, 1))),
    (L.Conv2DTranspose(3, 2, 3, 0), (4, 4, 8), transposed("", stride=3)),
    (L.MaxPool2D(), (5, 6, 3), pooled("max_pool2d", 2)),
    (L.MaxPool2D(3, 2, 1), (8, 8, 20), pooled("max_pool2d", 3, 2, 1)),
    (L.MaxPool2D((3, 2), 1), (5, 6, 3), pooled("max_pool2d", (3, 2), 1)),
    (L.MaxPool2D(2, 3), (7, 9, 16), pooled("max_pool2d", 2, 3)),
    (L.AvgPool2D(), (7, 9, 20), pooled("avg_pool2d", 2)),
    (L.AvgPool2D(3, 2, 1), (8, 8, 3), pooled("avg_pool2d", 3, 2, 1, count_include_pad=False)),
    (L.MaxPool1D(3, 2), (11, 5), pooled("max_pool2d", (1, 3), (1, 2))),
    (L.AvgPool1D(4), (11, 5), pooled("avg_pool2d", (1, 4))),
    (L.GlobalAvgPool2D(), (5, 6, 3), lambda x, w: x.mean((2, 3), keepdim=True)),
    (L.GlobalMaxPool2D(), (5, 6, 20), lambda x, w: x.amax((2, 3), keepdim=True)),
    (L.GlobalAvgPool1D(), (9, 3), lambda x, w: x.mean((2, 3), keepdim=True)),
    (L.GlobalMaxPool1D(), (9, 3), lambda x, w: x.amax((2, 3), keepdim=True)),
    (L.UpSampling2D((2, 3)), (4, 3, 5), lambda x, w: x.repeat_interleave(2, 2).repeat_interleave(3, 3)),
    (L.ZeroPadding2D(((1, 0), (2, 1))), (4, 3, 20), lambda x, w: functional().pad(x, (2, 1, 1, 0))),
]  # fmt: skip


def in_pytorch(torch, X, y, weights, networks):
    """Loss, scores, gradients of the samples and the weights: `networks` one after the other, then a dense layer."""
    inputs, ws = torch.tensor(X, requires_grad=True), [torch.tensor(w, requires_grad=True) for w in weights]
    z = inputs.permute(0, 3, 1, 2) if X.ndim == 4 else inputs.permute(0, 2, 1).unsqueeze(2)
    used = 0
    for network, count in networks:
        z, used = network(z, ws[used : used + count]), used + count
    scores = z.permute(0, 2, 3, 1).flatten(1) @ ws[-2] + ws[-1]
    loss = 0.5 * ((scores - torch.tensor(y)) ** 2).sum(dim=1).mean()
    loss.backward()
    return loss, scores, inputs.grad, *(w.grad for w in ws)


def same_as_pytorch(name, chain, shape, dtype="float64", n=2):
    """Layers of a chain [(layer, PyTorch's form)] and a dense layer: scores, loss and all gradients."""
    model = Model([*(layer for layer, _ in chain), L.Flatten(), L.Dense(3)], dtype=dtype, random_state=1).build(shape)
    rng = np.random.default_rng(3)
    for view in model.weights.values():
        view[...] = 0.3 * rng.standard_normal(view.shape)
    X, y = rng.standard_normal((n, *shape)), rng.standard_normal((n, 3))
    kept = [w.astype(float) for w in model.weights.values()]
    counts = [sum(key.startswith(f"{i}.") for key in model.weights) for i in range(len(chain))]
    networks = [(network, count) for (_, network), count in zip(chain, counts, strict=True)]
    X = X.astype(dtype).astype(float)
    expected, scores, dx, *gradients = from_pytorch(name, lambda torch: in_pytorch(torch, X, y, kept, networks))
    close = {"rtol": 1e-9, "atol": 1e-11} if dtype == "float64" else {"rtol": 2e-4, "atol": 2e-4 * np.abs(scores).max()}
    X = X.astype(dtype)
    loss, _ = model.loss_and_grad(X, y)
    np.testing.assert_allclose(loss, expected, rtol=close["rtol"])
    np.testing.assert_allclose(model.forward(X), scores, **close)
    np.testing.assert_allclose(model.input_gradient(X, y), dx, **close)
    model.loss_and_grad(X, y)
    for (key, ours), theirs in zip(model.gradients.items(), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, **close, err_msg=key)


PLACES = [(case, first) for case in TORCH_CASES for first in (True, False) if not first or case[0].takes_packed]


@pytest.mark.parametrize(
    ("case", "first"), PLACES, ids=lambda case: f"{case[0]!r} {case[1]}" if isinstance(case, tuple) else ""
)
def test_layer_same_as_pytorch(case, first):
    layer, shape, network = case
    before = [] if first else [(L.Activation("tanh"), lambda x, w: x.tanh())]
    same_as_pytorch(f"windows {layer!r} {shape} {first}", [*before, (layer, network)], shape)


GROUPS = [L.Conv2D(16, 3, padding="same", groups=2, activation=f) for f in ("tanh", "gelu", "relu")]
GROUPS += [L.Conv2D(64, 1, groups=4), L.Conv2D(48, 3, 2, groups=2, activation="elu"), L.Conv2D(24, 3, groups=3)]


@pytest.mark.parametrize("case", [*TORCH_CASES, *((g, (5, 4, 48), None) for g in GROUPS)], ids=lambda c: f"{c[0]!r} {c[1]}")
def test_layer_in_float32(case):
    """Vectors of float32 have twice the lanes: what is written too much goes farther."""
    layer, shape, _ = case
    X = np.random.default_rng(5).standard_normal((5, *shape)).astype("float32")
    found = []
    for dtype in ("float32", "float64"):
        before = L.Dense(shape[-1], activation="tanh", initializer="orthogonal")
        model = Model([before, layer, L.Flatten(), L.Dense(3)], dtype=dtype, random_state=0).build(shape)
        if found:
            model.params = found[0][0]
        loss, gradient = model.loss_and_grad(X.astype(dtype), np.ones((5, 3)))
        found.append((model.params.astype(float), loss, gradient, model.forward(X.astype(dtype))))
    (_, *single), (_, *double) = found
    for a, b in zip(single, double, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4 * np.abs(b).max())


RELU = L.Activation("relu"), lambda x, w: x.relu()
CHAINS = {
    "relu before a stride": [(L.Conv2D(20, 3, padding=1, activation="relu"), conv(ONE)),
                             (L.Conv2D(9, 3, 2, 1, activation="relu"), conv(ONE, stride=2))],
    "tanh before groups": [(L.Conv2D(12, 3, padding=1, activation="tanh"), conv(ONE, "tanh")),
                           (L.Conv2D(9, 3, padding=1, groups=3), conv(ONE, "", groups=3))],
    "relu before max": [(L.Conv2D(8, 3, padding=1, activation="relu"), conv(ONE)), (L.MaxPool2D(), pooled("max_pool2d", 2)),
                        (L.Conv2D(6, 3, activation="relu"), conv())],
    "relu before overlapping max": [(L.Conv2D(8, 3, activation="relu"), conv()),
                                    (L.MaxPool2D(3, 1, 1), pooled("max_pool2d", 3, 1, 1))],
    "relu before mean": [(L.Conv2D(8, 3, activation="relu"), conv()), (L.AvgPool2D(), pooled("avg_pool2d", 2))],
    "gelu before mean": [(L.Conv2D(8, 3, activation="gelu"), lambda x, w: functional().gelu(conv(act="")(x, w))),
                         (L.GlobalAvgPool2D(), lambda x, w: x.mean((2, 3), keepdim=True))],
    "relu before depthwise": [(L.Conv2D(20, 3, padding=1, activation="relu"), conv(ONE)),
                              (L.DepthwiseConv2D(3, 2, 1, activation="tanh"), depthwise(ONE, stride=2))],
    "tanh before depthwise": [(L.Conv2D(20, 3, padding=1, activation="tanh"), conv(ONE, "tanh")),
                              (L.SeparableConv2D(7, 3, padding=1, activation="relu"), separable(ONE))],
    "relu before transposed": [(L.Conv2D(20, 3, 2, 1, activation="relu"), conv(ONE, stride=2)),
                               (L.Conv2DTranspose(9, 4, 2, 1, activation="tanh"), transposed("tanh", stride=2, padding=1))],
    "activation apart": [(L.Conv2D(20, 3, padding=1), conv(ONE, "")), RELU, (L.MaxPool2D(), pooled("max_pool2d", 2)), RELU],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CHAINS)
def test_chain_same_as_pytorch(name, dtype):
    same_as_pytorch(f"windows {name} {dtype}", CHAINS[name], (9, 8, 3), dtype)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("n", [3, 33])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_images_same_as_pytorch(training, n, activation):
    """Per channel over (n, height, width), in training and with running statistics, two of them with what follows."""
    norm = L.BatchNorm(activation=activation)
    stack = [L.Conv2D(20, 3, 2, 1), norm, L.MaxPool2D(), L.Conv2D(6, 3, padding=1), norm, L.GlobalAvgPool2D(), L.Dense(3)]
    model = Model(stack, dtype="float64", random_state=1).build((9, 7, 3))
    rng = np.random.default_rng(n)
    for view in (*model.weights.values(), *model.states.values()):
        view[...] = np.abs(view + 0.3 * rng.standard_normal(view.shape))
    X, y = rng.standard_normal((n, 9, 7, 3)), rng.standard_normal((n, 3))
    kept = [[v.copy() for v in views.values()] for views in (model.weights, model.states)]

    def compute(torch):
        F = torch.nn.functional
        f = {"relu": torch.relu, "tanh": torch.tanh, "gelu": F.gelu}[activation]
        w, (mean, var, mean2, var2) = ([torch.tensor(a) for a in arrays] for arrays in kept)
        for a in w:
            a.requires_grad_()
        z = F.conv2d(torch.tensor(X).permute(0, 3, 1, 2), kernels(w[0]), w[1], 2, 1)
        z = F.max_pool2d(f(F.batch_norm(z, mean, var, w[2], w[3], training)), 2)
        z = F.conv2d(z, kernels(w[4]), w[5], padding=1)
        scores = f(F.batch_norm(z, mean2, var2, w[6], w[7], training)).mean((2, 3)) @ w[8] + w[9]
        loss = 0.5 * ((scores - torch.tensor(y)) ** 2).sum(dim=1).mean()
        loss.backward()
        return loss, *(a.grad for a in w)

    expected, *gradients = from_pytorch(f"batch norm of images {activation} {n} {training}", compute)
    loss, _ = model.loss_and_grad(X, y, training=training)
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    for ours, theirs in zip(model.gradients.values(), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("optimizer", [SGD(0.05), Adam(0.01)], ids=["sgd", "adam"])
def test_ten_steps_as_in_pytorch(optimizer):
    stack = [
        L.Conv2D(12, 3, padding="same", activation="relu"), L.MaxPool2D(), L.SeparableConv2D(20, 3, 2, activation="relu"),
        L.GlobalAvgPool2D(), L.Dense(4),
    ]  # fmt: skip
    model = Model(stack, loss="cross_entropy", optimizer=optimizer, dtype="float64", random_state=0).build((13, 12, 3))
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((10, 13, 12, 3)), rng.integers(0, 4, 10)
    kept = [w.copy() for w in model.weights.values()]

    def compute(torch):
        F, w = torch.nn.functional, [torch.tensor(a, requires_grad=True) for a in kept]
        steps = torch.optim.SGD(w, 0.05) if isinstance(optimizer, SGD) else torch.optim.Adam(w, 0.01)
        for _ in range(10):
            z = F.max_pool2d(F.conv2d(torch.tensor(X).permute(0, 3, 1, 2), kernels(w[0]), w[1], padding=1).relu(), 2)
            z = F.conv2d(z, w[2].flatten(2).permute(2, 0, 1).unsqueeze(1), stride=2, groups=12)
            loss = F.cross_entropy(F.conv2d(z, kernels(w[3]), w[4]).relu().mean((2, 3)) @ w[5] + w[6], torch.tensor(y))
            steps.zero_grad()
            loss.backward()
            steps.step()
        return loss, *w

    expected, *after = from_pytorch(f"ten steps of images {type(optimizer).__name__}", compute)
    for _ in range(10):
        loss = model.train_on_batch(X, y)
    np.testing.assert_allclose(loss, expected, rtol=1e-8)
    for ours, theirs in zip(model.weights.values(), after, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", [{}, {"strides": 2}, {"dilation_rate": 2}, {"use_bias": False}], ids=str)
@pytest.mark.parametrize(("channels", "filters"), [(16, 16), (5, 12), (24, 3), (16, 40)])
def test_narrow_products_give_the_same_numbers(channels, filters, settings, dtype, monkeypatch):
    """Pixels in the lanes, where channels are too few for them: sums in the same order."""
    X, y = np.random.default_rng(0).standard_normal((3, 11, 9, channels)).astype(dtype), np.zeros((3, 2))
    stack = [
        L.Activation("relu"),
        L.Conv2D(filters, (3, 4), padding="same", activation="relu", **settings),
        L.Flatten(),
        L.Dense(2),
    ]
    found = []
    for least in (1, 10**9):
        monkeypatch.setattr("fastdnn.layers.narrow_products.LEAST", least)
        model = Model(stack, dtype=dtype, random_state=0).build(X.shape[1:])
        scores, gradient = model.forward(X), model.loss_and_grad(X, y)[1].copy()
        found.append((scores, gradient, model.input_gradient(X, y)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    for narrow, wide in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_allclose(narrow, wide, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6)
