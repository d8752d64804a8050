"""Every layer, from the table: gradient, dtype, PyTorch, threads. A new one is tested without a new test."""

import math
import pickle

import naive
import numpy as np
import pytest
from goldens import from_pytorch
from pytorch_forms import N_IN, torch_twin
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fastdnn import Model, layers
from fastdnn.layers.activation_function import ACTIVATIONS, get_activation
from fastdnn.layers.base import OP
from fastdnn.optimizers import SGD

# ---------------------------------------------------------------- every layer

# Not near 1, where those of tanh gather: no central difference may step over a kink.
EDGES = [
    [-1.03, 0.21, 0.57],
    [-0.41, 0.53],
    [k / 8 - 0.3125 for k in range(20)],
    [-2, -0.11, 0.12, 3],
    [0.05, 0.3],
    [-1.6, 1.9],
]
LAYER_CASES = [
    [layers.Dense(7, activation="tanh")],
    [layers.Dense(1)],
    [layers.Dense(17, activation="tanh"), layers.Dense(1, activation="tanh")],
    [layers.Activation("gelu")],
    [layers.Activation("softmax")],
    [layers.PReLU()],
    [layers.Rescaling(0.7, -0.2)],
    [layers.Scale()],
    [layers.ParametricActivation("mish")],
    [layers.Scale(0.8), layers.ParametricActivation("tanh"), layers.Scale()],
    [layers.PiecewiseLinear(EDGES)],
    [layers.PeriodicEmbedding(5, 3)],
    [layers.Dropout(0.3)],
    [layers.AlphaDropout(0.3)],
    [layers.GaussianNoise(0.2)],
    [layers.Sampling(0.7)],
    [layers.BatchNorm()],
    [layers.BatchNorm(), layers.Activation("relu"), layers.Dropout(0.2)],
    [layers.LayerNorm()],
    [layers.Reshape((2, 3)), layers.Activation("softplus"), layers.Flatten()],
    [layers.Flatten()],
    [layers.Rescaling(3.0), layers.CategoryEmbedding((3, 1, 2, 1, 4, 2), 3)],
    [
        layers.Columns(
            [((4, 0, 2), []), ((0, 1, 3, 5), [layers.Dense(7, "tanh"), layers.Rescaling(2.0)]), ((5,), [layers.PReLU()])]
        )
    ],
    [layers.Residual([layers.Dense(6, activation="tanh")])],
    [
        layers.Residual(
            [layers.BatchNorm(), layers.Activation("relu"), layers.Residual([layers.LayerNorm(), layers.Dense(6)])]
        )
    ],
    [layers.Residual([layers.Dense(7, "tanh")], shortcut=[layers.BatchNorm(), layers.Dense(7, "tanh")])],
    [
        layers.Residual(
            [layers.Residual([layers.Dense(6, "tanh")], shortcut=[layers.Activation("softmax")])],
            shortcut=[layers.BatchNorm(), layers.Residual([layers.Activation("gelu")], [layers.Dense(6, "tanh")])],
        )
    ],
]
# Those of images and series; `test_convolution` has more of them, and PyTorch's.
IMAGE_CASES = [
    [layers.Conv2D(7, (3, 2), 2, "same", activation="tanh")],
    [layers.Conv1D(7, 3, padding="causal", dilation_rate=2, groups=1, activation="softplus")],
    [layers.Conv2DTranspose(4, 3, 2, 1, activation="tanh")],
    [layers.DepthwiseConv2D(2, depth_multiplier=2, activation="tanh")],
    [layers.SeparableConv2D(7, 3, padding="same", activation="tanh"), layers.BatchNorm(activation="tanh")],
    [layers.MaxPool2D(2, 1)],
    [layers.MaxPool1D(3, padding="same")],
    [layers.AvgPool2D(2, padding="same")],
    [layers.AvgPool1D(2)],
    [layers.GlobalMaxPool2D()],
    [layers.GlobalMaxPool1D()],
    [layers.GlobalAvgPool2D()],
    [layers.GlobalAvgPool1D()],
    [layers.UpSampling2D((1, 2))],
    [layers.ZeroPadding2D(((0, 1), (1, 0))), layers.GlobalAvgPool2D()],
    [layers.SpatialDropout(0.3)],
    [layers.RandomFlip()],
    [layers.RandomTranslation(0.3, 0.3)],
    [layers.RandomRotation(0.2)],
    [layers.RandomZoom(0.3)],
    [layers.RandomErasing(0.5)],
    [
        layers.Residual(
            [layers.Conv2D(7, 3, 2, 1, use_bias=False), layers.BatchNorm(activation="tanh"), layers.Conv2D(7, 3, padding=1)],
            shortcut=[layers.Conv2D(7, 1, 2, use_bias=False), layers.BatchNorm()],
        ),
        layers.Activation("tanh"),
    ],
    [layers.Residual([layers.Conv1D(6, 3)], shortcut=[layers.AvgPool1D(3, 1), layers.SpatialDropout(0.3)])],
    [layers.Conv2D(3, 2), layers.Flatten(), layers.Dense(5), layers.BatchNorm(activation="tanh")],
    [
        layers.GlobalAvgPool2D(),
        layers.BatchNorm(),
        layers.Residual([layers.Dense(4), layers.BatchNorm()], shortcut=[layers.Dense(4)]),
    ],
]
# Those of sequences; `test_sequences` has more of them, and PyTorch's.
SEQUENCE_CASES = [
    [layers.SimpleRNN(4), layers.Reshape((1, 4))],
    [layers.SimpleRNN(5, "logistic", return_sequences=True, recurrent_dropout=0.3)],
    [layers.LSTM(5, return_sequences=True)],
    [layers.LSTM(9, dropout=0.3, recurrent_dropout=0.2)],
    [layers.GRU(5, return_sequences=True, go_backwards=True)],
    [layers.GRU(9, return_sequences=True, recurrent_dropout=0.3), layers.BatchNorm(), layers.LSTM(3)],
    [layers.Bidirectional(layers.GRU(3, return_sequences=True, recurrent_dropout=0.3)), layers.LSTM(4)],
    [layers.Bidirectional(layers.LSTM(3, dropout=0.2), merge="sum")],
    [layers.Residual([layers.GRU(5, return_sequences=True)], [layers.SimpleRNN(5, return_sequences=True, dropout=0.2)])],
    [layers.LSTM(4), layers.Dense(5, "tanh"), layers.BatchNorm()],
]
FIRST = layers.Embedding, layers.Masking  # layers that can only be the first: in `test_sequences`
SHAPES = [(N_IN,), (5, N_IN), (2, 3, N_IN)]  # of a sample: what works on the last axis works on all of them


