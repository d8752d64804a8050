"""Threads and processes: how many threads a computation takes, Python threads side by side, forks, workers."""

import multiprocessing
import os
import pathlib
import threading

import numpy as np
import pytest
from test_jit import python

import fastdnn
from fastdnn import MLPClassifier, Model, _threads, layers
from fastdnn.thread_choice import SLICE, ThreadChoice, thread_choice


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
    choice.took(1, 1, 0.020)
    choice.took(2, 1, 0.012)
    assert choice.next()[0] == 2
    choice.took(2, 1, 0.024)
    assert choice.next() == (1, SLICE)
    choice.took(1, 1, 0.018)
    choice._until = 0.0  # the pause is over
    assert choice.next() == (2, 2 * ThreadChoice.FIRST[1])
    choice.took(2, 1, 0.019)
    assert choice.next()[0] == 1
    assert ThreadChoice.RETRY[0] < choice._pause <= ThreadChoice.RETRY[1]
    assert ThreadChoice.crowded == 0.0


def test_the_longer_the_pause_the_longer_the_look_that_ends_it(free_machine):
    """A short look at threads whose caches hold nothing yet may find them slower each time."""
    choice, looks = ThreadChoice(2), []
    choice.took(1, 100, 0.20)
    while len(looks) < 8:
        choice._to_probe = 10.0
        choice.took(2, 100, 0.30)
        assert choice.next() == (1, SLICE)
        choice._until = 0.0
        looks.append(choice.next()[1])
    assert looks == sorted(looks)
    assert looks[0] == 2 * ThreadChoice.FIRST[1]
    assert looks[-1] == min(SLICE / 2, 2 * ThreadChoice.FIRST[1] * ThreadChoice.RETRY[1] / ThreadChoice.RETRY[0])


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
from test_threads import trained
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
