"""Gradients of scores with respect to samples, and integrated gradients."""

import typing

import naive
import numpy as np
import pytest
import scipy.sparse
from goldens import from_pytorch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastdnn import DNNClassifier, Model, inspection, layers, losses
from fastdnn.inspection import input_gradients, integrated_gradients

IMAGES = [
    layers.Conv2D(8, 3, padding="same"),
    layers.BatchNorm(activation="tanh"),
    layers.AvgPool2D(),
    layers.Conv2D(5, 2, activation="gelu"),
    layers.Flatten(),
    layers.Dropout(0.5),
    layers.Dense(4),
]
TABLE = [layers.Dense(9, activation="tanh"), layers.LayerNorm(), layers.Dense(3)]
SERIES = [layers.GRU(6, return_sequences=True), layers.Bidirectional(layers.LSTM(3)), layers.Dense(2)]
KINDS = {"images": (IMAGES, (6, 8, 2)), "table": (TABLE, (5,)), "series": (SERIES, (7, 3))}
BOTH = [input_gradients, integrated_gradients]


def model_and_samples(kind, dtype="float64", n=6, loss="cross_entropy", scale=1.0):
    stack, shape = KINDS[kind]
    model = Model(stack, loss=loss, dtype=dtype, random_state=0).build(shape)
    return model, (scale * np.random.default_rng(0).standard_normal((n, *shape))).astype(dtype)


def linear(n_out=1, loss="squared_error", dtype="float64"):
    """A linear model of 3 features and its weights (3, n_out)."""
    model = Model([layers.Dense(n_out)], loss=loss, dtype=dtype).build(3)
    weights = np.random.default_rng(1).integers(-8, 9, (3, n_out)) / 4
    model.weights["0.dense.kernel"], model.weights["0.dense.bias"] = weights, np.full(n_out, 0.125)
    return model, weights


def scores_of(model, X, target):
    return model.forward(X)[np.arange(len(X)), target]


# ---------------------------------------------------------------- right


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_central_differences(kind):
    model, X = model_and_samples(kind)
    for target in (1, np.arange(len(X)) % model.n_out):
        numeric = naive.central_difference(lambda target=target: scores_of(model, X, target).sum(), X, h=1e-5)
        np.testing.assert_allclose(input_gradients(model, X, target), numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_shares_sum_to_the_difference_of_the_scores(kind, dtype):
    model, X = model_and_samples(kind, dtype)
    rng, target = np.random.default_rng(2), np.arange(len(X)) % model.n_out
    for baseline in (None, 0.5, rng.standard_normal(X.shape[1:]), rng.standard_normal(X.shape)):
        start = np.broadcast_to(np.asarray(0.0 if baseline is None else baseline, dtype), X.shape)
        shares = integrated_gradients(model, X, target, baseline, steps=200)  # layer normalization turns fast near 0
        assert shares.shape == X.shape
        assert shares.dtype == dtype
        difference = scores_of(model, X, target) - scores_of(model, np.ascontiguousarray(start), target)
        exact = {"rtol": 1e-8, "atol": 1e-9} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(shares.reshape(len(X), -1).sum(axis=1), difference, **exact)


def test_corners_need_more_steps():
    stack = [layers.Conv2D(8, 3, activation="relu"), layers.MaxPool2D(), layers.Flatten(), layers.Dense(3)]
    model = Model(stack, loss="cross_entropy", dtype="float64", random_state=0).build((8, 8, 1))
    X = np.random.default_rng(0).standard_normal((20, 8, 8, 1))
    start = np.random.default_rng(1).standard_normal((8, 8, 1))  # from zeros gradients are the same all the way
    difference = scores_of(model, X, 1) - scores_of(model, start[None], 1)
    errors = [
        np.abs(integrated_gradients(model, X, 1, start, steps).sum(axis=(1, 2, 3)) - difference).mean()
        for steps in (5, 50, 500)
    ]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]
    assert errors[2] < 0.01


def test_shares_are_those_of_an_integral():
    """Not only their sum: feature by feature, by the trapezoidal rule and central differences."""
    model, X = model_and_samples("table", n=1)
    start, h = np.linspace(-1, 1, 5), 1e-5
    path = start + np.linspace(0, 1, 2001)[:, None] * (X - start)
    for i in range(5):
        above, below = path + h * np.eye(5)[i], path - h * np.eye(5)[i]
        slopes = (model.forward(above)[:, 2] - model.forward(below)[:, 2]) / (2 * h)
        expected = (X[0, i] - start[i]) * np.trapezoid(slopes, dx=1 / 2000)
        assert integrated_gradients(model, X, 2, start)[0, i] == pytest.approx(expected, rel=1e-6)


