"""Networks that PyTorch and scikit-learn export, read as models: the same scores, and training goes on as there."""

import io
import logging
import warnings

import numpy as np
import onnx_graphs  # noqa: F401 - which skips all where onnx is missing
import pytest

from fastdnn import Model, layers, losses, optimizers

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
TURNED = {"image": (0, 2, 3, 1), "series": (0, 2, 1), "time first": (1, 0, 2)}


class Network(nn.Module):
    """Modules, and a function of them and the samples."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.function = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.function(self, x)


def block(*modules):
    return Network(lambda s, x: x + s.inside(x), inside=nn.Sequential(*modules))


def last_step(s, x):
    return s.out(s.rnn(x)[0][:, -1])


def last_state(s, x):
    return s.out(s.rnn(x)[1][-1])


def both_states(s, x):
    h = s.rnn(x)[1][0]
    return s.out(torch.cat([h[-2], h[-1]], 1))


def separable(n_in, n_out, stride=1):
    depthwise = nn.Conv2d(n_in, n_in, 3, stride, padding=1, groups=n_in)
    return depthwise, nn.BatchNorm2d(n_in), nn.ReLU6(), nn.Conv2d(n_in, n_out, 1), nn.BatchNorm2d(n_out), nn.Hardswish()


def convolutional():
    first = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*first, nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(72, 5))


def residual():
    def one():
        return block(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1))

    pool = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), one(), nn.ReLU(), one(), *pool)


def basic(n_in, n_out, stride):
    """The block of a ResNet-18, its shortcut a projection where stride or channels change."""
    inside = (
        nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
        nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
        nn.BatchNorm2d(n_out),
    )
    around = nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
    around = nn.Sequential(*around) if (n_in, stride) != (n_out, 1) else nn.Identity()
    return Network(lambda s, x: F.relu(s.inside(x) + s.downsample(x)), inside=nn.Sequential(*inside), downsample=around)


def resnet():
    first = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    blocks = basic(8, 8, 1), basic(8, 12, 2), basic(12, 12, 1), basic(12, 16, 2)
    return nn.Sequential(*first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))


def two_ways():
    """Of vectors, flattened images among them, one way within the other."""
    inner = Network(lambda s, x: s.a(x) + s.b(x), a=nn.Linear(6, 4), b=nn.Sequential(nn.Linear(6, 4), nn.Tanh()))
    images = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Flatten(), nn.ReLU())
    outer = Network(lambda s, x: s.a(x) + s.b(x), a=nn.Sequential(nn.Linear(40, 6), inner), b=nn.Linear(40, 4))
    both = Network(lambda s, x: s.a(x) + s.b(x.flatten(1)), a=images, b=nn.Linear(60, 40))
    return nn.Sequential(both, outer, nn.Linear(4, 3))


def one_dimensional():
    first = (
        nn.Conv1d(3, 8, 5, padding=2),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(8, 8, 3, groups=8),
        nn.GELU(),
    )
    return nn.Sequential(*first, nn.Conv1d(8, 6, 3, dilation=2), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(6, 2))


def pools():
    first = nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1), nn.Conv2d(3, 4, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False)
    return nn.Sequential(
        *first, nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(16, 3)
    )


def autoencoder():
    down = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU()
    up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)
    return nn.Sequential(*down, *up, nn.Conv2d(4, 1, 3, padding=1), nn.Sigmoid())


def generator():
    images = nn.Unflatten(1, (6, 2, 2)), nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1), nn.LeakyReLU(0.2)
    return nn.Sequential(nn.Linear(5, 24), nn.ReLU(), *images, nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(4, 3, 3))


def activations():
    each = nn.ReLU(), nn.LeakyReLU(), nn.LeakyReLU(0.2), nn.ELU(), nn.SELU(), nn.GELU(), nn.SiLU(), nn.Mish(), nn.Tanh()
    more = nn.Sigmoid(), nn.Softplus(), nn.Softsign(), nn.Hardswish(), nn.ReLU6(), nn.Hardsigmoid(), nn.Hardtanh()
    functions = *each, *more, nn.GELU(approximate="tanh"), nn.PReLU(), nn.PReLU(7), nn.Softmax(1)
    return nn.Sequential(*(module for f in functions for module in (nn.Linear(7, 7), f)), nn.Linear(7, 2))


def transformed():
    inside = nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), block(*inside), nn.Linear(8, 2))


def words():
    modules = {"ids": nn.Embedding(11, 6), "conv": nn.Conv1d(6, 8, 3), "out": nn.Linear(8, 2)}
    return Network(lambda s, x: s.out(s.conv(s.ids(x).transpose(1, 2)).relu().max(2)[0]), **modules)


def text():
    modules = {"ids": nn.Embedding(11, 6), "rnn": nn.LSTM(6, 5, batch_first=True), "out": nn.Linear(5, 2)}
    return Network(lambda s, x: s.out(s.rnn(s.ids(x))[1][0][-1]), **modules)


def recurrent(kind, function, both=False, **settings):
    return Network(function, rnn=kind(5, 7, bidirectional=both, **settings), out=nn.Linear(14 if both else 7, 3))


def averaged(s, x):
    return s.out(s.norm(s.rnn(x)[0]).mean(1))


NETWORKS = {  # name -> network, shape of the samples in PyTorch, how ours are turned
    "dense": (lambda: nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 3)), (4, 7), ""),
    "flattened": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(60, 6), nn.BatchNorm1d(6), nn.Linear(6, 4)),
        (4, 3, 4, 5),
        "",
    ),
    "convolutional": (convolutional, (4, 3, 8, 12), "image"),
    "residual": (residual, (4, 3, 8, 8), "image"),
    "projections": (resnet, (4, 3, 16, 16), "image"),
    "two ways": (two_ways, (4, 3, 4, 5), "image"),
    "separable": (
        lambda: nn.Sequential(*separable(3, 6, 2), *separable(6, 8), Network(lambda s, x: x.mean((2, 3))), nn.Linear(8, 3)),
        (4, 3, 16, 16),
        "image",
    ),
    "one-dimensional": (one_dimensional, (4, 3, 40), "series"),
    "pools": (pools, (4, 3, 41, 61), "image"),
    "autoencoder": (autoencoder, (4, 1, 8, 8), "image"),
    "generator": (generator, (4, 5), ""),
    "activations": (activations, (4, 7), ""),
    "layer norm": (transformed, (4, 6), ""),
    "words": (words, (4, 9), "ids"),
    "text": (text, (4, 9), "ids"),
    "lstm": (lambda: recurrent(nn.LSTM, last_step, num_layers=2, batch_first=True), (4, 6, 5), ""),
    "gru": (lambda: recurrent(nn.GRU, last_state, batch_first=True), (4, 6, 5), ""),
    "gru, time first": (lambda: recurrent(nn.GRU, lambda s, x: s.out(s.rnn(x)[0][-1])), (6, 4, 5), "time first"),
    "rnn": (lambda: recurrent(nn.RNN, last_state, nonlinearity="relu", batch_first=True), (4, 6, 5), ""),
    "bidirectional lstm": (lambda: recurrent(nn.LSTM, both_states, True, num_layers=2, batch_first=True), (4, 6, 5), ""),
    "bidirectional gru": (
        lambda: Network(
            averaged, rnn=nn.GRU(5, 7, 2, bidirectional=True, batch_first=True), norm=nn.LayerNorm(14), out=nn.Linear(14, 3)
        ),
        (4, 6, 5),
        "",
    ),
}


def made(name):
    """(network in inference, samples), random all over."""
    torch.manual_seed(3)
    make, shape, kind = NETWORKS[name]
    net = make().eval()
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return net, torch.randint(0, 11, shape) if kind == "ids" else torch.randn(shape)


def exported(net, x, **settings):
    """What torch.onnx.export writes, by TorchScript; the number of samples is left open."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = settings.pop("dynamic_axes", {"x": {0: "n"}})
        torch.onnx.export(net, (x,), file, dynamo=False, input_names=["x"], dynamic_axes=axes, **settings)
    return file.getvalue()


