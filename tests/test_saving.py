"""Model files: what goes in comes out, nothing else gets in, and nothing is ever lost."""

import json
import os
import pathlib
import signal
import struct
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


def network(*more, **settings):
    settings = {"loss": "cross_entropy", "random_state": 1, **settings}
    return Model([layers.Dense(5, activation="tanh"), *more, layers.Dense(3)], **settings)


def edited(path, change, target=None):
    """The file with its header, as a dict, changed by a function; the payload stays."""
    data = path.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    change(header)
    text = json.dumps(header).encode()
    (target or path).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + n :])


def settings_of(header):
    return json.loads(header["__metadata__"]["model"])


def resigned(path, change):
    """The file with its settings, as a dict, changed by a function, and a checksum that fits."""
    from fastdnn.saving.container import checksum

    payload = path.read_bytes()
    (n,) = struct.unpack("<Q", payload[:8])
    payload = payload[8 + n :]

    def both(header):
        settings = settings_of(header)
        change(settings)
        header["__metadata__"]["model"] = json.dumps(settings)
        digest = checksum(header["__metadata__"])
        digest.update(payload)
        header["__metadata__"]["sha256"] = digest.hexdigest()

    edited(path, both)


# ---------------------------------------------------------------- round trips

SAMPLES = {
    "dense": layers.Dense(4, activation="gelu", initializer="he_normal", l1=0.1, max_norm=2.0),
    "activation": layers.Activation("silu"),
    "prelu": layers.PReLU(),
    "dropout": layers.Dropout(0.3),
    "alpha_dropout": layers.AlphaDropout(0.1),
    "gaussian_noise": layers.GaussianNoise(0.5),
    "batch_norm": layers.BatchNorm(momentum=0.2),
    "layer_norm": layers.LayerNorm(),
    "residual": layers.Residual([layers.Dense(5, activation="relu"), layers.BatchNorm(), layers.Dense(5)]),
    "flatten": layers.Flatten(),
    "reshape": layers.Reshape((5,)),
}


def test_there_is_a_sample_of_every_layer():
    assert SAMPLES.keys() == LAYERS.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(name, tmp_path):
    model = network(SAMPLES[name])
    model.fit(X, Y, epochs=3)
    model.save(tmp_path / "m.fdnn")
    loaded = Model.load(tmp_path / "m.fdnn")
    assert loaded.layers == model.layers
    np.testing.assert_array_equal(loaded.params, model.params)
    np.testing.assert_array_equal(loaded.state, model.state)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    loaded.fit(X, Y, epochs=2)
    model.fit(X, Y, epochs=2)
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
    np.testing.assert_array_equal(loaded.slots, model.slots)


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


# ---------------------------------------------------------------- nothing else gets in


@pytest.fixture
def saved(tmp_path):
    model = network(layers.BatchNorm(), optimizer=optimizers.Adam(schedules.OneCycle(0.01), average=0.9))
    model.fit(X, Y, epochs=2, validation_fraction=0.2)
    model.keep_best()
    path = tmp_path / "m.fdnn"
    model.save(path)
    return path


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def first_of(header):
    return next(name for name in header if name != "__metadata__")


HEADERS = [
    lambda h: h.update(extra=entry(offsets=(10**9, 10**9 + 4))),
    lambda h: h[first_of(h)].update(shape=[-1]),
    lambda h: h[first_of(h)].update(shape=[2**62, 2**62]),
    lambda h: h[first_of(h)].update(shape=[1] * 40),
    lambda h: h[first_of(h)].update(shape="six"),
    lambda h: h[first_of(h)].update(dtype="I8"),
    lambda h: h[first_of(h)].update(dtype=["F32"]),
    lambda h: h[first_of(h)].update(data_offsets=[0, -4]),
    lambda h: h[first_of(h)].update(data_offsets=[0]),
    lambda h: h[first_of(h)].update(data_offsets=[0.0, 4.0]),
    lambda h: h[first_of(h)].update(data_offsets=[True, 4]),
    lambda h: h[first_of(h)].update(more=1),
    lambda h: h.update({first_of(h): h["0.dense.bias"]}),
    lambda h: h.pop(first_of(h)),
    lambda h: h.update({first_of(h): 3}),
    lambda h: h.pop("__metadata__"),
    lambda h: h.update(__metadata__=[]),
    lambda h: h["__metadata__"].update(format="keras"),
    lambda h: h["__metadata__"].update(version="99"),
    lambda h: h["__metadata__"].update(sha256="0"),
    lambda h: h["__metadata__"].update(model="{"),
    lambda h: h["__metadata__"].update(model="[" * 100_000),
    lambda h: h["__metadata__"].update(model='{"a": 1, "a": 2}'),
    lambda h: h["__metadata__"].update(model='{"a": NaN}'),
]


@pytest.mark.parametrize("number", range(len(HEADERS)))
def test_hostile_headers(number, saved):
    edited(saved, HEADERS[number])
    with pytest.raises(ModelFormatError):
        Model.load(saved)


def nested(depth):
    spec = {"type": "Dense", "units": 5}
    for _ in range(depth):
        spec = {"type": "Residual", "layers": [spec]}
    return spec


