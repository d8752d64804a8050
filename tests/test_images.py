"""Networks of images: bits, rows, numbers, bytes, frozen layers; shapes and what is refused."""

import numpy as np
import pytest

from fastdnn import DNNClassifier, Model, layers, losses
from fastdnn.layers import ACTIVATIONS
from fastdnn.layers.base import OP
from fastdnn.optimizers import SGD

L = layers


def images(n, shape=(8, 7, 3), dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, *shape)).astype(dtype), rng.integers(0, 3, n)


NETWORK = [
    L.Conv2D(8, 3, padding="same"), L.BatchNorm(activation="relu"), L.MaxPool2D(), L.SpatialDropout(0.2),
    L.SeparableConv2D(16, 3, padding="same", activation="relu"), L.GlobalAvgPool2D(), L.Dropout(0.2), L.Dense(3),
]  # fmt: skip
PLAIN = [L.Conv2D(8, 3, activation="relu"), L.MaxPool2D(), L.Flatten(), L.Dense(20, activation="relu"), L.Dense(3)]


@pytest.mark.parametrize("batch_size", [5, 32, 200])
@pytest.mark.parametrize("stack", [NETWORK, PLAIN], ids=["batch norm", "plain"])
def test_same_bits_on_any_number_of_threads(stack, batch_size, on_threads, monkeypatch):
    monkeypatch.setattr("fastdnn.planning.SHARD_BYTES", 1 << 15)  # a batch of 200 comes in pieces
    X, y = images(200)
    results = set()
    for threads in (1, 2, 3, 4):
        with on_threads(threads):
            model = Model(stack, loss="cross_entropy", random_state=0)
            loss = model.fit(X, y, epochs=2, batch_size=batch_size)["loss"]
            results.add((model.params.tobytes(), model.state.tobytes(), model.predict(X).tobytes(), *loss))
    assert len(results) == 1


@pytest.mark.parametrize("stack", [NETWORK, PLAIN], ids=["batch norm", "plain"])
def test_a_row_alone_a_batch_of_one_and_nan(stack):
    X, y = images(40)
    model = Model(stack, loss="cross_entropy", random_state=0)
    model.fit(X, y, epochs=1, batch_size=1)
    together = model.predict(X)
    np.testing.assert_array_equal(np.concatenate([model.predict(X[i : i + 1]) for i in range(40)]), together)
    bad = X.copy()
    bad[3, 2, 3, 1] = np.nan
    found = model.forward(bad)
    assert np.isnan(found[3]).all()
    np.testing.assert_array_equal(np.delete(found, 3, 0), np.delete(model.forward(X), 3, 0))


def test_pieces_of_a_batch_give_its_gradient(monkeypatch):
    X, y = images(100, dtype="float64")
    model = Model(PLAIN, loss="cross_entropy", dtype="float64", random_state=0).build((8, 7, 3))
    whole = model.loss_and_grad(X, y)
    monkeypatch.setattr("fastdnn.planning.SHARD_BYTES", 1 << 12)
    pieces = Model(PLAIN, loss="cross_entropy", dtype="float64", random_state=0).build((8, 7, 3))
    run = pieces.bind(X, y, None, 100)
    assert run.capacity < 100
    found = pieces.loss_and_grad(X, y)
    np.testing.assert_allclose(found[0], whole[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], whole[1], rtol=1e-9, atol=1e-14)


def test_of_equal_numbers_the_first_gets_the_gradient():
    model = Model([L.MaxPool2D()], loss=losses.SquaredError(), dtype="float64").build((4, 4, 1))
    X, y = np.ones((1, 4, 4, 1)), np.zeros((1, 2, 2, 1))
    found = model.input_gradient(X, y)[0, :, :, 0] != 0
    np.testing.assert_array_equal(found, np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], bool))


@pytest.mark.parametrize("pool", [L.MaxPool2D(), L.AvgPool2D(), L.GlobalAvgPool2D(), L.MaxPool2D(3, 1, "same")], ids=repr)
def test_zeros_get_their_gradient_where_no_relu_made_them(pool):
    model = Model([pool, L.Flatten()], dtype="float64").build((4, 4, 1))
    n_out = model.layout.shapes[-1][0]
    assert model.input_gradient(np.zeros((1, 4, 4, 1)), np.ones((1, n_out))).sum() == pytest.approx(-n_out)


@pytest.mark.parametrize("pool", [L.MaxPool2D(), L.MaxPool2D(3, 1, "same"), L.GlobalMaxPool2D()])
def test_nan_and_infinities_in_max_pooling(pool):
    X = np.full((2, 4, 4, 1), -np.inf, "float32")
    X[1, 1, 1] = np.nan
    found = Model([pool]).build((4, 4, 1)).forward(X)
    assert (found[0] == -np.inf).all()
    assert np.isnan(found[1].flat[0])


