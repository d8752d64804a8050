"""Every example runs, on small data, and does what it says."""

import gzip
import importlib.util
import os
import pathlib
import subprocess
import sys
import tarfile

import naive
import numpy as np
import pytest

from fastdnn import Model

FOLDER = pathlib.Path(__file__).parent.parent / "examples"

# name -> (arguments of main, what its result must exceed)
CASES = {
    "quick_start": ({}, 0.9),
    "grid_search": ({"max_iter": 30}, 0.9),
    "online_learning": ({"pieces": 60}, 0.8),
    "step_by_step": ({"steps": 600}, 0.95),
    "residual": ({"epochs": 12, "blocks": 40}, 0.9),
    "schedules": ({}, 9),
    "search": ({"candidates": 3}, 0.9),
    "checkpoints": ({}, 0),
    "streaming": ({"rows": 60_000}, 0.5),
    "adult": ({"epochs": 15}, 0.85),
    "adversarial": ({"epochs": 10}, 0.4),
    "pruning": ({"epochs": 30, "hidden": (128, 64)}, 0.95),
}


def test_the_page_on_layers_shows_the_example_as_it_is():
    page, source = (FOLDER / "README.md").read_text(), (FOLDER / "own_parts.py").read_text()
    shown = page.split("```python\n")[1].split("```")[0].replace("from fastdnn import extending as e\n\n", "")
    assert shown.strip() in source


def example(name):
    sys.path.insert(0, str(FOLDER))  # examples import each other
    try:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CASES)
def test_example(name, capsys):
    arguments, least = CASES[name]
    assert example(name).main(**arguments) > least
    assert capsys.readouterr().out


def test_pictures(tmp_path, capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    assert example("pictures").main(tmp_path) == 5
    pyplot.close("all")


def test_adult_reads_its_files(tmp_path):
    for part, end in (("train", ""), ("test", ".")):
        (tmp_path / f"adult-{part}.csv").write_text(f"39, State-gov, <=50K{end}\n50, ?, >50K{end}\n")
    X, X_test, y, y_test = example("adult").read(tmp_path)
    assert X.shape == X_test.shape == (2, 2)
    assert list(y) == list(y_test) == ["<=50K", ">50K"]


def test_regression(capsys):
    assert example("regression").main() < 0.9


def test_quantiles(tmp_path, capsys):
    inside, crossing = example("quantiles").main(epochs=60)
    assert 0.6 < inside < 0.95
    assert crossing < 0.1
    (tmp_path / "table.csv").write_text("a,b\n" + "\n".join(f"{i},{i % 7}" for i in range(50)))
    X, y = example("quantiles").read(tmp_path / "table.csv")
    assert X.shape == (50, 1)
    assert y[9] == 2


def test_tables(tmp_path, capsys):
    tables = example("tables")
    assert tables.main(n=600, preset="fast") > 0.9
    X, y = tables.flats(300)
    X.assign(dear=np.where(y > np.median(y), "yes", "no")).to_csv(tmp_path / "flats.csv", index=False)
    assert tables.main(tmp_path / "flats.csv", "dear", preset="fast") > 0.7
    assert "what matters" in capsys.readouterr().out


def test_tables_search(capsys):
    pytest.importorskip("optuna")
    assert example("tables_search").main(trials=3) == 3


def test_small_data(tmp_path, capsys):
    assert example("small_data").main(epochs=10) < 1.0
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.standard_normal((60, 3)), np.zeros(60)])
    table[:, 3] = table[:, 0] - 2 * table[:, 1]
    parts = {"data": table, "index_features": [0, 1, 2], "index_target": [3]}
    for k in range(6):
        rows = rng.permutation(60)
        parts |= {f"index_train_{k}": rows[:50], f"index_test_{k}": rows[50:]}
    (tmp_path / "toy").mkdir()
    with tarfile.open(tmp_path / "toy_splits.tar.gz", "w:gz") as archive:
        for name, values in parts.items():
            np.savetxt(tmp_path / "toy" / f"{name}.txt", values)
            archive.add(tmp_path / "toy" / f"{name}.txt", f"toy/{name}.txt")
    assert example("small_data").main(tmp_path / "toy_splits.tar.gz", epochs=60) < 0.5


