"""Weights that are pruned: which ones, and that they stay 0 with any optimizer and whatever comes."""

import numpy as np
import pytest

from fastdnn import GAN, DNNClassifier, MLPClassifier, Model, compress, config_context, layers, optimizers
from fastdnn.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint
from fastdnn.compress import MagnitudePruning
from fastdnn.compress.pruning import smallest
from fastdnn.optimizers import OPTIMIZERS
from fastdnn.tabular.members import Judge

rng = np.random.default_rng(0)
X = rng.standard_normal((400, 10)).astype("float32")
y = (X[:, 0] * X[:, 1] + X[:, 2]).astype("float32")


def network(optimizer="adam", net=None, **settings):
    net = net or [layers.Dense(48, "relu"), layers.Dense(24, "relu"), layers.Dense(1)]
    return Model(net, optimizer=optimizer, random_state=0, **settings)


def assert_held(model, masks):
    for key, mask in masks.items():
        assert not model.weights[key][~mask].any(), key


# ---------------------------------------------------------------- which weights


def test_smallest_takes_the_first_of_equals():
    assert list(smallest(np.array([3.0, 1, 2, 1, 1]), 2)) == [False, True, False, True, False]
    assert not smallest(np.ones(3), 0).any()
    assert smallest(np.ones(3), 3).all()
    assert list(smallest(np.array([np.nan, 1.0, 0.0]), 2)) == [False, True, True]
    assert smallest(np.array([np.nan, 1.0, 0.0]), 3).all()


def test_each_layer_loses_its_smallest_weights():
    model = network().build(10)
    before = {key: w.copy() for key, w in model.weights.items()}
    assert compress.prune(model, 0.75) is model
    for key, w in model.weights.items():
        gone = w == 0
        if key.endswith("bias"):
            np.testing.assert_array_equal(w, before[key])
        else:
            assert gone.mean() == pytest.approx(0.75, abs=0.5 / w.size)
            assert np.abs(before[key][gone]).max() <= np.abs(before[key][~gone]).min()
            np.testing.assert_array_equal(w[~gone], before[key][~gone])


def test_one_limit_for_all_layers():
    model = network().build(10)
    model.weights["2.dense.kernel"] /= 10
    before = np.concatenate([w.ravel() for w in model.weights.values() if w.ndim > 1])
    compress.prune(model, 0.6, scope="global")
    after = np.concatenate([w.ravel() for w in model.weights.values() if w.ndim > 1])
    assert (after == 0).sum() == round(0.6 * len(after))
    assert np.abs(before[after == 0]).max() <= np.abs(before[after != 0]).min()
    parts = compress.sparsity(model)
    assert parts["all"] == pytest.approx(0.6, abs=1e-3)
    assert parts["2.dense.kernel"] > 0.9 > parts["0.dense.kernel"]


@pytest.mark.parametrize(("chosen", "keys"), [([0, -1], ["0", "2"]), ("1.dense", ["1"]), (["2.dense.kernel"], ["2"])])
def test_of_some_layers(chosen, keys):
    model = compress.prune(network().build(10), 0.5, layers=chosen)
    assert [key[0] for key in compress.masks(model)] == keys


def test_pruned_weights_count_and_stay():
    model = compress.prune(network().build(10), 0.5)
    first = compress.masks(model)
    compress.prune(model, 0.8)
    for key, mask in compress.masks(model).items():
        assert not mask[~first[key]].any()
        assert mask.mean() == pytest.approx(0.2, abs=0.02)
    compress.prune(model, 0.1)  # less than there is changes nothing
    assert compress.sparsity(model)["all"] == pytest.approx(0.8, abs=0.01)


def test_other_layers():
    net = [
        layers.Residual([layers.Conv1D(8, 3, padding="same"), layers.BatchNorm(), layers.Conv1D(4, 1)]),
        layers.Bidirectional(layers.GRU(8)),
        layers.Dense(2),
    ]
    model = compress.prune(Model(net, random_state=0).build((9, 4)), 0.5)
    assert len(compress.masks(model)) == 2 + 4 + 1
    model = compress.prune(Model([layers.Embedding(9, 4), layers.LSTM(4), layers.Dense(1)]).build(5), 0.5)
    assert "0.embedding.kernel" not in compress.masks(model)


# ---------------------------------------------------------------- they stay 0


RULES = {}, {"clip_norm": 0.5, "l1": 1e-3, "l2": 1e-3, "weight_decay": 0.1}, {"average": 0.9}
OF_BATCHES = [name for name in OPTIMIZERS if name != "lbfgs"]