def test_same_as_pytorch():
    """A network with the corners of ReLU and max pooling, at the same points of the path."""
    stack = [
        layers.Conv2D(6, 3, padding="same", activation="relu"),
        layers.MaxPool2D(),
        layers.Conv2D(5, 3, 2),
        layers.Flatten(),
    ]
    model = Model([*stack, layers.Dense(4)], loss="cross_entropy", dtype="float64", random_state=0).build((8, 6, 3))
    rng = np.random.default_rng(0)
    X, baseline, target = rng.standard_normal((3, 8, 6, 3)), rng.standard_normal((8, 6, 3)), [2, 0, 3]
    places, weights = np.polynomial.legendre.leggauss(12)

    def compute(torch):
        w = [torch.tensor(v.copy()) for v in model.weights.values()]

        def gradient(images):
            images = torch.tensor(images, requires_grad=True)
            f, z = torch.nn.functional, images.permute(0, 3, 1, 2)
            z = f.max_pool2d(f.conv2d(z, w[0].permute(3, 2, 0, 1), w[1], padding=1).relu(), 2)
            z = f.conv2d(z, w[2].permute(3, 2, 0, 1), w[3], stride=2)
            z = z.permute(0, 2, 3, 1).flatten(1) @ w[4] + w[5]
            z[range(3), target].sum().backward()
            return images.grad

        points = [gradient(baseline + (t + 1) / 2 * (X - baseline)) for t in places]
        return gradient(X), torch.tensor(X - baseline) * sum(g * v / 2 for g, v in zip(points, weights, strict=True))

    gradients, shares = from_pytorch("inspection", compute)
    np.testing.assert_allclose(input_gradients(model, X, target), gradients, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(integrated_gradients(model, X, target, baseline, 12), shares, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_linear_models_are_exact(dtype):
    model, weights = linear(2, dtype=dtype)
    X = np.random.default_rng(0).standard_normal((9, 3)).astype(dtype)
    start = np.array([0.5, -1, 2], dtype)
    exact = 1e-6 if dtype == "float32" else 1e-14
    for target in (0, 1):
        np.testing.assert_array_equal(input_gradients(model, X, target), np.tile(weights[:, target], (9, 1)))
        for steps in (1, 2, 7, 50):
            shares = integrated_gradients(model, X, target, start, steps)
            np.testing.assert_allclose(shares, weights[:, target] * (X - start), rtol=exact, atol=exact)


def test_float32_is_close_to_float64():
    for kind in KINDS:
        (double, X), (single, _) = model_and_samples(kind), model_and_samples(kind, "float32")
        double.params = single.params
        X = X.astype("float32")
        for function in BOTH:
            found = function(single, X, 1)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, function(double, X, 1), rtol=1e-3, atol=1e-5)


# ---------------------------------------------------------------- targets


def test_without_a_target_it_is_the_predicted_class():
    model, X = model_and_samples("images", n=12)
    predicted = model.predict(X).argmax(axis=1)
    assert len(set(predicted)) > 1
    np.testing.assert_array_equal(input_gradients(model, X), input_gradients(model, X, predicted))
    shares = integrated_gradients(model, X, steps=5)  # of that class along the whole path
    np.testing.assert_array_equal(shares, integrated_gradients(model, X, predicted, steps=5))


@pytest.mark.parametrize("loss", ["log_loss", "focal", "hinge"])
def test_one_score_of_two_classes(loss):
    model, weights = linear(1, loss)
    X = np.array([[1.0, 2, 3], [-1.0, -2, -3]])
    up = model.forward(X)[:, 0] > 0
    assert up[0] != up[1]
    np.testing.assert_array_equal(input_gradients(model, X, 1), [weights[:, 0]] * 2)
    np.testing.assert_array_equal(input_gradients(model, X, 0), [-weights[:, 0]] * 2)
    np.testing.assert_array_equal(input_gradients(model, X), np.where(up[:, None], 1, -1) * weights[:, 0])
    with pytest.raises(ValueError, match=r"target must be one of the classes \[0, 1\], or an array of them, got 2"):
        input_gradients(model, X, 2)


def test_labels_of_a_model_with_several_scores():
    model, weights = linear(3, "log_loss")
    X = np.array([[1.0, 2, 3], [-1.0, -2, -3]])
    np.testing.assert_array_equal(input_gradients(model, X, [2, 1]), weights.T[[2, 1]])
    np.testing.assert_array_equal(input_gradients(model, X), weights.T[model.forward(X).argmax(axis=1)])


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "linear", losses.Adversarial()])
def test_outputs(loss):
    """The score comes before the link (exp of poisson); output 0 where there is no target."""
    (model, weights), X = linear(2, loss), np.ones((2, 3))
    np.testing.assert_array_equal(input_gradients(model, X), weights.T[[0, 0]])
    np.testing.assert_array_equal(input_gradients(model, X, np.array([1.0, 0.0])), weights.T[[1, 0]])
    with pytest.raises(ValueError, match=r"target must be one of the outputs \[0, 1\], or an array of them, got -1"):
        input_gradients(model, X, -1)