def test_dead_units_get_no_gradient_through_max_pooling():
    stack = [L.Conv2D(4, 3, activation="relu", bias_initializer=-100.0), L.MaxPool2D(), L.Flatten(), L.Dense(1)]
    model = Model(stack, dtype="float64", random_state=0).build((6, 6, 1))
    X, _ = images(5, (6, 6, 1), "float64")
    assert not model.input_gradient(X, np.ones(5)).any()


def test_spatial_dropout_drops_whole_channels():
    model = Model([L.SpatialDropout(0.5)], dtype="float64", random_state=0).build((5, 4, 20))
    X, y = np.ones((50, 5, 4, 20)), np.zeros((50, 5, 4, 20))
    gradient = model.input_gradient(X, y, training=True)
    kept = gradient.reshape(50, 20, 20) != 0
    assert (kept.all(axis=1) == kept.any(axis=1)).all()
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_array_equal(model.forward(X), X)


def test_bytes_and_flat_rows_train_as_floats():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (60, 6, 5, 1)).astype(np.uint8), rng.integers(0, 3, 60)
    stack = [L.Rescaling(1 / 255), L.Conv2D(4, 3, activation="relu"), L.Flatten(), L.Dense(3)]
    bytes_, floats = (Model(stack, loss="cross_entropy", random_state=0) for _ in range(2))
    bytes_.fit(X, y, epochs=3, batch_size=20)
    floats.fit(X.astype("float32"), y, epochs=3, batch_size=20)
    np.testing.assert_allclose(bytes_.params, floats.params, atol=1e-5)
    flat = Model([L.Rescaling(1 / 255), L.Reshape((6, 5, 1)), *stack[1:]], loss="cross_entropy", random_state=0)
    flat.fit(X.reshape(60, -1), y, epochs=3, batch_size=20)
    np.testing.assert_array_equal(flat.params, bytes_.params)


def test_images_of_rows_in_a_pipeline():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    X, y = load_digits(return_X_y=True)
    stack = [L.Reshape((8, 8, 1)), L.Conv2D(16, 3, padding="same", activation="relu"), L.MaxPool2D(), L.Flatten()]
    clf = DNNClassifier(layers=stack, epochs=25, random_state=0)
    search = GridSearchCV(make_pipeline(MinMaxScaler(), clf), {"dnnclassifier__batch_size": [32, 64]}, cv=3)
    search.fit(X[:1200], y[:1200])
    assert search.score(X[1200:], y[1200:]) > 0.93


def test_max_norm_of_a_depthwise_kernel():
    X, y = images(40)
    stack = [L.DepthwiseConv2D(3, depth_multiplier=2, max_norm=0.3), L.Flatten(), L.Dense(3)]
    model = Model(stack, loss="cross_entropy", optimizer=SGD(0.5), random_state=0)
    model.fit(X, y, epochs=3, batch_size=10)
    norms = np.sqrt((model.weights["0.depthwise_conv2d.kernel"] ** 2).sum(axis=(0, 1)))
    assert norms.max() <= 0.3 + 1e-6
    assert norms.max() > 0.29


def test_frozen_layers_stay_and_cost_no_gradient():
    X, y = images(40)
    stack = [
        L.Conv2D(8, 3, activation="relu", learning_rate_factor=0),
        L.Conv2D(8, 3, activation="relu"),
        L.Flatten(),
        L.Dense(3),
    ]
    model = Model(stack, loss="cross_entropy", random_state=0).build((8, 7, 3))
    before = model.weights["0.conv2d.kernel"].copy()
    model.fit(X, y, epochs=2, batch_size=10)
    np.testing.assert_array_equal(model.weights["0.conv2d.kernel"], before)
    run = model.bind(X, y, None, 10)
    assert not run.program.table[1, [OP.gradient, OP.refresh]].any()  # nothing is computed for it
    assert run.program.table[2, OP.dx] == -1


# ---------------------------------------------------------------- shapes and errors


