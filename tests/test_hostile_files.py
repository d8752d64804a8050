"""Model files that are damaged or hostile: refused with one exception, or models that predict; no memory, no crash."""

import json
import os
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest
from test_saving import X, Y, network

from fastdnn import Model, ModelFormatError, layers, optimizers, schedules
from fastdnn.callbacks import EarlyStopping


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
    {"best": 1},
    {"best": []},
    {"best": [-1]},
    {"best": ["0"]},
    {"best": [True]},
    {"best": [0, 1]},
    {"best": [0] * 100_000},
    {"restored_by": 3},
    {"scores": "val_f1"},
    {"scores": [1]},
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


def test_files_of_before_that_do_not_say_whose_best_epoch_they_hold(saved):
    def as_before(settings):
        for name in ("best", "scores", "restored_by"):
            del settings[name]

    resigned(saved, as_before)
    model = Model.load(saved)
    assert [best.epoch for best in model.trained.bests] == [None]
    held, stop = model.best.params.copy(), EarlyStopping("val_loss", patience=9, min_delta=1e9)
    model.fit(X, Y, epochs=3, validation_fraction=0.2, callbacks=[stop], resume=True)
    assert (stop.best_epoch_, model.history.restored, model.history.restored_by) == (0, 0, "val_loss")
    np.testing.assert_array_equal(model.params, held)


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
import test_hostile_files as t
from fastdnn import Model
Model.load(sys.argv[1]).predict(t.X)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
t.check_mutations(sys.argv[1], 300, 1)
"""
    subprocess.run([sys.executable, "-c", code, saved, os.path.dirname(__file__)], check=True)


def test_a_text_that_is_no_unicode(saved):
    edited(saved, lambda header: header["__metadata__"].update(model="\ud800"))
    with pytest.raises(ModelFormatError):
        Model.load(saved)
