"""Single steps and gradients: train_on_batch, apply_gradient, input_gradient, vjp."""

import pickle
import weakref

import naive
import numpy as np
import pytest
from goldens import from_pytorch

from fastdnn import MLPClassifier, Model, layers
from fastdnn.optimizers import LBFGS, OPTIMIZERS, SGD, Adam
from fastdnn.schedules import Cosine, OneCycle
from fastdnn.steps import KEPT

STEPPING = sorted(name for name, cls in OPTIMIZERS.items() if not cls.full_batch)
TAKING_GRADIENTS = [name for name in STEPPING if not OPTIMIZERS[name].trains_elsewhere]


def model_of(optimizer="adam", dtype="float64", dropout=0.0):
    stack = [layers.Dense(9, activation="tanh"), layers.LayerNorm(), layers.Dropout(dropout), layers.Dense(3)]
    return Model(stack, loss="cross_entropy", optimizer=optimizer, dtype=dtype, random_state=0).build(4)


def batches(n=40, size=10, seed=0):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, 4)), rng.integers(0, 3, n)
    return X, y, [(X[i : i + size], y[i : i + size]) for i in range(0, n, size)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", STEPPING)
def test_batches_one_by_one_are_an_epoch_bit_for_bit(name, weighted):
    X, y, parts = batches()
    w = np.random.default_rng(2).uniform(0, 2, 40) if weighted else None
    whole, single = model_of(name), model_of(name)
    for _ in range(2):
        whole.fit(X, y, epochs=1, batch_size=10, shuffle=False, sample_weight=w)
        losses = [single.train_on_batch(*p, None if w is None else w[10 * i : 10 * i + 10]) for i, p in enumerate(parts)]
    counts = np.ones(4) if w is None else w.reshape(4, 10).sum(axis=1)
    assert np.average(losses, weights=counts) == pytest.approx(whole.history["loss"][-1], rel=1e-12)
    if OPTIMIZERS[name].trains_elsewhere:  # there and back after each step rounds
        np.testing.assert_allclose(single.params, whole.params, rtol=1e-12)
    else:
        np.testing.assert_array_equal(single.params, whole.params)
    assert single.step == whole.step == 8


def test_batches_of_other_sizes_forms_and_types_between():
    X, y, _ = batches()
    one, other = model_of(), model_of()
    sizes = [10, 7, 10, 1, 40, 33, 7, 10]
    for n in sizes:
        loss = one.train_on_batch(X[:n], y[:n])
        assert other.train_on_batch(np.asfortranarray(X[:n]).astype("float32").astype(float) * 0 + X[:n], list(y[:n])) == loss
    np.testing.assert_array_equal(one.params, other.params)
    assert len(one.bindings) <= KEPT


def test_a_step_follows_assigned_weights_layers_and_losses():
    X, y, _ = batches()
    model, fresh = model_of(SGD(0.1)), model_of(SGD(0.1))
    model.train_on_batch(X, y)
    model.params, model.step = fresh.params, 0
    model.optimizer = SGD(0.1)
    assert model.train_on_batch(X, y) == fresh.train_on_batch(X, y)
    np.testing.assert_array_equal(model.params, fresh.params)
    model.layers = fresh.layers = [layers.Dense(9, activation="relu"), *model.layers[1:]]
    assert model.train_on_batch(X, y) == fresh.train_on_batch(X, y)
    model.loss = fresh.loss = "squared_error"
    Y = np.eye(3)[y]
    assert model.train_on_batch(X, Y) == fresh.train_on_batch(X, Y)
    np.testing.assert_array_equal(model.params, fresh.params)


def test_steps_then_fit_then_steps():
    X, y, _ = batches()
    a, b = model_of(), model_of()
    for model in (a, b):
        model.train_on_batch(X, y)
    a = pickle.loads(pickle.dumps(a)).copy()
    for model in (a, b):
        model.fit(X, y, epochs=2, batch_size=10)
        model.train_on_batch(X, y)
    np.testing.assert_array_equal(a.params, b.params)
    assert a.bindings is not b.bindings


def test_schedules_of_steps():
    X, y, _ = batches()
    for schedule in (OneCycle(0.1, total=5), Cosine(0.1, period=2)):
        model, whole = model_of(SGD(schedule)), model_of(SGD(schedule))
        for _ in range(5):
            model.train_on_batch(X, y)
        whole.fit(X, y, epochs=5, batch_size=40, shuffle=False)
        np.testing.assert_array_equal(model.params, whole.params)
    with pytest.raises(ValueError, match="give total"):
        model_of(Adam(OneCycle(0.1))).train_on_batch(X, y)


def test_it_learns_as_a_fit_does():
    X, y, _ = batches(400, 20)
    y = (X[:, 0] > 0).astype(int)
    model = Model([layers.Dense(2)], loss="cross_entropy", optimizer=Adam(0.03), random_state=0)
    for _ in range(30):
        for i in range(0, 400, 20):
            model.train_on_batch(X[i : i + 20], y[i : i + 20])
    assert model.evaluate(X, y)["accuracy"] > 0.9


def test_the_samples_are_not_kept():
    X, y, _ = batches()
    model, estimator = model_of(), MLPClassifier(hidden_layer_sizes=(4,), random_state=0)
    for call in (
        lambda X: model.train_on_batch(X, y),
        lambda X: model.loss_and_grad(X, y),
        lambda X: model.input_gradient(X, y),
        lambda X: estimator.partial_fit(X, y, classes=[0, 1, 2]),
    ):
        samples = X.copy()
        gone = weakref.ref(samples)
        call(samples)
        del samples
        assert gone() is None
    with pytest.raises(ValueError, match="y must have"):
        model.train_on_batch(X, y[:-1])
    assert np.isfinite(model.train_on_batch(X, y))


# ---------------------------------------------------------------- gradients from elsewhere


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TAKING_GRADIENTS)
def test_applied_gradients_are_steps(name, dtype):
    X, y, parts = batches()
    whole, single = (model_of(name, dtype) for _ in range(2))
    for X, y in parts:
        whole.train_on_batch(X, y)
        single.apply_gradient(single.loss_and_grad(X, y, training=True)[1])
    np.testing.assert_allclose(single.params, whole.params, rtol=2e-5 if dtype == "float32" else 1e-12, atol=1e-6)
    assert single.step == 4


