"""Weights of a PyTorch state_dict, a safetensors file, find their layers; what does not fit changes nothing."""

import itertools
import json
import struct

import numpy as np
import pytest

from fastdnn import Model, ModelFormatError, layers, optimizers
from fastdnn.layers.base import Parameter

RNG = np.random.default_rng(0)
NAMES = {np.dtype(code): name for name, code in {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "U8": "u1"}.items()}


def entries(tensors, kinds=()):
    """(header, payload) of a safetensors file; kinds : dtype names of some tensors other than their arrays'."""
    header, payload = {}, b""
    for name, array in tensors.items():
        data = np.ascontiguousarray(array).tobytes()
        kind = dict(kinds).get(name, NAMES[array.dtype])
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(payload), len(payload) + len(data)]}
        payload += data
    return header, payload


def written(path, header, payload):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)
    return path


def save(path, tensors, kinds=()):
    """Write tensors as the safetensors library does: sorted by name."""
    return written(path, *entries(dict(sorted(tensors.items())), kinds))


def linear(name, n_in, n_out, dtype="f4"):
    dot = f"{name}." if name else ""
    return {f"{dot}weight": normal(n_out, n_in, dtype=dtype), f"{dot}bias": normal(n_out, dtype=dtype)}


def normal(*shape, dtype="f4"):
    return RNG.standard_normal(shape).astype(dtype)


def mlp(*more, **settings):
    return Model([layers.Dense(5, activation="tanh"), *more, layers.Dense(3)], **settings).build(4)


TWO = linear("0", 4, 5) | linear("2", 5, 3)


@pytest.fixture
def two(tmp_path):
    return save(tmp_path / "two.safetensors", TWO)


def refused(model, path, match=None, error=ModelFormatError, **settings):
    """The file is refused with a message, and the model is as before."""
    params, state = model.params.copy(), model.state.copy()
    with pytest.raises(error, match=match) as caught:
        model.load_weights(path, **{"layout": "torch", **settings})
    np.testing.assert_array_equal(model.params, params)
    np.testing.assert_array_equal(model.state, state)
    return str(caught.value)


# ---------------------------------------------------------------- what goes where


def test_dense(two):
    model = mlp()
    assert model.load_weights(two, layout="torch") is model
    for key, name in {"0.dense": "0", "1.dense": "2"}.items():
        np.testing.assert_array_equal(model.weights[f"{key}.kernel"], TWO[f"{name}.weight"].T)
        np.testing.assert_array_equal(model.weights[f"{key}.bias"], TWO[f"{name}.bias"])
    assert not model.params[model.layout.padding()].any()


def test_numbers_are_sorted_as_numbers(tmp_path):
    tensors = {k: v for i in range(12) for k, v in linear(str(i), 4, 4).items()}
    model = Model([layers.Dense(4) for _ in range(12)]).build(4).load_weights(save(tmp_path / "m", tensors), layout="torch")
    for i in range(12):
        np.testing.assert_array_equal(model.weights[f"{i}.dense.kernel"], tensors[f"{i}.weight"].T)


def test_a_single_module_without_a_name(tmp_path):
    tensors = linear("", 4, 3)
    model = Model([layers.Dense(3)]).build(4).load_weights(save(tmp_path / "m", tensors), layout="torch")
    np.testing.assert_array_equal(model.weights["0.dense.bias"], tensors["bias"])


def test_vectors(tmp_path):
    tensors = linear("0", 4, 5) | linear("4", 5, 3)
    tensors |= {f"1.{name}": normal(5) for name in ("weight", "bias", "running_mean", "running_var")}
    tensors |= {"1.num_batches_tracked": np.array(7), "2.weight": normal(5), "2.bias": normal(5), "3.weight": normal(1)}
    model = mlp(layers.BatchNorm(), layers.LayerNorm(), layers.PReLU())
    model.load_weights(save(tmp_path / "m", tensors), layout="torch")
    found = model.weights | model.states
    same = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
    for ours, name in same.items():
        np.testing.assert_array_equal(found[f"1.batch_norm.{ours}"], tensors[f"1.{name}"])
    np.testing.assert_array_equal(found["2.layer_norm.beta"], tensors["2.bias"])
    np.testing.assert_array_equal(found["3.prelu.slope"], np.repeat(tensors["3.weight"], 5))