@pytest.mark.parametrize(
    ("name", "rules"),
    [(name, rules) for name in OF_BATCHES for rules in (RULES[:2] if name == "schedule_free_adamw" else RULES)],
)
def test_masks_hold_with_every_optimizer(name, rules):
    model = network(OPTIMIZERS[name](**rules))
    model.fit(X, y, epochs=3, callbacks=[MagnitudePruning(0.8, every=5)])
    masks = compress.masks(model)
    assert compress.sparsity(model)["all"] == pytest.approx(0.8, abs=0.01)
    before = model.weights["0.dense.kernel"].copy()
    model.fit(X, y, epochs=2)
    assert_held(model, masks)
    assert (model.weights["0.dense.kernel"] != before).any()
    model.fit(X, y, epochs=6, resume=True)
    model.train_on_batch(X[:50], y[:50])
    if name != "schedule_free_adamw":
        model.apply_gradient(np.ones_like(model.params))
    assert_held(model, masks)
    if model.averaged is not None:
        for key, view in model.layout.views(model.averaged).items():
            assert not view[~masks.get(key, np.ones(view.shape, bool))].any()


NETS = [  # (layers, shape of a sample, what fit is told)
    ([layers.Dense(24, "relu", max_norm=1.0), layers.Dense(2, spectral_norm=True)], (10,), {}),
    ([layers.Dense(300, "relu"), layers.Dense(300, "relu"), layers.Dense(2)], (40,), {"accumulate": 3}),
    ([layers.Conv2D(8, 3), layers.BatchNorm(), layers.MaxPool2D(), layers.Flatten(), layers.Dense(2)], (8, 8, 2), {}),
    ([layers.SeparableConv2D(8, 3), layers.Conv2DTranspose(2, 3), layers.GlobalAvgPool2D()], (6, 6, 2), {}),
    ([layers.LSTM(8, return_sequences=True, truncate=4), layers.Bidirectional(layers.GRU(4)), layers.Dense(2)], (8, 3), {}),
    ([layers.LSTM(8, checkpoint=4), layers.Dense(2)], (12, 3), {}),
    ([layers.Embedding(20, 8), layers.LSTM(8), layers.Dense(2)], (6,), {}),
]


@pytest.mark.parametrize(("net", "shape", "told"), NETS)
def test_masks_hold_in_every_kind_of_network(net, shape, told):
    ids = net[0].takes_ids
    samples = rng.integers(0, 20, (120, *shape)) if ids else rng.standard_normal((120, *shape)).astype("float32")
    model = Model(net, optimizer=optimizers.AdamW(clip_norm=1.0, average=0.9), random_state=0)
    model.fit(samples, rng.standard_normal((120, 2)), epochs=4, callbacks=[MagnitudePruning(0.7, every=3)], **told)
    masks, before = compress.masks(model), {key: w.copy() for key, w in model.weights.items()}
    assert all(abs(mask.mean() - 0.3) <= 0.5 / mask.size for mask in masks.values())
    model.fit(samples, rng.standard_normal((120, 2)), epochs=2, **told)
    assert_held(model, masks)
    assert all((model.weights[key] != before[key])[mask].mean() > 0.5 for key, mask in masks.items())