def test_own_parts_come_from_the_cache_in_a_second_process(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "FASTDNN_QUIET": "0"}
    runs = [
        subprocess.run([sys.executable, FOLDER / "own_parts.py"], capture_output=True, text=True, env=environment, check=True)
        for _ in range(2)
    ]
    assert float(runs[0].stdout.split()[-1]) < 0.65
    assert runs[0].stdout.split()[-1] == runs[1].stdout.split()[-1]
    assert "compiling" in runs[0].stderr
    assert not runs[1].stderr


def test_own_parts_are_right():
    """Gradient of the example's network against central differences, its optimizer against its formula."""
    parts = example("own_parts")
    model = parts.network()
    double = Model(model.layers, loss=model.loss, optimizer=parts.Lion(0.01), dtype="float64", random_state=0).build(5)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 5)), rng.standard_normal(40)
    _, gradient = double.loss_and_grad(X, y)
    numeric = naive.central_difference(lambda: double.loss_and_grad(X, y)[0], double.params)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)
    run, p, m = double.bind(X, y, batch_size=40), double.params.copy(), 0.0
    for _ in range(5):
        double.loss_and_grad(X, y)
        g = double.grads.copy()
        p, m = p - 0.01 * np.sign(0.9 * m + 0.1 * g), 0.99 * m + 0.01 * g
        run.epoch()
        np.testing.assert_allclose(double.params, p, rtol=1e-9, atol=1e-12)


def test_regularized(tmp_path, capsys):
    write_images(tmp_path)
    assert example("regularized").main(tmp_path, epochs=20, hidden=(32, 16)) > 0.9


def test_fashion_mnist(tmp_path, capsys):
    write_images(tmp_path)
    assert example("fashion_mnist").main(tmp_path, epochs=10, hidden=(32,)) > 0.9


@pytest.mark.parametrize("network", ["small", "augmented", "separable", "residual"])
def test_images(network, tmp_path, capsys):
    write_images(tmp_path, stripes=True)
    assert example("images").main(tmp_path, network, epochs=6, verbose=0) > 0.6
    assert "parameters" in capsys.readouterr().out


def test_image_pictures(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert example("image_pictures").main(tmp_path, epochs=5) > 0.9
    assert (tmp_path / "images.png").stat().st_size > 10_000


def test_time_series(tmp_path, capsys):
    rng, time = np.random.default_rng(0), np.linspace(0, 6, 50)
    for part, rows in (("TRAIN", 40), ("TEST", 60)):
        labels = np.arange(rows) % 2 + 1
        series = np.sin(time * (1 + labels[:, None]) + rng.random((rows, 1))) + 0.1 * rng.standard_normal((rows, 50))
        np.savetxt(tmp_path / f"Waves_{part}.tsv", np.column_stack([labels, series]), delimiter="\t")
    assert example("time_series").main(tmp_path, ["Waves"], seeds=1, epochs=10) > 0.9
    assert "Waves" in capsys.readouterr().out


def write_images(tmp_path, stripes=False):
    """Files in Fashion-MNIST's format whose classes are easy to tell: by a row, or by how far apart bright rows are."""
    rng = np.random.default_rng(0)
    for name, rows in (("train", 600), ("t10k", 200)):
        labels = np.arange(rows, dtype=np.uint8) % 10
        images = rng.integers(0, 60, (rows, 28, 28), dtype=np.uint8)
        images[np.arange(rows), labels * 2] = 250  # a bright row tells the class
        for image, label in zip(images if stripes else (), labels, strict=False):
            image[...] = 30
            image[:: label + 2] = 220
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (tmp_path / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))


def test_fashion_mnist_refuses_other_files(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"no idx file"))
    with pytest.raises(ValueError, match="not an idx file"):
        example("fashion_mnist").read_idx(tmp_path / "x.gz")


def test_every_example_is_tested():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {
        *CASES,
        "regression",
        "fashion_mnist",
        "regularized",
        "quantiles",
        "small_data",
        "own_parts",
        "pictures",
        "images",
        "image_pictures",
        "time_series",
        "text_generation",
        "surnames",
        "sentences",
        "forecast",
        "spoken",
        "anomaly",
        "gan_modes",
        "gan_images",
        "autoencoder",
        "moving",
        "board_games",
        "tic_tac_toe",
        "connect_four",
        "cartpole",
        "style",
        "saliency",
        "tables",
        "tables_search",
        "serve",
        "serve_load",
    }  # fmt: skip; the last two: see test_serving