def shape_behind(case, shape):
    """Shape of a sample behind the layers of a case, or None where they do not take it."""
    try:
        for layer in case:
            shape = layer.output_shape(shape)
    except ValueError:
        return None
    return shape


CASES = [(case, shape) for case in LAYER_CASES for shape in SHAPES if shape_behind(case, shape)]
TORCH_CASES = [(case, shape) for case, shape in CASES if type(case[0]) is not layers.Sampling]  # in `test_autoencoders`
CASES += [(case, shape) for case in IMAGE_CASES for shape in [(7, N_IN), (4, 3, N_IN)] if shape_behind(case, shape)]
CASES += [(case, shape) for case in SEQUENCE_CASES for shape in [(7, N_IN), (1, N_IN)]]
CASE_NAMES = [f"{' '.join(layer.name for layer in case)} {shape}" for case, shape in CASES]
every_case = pytest.mark.parametrize(("case", "shape"), CASES, ids=CASE_NAMES)


def test_every_layer_has_a_case():
    tested = {type(layer) for case in (*LAYER_CASES, *IMAGE_CASES, *SEQUENCE_CASES) for layer in case}
    assert tested | {*FIRST} >= set(layers.LAYERS.values())


def around(case, first, dtype="float64", shape=(N_IN,)):
    """A network with the layers of the case at its start or in its middle, and odd numbers everywhere."""
    before = [] if first else [layers.Dense(N_IN, activation="tanh")]
    model = Model([*before, *case, layers.Dense(3)], dtype=dtype, random_state=1).build(shape)
    rng = np.random.default_rng(4)
    for view in (*model.weights.values(), *model.states.values()):
        view[...] = np.abs(view + 0.3 * rng.standard_normal(view.shape))
    return model


def layer_data(n, dtype="float64", shape=(N_IN,), case=()):
    """n samples of a shape, and targets for what a case makes of them."""
    rng = np.random.default_rng(7)
    return rng.standard_normal((n, *shape)).astype(dtype), rng.standard_normal((n, *shape_behind(case, shape)[:-1], 3))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("first", [False, True])
@every_case
def test_gradient_of_the_layer(case, shape, first, training):
    model, (X, y) = around(case, first, shape=shape), layer_data(70 // math.prod(shape[:-1]), shape=shape, case=case)
    state = model.state.copy()
    _, gradient = model.loss_and_grad(X, y, training=training)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y, training=training)[0], model.params)
    numeric[model.layout.padding()] = gradient[model.layout.padding()]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(model.state, state)