def test_kernels(tmp_path):
    def loaded(layer, shape, **tensors):
        model = Model([layer]).build(shape).load_weights(save(tmp_path / "m", tensors), layout="torch")
        return [w for key, w in model.weights.items() if not key.endswith("bias")]

    w, b = normal(6, 2, 3, 5), normal(6)
    (kernel,) = loaded(layers.Conv2D(6, (3, 5), groups=2), (8, 8, 4), weight=w, bias=b)
    np.testing.assert_array_equal(kernel, w.transpose(2, 3, 1, 0))
    w = normal(6, 4, 3)
    (kernel,) = loaded(layers.Conv1D(6, 3, use_bias=False), (8, 4), weight=w)
    np.testing.assert_array_equal(kernel, w.transpose(2, 1, 0))
    w = normal(8, 1, 3, 2)
    (kernel,) = loaded(layers.DepthwiseConv2D((3, 2), depth_multiplier=2, use_bias=False), (8, 8, 4), weight=w)
    for c, m in itertools.product(range(4), range(2)):
        np.testing.assert_array_equal(kernel[..., c, m], w[2 * c + m, 0])
    w = normal(4, 6, 3, 2)
    (kernel,) = loaded(layers.Conv2DTranspose(6, (3, 2), use_bias=False), (8, 8, 4), weight=w)
    np.testing.assert_array_equal(kernel, w.transpose(2, 3, 0, 1))
    tensors = {"0.weight": normal(4, 1, 3, 3), "1.weight": normal(6, 4, 1, 1), "1.bias": b}
    depthwise, pointwise = loaded(layers.SeparableConv2D(6, 3), (8, 8, 4), **tensors)
    np.testing.assert_array_equal(depthwise[..., 0], tensors["0.weight"][:, 0].transpose(1, 2, 0))
    np.testing.assert_array_equal(pointwise[0, 0], tensors["1.weight"][:, :, 0, 0].T)


FLATTENED = [  # layers up to the flattened sample, its shape in front, whether PyTorch has the channels in front
    ([], (2, 3, 4), True),
    ([], (5, 4), False),
    ([layers.Activation("relu"), layers.MaxPool1D(1)], (5, 4), True),
    ([], (1, 1, 4), True),
    ([layers.LayerNorm()], (2, 3, 4), False),
    ([layers.Reshape((6, 4))], (2, 3, 4), True),
]


@pytest.mark.parametrize("number", range(len(FLATTENED)))
@pytest.mark.parametrize("flatten", [layers.Flatten(), layers.Reshape(-1)])
def test_rows_behind_a_flatten(number, flatten, tmp_path):
    before, shape, leads = FLATTENED[number]
    n = int(np.prod(shape))
    tensors = linear("8", n, 3) | {f"5.{name}": normal(n) for name in ("weight", "bias")}
    tensors |= {f"1.{name}": normal(4) for name in ("weight", "bias") if layers.LayerNorm() in before}
    after = [layers.LayerNorm(), layers.Activation("relu"), layers.Dropout(0.5), layers.Dense(3)]
    model = Model([*before, flatten, *after]).build(shape).load_weights(save(tmp_path / "m", tensors), layout="torch")
    order = np.moveaxis(np.arange(n).reshape(shape[-1], *shape[:-1]), 0, -1).ravel() if leads else np.arange(n)
    *_, gamma, _, kernel, bias = model.weights.values()
    np.testing.assert_array_equal(gamma, tensors["5.weight"][order])
    np.testing.assert_array_equal(kernel, tensors["8.weight"].T[order])
    np.testing.assert_array_equal(bias, tensors["8.bias"])


def test_columns_before_an_image(tmp_path):
    tensors = linear("0", 4, 12)
    model = Model([layers.Dense(12), layers.Activation("relu"), layers.Reshape((2, 2, 3))]).build(4)
    model.load_weights(save(tmp_path / "m", tensors), layout="torch")
    ours = model.forward(np.eye(4))
    theirs = np.maximum(np.eye(4) @ tensors["0.weight"].T + tensors["0.bias"], 0).reshape(4, 3, 2, 2)
    np.testing.assert_allclose(ours, theirs.transpose(0, 2, 3, 1), rtol=1e-6)