def turned(array, kind):
    """Samples, or images as results, with their channels last."""
    array = array.detach().numpy()
    kind = "image" if array.ndim == 4 and kind != "" else kind
    return array.transpose(TURNED[kind]) if kind in TURNED and array.ndim == len(TURNED[kind]) else array


def same(model, net, x, kind):
    expected = turned(net(x), "image" if len(net(x).shape) == 4 else "")
    np.testing.assert_allclose(model.predict(turned(x, kind)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_pytorch(name, opset):
    net, x = made(name)
    kind = NETWORKS[name][2]
    axes = {"x": {1 if kind == "time first" else 0: "n"}}
    same(Model.from_onnx(exported(net, x, opset_version=opset, dynamic_axes=axes)), net, x, kind)
    if opset == 18:  # the number of samples fixed, nothing folded
        same(Model.from_onnx(exported(net, x, dynamic_axes=None, do_constant_folding=False)), net, x, kind)


@pytest.mark.parametrize("name", ["convolutional", "projections", "layer norm", "bidirectional gru"])
def test_the_newer_exporter_of_pytorch(name, tmp_path):
    net, x = made(name)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            shapes = ({0: torch.export.Dim("n")},)
            program = torch.onnx.export(net, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False)
            program.save(tmp_path / "m.onnx", external_data=False)
        finally:
            logging.disable(logging.NOTSET)
    for model in (program.model_proto, tmp_path / "m.onnx"):
        same(Model.from_onnx(model), net, x, NETWORKS[name][2])


def test_batch_norm_stays_a_layer_where_the_exporter_leaves_it():
    net, x = made("residual")
    data = exported(net, x, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    model = Model.from_onnx(data)
    same(model, net, x, "image")
    inside = [type(layer) for layer in model.layers[1].layers]
    assert inside == [layers.Conv2D, layers.BatchNorm, layers.Conv2D]
    assert model.layers[1].layers[1] == layers.BatchNorm(activation="relu")


def test_a_projection_is_a_shortcut():
    net, x = made("projections")
    data = exported(net, x, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    for model in (Model.from_onnx(data), Model.from_onnx(exported(net, x))):
        same(model, net, x, "image")
        blocks = [layer for layer in model.layers if isinstance(layer, layers.Residual)]
        assert [block.shortcut is None for block in blocks] == [True, False, True, False]
        assert [layer.strides for layer in blocks[1].shortcut[:1]] == [(2, 2)]
        assert blocks[1].shortcut[0].kernel_size == (1, 1)
        assert len(blocks[1].layers) in (2, 4)


def test_activations_are_told_by_their_values():
    net, x = made("activations")
    model = Model.from_onnx(exported(net, x, opset_version=13))
    found = [getattr(layer, "activation", None) for layer in model.layers]
    names = "relu leaky_relu elu selu gelu gelu_tanh silu mish tanh logistic softplus hard_swish"
    assert {*names.split()} <= {*found}
    assert layers.PReLU() in model.layers
    alpha = next(w for key, w in model.weights.items() if key.endswith("alpha"))
    np.testing.assert_allclose(alpha, 0.8, rtol=1e-6)  # leaky, of slope 0.2


# ---------------------------------------------------------------- training goes on

TRAINED = [
    "dense",
    "convolutional",
    "residual",
    "projections",
    "two ways",
    "layer norm",
    "text",
    "lstm",
    "gru",
    "bidirectional lstm",
    "bidirectional gru",
]


def alike(net):
    """Make what is trained in PyTorch what is trained here: no batch norm, which is folded; one bias of an LSTM, not two."""
    for name, module in list(net.named_children()):
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(net, name, nn.Identity())
        elif isinstance(module, nn.LSTM):
            for weight in (w for key, w in module.named_parameters() if key.startswith("bias_hh")):
                weight.requires_grad_(False)
        alike(module)


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_is_that_of_pytorch(name):
    """The parameters after a step of SGD are those of the network after the same step there, read as a model."""
    net, x = made(name)
    alike(net)
    x, kind = torch.cat([x, x.flip(0)]), NETWORKS[name][2]
    y = torch.arange(len(x)) % net(x).shape[1]
    model = Model.from_onnx(exported(net, x), loss="cross_entropy", optimizer=optimizers.SGD(0.2))
    before = model.params.copy()
    loss = model.train_on_batch(turned(x, kind), y.numpy())
    optimizer = torch.optim.SGD(net.parameters(), 0.2)
    theirs = F.cross_entropy(net(x), y)
    theirs.backward()
    optimizer.step()
    assert abs(loss - theirs.item()) < 1e-5
    after = Model.from_onnx(exported(net, x), loss="cross_entropy")
    np.testing.assert_allclose(model.params, after.params, rtol=0, atol=2e-6)
    assert np.abs(model.params - before).max() > 1e-3


@pytest.mark.parametrize("name", ["convolutional", "projections", "separable", "bidirectional gru", "words"])
def test_a_fit_lowers_the_loss(name):
    net, x = made(name)
    rng, kind = np.random.default_rng(0), NETWORKS[name][2]
    x = torch.randint(0, 11, (64, *x.shape[1:])) if kind == "ids" else torch.randn(64, *x.shape[1:])
    y = rng.integers(0, 2, 64)
    model = Model.from_onnx(exported(net, x), loss="cross_entropy", optimizer=optimizers.Adam(0.003), random_state=0)
    history = model.fit(turned(x, kind), y, epochs=8, batch_size=16)
    assert history["loss"][-1] < 0.9 * history["loss"][0]


# ---------------------------------------------------------------- scikit-learn

X = np.random.default_rng(0).standard_normal((60, 4)).astype("float32") * [1, 5, 20, 0.1] + [3, -2, 50, 0]
CLASSES = np.arange(60) % 3


def sklearn_models():
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    rules = {"hidden_layer_sizes": (6, 5), "max_iter": 15, "random_state": 0, "tol": 0}
    return {
        "two classes": (MLPClassifier(**rules), (X[:, 0] > 3) * 1, losses.CrossEntropy),
        "classes": (make_pipeline(StandardScaler(), MLPClassifier(activation="tanh", **rules)), CLASSES, losses.CrossEntropy),
        "labels": (MLPClassifier(activation="logistic", **rules), (X[:, :2] > X[:, :2].mean(0)) * 1, losses.LogLoss),
        "texts": (MLPClassifier(**rules), np.array(["a", "b", "c"])[CLASSES], losses.CrossEntropy),
        "number": (make_pipeline(MinMaxScaler(), MLPRegressor(**rules)), X[:, 0], losses.SquaredError),
        "numbers": (
            make_pipeline(RobustScaler(), MLPRegressor(activation="identity", **rules)),
            X[:, :2],
            losses.SquaredError,
        ),
        "scaled": (make_pipeline(MaxAbsScaler(), MLPRegressor(**rules)), X[:, 0], losses.SquaredError),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["two classes", "classes", "labels", "texts", "number", "numbers", "scaled"])
def test_networks_of_scikit_learn(name, dtype):
    to_onnx = pytest.importorskip("skl2onnx").to_onnx
    theirs, y, loss = sklearn_models()[name]
    samples = X.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        theirs.fit(samples, y)
        proto = to_onnx(theirs, samples[:1])
    model = Model.from_onnx(proto, dtype=dtype, random_state=0)
    expected = theirs.predict_proba(samples) if hasattr(theirs, "predict_proba") else theirs.predict(samples)
    assert type(model.loss) is loss
    np.testing.assert_allclose(model.predict(samples).reshape(expected.shape), expected, rtol=1e-5, atol=1e-5)
    frozen = [w.copy() for key, w in model.weights.items() if "depthwise" in key or "scale" in key]
    targets = np.unique(y, return_inverse=True)[1] if loss is losses.CrossEntropy else y
    history = model.fit(samples, targets, epochs=10, batch_size=20)
    assert history["loss"][-1] < history["loss"][0]
    after = [w for key, w in model.weights.items() if "depthwise" in key or "scale" in key]
    assert all((a == b).all() for a, b in zip(frozen, after, strict=True))  # a scaler is not trained
