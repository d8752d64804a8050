"""Compilation: nothing at import, a cache that notices every edit and survives damage; threads and processes."""

import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastdnn
from fastdnn import MLPClassifier, Model, _threads, layers
from fastdnn.thread_choice import SLICE, ThreadChoice, thread_choice

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
    out, err = python("import fastdnn; from fastdnn import _jit; print(sum(bool(k._compiled) for k in _jit.KERNELS))")
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
        [sys.executable, "-c", "import fastdnn"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "NUMBA_DISABLE_JIT": "1"},
    )
    assert "unset NUMBA_DISABLE_JIT" in done.stderr


# ---------------------------------------------------------------- threads


def test_thread_settings():
    everything = fastdnn.get_num_threads()
    with fastdnn.config_context(n_threads=3):
        assert fastdnn.get_num_threads() == 3
        with fastdnn.config_context():
            assert fastdnn.get_num_threads() == 3
        with pytest.raises(ValueError, match="n_threads"):
            fastdnn.set_num_threads("two")
    assert fastdnn.get_num_threads() == everything
    fastdnn.set_num_threads(5)
    try:
        assert fastdnn.get_num_threads() == 5
        seen = []
        other = threading.Thread(target=lambda: seen.append(fastdnn.get_num_threads()))
        other.start()
        other.join()
        assert seen == [5]
    finally:
        _threads._default[0] = None


def test_numbas_thread_count_is_restored():
    import numba

    before = numba.get_num_threads()
    with fastdnn.config_context(n_threads=2):
        trained(1)
    assert numba.get_num_threads() == before


def test_environment_limits_the_threads():
    out, _ = python("import fastdnn; print(fastdnn.get_num_threads())", NUMBA_NUM_THREADS="1")
    assert out == "1\n"


def test_python_threads_share_the_processors(monkeypatch):
    monkeypatch.setattr(_threads, "available_threads", lambda: 2)
    monkeypatch.setattr(_threads.numba.config, "NUMBA_NUM_THREADS", 2)
    monkeypatch.setattr(_threads.numba, "set_num_threads", lambda n: None)
    with _threads.region(2) as first:
        with _threads.region(2) as second:
            assert _threads.busy_threads() == 3
        assert _threads.busy_threads() == 2
    with _threads.region(2) as later:
        pass
    assert (first, second, later) == (True, False, True)
    assert _threads.busy_threads() == 0


@pytest.fixture
def free_machine(monkeypatch):
    """What other tests have found out about the machine does not count."""
    monkeypatch.setattr(ThreadChoice, "crowded", 0.0)


def test_a_short_look_at_one_thread_comes_first_and_short_ones_at_all_follow(free_machine):
    choice = ThreadChoice(2)
    assert choice.next() == (1, ThreadChoice.FIRST[0])
    choice.took(1, 10, 10.0)
    choice._to_probe, found = 10.0, []
    for _ in range(8):
        found.append(choice.next())
        choice.took(2, 10, found[-1][1])
    assert found[0] == (2, ThreadChoice.FIRST[1])
    assert all(threads == 2 for threads, _ in found)
    assert [seconds for _, seconds in found] == sorted(seconds for _, seconds in found)
    assert choice.next() == (2, SLICE / 2)
    assert ThreadChoice(1).next() == (1, SLICE)


def test_one_thread_takes_over_while_all_are_slower(free_machine):
    choice = ThreadChoice(2)
    choice.took(1, 1, 0.010)
    choice.took(2, 1, 0.006)
    assert choice.next()[0] == 2
    choice.took(2, 1, 0.012)
    assert choice.next() == (1, SLICE)
    choice.took(1, 1, 0.009)
    choice._until = 0.0  # the pause is over
    assert choice.next() == (2, ThreadChoice.FIRST[1])
    choice.took(2, 1, 0.0095)
    assert choice.next()[0] == 1
    assert ThreadChoice.RETRY[0] < choice._pause <= ThreadChoice.RETRY[1]
    assert ThreadChoice.crowded == 0.0


def test_looks_are_as_long_as_they_should_be_however_short_the_slices_are(free_machine):
    """Epochs of a small network end slices early: one of them, or the first after a change of threads, decides nothing."""
    choice = ThreadChoice(2)
    choice.took(1, 1, 0.004)  # cold
    assert choice.alone == np.inf
    while choice.alone == np.inf:
        assert choice.next() == (1, ThreadChoice.FIRST[0])
        choice.took(1, 9, 9 * 40e-6)
    assert choice.alone == pytest.approx(40e-6)
    choice.took(2, 9, 0.003)  # asleep
    found = [1.5, *[0.6] * 9]  # times as long as on one thread: an interruption, and then the truth
    for longer in found:
        assert choice.next()[0] == 2
        choice.took(2, 9, 9 * 40e-6 * longer)
    assert choice.together == pytest.approx(0.6 * 40e-6, rel=0.5)
    assert choice.next()[0] == 2
    assert ThreadChoice.crowded == 0.0


