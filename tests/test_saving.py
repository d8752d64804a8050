"""Model files: what goes in comes out, nothing else gets in, and nothing is ever lost."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fastdnn import Model, ModelFormatError, callbacks, layers, losses, optimizers, schedules
from fastdnn.layers import ACTIVATIONS, LAYERS
from fastdnn.losses import LOSSES_TABLE
from fastdnn.optimizers import OPTIMIZERS
from fastdnn.saving.plain import from_plain, known_types, to_plain
from fastdnn.schedules import SCHEDULES

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 6)).astype("float32"), RNG.integers(0, 3, 40)


IDS = RNG.integers(0, 9, (40, 6))


def network(*more, **settings):
    for layer in more:
        if layer.recurrent:  # of 5 numbers a sequence
            more = layers.Reshape((5, 1)), layer, layers.Flatten()
        elif layer.takes_windows:  # of 5 numbers a series or an image of one row
            more = layers.Reshape((5, 1) if layer.name.endswith("1d") else (1, 5, 1)), layer, layers.Flatten()
        elif isinstance(layer, layers.Sampling):  # of an even number
            more = layers.Dense(6), layer
    settings = {"loss": "cross_entropy", "random_state": 1, **settings}
    return Model([layers.Dense(5, activation="tanh"), *more, layers.Dense(3)], **settings)


# ---------------------------------------------------------------- round trips

SAMPLES = {
    "dense": layers.Dense(4, "gelu", initializer="he_normal", l1=0.1, max_norm=2.0, bias_learning_rate_factor=0.1),
    "activation": layers.Activation("silu"),
    "prelu": layers.PReLU(),
    "rescaling": layers.Rescaling(0.5, -1.0),
    "scale": layers.Scale(0.5, learning_rate_factor=6.0),
    "parametric_activation": layers.ParametricActivation("mish", learning_rate_factor=0.1),
    "piecewise_linear": layers.PiecewiseLinear(np.linspace(-0.9, 0.9, 20).reshape(5, 4)),
    "periodic_embedding": layers.PeriodicEmbedding(3, 2, sigma=0.2),
    "dropout": layers.Dropout(0.3),
    "alpha_dropout": layers.AlphaDropout(0.1),
    "gaussian_noise": layers.GaussianNoise(0.5),
    "sampling": layers.Sampling(0.5),
    "batch_norm": layers.BatchNorm(momentum=0.2),
    "layer_norm": layers.LayerNorm(),
    "residual": layers.Residual([layers.Dense(5, activation="relu"), layers.BatchNorm(), layers.Dense(5)], [layers.Dense(5)]),
    "flatten": layers.Flatten(),
    "reshape": layers.Reshape((5,)),
    "conv1d": layers.Conv1D(3, 3, padding="causal", activation="relu"),
    "conv2d": layers.Conv2D(3, (1, 3), padding="same", dilation_rate=(1, 2), l2=0.1),
    "conv2d_transpose": layers.Conv2DTranspose(3, (1, 3), (1, 2), output_padding=(0, 1)),
    "depthwise_conv2d": layers.DepthwiseConv2D((1, 2), depth_multiplier=2, activation="tanh"),
    "separable_conv2d": layers.SeparableConv2D(3, (1, 3), padding=((0, 0), (2, 0))),
    "max_pool1d": layers.MaxPool1D(2, 1),
    "max_pool2d": layers.MaxPool2D((1, 3), padding="same"),
    "avg_pool1d": layers.AvgPool1D(3),
    "avg_pool2d": layers.AvgPool2D((1, 2)),
    "global_max_pool1d": layers.GlobalMaxPool1D(),
    "global_max_pool2d": layers.GlobalMaxPool2D(),
    "global_avg_pool1d": layers.GlobalAvgPool1D(),
    "global_avg_pool2d": layers.GlobalAvgPool2D(),
    "up_sampling2d": layers.UpSampling2D((1, 2)),
    "zero_padding2d": layers.ZeroPadding2D((0, 1)),
    "spatial_dropout": layers.SpatialDropout(0.3),
    "random_flip": layers.RandomFlip("horizontal"),
    "random_translation": layers.RandomTranslation(0.0, (-0.4, 0.2), "wrap"),
    "random_rotation": layers.RandomRotation(0.1, fill_mode="nearest"),
    "random_zoom": layers.RandomZoom(0.2),
    "random_erasing": layers.RandomErasing(0.5),
    "columns": layers.Columns([((0, 3), [layers.PReLU()]), ((4, 2, 1), [layers.Dense(2), layers.Scale()])]),
    "category_embedding": layers.CategoryEmbedding((2, 1, 3, 1, 2), 3, l2=0.1),
    "embedding": layers.Embedding(9, 3, mask_zero=True, initializer=np.arange(27).reshape(9, 3) / 9),
    "masking": layers.Masking(0.5),
    "simple_rnn": layers.SimpleRNN(3, "relu", dropout=0.1),
    "lstm": layers.LSTM(3, return_sequences=True, recurrent_dropout=0.2, truncate=2),
    "gru": layers.GRU(3, go_backwards=True, recurrent_initializer="glorot_normal"),
    "bidirectional": layers.Bidirectional(layers.LSTM(3, return_sequences=True, dropout=0.1), merge="sum"),
}


def test_there_is_a_sample_of_every_layer():
    assert SAMPLES.keys() == LAYERS.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(name, tmp_path):
    first = {"embedding": (IDS, [layers.GRU(4)]), "masking": (X.reshape(40, 3, 2), [layers.GRU(4)])}
    first["category_embedding"] = np.abs(2 * X[:, :5]).round(), [layers.PReLU()]
    samples, behind = first.get(name, (X, None))
    model = network(SAMPLES[name])
    if behind:
        model = Model([SAMPLES[name], *behind, layers.Dense(3)], loss="cross_entropy", random_state=1)
    model.fit(samples, Y, epochs=3)
    model.save(tmp_path / "m.fdnn")
    loaded = Model.load(tmp_path / "m.fdnn")
    assert loaded.layers == model.layers
    np.testing.assert_array_equal(loaded.params, model.params)
    np.testing.assert_array_equal(loaded.state, model.state)
    np.testing.assert_array_equal(loaded.predict(samples), model.predict(samples))
    loaded.fit(samples, Y, epochs=2)
    model.fit(samples, Y, epochs=2)
    np.testing.assert_array_equal(loaded.params, model.params)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name, dtype, tmp_path):
    model = network(optimizer=name, dtype=dtype)
    model.fit(X, Y, epochs=3)
    model.save(tmp_path / "m.fdnn")
    loaded = Model.load(tmp_path / "m.fdnn")
    assert (loaded.dtype, loaded.seed, loaded.step, loaded.epochs) == (model.dtype, 1, model.step, 3)
    assert (loaded.loss, loaded.optimizer) == (model.loss, model.optimizer)
    assert loaded.history == model.history
    np.testing.assert_array_equal(loaded.moments, model.moments)


@pytest.mark.parametrize(
    "spec",
    [
        *(ACTIVATIONS[name] and layers.Dense(2, activation=name) for name in ACTIVATIONS),
        *(cls() for cls in LOSSES_TABLE.values()),
        *(cls() for cls in OPTIMIZERS.values()),
        losses.Quantile((0.1, 0.5)),
        losses.Focal(alpha=0.25),
        optimizers.AdamW(schedules.Warmup(schedules.OneCycle(0.1), 10), clip_norm=1.0, average=0.9),
        schedules.Cosine(0.1, period=5, growth=2.0),
    ],
)
def test_every_spec(spec):
    text = json.dumps(to_plain(spec), allow_nan=False)
    again = from_plain(json.loads(text), known_types())
    assert (type(again), again) == (type(spec), spec)


def test_every_schedule_is_known():
    assert {cls.__name__ for cls in SCHEDULES.values()} <= known_types().keys()


def test_a_file_without_training_is_smaller(tmp_path):
    model = network(layers.BatchNorm())
    model.fit(X, Y, epochs=2)
    model.save(tmp_path / "all.fdnn")
    model.save(tmp_path / "slim.fdnn", training=False)
    loaded = Model.load(tmp_path / "slim.fdnn")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.history is None
    assert os.path.getsize(tmp_path / "slim.fdnn") < os.path.getsize(tmp_path / "all.fdnn")
    loaded.fit(X, Y)


def test_own_layers_need_their_class(tmp_path):
    class Same(layers.Layer):
        name = "same"

        def __init__(self, note="x"):
            self.note = note

    model = network(Same(note="y"))
    model.fit(X, Y)
    model.save(tmp_path / "m.fdnn")
    with pytest.raises(ModelFormatError, match="'Same' is not a known part"):
        Model.load(tmp_path / "m.fdnn")
    assert Model.load(tmp_path / "m.fdnn", parts=[Same]).layers[1] == Same("y")
    with pytest.raises(ValueError, match="parts must be classes"):
        Model.load(tmp_path / "m.fdnn", parts=[Same()])


def test_readable_by_the_safetensors_library(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    model = network()
    model.fit(X, Y)
    model.save(tmp_path / "m.fdnn")
    arrays = safetensors.load_file(tmp_path / "m.fdnn")
    np.testing.assert_array_equal(arrays["0.dense.kernel"], model.weights["0.dense.kernel"])


def test_what_cannot_be_saved_says_so(tmp_path):
    with pytest.raises(ValueError, match="no parameters yet"):
        network().save(tmp_path / "m.fdnn")
    model = network()
    model.fit(X, Y)
    with pytest.raises(IsADirectoryError, match="folder"):
        model.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "no" / "m.fdnn")
    model.history.add(words="some")
    with pytest.raises(ValueError, match="history of 'words'"):
        model.save(tmp_path / "m.fdnn")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- never lost


def test_saving_over_the_file_that_was_loaded(tmp_path):
    path = tmp_path / "m.fdnn"
    network().build(6).save(path)
    model = Model.load(path)
    before = model.params.copy()
    for _ in range(3):
        model.save(path)
        model = Model.load(path)
        np.testing.assert_array_equal(model.params, before)


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    path, link = tmp_path / "m.fdnn", tmp_path / "link.fdnn"
    network().build(6).save(path)
    if os.name == "posix":
        path.chmod(0o640)
    try:
        link.symlink_to(path)
    except OSError:
        pytest.skip("no links here")
    network(random_state=2).build(6).save(link)
    assert link.is_symlink()
    assert Model.load(path).seed == 2
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE")
def test_disk_full_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.fdnn"
    network().build(6).save(path)
    code = """
