"""Kernels divided by their largest singular value: the norm, gradients, PyTorch's steps, bits, files."""

import pickle

import naive
import numpy as np
import pytest
from goldens import from_pytorch

from fastdnn import GAN, Model, layers, optimizers
from fastdnn.optimizers import SGD, Adam
from fastdnn.summary import count, describe

END = [layers.Flatten(), layers.Dense(3)]
STACKS = {
    "dense": ([layers.Dense(7, "tanh", spectral_norm=True), layers.Dense(3)], (5,)),
    "no bias, behind": ([layers.Dense(4, "tanh"), layers.Dense(3, use_bias=False, spectral_norm=True)], (5,)),
    "rows": ([layers.Dense(17, "softplus", spectral_norm=True), layers.Dense(3)], (4, 5)),
    "softmax": ([layers.Dense(4, "softmax", spectral_norm=True), layers.Dense(3, spectral_norm=True)], (6,)),
    "conv2d": ([layers.Conv2D(5, 3, 2, "same", activation="tanh", spectral_norm=True), *END], (6, 5, 2)),
    "conv1d": ([layers.Conv1D(4, 3, groups=2, use_bias=False, spectral_norm=True), *END], (7, 2)),
    "pointwise": ([layers.Conv2D(5, 1, activation="tanh", spectral_norm=True), layers.GlobalAvgPool2D(), layers.Dense(3)],
                  (3, 4, 2)),
    "transposed": ([layers.Conv2DTranspose(3, 3, 2, activation="tanh", spectral_norm=True), layers.Flatten(),
                    layers.Dense(3, spectral_norm=True)], (3, 4, 2)),
    "around": ([layers.Residual([layers.Dense(5, spectral_norm=True), layers.BatchNorm()]), layers.Dense(3)], (5,)),
}  # fmt: skip
every_stack = pytest.mark.parametrize("name", STACKS)


def built(name, dtype="float64", optimizer="adam"):
    stack, shape = STACKS[name]
    model = Model(stack, optimizer=optimizer, dtype=dtype, random_state=1).build(shape)
    source = np.random.default_rng(3)
    for view in model.weights.values():
        view += 0.1 * source.standard_normal(view.shape)
    return model


def data(name, n=33, dtype="float64"):
    model, source = built(name), np.random.default_rng(0)
    shapes = model.layout.shapes
    return source.standard_normal((n, *shapes[0])).astype(dtype), source.standard_normal((n, *shapes[-1]))


def norms(model):
    """(u, v, their product with the kernel, its largest singular value) of each kernel that is normalized."""
    for key in [key.removesuffix(".u") for key in model.states if key.endswith(".u")]:
        kernel = model.weights[f"{key}.kernel"]
        matrix, u, v = kernel.reshape(-1, kernel.shape[-1]), model.states[f"{key}.u"], model.states[f"{key}.v"]
        yield u, v, v @ matrix @ u, np.linalg.svd(matrix, compute_uv=False)[0]


@pytest.mark.parametrize("training", [False, True])
@every_stack
def test_gradients(name, training):
    model, (X, y) = built(name), data(name)
    state = model.state.copy()
    _, gradient = model.loss_and_grad(X, y, training=training)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y, training=training)[0], model.params)
    numeric[model.layout.padding()] = gradient[model.layout.padding()]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(model.state, state)  # no iteration without a step
    few = X[:3]
    gradient = model.input_gradient(few, y[:3], training=training)
    numeric = naive.central_difference(lambda: model.loss_and_grad(few, y[:3], training=training)[0], few)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


@every_stack
def test_the_norm_is_found_at_once_and_followed(name):
    fresh = Model(STACKS[name][0], dtype="float64", random_state=1, optimizer=SGD(1e-3)).build(STACKS[name][1])
    X, y = data(name)
    for _ in range(2):
        for u, v, product, largest in norms(fresh):
            assert np.linalg.norm(u) == pytest.approx(1)
            assert np.linalg.norm(v) == pytest.approx(1)
            assert product == pytest.approx(largest, rel=2e-2)
        fresh.fit(X, y, epochs=200, batch_size=33)
    for *_, product, largest in norms(fresh):
        assert product == pytest.approx(largest, rel=1e-3)


