"""GAN: the same bits on any number of threads, from files, after an end; files that are damaged or contradict themselves."""

import json
import pickle

import numpy as np
import pytest
from adversarial import DENSE, IMAGES, SHARDS, circle, small, weights_of

from fastdnn import GAN, ModelFormatError, callbacks
from fastdnn.saving import container


@pytest.mark.parametrize("nets", [DENSE, IMAGES, SHARDS], ids=["dense", "images", "shards"])
def test_the_same_bits_on_any_number_of_threads(nets, on_threads):
    generator, discriminator, shape = nets
    X = np.random.default_rng(0).uniform(-1, 1, (130, *shape))
    results = set()
    for threads in (1, 2, 3, 4):
        with on_threads(threads):
            gan = GAN(generator, discriminator, latent=4, random_state=0)
            gan.fit(X, np.arange(130) % 2, epochs=2, batch_size=32)
            results.add((weights_of(gan).tobytes(), gan.sample(9, random_state=0).tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("labels", [False, True])
def test_a_fit_from_a_file_goes_on_as_if_it_had_not_ended(tmp_path, labels):
    X, path = circle(), tmp_path / "gan.fdnn"
    y = None if not labels else (X[:, 0] > 0).astype(int)
    settings = {"average": 0.9, "discriminator_steps": 2}
    whole = small(**settings)
    whole.fit(X, y, epochs=5, batch_size=50)
    cut = small(**settings)
    stop = callbacks.LambdaCallback(lambda fit: fit.epoch == 2)
    cut.fit(X, y, epochs=5, batch_size=50, callbacks=[stop, callbacks.ModelCheckpoint(path, best_only=False)])
    assert cut.epochs == 2
    resumed = GAN.load(path)
    history = resumed.fit(X, y, epochs=5, batch_size=50, resume=True)
    np.testing.assert_array_equal(weights_of(resumed), weights_of(whole))
    np.testing.assert_array_equal(resumed.sample(7, random_state=1), whole.sample(7, random_state=1))
    for key in ("discriminator_loss", "generator_loss", "rate"):
        assert history[key] == whole.history[key]
    assert resumed.fit(X, y, epochs=5, batch_size=50, resume=True) is resumed.history  # nothing left to do
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(again.sample(7, random_state=1), whole.sample(7, random_state=1))
    assert again.fit(X, y, epochs=1)["generator_loss"] == whole.fit(X, y, epochs=1)["generator_loss"]


def test_a_file_has_all_that_the_constructor_was_told(tmp_path):
    gan = small(loss="least_squares", label_smoothing=0.2, instance_noise=0.3, average=0.5, dtype="float64")
    gan.fit(circle(), np.arange(512) % 2 > 0, epochs=1)
    gan.save(tmp_path / "g.fdnn")
    again = GAN.load(tmp_path / "g.fdnn")
    for name in ("latent", "loss", "label_smoothing", "instance_noise", "average", "dtype", "seed", "layers", "optimizers"):
        assert getattr(again, name) == getattr(gan, name), name
    assert again.classes.tolist() == [False, True]
    assert again.history == gan.history


def test_damaged_files_are_said_to_be(tmp_path):
    gan = small()
    gan.fit(circle(), epochs=1)
    path = tmp_path / "g.fdnn"
    gan.save(path)
    good = path.read_bytes()
    source = np.random.default_rng(0)
    for _ in range(150):
        bad = bytearray(good)
        for position in source.integers(0, min(len(bad), 4000) if source.random() < 0.7 else len(bad), 3):
            bad[position] = source.integers(256)
        path.write_bytes(bad)
        if bytes(bad) != good:
            with pytest.raises(ModelFormatError):
                GAN.load(path)
    path.write_bytes(good[:-9])
    with pytest.raises(ModelFormatError):
        GAN.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": [0, 1]}, "do not fit each other"),
        ({"classes": "ab"}, "classes must be a list"),
        ({"latent": 6}, "do not fit each other"),
        ({"loss": "wasserstein"}, "do not fit"),
        ({"seed": -1}, "seed"),
        ({"epochs": -1}, "epochs"),
        ({"fit_start": [0, 9]}, "epochs"),
        ({"history": ["loss"]}, "lacks the array"),
        ({"stopped": 3}, "stopped must be a text"),
        ({"loss": "hinge", "label_smoothing": 0.0}, "do not fit each other"),
    ],
)
def test_files_whose_parts_contradict_each_other(tmp_path, change, message):
    gan, path = small(), str(tmp_path / "g.fdnn")
    gan.fit(circle(), epochs=1)
    gan.save(path)
    with open(path, "rb") as file:
        reader = container.Reader(file)
        arrays = dict(reader.arrays())
    metadata = dict(reader.metadata)
    metadata["gan"] = json.dumps(json.loads(metadata["gan"]) | change)
    del metadata["sha256"]
    container.write(path, metadata, arrays)
    with pytest.raises(ModelFormatError, match=message):
        GAN.load(path)
