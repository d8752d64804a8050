"""GAN: modes found, histories, callbacks, messages, what is said when it goes wrong."""

import copy

import numpy as np
import pytest
from adversarial import circle, small, weights_of
from sklearn.exceptions import ConvergenceWarning

from fastdnn import GAN, Model, TrainingCurveDisplay, callbacks, layers, optimizers, rng
from fastdnn.schedules import Exponential, ReduceOnPlateau

# ---------------------------------------------------------------- what it learns


def test_all_modes_of_a_ring_are_found():
    source = np.random.default_rng(0)
    angles = 2 * np.pi * np.arange(8) / 8
    centers = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    X = centers[source.integers(8, size=12800)] + 0.02 * source.standard_normal((12800, 2))
    net = [layers.Dense(128, "relu"), layers.Dense(128, "relu")]
    gan = GAN([*net, layers.Dense(2)], net, latent=16, random_state=0)
    gan.fit(X, epochs=40, batch_size=128)
    distances = np.linalg.norm(gan.sample(2500, random_state=0)[:, None] - centers, axis=2)
    good = distances.min(axis=1) < 0.06
    counts = np.bincount(distances.argmin(axis=1)[good], minlength=8)
    assert good.mean() > 0.8
    assert counts.min() > 100


def test_samples_are_of_the_class_that_is_asked_for():
    source = np.random.default_rng(0)
    y = np.array(["left", "right", "up"])[source.integers(3, size=3000)]
    centers = {"left": (-1, 0), "right": (1, 0), "up": (0, 1)}
    X = np.array([centers[label] for label in y]) + 0.05 * source.standard_normal((3000, 2))
    gan = GAN([layers.Dense(32, "relu"), layers.Dense(2)], [layers.Dense(32, "relu")], latent=4, random_state=0)
    gan.fit(X, y, epochs=30)
    assert list(gan.classes) == ["left", "right", "up"]
    for label, center in centers.items():
        made = gan.sample(200, random_state=0, labels=label)
        assert (np.linalg.norm(made - center, axis=1) < 0.4).mean() > 0.9
    mixed = gan.sample(3, random_state=0, labels=["up", "left", "up"])
    assert np.abs(mixed - [centers["up"], centers["left"], centers["up"]]).max() < 0.5
    assert gan.sample(50, random_state=0).shape == (50, 2)
    assert gan.discriminator.predict(X[:4]).shape == (4, 3)


# ---------------------------------------------------------------- fits


def test_history_callbacks_and_pictures(tmp_path, capsys):
    gan, seen = small(), []
    log = callbacks.CSVLogger(tmp_path / "log.csv")
    history = gan.fit(circle(), epochs=3, callbacks=[log, lambda gan, history: seen.append(len(history["rate"]))], verbose=2)
    assert seen == [1, 2, 3]
    assert set(history) == {"discriminator_loss", "generator_loss", "rate", "seconds"}
    assert (tmp_path / "log.csv").read_text().startswith("epoch,discriminator_loss,generator_loss,rate,seconds")
    assert capsys.readouterr().out.count("generator_loss") == 3 * 1
    pytest.importorskip("matplotlib").use("Agg")
    assert list(TrainingCurveDisplay.from_estimator(gan).lines_) == ["discriminator_loss", "generator_loss"]


def test_rates_go_down_to_nothing_and_a_second_fit_goes_on():
    gan = small(discriminator_steps=2)
    rates = gan.fit(circle(), epochs=4)["rate"]
    np.testing.assert_allclose(rates, 2e-3 * (1 - (4 * np.arange(1, 5) - 1) / 16))
    assert gan.discriminator.step == 2 * gan.step == 32
    before = gan.generator.params.copy()
    assert gan.fit(circle(), epochs=1)["rate"] == pytest.approx([2e-3 / 4])
    assert gan.step == 20
    assert not np.array_equal(gan.generator.params, before)


def test_verbose_0_prints_nothing(capsys):
    small().fit(circle(), epochs=1)
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_leaves_what_can_be_used():
    gan = small()

    def interrupt(gan, history):
        if len(history["rate"]) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gan.fit(circle(), epochs=9, callbacks=[interrupt])
    assert gan.history.stopped == "interrupted by the user (Ctrl-C)"
    assert np.isfinite(gan.sample(5, random_state=0)).all()
    gan.fit(circle(), epochs=4, resume=True)
    assert gan.epochs == 4


def test_losses_that_are_not_finite_end_the_fit():
    gan = small(discriminator_optimizer=optimizers.SGD(1e30, skip_nonfinite=False), loss="least_squares")
    with pytest.warns(RuntimeWarning, match=r"loss is (nan|inf) in epoch \d+: training stopped. Scale X"):
        gan.fit(circle(), epochs=50)
    assert "loss is nan in epoch" in gan.history.stopped
    assert len(gan.history["rate"]) < 50


