"""Predictors that answer at once: the same bits as the whole package gives, without it."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest
from frozen_networks import NETWORKS, network
from quick_predictors import MORE, python, quick, saved

from fastdnn import ModelFormatError, predictor
from fastdnn.frozen import Predictor
from fastdnn.predictor import QuickPredictor, load

CASES = [(name, frozen) for name in NETWORKS for frozen in ("float32", "bfloat16", "int8")]
CASES += [("dense", "float64"), ("images", "float64"), *((name, "float32") for name in MORE), ("lstm", "float64")]


@pytest.mark.parametrize(("name", "frozen"), CASES)
def test_the_same_bits_as_the_whole(tmp_path, name, frozen):
    path, made, X = saved(tmp_path, name, frozen=frozen)
    found, want = quick(path), made.predict(X)
    np.testing.assert_array_equal(found.predict(X), want)
    np.testing.assert_array_equal(np.concatenate([found.predict(X[i : i + 1]) for i in range(5)]), want[:5])
    assert found.predict(X[:2]).dtype == want.dtype
    assert found._whole is None
    assert (found.input_shape, found.output_shape, found.dtype) == (made.input_shape, made.output_shape, made.dtype)


def test_samples_as_users_have_them(tmp_path):
    path, made, X = saved(tmp_path)
    found, want = quick(path), made.predict(X)
    for given in (X.tolist(), X.astype(float), np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        np.testing.assert_array_equal(found.predict(given), want)
    numbers = np.arange(62).reshape(2, 31)
    for kind in ("u1", "i1", "u2", "i4", "f2", ">f4", "bool"):
        np.testing.assert_array_equal(found.predict(numbers.astype(kind)), made.predict(numbers.astype(kind)))
    spoilt = X.copy()
    spoilt[1, 3] = np.nan
    assert np.isnan(found.predict(spoilt)[1]).all()
    np.testing.assert_array_equal(found.predict(spoilt)[2:], want[2:])
    out = np.empty_like(want)
    assert found.predict(X, out=out) is out
    np.testing.assert_array_equal(out, want)
    assert found._whole is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"X": np.zeros((2, 30), "f4")},
        {"X": [["a"] * 31]},
        {"X": [[1.0, 2.0], [1.0]]},
        {"X": np.ma.masked_array(np.zeros((1, 31)), True)},
        {"X": np.zeros((2, 31)), "out": np.zeros((2, 5))},
        {"X": np.zeros((2, 31)), "out": np.zeros((3, 5), "f4")},
        {"X": np.zeros((2, 31)), "lengths": [1, 2]},
    ],
)
def test_what_is_wrong_is_the_whole_predictors_error(tmp_path, wrong):
    path, made, _ = saved(tmp_path)
    with pytest.raises(ValueError, match=r"X|out|lengths") as error:
        made.predict(**wrong)
    with pytest.raises(ValueError, match=r"X|out|lengths") as same:
        quick(path).predict(**wrong)
    assert str(same.value) == str(error.value)


def test_ids_out_of_range_and_rows_without_steps(tmp_path):
    path, _, X = saved(tmp_path, "masked ids")
    found = quick(path)
    for wrong in (X - 1, X + 11, X * 0, X.astype(float)):
        with pytest.raises(ValueError, match="X"):
            found.predict(wrong)


PROCESS = """
import sys
import numpy as np
from fastdnn.predictor import load
for path in sys.argv[1:]:
    data = np.load(path + ".npz")
    found = load(path)
    assert type(found).__name__ == "QuickPredictor", path
    np.testing.assert_array_equal(found.predict(data["X"]), data["want"])
print(*{name for name in ("numba", "scipy", "sklearn", "joblib", "fastdnn.model") if name in sys.modules})
"""


def test_a_new_process_needs_neither_numba_nor_the_rest(tmp_path):
    paths = []
    for name in ("images", "lstm", "bytes", "masked ids"):
        folder = tmp_path / name
        folder.mkdir()
        path, made, X = saved(folder, name)
        quick(path)
        np.savez(f"{path}.npz", X=X, want=made.predict(X))
        paths.append(str(path))
    assert python(PROCESS, *paths) == ""


FORKS = """
import os, sys, numpy as np
from fastdnn.predictor import load
found = load(sys.argv[1])
X = np.ones((3, 31), "f4")
want = found.predict(X)
child = os.fork()
if not child:
    os._exit(0 if (load(sys.argv[1]).predict(X) == want).all() and (found.predict(X) == want).all() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert (found.forward(X)[0] != want[0]).any()  # with the rest of the package
from numba import njit  # whose functions raise as ever
@njit
def fails(x):
    if x > 0:
        raise ValueError("as ever")
try:
    fails(1)
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forks_and_numba_afterwards(tmp_path):
    path, *_ = saved(tmp_path)
    quick(path)
    assert python(FORKS, str(path)) == "as ever"


def test_python_threads_at_once(tmp_path):
    path, made, X = saved(tmp_path, "images")
    found, want, wrong = quick(path), made.predict(X), []

    def work(i):
        for n in range(60):
            rows = slice((i + n) % 7, None if n % 2 else (i + n) % 7 + 1)
            if (found.predict(X[rows]) != want[rows]).any():
                wrong.append((i, n))

    running = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not wrong
    assert found._whole is None


def test_it_pickles_and_has_what_a_predictor_has(tmp_path):
    path, made, X = saved(tmp_path, "images", frozen="int8")
    found = quick(path)
    for other in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found), copy.copy(found)):
        assert type(other) is Predictor
        np.testing.assert_array_equal(other.predict(X), made.predict(X))
    assert found.summary() == made.summary()
    np.testing.assert_array_equal(found.forward(X), made.forward(X))
    assert str(path) in repr(found)
    with pytest.raises(AttributeError, match="nonsense"):
        found.nonsense  # noqa: B018
    found.save(tmp_path / "again.fdnn")
    np.testing.assert_array_equal(load(tmp_path / "again.fdnn").predict(X), made.predict(X))


def test_long_calls_go_on_with_threads(tmp_path, monkeypatch):
    path, made, X = saved(tmp_path, "images")
    found, X = quick(path), np.tile(X, (40, 1, 1, 1))
    monkeypatch.setattr(predictor, "SLOW", 0.0)
    monkeypatch.setattr(predictor, "PATIENCE", 0.0)
    monkeypatch.setattr(predictor, "processors", lambda: 2)
    found._snapshot._ticks = 100_000
    monkeypatch.setattr(QuickPredictor, "_help", lambda self: self.whole())
    want = made.predict(X)
    np.testing.assert_array_equal(found.predict(X), want)
    found._helper.join()
    assert type(found._whole) is Predictor
    np.testing.assert_array_equal(found.predict(X), want)


def test_another_file_in_its_place(tmp_path):
    path, made, X = saved(tmp_path)
    found, want = quick(path), made.predict(X)
    other, other_X = network("wide")
    other.freeze().save(path)
    np.testing.assert_array_equal(found.predict(X), want)
    with pytest.raises(FileNotFoundError, match="load it again"):
        found.summary()
    assert load(path).predict(other_X).shape == (33, 10)
    path.write_bytes(b"x" * 100)
    with pytest.raises(ModelFormatError):
        load(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for pipe in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ModelFormatError, match="is not a file"):
            load(pipe)
    ends = os.pipe()
    for wrong in (*ends, None, b"it.fdnn"):
        with pytest.raises(ValueError, match="path must be a str or path-like"):
            load(wrong)
    os.write(ends[1], b"x")  # both are still open
    assert os.read(ends[0], 1) == b"x"
    for end in ends:
        os.close(end)