def test_what_is_computed():
    model, (X, _) = built("dense"), data("dense")
    kernel, bias, last, own = model.weights.values()
    ((*_, norm, _),) = norms(model)
    np.testing.assert_allclose(model.forward(X), np.tanh(X @ (kernel / norm) + bias) @ last + own, rtol=1e-12)
    before = model.forward(X)
    model.weights["0.dense.kernel"] = 5 * kernel  # divided out
    np.testing.assert_allclose(model.forward(X), before, rtol=1e-12)
    assert list(model.states) == ["0.dense.u", "0.dense.v"]
    model.weights["0.dense.kernel"] = 0 * kernel
    assert np.isfinite(model.forward(X)).all()


@pytest.mark.parametrize("order", ["sgd", "adam"])
def test_ten_steps_as_in_pytorch(order):
    """PyTorch iterates before each forward pass in training, ours after each step: the same, one iteration apart."""
    optimizer = SGD(0.1, momentum=0.0) if order == "sgd" else Adam(1e-2)
    model, (X, y) = built("dense", optimizer=optimizer), data("dense")
    kept = [w.copy() for w in (*model.weights.values(), *model.states.values())]
    losses = [model.train_on_batch(X, y) for _ in range(10)]

    def compute(torch):
        W, b, V, c, u, v = (torch.tensor(a) for a in kept)
        leaves = [torch.nn.Parameter(a) for a in (W, b, V, c)]
        new = torch.optim.SGD(leaves, 0.1) if order == "sgd" else torch.optim.Adam(leaves, 1e-2)
        found = []
        for step in range(10):
            if step:
                with torch.no_grad():
                    u = v @ leaves[0] / (v @ leaves[0]).norm()
                    v = leaves[0] @ u / (leaves[0] @ u).norm()
            hidden = torch.tanh(torch.tensor(X) @ (leaves[0] / (v @ leaves[0] @ u)) + leaves[1])
            loss = 0.5 * ((hidden @ leaves[2] + leaves[3] - torch.tensor(y)) ** 2).sum(1).mean()
            new.zero_grad()
            loss.backward()
            new.step()
            found.append(loss.item())
        return found, *leaves

    expected, *weights = from_pytorch(f"spectral {order}", compute)
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    for ours, theirs in zip(model.weights.values(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


def test_ten_steps_as_by_pytorchs_own():
    """`torch.nn.utils.parametrizations.spectral_norm` in training, whose first forward pass iterates once: so does ours."""
    model, (X, y) = built("dense", optimizer=Adam(1e-2)), data("dense")
    kept = [w.copy() for w in (*model.weights.values(), *model.states.values())]
    matrix, u, v = kept[0], *kept[-2:]
    u = v @ matrix / np.linalg.norm(v @ matrix)
    model.states["0.dense.u"], model.states["0.dense.v"] = u, matrix @ u / np.linalg.norm(matrix @ u)
    losses = [model.train_on_batch(X, y) for _ in range(10)]

    def compute(torch):
        W, b, V, c, u, v = (torch.tensor(a) for a in kept)
        first, last = torch.nn.Linear(5, 7).double(), torch.nn.Linear(7, 3).double()
        for linear, kernel, bias in ((first, W, b), (last, V, c)):
            linear.weight.data, linear.bias.data = kernel.T.contiguous(), bias
        first = torch.nn.utils.parametrizations.spectral_norm(first)
        first.parametrizations.weight[0]._u, first.parametrizations.weight[0]._v = u, v
        net = torch.nn.Sequential(first, torch.nn.Tanh(), last)
        adam, found = torch.optim.Adam(net.parameters(), 1e-2), []
        for _ in range(10):
            loss = 0.5 * ((net(torch.tensor(X)) - torch.tensor(y)) ** 2).sum(1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            found.append(loss.item())
        return found, first.parametrizations.weight.original.T

    expected, kernel = from_pytorch("spectral PyTorch's own", compute)
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    np.testing.assert_allclose(model.weights["0.dense.kernel"], kernel, rtol=1e-9, atol=1e-11)


def test_a_start_without_weights():
    model = Model([layers.Dense(7, spectral_norm=True), layers.Dense(3)], dtype="float64", random_state=0)
    model.build(5, initialize=False)
    X, y = data("dense")
    source = np.random.default_rng(0)
    for view in model.weights.values():
        view[...] = source.standard_normal(view.shape)
    model.fit(X, y, epochs=50, batch_size=11)
    ((_, _, product, largest),) = norms(model)
    assert product == pytest.approx(largest, rel=1e-2)
    model.weights["0.dense.kernel"] = -3 * source.standard_normal((5, 7))
    model.start_states()
    ((_, _, product, largest),) = norms(model)
    assert product == pytest.approx(largest, rel=1e-2)


def test_a_layer_of_ones_own_and_lbfgs():
    class Wide(layers.Dense):
        def __init__(self, times):
            super().__init__(8 * times, activation="relu", spectral_norm=True)
            self.times = times

    X, y = data("dense")
    model = Model([Wide(2), layers.Dense(3)], random_state=0)
    model.fit(X.astype("float32"), y, epochs=2)
    assert model.layers[0].output_shape((5,)) == (16,)
    with pytest.raises(ValueError, match="spectral_norm"):
        built("dense", optimizer=optimizers.LBFGS()).fit(X, y)


@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_as_pytorchs_own(transposed):
    """`torch.nn.utils.parametrizations.spectral_norm` in evaluation, with our u and v."""
    layer = layers.Conv2DTranspose(4, 3, 2, spectral_norm=True) if transposed else layers.Conv2D(4, 3, spectral_norm=True)
    model = Model([layer, layers.Flatten(), layers.Dense(1)], dtype="float64", random_state=0).build((6, 5, 3))
    X = np.random.default_rng(0).standard_normal((3, 6, 5, 3))
    kernel, bias, *_ = (w.copy() for w in model.weights.values())
    u, v = (s.copy() for s in model.states.values())
    ours = model.forward(X, layer=0)

    def compute(torch):
        nn = torch.nn
        made = nn.ConvTranspose2d(3, 4, 3, 2) if transposed else nn.Conv2d(3, 4, 3)
        made = made.double()
        made.weight.data = torch.tensor(kernel.transpose((2, 3, 0, 1) if transposed else (3, 2, 0, 1)).copy())
        made.bias.data = torch.tensor(bias)
        made = nn.utils.parametrizations.spectral_norm(made).eval()
        made.parametrizations.weight[0]._u = torch.tensor(u)
        made.parametrizations.weight[0]._v = torch.tensor(v.reshape(3, 3, 3).transpose(2, 0, 1).ravel().copy())
        return [made(torch.tensor(X).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)]

    (theirs,) = from_pytorch(f"spectral convolution {transposed}", compute)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@every_stack
def test_same_bits_on_any_number_of_threads(name, on_threads):
    X, y = data(name, 333, "float32")
    results = set()
    for threads in (1, 2, 3, 4):
        with on_threads(threads):
            model = built(name, "float32")
            loss = model.fit(X, y, epochs=3, batch_size=100)["loss"]
            results.add((model.params.tobytes(), model.state.tobytes(), model.predict(X).tobytes(), *loss))
    assert len(results) == 1


@every_stack
def test_rows_alone_nan_and_float32(name):
    model, (X, y) = built(name, "float32"), data(name, 20, "float32")
    together = model.forward(X)
    np.testing.assert_array_equal(np.concatenate([model.forward(X[i : i + 1]) for i in range(20)]), together)
    X[3].ravel()[0] = np.nan
    bad = model.forward(X)
    assert np.isnan(bad[3]).any()
    np.testing.assert_array_equal(np.delete(bad, 3, 0), np.delete(together, 3, 0))
    X, y = data(name, 20)
    double = built(name)
    np.testing.assert_allclose(model.loss_and_grad(X.astype("float32"), y)[0], double.loss_and_grad(X, y)[0], rtol=2e-4)


@pytest.mark.parametrize("accumulate", [2, 5])
def test_batches_in_pieces_are_one_step(accumulate):
    X, y = data("dense", 40)
    whole, pieces = built("dense"), built("dense")
    whole.fit(X, y, epochs=3, batch_size=40, shuffle=False)
    pieces.fit(X, y, epochs=3, batch_size=40 // accumulate, accumulate=accumulate, shuffle=False)
    np.testing.assert_allclose(pieces.params, whole.params, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pieces.state, whole.state, rtol=1e-9)


@pytest.mark.parametrize(
    "optimizer",
    [Adam(1e-2, clip_norm=0.01), Adam(1e-2, clip_value=0.01, l2=0.1), optimizers.AdamW(1e-2, average=0.9)],
    ids=["norm", "value", "average"],
)
def test_with_the_rules_of_optimizers(optimizer):
    """A gradient from elsewhere makes the same step as one of the network's own; both move u and v."""
    X, y = data("dense")
    own, given = built("dense", optimizer=optimizer), built("dense", optimizer=optimizer)
    for _ in range(3):
        own.train_on_batch(X, y)
        given.apply_gradient(given.loss_and_grad(X, y)[1])
    np.testing.assert_allclose(given.params, own.params, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(given.state, own.state, rtol=1e-10)


def test_with_max_norm_and_frozen():
    stack = [layers.Dense(6, "relu", max_norm=0.5, spectral_norm=True), layers.Dense(1)]
    model = Model(stack, dtype="float64", random_state=0)
    X, y = data("dense")
    model.fit(X, y[:, :1], epochs=20)
    assert np.linalg.norm(model.weights["0.dense.kernel"], axis=0).max() <= 0.5 + 1e-12
    frozen = Model([layers.Dense(6, learning_rate_factor=0.0, spectral_norm=True), layers.Dense(1)], random_state=0).build(5)
    kept = frozen.weights["0.dense.kernel"].copy()
    frozen.fit(X, y[:, :1], epochs=2)
    np.testing.assert_array_equal(frozen.weights["0.dense.kernel"], kept)


def test_steps_that_are_left_out_leave_the_states():
    model, (X, y) = built("dense"), data("dense")
    state, params = model.state.copy(), model.params.copy()
    model.train_on_batch(X, np.full_like(y, 1.2e154))  # whose squares are infinite
    assert model.skipped_steps == 1
    np.testing.assert_array_equal(model.state, state)
    np.testing.assert_array_equal(model.params, params)


@pytest.mark.parametrize("name", ["dense", "conv2d"])
def test_files_pickles_and_resuming(name, tmp_path):
    X, y = data(name, 64)
    whole, cut = built(name), built(name)
    whole.fit(X, y, epochs=4, batch_size=16)
    cut.fit(X, y, epochs=2, batch_size=16)
    cut.save(tmp_path / "m.fdnn")
    for again in (Model.load(tmp_path / "m.fdnn"), pickle.loads(pickle.dumps(cut)), cut.copy()):
        again.fit(X, y, epochs=4, batch_size=16, resume=True)
        np.testing.assert_array_equal(again.params, whole.params)
        np.testing.assert_array_equal(again.state, whole.state)
        assert list(again.layers) == list(whole.layers)


def test_sparse_samples_and_summary():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data("dense")
    X[np.random.default_rng(0).random(X.shape) < 0.5] = 0
    one, other = built("dense"), built("dense")
    one.fit(X, y, epochs=2, shuffle=False)
    other.fit(sparse.csr_array(X), y, epochs=2, shuffle=False)
    np.testing.assert_allclose(one.params, other.params, rtol=1e-12)
    assert "spectral_norm=True" in one.summary()
    assert sum(map(count, describe(one))) == one.layout.n_params
    assert str(one.layout.n_params) in one.summary()


def test_discriminators_of_bounded_slope():
    gan = GAN(
        [layers.Dense(16, "relu"), layers.Dense(2)],
        [layers.Dense(16, "relu", spectral_norm=True), layers.Dense(16, "relu", spectral_norm=True)],
        latent=4, loss="hinge", random_state=0,
    )  # fmt: skip
    X = np.random.default_rng(0).standard_normal((640, 2)).astype("float32")
    gan.fit(X, epochs=5)
    for *_, product, largest in norms(gan.discriminator):
        assert product == pytest.approx(largest, rel=0.05)
    hidden = gan.discriminator.forward(X, layer=1)
    distances = np.linalg.norm(X[1:] - X[:-1], axis=1)
    assert (np.linalg.norm(hidden[1:] - hidden[:-1], axis=1) <= 1.1 * distances).all()