# ---------------------------------------------------------------- sequences


@pytest.mark.parametrize("function", BOTH)
def test_padding_has_no_share_and_no_effect(function):
    rng, lengths = np.random.default_rng(0), np.array([3, 7, 1])
    model, X = model_and_samples("series", n=3)
    counts = np.arange(7) < lengths[:, None]
    other = np.where(counts[..., None], X, 5)
    found = function(model, X, 1, lengths=lengths)
    assert found[counts].all()
    assert not found[~counts].any()
    np.testing.assert_array_equal(function(model, other, 1, lengths=lengths), found)
    for row in range(3):
        alone = function(model, X[row : row + 1], 1, lengths=lengths[row : row + 1])
        np.testing.assert_array_equal(alone[0], found[row])
    masking = Model([layers.Masking(-1.0), *SERIES], dtype="float64", random_state=0).build((7, 3))
    masking.params = model.params
    padded = np.where(counts[..., None], X, -1)
    np.testing.assert_array_equal(function(masking, padded, 1), found)
    start = rng.standard_normal((7, 3))
    shares = integrated_gradients(masking, padded, 1, start)
    path = [model.forward(np.broadcast_to(a, (3, 7, 3)).copy(), lengths=lengths)[:, 1] for a in (X, start)]
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), path[0] - path[1], rtol=1e-8, atol=1e-9)


# ---------------------------------------------------------------- memory and order


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_some_at_a_time_gives_the_same_bits(kind, dtype, monkeypatch):
    model, X = model_and_samples(kind, dtype, n=23)
    lengths = {"lengths": np.arange(23) % 7 + 1} if kind == "series" else {}
    start = X[::-1].copy()
    whole = input_gradients(model, X, **lengths), integrated_gradients(model, X, None, start, 9, **lengths)
    for rows in (1, 4, 9, 20, 50):
        monkeypatch.setattr(inspection, "ROWS", rows)
        np.testing.assert_array_equal(input_gradients(model, X, **lengths), whole[0])
        np.testing.assert_array_equal(integrated_gradients(model, X, None, start, 9, **lengths), whole[1])


def test_rows_at_once_are_bounded_by_memory(monkeypatch):
    model, X = model_and_samples("images", n=30)
    seen, vjp = [], Model.vjp
    monkeypatch.setattr(Model, "vjp", lambda self, X, *args, **names: (seen.append(len(X)), vjp(self, X, *args, **names))[1])
    monkeypatch.setattr(inspection, "BYTES", 11 * 2 * 8 * (6 * 8 * 16 * 3 + 3 * 4 * 16 + 2 * 3 * 16 + 3 * 32))
    integrated_gradients(model, X, steps=40)
    assert sum(seen) == 30 * 40
    assert max(seen) < 40


def test_nothing_is_changed():
    model, X = model_and_samples("images")
    y = np.arange(len(X)) % 4
    model.fit(X, y, epochs=2)
    kept, samples = model.copy(), X.copy()
    for function in BOTH:
        function(model, X)
    np.testing.assert_array_equal(X, samples)
    for array, before in ((model.params, kept.params), (model.network.state, kept.network.state)):
        np.testing.assert_array_equal(array, before)
    assert (model.step, model.epochs, model.loss) == (kept.step, kept.epochs, kept.loss)
    for other in (model, kept):
        other.fit(X, y, epochs=1)
    np.testing.assert_array_equal(model.params, kept.params)


@pytest.mark.parametrize("function", BOTH)
def test_samples_of_all_kinds(function):
    model, X = model_and_samples("images", "float32", loss="squared_error")
    X = np.round(50 * X).clip(0, 255)
    expected = function(model, X.astype("float32"))
    reversed_ = np.asfortranarray(X[::-1])[::-1]
    for same in (X.astype(np.uint8), X.astype(np.int64), X, X.tolist(), np.asfortranarray(X), reversed_):
        np.testing.assert_array_equal(function(model, same), expected)


# ---------------------------------------------------------------- messages