def test_a_discriminator_that_wins_is_said_to():
    gan = small(generator_optimizer=optimizers.SGD(1e-9), discriminator_optimizer=optimizers.Adam(1e-2), instance_noise=0)
    with pytest.warns(ConvergenceWarning, match="the discriminator believes nothing of what is made"):
        gan.fit(10 + circle(2000), epochs=100)


def test_a_generator_that_has_collapsed_is_said_to():
    gan = GAN([layers.Dense(2, initializer="zeros")], [layers.Dense(8, "relu")], latent=3, random_state=0)
    gan.build(2)
    gan.generator.layers = [layers.Dense(2, initializer="zeros", learning_rate_factor=0.0)]
    with pytest.warns(ConvergenceWarning, match="makes the same sample of all codes"):
        gan.fit(circle(), epochs=1)


def test_one_class_only_and_few_samples():
    gan = small()
    with pytest.warns(ConvergenceWarning, match="all samples are of the class 0: labels say nothing"):
        gan.fit(circle(40), np.zeros(40, int), epochs=2, batch_size=64)
    assert gan.step == 2
    assert gan.sample(3, labels=0).shape == (3, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "wasserstein"}, "loss must be one of"),
        ({"latent": 0}, "latent must be an integer >= 1"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "label_smoothing must be 0 or None"),
        ({"discriminator_steps": 0}, "discriminator_steps"),
        ({"instance_noise": -1}, "instance_noise"),
        ({"average": 1.0}, "average"),
        (
            {"generator_optimizer": "lbfgs"},
            "generator_optimizer: networks that train in turns need an optimizer of single steps",
        ),
        ({"discriminator_optimizer": "x"}, "discriminator_optimizer: optimizer must be"),
        ({"generator_optimizer": optimizers.Adam(ReduceOnPlateau(0.1))}, "reacts to a loss"),
        ({"generator_optimizer": optimizers.ScheduleFreeAdamW()}, "single steps"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"dtype": None}, "dtype must be one of"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


@pytest.mark.parametrize(
    ("X", "y", "kwargs", "message"),
    [
        (circle() * np.nan, None, {}, "NaN"),
        (circle()[:1], None, {}, "at least 2 samples"),
        (np.zeros((9, 3)), None, {}, r"generator makes samples of shape \(2,\), not \(3,\), those of X"),
        (circle(), np.zeros(3), {}, "label for each of the 512 samples"),
        (circle(), np.zeros((512, 2)), {}, r"y must be labels \(n,\)"),
        (circle(), np.array([1, "a"] * 256, object), {}, "y must hold strings or numbers, got both"),
        (circle(), np.array([None, "a"] * 256, object), {}, "y contains missing values"),
        (circle(), np.array([b"a"] * 512), {}, r"y must be labels \(n,\)"),
        (circle(), None, {"callbacks": [callbacks.ModelCheckpoint("/no/folder/x.fdnn")]}, "folder that exists"),
        (circle(), np.full(512, np.nan), {}, "y contains NaN"),
        (circle(), None, {"epochs": 0}, "epochs"),
        (circle(), None, {"batch_size": 0}, "batch_size"),
        (circle(), None, {"callbacks": [callbacks.EarlyStopping()]}, "of one network"),
        (circle(), None, {"callbacks": ["x"]}, "callbacks must be"),
        (circle(), None, {"verbose": -1}, "verbose"),
    ],
)
def test_data_are_checked_before_anything_changes(X, y, kwargs, message):
    gan = small()
    with pytest.raises(ValueError, match=message):
        gan.fit(X, y, **kwargs)
    assert gan.epochs == 0
    assert gan.generator is None
    gan.fit(circle(), epochs=1)


def test_other_messages():
    gan = small()
    with pytest.raises(ValueError, match="no networks yet"):
        gan.sample(3)
    with pytest.raises(ValueError, match="must make vectors"):
        GAN([layers.Dense(4), layers.Reshape((2, 2))], [layers.Dense(3)]).build((2, 2))
    with pytest.raises(ValueError, match="scale X, or take another last activation"):
        GAN([layers.Dense(2, "tanh")], [layers.Dense(3)]).fit(3 * circle())
    gan.fit(circle(), epochs=1)
    with pytest.raises(ValueError, match="knows no classes"):
        gan.sample(3, labels=1)
    with pytest.raises(ValueError, match="built without classes"):
        gan.fit(circle(), np.zeros(512))
    with pytest.raises(ValueError, match=r"samples of shape \(2,\), got \(3,\)"):
        gan.fit(np.zeros((9, 3)))
    conditional = small()
    conditional.fit(circle(), np.arange(512) % 2, epochs=1)
    with pytest.raises(ValueError, match="give the labels y"):
        conditional.fit(circle())
    with pytest.raises(ValueError, match=r"labels must be among \[0, 1\], got"):
        conditional.sample(2, labels=[0, 7])
    with pytest.raises(ValueError, match="4 labels or one"):
        conditional.sample(4, labels=[0, 1])


