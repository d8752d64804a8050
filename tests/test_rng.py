"""Random numbers: shuffles draw what NumPy's legacy generators draw, streams depend on their key alone."""

import numpy as np
import pytest

from fastdnn import rng


@pytest.mark.parametrize("make", [np.random.RandomState, lambda seed: np.random.RandomState(np.random.PCG64(seed))])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 256, 257, 5000])
def test_shuffled_is_the_legacy_shuffle(n, make):
    ours, theirs = make(5), make(5)
    for _ in range(3):
        expected = np.arange(n)
        theirs.shuffle(expected)
        np.testing.assert_array_equal(rng.shuffled(ours, n), expected)
    assert ours.randint(2**31) == theirs.randint(2**31)


def test_shuffled_with_the_global_generator():
    np.random.seed(3)
    first = rng.shuffled(np.random.mtrand._rand, 100)
    np.random.seed(3)
    expected = np.arange(100)
    np.random.shuffle(expected)
    np.testing.assert_array_equal(first, expected)


def test_streams_depend_on_their_key_alone():
    draws = {rng.generator(*key).random() for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]}
    assert len(draws) == 4
    assert rng.generator(1, 2, 3).random() == rng.generator(1, 2, 3).random()
