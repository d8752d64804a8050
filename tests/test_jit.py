"""Compilation: nothing at import, a cache that notices every edit and survives damage."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import fastdnn

PACKAGE = pathlib.Path(fastdnn.__file__).parent

TRAIN = """
import numpy as np, fastdnn
from fastdnn import _jit
X = np.linspace(-1, 1, 600).reshape(100, 6)
m = fastdnn.Model([fastdnn.layers.Dense(8, activation="tanh"), fastdnn.layers.Dense(1)], dtype="float64", random_state=0)
m.fit(X, X[:, 0], epochs=2)
kernels = [c for k in _jit.KERNELS if isinstance(k, _jit.Kernel) for c in k._compiled.values()]
print(repr(float(m.params.sum())), sum(c.cache_hits for c in kernels), len(kernels))
"""


def python(code, cwd=None, **environment):
    """(stdout, stderr) of a new Python process that finds the tested package first."""
    env = {**os.environ, "PYTHONPATH": str(cwd or PACKAGE.parent), "FASTDNN_QUIET": "0", **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300, cwd=cwd)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, done.stderr


@pytest.fixture
def package_copy(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "fastdnn", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_import_compiles_nothing():
    out, err = python("from fastdnn import Model, _jit; print(sum(bool(k._compiled) for k in _jit.KERNELS))")
    assert out == "0\n"
    assert err == ""


def test_second_process_reads_the_cache_and_an_edit_anywhere_makes_it_stale(package_copy):
    cache = {"NUMBA_CACHE_DIR": str(package_copy / "cache")}
    first, notice = python(TRAIN, package_copy, **cache)
    assert notice.count("\n") == 1
    assert "compiling kernels" in notice
    second, silence = python(TRAIN, package_copy, **cache)
    assert silence == ""
    value, hits, kernels = second.split()
    assert hits == kernels != "0"
    assert value == first.split()[0]
    # tanh stands in another file than every kernel that uses it; Numba alone would run the old code here.
    source = package_copy / "fastdnn" / "_math.py"
    source.write_text(source.read_text().replace("return where(size < 0.625, small, large)", "return x * 0.5"))
    third, notice = python(TRAIN, package_copy, **cache)
    assert "compiling kernels" in notice
    assert third.split()[0] != value
    assert third.split()[1] == "0"


def test_damaged_cache_files_are_compiled_again(package_copy):
    cache = package_copy / "cache"
    first, _ = python(TRAIN, package_copy, NUMBA_CACHE_DIR=str(cache))
    files = sorted(cache.rglob("*.nb[ic]"))
    assert files
    for i, file in enumerate(files):
        content = file.read_bytes()
        file.write_bytes([b"", content[: len(content) // 2], b"nonsense"][i % 3])
    second, _ = python(TRAIN, package_copy, NUMBA_CACHE_DIR=str(cache))
    assert second.split()[0] == first.split()[0]


def test_no_writable_cache_folder(package_copy):
    code = "from pathlib import Path; import fastdnn._cache as c; c._writable = lambda folder: False\n" + TRAIN
    out, notice = python(code, package_copy)
    assert out.split()[1] == "0"
    assert "again in every process" in notice
    off, _ = python(TRAIN, package_copy, FASTDNN_CACHE="0")
    assert off.split()[0] == out.split()[0]
    assert not list(package_copy.rglob("*.nbc"))


def test_a_cache_that_cannot_be_looked_into(package_copy, tmp_path):
    code = """
import pathlib, fastdnn._cache as c
def refuse(self, *a, **k): raise PermissionError(13, "denied")
pathlib.Path.glob, pathlib.Path.mkdir = refuse, refuse
print(c.cache_folder())
"""
    assert python(code, package_copy)[0] == "None\n"


def test_a_warmed_cache_that_is_only_readable_is_read(package_copy):
    cache = package_copy / "cache"
    first = python(TRAIN, package_copy, NUMBA_CACHE_DIR=str(cache))[0].split()
    readable = "import fastdnn._cache as c; c._writable = lambda folder: False\n" + TRAIN
    out, err = python(readable, package_copy, NUMBA_CACHE_DIR=str(cache))
    assert out.split() == [first[0], first[2], first[2]]
    assert err == ""


def test_warmup_leaves_nothing_to_compile(package_copy):
    cache = {"NUMBA_CACHE_DIR": str(package_copy / "cache")}
    python("import fastdnn; assert fastdnn.warmup() > 20", package_copy, **cache)
    code = """
