"""Autoencoders: scikit-learn's checks, codes, reconstructions, noise, outliers; the layer that draws codes."""

import pickle

import numpy as np
import pytest
from goldens import from_pytorch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastdnn import Autoencoder, Model, VariationalAutoencoder, callbacks, layers, optimizers, schedules
from fastdnn.layers.base import OP

ESTIMATORS = [Autoencoder, VariationalAutoencoder]
X, LABELS = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
FAST = optimizers.Adam(schedules.OneCycle(1e-2))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # one sample, samples that are all the same
@parametrize_with_checks([cls() for cls in ESTIMATORS])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def fitted(cls=Autoencoder, n_components=8, data=X, epochs=60, **kwargs):
    return cls(n_components, hidden_layer_sizes=(64,), optimizer=FAST, epochs=epochs, random_state=0, **kwargs).fit(data)


@pytest.fixture(scope="module")
def coder():
    return fitted()


def test_codes_say_more_than_as_many_principal_components(coder):
    pca = PCA(8, random_state=0).fit(X)
    linear = ((pca.inverse_transform(pca.transform(X)) - X) ** 2).mean()
    assert coder.reconstruction_error(X).mean() < 0.9 * linear
    assert coder.score(X) == pytest.approx(-coder.reconstruction_error(X).mean())
    np.testing.assert_array_equal(coder.score_samples(X[:9]), -coder.reconstruction_error(X[:9]))


def test_decoding_codes_is_what_the_network_makes_of_the_samples(coder):
    codes = coder.transform(X)
    assert codes.shape == (len(X), 8)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(coder.inverse_transform(codes), coder.model_.predict(X), rtol=2e-6, atol=1e-6)
    assert list(coder.get_feature_names_out()) == [f"autoencoder{i}" for i in range(8)]


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_convolutional_ones_of_images(cls):
    images = X.reshape(-1, 8, 8, 1)
    encoder = [layers.Conv2D(8, 3, padding="same", activation="relu"), layers.BatchNorm(), layers.MaxPool2D(2)]
    decoder = [layers.Dense(4 * 4 * 8, "relu"), layers.Reshape((4, 4, 8)), layers.BatchNorm(), layers.UpSampling2D(2)]
    decoder += [layers.Conv2D(1, 3, padding="same")]
    coder = cls(8, encoder=encoder, decoder=decoder, optimizer=FAST, epochs=30, batch_size=64, random_state=0).fit(images)
    assert coder.inverse_transform(coder.transform(images[:5])).shape == (5, 8, 8, 1)
    np.testing.assert_allclose(
        coder.inverse_transform(coder.transform(images)), coder.model_.predict(images), rtol=1e-5, atol=1e-5
    )
    if cls is Autoencoder:
        assert coder.reconstruction_error(images).mean() < 0.6 * images.var(axis=0).mean()
    without = cls(4, encoder=encoder, epochs=1, random_state=0).fit(images)  # the decoder is added
    assert without.inverse_transform(np.zeros((2, 4), "float32")).shape == (2, 8, 8, 1)


def test_noise_is_removed():
    rng = np.random.default_rng(0)
    noisy = X + 0.3 * rng.standard_normal(X.shape).astype("float32")
    errors = {noise: ((fitted(n_components=32, noise=noise).model_.predict(noisy) - X) ** 2).mean() for noise in (0.0, 0.3)}
    assert errors[0.3] < 0.6 * errors[0.0]
    assert errors[0.3] < 0.35 * 0.3**2
    one = fitted(epochs=2, noise=0.1)  # no noise but in training
    np.testing.assert_array_equal(one.transform(X[:5]), one.transform(X[:5]))
    np.testing.assert_allclose(one.inverse_transform(one.transform(X)), one.model_.predict(X), rtol=2e-6, atol=1e-6)


def test_samples_unlike_those_of_the_fit_stand_out():
    coder = fitted(data=X[LABELS == 0], epochs=200, n_components=6)
    assert roc_auc_score(LABELS == 0, coder.score_samples(X)) > 0.97


