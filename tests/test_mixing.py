"""Mixup and cutmix: what samples and targets become, for any source, on any number of threads, from epoch to epoch."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from fastdnn import DNNClassifier, DNNRegressor, Model, layers, losses, rng
from fastdnn.layers.base import OP
from fastdnn.mixing import Mixing
from fastdnn.sources import Source

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
    monkeypatch.setattr("fastdnn.planning.MANY_SHARDS", 1)  # one shard: the workspace keeps all its samples
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


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_loss_is_that_of_the_mixed_samples_and_validation_is_not_mixed(settings):
    X, y = images(dtype="uint8")
    stack = [L.Rescaling(1 / 255), *STACK]
    model = Model(stack, loss="cross_entropy", dtype="float64", random_state=3)
    history = model.fit(X, y, batch_size=40, shuffle=False, validation_data=(X, y), **settings)
    same = Model(stack, loss="cross_entropy", dtype="float64", random_state=3).build(X.shape[1:])
    training = same.bind(X, np.eye(3)[y], None, 40, mixes=True)
    mixing = Mixing(settings.get("mixup", 0.0), settings.get("cutmix", 0.0), training, X.shape[1:])
    mixing.draw(same.seed, 0, None)
    partners, shares, boxes = mixing._kept
    expected = shares[:, None, None, None] * X + (1 - shares[:, None, None, None]) * X[partners]
    for i in np.flatnonzero(boxes[:, 0] >= 0):
        top, bottom, left, right = boxes[i]
        expected[i] = X[i]
        expected[i, top:bottom, left:right] = X[partners[i], top:bottom, left:right]
    targets = shares[:, None] * np.eye(3)[y] + (1 - shares[:, None]) * np.eye(3)[y[partners]]
    assert history["loss"][0] == pytest.approx(same.loss_and_grad(expected, targets)[0], rel=1e-10)
    assert history["val_loss"][0] == model.evaluate(X, y)["loss"]


def test_any_source_of_dense_samples():
    X, y = images()
    sources = X, np.asfortranarray(X), Source.of_chunks([X[:7], X[7:30], X[30:]], "float32"), X.astype(np.float64)
    results = set()
    for source in sources:
        model = Model(STACK, loss="cross_entropy", random_state=0)
        results.add((model.fit(source, y, batch_size=16, mixup=0.4, cutmix=1.0)["loss"][0], model.params.tobytes()))
    assert len(results) == 1


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


def test_same_bits_on_any_number_of_threads_and_resumed(on_threads, tmp_path):
    X, y = images(90, dtype="uint8")
    results = set()
    settings = {"batch_size": 32, "mixup": 0.3, "cutmix": 0.7}
    for threads in (1, 2, 3, 4):
        with on_threads(threads):
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
    half = Model([L.Rescaling(1 / 255), *STACK], loss="cross_entropy", random_state=0)
    half.fit(X, y, epochs=2, **settings)
    half.save(tmp_path / "m")
    half = Model.load(tmp_path / "m")
    history = half.fit(X, y, epochs=4, resume=True, **settings)
    np.testing.assert_array_equal(half.params, model.params)
    assert history["loss"] == loss


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


def test_parameters_of_the_estimators():
    X, y = images(60)
    grid = {"mixup": [0.0, 0.3], "cutmix": [0.0, 0.5]}
    clf = DNNClassifier([L.Conv2D(4, 3), L.Flatten()], epochs=2, random_state=0)
    search = GridSearchCV(clf, grid, cv=2).fit(X / 255, y)
    assert set(search.best_params_) == set(grid)
    assert len(search.cv_results_["params"]) == 4
    found = {
        DNNRegressor([L.Conv2D(4, 3), L.Flatten()], epochs=1, random_state=0, **one).fit(X / 255, y).history_["loss"][0]
        for one in ({}, {"mixup": 0.3}, {"cutmix": 0.5})
    }
    assert len(found) == 3


def test_as_many_samples_as_classes():
    X = np.random.default_rng(0).random((3, 4))
    assert np.isfinite(Model([L.Dense(3)], loss="cross_entropy", random_state=0).fit(X, [0, 1, 2], mixup=1.0)["loss"]).all()


class Kept(losses.SquaredError):
    """Takes its targets as they are."""

    given = np.zeros(50 + 64, np.float32)

    def check_targets(self, y, n_out, dtype):
        return self.given


def test_targets_that_are_the_users_stay_as_they_are():
    before = np.linspace(0, 1, 114, dtype=np.float32)
    Kept.given[:] = before
    X = np.random.default_rng(0).random((50, 4))
    Model([L.Dense(1)], loss=Kept(), random_state=0).fit(X, np.zeros(50), epochs=2, mixup=1.0)
    np.testing.assert_array_equal(Kept.given, before)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda X, y: Model(STACK, loss="cross_entropy").fit(X, y, mixup=-1), "mixup must be a number in"),
        (lambda X, y: Model([L.Dense(3)], loss="cross_entropy").fit(X[:, 0, 0], y, cutmix=1), "cutmix needs images"),
        (
            lambda X, y: Model(STACK, loss="hinge").fit(X, y, mixup=1),
            "need loss='cross_entropy', 'log_loss' or one of numbers",
        ),
        (lambda X, y: Model(STACK, loss="focal").fit(X, y, cutmix=1), "got Focal"),
        (lambda X, y: Model(STACK, loss="cross_entropy", optimizer="lbfgs").fit(X, y, mixup=1), "an optimizer of batches"),
        (lambda X, y: Model([L.Conv2D(2, 1)]).fit(X, X, cutmix=1), "cutmix needs one target a sample"),
        (
            lambda X, y: Model([L.Dense(3)], loss="cross_entropy").fit(scipy.sparse.csr_array(X[:, 0, 0]), y, mixup=1),
            r"got a sparse X; use X.toarray\(\)",
        ),
    ],
)
def test_errors_say_what_to_do(act, message):
    with pytest.raises(ValueError, match=message):
        act(*images())


@pytest.mark.parametrize("dense", [True, False])
def test_errors_come_before_anything_is_changed(dense):
    X, y = images()
    model, X = Model([L.Dense(3)], loss="cross_entropy"), X[:, 0, 0]
    with pytest.raises(ValueError, match="cutmix needs images" if dense else "sparse X"):
        model.fit(X if dense else scipy.sparse.csr_array(X), y, cutmix=1.0)
    assert model.layout is None


def test_streams_are_of_their_own():
    purposes = (rng.WEIGHTS, rng.SHUFFLE, rng.SPLIT, rng.NOISE, rng.MIXING)
    assert len(set(purposes)) == len(purposes)
