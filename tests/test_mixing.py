"""Mixup and cutmix: what samples and targets become, for any source, on any number of threads, from epoch to epoch."""

import numpy as np
import pytest
from sklearn.base import clone

from fastdnn import DNNClassifier, Model, config_context, layers, rng
from fastdnn.layers.base import OP
from fastdnn.mixing import Mixing

L = layers
STACK = [L.Conv2D(4, 3, activation="relu"), L.Flatten(), L.Dense(3)]


def images(n=40, shape=(6, 5, 2), dtype="float32"):
    random = np.random.default_rng(0)
    return (random.random((n, *shape)) * 200).astype(dtype), random.integers(0, 3, n)


def mixed(X, mixup, cutmix, packed=False):
    """(what the first layer gets, targets, partners, shares, boxes) of an epoch in the samples' order."""
    first = [L.Conv2D(1, 1)] if packed else [L.Activation("identity")]
    model = Model([*first, L.Flatten(), L.Dense(3)], loss="cross_entropy", dtype="float64", random_state=0).build(X.shape[1:])
    y = np.eye(3)[np.arange(len(X)) % 3]
    training = model.bind(X, y, None, len(X), mixes=True)
    training.program.workspace()
    mixing = Mixing(mixup, cutmix, training, training.program.sample_shape)
    mixing.draw(0, 0, None)
    training.loss_and_grad()
    row, (height, width, channels) = training.program.table[0], X.shape[1:]
    n, ld = len(X), row[OP.ld_out]
    size = row[OP.n_in] * ld
    found = training.program.work[row[OP.y] : row[OP.y] + n * size]
    found = found.reshape(n, height, ld)[..., : width * channels] if packed else found.reshape(n, -1, ld)[..., :channels]
    return found.reshape(X.shape), training.targets[: 3 * n].reshape(n, 3), *mixing._kept


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "uint8"])
@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_samples_and_targets(mixup, cutmix, dtype, packed, monkeypatch):
    monkeypatch.setattr("fastdnn.training.MANY_SHARDS", 1)  # one shard: the workspace keeps all its samples
    X, _ = images(dtype=dtype)
    found, targets, partners, shares, boxes = mixed(X, mixup, cutmix, packed)
    expected, labels = X.astype(float), np.eye(3)[np.arange(40) % 3]
    assert sorted(partners) == list(range(40))
    for i, (top, bottom, left, right) in enumerate(boxes):
        if top < 0:
            expected[i] = shares[i] * X[i] + (1 - shares[i]) * X[partners[i]].astype(float)
        else:
            expected[i, top:bottom, left:right] = X[partners[i], top:bottom, left:right]
            assert shares[i] == pytest.approx(1 - (bottom - top) * (right - left) / 30)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(targets, shares[:, None] * labels + (1 - shares[:, None]) * labels[partners], rtol=1e-12)
    np.testing.assert_allclose(targets.sum(axis=1), 1)
    cuts = boxes[:, 0] >= 0
    assert cuts.all() == (not mixup)
    assert cuts.any() == bool(cutmix)


def test_shares_are_those_of_a_beta_distribution():
    X, y = np.zeros((4000, 2)), np.arange(4000) % 3
    model = Model([L.Dense(3)], loss="cross_entropy", random_state=0).build(2)
    mixing = Mixing(0.5, 0.0, model.bind(X, np.eye(3)[y], None, 100, mixes=True), (2,))
    mixing.draw(1, 0, None)
    shares = mixing._kept[1]
    assert abs(shares.mean() - 0.5) < 0.02
    assert abs(shares.var() - 0.125) < 0.01  # 1 / (4 (2 a + 1))
    mixing.draw(1, 1, None)
    assert not np.array_equal(shares, mixing._kept[1])


def test_same_bits_on_any_number_of_threads_and_resumed(monkeypatch, tmp_path):
    X, y = images(90, dtype="uint8")
    results = set()
    settings = {"batch_size": 32, "mixup": 0.3, "cutmix": 0.7}
    for threads in (1, 2, 3, 4):
        monkeypatch.setattr("fastdnn.training.worthwhile_threads", lambda *_, threads=threads: threads)
        with config_context(n_threads=threads):
            model = Model([L.Rescaling(1 / 255), *STACK], loss="cross_entropy", random_state=0)
            loss = model.fit(X, y, epochs=4, **settings)["loss"]
            results.add((model.params.tobytes(), *loss))
    assert len(results) == 1
    half = Model([L.Rescaling(1 / 255), *STACK], loss="cross_entropy", random_state=0)
    half.fit(X, y, epochs=2, **settings)
    half.save(tmp_path / "m")
    half = Model.load(tmp_path / "m")
    half.fit(X, y, epochs=2, **settings)
    np.testing.assert_array_equal(half.params, model.params)


def test_off_is_as_before_and_on_is_not():
    X, y = images(60)
    models = [Model(STACK, loss="cross_entropy", random_state=0) for _ in range(3)]
    for model, more in zip(models, ({}, {"mixup": 0.0, "cutmix": 0.0}, {"mixup": 0.2}), strict=True):
        model.fit(X / 255, y, epochs=2, batch_size=20, **more)
    np.testing.assert_array_equal(models[0].params, models[1].params)
    assert not np.array_equal(models[0].params, models[2].params)


def test_dense_networks_numbers_and_two_classes():
    random = np.random.default_rng(0)
    X = random.standard_normal((200, 5))
    model = Model([L.Dense(8, activation="tanh"), L.Dense(1)], random_state=0)
    history = model.fit(X, X[:, 0], epochs=60, batch_size=20, mixup=0.2, validation_fraction=0.2)
    assert history["val_loss"][-1] < 0.1 * history["val_loss"][0]
    clf = DNNClassifier([L.Dense(8)], epochs=60, batch_size=20, mixup=0.2, random_state=0).fit(X, X[:, 0] > 0)
    assert clf.score(X, X[:, 0] > 0) > 0.9
    assert clone(clf).get_params()["mixup"] == 0.2


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda X, y: Model(STACK, loss="cross_entropy").fit(X, y, mixup=-1), "mixup must be a number in"),
        (lambda X, y: Model([L.Dense(3)], loss="cross_entropy").fit(X[:, 0, 0], y, cutmix=1), "cutmix needs images"),
        (lambda X, y: Model(STACK, loss="hinge").fit(X, y, mixup=1), "need cross_entropy, log_loss or a loss of numbers"),
        (lambda X, y: Model(STACK, loss="cross_entropy", optimizer="lbfgs").fit(X, y, mixup=1), "not LBFGS"),
    ],
)
def test_errors_say_what_to_do(act, message):
    with pytest.raises(ValueError, match=message):
        act(*images())


def test_streams_are_of_their_own():
    purposes = (rng.WEIGHTS, rng.SHUFFLE, rng.SPLIT, rng.NOISE, rng.MIXING)
    assert len(set(purposes)) == len(purposes)