def test_a_step_that_stalls_keeps_all_networks_on_one_thread(free_machine):
    choice, other = ThreadChoice(2), ThreadChoice(2)
    choice.took(1, 100, 0.010)
    choice.took(2, 1, 0.0001)
    choice.took(2, 1, 0.004)
    assert ThreadChoice.crowded == choice._until > 0
    assert other.next() == (1, SLICE)
    ThreadChoice.crowded = 0.0
    assert other.next() == (1, ThreadChoice.FIRST[0])


def test_a_stall_counts_even_at_once_where_it_takes_long(free_machine):
    choice = ThreadChoice(2)
    choice.took(1, 100, 0.010)
    choice.took(2, 1, 2 * ThreadChoice.COLD)
    assert ThreadChoice.crowded > 0
    assert choice.next() == (1, SLICE)


def test_now_and_then_a_short_look_at_one_thread(free_machine):
    choice = ThreadChoice(2)
    choice.took(1, 1, 1.0)
    choice.took(2, 1, 0.5)
    assert choice.next() == (1, ThreadChoice.PROBE[2])
    choice.took(1, 1, 0.8)
    assert choice.next()[0] == 2
    choice.took(2, 20, 0.5 * 20)
    assert choice.next()[0] == 1
    choice.took(1, 1, 0.4)  # by now it is faster alone
    assert choice.next()[0] == 1


def test_fits_that_cost_the_same_share_what_they_found():
    assert thread_choice(2, ("a", 1)) is thread_choice(2, ("a", 1)) is not thread_choice(2, ("a", 2))


def trained(seed, threads=2):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 64))
    with fastdnn.config_context(n_threads=threads):
        model = Model([layers.Dense(128, activation="relu"), layers.Dense(3)], loss="cross_entropy", random_state=seed)
        model.fit(X, (X[:, 0] > 0) + 0, epochs=2, batch_size=200)
    return float(model.params.sum())


def test_many_python_threads_train_at_once():
    expected, results = [trained(seed) for seed in range(6)], {}
    workers = [threading.Thread(target=lambda s=s: results.update({s: trained(s)})) for s in range(6)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    assert [results[s] for s in range(6)] == expected


def test_python_threads_on_the_workqueue_layer():
    code = """
import threading, sys; sys.path.insert(0, "TESTS")
import fastdnn
from test_jit import trained
fastdnn.thread_choice.launch_seconds = lambda: 0.0
fastdnn.thread_choice.ThreadChoice.next = lambda choice: (choice.most, 0.1)
workers = [threading.Thread(target=trained, args=(s,)) for s in range(4)]
[w.start() for w in workers]; [w.join() for w in workers]
import numba; print(numba.threading_layer())
""".replace("TESTS", str(pathlib.Path(__file__).parent))
    assert python(code, NUMBA_THREADING_LAYER="workqueue")[0] == "workqueue\n"


def _in_child(queue):
    queue.put(trained(3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_trains_after_a_parallel_region_in_the_parent():
    expected = trained(3)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(10)
    assert child.exitcode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_another_thread_compiles(tmp_path):
    code = """
import os, signal, threading, time, fastdnn
from fastdnn import Model, layers
import numpy as np
X = np.random.default_rng(0).standard_normal((100, 5))
threading.Thread(target=fastdnn.warmup, daemon=True).start()
for _ in range(2):
    time.sleep(0.5)
    child = os.fork()
    if not child:
        signal.alarm(60)
        Model([layers.Dense(1)], random_state=0).fit(X, X[:, 0])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print("both", flush=True)
os._exit(0)
"""
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path))[0] == "both\n"


def test_a_threading_layer_that_is_not_there(monkeypatch):
    from numba.np.ufunc import parallel

    def refuse():
        raise ValueError("No threading layer could be loaded.")

    monkeypatch.setattr(parallel, "_launch_threads", refuse)
    _threads.has_threads.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="fastdnn works on one thread: No threading layer"):
            assert not _threads.has_threads()
        assert np.isfinite(trained(0))
    finally:
        _threads.has_threads.cache_clear()


def test_threading_backend_of_joblib():
    from joblib import Parallel, delayed

    results = Parallel(n_jobs=3, backend="threading")(delayed(trained)(s) for s in (0, 1, 0))
    assert results[0] == results[2] != results[1]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_loky_workers_get_one_thread_each():
    from joblib import Parallel, delayed

    counts = Parallel(n_jobs=2)(delayed(fastdnn.get_num_threads)() for _ in range(2))
    assert max(counts) <= max(1, _threads.available_threads() // 2)
    model = MLPClassifier((20,), max_iter=3, random_state=0)
    X = np.random.default_rng(0).standard_normal((300, 5))
    fits = Parallel(n_jobs=2)(delayed(model.fit)(X, X[:, 0] > 0) for _ in range(2))
    np.testing.assert_array_equal(fits[0].coefs_[0], fits[1].coefs_[0])