def test_orders_that_do_not_fit(tmp_path):
    path = save(tmp_path / "m", linear("0", 12, 3))
    mixing = Model([layers.Reshape((3, 2, 2)), layers.Flatten(), layers.Dense(3)]).build((2, 2, 3))
    refused(mixing, path, "mixes channels and places", ValueError)
    twice = Model([layers.Flatten(), layers.Reshape((3, 2, 2)), layers.Flatten(), layers.Dense(3)]).build((2, 2, 3))
    refused(twice, path, "flattened in ways", ValueError)


@pytest.mark.parametrize("kind", ["F64", "F32", "F16", "BF16"])
def test_float_types(kind, tmp_path):
    values = np.array([[1.5, -2.0, 0.25, np.nan], [np.inf, 0.0, 3.0, -np.inf]], "f4")  # the same in all of them
    arrays = {"F64": values.astype("f8"), "F32": values, "F16": values.astype("f2")}
    raw = arrays[kind] if kind in arrays else (values.view("u4") >> 16).astype("u2").view("f2")
    path = save(tmp_path / "m", {"weight": raw}, {"weight": kind})
    for dtype in ("float32", "float64"):
        model = Model([layers.Dense(2, use_bias=False)], dtype=dtype).build(4).load_weights(path, layout="torch")
        np.testing.assert_array_equal(model.weights["0.dense.kernel"], values.T)


def test_numbers_that_are_too_large(tmp_path):
    path = save(tmp_path / "m", {"weight": np.full((2, 4), 1e300)})
    refused(Model([layers.Dense(2, use_bias=False)]).build(4), path, "'weight' has numbers too large for float32")
    Model([layers.Dense(2, use_bias=False)], dtype="float64").build(4).load_weights(path, layout="torch")


