"""Shared by all tests: nothing on stderr about compiling, scikit-learn's seed fixture for its own test file, examples."""

import importlib.util
import os
import pathlib
import signal

import pytest

os.environ.setdefault("FASTDNN_QUIET", "1")
EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


@pytest.fixture
def global_random_seed():
    return 42


@pytest.fixture
def interruptible():
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background, whose processes ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def on_threads(monkeypatch):
    """Function from a number of threads to a context in which networks of all sizes take so many."""
    from fastdnn import config_context

    def taking(threads):
        for module in ("training", "inference"):
            monkeypatch.setattr(f"fastdnn.{module}.worthwhile_threads", lambda *_: threads)
        monkeypatch.setattr("fastdnn.thread_choice.ThreadChoice.next", lambda self: (self.most, 0.05))
        return config_context(n_threads=threads)

    return taking


@pytest.fixture
def example(monkeypatch):
    """Function from the name of an example to its module."""
    monkeypatch.syspath_prepend(EXAMPLES)  # examples import each other

    def load(name):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
