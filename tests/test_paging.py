"""Memory maps: the same bits as arrays, and pages that the system is asked for in the order of the samples."""

import mmap

import numpy as np
import pytest

from fastdnn import Model, layers
from fastdnn.data import paging
from fastdnn.data.paging import ReadAhead, mapping_of
from fastdnn.sources import Source

pytestmark = pytest.mark.skipif(not hasattr(mmap.mmap, "madvise"), reason="the system cannot be asked for pages")


@pytest.fixture
def there(tmp_path):
    """5,000 samples of 4,096 bytes in a memory map."""
    X = np.random.default_rng(0).standard_normal((5000, 1024)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r"), X


class Asked:
    """Stands for a map, and notes what is asked for."""

    def __init__(self):
        self.spans = []

    def madvise(self, option, start, length):
        assert option == mmap.MADV_WILLNEED
        assert start % mmap.PAGESIZE == 0
        self.spans.append((start, start + length))


def test_a_map_is_found_through_views(there):
    mapped, X = there
    assert mapping_of(X) is None
    for view, first in ((mapped, 0), (mapped[10:], 10), (mapped.reshape(5000, 32, 32)[7:], 7)):
        found, offset = mapping_of(view)
        assert isinstance(found, mmap.mmap)
        assert np.frombuffer(found, np.float32, 8, offset).tolist() == X[first, :8].tolist()


def test_small_maps_and_arrays_are_left_alone(there):
    mapped, X = there
    assert ReadAhead.of(Source(mapped, "float32")) is not None
    assert ReadAhead.of(Source(X, "float32")) is None
    assert ReadAhead.of(Source(mapped[:100], "float32")) is None


def test_all_samples_are_asked_for_a_window_ahead(there, monkeypatch):
    mapped, _ = there
    monkeypatch.setattr(paging, "WINDOW", 500 * 4096)
    monkeypatch.setattr(paging, "GAP", 0)
    ahead = ReadAhead.of(Source(mapped, "float32"))
    ahead._mapping, order = Asked(), np.random.default_rng(1).permutation(5000)
    ahead.begin(order)
    for done in np.linspace(0, 1, 40):
        ahead.at(done)
        spans = np.array(ahead._mapping.spans)
        for start in order[int(done * 5000) : int(done * 5000) + 100] * 4096 + ahead._offset:
            assert ((spans[:, 0] <= start) & (start + 4096 <= spans[:, 1])).any()
        if done == 0:
            assert 500 * 4096 <= (spans[:, 1] - spans[:, 0]).sum() <= 1000 * 4096  # a window, not all of it
    assert sum(end - start for start, end in ahead._mapping.spans) < 3 * mapped.nbytes


def test_a_system_that_refuses_is_asked_no_more(there):
    class Refuses:
        def madvise(self, *_):
            calls.append(1)
            raise OSError(9, "EBADF")

    calls, ahead = [], ReadAhead.of(Source(there[0], "float32"))
    ahead._mapping = Refuses()
    ahead.begin(np.arange(5000))
    ahead.at(0.9)
    assert len(calls) == 1


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_fit_on_a_map_has_the_bits_of_a_fit_on_an_array(there, tmp_path, dtype):
    _, X = there
    X = X if dtype == "float32" else (40 * X + 128).clip(0, 255).astype(np.uint8).repeat(4, axis=0)
    np.save(tmp_path / "other.npy", X)
    y = np.arange(len(X)) % 3
    made = []
    for data in (X, np.load(tmp_path / "other.npy", mmap_mode="r")):
        model = Model([layers.Rescaling(0.01), layers.Dense(3)], loss="cross_entropy", random_state=0)
        model.fit(data, y, epochs=2, batch_size=100)
        made.append(model.params.copy())
    assert np.array_equal(*made)
