"""What is pruned stays so in files, pickles and copies, and is taken back with what a failing fit has done."""

import pickle

import numpy as np
import pytest

from fastdnn import Model, ModelFormatError, compress, layers
from fastdnn.compress import MagnitudePruning
from fastdnn.saving import state
from fastdnn.saving.plain import known_types

rng = np.random.default_rng(0)
X = rng.standard_normal((400, 10)).astype("float32")
y = (X[:, 0] * X[:, 1] + X[:, 2]).astype("float32")


def network(initializer=None):
    net = [layers.Dense(48, "tanh", initializer=initializer), layers.Dense(24, "relu"), layers.Dense(1)]
    return Model(net, random_state=0)


def assert_held(model, masks):
    for key, mask in masks.items():
        assert not model.weights[key][~mask].any(), key


def test_copies_pickles_files_and_other_optimizers(tmp_path):
    model = network()
    model.fit(X, y, epochs=2, callbacks=[MagnitudePruning(0.8, every=5)])
    masks = compress.masks(model)
    model.save(tmp_path / "m.fdnn")
    for other in (model.copy(), pickle.loads(pickle.dumps(model)), Model.load(tmp_path / "m.fdnn")):
        np.testing.assert_array_equal(other.mask != 0, model.mask != 0)
        other.optimizer = "sgd"
        other.fit(X, y, epochs=1)
        assert_held(other, masks)
    model.params = np.ones_like(model.params)
    assert_held(model, masks)
    compress.apply_masks(model, {})
    assert model.mask is None
    model.fit(X, y, epochs=1)
    assert model.weights["0.dense.kernel"].all()


def test_going_back_takes_the_pruning_back(tmp_path):
    network().build(10).save(tmp_path / "m.fdnn")
    model = Model.load(tmp_path / "m.fdnn")
    earlier = model.copy()
    compress.prune(model, 0.5).go_back(earlier)
    assert model.mask is None
    assert model.weights["0.dense.kernel"].all()


def test_files_tell_zeros_from_what_is_pruned(tmp_path):
    """Weights that are 0 by chance go on being trained; pruned ones that were assigned to are cleared."""
    model = network("zeros").build(10)
    keep = rng.random((10, 48)) < 0.5
    compress.apply_masks(model, {"0.dense.kernel": keep})
    model.weights["0.dense.kernel"][3] = 1.0
    model.save(tmp_path / "m.fdnn")
    model.save(tmp_path / "small.fdnn", training=False)
    for name in ("m.fdnn", "small.fdnn"):
        loaded = Model.load(tmp_path / name)
        np.testing.assert_array_equal(loaded.mask, model.mask)
        np.testing.assert_array_equal(compress.masks(loaded)["0.dense.kernel"], keep)
        loaded.fit(X, y, epochs=1)
        np.testing.assert_array_equal(loaded.weights["0.dense.kernel"] != 0, keep)
    arrays = state._snapshot(compress.prune(network().build(10), 0.5), True)[1]
    assert not [name for name in arrays if name.startswith("mask/")]  # nothing more where zeros tell all
    settings, arrays = state._snapshot(model, False)
    shapes = {name: a.shape for name, a in arrays.items()} | {"mask/1.dense.kernel": (48, 24)}
    with pytest.raises(ModelFormatError, match=r"'mask/1\.dense\.kernel' that the model has no place for"):
        state._checked(Model, settings, shapes, model.params.nbytes, known_types())


@pytest.mark.parametrize("pruned", ["0.dense.kernel", ["kernel"], [3]])
def test_files_with_names_of_no_weights_are_refused(pruned):
    model = compress.prune(network().build(10), 0.5)
    settings, arrays = state._snapshot(model, False)
    shapes = {name: a.shape for name, a in arrays.items()}
    state._checked(Model, settings, shapes, model.params.nbytes, known_types())
    with pytest.raises(ModelFormatError, match="pruned"):
        state._checked(Model, settings | {"pruned": pruned}, shapes, model.params.nbytes, known_types())