def test_the_library_reads_and_writes_the_same(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file({**TWO, "count": np.array([1])}, tmp_path / "theirs")
    model = mlp().load_weights(tmp_path / "theirs", layout="torch")
    np.testing.assert_array_equal(model.weights["1.dense.bias"], TWO["2.bias"])
    for name, array in safetensors.load_file(save(tmp_path / "ours", TWO)).items():
        np.testing.assert_array_equal(array, TWO[name])


# ---------------------------------------------------------------- which module is which layer


def test_kinds_and_shapes_say_what_names_do_not(tmp_path):
    tensors = linear("fc", 5, 3) | linear("Encoder", 4, 5) | {f"a_norm.{n}": normal(5) for n in ("weight", "bias")}
    model = mlp(layers.LayerNorm()).load_weights(save(tmp_path / "m", tensors), layout="torch")
    np.testing.assert_array_equal(model.weights["2.dense.bias"], tensors["fc.bias"])
    np.testing.assert_array_equal(model.weights["1.layer_norm.gamma"], tensors["a_norm.weight"])


def test_modules_that_are_alike_need_names(tmp_path):
    tensors = linear("encoder", 4, 4) | linear("decoder", 4, 4)
    path, model = save(tmp_path / "m", tensors), Model([layers.Dense(4), layers.Dense(4)]).build(4)
    assert "'0.dense': ..., '1.dense': ..." in refused(model, path, "does not say whether 'decoder' or 'encoder'")
    model.load_weights(path, layout="torch", names={"0.dense": "encoder"})
    np.testing.assert_array_equal(model.weights["0.dense.bias"], tensors["encoder.bias"])
    np.testing.assert_array_equal(model.weights["1.dense.bias"], tensors["decoder.bias"])


def test_numbers_against_the_order_of_the_layers(tmp_path):
    path, model = save(tmp_path / "m", linear("3", 4, 5) | linear("1", 5, 3)), mlp()
    refused(model, path, r"the layer 1.dense is '1', and one before it is '3'.*names=\{'1.dense': '1'\}")
    model.load_weights(path, layout="torch", names={"1.dense": "1"})


def test_names_of_a_layer_with_two_modules(tmp_path):
    tensors = {"b.weight": normal(4, 1, 3, 3), "a.weight": normal(6, 4, 1, 1), "a.bias": normal(6)}
    path, model = save(tmp_path / "m", tensors), Model([layers.SeparableConv2D(6, 3)]).build((8, 8, 4))
    model.load_weights(path, layout="torch", names={"0.separable_conv2d": ["b", "a"]})
    np.testing.assert_array_equal(model.weights["0.separable_conv2d.bias"], tensors["a.bias"])
    refused(model, path, r"2 name\(s\)", ValueError, names={"0.separable_conv2d": "b"})


def test_names_that_do_not_fit(two):
    for names, match in [
        ([("0.dense", "0")], "names must be a dict"),
        ({"0.conv2d": "0"}, "'0.conv2d', which is no layer with weights of this model; it has '0.dense', '1.dense'"),
        ({"0.dense": "7"}, "the module '7'; the file has '0', '2'"),
        ({"0.dense": 0}, r"1 name\(s\)"),
        ({"0.dense": [[]]}, "the module"),
    ]:
        refused(mlp(), two, match, ValueError, names=names)


def test_what_does_not_fit_the_model(tmp_path):
    def check(change, match):
        tensors = dict(TWO)
        change(tensors)
        message = refused(mlp(), save(tmp_path / "m.safetensors", tensors), match)
        assert message.startswith(repr(str(tmp_path / "m.safetensors")))

    check(lambda t: t.pop("2.bias"), r"lacks '2.bias' of shape \(3,\) for the layer 1.dense; a layer .* use_bias=False")
    check(lambda t: t.pop("0.weight"), "the layer 0.dense takes a module with weight .* not taken .*'0.bias'")
    check(lambda t: t.update({"2.bias": normal(4)}), r"'2.bias' must have shape \(3,\) for the layer 1.dense, got \(4,\)")
    check(lambda t: t.update({"2.weight": normal(4, 5)}), r"the layer 1.dense takes .*\(3, 5\).*'2.weight' \(4, 5\)")
    check(lambda t: t.update({"0.extra": normal(2)}), r"no layer of the model takes '0.extra' \(2,\)")
    check(lambda t: t.update(linear("head", 3, 2)), "no layer .* 'head.bias' .*'head.weight'|'head.weight' .*'head.bias'")
    check(lambda t: t.update({f"x{i}": normal(1) for i in range(9)}), "'x4' .* and 4 more")
    check(lambda t: t.clear(), "there is none like it left in the file; not taken by the layers before: none")


def test_layers_that_pytorch_has_not(two):
    class Shifted(layers.Layer):
        def parameters(self, input_shape):
            return [Parameter("bias", input_shape[-1:], "zeros", decays=False)]

    class Scaled(layers.Dense):
        def parameters(self, input_shape):
            return [*super().parameters(input_shape), Parameter("scale", (self.units,), "ones", decays=False)]

    class Twice(layers.Dense):
        def parameters(self, input_shape):
            return [*super().parameters(input_shape), Parameter("more", (3, self.units), "ones", decays=False)]

    for layer in (Shifted(), Scaled(5), Twice(5)):
        refused(mlp(layer), two, f"nothing is known of PyTorch's module for the layer 1.{layer.name}", ValueError)


# ---------------------------------------------------------------- what depends on the weights


def test_training_goes_on_from_them(two):
    x, y = normal(40, 4), normal(40, 3)
    model = mlp(optimizer=optimizers.Adam(0.01, average=0.9))
    model.fit(x, y, epochs=2)
    model.load_weights(two, layout="torch")
    np.testing.assert_array_equal(model.averaged, model.params)
    model.optimizer = "schedule_free_adamw"
    model.fit(x, y, epochs=2)
    model.load_weights(two, layout="torch")
    z, _, left = model.moments.reshape(3, -1)
    np.testing.assert_array_equal(z, model.params)
    np.testing.assert_array_equal(left, model.params)
    expected = np.tanh(x @ TWO["0.weight"].T + TWO["0.bias"]) @ TWO["2.weight"].T + TWO["2.bias"]
    np.testing.assert_allclose(model.forward(x), expected, rtol=1e-4, atol=1e-5)
    assert model.fit(x, y, epochs=20)["loss"][-1] < model.loss_and_grad(x, y)[0] * 2


def test_arguments(two, tmp_path):
    refused(mlp(), two, "layout must be one of", ValueError, layout="keras")
    refused(mlp(), two, "names is for layout='torch'", ValueError, layout="fastdnn", names={})
    refused(mlp(), 3, "path must be", ValueError)
    refused(mlp(), tmp_path, "is not a file")
    refused(mlp(), tmp_path / "none", error=FileNotFoundError)
    with pytest.raises(ValueError, match="no parameters yet"):
        Model([layers.Dense(3)]).load_weights(two, layout="torch")


# ---------------------------------------------------------------- PyTorch


def compare(net, ours, shape, path, move=None, names=None):
    """Outputs of PyTorch's network, its running statistics and weights being drawn, and of ours with its weights."""
    torch = pytest.importorskip("torch")
    net, x = net.double(), np.random.default_rng(1).standard_normal((7, *shape))
    theirs = torch.tensor(x if move is None else np.moveaxis(x, -1, 1).copy())
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.tensor(normal(*p.shape, dtype="f8")))
        net.train()(2 * theirs + 1)
        expected = net.eval()(theirs).numpy()
    save(path, {name: t.numpy() for name, t in net.state_dict().items()})
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-6)):
        model = Model(ours, dtype=dtype).build(shape).load_weights(path, layout="torch", names=names)
        found = model.forward(x.astype(dtype))
        found = np.moveaxis(found, -1, 1) if found.ndim > 2 and move else found
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_a_multi_layer_perceptron(tmp_path):
    nn = pytest.importorskip("torch").nn
    net = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.PReLU(), nn.Linear(8, 8), nn.LayerNorm(8), nn.PReLU(8),
        nn.Linear(8, 8, bias=False),
    )  # fmt: skip
    ours = [layers.Dense(8), layers.BatchNorm(), layers.PReLU(), layers.Dense(8), layers.LayerNorm(), layers.PReLU()]
    compare(net, [*ours, layers.Dense(8, use_bias=False)], (6,), tmp_path / "m")