SETTINGS = [
    {"dtype": "float16"},
    {"dtype": None},
    {"dtype": "object"},
    {"loss": {"type": "Adam"}},
    {"loss": "cross_entropyy"},
    {"loss": {"type": "Quantile", "quantiles": [0.1, 0.5]}},
    {"optimizer": {"type": "os.system"}},
    {"optimizer": {"type": "Adam", "learning_rate": -1}},
    {"optimizer": {"type": "Adam", "learning_rate": 10**400}},
    {"optimizer": {"type": "Adam", "learning_rate": {"type": "Dense", "units": 3}}},
    {"optimizer": {"type": "SGD"}},
    {"layers": []},
    {"layers": [{"type": "Dense", "units": 3}]},
    {"layers": [{"type": "Dense", "units": 10**30}]},
    {"layers": [{"type": "Dense", "units": -3}]},
    {"layers": [{"type": "Dense", "units": {"type": "Dense", "units": 1}}]},
    {"layers": [{"type": "Dense", "units": 5, "activation": "__import__"}]},
    {"layers": [{"type": "Dense", "units": 5, "__class__": "x"}]},
    {"layers": [{"type": "Dropout"}] * 30_000},
    {"layers": [nested(200)]},
    {"layers": [nested(20)]},
    {"layers": {"type": "Dense", "units": 3}},
    {"input_shape": [10**12]},
    {"input_shape": [0]},
    {"input_shape": [6, 1]},
    {"input_shape": 6},
    {"input_shape": [10**12], "layers": [{"type": "Activation", "activation": "relu"}]},
    {"seed": -1},
    {"seed": "x"},
    {"seed": 2**300},
    {"step": -1},
    {"step": 1.5},
    {"fit_start": [5, 5]},
    {"fit_start": [0]},
    {"rate_factor": "1"},
    {"rate_factor": {"float": "nan"}},
    {"rate_factor": {"float": "inf"}},
    {"plateau": {"factor": -1}},
    {"plateau": {"factor": []}},
    {"plateau": {"more": 1}},
    {"skipped": "many"},
    {"restored": -2},
    {"history": ["loss", "loss"]},
    {"history": ["less"]},
    {"history": None},
    {"notes": [3]},
    {"stopped": 3},
]


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_hostile_settings(number, saved):
    resigned(saved, lambda settings: settings.update(SETTINGS[number]))
    with pytest.raises(ModelFormatError):
        Model.load(saved)


def test_a_changed_setting_without_its_checksum(saved):
    edited(saved, lambda h: h["__metadata__"].update(model=h["__metadata__"]["model"].replace('"seed": 1', '"seed": 2')))
    with pytest.raises(ModelFormatError, match="checksum"):
        Model.load(saved)


def test_not_finite(tmp_path):
    model = network().build(6)
    model.params[0] = np.nan
    model.save(tmp_path / "m.fdnn")
    with pytest.raises(ModelFormatError, match="NaN or infinity"):
        Model.load(tmp_path / "m.fdnn")
    assert np.isnan(Model.load(tmp_path / "m.fdnn", finite=False).params[0])


def test_sizes(saved):
    with pytest.raises(ModelFormatError, match="max_bytes"):
        Model.load(saved, max_bytes=1000)
    with pytest.raises(FileNotFoundError):
        Model.load(saved.parent / "none")
    for n in (0, 7, 8, 100, saved.stat().st_size - 1):
        cut = saved.parent / "cut"
        cut.write_bytes(saved.read_bytes()[:n])
        with pytest.raises(ModelFormatError):
            Model.load(cut)
    cut.write_bytes(saved.read_bytes() + b"x")
    with pytest.raises(ModelFormatError, match="has more"):
        Model.load(cut)
    cut.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(ModelFormatError, match="header"):
        Model.load(cut)


def mutations(data, n, seed):
    """n damaged copies: bits flipped, bytes cut out, put in, repeated or overwritten, most of them in the header."""
    rng = np.random.default_rng(seed)
    (header,) = struct.unpack("<Q", data[:8])
    numbers = [b"-1", b"1e999", b"99999999999999999999", b"null", b'"x"', b"[]", b"{}", b"true", b"1.5", b"[[[[", b"NaN"]
    for _ in range(n):
        copy = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            end = len(copy) if rng.random() < 0.3 else min(len(copy), 8 + header)
            if not end:
                break
            at, length = int(rng.integers(end)), int(rng.integers(1, 20))
            kind = rng.integers(6)
            if kind == 0:
                copy[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                del copy[at : at + length]
            elif kind == 2:
                copy[at:at] = rng.bytes(length)
            elif kind == 3:
                copy[at : at + length] = numbers[rng.integers(len(numbers))]
            elif kind == 4:
                copy[at:at] = copy[at : at + length]
            else:
                del copy[at:]
        yield bytes(copy)


def check_mutations(path, n, seed):
    """Load n damaged copies of a file: each is refused with the one exception, or predicts. Returns how many loaded."""
    data, damaged, loaded = pathlib.Path(path).read_bytes(), pathlib.Path(f"{path}.damaged"), 0
    for copy in mutations(data, n, seed):
        damaged.write_bytes(copy)
        try:
            model = Model.load(damaged)
        except ModelFormatError:
            continue
        loaded += 1
        assert np.isfinite(model.predict(np.zeros((3, *model.layout.shapes[0]), model.dtype))).all()
    return loaded


def test_mutated_files(saved):
    check_mutations(saved, 1500, seed=0)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_hostile_files_take_no_memory(saved):
    """With 64 MB more than it has, a process refuses what says that it needs more."""
    code = """
import resource, sys
sys.path.insert(0, sys.argv[2])
import test_saving as t
from fastdnn import Model
Model.load(sys.argv[1]).predict(t.X)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
t.check_mutations(sys.argv[1], 300, 1)
"""
    subprocess.run([sys.executable, "-c", code, saved, os.path.dirname(__file__)], check=True)


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


def test_a_text_that_is_no_unicode(saved):
    edited(saved, lambda header: header["__metadata__"].update(model="\ud800"))
    with pytest.raises(ModelFormatError):
        Model.load(saved)


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
