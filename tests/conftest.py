"""Shared by all tests: nothing on stderr about compiling, and scikit-learn's seed fixture for its own test file."""

import os
import signal

import pytest

os.environ.setdefault("FASTDNN_QUIET", "1")


@pytest.fixture
def global_random_seed():
    return 42


@pytest.fixture
def interruptible():
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background, whose processes ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