def test_in_pipelines_and_grid_searches():
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), Autoencoder(epochs=20, random_state=0)),
        {"autoencoder__n_components": [1, 12], "autoencoder__optimizer__learning_rate": [3e-3]}, cv=2,
    )  # fmt: skip
    assert (
        grid.set_params(estimator__autoencoder__optimizer=optimizers.Adam()).fit(X).best_params_["autoencoder__n_components"]
        == 12
    )


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_same_seed_clones_and_pickles(cls):
    a = fitted(cls, epochs=3)
    b = clone(a).fit(X)
    np.testing.assert_array_equal(a.transform(X), b.transform(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(a)).transform(X), a.transform(X))


def test_callbacks_early_stopping_and_interruptions():
    coder = fitted(epochs=300, early_stopping=True, patience=3, callbacks=[callbacks.TimeLimit(60)])
    assert "val_loss" in coder.history_
    assert len(coder.callbacks_) == 2

    def interrupt(model, history):
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted by user"):
        stopped = fitted(epochs=9, callbacks=[interrupt])
    assert np.isfinite(stopped.transform(X)).all()


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="encoder must be a list of fastdnn layers"):
        Autoencoder(encoder=["dense"]).fit(X)
    with pytest.raises(ValueError, match="noise"):
        Autoencoder(noise=-1).fit(X)
    with pytest.raises(ValueError, match="between 0 and 1"):
        VariationalAutoencoder(loss="log_loss").fit(3 * X)


def test_losses_that_make_no_sense_and_fits_that_diverge():
    for loss in ("cross_entropy", "hinge", "linear", "adversarial", "policy_gradient"):
        with pytest.raises(ValueError, match="loss must be one of numbers"):
            Autoencoder(loss=loss).fit(X)
    with pytest.raises(ValueError, match="encoder cannot begin with Embedding"):
        Autoencoder(encoder=[layers.Embedding(20, 3)]).fit(X)
    with pytest.warns(Warning), pytest.raises(ValueError, match="training diverged"):  # noqa: PT030
        Autoencoder(optimizer=optimizers.SGD(1e12, skip_nonfinite=False), epochs=3).fit(X)


def test_empty_encoders_and_changed_parameters():
    images = X.reshape(-1, 8, 8, 1)
    coder = Autoencoder(5, encoder=[], decoder=[], epochs=1, random_state=0).fit(images)
    codes = coder.transform(images)
    coder.set_params(n_components=9)  # of the next fit
    assert coder.inverse_transform(codes).shape == images.shape
    assert len(coder.get_feature_names_out()) == 5


# ---------------------------------------------------------------- variational ones


def nearest(samples):
    """Mean over the samples of the squared distance to the nearest real one."""
    return ((samples[:, None] - X[None]) ** 2).sum(axis=2).min(axis=1).mean()


def test_samples_of_new_codes_are_like_real_ones():
    coder = fitted(VariationalAutoencoder, loss="log_loss", epochs=60)
    made = coder.sample(500, random_state=0)
    assert made.shape == (500, 64)
    assert made.min() >= 0
    assert made.max() <= 1
    np.testing.assert_array_equal(made, coder.sample(500, random_state=0))
    noise = np.random.default_rng(0).permuted(X, axis=0)[:500]  # each pixel's own distribution, nothing else
    assert nearest(made) < 0.35 * nearest(noise)
    assert made.std(axis=0).mean() > 0.5 * X.std(axis=0).mean()
    codes = coder.transform(X)
    assert abs(codes.mean()) < 0.2
    assert 0.3 < codes.std() < 1.2


def test_the_divergence_pulls_codes_together():
    spread = [fitted(VariationalAutoencoder, beta=beta, epochs=20).transform(X).std() for beta in (0.0, 10.0)]
    assert spread[1] < 0.3 * spread[0]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [1, 3])
