"""Every example runs, on small data, and does what it says."""

import gzip
import importlib.util
import pathlib

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parent.parent / "examples"

# name -> (arguments of main, what its result must exceed)
CASES = {
    "quick_start": ({}, 0.9),
    "grid_search": ({"max_iter": 30}, 0.9),
    "online_learning": ({"pieces": 60}, 0.8),
    "step_by_step": ({"steps": 600}, 0.95),
}


def example(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CASES)
def test_example(name, capsys):
    arguments, least = CASES[name]
    assert example(name).main(**arguments) > least
    assert capsys.readouterr().out


def test_regression(capsys):
    assert example("regression").main() < 0.9


def test_fashion_mnist(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, rows in (("train", 600), ("t10k", 200)):
        labels = np.arange(rows, dtype=np.uint8) % 10
        images = rng.integers(0, 60, (rows, 28, 28), dtype=np.uint8)
        images[np.arange(rows), labels * 2] = 250  # a bright row tells the class
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (tmp_path / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    assert example("fashion_mnist").main(tmp_path, epochs=10, hidden=(32,)) > 0.9


def test_fashion_mnist_refuses_other_files(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"no idx file"))
    with pytest.raises(ValueError, match="not an idx file"):
        example("fashion_mnist").read_idx(tmp_path / "x.gz")


def test_every_example_is_tested():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {*CASES, "regression", "fashion_mnist"}