@pytest.mark.parametrize("training", [False, True])
@every_case
def test_layer_in_float32(case, shape, training):
    double, (X, y) = around(case, False, shape=shape), layer_data(70 // math.prod(shape[:-1]), "float32", shape, case)
    single = around(case, False, "float32", shape)
    double.params, double.state[...] = single.params, single.state
    loss, gradient = single.loss_and_grad(X, y, training=training)
    exact, exact_gradient = double.loss_and_grad(X.astype(float), y, training=training)
    np.testing.assert_allclose(loss, exact, rtol=2e-4)
    np.testing.assert_allclose(single.forward(X), double.forward(X.astype(float)), rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(gradient, exact_gradient, rtol=2e-4, atol=2e-4 * np.abs(exact_gradient).max())


@every_case
def test_same_bits_on_any_number_of_threads(case, shape, on_threads):
    X, y = layer_data(333, "float32", shape, case)
    results = set()
    for threads in (1, 2, 3, 4):
        with on_threads(threads):
            model = around(case, False, "float32", shape)
            loss = model.fit(X, y, epochs=3, batch_size=100)["loss"]
            results.add((model.params.tobytes(), model.state.tobytes(), model.predict(X).tobytes(), *loss))
    assert len(results) == 1
    assert not model.params[model.layout.padding()].any()


@pytest.mark.parametrize("first", [False, True])
@every_case
def test_a_row_does_not_depend_on_the_others_and_nan_stays(case, shape, first):
    model, (X, _) = around(case, first, "float32", shape), layer_data(40, "float32", shape)
    together = model.forward(X)
    np.testing.assert_array_equal(np.concatenate([model.forward(X[i : i + 1]) for i in range(40)]), together)
    X[3, ..., 2] = np.nan
    bad = model.forward(X)
    assert np.isnan(bad[3]).all()
    np.testing.assert_array_equal(np.delete(bad, 3, 0), np.delete(together, 3, 0))


@every_case
def test_layers_pickle_print_and_compare(case, shape):
    model = around(case, False, shape=shape)
    X, _ = layer_data(5, shape=shape)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.forward(X), model.forward(X))
    assert eval(repr(case), vars(layers)) == case
    assert str(model.layout.n_params) in model.summary()


RANDOM = layers.Dropout, layers.AlphaDropout, layers.GaussianNoise  # other random numbers than the peer's


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("case", "shape"), [c for c in TORCH_CASES if not isinstance(c[0][-1], RANDOM)], ids=lambda c: str(c).replace("  ", " ")
)
def test_layer_same_as_pytorch(case, shape, training):
    same_as_pytorch(case, shape, training)


@pytest.mark.parametrize(("case", "shape"), TORCH_CASES, ids=str)
def test_layer_same_as_pytorch_in_inference(case, shape):
    same_as_pytorch(case, shape, False)