def test_lbfgs_trains_what_is_left():
    model = compress.prune(network("lbfgs").build(10), 0.7)
    masks = compress.masks(model)
    losses = model.fit(X, y, epochs=15)["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert_held(model, masks)
    with pytest.raises(ValueError, match="L-BFGS has none"):
        model.fit(X, y, callbacks=[MagnitudePruning(0.9)])


def test_the_gradient_is_that_of_what_is_left():
    model = network(dtype="float64").build(10)
    full = model.loss_and_grad(X, y)[1]
    compress.prune(model, 0.5)
    loss, gradient = model.loss_and_grad(X, y)
    views, masks = model.layout.views(gradient), compress.masks(model)
    for key, mask in masks.items():
        assert not views[key][~mask].any()
    flat, key = model.params, "1.dense.kernel"
    place = tuple(np.argwhere(masks[key])[3])
    model.weights[key][place] += 1e-6
    assert (model.loss_and_grad(X, y)[0] - loss) / 1e-6 == pytest.approx(views[key][place], rel=1e-4)
    assert flat is model.params
    assert full.any()


def test_same_bits_on_any_number_of_threads():
    def trained(threads):
        with config_context(n_threads=threads):
            model = network(optimizers.AdamW(clip_norm=1.0))
            model.fit(X, y, epochs=4, batch_size=64, callbacks=[MagnitudePruning(0.9, every=3)])
        return model.params

    one = trained(1)
    for threads in (2, 3):
        np.testing.assert_array_equal(trained(threads), one)


def test_unpruned_training_is_as_before():
    model, other = network(), network()
    model.fit(X, y, epochs=2)
    other.build(10)
    other.mask = np.ones_like(other.params)
    other.fit(X, y, epochs=2)
    np.testing.assert_array_equal(model.params, other.params)


def test_resumed_bit_for_bit(tmp_path):
    def pruning():
        return MagnitudePruning(0.9, every=4)

    whole, part = network(optimizers.AdamW(average=0.9)), network(optimizers.AdamW(average=0.9))
    whole.fit(X, y, epochs=8, callbacks=[pruning()])
    stop = LambdaCallback(lambda fit: fit.epoch == 3)
    part.fit(X, y, epochs=8, callbacks=[pruning(), stop])
    part.save(tmp_path / "m.fdnn")
    loaded = Model.load(tmp_path / "m.fdnn")
    loaded.fit(X, y, epochs=8, resume=True, callbacks=[pruning()])
    np.testing.assert_array_equal(loaded.params, whole.params)
    assert loaded.history["sparsity"] == whole.history["sparsity"]


# ---------------------------------------------------------------- step by step


def test_the_cubic_schedule():
    """Zhu & Gupta's formula at each time, the end included; the history has what is left of each epoch."""
    seen = []
    pruning = MagnitudePruning(0.9, start=0.25, end=0.75, every=5)

    class Spy(MagnitudePruning):
        def on_step(self, fit):
            following = super().on_step(fit)
            seen.append((fit.model.step, self._pruned(fit.model)))
            return following

    model = network()
    history = model.fit(X, y, epochs=8, batch_size=40, callbacks=[Spy(**pruning.settings())])  # 10 steps an epoch
    assert [step for step, _ in seen] == [0, *range(20, 61, 5)]
    for step, part in seen:
        u = max(0.0, (step - 20) / 40)
        assert part == pytest.approx(0.9 * (1 - (1 - u) ** 3), abs=2e-3)
    assert history["sparsity"][1] == 0
    assert history["sparsity"][5:] == [pytest.approx(0.9, abs=1e-3)] * 3
    assert "sparsity" in model.history


@pytest.mark.parametrize(("schedule", "parts"), [("linear", [0.2, 0.4, 0.6, 0.8]), ("once", [0.8] * 4)])
def test_other_schedules(schedule, parts):
    pruning = MagnitudePruning(0.8, start=0.0, end=1.0, every=10, schedule=schedule)
    history = network().fit(X, y, epochs=4, batch_size=40, callbacks=[pruning])
    assert history["sparsity"] == [pytest.approx(part, abs=2e-3) for part in parts]


def test_what_is_pruned_further_is_not_compared_with_what_was_before(tmp_path):
    model, stopping = network(), EarlyStopping("loss", patience=2, threshold=1e6)
    checkpoint = ModelCheckpoint(tmp_path / "m.fdnn")
    history = model.fit(X, y, epochs=12, callbacks=[checkpoint, stopping, MagnitudePruning(0.95, every=5)])
    done = history["sparsity"].index(history["sparsity"][-1])
    assert stopping.best_epoch_ >= done
    assert history.restored == stopping.best_epoch_
    assert compress.sparsity(model)["all"] == pytest.approx(0.95, abs=0.01)
    assert compress.sparsity(Model.load(tmp_path / "m.fdnn"))["all"] == pytest.approx(0.95, abs=0.01)
    assert history["loss"][done] > min(history["loss"][:done])  # better, and not what is wanted


def test_a_fit_that_ends_before_says_so():
    stop = LambdaCallback(lambda fit: fit.epoch == 2)
    history = network().fit(X, y, epochs=20, callbacks=[MagnitudePruning(0.9, every=1), stop])
    assert "ended before all was pruned" in history.notes[0]


def test_estimators_prune_too():
    labels = (X[:, 0] > 0).astype(int)
    clf = DNNClassifier(hidden_layer_sizes=(32,), epochs=10, callbacks=[MagnitudePruning(0.8, every=2)], random_state=0)
    clf.fit(X, labels)
    assert compress.sparsity(clf.model_)["all"] == pytest.approx(0.8, abs=0.01)
    assert clf.history_["sparsity"][-1] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("settings", [{"tol": 10.0}, {"early_stopping": True}])
def test_estimators_do_not_stop_before_all_is_pruned(settings):
    """MLPs stop by the loss or the score of an epoch, and put the best one back: one of the network that is pruned."""
    labels = (X[:, 0] > 0).astype(int)
    clf = MLPClassifier((32,), max_iter=60, n_iter_no_change=2, callbacks=[MagnitudePruning(0.8, every=2)], random_state=0)
    clf.set_params(**settings).fit(X, labels)
    assert 45 <= clf.n_iter_ < 60
    assert [(w == 0).mean() for w in clf.coefs_] == [pytest.approx(0.8, abs=0.02)] * 2
    if "early_stopping" in settings:
        assert clf.best_validation_score_ == max(clf.validation_scores_[44:])
    else:
        assert clf.best_loss_ == min(clf.loss_curve_[44:])
    # The same with what prunes at once, after another fit.
    clf.set_params(warm_start=True, callbacks=[MagnitudePruning(0.95, end=0.0)]).fit(X, labels)
    assert clf.n_iter_ > 3
    assert (clf.coefs_[0] == 0).mean() == pytest.approx(0.95, abs=0.01)


def test_members_of_an_ensemble_are_judged_when_all_is_pruned():
    errors = iter(range(100))
    judge = Judge(X, lambda scores: next(errors))
    model = network()
    model.fit(X, y, epochs=40, callbacks=[judge, MagnitudePruning(0.8, every=2)])
    assert judge.best_epoch_ == 30
    assert compress.sparsity(model)["all"] == pytest.approx(0.8, abs=0.01)


# ---------------------------------------------------------------- what is said


def test_summary_shows_what_is_left():
    model = network().build(10)
    assert "left" not in model.summary()
    compress.prune(model, 0.5)
    text = model.summary()
    assert "288 of 528" in text  # 240 weights and 48 biases
    assert "901 of them are left, the others pruned: 47.9% are 0" in text


def test_masks_of_another_training():
    model, other = compress.prune(network().build(10), 0.5), network().build(10)
    compress.apply_masks(other, compress.masks(model))
    np.testing.assert_array_equal(other.params, model.params)
    with pytest.raises(ValueError, match="expected \\(10, 48\\)"):
        compress.apply_masks(other, {"0.dense.kernel": np.ones((3, 3))})
    with pytest.raises(ValueError, match="a key of"):
        compress.apply_masks(other, {"kernel": np.ones((3, 3))})
    with pytest.raises(ValueError, match="flat array like params"):
        other.mask = np.ones(3)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"sparsity": 1.0}, "sparsity must be"),
        ({"sparsity": 0.5, "start": 0.8, "end": 0.2}, "start must not be greater"),
        ({"sparsity": 0.5, "every": 0}, "every must be"),
        ({"sparsity": 0.5, "schedule": "cubic"}, "schedule must be"),
        ({"sparsity": 0.5, "scope": "all"}, "scope must be"),
    ],
)
def test_bad_arguments(arguments, what):
    with pytest.raises(ValueError, match=what):
        MagnitudePruning(**arguments)