@pytest.mark.parametrize(
    "settings", [{"clip_norm": 0.1}, {"weight_decay": 0.1}, {"l1": 0.1, "clip_value": 0.01}, {"average": 0.9}]
)
def test_applied_gradients_know_the_optimizers_rules(settings):
    X, y, parts = batches()
    whole, single = (model_of(Adam(0.01, **settings)) for _ in range(2))
    for X, y in parts:
        whole.train_on_batch(X, y)
        single.apply_gradient(single.loss_and_grad(X, y, training=True)[1])
    np.testing.assert_allclose(single.params, whole.params, rtol=1e-12)
    if whole.averaged is not None:
        np.testing.assert_allclose(single.averaged, whole.averaged, rtol=1e-12)


def test_applied_gradients_that_are_no_numbers_are_left_out():
    model = model_of()
    before, gradient = model.params.copy(), np.zeros_like(model.params)
    gradient[0] = np.nan
    model.apply_gradient(gradient)
    np.testing.assert_array_equal(model.params, before)
    assert model.skipped_steps == 1


def test_padding_stays_zero():
    model = model_of()
    model.apply_gradient(np.ones_like(model.params))
    assert not model.params[model.layout.padding()].any()


def test_frozen_layers_and_largest_norms():
    X, y, _ = batches()
    stack = [layers.Dense(9, learning_rate_factor=0.0), layers.Dense(3, max_norm=0.5)]
    one, other = (Model(stack, loss="cross_entropy", dtype="float64", random_state=0).build(4) for _ in range(2))
    one.train_on_batch(X, y)
    other.apply_gradient(other.loss_and_grad(X, y)[1])
    np.testing.assert_allclose(one.params, other.params, rtol=1e-12)
    assert np.linalg.norm(one.weights["1.dense.kernel"], axis=0).max() <= 0.5 + 1e-12


# ---------------------------------------------------------------- gradients of the samples