def same_as_pytorch(case, shape, training):
    """Scores, loss, gradients of the parameters and of the samples: those of PyTorch's layers, over the rows of samples."""
    model, (X, y) = around(case, True, shape=shape), layer_data(70 // math.prod(shape[:-1]), shape=shape, case=case)
    loss, _ = model.loss_and_grad(X, y, training=training)
    behind = shape_behind(case, shape)
    kept = [[v.copy() for v in views.values()] for views in (model.weights, model.states)]

    def compute(torch):
        weights, state = map(iter, kept)
        twin = torch_twin(torch, [*case], weights, state, training)
        end = torch.nn.Linear(behind[-1], 3).double()
        end.weight.data, end.bias.data = torch.tensor(next(weights).T.copy()), torch.tensor(next(weights))
        inputs = torch.tensor(X, requires_grad=True)
        scores = end(twin(inputs.reshape(-1, N_IN) if behind[:-1] == shape[:-1] else inputs)).reshape(-1, 3)
        expected = 0.5 * ((scores - torch.tensor(y.reshape(-1, 3))) ** 2).sum(dim=1).mean()
        expected.backward()
        gradients = (p.grad.numpy() for p in (*twin.parameters(), *end.parameters()))
        return expected, scores, inputs.grad, *(g.T if g.ndim == 2 else g for g in gradients)

    name = f"layers {' '.join(map(repr, case))} {shape} {training}"
    expected, scores, d_inputs, *gradients = from_pytorch(name, compute)
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    if not training:
        np.testing.assert_allclose(model.forward(X).reshape(-1, 3), scores, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(model.gradients.values(), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.input_gradient(X, y, training=training), d_inputs, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- batch normalization


@pytest.mark.parametrize("n", [70, 3, 2])
def test_running_statistics_as_in_pytorch(n):
    torch = pytest.importorskip("torch")
    X = np.random.default_rng(0).standard_normal((n, N_IN)) * 3 + 5
    model = Model([layers.BatchNorm(), layers.Dense(1)], dtype="float64", optimizer=SGD(1e-9), random_state=0).build(N_IN)
    peer = torch.nn.BatchNorm1d(N_IN).double()
    run = model.bind(X, np.zeros(n), None, n)
    for _ in range(3):
        run.epoch()
        peer(torch.tensor(X))
    for ours, theirs in zip(model.states.values(), (peer.running_mean, peer.running_var), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_a_last_batch_of_one_row():
    X, y = layer_data(101)
    model = Model([layers.Dense(9), layers.BatchNorm(), layers.Dense(3)], dtype="float64", random_state=0)
    model.fit(X, y, epochs=2, batch_size=50)
    assert np.isfinite(model.params).all()
    before = model.state.copy()
    model.bind(X[:1], y[:1], None, 1).epoch()
    np.testing.assert_array_equal(model.state, before)


def test_batches_larger_than_a_piece_have_one_mean():
    X, y = layer_data(3000)
    model = around([layers.BatchNorm()], True)
    loss, _ = model.loss_and_grad(X, y, training=True)
    scores = (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0) + 1e-5)
    w = list(model.weights.values())
    expected = (0.5 * ((scores * w[0] + w[1]) @ w[2] + w[3] - y) ** 2).sum(axis=1).mean()
    assert loss == pytest.approx(expected, rel=1e-12)


def test_300_residual_layers():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype("float32")
    block = [layers.LayerNorm(), layers.Dense(32, activation="relu"), layers.Dense(32, initializer=0.0)]
    shapes = [layers.Dense(32), *[layers.Residual(block)] * 150, layers.LayerNorm(), layers.Dense(10)]
    model = Model(shapes, loss="cross_entropy", random_state=0)
    model.fit(X[:1200], y[:1200], epochs=12, batch_size=50)
    assert model.evaluate(X[1200:], y[1200:])["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Dense(0), "units must be an integer >= 1, got 0"),
        (lambda: layers.Dense(2.5), "units must be an integer"),
        (lambda: layers.Dense(2, activation="rellu"), "activation must be one of .*relu.*got 'rellu'"),
        (lambda: layers.Dense(2, initializer="best"), "initializer must be a finite number or one of"),
        (lambda: layers.Dropout(1.0), r"rate must be a number in \[0, 1\), got 1.0"),
        (lambda: layers.GaussianNoise(-1), "stddev must be a number"),
        (lambda: layers.BatchNorm(momentum=2), "momentum must be a number"),
        (lambda: layers.LayerNorm(0), "epsilon must be a number"),
        (lambda: layers.Reshape((-1, -1)), "at most one of them -1"),
        (lambda: Model([layers.Reshape((4, -1))]).build(6), "6 numbers of shape .* do not fit"),
        (lambda: layers.Residual([]), "layers must be a list of at least one"),
        (lambda: Model([layers.Residual([layers.Dense(3)])]).build(2), "must give the shape that they take"),
        (lambda: Model([layers.Residual([layers.Flatten()])]).build((2, 3)), "must give the shape that they take"),
    ],
)
def test_errors_say_what_to_do(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_specs_compare_and_print():
    assert layers.Dense(3) == layers.Dense(3) != layers.Dense(4)
    assert repr(layers.Dense(3, activation="tanh")) == "Dense(units=3, activation='tanh')"
    assert len({layers.Dense(3), layers.Dense(3)}) == 1
    assert get_activation("relu") is ACTIVATIONS["relu"]


def test_an_overflow_does_not_poison_the_running_statistics():
    X, y = layer_data(40, "float32")
    X[3] = 1e25
    model = Model([layers.Dense(4), layers.BatchNorm(), layers.Dense(3)], random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"from layer 1 \(batch_norm\) on"):  # beside 1e25 nothing makes a difference
        model.fit(X, y, epochs=2, batch_size=10)
    assert np.isfinite(model.state).all()
    assert np.isfinite(model.forward(X[:3])).all()


def test_what_passes_its_input_on_does_not_slow_down_the_way_back():
    X, y = layer_data(30)
    plain = Model([layers.Dense(9, "tanh"), layers.Dense(3)], dtype="float64", random_state=0).build(N_IN)
    around = [layers.Dense(9, "tanh"), layers.Dropout(0.0), layers.Reshape((3, 3)), layers.Flatten(), layers.Dense(3)]
    other = Model(around, dtype="float64", random_state=0).build(N_IN)
    other.params = plain.params
    np.testing.assert_array_equal(other.loss_and_grad(X, y)[1], plain.loss_and_grad(X, y)[1])
    row = other.bind(X, y).program.table[1]
    assert row[OP.derivative] == 0  # the next product does it