def test_other_errors():
    model = network().build(10)
    with pytest.raises(ValueError, match=r"one of \['0.dense.kernel'"):
        model.fit(X, y, callbacks=[MagnitudePruning(0.5, layers=["bias"])])
    with pytest.raises(ValueError, match="numbers of layers"):
        compress.prune(model, 0.5, layers=[7])
    with pytest.raises(ValueError, match="one layer at least"):
        compress.prune(model, 0.5, layers=[], scope="global")
    with pytest.raises(ValueError, match=r"got 1\.5"):
        compress.prune(model, 0.5, layers=1.5)
    with pytest.raises(ValueError, match="nothing to prune"):
        compress.prune(Model([layers.BatchNorm()]).build(3), 0.5)
    with pytest.raises(ValueError, match="no parameters yet"):
        compress.prune(network(), 0.5)
    with pytest.raises(ValueError, match="masks must be a dict"):
        compress.apply_masks(model, ["0.dense.kernel"])
    for function in (compress.sparsity, compress.masks, lambda model: compress.prune(model, 0.5)):
        with pytest.raises(ValueError, match="got DNNClassifier; a fitted estimator's is its model_"):
            function(DNNClassifier())
    gan = GAN([layers.Dense(10)], [layers.Dense(4, "relu")], latent=3, random_state=0)
    with pytest.raises(ValueError, match="single networks, got GAN"):
        gan.fit(X, epochs=1, callbacks=[MagnitudePruning(0.5)])