@pytest.mark.parametrize("training", [False, True])
def test_gradient_of_the_samples(training):
    X, y, _ = batches()
    model = model_of(dropout=0.3)
    w = np.random.default_rng(1).uniform(0, 2, 40)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y, w, training=training)[0], X)
    np.testing.assert_allclose(model.input_gradient(X, y, w, training=training), numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("n", [1, 40, 1500])
def test_vjp_same_as_pytorch(n, training):
    rng = np.random.default_rng(0)
    X, d = rng.standard_normal((n, 4)), rng.standard_normal((n, 3))
    stack = [layers.Dense(9, activation="tanh"), layers.LayerNorm(), layers.Dense(3)]
    model = Model(stack, dtype="float64", random_state=0).build(4)

    def compute(torch):
        w = [torch.tensor(v.copy(), requires_grad=True) for v in model.weights.values()]
        inputs = torch.tensor(X, requires_grad=True)
        hidden = torch.nn.functional.layer_norm((inputs @ w[0] + w[1]).tanh(), (9,), w[2], w[3], stack[1].epsilon)
        (torch.tensor(d) * (hidden @ w[4] + w[5])).sum().backward()
        return inputs.grad, *(v.grad for v in w)

    d_inputs, *gradients = from_pytorch(f"vjp {n}", compute)
    dX, gradient = model.vjp(X, d, training=training)
    np.testing.assert_allclose(dX, d_inputs, rtol=1e-9, atol=1e-12)
    for view, peer in zip(model.layout.views(gradient).values(), gradients, strict=True):
        np.testing.assert_allclose(view, peer, rtol=1e-9, atol=1e-12)


def test_ten_alternating_steps_of_two_networks_as_in_pytorch():
    """A generator against a discriminator: gradients go from one network into the other."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    real = rng.standard_normal((16, 5))
    G = Model(
        [layers.Dense(8, activation="tanh"), layers.Dense(5)], optimizer=SGD(0.1), dtype="float64", random_state=0
    ).build(3)
    D = Model([layers.Dense(8, activation="tanh"), layers.Dense(1)], loss="log_loss", optimizer=SGD(0.1), dtype="float64",
              random_state=1).build(5)  # fmt: skip
    g, d = ([torch.tensor(v.copy(), requires_grad=True) for v in m.weights.values()] for m in (G, D))

    def through(w, x):
        return (x @ w[0] + w[1]).tanh() @ w[2] + w[3]

    def step(w, loss):
        gradients = torch.autograd.grad(loss, w)
        with torch.no_grad():
            for p, gradient in zip(w, gradients, strict=True):
                p -= 0.1 * gradient

    bce = torch.nn.functional.binary_cross_entropy_with_logits
    for _ in range(10):
        z = rng.standard_normal((16, 3))
        fake = G.forward(z)
        X, y = np.concatenate([real, fake]), np.repeat([1.0, 0.0], 16)
        D.train_on_batch(X, y)
        step(d, bce(through(d, torch.tensor(X))[:, 0], torch.tensor(y)))
        _, gradient = G.vjp(z, D.input_gradient(G.forward(z), np.ones(16)))
        G.apply_gradient(gradient)
        step(g, bce(through(d, through(g, torch.tensor(z)))[:, 0], torch.ones(16, dtype=torch.float64)))
    for model, peer in ((G, g), (D, d)):
        for view, p in zip(model.weights.values(), peer, strict=True):
            np.testing.assert_allclose(view, p.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X, y: m.train_on_batch(X[:, :2], y), r"X must hold samples of shape \(4,\), got \(2,\)"),
        (lambda m, X, y: m.train_on_batch(X, y[:-1]), "y must have one target for each of the 40 samples"),
        (lambda m, X, y: m.train_on_batch(X * np.nan, y), "X contains NaN"),
        (lambda m, X, y: m.train_on_batch(X[:0], y[:0]), "X has no samples"),
        (lambda m, X, y: m.train_on_batch(X, y, -np.ones(40)), "sample_weight must be finite and not negative"),
        (lambda m, X, y: m.train_on_batch(X, y + 1), "class numbers must be 0 to 2"),
        (
            lambda m, X, y: m.apply_gradient(np.ones(3)),
            r"gradient must be a flat array .* shape \(\d+,\), got float64 \(3,\)",
        ),
        (lambda m, X, y: m.apply_gradient(np.array(["a"] * len(m.params))), "gradient must be a flat array of numbers"),
        (lambda m, X, y: m.vjp(X, np.ones((40, 2))), r"dscores must have shape \(n, 3\) .*got \(40, 2\)"),
        (lambda m, X, y: m.vjp(X, np.full((40, 3), np.inf)), "dscores contains NaN or infinity"),
    ],
)
def test_messages(call, message):
    X, y, _ = batches()
    model = model_of()
    before = model.params.copy()
    with pytest.raises(ValueError, match=message):
        call(model, X, y)
    np.testing.assert_array_equal(model.params, before)


def test_who_has_no_steps_says_so():
    X, y, _ = batches()
    for call in (lambda m: m.train_on_batch(X, y), lambda m: m.apply_gradient(m.params)):
        with pytest.raises(ValueError, match="has no steps with single"):
            call(model_of(LBFGS()))
    with pytest.raises(ValueError, match=r"takes its gradients at other parameters .* use train_on_batch"):
        model_of("schedule_free_adamw").apply_gradient(model_of().params)
    with pytest.raises(ValueError, match="no parameters yet"):
        Model([layers.Dense(2)]).apply_gradient(np.zeros(3))


# ---------------------------------------------------------------- bound steps


def test_bound_steps_are_those_of_train_on_batch_on_what_the_buffers_hold():
    X, _, parts = batches()
    one, other = model_of(), model_of()
    buffer, first = parts[0][0].copy(), parts[0][1].copy()
    run = one.bind(buffer, first)
    assert run.X.base is buffer or run.X is buffer
    for samples, targets in parts:
        run.X[...], run.y[...] = samples, targets
        assert run.step() == other.train_on_batch(samples, targets)
    np.testing.assert_array_equal(one.params, other.params)
    assert run.loss_and_grad() == other.loss_and_grad(*parts[-1])[0]
    regression = Model([layers.Dense(2)], dtype="float64", random_state=0)
    run = regression.bind(X[:5], X[:5, :2])
    run.y[...] = 0
    run.step()
    again = Model([layers.Dense(2)], dtype="float64", random_state=0)
    again.train_on_batch(X[:5], np.zeros((5, 2)))
    np.testing.assert_array_equal(regression.params, again.params)


@pytest.mark.parametrize("call", ["step", "epoch", "loss_and_grad"])
def test_what_would_index_out_of_bounds_is_refused(call):
    X, y, _ = batches()
    run = model_of().bind(X, y.copy())
    for bad in (3, -1, 10**9):
        run.y[...] = y
        run.y[7] = bad
        with pytest.raises(ValueError, match="class numbers in y must be 0 to 2"):
            getattr(run, call)()
    ids = np.random.default_rng(0).integers(0, 9, (40, 5))
    run = Model([layers.Embedding(9, 3), layers.Flatten(), layers.Dense(3)], loss="cross_entropy").bind(ids, y)
    run.X[...] = 10**9
    with pytest.raises(ValueError, match="ids"):
        getattr(run, call)()


def test_orders_of_bound_epochs_are_checked():
    X, y, _ = batches()
    run = model_of().bind(X, y, batch_size=10)
    for bad in ([0, 10**9], [-5], [0, 40], [0.5, 1.5], [[0]], []):
        with pytest.raises(ValueError, match="order must be a list of numbers of samples, 0 to 39"):
            run.epoch(bad)
    run.epoch([3, 1, 2])
    run = Model([layers.Dense(3)], loss="cross_entropy", optimizer=LBFGS()).bind(X, y)
    for call in (run.step, run.epoch):
        with pytest.raises(ValueError, match="no steps with single batches; call fit"):
            call()


def test_signed_weights_count_in_validation_too():
    source = np.random.default_rng(0)
    X, actions, w = source.standard_normal((50, 3)), source.integers(0, 2, 50), source.standard_normal(50)

    def fitted(**kwargs):
        model = Model([layers.Dense(2)], loss="policy_gradient", dtype="float64", random_state=0)
        return model.fit(X, actions, epochs=1, sample_weight=1000 * w, **kwargs)["val_loss"][0]

    assert abs(fitted(validation_fraction=0.5)) > 10
    assert fitted(validation_data=(X, actions, 1000 * w)) == pytest.approx(1000 * fitted(validation_data=(X, actions, w)))
