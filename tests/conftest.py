"""Shared by all tests: nothing on stderr about compiling, and scikit-learn's seed fixture for its own test file."""

import os

import pytest

os.environ.setdefault("FASTDNN_QUIET", "1")


@pytest.fixture
def global_random_seed():
    return 42