def test_sampling_as_in_pytorch(training, weighted, rows):
    """The network x -> Dense -> Sampling -> Dense with the noise that was drawn: loss and all gradients."""
    rng = np.random.default_rng(1)
    n, k, beta = 37, 5, 0.7
    after = [layers.Dense(4)] if rows == 1 else [layers.Dense(4 * rows), layers.Reshape((rows, 4))]
    model = Model([layers.Dense(2 * k), layers.Sampling(beta), *after], dtype="float64", random_state=3).build(6)
    samples, targets = rng.standard_normal((n, 6)), rng.standard_normal((n, *([rows] if rows > 1 else []), 4))
    w = rng.uniform(0, 2, n) if weighted else None
    run = model.bind(samples, targets, w, n, training=training)
    loss = run.loss_and_grad()
    W, b, V, c = (a.copy() for a in model.weights.values())
    noise = drawn(model, samples, n, k) if training else None
    model.loss_and_grad(samples, targets, w, training=training)

    def compute(torch):
        leaves = [torch.tensor(a, requires_grad=True) for a in (W, b, V, c)]
        h = torch.tensor(samples) @ leaves[0] + leaves[1]
        mean, log_variance = h[:, :k], h[:, k:]
        z = mean + (0.5 * log_variance).exp() * torch.tensor(noise) if training else mean
        scores = (z @ leaves[2] + leaves[3]).reshape(targets.shape)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        errors = 0.5 * ((scores - torch.tensor(targets)) ** 2).reshape(n, -1).sum(1)
        of = torch.tensor(np.ones(n) if w is None else w)
        total = (of * (errors + beta * divergence)).sum() / of.sum() / rows
        total.backward()
        return total, *(leaf.grad for leaf in leaves)

    expected, *gradients = from_pytorch(f"sampling {training} {weighted} {rows}", compute)
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    for ours, theirs in zip(model.gradients.values(), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def drawn(model, samples, n, k):
    """The noise that the layer draws for these samples: its codes in training with means of 0 and variances of 1."""
    W, b = list(model.weights)[:2]
    kept = model.params.copy()
    model.weights[W][...] = model.weights[b][...] = 0
    run = model.bind(samples, np.zeros((n, *model.layout.shapes[-1])), None, n)
    run.loss_and_grad()
    row = run.program.table[2]
    codes = run.program.work[row[OP.y] :][: n * row[OP.ld_out]].reshape(n, -1)[:, :k].copy()
    model.params = kept
    return codes


def test_codes_drawn_are_normal_and_of_their_own():
    model = Model([layers.Dense(2 * 64, initializer=0.0), layers.Sampling(), layers.Dense(1)], random_state=0).build(3)
    codes = drawn(model, np.zeros((500, 3), "float32"), 500, 64)
    assert abs(codes.mean()) < 0.03
    assert abs(codes.std() - 1) < 0.02
    assert abs(np.corrcoef(codes[:-1].ravel(), codes[1:].ravel())[0, 1]) < 0.03


SEQUENCES = np.random.default_rng(0).standard_normal((12, 6, 3))


@pytest.mark.parametrize("after", [[layers.GRU(4), layers.Dense(1)], [layers.Dense(2)]], ids=["last", "steps"])
def test_padding_has_no_divergence(after):
    """Sequences of 2 steps, cut, or padded with anything to 6."""
    model = Model([layers.Dense(6), layers.Sampling(0.7), *after], dtype="float64", random_state=0).build((6, 3))
    cut = Model([layers.Dense(6), layers.Sampling(0.7), *after], dtype="float64", random_state=0).build((2, 3))
    cut.params = model.params
    padded, y = SEQUENCES.copy(), np.random.default_rng(1).standard_normal((12, *cut.layout.shapes[-1]))
    padded[:, 2:] = 1e3
    y_padded = y if y.ndim == 2 else np.concatenate([y, np.zeros((12, 4, 2))], axis=1)
    expected, gradient = cut.loss_and_grad(SEQUENCES[:, :2], y)
    loss, found = model.loss_and_grad(padded, y_padded, lengths=[2] * 12)
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(found, gradient, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("settings", [{"checkpoint": True}, {"truncate": 3}], ids=str)
def test_windows_of_steps_weigh_the_divergence_alike(settings):
    y, losses = np.random.default_rng(1).standard_normal((12, 6, 2)), []
    for more in ({}, settings):
        stack = [layers.GRU(6, return_sequences=True, **more), layers.Dense(6), layers.Sampling(0.7), layers.Dense(2)]
        model = Model(stack, dtype="float64", random_state=0).build((6, 3))
        losses.append(model.loss_and_grad(SEQUENCES, y)[0])
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)


def test_a_gradient_that_is_given_has_no_divergence_in_it():
    model = Model([layers.Sampling()], dtype="float64").build(4)
    assert not model.vjp([[1.0, 2.0, 3.0, 4.0]], [[0.0, 0.0]])[0].any()


def test_sampling_needs_an_even_number():
    with pytest.raises(ValueError, match="an even number, got 3"):
        Model([layers.Sampling()]).build(3)
