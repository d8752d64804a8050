"""Networks without some of their neurons, channels and units: what is left computes what it did, and is smaller."""

import numpy as np
import pytest

from fastdnn import Model, compress, layers, optimizers
from fastdnn.compress.importance import by_loss, by_values, by_weights, moments_of
from fastdnn.compress.units import find_units

L = layers
NETS = {  # name: (layers, shape of a sample, units that may go)
    "dense": ([L.Dense(16, "relu"), L.Dropout(0.3), L.Dense(12, "tanh"), L.PReLU(), L.Dense(3)], (5,), [16, 12]),
    "norm": (
        [L.Dense(16, use_bias=False), L.BatchNorm(activation="relu"), L.LayerNorm(), L.Scale(), L.Dense(3)], (5,), [16],
    ),
    "images": (
        [
            L.Conv2D(8, 3, padding="same", use_bias=False), L.BatchNorm(activation="relu"), L.MaxPool2D(), L.Conv2D(12, 3),
            L.Activation("relu"), L.Flatten(), L.Dense(16), L.ParametricActivation("relu"), L.Dense(3),
        ],
        (10, 10, 2), [8, 12, 16],
    ),
    "depthwise": (
        [
            L.Conv2D(8, 3), L.DepthwiseConv2D(3, depth_multiplier=2), L.SeparableConv2D(8, 3, depth_multiplier=3),
            L.UpSampling2D(2), L.Conv2DTranspose(8, 3), L.GlobalAvgPool2D(), L.Dense(3),
        ],
        (10, 10, 2), [8, 8, 8],
    ),
    "sequences": (
        [
            L.LSTM(8, return_sequences=True, dropout=0.1), L.GRU(12, return_sequences=True),
            L.Bidirectional(L.LSTM(8, return_sequences=True)), L.Bidirectional(L.SimpleRNN(8), merge="sum"), L.Dense(3),
        ],
        (6, 4), [8, 12, 8, 8],
    ),
    "series": ([L.Conv1D(8, 3), L.MaxPool1D(), L.Conv1D(8, 2), L.GlobalMaxPool1D(), L.Dense(2)], (12, 3), [8, 8]),
    "residual": (
        [
            L.Dense(8), L.Residual([L.Dense(16, "relu"), L.Dense(12), L.Residual([L.Dense(20), L.Dense(12)]), L.Dense(8)]),
            L.Dense(8), L.Dense(2),
        ],
        (5,), [16, 20, 8],
    ),
    "two ways": (
        [
            L.Conv2D(8, 3, activation="relu"), L.Conv2D(8, 3),
            L.Residual(
                [L.Conv2D(12, 3, 2, 1), L.BatchNorm(activation="relu"), L.Conv2D(10, 3, padding=1)],
                shortcut=[L.Conv2D(16, 1, 2), L.BatchNorm(), L.Conv2D(10, 1)],
            ),
            L.Conv2D(8, 3), L.GlobalAvgPool2D(), L.Dense(2),
        ],
        (10, 10, 2), [8, 12, 16, 8],
    ),
    "steps": ([L.Dense(12, "relu"), L.Dense(4)], (7, 3), [12]),
}  # fmt: skip
rng = np.random.default_rng(0)


def network(name, dtype="float64"):
    net, shape, _ = NETS[name]
    model = Model(net, random_state=0, dtype=dtype).build(shape)
    for key, state in model.states.items():
        state[...] = rng.random(state.shape) + 0.5 if key.endswith("var") else rng.standard_normal(state.shape)
    for w in model.weights.values():
        w += 0.3 * rng.standard_normal(w.shape) * (w.ndim == 1)
    return model, rng.standard_normal((9, *shape)).astype(dtype)


def units_of(model):
    return find_units(model.layers, model.layout.shapes[0], dict(model.weights) | dict(model.states))


def setting(model, path):
    """The number of units of a layer."""
    value = model.layers
    for name in path:
        value = value[int(name)] if isinstance(value, (list, tuple)) else getattr(value, name)
    return value


@pytest.mark.parametrize("name", NETS)
def test_the_units_that_may_go(name):
    model, _ = network(name)
    found = units_of(model)
    assert [units.count for units in found] == NETS[name][2]
    assert [setting(model, units.path) for units in found] == NETS[name][2]