def ids_model():
    return Model([layers.Embedding(9, 4), layers.LSTM(3), layers.Dense(2)], random_state=0).build((5,))


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, m, X: f(m, X[:, :2]), r"X must hold samples of shape \(5,\), got \(2,\)"),
        (lambda f, m, X: f(m, np.where(X > 1, np.nan, X)), "X contains NaN"),
        (lambda f, m, X: f(m, np.where(X > 1, np.inf, X)), "X contains infinity"),
        (lambda f, m, X: f(m, X[:0]), "X has no samples"),
        (lambda f, m, X: f(m, X.astype(str)), "X must hold real numbers"),
        (lambda f, m, X: f(m, scipy.sparse.csr_array(X)), r"X must be a dense array, got a sparse .* X.toarray\(\)"),
        (lambda f, m, X: f(m, X, 3), r"target must be one of the classes \[0, 1, 2\], or an array of them, got 3"),
        (lambda f, m, X: f(m, X, [0, 1, 0, 1, 9, 0]), r"target must be one of the classes .*, got 9"),
        (lambda f, m, X: f(m, X, [0.5] * 6), r"target must be one of the classes .*, got 0.5"),
        (lambda f, m, X: f(m, X, "a"), r"target must be one of the classes .*, got 'a'"),
        (lambda f, m, X: f(m, X, {}), r"target must be one of the classes .*, got \{\}"),
        (lambda f, m, X: f(m, X, [0, 1]), r"or one for each of the 6 samples, got shape \(2,\)"),
        (lambda f, m, X: f(m, X, np.zeros((6, 3))), r"or one for each of the 6 samples, got shape \(6, 3\)"),
        (lambda f, m, X: f(m, X, [[0], [1, 2]]), r"or one for each of the 6 samples, got shape of several lengths"),
        (lambda f, m, X: f(m, X, lengths=[1] * 6), "lengths and masks mean nothing to this network"),
        (lambda f, m, X: f(Model(TABLE), X), "this Model has no parameters yet"),
        (lambda f, m, X: f(m.layers, X), r"model must be a fastdnn.Model or a fitted DNNClassifier, .*, got tuple$"),
        (lambda f, m, X: f(DNNClassifier, X), r"model must be a fastdnn.Model or a fitted .*, got the class DNNClassifier"),
        (lambda f, m, X: f(make_pipeline(StandardScaler(), DNNClassifier()), X),
         r"got Pipeline; transform X .* pass pipeline\[-1\] and pipeline\[:-1\].transform\(X\)"),
        (lambda f, m, X: f(ids_model(), np.ones((6, 5), int)),
         r"X of a network that begins with Embedding.* holds ids, which have no gradients; .*forward\(X, layer=0\)"),
        (lambda f, m, X: f(Model([layers.GRU(3, return_sequences=True)]).build((4, 2)), np.ones((6, 4, 2))),
         r"model must give a vector of scores for each sample, got scores of shape \(4, 3\); Model.vjp"),
    ],
)  # fmt: skip
def test_messages(function, call, message):
    model, X = model_and_samples("table")
    with pytest.raises(ValueError, match=message):
        call(function, model, X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": [1.0, 2.0]}, r"baseline must be .* one sample of shape \(5,\) or .* X, \(6, 5\), got shape \(2,\)"),
        ({"baseline": np.ones((5, 5))}, r"baseline must be .*, got shape \(5, 5\)"),
        ({"baseline": np.nan}, "baseline must be finite"),
        ({"baseline": "mean"}, "baseline must hold real numbers, got the string 'mean'"),
        ({"baseline": scipy.sparse.csr_array((6, 5))}, "baseline must be a dense array"),
        ({"steps": 0}, "steps must be an integer >= 1, got 0"),
        ({"steps": 2.5}, "steps must be an integer"),
    ],
)  # fmt: skip
def test_messages_of_paths(settings, message):
    model, X = model_and_samples("table")
    with pytest.raises(ValueError, match=message):
        integrated_gradients(model, X, **settings)


def test_ids_have_gradients_behind_their_embedding():
    """As the message says."""
    model, X = ids_model(), np.arange(30).reshape(6, 5) % 9
    behind = Model(model.layers[1:], loss="cross_entropy").build((5, 4))
    for ours, theirs in zip(behind.weights.values(), list(model.weights.values())[1:], strict=True):
        ours[...] = theirs
    vectors = model.forward(X, layer=0)
    np.testing.assert_array_equal(behind.forward(vectors), model.forward(X))
    assert input_gradients(behind, vectors).shape == (6, 5, 4)


def test_type_hints_resolve():
    for function in BOTH:
        assert {"model", "X", "target", "return"} <= typing.get_type_hints(function).keys()