@pytest.mark.parametrize(
    ("layer", "shape", "out"),
    [
        (L.Conv2D(4, 3, 2, "same"), (7, 8, 3), (4, 4, 4)),
        (L.Conv2D(4, 3, 2, "valid"), (7, 8, 3), (3, 3, 4)),
        (L.Conv2D(4, 3, dilation_rate=2), (7, 8, 3), (3, 4, 4)),
        (L.Conv1D(4, 3, padding="causal", dilation_rate=4), (5, 3), (5, 4)),
        (L.Conv2DTranspose(4, 4, 2, "same"), (7, 8, 3), (14, 16, 4)),
        (L.Conv2DTranspose(4, 3, 2), (7, 8, 3), (15, 17, 4)),
        (L.Conv2DTranspose(4, 2, 3, "valid"), (2, 2, 3), (6, 6, 4)),
        (L.MaxPool2D(3, 2, "same"), (7, 8, 3), (4, 4, 3)),
        (L.MaxPool1D(2), (7, 3), (3, 3)),
        (L.GlobalMaxPool1D(), (7, 3), (3,)),
    ],
    ids=repr,
)
def test_output_shapes(layer, shape, out):
    assert Model([layer]).build(shape).layout.shapes[-1] == out
    found = Model([layer], random_state=0).build(shape).forward(np.zeros((2, *shape)))
    assert found.shape == (2, *out)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L.Conv2D(0, 3), "filters must be an integer >= 1, got 0"),
        (lambda: L.Conv2D(4, 0), "kernel_size must be an integer >= 1, got 0"),
        (lambda: L.Conv2D(4, (3, 3, 3)), "kernel_size must be an integer or 2 of them"),
        (lambda: L.Conv2D(4, 3, strides=0), "strides must be an integer >= 1"),
        (
            lambda: L.Conv2D(4, 3, padding="causal"),
            "padding must be 'valid', 'same', an integer, or 2 integers or pairs, got 'causal'",
        ),
        (lambda: L.Conv2D(4, 3, padding=-1), "padding must be an integer >= 0, got -1"),
        (lambda: L.Conv2D(4, 3, padding=(1, 2, 3)), "padding must be"),
        (lambda: L.Conv2D(4, 3, groups=3), "filters must be a multiple of groups, got 4 and 3"),
        (lambda: L.Conv2D(4, 3, activation="rellu"), "activation must be one of"),
        (lambda: L.ZeroPadding2D("same"), "padding must be an integer, or 2 integers or pairs, got 'same'"),
        (lambda: Model([L.Rescaling(2.0), L.DepthwiseConv2D(3)]).build((3, 8, 8)), "look like .channels, height, width"),
        (lambda: L.MaxPool2D(2, padding=2), "padding must be less than pool_size"),
        (lambda: L.Conv2DTranspose(4, 3, 2, output_padding=2), "output_padding must be less than strides"),
        (
            lambda: Model([L.Conv2D(4, 9)]).build((5, 5, 1)),
            r"layer 0, Conv2D.*windows of 9 places do not fit rows of height 5",
        ),
        (lambda: Model([L.Conv2D(4, 3)]).build((5, 2, 1)), "do not fit columns of width 2"),
        (
            lambda: Model([L.Conv2D(4, 3)]).build(64),
            r"samples must have shape \(height, width, channels\), got \(64,\); .*Reshape",
        ),
        (lambda: Model([L.Conv1D(4, 3)]).build((5, 5, 1)), r"samples must have shape \(time, channels\)"),
        (lambda: Model([L.Conv2D(4, 3, groups=2)]).build((5, 5, 3)), "must be a multiple of groups=2"),
        (lambda: Model([L.MaxPool2D(4)]).build((3, 3, 1)), "windows of 4 places do not fit"),
        (lambda: Model([L.GlobalAvgPool2D()]).build((3, 1)), "samples must have shape"),
        (lambda: Model([L.Conv2DTranspose(4, 3, padding=3)]).build((2, 2, 1)), "leaves nothing of an output"),
        (
            lambda: Model([L.Conv2D(4, 3)]).build((8, 8, 3)).predict(np.zeros((2, 3, 8, 8))),
            r"\(3, 8, 8\); channels come last",
        ),
        (
            lambda: Model([L.Conv2D(4, 3), L.Flatten(), L.Dense(1)]).fit(np.zeros((2, 3, 8, 8)), [0, 1]),
            r"layer 0, Conv2D.*look like \(channels",
        ),
        (
            lambda: Model([L.Conv2D(4, 3), L.Flatten(), L.Dense(1)]).fit([np.zeros((4, 4, 1)), np.zeros((5, 4, 1))], [0, 1]),
            r"one shape, got a list of \(4, 4, 1\)",
        ),
    ],
)
def test_errors_say_what_to_do(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_activation_after_a_convolution():
    X, y = images(6, (5, 4, 2), "float64")
    for name in ACTIVATIONS:
        model = Model([L.Conv2D(5, 3, activation=name), L.Flatten(), L.Dense(3)], dtype="float64", random_state=0)
        fused = model.build((5, 4, 2)).loss_and_grad(X, np.eye(3)[y])
        apart = Model([L.Conv2D(5, 3), L.Activation(name), L.Flatten(), L.Dense(3)], dtype="float64", random_state=0)
        apart.build((5, 4, 2)).params = model.params
        np.testing.assert_allclose(apart.loss_and_grad(X, np.eye(3)[y])[1], fused[1], rtol=1e-12, atol=1e-15, err_msg=name)
