"""Random numbers: shuffles draw what NumPy's legacy generators draw, streams depend on their key alone."""

import numpy as np
import pytest

from fastdnn import rng


@pytest.mark.parametrize("make", [np.random.RandomState, lambda seed: np.random.RandomState(np.random.PCG64(seed))])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 256, 257, 5000])
def test_the_shuffle_is_numpys(n, make):
    ours, theirs = make(5), make(5)
    order, expected = np.arange(n), np.arange(n)
    for _ in range(3):
        theirs.shuffle(expected)
        rng.shuffle_as_numpy(ours, order)
        np.testing.assert_array_equal(order, expected)
    assert ours.randint(2**31) == theirs.randint(2**31)


def test_shuffle_with_the_global_generator():
    order, expected = np.arange(100), np.arange(100)
    np.random.seed(3)
    rng.shuffle_as_numpy(np.random.mtrand._rand, order)
    np.random.seed(3)
    np.random.shuffle(expected)
    np.testing.assert_array_equal(order, expected)


def test_streams_depend_on_their_key_alone():
    draws = {rng.generator(*key).random() for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]}
    assert len(draws) == 4
    assert rng.generator(1, 2, 3).random() == rng.generator(1, 2, 3).random()
