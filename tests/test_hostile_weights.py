"""Files of weights that are damaged or hostile are refused, with what is wrong, and change nothing; own files are read."""

import contextlib
import pickle
import struct
import zipfile

import numpy as np
import pytest
from test_hostile_files import mutations
from test_torch_weights import TWO, entries, mlp, normal, refused, save, written

from fastdnn import Model, ModelFormatError, layers, optimizers


@pytest.fixture
def two(tmp_path):
    return save(tmp_path / "two.safetensors", TWO)


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "pytorch_model.bin"])
def test_pickles(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(TWO))
    assert "save_file(net.state_dict(), path)" in refused(mlp(), path, "a pickle of PyTorch's")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", "")
    refused(mlp(), path.rename(tmp_path / "net"), "from safetensors.torch import save_file")


def test_files_cut_off(two, tmp_path):
    data, model = two.read_bytes(), mlp()
    for n in [*range(0, len(data), 7), len(data) - 1]:
        (tmp_path / "cut").write_bytes(data[:n])
        refused(model, tmp_path / "cut", "cut")
    (tmp_path / "cut").write_bytes(data + b"x")
    refused(model, tmp_path / "cut", "has more")


CHANGES = {
    "offsets": (lambda e: e.update(data_offsets=[10**9, 10**9 + 20]), "0.weight"),  # the bytes before it are nobody's
    "last": (lambda e: e.update(data_offsets=[172, 192]), "0.weight"),
    "empty": (lambda e: e.update(dtype="I64", shape=[0, 2**40, 2**40], data_offsets=[0, 0]), "0.bias"),
    "order": (lambda e: e.update(data_offsets=[20, 0]), "0.bias"),
    "sign": (lambda e: e.update(data_offsets=[-20, 0]), "0.bias"),
    "hole": (lambda e: e.update(data_offsets=[4, 20], shape=[4]), "0.bias"),
    "overlap": (lambda e: e.update(data_offsets=[0, 24], shape=[6]), "0.weight"),
    "size": (lambda e: e.update(shape=[4]), "0.bias"),
    "negative": (lambda e: e.update(shape=[-5]), "0.bias"),
    "huge": (lambda e: e.update(shape=[2**40, 2**40]), "0.bias"),
    "rank": (lambda e: e.update(shape=[1] * 40), "0.bias"),
    "dtype": (lambda e: e.update(dtype="F8_E4M3"), "'0.bias' must be one of .*got 'F8_E4M3'"),
    "no_dtype": (lambda e: e.update(dtype=["F32"]), "0.bias"),
    "missing": (lambda e: e.pop("shape"), "0.bias"),
    "more": (lambda e: e.update(stride=[1]), "0.bias"),
    "fraction": (lambda e: e.update(data_offsets=[0.0, 20.0]), "0.bias"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_entries_that_do_not_fit(name, tmp_path):
    change, match = CHANGES[name]
    header, payload = entries(dict(sorted(TWO.items())))
    change(header["0.bias"])
    refused(mlp(), written(tmp_path / "bad", header, payload), f"bad'.*{match}")


HEADERS = [
    (b'{"0.bias": 1, "0.bias": 1}', "the name '0.bias' twice"),
    (b'{"0.bias": {"dtype": "F32", "dtype": "F32"}}', "'dtype' twice"),
    (b"[1]", "no JSON object"),
    (b'{"a": NaN}', "number NaN"),
    (b'{"\xff": 1}', "not valid JSON"),
    (b'{"a": ' + b"[" * 100_000, "not valid JSON"),
    (b'{"__metadata__": {"a": 1}}', "texts to texts"),
    (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
    (b"{}" + b" " * 100, "none like it left"),
]


@pytest.mark.parametrize("number", range(len(HEADERS)))
def test_headers_that_are_none(number, tmp_path):
    text, match = HEADERS[number]
    refused(mlp(), written(tmp_path / "bad", text, b""), match)


def test_lengths_of_headers(tmp_path):
    for length in (2**63, 2**64 - 1, 10**8 + 1, 3):
        (tmp_path / "bad").write_bytes(struct.pack("<Q", length) + b"{}")
        refused(mlp(), tmp_path / "bad", "header")
    with open(tmp_path / "bad", "r+b") as file:  # a file with room for it takes no memory either
        file.write(struct.pack("<Q", 10**8 + 1))
        file.truncate(2 * 10**8)
    refused(mlp(), tmp_path / "bad", "larger than 100000000")


def test_mutated_files(two, tmp_path):
    model, damaged = mlp(), tmp_path / "damaged"
    for copy in mutations(two.read_bytes(), 1000, seed=0):
        damaged.write_bytes(copy)
        with contextlib.suppress(ModelFormatError):
            model.load_weights(damaged, layout="torch")


def test_long_names(tmp_path):
    for name in (".".join(["a"] * 100_000), "7" * 100_000, "\n." * 10, "\ud800", "é"):
        header, payload = entries({f"{name}.weight": normal(2, 4)})
        model = Model([layers.Dense(2, use_bias=False)]).build(4)
        model.load_weights(written(tmp_path / "m", header, payload), layout="torch")
        assert len(refused(mlp(), tmp_path / "m")) < 500


# ---------------------------------------------------------------- files of fastdnn


def test_own_files(tmp_path):
    x, y = normal(40, 4), normal(40, 3)
    trained = mlp(layers.BatchNorm(), optimizer=optimizers.Adam(0.01, average=0.9), random_state=0)
    trained.fit(x, y, epochs=2)
    trained.keep_best()
    trained.save(tmp_path / "m.fdnn")
    for dtype in ("float32", "float64"):
        model = mlp(layers.BatchNorm(), dtype=dtype, optimizer="sgd").load_weights(tmp_path / "m.fdnn")
        for key, array in (trained.weights | trained.states).items():
            np.testing.assert_array_equal((model.weights | model.states)[key], array)
    refused(mlp(), tmp_path / "m.fdnn", r"differ in '1.dense.kernel': .* \(5, 3\) and none", layout="fastdnn")
    refused(mlp(layers.BatchNorm()), tmp_path / "m.fdnn", "take layout='fastdnn'")
    other = Model([layers.Dense(6), layers.BatchNorm(), layers.Dense(3)]).build(4)
    refused(other, tmp_path / "m.fdnn", r"'0.dense.kernel': shapes \(4, 6\) and \(4, 5\)", layout="fastdnn")
    data = bytearray((tmp_path / "m.fdnn").read_bytes())
    data[-1] ^= 1
    (tmp_path / "m.fdnn").write_bytes(data)
    refused(mlp(layers.BatchNorm()), tmp_path / "m.fdnn", "m.fdnn.*checksum", layout="fastdnn")
    refused(mlp(), save(tmp_path / "two", TWO), "not a model of fastdnn", layout="fastdnn")