def test_initial_weights_are_small_where_layers_do_not_say():
    gan = GAN([layers.Dense(50, "relu"), layers.Dense(2, initializer="zeros")], [layers.Dense(9, "relu")], latent=25)
    gan.build(2)
    first, bias, second, own = gan.generator.weights.values()
    for array in (first, bias):
        assert 0.15 < np.abs(array).max() <= 0.2  # 1 / sqrt(25)
    assert not second.any()
    assert not own.any()


def test_networks_that_are_no_pair_any_more_are_refused():
    """Kernels have no bounds: another shape or float type would read and write what is not theirs."""
    changes = {
        r"must take \(5,\), make \(2,\)": lambda gan: gan.generator.build(4000),
        "generator must be of float32, got float64": lambda gan: setattr(
            gan, "generator", Model(gan.generator.layers, dtype="float64").build(5)
        ),
        "generator: networks that train in turns": lambda gan: setattr(gan.generator, "optimizer", "lbfgs"),
        "discriminator: networks that train in turns": lambda gan: setattr(
            gan.discriminator, "optimizer", "schedule_free_adamw"
        ),
        "discriminator's loss must be": lambda gan: setattr(gan.discriminator, "loss", "squared_error"),
    }
    for message, change in changes.items():
        gan = small()
        gan.fit(circle(), epochs=1)
        change(gan)
        with pytest.raises(ValueError, match=message):
            gan.fit(circle(), epochs=1)


def test_a_build_that_fails_leaves_what_there_was():
    gan = small()
    gan.fit(circle(), epochs=1)
    made = gan.sample(3, random_state=0)
    for wrong in (
        lambda: gan.build(5, [0, 1]),
        lambda: gan.build(2, []),
        lambda: gan.build(2.0),
        lambda: gan.build(2, [0, np.nan]),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own text
            wrong()
    np.testing.assert_array_equal(gan.sample(3, random_state=0), made)
    gan.fit(circle(), epochs=1)


def test_the_generator_predicts_samples_and_copies_are_independent():
    gan = small()
    gan.fit(circle(), epochs=2)
    codes = np.random.default_rng(0).standard_normal((5, 5)).astype("float32")
    np.testing.assert_array_equal(gan.generator.predict(codes), gan.make(codes))
    with pytest.raises(ValueError, match=r"codes must have shape \(n, 5\)"):
        gan.make(codes[:, :3])
    other, before = copy.copy(gan), weights_of(gan)
    other.fit(circle(), epochs=1)
    np.testing.assert_array_equal(weights_of(gan), before)
    gan.fit(circle(), epochs=1)
    np.testing.assert_array_equal(weights_of(gan), weights_of(other))


def test_schedules_and_steps_that_are_left_out():
    gan = small(generator_optimizer=optimizers.SGD(Exponential(0.1, 0.9)))
    rates = [gan.fit(circle(), epochs=1)["rate"][0] for _ in range(2)]
    assert rates == pytest.approx([0.1 * 0.9**7, 0.1 * 0.9**15])
    wild = small(generator_optimizer=optimizers.SGD(1e6), discriminator_optimizer=optimizers.SGD(1e6))
    with pytest.warns((ConvergenceWarning, RuntimeWarning), match="steps were left out|training stopped"):
        wild.fit(circle(2000), epochs=1)


def test_callbacks_see_samples():
    seen = []
    watch = callbacks.LambdaCallback(lambda fit: seen.append([np.shape(part) for part in fit.sample(3)]))
    small().fit(circle(), epochs=1, callbacks=[watch])
    small().fit(circle(), np.arange(512) % 2, epochs=1, callbacks=[watch])
    assert seen == [[(3, 2), ()], [(3, 2), (3,)]]


def test_a_bias_that_a_layer_asks_for_stays():
    gan = GAN([layers.Dense(3, bias_initializer=5.0)], [layers.Dense(3)], latent=4).build(3)
    assert (gan.generator.weights["0.dense.bias"] == 5).all()


def test_streams_of_random_numbers_are_of_their_own():
    names = ("WEIGHTS", "SHUFFLE", "SPLIT", "NOISE", "MIXING", "LATENT", "INSTANCE_NOISE")
    assert len({getattr(rng, name) for name in names}) == len(names)