import resource, signal, sys
from fastdnn import Model, layers
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
model = Model([layers.Dense(500), layers.Dense(500)]).build(500)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    model.save(sys.argv[1])
except OSError as error:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "refused"
    assert Model.load(path).layout.shapes[0] == (6,)
    assert [p.name for p in tmp_path.iterdir()] == ["m.fdnn"]


WRITER = """
import sys
import numpy as np
from fastdnn import Model, layers
model = Model([layers.Dense(300), layers.Dense(300)], random_state=0).build(300)
print("ready", flush=True)
k = 0
while True:
    k += 1
    model.params[model.params != 0] = k
    model.save(sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_while_saving_the_last_whole_file_loads(tmp_path):
    path, delays = tmp_path / "m.fdnn", np.random.default_rng(0).uniform(0.0, 0.05, 8)
    for delay in delays:
        process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        while not path.exists():
            time.sleep(0.001)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        model = Model.load(path)
        values = {float(v) for view in model.weights.values() for v in np.unique(view)} - {0.0}
        assert len(values) == 1  # one save, whole


def test_what_is_saved_can_be_loaded(tmp_path):
    """Odd but legitimate models: save checks them as load does."""
    deep = layers.Dense(5)
    for _ in range(40):
        deep = layers.Residual([deep])
    for model in (
        network(deep).build(6),
        Model([layers.Activation("relu")]).build(70_000),
        Model([layers.Dense(1)], dtype="float64").build(3),
    ):
        model.save(tmp_path / "m.fdnn")
        assert Model.load(tmp_path / "m.fdnn").layers == model.layers
    for _ in range(60):
        deep = layers.Residual([deep])
    with pytest.raises(ValueError, match="cannot be written to a file: the settings are nested"):
        network(deep).build(6).save(tmp_path / "m.fdnn")
    model = network()
    model.fit(X, Y, epochs=2, callbacks=[callbacks.LambdaCallback(lambda fit: fit.history.add(mine=1.0, more=2.0))])
    model.history.add(mine=3.0)
    model.history.notes.append(Exception("note"))
    model.save(tmp_path / "m.fdnn")
    assert Model.load(tmp_path / "m.fdnn").history["mine"] == [1.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: network().build(6).save(3), "path must be a str or path-like"),
        (lambda path: Model.load(3), "path must be a str or path-like"),
        (lambda path: Model.load(path, max_bytes="x"), "max_bytes must be an integer"),
        (lambda path: Model.load(path, parts=layers.Dense), "parts must be a list of classes"),
    ],
)
def test_arguments(call, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        call(tmp_path / "m.fdnn")


def test_what_killed_writers_left_is_swept(tmp_path):
    left = tmp_path / ".m.fdnn.0123456789abcdef.tmp"
    left.write_bytes(b"half")
    network().build(6).save(tmp_path / "m.fdnn")
    assert left.exists()  # a minute ago: it may still be written
    os.utime(left, (0, 0))
    network().build(6).save(tmp_path / "m.fdnn")
    assert not left.exists()


def test_steps_beyond_the_tables(tmp_path):
    """Counters of any size cost no memory: the optimizers' tables end where nothing changes any more."""
    for name in ("nadam", "schedule_free_adamw"):
        model = network(optimizer=name)
        model.fit(X, Y)
        model.step = 2**52
        model.fit(X, Y)
        assert np.isfinite(model.params).all()


@pytest.mark.parametrize("name", ["n" * 240, "\u4e2d" * 80, "\U0001f600" * 60, "n" * 255, "\u00e9" * 127])
def test_names_as_long_as_the_file_system_takes(name, tmp_path):
    """What is written beside has a name that fits, too: of 255 bytes, however many characters these are."""
    model, path = Model([layers.Dense(1)], random_state=0).build(3), tmp_path / name
    for _ in range(2):  # new, and in place of the old one
        model.save(path)
        np.testing.assert_array_equal(Model.load(path).params, model.params)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with pytest.raises(OSError, match="long"):
        model.save(tmp_path / ("n" * 256))
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_names_that_are_no_utf_8(tmp_path):
    model, path = Model([layers.Dense(1)], random_state=0).build(3), os.path.join(tmp_path, os.fsdecode(b"\xff" * 100))
    model.save(path)
    np.testing.assert_array_equal(Model.load(path).params, model.params)
    temporary = tmp_path / ".nnn.0123.tmp"
    temporary.touch()
    model.save(tmp_path / ("n" * 240))
    assert temporary.exists()  # not of the same name, so not ours to sweep