@pytest.mark.parametrize("name", [name for name in NETS if name != "norm"])
def test_a_network_without_units_that_nobody_listens_to_is_the_same(name):
    """Weights that take half of the units are set to 0: without these the network computes what it did."""
    model, X = network(name)
    found = units_of(model)
    for units in found:
        gone = rng.permutation(units.count)[: units.count // 2]
        for cut in (*units.outgoing, *units.inner):
            np.moveaxis(model.weights[cut.key], cut.axis, 0)[cut.positions[gone].ravel()] = 0
    before = model.forward(X)
    small = compress.shrink(model, fraction=0.5, multiple=2)
    assert [setting(small, units.path) for units in found] == [units.count // 2 for units in found]
    np.testing.assert_allclose(small.forward(X), before, atol=1e-12)
    assert small.layout.n_params < model.layout.n_params
    assert small.layout.flops < model.layout.flops
    np.testing.assert_array_equal(model.forward(X), before)
    losses = small.fit(X, small.forward(X) + 1, epochs=50)["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["dense", "images", "sequences", "series"])
def test_constant_units_go_into_biases(name):
    """Where the values of the units that go are constant, their mean is all they are: nothing changes."""
    model, X = network(name)
    for units in units_of(model):
        if len(units.incoming) > 1 and not units.gamma and name in ("dense", "series"):
            kernel = model.weights[units.incoming[0].key]
            kernel[..., : units.count // 2] = 0  # a bias is left
    before = model.forward(X)
    if name in ("dense", "series"):
        np.testing.assert_allclose(compress.shrink(model, X, fraction=0.5, multiple=2).forward(X), before, atol=1e-12)
    else:
        with_means = compress.shrink(model, X, fraction=0.75, multiple=2).forward(X)
        without = compress.shrink(model, fraction=0.75, multiple=2).forward(X)
        assert np.abs(with_means - before).mean() < np.abs(without - before).mean()


def test_a_mean_goes_into_the_normalization_where_there_is_no_bias():
    net = [L.Dense(8, "relu"), L.Dense(6, use_bias=False), L.BatchNorm(), L.Dense(2)]
    model = Model(net, random_state=0, dtype="float64").build(4)
    model.weights["0.dense.kernel"][:, :4] = 0
    model.weights["0.dense.bias"][:4] = [1.0, 2.0, 3.0, 4.0]
    X = rng.standard_normal((20, 4))
    small = compress.shrink(model, X, fraction=0.5, multiple=1, layers=[0])
    np.testing.assert_allclose(small.forward(X), model.forward(X), atol=1e-12)


def constant_units(net, shape):
    """A network half of whose first units are constants, 1 to 4, and samples."""
    model = Model(net, random_state=0, dtype="float64").build(shape)
    kernel, bias = list(model.weights.values())[:2]
    kernel[..., :4], bias[:4] = 0, [1.0, 2.0, 3.0, 4.0]
    return model, rng.standard_normal((20, *shape))


def test_a_mean_does_not_go_into_a_normalization_behind_a_function():
    """Nor is it taken for nothing: those that are constant, but large, stay where it would be lost."""
    model, X = constant_units([L.Dense(8, "relu"), L.Dense(6, "relu", use_bias=False), L.BatchNorm(), L.Dense(2)], (4,))
    small = compress.shrink(model, X, fraction=0.5, multiple=1, layers=[0])
    np.testing.assert_array_equal(small.states["2.batch_norm.mean"], model.states["2.batch_norm.mean"])
    scores = (model.forward(X, layer=0) ** 2).mean(axis=0) * (model.weights["1.dense.kernel"] ** 2).sum(axis=1)
    stay = np.sort(np.argsort(scores)[4:])
    np.testing.assert_array_equal(small.weights["0.dense.bias"], model.weights["0.dense.bias"][stay])
    np.testing.assert_array_equal(small.weights["1.dense.kernel"], model.weights["1.dense.kernel"][stay])


def test_units_that_come_back_are_judged_by_what_is_lost():
    """The next step's part of a mean goes nowhere."""
    model, X = network("sequences")
    first = units_of(model)[0]
    h, w = model.forward(X, layer=0).reshape(-1, 8), model.weights
    taken, again = ((w[key] ** 2).sum(axis=1) for key in ("1.gru.kernel", "0.lstm.recurrent_kernel"))
    scores = by_values(first, w, moments_of(model, first, X))
    np.testing.assert_allclose(scores**2, h.var(axis=0) * taken + (h**2).mean(axis=0) * again)


@pytest.mark.parametrize(("kernel", "strides"), [(2, 2), (4, 2), ((2, 3), (2, 3))])
def test_a_mean_in_front_of_a_transposed_convolution(kernel, strides):
    """A pixel of the output sees one place of each phase of the kernel; where these are alike nothing changes."""
    model, X = constant_units([L.Conv2D(8, 3), L.Conv2DTranspose(6, kernel, strides=strides, padding="same")], (6, 6, 2))
    weights = model.weights["1.conv2d_transpose.kernel"]
    weights[...] = weights[0, 0]
    before, after = (m.forward(X) for m in (model, compress.shrink(model, X, fraction=0.5, multiple=1)))
    inside = np.s_[:, 2:-2, 3:-3]  # the borders see fewer places
    np.testing.assert_allclose(after[inside], before[inside], atol=1e-12)


# ---------------------------------------------------------------- importance


def test_moments_are_those_of_numpy():
    model, X = network("images")
    units = units_of(model)[1]
    X = rng.standard_normal((600, 10, 10, 2)) + 50
    values = model.forward(X, layer=5).reshape(600, -1)
    mean, variance = moments_of(model, units, X)
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(variance, values.var(axis=0), rtol=1e-8)


def test_importance_is_that_of_the_formulas():
    model, X = network("dense")
    w, (first, second) = model.weights, units_of(model)
    made = np.sqrt((w["0.dense.kernel"] ** 2).sum(0) + w["0.dense.bias"] ** 2)
    taken = np.sqrt((w["2.dense.kernel"] ** 2).sum(1))
    np.testing.assert_allclose(by_weights(first, w), made * taken)
    y = rng.standard_normal((9, 3))
    scores = by_loss(model, [first, second], X, y)
    total = np.zeros(16)
    for i in range(9):  # samples by themselves, because they are few
        model.loss_and_grad(X[i : i + 1], y[i : i + 1])
        total += (model.gradients["2.dense.kernel"] * w["2.dense.kernel"]).sum(1) ** 2
    np.testing.assert_allclose(scores[0], np.sqrt(total))
    assert len(scores[1]) == 12


def test_the_change_of_the_loss_is_that_of_a_unit_that_is_scaled():
    model, X = network("sequences")
    y, units = rng.standard_normal((9, 3)), units_of(model)
    X, y, step = X[:1], y[:1], 1e-6
    (found,) = by_loss(model, units[1:2], X, y)
    before = model.loss_and_grad(X, y)[0]
    for j in (0, 7):
        other = model.copy()
        for cut in (*units[1].outgoing, *units[1].inner):
            np.moveaxis(other.weights[cut.key], cut.axis, 0)[cut.positions[j]] *= 1 - step
        assert abs(other.loss_and_grad(X, y)[0] - before) / step == pytest.approx(found[j], rel=1e-3)


@pytest.mark.parametrize("importance", ["magnitude", "loss"])
def test_units_that_matter_stay(importance):
    X = rng.standard_normal((600, 6)).astype("float32")
    y = np.abs(X[:, 0] + X[:, 1])
    model = Model([L.Dense(64, "relu"), L.Dense(32, "relu"), L.Dense(1)], random_state=0, optimizer=optimizers.Adam(0.01))
    model.fit(X, y, epochs=30)
    dense = model.evaluate(X, y)["loss"]
    data = (X,) if importance == "magnitude" else (X, y)
    small = compress.shrink(model, *data, fraction=0.75, importance=importance)
    worst = model.copy()
    rest = compress.shrink(worst, *data, fraction=0.25, importance=importance)
    assert small.evaluate(X, y)["loss"] < 0.3 * rest.evaluate(X, y)["loss"]
    small.fit(X, y, epochs=10)
    assert small.evaluate(X, y)["loss"] < 2 * dense + 1e-3


# ---------------------------------------------------------------- how many


@pytest.mark.parametrize("part", [0.3, 0.5, 0.8])
def test_flops(part):
    model = Model([L.Dense(512, "relu"), L.Dense(256, "relu"), L.Dense(10)], random_state=0).build(784)
    small = compress.shrink(model, flops=part)
    widths = [layer.units for layer in small.layers[:2]]
    assert part - 0.02 < small.layout.flops / model.layout.flops <= part
    assert not any(width % 8 for width in widths)
    assert widths[0] / 512 == pytest.approx(widths[1] / 256, abs=0.1)


def test_multiples():
    model = Model([L.Dense(30), L.Dense(6), L.Dense(2)], random_state=0).build(4)
    assert [layer.units for layer in compress.shrink(model, fraction=0.5).layers] == [16, 3, 2]
    assert [layer.units for layer in compress.shrink(model, fraction=0.5, multiple=1).layers] == [15, 3, 2]
    assert [layer.units for layer in compress.shrink(model, fraction=0.01).layers] == [8, 1, 2]
    assert [layer.units for layer in compress.shrink(model, fraction=0.5, layers=[-2]).layers] == [30, 3, 2]


def test_what_is_pruned_stays_so():
    model = compress.prune(network("dense")[0], 0.5)
    small = compress.shrink(model, fraction=0.5, multiple=1)
    X = rng.standard_normal((9, 5))
    zeros = {key: w == 0 for key, w in small.weights.items() if w.ndim > 1}
    small.fit(X, rng.standard_normal((9, 3)), epochs=2)
    assert all((small.weights[key][z] == 0).all() for key, z in zeros.items())
    assert 0.1 < compress.sparsity(small)["all"] < 0.9


# ---------------------------------------------------------------- what stays as it is


class Own(L.Layer):
    """A layer of a user's."""

    name = "own"


@pytest.mark.parametrize(
    "net",
    [
        [L.Dense(8), Own(), L.Dense(2)],
        [L.Dense(8, "softmax"), L.Dense(2)],
        [L.Dense(8), L.BatchNorm(activation="softmax"), L.Dense(2)],
        [L.Dense(8, spectral_norm=True), L.Dense(2, spectral_norm=True)],
        [L.Dense(8), L.Reshape((4, 2)), L.Conv1D(2, 2)],
        [L.Residual([L.Dense(4)]), L.Dense(2)],
        [L.Dense(2)],
    ],
)
def test_there_is_nothing_that_may_go(net):
    with pytest.raises(ValueError, match="none of the layers can lose units"):
        compress.shrink(Model(net, random_state=0).build(4), fraction=0.5)


def test_errors():
    model = Model([L.Dense(16, "relu"), L.Dense(2)], random_state=0).build(4)
    for arguments, what in [
        ({}, "give one of flops and fraction"),
        ({"flops": 0.5, "fraction": 0.5}, "give one of flops and fraction"),
        ({"flops": 1.5}, "flops must be"),
        ({"fraction": 0}, "fraction must be"),
        ({"flops": 0.1}, "cannot be reached: 0.5"),
        ({"fraction": 0.5, "importance": "size"}, "importance must be"),
        ({"fraction": 0.5, "importance": "loss"}, "give X and y"),
        ({"fraction": 0.5, "layers": [5]}, "layers must be numbers"),
        ({"fraction": 0.5, "layers": [1]}, "none of the layers"),
        ({"fraction": 0.5, "X": np.zeros((0, 4))}, "X must have samples"),
    ]:
        with pytest.raises(ValueError, match=what):
            compress.shrink(model, **arguments)
    with pytest.raises(ValueError, match="no parameters yet"):
        compress.shrink(Model([L.Dense(2)]), fraction=0.5)
    with pytest.raises(ValueError, match="X must be finite"):
        compress.shrink(model, np.full((9, 4), np.nan), fraction=0.5)
    with pytest.raises(ValueError, match="model must be a Model, got Dense"):
        compress.shrink(L.Dense(2), fraction=0.5)
    model.weights["0.dense.kernel"][0, 3] = np.nan
    assert compress.shrink(model, fraction=0.5).layers[0].units == 8