def test_a_network_of_images(tmp_path):
    nn = pytest.importorskip("torch").nn
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3, groups=2),
        nn.Flatten(), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 5),
    )  # fmt: skip
    ours = [
        layers.Conv2D(8, 3, padding=1), layers.BatchNorm(), layers.Activation("relu"), layers.MaxPool2D(2),
        layers.Conv2D(4, 3, groups=2), layers.Flatten(), layers.BatchNorm(), layers.Activation("relu"), layers.Dropout(0.5),
        layers.Dense(5, activation="relu"), layers.Dense(5),
    ]  # fmt: skip
    compare(net, ours, (9, 8, 3), tmp_path / "m", move=True)


def test_depthwise_and_transposed(tmp_path):
    nn = pytest.importorskip("torch").nn
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(6, 6, 3, groups=6, bias=False), nn.Conv2d(6, 4, 1),
        nn.ConvTranspose2d(4, 4, (3, 2), stride=2),
    )  # fmt: skip
    ours = [layers.DepthwiseConv2D(3, depth_multiplier=2), layers.SeparableConv2D(4, 3)]
    compare(net, [*ours, layers.Conv2DTranspose(4, (3, 2), 2)], (7, 8, 3), tmp_path / "m", move=True)


def test_series_and_images_of_vectors(tmp_path):
    nn = pytest.importorskip("torch").nn
    net = nn.Sequential(
        nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 12), nn.Unflatten(1, (3, 2, 2)), nn.Conv2d(3, 2, 2)
    )
    ours = [layers.Conv1D(4, 3), layers.Activation("relu"), layers.Flatten(), layers.Dense(12), layers.Reshape((2, 2, 3))]
    compare(net, [*ours, layers.Conv2D(2, 2)], (8, 3), tmp_path / "m", move=True)


def test_a_flattened_image_of_one_channel(tmp_path):
    nn = pytest.importorskip("torch").nn
    net = nn.Sequential(nn.Flatten(), nn.Linear(20, 3))
    compare(net, [layers.Flatten(), layers.Dense(3)], (5, 4), tmp_path / "m")


def test_a_skip_around_flattened_features(tmp_path):
    nn = pytest.importorskip("torch").nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 12))

        def forward(self, x):
            return x + self.inner(x)

    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), Block(), nn.BatchNorm1d(12), nn.Linear(12, 2))
    block = layers.Residual([layers.Dense(5, activation="tanh"), layers.Dense(12)])
    ours = [layers.Conv2D(3, 2), layers.Flatten(), block, layers.BatchNorm(), layers.Dense(2)]
    compare(net, ours, (3, 3, 2), tmp_path / "m", move=True)
