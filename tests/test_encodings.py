"""What numbers of a table go through on their way into a network: factors, bins, waves; and activations by shares."""

import numpy as np
import pytest

from fastdnn import Model, extending, layers
from fastdnn.layers.base import OP
from fastdnn.optimizers import SGD
from fastdnn.saving.plain import from_plain, known_types, to_plain


def bins(n, edges):
    """Rising edges of n features, of 1 to 48 bins each."""
    rng = np.random.default_rng(n)
    counts = [*edges, *rng.choice([1, 2, 5, 15, 16, 17, 48], n)][:n]
    return [np.sort(rng.normal(0, 2, k + 1)) for k in counts]


def encoded(X, edges):
    """The formula, feature by feature."""
    parts = [np.clip((x[:, None] - e[:-1]) / np.diff(e), 0, 1) for x, e in zip(X.T, edges, strict=True)]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "counts"), [(1, [1]), (1, [16]), (1, [48]), (2, [16, 16]), (16, [1] * 16), (3, []), (17, []), (100, [])]
)
def test_piecewise_linear_against_the_formula(n, counts, dtype):
    edges, rng = bins(n, counts), np.random.default_rng(0)
    X = rng.normal(0, 3, (37, n)).astype(dtype)
    X[:5] = np.transpose([[e[0], e[-1], e[len(e) // 2], e[0] - 9, e[-1] + 9] for e in edges])  # at edges and beyond them
    X[5], X[6] = np.inf, -np.inf
    X[7, n // 2] = np.nan
    model = Model([layers.PiecewiseLinear(edges)], dtype=dtype).build(n)
    with np.errstate(invalid="ignore"):
        expected = encoded(X.astype(float), edges)
    tolerance = 1e-13 if dtype == "float64" else 1e-4  # of a float32 in a narrow bin
    np.testing.assert_allclose(model.forward(X), expected, rtol=0, atol=tolerance)
    assert np.isnan(expected[7]).sum() == len(edges[n // 2]) - 1


def test_piecewise_linear_far_from_zero_and_in_bins_narrower_than_a_float32_tells():
    years = 2000 + np.arange(25.0)
    model = Model([layers.PiecewiseLinear([years, [1, 1 + 1e-12, 2], [0, 1e-300, 1e-42, 1]])]).build(3)
    X = np.array([[2007.25, 1, 0], [2030, 1.5, 0.25], [1999, 0.999, 3]], "float32")
    y = model.forward(X)
    np.testing.assert_array_equal(y[0, :9], [1, 1, 1, 1, 1, 1, 1, 0.25, 0])
    np.testing.assert_array_equal(y[:, 24:], [[0, 0, 0, 0, 0], [1, 0.5, 1, 1, 0.25], [0, 0, 1, 1, 1]])
    assert np.isfinite(y).all()


def test_the_padding_of_piecewise_linear_stays_zero():
    model = Model([layers.Scale(), layers.PiecewiseLinear([[0, 1], [0, 1, 2], [0, 1]]), layers.Dense(1)]).build(3)
    model.weights["0.scale.scale"] = [1, 1, np.nan]
    run = model.bind(np.ones((40, 3)), np.zeros(40), None, 40)
    run.loss_and_grad()
    row = run.program.table[2]
    block = run.program.work[row[OP.y] : row[OP.y] + 40 * row[OP.ld_out]].reshape(40, -1)
    np.testing.assert_array_equal(block, [[1, 1, 0, np.nan, *np.zeros(12)]] * 40)


def test_piecewise_linear_compares_prints_and_saves():
    edges = [[0.0, 0.1, 3.0], [1, 2]]
    layer = layers.PiecewiseLinear(edges)
    assert layer == layers.PiecewiseLinear([np.array(e) for e in edges]) != layers.PiecewiseLinear([[0, 0.1, 3], [1, 2.5]])
    assert len({layer, layers.PiecewiseLinear(tuple(map(tuple, edges)))}) == 1
    assert repr(layer) == "PiecewiseLinear(edges=((0.0, 0.1, 3.0), (1.0, 2.0)))"
    assert from_plain(to_plain(layer), known_types()) == layer
    wide = Model([layers.PiecewiseLinear(np.arange(4000.0).reshape(100, 40)), layers.Dense(2)]).build(100)
    assert max(map(len, wide.summary().splitlines())) < 250


@pytest.mark.parametrize("training", [False, True])
def test_gradients_of_many_features(training):
    """Blocks of 16 columns in which features begin, in the products' float type and with the way back to the samples."""
    edges, rng = bins(17, []), np.random.default_rng(1)
    model = Model([layers.PiecewiseLinear(edges), layers.Dense(2)], dtype="float64", random_state=0).build(17)
    X, y = rng.normal(0, 2, (9, 17)), rng.normal(size=(9, 2))
    found, h = model.input_gradient(X, y, training=training), 1e-7
    for j in range(17):
        step = h * np.eye(17)[j]
        above, below = ((0.5 * (model.forward(X + s) - y) ** 2).sum(axis=1) / 9 for s in (step, -step))
        np.testing.assert_allclose(found[:, j], (above - below) / (2 * h), rtol=1e-5, atol=1e-6)


def test_first_values_of_a_periodic_embedding():
    layer = layers.PeriodicEmbedding(64, 9, sigma=0.3)
    model = Model([layer], dtype="float64", random_state=0).build(50)
    frequency, phase, kernel, bias = model.weights.values()
    assert (frequency.shape, phase.shape, kernel.shape, bias.shape) == ((50, 64), (50, 64), (50, 8, 64), (50, 8))
    assert frequency.std() == pytest.approx(0.3, rel=0.05)
    for values, bound in ((phase, np.pi), (kernel, 1 / 8), (bias, 1 / 8)):
        assert bound * 0.97 < np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
    X = np.random.default_rng(0).standard_normal((5, 50))
    y = model.forward(X).reshape(5, 50, 9)
    np.testing.assert_array_equal(y[..., 0], X)
    z = np.cos(2 * np.pi * X[..., None] * frequency + phase)
    np.testing.assert_allclose(y[..., 1:], np.einsum("njf,jkf->njk", z, kernel) + bias, rtol=1e-10, atol=1e-12)


def test_a_parametric_activation_is_its_share():
    class cube(extending.ActivationFunction):
        """x^3."""

        needs_input = True

        def forward(x):
            return x * x * x

        def derivative(x):
            return 3.0 * x * x

    X = np.linspace(-2, 2, 12).reshape(3, 4)
    model = Model([layers.ParametricActivation(cube())], dtype="float64").build(4)
    np.testing.assert_allclose(model.forward(X), X**3)
    (alpha,) = model.weights.values()
    alpha[...] = [0, 0.25, 1, 2]
    np.testing.assert_allclose(model.forward(X), X + alpha * (X**3 - X))
    exact = Model([layers.ParametricActivation("selu")]).build(1).forward([[-1e4]])  # x + (f(x) - x) would be -1.7578
    np.testing.assert_allclose(exact, [[-1.7580993]], rtol=1e-6)


STACK = [layers.Scale, layers.PeriodicEmbedding, lambda **rules: layers.ParametricActivation("mish", **rules)]


@pytest.mark.parametrize("make", STACK)
@pytest.mark.parametrize("first", [False, True])
def test_rates_of_their_own_and_frozen(make, first):
    X = np.random.default_rng(0).standard_normal((40, 6))
    y = X[:, 0] + 1
    moved = []
    for factor in (1.0, 0.3, 0.0):
        stack = [*([] if first else [layers.Dense(6, "tanh")]), make(learning_rate_factor=factor), layers.Dense(1)]
        model = Model(stack, optimizer=SGD(0.1), dtype="float64", random_state=0).build(6)
        before = {k: v.copy() for k, v in model.weights.items()}
        model.fit(X, y, batch_size=40)
        moved.append({k: v - before[k] for k, v in model.weights.items()})
    own = next(k for k in before if not k.endswith(("dense.kernel", "dense.bias"))).rpartition(".")[0]
    for key, full in moved[0].items():
        assert np.abs(full).max() > 0
        factor = 0.3 if key.startswith(own) else 1.0
        np.testing.assert_allclose(moved[1][key], factor * full, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(moved[2][key], 0 if key.startswith(own) else full, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.PiecewiseLinear("edges"), "edges must be a sequence with the edges of the bins of each feature"),
        (lambda: layers.PiecewiseLinear(None), "edges must be a sequence"),
        (lambda: layers.PiecewiseLinear([]), "edges must be those of at least one feature"),
        (lambda: layers.PiecewiseLinear([[0, 1], [2]]), r"at least 2 finite, rising numbers, got \[2\] for feature 1"),
        (lambda: layers.PiecewiseLinear([[0, 1, 1]]), "rising numbers, .* for feature 0"),
        (lambda: layers.PiecewiseLinear([[0, np.nan]]), "finite, rising"),
        (lambda: layers.PiecewiseLinear([[0, 1e39]]), "finite, rising"),
        (lambda: layers.PiecewiseLinear([0, 1, 2]), "finite, rising numbers, got 0 for feature 0"),
        (lambda: layers.PiecewiseLinear([["a", "b"]]), "finite, rising"),
        (lambda: Model([layers.PiecewiseLinear([[0, 1]])]).build(2), "it has edges of 1 features, .* shape .2,. others"),
        (lambda: layers.PeriodicEmbedding(0), "n_frequencies must be an integer >= 1"),
        (lambda: layers.PeriodicEmbedding(n_features=1), "n_features must be an integer >= 2"),
        (lambda: layers.PeriodicEmbedding(sigma=0), "sigma must be a number in"),
        (lambda: layers.Scale("best"), "initializer must be a finite number or one of"),
        (lambda: layers.Scale(learning_rate_factor=-1), "learning_rate_factor must be a number in"),
        (lambda: layers.ParametricActivation("softmax"), "function of single numbers other than the identity, got 'softmax'"),
        (lambda: layers.ParametricActivation("identity"), "other than the identity"),
        (lambda: layers.ParametricActivation("rellu"), "activation must be one of"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