import warnings; warnings.simplefilter("ignore")
import numpy as np, fastdnn, scipy.sparse
fastdnn.thread_choice.launch_seconds = lambda: 0.0
X = np.random.default_rng(0).standard_normal((300, 8))
for dtype in ("f4", "f8"):
    for y in (X[:, 0] > 0, np.digitize(X[:, 0], [-1, 1])):
        for activation in ("identity", "relu", "tanh", "logistic"):
            for solver in ("adam", "sgd", "lbfgs"):
                e = fastdnn.MLPClassifier((9,), activation, solver=solver, max_iter=2)
                e.fit(X.astype(dtype), y).predict_proba(scipy.sparse.csr_matrix(X.astype(dtype)))
    for loss in ("squared_error", "poisson"):
        fastdnn.MLPRegressor(loss, max_iter=2).fit(scipy.sparse.csr_matrix(X.astype(dtype)), X[:, 0] ** 2).predict(X)
    for loss in ("log_loss", "squared_error"):
        fastdnn.Model([fastdnn.layers.Dense(1)], loss=loss, dtype=dtype).fit(X, X[:, 0] > 0)
"""
    assert python(code, package_copy, **cache) == ("", "")


def test_processes_that_start_at_once_on_an_empty_cache(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "NUMBA_CACHE_DIR": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", TRAIN], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    results = [process.communicate(timeout=300) for process in running]
    assert all(process.returncode == 0 for process in running), results
    assert len({out.split()[0] for out, _ in results}) == 1


USER = """
from fastdnn import Model, layers
from fastdnn.layers import ActivationFunction, activation
from fastdnn._simd import where

def make(slope):
    @activation
    class leaky(ActivationFunction):
        def forward(x):
            return where(x < 0.0, slope * x, x)
        def derivative(y):
            return where(y < 0.0, slope, 1.0)
    model = Model([layers.Dense(1, activation="leaky")], dtype="float64").build(1)
    model.params[0] = 1
    return float(model.forward([[-1.0]])[0, 0]), layers.ACTIVATIONS["leaky"].forward_kernel.compile("float64").cache_hits
"""


def test_bodies_of_users_are_told_apart_by_what_they_emit(tmp_path):
    (tmp_path / "mine.py").write_text(USER)
    code = "from mine import make; print(make(0.5), make(0.25))"
    notebook = f"exec(compile({USER!r}, '<notebook>', 'exec')); print(make(0.25), make(2.0))"
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": f"{PACKAGE.parent}{os.pathsep}{tmp_path}"}
    assert python(code, **environment)[0] == "(-0.5, 0) (-0.25, 0)\n"
    assert python(code, **environment)[0] == "(-0.5, 1) (-0.25, 1)\n"
    assert python(notebook, **environment)[0] == "(-0.25, 1) (-2.0, 0)\n"


def test_old_versions_leave_the_cache_folder(package_copy):
    cache = package_copy / "cache"
    for i in range(6):
        (cache / "fastdnn" / f"old{i}").mkdir(parents=True)
    code = "import fastdnn._cache as c; print(c.cache_folder().name)"
    name = python(code, package_copy, NUMBA_CACHE_DIR=str(cache))[0].strip()
    left = {folder.name for folder in (cache / "fastdnn").iterdir()}
    assert name in left
    assert len(left) == 4


def test_without_the_jit_it_says_so():
    done = subprocess.run(
        [sys.executable, "-c", "from fastdnn import Model"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "NUMBA_DISABLE_JIT": "1"},
    )
    assert "unset NUMBA_DISABLE_JIT" in done.stderr
