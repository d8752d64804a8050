"""Training with products of bfloat16: against NumPy with rounded inputs, float64's gradients, float32's accuracy; files."""

import copy
import os
import pathlib
import pickle
import platform
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_digits

import fastdnn
from fastdnn import GAN, Model, _dots, layers, optimizers, thread_choice
from fastdnn.layers.base import OP

RNG = np.random.default_rng(0)


def rounded(x):
    """Numbers with 8 bits, to the nearest, ties to even, as float64."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    return np.ldexp(np.rint(mantissa * 256), exponent - 8)


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


def forward_values(model, X, targets):
    """What the first layer gives on the way forward of a training step of one thread."""
    with fastdnn.config_context(n_threads=1):
        run = model.bind(X, targets, batch_size=len(X))
        run.loss_and_grad()
    op, shape = OP.on(run.program.table[1]), model.layout.shapes[-1]
    rows = len(X) * int(np.prod(shape[:-1]))
    return run.program.work[op.y : op.y + rows * op.ld_out].reshape(rows, -1)[:, : shape[-1]].reshape(len(X), *shape)


def windows(axes, image):
    """(bordered image, for each place of the kernel its index and the pixels that it sees) of a convolution."""
    rows, columns = axes
    bordered = np.pad(image, ((0, 0), (rows.before, rows.after), (columns.before, columns.after), (0, 0)))
    places = []
    for i in range(rows.kernel):
        for j in range(columns.kernel):
            r, c = i * rows.dilation, j * columns.dilation
            seen = slice(r, r + (rows.out - 1) * rows.stride + 1, rows.stride)
            places.append((i, j, np.s_[:, seen, c : c + (columns.out - 1) * columns.stride + 1 : columns.stride]))
    return bordered, places


def naive_convolution(axes, X, W, D):
    """(Y, dX, dW) of a convolution of images X with W, D being the gradient of Y, in float64."""
    bordered, places = windows(axes, X)
    back, Y, dW = np.zeros_like(bordered), 0.0, np.zeros_like(W)
    for i, j, seen in places:
        Y = Y + bordered[seen] @ W[i, j]
        back[seen] += D @ W[i, j].T
        dW[i, j] = np.tensordot(bordered[seen], D, axes=([0, 1, 2], [0, 1, 2]))
    (top, left), (height, width) = (axes[0].before, axes[1].before), X.shape[1:3]
    return Y, back[:, top : top + height, left : left + width], dW


def assert_near(found, wanted, error=1e-5):
    assert np.linalg.norm(found - wanted) <= error * np.linalg.norm(wanted)


@pytest.mark.parametrize(("rows", "n_in", "n_out"), [(1, 32, 32), (7, 33, 40), (64, 100, 47), (129, 270, 256), (50, 35, 129)])
def test_dense_products_are_those_of_rounded_numbers(rows, n_in, n_out):
    X, D = normal(rows, n_in), normal(rows, n_out)
    model = Model([layers.Dense(n_out)], dtype="bfloat16", random_state=0).build(n_in)
    dX, gradient = model.vjp(X, D)
    views, W = model.layout.views(gradient), rounded(model.weights["0.dense.kernel"])
    assert_near(dX, rounded(D) @ W.T)
    assert_near(views["0.dense.kernel"], rounded(X).T @ rounded(D))
    assert_near(views["0.dense.bias"], rounded(D).sum(axis=0))
    assert_near(forward_values(model, X, D), rounded(X) @ W)
    np.testing.assert_array_equal(model.predict(X), Model(model.layers, random_state=0).build(n_in).predict(X))


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((8, 9, 32), {"filters": 48, "kernel_size": 3, "padding": "same"}),
        ((9, 7, 18), {"filters": 34, "kernel_size": (2, 3)}),
        ((11, 12, 20), {"filters": 32, "kernel_size": 3, "strides": 2, "padding": "same"}),
        ((10, 13, 32), {"filters": 24, "kernel_size": 2, "strides": (3, 4)}),
        ((12, 11, 32), {"filters": 64, "kernel_size": 3, "dilation_rate": 2, "padding": "same"}),
        (
            (6, 6, 40),
            {"filters": 32, "kernel_size": 5, "padding": ((1, 2), (3, 0)), "strides": (2, 1), "dilation_rate": (1, 2)},
        ),
        ((4, 5, 256), {"filters": 32, "kernel_size": 1, "strides": 2}),
    ],
    ids=str,
)
def test_convolutions_are_those_of_rounded_numbers(shape, settings):
    X, layer = normal(2, *shape), layers.Conv2D(**settings)
    model = Model([layer], dtype="bfloat16", random_state=0).build(shape)
    D, W = normal(2, *model.layout.shapes[-1]), rounded(model.weights["0.conv2d.kernel"])
    dX, gradient = model.vjp(X, D)
    views = model.layout.views(gradient)
    found = naive_convolution(layer.axes(shape), rounded(X), W, rounded(D))
    assert_near(dX, found[1])
    assert_near(views["0.conv2d.kernel"], found[2])
    assert_near(views["0.conv2d.bias"], D.sum(axis=(0, 1, 2), dtype=np.float64))
    assert_near(forward_values(model, X, D), found[0])


NETWORKS = {
    "dense": ((40,), [layers.Dense(70, activation="tanh"), layers.Dense(33, activation="gelu"), layers.Dense(5)]),
    "normalized": (
        (40,),
        [
            layers.Dense(64, use_bias=False),
            layers.BatchNorm(activation="silu"),
            layers.Dense(64, spectral_norm=True),
            layers.Dense(5),
        ],
    ),
    "softmax inside": ((40,), [layers.Dense(64, activation="softmax"), layers.Dense(64, activation="tanh"), layers.Dense(5)]),
    "images": (
        (10, 9, 20),
        [
            layers.Conv2D(32, 3, padding="same", activation="tanh"),
            layers.AvgPool2D(2),
            layers.Residual([layers.Conv2D(32, 3, padding="same", activation="elu")]),
            layers.SeparableConv2D(32, 3, activation="tanh"),
            layers.Conv2D(48, 1, activation="softplus"),
            layers.Flatten(),
            layers.Dense(64, activation="tanh"),
            layers.Dense(5),
        ],
    ),
    "series": (
        (21, 32),
        [
            layers.Conv1D(48, 5, padding="causal", dilation_rate=2),
            layers.BatchNorm(activation="tanh"),
            layers.Dense(40, activation="tanh"),
            layers.LSTM(36, return_sequences=True),
            layers.Dense(32),
            layers.GlobalAvgPool1D(),
            layers.Dense(5),
        ],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n", [1, 9, 34])
def test_gradients_are_near_those_of_float64(name, n):
    shape, net = NETWORKS[name]
    X, y = normal(n, *shape), np.random.default_rng(n).integers(0, 5, n)
    model, exact = (Model(net, "cross_entropy", dtype=d, random_state=0).build(shape) for d in ("bfloat16", "float64"))
    (loss, gradient), (wanted, of_float64) = (m.loss_and_grad(X, y) for m in (model, exact))
    assert loss == pytest.approx(wanted, rel=5e-3)
    assert 1e-4 < np.linalg.norm(gradient - of_float64) / np.linalg.norm(of_float64) < 1e-2
    assert_near(model.input_gradient(X, y), exact.input_gradient(X, y), 1.5e-2)
    assert not gradient[model.layout.padding()].any()


def test_gradient_of_pytorch():
    torch = pytest.importorskip("torch")
    X, y = normal(60, 50), np.random.default_rng(0).integers(0, 40, 60)
    model = Model(
        [layers.Dense(64, activation="tanh"), layers.Dense(40)], "cross_entropy", dtype="bfloat16", random_state=0
    ).build(50)
    _, gradient = model.loss_and_grad(X, y)
    tensors = {key: torch.tensor(w.astype(np.float64), requires_grad=True) for key, w in model.weights.items()}
    hidden = torch.tanh(torch.from_numpy(X).double() @ tensors["0.dense.kernel"] + tensors["0.dense.bias"])
    scores = hidden @ tensors["1.dense.kernel"] + tensors["1.dense.bias"]
    torch.nn.functional.cross_entropy(scores, torch.from_numpy(y)).backward()
    for key, found in model.layout.views(gradient).items():
        assert_near(found, tensors[key].grad.numpy(), 1e-2)


# ---------------------------------------------------------------- training


def digits():
    X, y = load_digits(return_X_y=True)
    X = (X / 8 - 1).astype("float32")
    return X[:1200], y[:1200], X[1200:], y[1200:]


@pytest.mark.parametrize(
    "net",
    [
        [layers.Dense(100, activation="relu"), layers.Dense(64, activation="relu"), layers.Dense(10)],
        [
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPool2D(2),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ],
    ],
    ids=["dense", "convolutional"],
)
def test_learns_as_well_as_float32(net):
    X, y, new, wanted = digits()
    accuracy = {}
    for dtype in ("float32", "bfloat16"):
        model = Model(net, "cross_entropy", optimizers.Adam(2e-3), dtype, random_state=0)
        model.fit(X, y, epochs=12, batch_size=50)
        accuracy[dtype] = model.evaluate(new, wanted)["accuracy"]
    assert accuracy["float32"] > 0.9
    assert abs(accuracy["bfloat16"] - accuracy["float32"]) <= 0.012


def test_small_steps_are_not_lost():
    """Steps below 1/256 of a weight move the float32 weights, though not each moves the rounded ones."""
    X, y, new, wanted = digits()
    model = Model(
        [layers.Dense(100, activation="relu"), layers.Dense(10)],
        "cross_entropy",
        optimizers.Adam(1e-4),
        "bfloat16",
        random_state=0,
    )
    model.fit(X, y, epochs=30, batch_size=50)
    assert model.evaluate(new, wanted)["accuracy"] > 0.85


@pytest.fixture
def always_threads(monkeypatch):
    """Threads even where they do not pay or where the machine is busy."""
    monkeypatch.setattr(thread_choice, "launch_seconds", lambda: 0.0)
    monkeypatch.setattr(thread_choice.ThreadChoice, "next", lambda choice: (choice.most, thread_choice.SLICE))


@pytest.mark.parametrize("name", ["dense", "normalized", "images", "series"])
@pytest.mark.parametrize("batch", [1, 7, 8, 50])
def test_same_bits_on_any_number_of_threads_and_from_fit_to_fit(name, batch, always_threads):
    shape, net = NETWORKS[name]
    X, y, results = normal(75, *shape), np.random.default_rng(1).integers(0, 5, 75), []
    for n in (1, 2, 3):
        with fastdnn.config_context(n_threads=n):
            model = Model(net, "cross_entropy", optimizers.Adam(1e-3), "bfloat16", random_state=0)
            if n < 3:
                losses = model.fit(X, y, epochs=2, batch_size=batch)["loss"]
            else:
                losses = [model.fit(X, y, epochs=k + 1, batch_size=batch, resume=k > 0)["loss"][-1] for k in range(2)]
            results.append((losses, model.params.copy(), model.loss_and_grad(X, y)[1]))
    for losses, params, gradient in results[1:]:
        assert losses == results[0][0]
        np.testing.assert_array_equal(params, results[0][1])
        np.testing.assert_array_equal(gradient, results[0][2])


def test_a_batch_in_pieces_is_one_batch():
    shape, net = NETWORKS["dense"]
    X, y = normal(2701, *shape), np.random.default_rng(1).integers(0, 5, 2701)
    model = Model(net, "cross_entropy", dtype="bfloat16", random_state=0).build(shape)
    whole = model.loss_and_grad(X, y)[1]
    parts = [model.loss_and_grad(X[i : i + 99], y[i : i + 99])[1] * len(X[i : i + 99]) for i in range(0, len(X), 99)]
    assert_near(whole, np.sum(parts, axis=0) / len(X), 1e-3)


def test_nan_goes_in_and_out_and_its_step_is_left_out():
    model = Model([layers.Dense(40, activation="relu"), layers.Dense(3)], "cross_entropy", dtype="bfloat16", random_state=0)
    bound = model.bind(normal(20, 40), np.arange(20) % 3)
    before = model.params.copy()
    bound.X[7, 5] = np.nan
    assert np.isnan(bound.step())
    np.testing.assert_array_equal(model.params, before)
    bound.X[7, 5] = 0
    assert np.isfinite(bound.step())
    assert (model.params != before).any()


# ---------------------------------------------------------------- what else there is


def test_refuses_nothing_that_float32_takes():
    """Layers without products of bfloat16, sparse samples, ids, windows of steps, masks, mixing, GANs."""
    y = np.arange(24) % 3
    images = [
        layers.RandomFlip(), layers.Conv2D(32, 3, padding="same", groups=2), layers.DepthwiseConv2D(3),
        layers.UpSampling2D(2), layers.Conv2DTranspose(32, 3, strides=2), layers.SpatialDropout(0.1), layers.Conv2D(33, 3),
        layers.MaxPool2D(2), layers.LayerNorm(), layers.PReLU(), layers.ZeroPadding2D(1), layers.GlobalMaxPool2D(),
        layers.Dense(40), layers.Dense(3),
    ]  # fmt: skip
    text = [
        layers.Embedding(50, 40),
        layers.Bidirectional(layers.GRU(20, return_sequences=True)),
        layers.Dense(33),
        layers.SimpleRNN(32),
        layers.Dense(40),
        layers.Dense(3),
    ]
    steps = [layers.Dense(32), layers.LSTM(32, return_sequences=True, truncate=3), layers.Dense(40), layers.Dense(3)]
    vectors = [
        layers.Dense(64),
        layers.Dropout(0.2),
        layers.GaussianNoise(0.1),
        layers.Dense(32, max_norm=1.0),
        layers.Dense(3),
    ]
    lengths, series = np.arange(24) % 9 + 1, normal(24, 9, 32)
    runs = [
        (images, normal(24, 8, 8, 32), y, {"mixup": 0.3}),
        (images, RNG.integers(0, 255, (24, 8, 8, 32), dtype=np.uint8), y, {}),
        (text, RNG.integers(0, 50, (24, 9)), y, {"lengths": lengths}),
        (steps, series, np.arange(24 * 9).reshape(24, 9) % 3, {"lengths": lengths}),
        (steps, series, np.arange(24 * 9).reshape(24, 9) % 3, {"accumulate": 2}),
        (vectors, normal(24, 64), y, {"class_weight": "balanced"}),
        (vectors, scipy.sparse.random_array((24, 64), density=0.2, rng=0, dtype=np.float32).tocsr(), y, {}),
    ]
    for net, X, targets, settings in runs:
        model = Model(net, "cross_entropy", dtype="bfloat16", random_state=0)
        losses = model.fit(X, targets, epochs=2, batch_size=7, **settings)["loss"]
        assert np.isfinite(losses).all()
        assert model.skipped_steps == 0
    gan = GAN(
        [layers.Dense(48, activation="relu"), layers.Dense(40)],
        [layers.Dense(48, activation="relu")],
        dtype="bfloat16",
        random_state=0,
    )
    gan.fit(normal(64, 40), epochs=1, batch_size=16)
    assert gan.precision == gan.generator.precision == "bfloat16"
    assert np.isfinite(gan.sample(3)).all()


def test_files_pickles_copies_and_words(tmp_path):
    shape, net = NETWORKS["dense"]
    X, y = normal(60, *shape), np.arange(60) % 5
    model = Model(net, "cross_entropy", dtype="bfloat16", random_state=0)
    model.fit(X, y, epochs=2, batch_size=20)
    model.save(tmp_path / "m.fdnn")
    others = Model.load(tmp_path / "m.fdnn"), pickle.loads(pickle.dumps(model)), copy.copy(model)
    model.fit(X, y, epochs=4, batch_size=20, resume=True)
    for other in others:
        assert (other.dtype, other.precision) == (np.float32, "bfloat16")
        other.fit(X, y, epochs=4, batch_size=20, resume=True)
        np.testing.assert_array_equal(other.params, model.params)
    assert "bfloat16" in repr(model)
    how = "vdpbf16ps" if _dots.has_bfloat16() else "widened"
    assert f"products of 0.dense, 1.dense in bfloat16, by {how}" in model.summary()
    assert model.params.dtype == model.predict(X).dtype == np.float32
    plain = Model(net)
    del plain.__dict__["_precision"]  # as a pickle of before has it
    assert plain.precision == "float32"
    assert "bfloat16" not in plain.build(shape).summary()


@pytest.mark.parametrize("dtype", ["float16", "bf16", None, 3, "int8"])
def test_other_types_are_refused(dtype):
    with pytest.raises(ValueError, match=r"dtype must be one of \('float32', 'float64', 'bfloat16'\)"):
        Model([layers.Dense(1)], dtype=dtype)


STEPS = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from test_bfloat16 import NETWORKS, normal
from fastdnn import Model, _dots
for name in ("dense", "images"):
    shape, net = NETWORKS[name]
    X, y = normal(34, *shape), np.random.default_rng(34).integers(0, 5, 34)
    model = Model(net, "cross_entropy", dtype="bfloat16", random_state=0).build(shape)
    np.save({folder!r} + name, model.loss_and_grad(X, y)[1])
print(_dots.has_bfloat16())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="code for Haswell does not run here")
def test_processors_without_the_instruction(tmp_path):
    """A Haswell has no vdpbf16ps, and half as many lanes: the same bits."""
    code = STEPS.format(tests=str(pathlib.Path(__file__).parent), folder=f"{tmp_path}{os.sep}")
    env = {**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2,+f16c"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"
    for name in ("dense", "images"):
        shape, net = NETWORKS[name]
        X, y = normal(34, *shape), np.random.default_rng(34).integers(0, 5, 34)
        model = Model(net, "cross_entropy", dtype="bfloat16", random_state=0).build(shape)
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), model.loss_and_grad(X, y)[1])
