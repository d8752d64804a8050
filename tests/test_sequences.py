"""Recurrent layers, embeddings and masks beside PyTorch; lengths, ids and what is refused."""

import naive
import numpy as np
import pytest
from goldens import from_pytorch

from fastdnn import Model, config_context, layers, optimizers

CELLS = {"rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
N, STEPS, FEATURES = 6, 7, 4
LENGTHS = np.array([3, 7, 1, 7, 5, 2])


def stack(cell, both, layers_deep, sequences, units):
    """Recurrent layers, as PyTorch's module has them, and a dense layer."""

    def one(return_sequences):
        layer = CELLS[cell](units, return_sequences=return_sequences)
        return layers.Bidirectional(layer) if both else layer

    return [*(one(True) for _ in range(layers_deep - 1)), one(sequences), layers.Dense(3)]


def model_and_data(parts, dtype="float64", shape=(STEPS, FEATURES), **settings):
    """A network with weights that are not small, samples and targets."""
    model = Model(parts, loss="cross_entropy", dtype=dtype, random_state=1, **settings).build(shape)
    rng = np.random.default_rng(4)
    for view in model.weights.values():
        view[...] = 0.5 * rng.standard_normal(view.shape)
    X = rng.standard_normal((N, *shape))
    return model, X.astype(dtype), rng.integers(0, 3, (N, *model.layout.shapes[-1][:-1]))


def torch_module(torch, weights, cell, both, deep, units):
    """PyTorch's module with our weights, arrays in our order; the last two are of the dense layer."""
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    module = kind(FEATURES, units, deep, batch_first=True, bidirectional=both).double()
    weights = list(weights)
    for level in range(deep):
        for end in ["", "_reverse"][: 1 + both]:
            kernel, recurrent, bias = (weights.pop(0) for _ in range(3))
            other = weights.pop(0) if cell == "gru" else np.zeros_like(bias)
            for name, value in (("weight_ih", kernel.T), ("weight_hh", recurrent.T), ("bias_ih", bias), ("bias_hh", other)):
                getattr(module, f"{name}_l{level}{end}").data = torch.tensor(np.ascontiguousarray(value))
    return module, *(torch.tensor(w, requires_grad=True) for w in weights)


def torch_gradients(module, cell, both, deep, kernel, bias):
    """Gradients of the module and the dense layer in our order."""
    found = []
    for level in range(deep):
        for end in ["", "_reverse"][: 1 + both]:
            of = [getattr(module, f"{name}_l{level}{end}").grad for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            found += [of[0].T, of[1].T, of[2], *of[3:][: cell == "gru"]]
    return [*found, kernel.grad, bias.grad]


def torch_loss(torch, weights, X, y, lengths, cell, both, deep, sequences, units):
    """(module, dense weights, samples, loss, scores) in PyTorch, packed where there are lengths."""
    module, kernel, bias = torch_module(torch, weights, cell, both, deep, units)
    inputs, rnn = torch.tensor(X, requires_grad=True), torch.nn.utils.rnn
    if lengths is None:
        h, last = module(inputs)
        mask = torch.ones(X.shape[:2], dtype=torch.bool)
    else:
        packed = rnn.pack_padded_sequence(inputs, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        h, last = module(packed)
        h, _ = rnn.pad_packed_sequence(h, batch_first=True, total_length=X.shape[1])
        mask = torch.arange(X.shape[1]) < torch.tensor(lengths)[:, None]
    last = last[0] if cell == "lstm" else last
    h = h if sequences else torch.cat([*last[-2:]], dim=-1) if both else last[-1]
    scores = h @ kernel + bias
    counted = (scores[mask], torch.tensor(y)[mask]) if sequences else (scores, torch.tensor(y))
    return module, kernel, bias, inputs, torch.nn.functional.cross_entropy(*counted), scores


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(("deep", "units"), [(1, 17), (2, 3), (1, 1)])
@pytest.mark.parametrize("cell", CELLS)
def test_networks_same_as_pytorch(cell, deep, units, both, sequences, masked):
    model, X, y = model_and_data(stack(cell, both, deep, sequences, units))
    lengths = LENGTHS if masked else None
    loss, _ = model.loss_and_grad(X, y, lengths=lengths)
    weights = [w.copy() for w in model.weights.values()]

    def compute(torch):
        parts = torch_loss(torch, weights, X, y, lengths, cell, both, deep, sequences, units)
        module, kernel, bias, inputs, expected, scores = parts
        expected.backward()
        return expected, scores, inputs.grad, *torch_gradients(module, cell, both, deep, kernel, bias)

    name = f"sequences {cell} {deep} {units} {both} {sequences} {masked}"
    expected, scores, d_inputs, *gradients = from_pytorch(name, compute)
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    for ours, theirs in zip(model.gradients.values(), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.forward(X, lengths=lengths), scores, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.input_gradient(X, y, lengths=lengths), d_inputs, rtol=1e-9, atol=1e-12)
    single, few, _ = model_and_data(stack(cell, both, deep, sequences, units), "float32")
    np.testing.assert_allclose(single.loss_and_grad(few, y, lengths=lengths)[0], expected, rtol=2e-4)
    np.testing.assert_allclose(single.forward(few, lengths=lengths), scores, rtol=2e-4, atol=2e-5)
    for ours, theirs in zip(single.gradients.values(), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("cell", CELLS)
def test_ten_steps_of_adam_same_as_pytorch(cell):
    model, X, y = model_and_data(stack(cell, True, 2, True, 5), optimizer=optimizers.Adam(0.01, epsilon=1e-8))
    weights = [w.copy() for w in model.weights.values()]
    for _ in range(10):
        model.train_on_batch(X, y, lengths=LENGTHS)

    def compute(torch):
        module, kernel, bias = torch_module(torch, weights, cell, True, 2, 5)
        if cell != "gru":  # one bias here, two there
            for name, p in module.named_parameters():
                p.requires_grad_("bias_hh" not in name)
        optimizer = torch.optim.Adam([*(p for p in module.parameters() if p.requires_grad), kernel, bias], 0.01)
        for _ in range(10):
            optimizer.zero_grad()
            packed = torch.nn.utils.rnn.pack_padded_sequence(
                torch.tensor(X), torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
            )
            h, _ = torch.nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True, total_length=STEPS)
            mask = torch.arange(STEPS) < torch.tensor(LENGTHS)[:, None]
            torch.nn.functional.cross_entropy((h @ kernel + bias)[mask], torch.tensor(y)[mask]).backward()
            optimizer.step()
        return kernel, bias, *(p.T if p.ndim == 2 else p for p in module.parameters() if p.requires_grad)

    kernel, bias, *others = from_pytorch(f"sequences ten steps {cell}", compute)
    *ours, our_kernel, our_bias = model.weights.values()
    for mine, theirs in zip([our_kernel, our_bias, *ours], [kernel, bias, *others], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("truncate", [1, 3, 7, 20])
@pytest.mark.parametrize("cell", CELLS)
def test_truncated_gradient_same_as_pytorch(cell, truncate):
    model, X, y = model_and_data([CELLS[cell](5, return_sequences=True, truncate=truncate), layers.Dense(3)])
    loss, _ = model.loss_and_grad(X, y)
    weights = [w.copy() for w in model.weights.values()]

    def compute(torch):
        module, kernel, bias = torch_module(torch, weights, cell, False, 1, 5)
        inputs, state, found = torch.tensor(X, requires_grad=True), None, []
        for first in range(0, STEPS, truncate):
            h, state = module(inputs[:, first : first + truncate], state)
            state = tuple(s.detach() for s in state) if cell == "lstm" else state.detach()
            found.append(h)
        scores = torch.cat(found, dim=1) @ kernel + bias
        expected = torch.nn.functional.cross_entropy(scores.reshape(-1, 3), torch.tensor(y).reshape(-1))
        expected.backward()
        return expected, inputs.grad, *torch_gradients(module, cell, False, 1, kernel, bias)

    expected, d_inputs, *gradients = from_pytorch(f"sequences truncated {cell} {truncate}", compute)
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    np.testing.assert_allclose(model.input_gradient(X, y), d_inputs, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(model.gradients.values(), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ["identity", "gelu", "softplus", "relu"])
def test_activations_of_the_plain_cell(activation):
    model, X, y = model_and_data([layers.SimpleRNN(5, activation, return_sequences=True), layers.Dense(3)])
    _, gradient = model.loss_and_grad(X, y)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y)[0], model.params)
    numeric[model.layout.padding()] = gradient[model.layout.padding()]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


def test_initial_weights():
    model = Model([layers.LSTM(40), layers.GRU(7)][:1], dtype="float64", random_state=0).build((5, 30))
    kernel, recurrent, bias = model.weights.values()
    bound = np.sqrt(6 / (30 + 160))
    assert 0.9 * bound < np.abs(kernel).max() <= bound
    for gate in np.split(recurrent, 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(40), atol=1e-12)
    np.testing.assert_array_equal(bias, np.repeat([0.0, 1.0, 0.0, 0.0], 40))


# ---------------------------------------------------------------- masks

MASKED = {
    "holes": [layers.LSTM(5, return_sequences=True), layers.Dense(3)],
    "last": [layers.Dense(4, "tanh"), layers.GRU(5), layers.Dense(3)],
    "both": [layers.Bidirectional(layers.GRU(5, return_sequences=True), merge="sum"), layers.SimpleRNN(3), layers.Dense(3)],
    "normalized": [
        layers.Dense(4),
        layers.BatchNorm(activation="tanh"),
        layers.LSTM(3, return_sequences=True),
        layers.Dense(3),
    ],
    "normalized and mixed": [layers.Dense(4), layers.BatchNorm(), layers.Conv1D(3, 2), layers.GlobalAvgPool1D()],
    "mean": [layers.Dense(4, "tanh"), layers.GlobalAvgPool1D(), layers.Dense(3)],
    "largest": [layers.Dense(4, "tanh"), layers.GlobalMaxPool1D(), layers.Dense(3)],
    "residual": [layers.Residual([layers.LayerNorm(), layers.GRU(4, return_sequences=True)]), layers.Dense(3)],
    "dropped": [layers.LSTM(5, return_sequences=True, dropout=0.2, recurrent_dropout=0.3), layers.Dense(3)],
}


def with_holes(parts, dtype="float64", first=True):
    model, X, y = model_and_data([layers.Masking(), *parts], dtype)
    X[np.random.default_rng(1).random((N, STEPS)) < 0.4] = 0
    X[:, 3] += 0.1
    return model, X, y


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MASKED)
def test_gradient_with_steps_that_do_not_count(name, training):
    model, X, y = with_holes(MASKED[name])
    _, gradient = model.loss_and_grad(X, y, training=training)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y, training=training)[0], model.params)
    numeric[model.layout.padding()] = gradient[model.layout.padding()]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


BLIND = [name for name in MASKED if name not in ("normalized and mixed", "residual")]  # these see masked steps


@pytest.mark.parametrize("name", BLIND)
def test_what_does_not_count_makes_no_difference(name):
    """The numbers in masked steps, how many of them there are, and the other sequences of the batch."""
    model, X, y = model_and_data(MASKED[name])
    together = model.forward(X, lengths=LENGTHS)
    other = X.copy()
    other[np.arange(STEPS) >= LENGTHS[:, None]] = 7.0
    counted = np.arange(STEPS) < LENGTHS[:, None] if together.ndim == 3 else slice(None)
    np.testing.assert_array_equal(model.forward(other, lengths=LENGTHS)[counted], together[counted])
    loss, gradient = model.loss_and_grad(X, y, lengths=LENGTHS)
    again, other_gradient = model.loss_and_grad(other, y, lengths=LENGTHS)
    assert loss == again
    np.testing.assert_array_equal(gradient, other_gradient)
    for i, length in enumerate(LENGTHS):
        alone = Model(model.layers, loss="cross_entropy", dtype="float64").build((int(length), FEATURES))
        alone.params, alone.state[...] = model.params, model.state
        scores = alone.forward(np.ascontiguousarray(X[i : i + 1, :length]))
        np.testing.assert_array_equal(scores[0], together[i, :length] if together.ndim == 3 else together[i])


def test_loss_and_metrics_are_means_over_the_steps_that_count():
    model, X, y = model_and_data(stack("gru", False, 1, True, 5))
    counted, weights = np.arange(STEPS) < LENGTHS[:, None], np.arange(1.0, N + 1)
    scores = model.predict(X, lengths=LENGTHS)
    of_steps = -np.log(np.take_along_axis(scores, y[..., None], -1))[..., 0]
    for weight, w in ((None, np.ones(N)), (weights, weights)):
        w = (w[:, None] * counted)[counted]
        expected = {
            "loss": np.average(of_steps[counted], weights=w),
            "accuracy": np.average((scores.argmax(-1) == y)[counted], weights=w),
        }
        assert model.evaluate(X, y, weight, lengths=LENGTHS) == pytest.approx(expected)
        assert model.loss_and_grad(X, y, weight, lengths=LENGTHS)[0] == pytest.approx(expected["loss"])


@pytest.mark.parametrize("name", MASKED)
def test_same_bits_on_any_number_of_threads(name, monkeypatch):
    model, X, y = with_holes(MASKED[name], "float32")
    X, y = np.tile(X, (20, 1, 1)), np.tile(y, (20, *[1] * (y.ndim - 1)))
    results = set()
    for threads in (1, 2, 3, 4):
        monkeypatch.setattr("fastdnn.training.worthwhile_threads", lambda *_, threads=threads: threads)
        monkeypatch.setattr("fastdnn.thread_choice.ThreadChoice.next", lambda self: (self.most, 0.05))
        monkeypatch.setattr("fastdnn.inference.worthwhile_threads", lambda *_, threads=threads: threads)
        with config_context(n_threads=threads):
            model = Model([layers.Masking(), *MASKED[name]], loss="cross_entropy", random_state=0)
            loss = model.fit(X, y, epochs=3, batch_size=50)["loss"]
            results.add((model.params.tobytes(), model.state.tobytes(), model.predict(X).tobytes(), *loss))
    assert len(results) == 1


def test_lengths_reach_training_validation_and_prediction():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 20, 400)
    X = rng.standard_normal((400, 20, 1)).astype("float32")
    behind = np.arange(20) >= lengths[:, None]
    y = ((X[..., 0] * ~behind).sum(axis=1) > 0).astype(int)
    X[behind] = 50.0
    model = Model([layers.GRU(8), layers.Dense(2)], loss="cross_entropy", optimizer=optimizers.Adam(0.01), random_state=0)
    held_out = (X[300:], y[300:], None, lengths[300:])
    history = model.fit(X[:300], y[:300], 30, lengths=lengths[:300], validation_data=held_out)
    assert history["val_accuracy"][-1] > 0.9
    assert model.evaluate(*held_out)["accuracy"] == history["val_accuracy"][-1]
    again = Model(model.layers, loss="cross_entropy", optimizer=optimizers.Adam(0.01), random_state=0)
    history = again.fit(X, y, 30, lengths=lengths, validation_fraction=0.25)
    assert history["val_accuracy"][-1] > 0.85


# ---------------------------------------------------------------- embeddings


def embedded(optimizer="adam", **settings):
    parts = [layers.Embedding(30, 5, **settings), layers.LSTM(4, return_sequences=True), layers.Dense(3)]
    model = Model(parts, loss="cross_entropy", dtype="float64", optimizer=optimizer, random_state=0).build(9)
    rng = np.random.default_rng(2)
    return model, rng.integers(1, 20, (50, 9)), rng.integers(0, 3, (50, 9))


@pytest.mark.parametrize("behind", [None, [layers.Flatten(), layers.Dense(3)], [layers.BatchNorm(), layers.GRU(3)]])
def test_gradient_of_an_embedding(behind):
    model, ids, y = embedded()
    if behind:
        model = Model([model.layers[0], *behind], loss="cross_entropy", dtype="float64", random_state=0).build(9)
        y = y[:, 0]
    _, gradient = model.loss_and_grad(ids, y)
    numeric = naive.central_difference(lambda: model.loss_and_grad(ids, y)[0], model.params)
    numeric[model.layout.padding()] = gradient[model.layout.padding()]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)
    assert not model.gradients["0.embedding.kernel"][20:].any()


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.01}, {"accumulate": 3}])
def test_a_step_of_sgd_is_that_of_the_whole_gradient(settings):
    accumulate = settings.pop("accumulate", 1)
    model, ids, y = embedded(optimizers.SGD(0.5, **settings))
    before, gradient = model.params.copy(), model.loss_and_grad(ids[:48], y[:48], training=True)[1]
    norm = np.linalg.norm(gradient)
    factor = min(1.0, settings.get("clip_norm", np.inf) / norm)
    model.fit(ids[:48], y[:48], batch_size=48 // accumulate, accumulate=accumulate, shuffle=False)
    np.testing.assert_allclose(model.params, before - 0.5 * factor * gradient, rtol=1e-12, atol=1e-15)


def test_adam_moves_the_vectors_of_ids_that_occur_and_no_others():
    model, ids, y = embedded(optimizers.Adam(0.01), l2=0.1)
    table = model.weights["0.embedding.kernel"]
    before = table.copy()
    model.train_on_batch(ids[:2], y[:2])
    moved, used = (table != before).any(axis=1), np.isin(np.arange(30), ids[:2])
    np.testing.assert_array_equal(moved, used)
    middle = table.copy()
    model.train_on_batch(ids[2:4], y[2:4])
    np.testing.assert_array_equal((table != middle).any(axis=1), np.isin(np.arange(30), ids[2:4]))
    frozen, _, _ = embedded(learning_rate_factor=0)
    start = frozen.weights["0.embedding.kernel"].copy()
    frozen.fit(ids, y)
    np.testing.assert_array_equal(frozen.weights["0.embedding.kernel"], start)


def test_ids_never_become_floats():
    last = 2**24 + 1
    model = Model([layers.Embedding(last + 1, 1, initializer=0.0)]).build(2)
    model.weights["0.embedding.kernel"][last] = 1.0
    for kind in ("int32", "uint32", "int64", "uint64"):
        scores = model.forward(np.array([[last, last - 1]], kind))
        np.testing.assert_array_equal(scores, [[[1.0], [0.0]]])


def test_vectors_may_be_given_and_id_0_be_padding():
    vectors = np.arange(12.0).reshape(6, 2)
    model = Model([layers.Embedding(6, 2, mask_zero=True, initializer=vectors), layers.GlobalAvgPool1D()]).build(3)
    ids = np.array([[1, 3, 0], [5, 0, 0]])
    np.testing.assert_array_equal(model.forward(ids), [vectors[[1, 3]].mean(axis=0), vectors[5]])
    np.testing.assert_array_equal(model.forward(ids[::-1][:, ::-1]), [vectors[5], vectors[[1, 3]].mean(axis=0)])
    assert model.layers[0] == layers.Embedding(6, 2, mask_zero=True, initializer=vectors)
    assert model.layers[0] != layers.Embedding(6, 2, mask_zero=True)


# ---------------------------------------------------------------- what is refused


def ids_model():
    return Model([layers.Embedding(10, 2, mask_zero=True), layers.LSTM(3), layers.Dense(2)], loss="cross_entropy").build(4)


GOOD = np.ones((3, 4), int)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.where(np.eye(3, 4) > 0, 10, 1)[::-1], "ids of 0 to 9 for its Embedding, got 10 in row 0, step 2"),
        (-GOOD, "ids of 0 to 9 .* got -1 in row 0, step 0"),
        (GOOD * 1.5, r"must hold integers .* got float64"),
        (GOOD * np.array([[1], [0], [1]]), "no step of row 1 of X counts"),
        (np.array([["a"] * 4] * 3), "must hold integers"),
        ([[1, 2], [1], [3]], "of one shape"),
        (GOOD.astype(object), "must hold integers"),
    ],
)
def test_bad_ids(ids, message):
    model = ids_model()
    before = model.params.copy()
    for call in (lambda: model.fit(ids, [0, 1, 0]), lambda: model.predict(ids), lambda: model.evaluate(ids, [0, 1, 0])):
        with pytest.raises(ValueError, match=message):
            call()
    np.testing.assert_array_equal(model.params, before)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 2], r"lengths must be 3 integers, one for each sample"),
        ([1, 5, 2], "lengths must be 1 to the 4 steps of X, got 5 for row 1"),
        ([1, 2, 0], "got 0 for row 2"),
        ([1.0, 2.0, 3.0], "must be 3 integers"),
    ],
)
def test_bad_lengths(lengths, message):
    model = ids_model()
    with pytest.raises(ValueError, match=message):
        model.fit(GOOD, [0, 1, 0], lengths=lengths)
    with pytest.raises(ValueError, match=message):
        model.predict(GOOD, lengths=lengths)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Model([layers.LSTM(3)]).build(5), r"must be sequences \(time, features\), got the shape \(5,\); Embedding"),
        (lambda: Model([layers.GRU(3)]).build((5, 5, 3)), "must be sequences"),
        (lambda: Model([layers.GRU(3), layers.Masking()]).build((5, 3)), r"must be sequences|must be the first layer"),
        (lambda: layers.Bidirectional(layers.Dense(3)), "must be a recurrent layer"),
        (lambda: layers.Bidirectional(layers.GRU(3, go_backwards=True)), "must go forwards"),
        (lambda: layers.Bidirectional(layers.GRU(3), merge="mul"), "merge must be one of"),
        (lambda: layers.LSTM(3, truncate=0), "truncate must be an integer >= 1"),
        (lambda: layers.LSTM(3, recurrent_dropout=1.0), "recurrent_dropout must be a number"),
        (lambda: layers.SimpleRNN(3, "softmax"), "must work number by number"),
        (lambda: layers.Embedding(3, 2, initializer=np.zeros((2, 2))), r"finite numbers of shape \(3, 2\)"),
        (lambda: Model([layers.Embedding(3, 2)]).build((4, 2)), r"ids of shape \(time,\)"),
    ],
)
def test_errors_say_what_to_do(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_embedding_must_be_the_first_layer():
    model = Model([layers.Dense(4), layers.Embedding(3, 2)]).build(4)
    with pytest.raises(ValueError, match="must be the first layer"):
        model.forward(np.zeros((2, 4)))


# ---------------------------------------------------------------- windows of steps

WINDOWED = {
    "one": [layers.LSTM(5, return_sequences=True, truncate=4), layers.Dense(3)],
    "stack": [
        layers.Dense(6, "tanh"),
        layers.LayerNorm(),
        layers.GRU(6, return_sequences=True, truncate=4),
        layers.PReLU(),
        layers.Residual([layers.LSTM(6, return_sequences=True, truncate=4), layers.Dense(6)]),
        layers.Dense(3),
    ],
    "single steps": [layers.SimpleRNN(5, return_sequences=True, truncate=1), layers.Dense(3)],
}


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("name", WINDOWED)
def test_windows_of_steps_give_the_same_gradient(name, ids, masked, loss, monkeypatch):
    """Truncated gradients of whole sequences, and of sequences that go through the network a window at a time."""
    rng = np.random.default_rng(0)
    parts = [layers.Embedding(9, 4), *WINDOWED[name]] if ids else WINDOWED[name]
    X = rng.integers(0, 9, (40, 12)) if ids else rng.standard_normal((40, 12, 4))
    y = rng.integers(0, 3, (40, 12)) if loss == "cross_entropy" else rng.standard_normal((40, 12, 3))
    lengths, weights = rng.integers(1, 13, 40) if masked else None, rng.random(40)
    found = []
    for whole in (False, True):
        with monkeypatch.context() as patch:
            if whole:
                patch.setattr("fastdnn.truncation.steps_of_windows", lambda layout: None)
            model = Model(parts, loss=loss, dtype="float64", optimizer=optimizers.SGD(0.1), random_state=0).build(X.shape[1:])
            value, gradient = model.loss_and_grad(X, y, weights, lengths=lengths)
            assert model.kept_program[1].windows == (1 if whole else 12 if name == "single steps" else 3)
            history = model.fit(X, y, 2, 16, weights, lengths=lengths)
            found.append((value, gradient, history["loss"], model.params))
    for windowed, whole in zip(*found, strict=True):
        np.testing.assert_allclose(windowed, whole, rtol=1e-11, atol=1e-15)


def test_windows_of_steps_take_the_memory_of_one():
    parts = [layers.LSTM(64, return_sequences=True, truncate=10), layers.Dense(3)]
    X, y = np.random.default_rng(0).standard_normal((64, 100, 8), "float32"), np.arange(6400).reshape(64, 100) % 3
    sizes = []
    for truncate in (10, 100):
        layer = parts[0].replace(truncate=truncate)
        model = Model([layer, parts[1]], loss="cross_entropy", random_state=0)
        model.fit(X, y, batch_size=64)
        sizes.append(model.kept_program[1].n_work)
    assert sizes[0] < 0.15 * sizes[1]


# ---------------------------------------------------------------- found by reading it again


def test_a_reshape_ends_a_mask():
    pooled = Model([layers.Reshape((400, 1)), layers.GlobalAvgPool1D()]).build((4, 100))
    sequences = Model([layers.Reshape((12, 1)), layers.GRU(2, return_sequences=True), layers.Dense(1)]).build((4, 3))
    for model in (pooled, sequences):
        X = np.zeros((1, *model.layout.shapes[0]))
        for call in (lambda m=model, X=X: m.forward(X, lengths=[2]), lambda m=model, X=X: m.fit(X, [[0]], lengths=[2])):
            with pytest.raises(ValueError, match=r"mean nothing to this network: they end at layer 0, Reshape|y must have"):
                call()


@pytest.mark.parametrize(
    ("parts", "X"),
    [([layers.Dense(1)], np.ones((2, 4))), ([layers.Flatten(), layers.Dense(1)], np.ones((2, 4, 3)))],
)
def test_lengths_that_mean_nothing(parts, X):
    with pytest.raises(ValueError, match="mean nothing to this network"):
        Model(parts).fit(X, [0.0, 1.0], lengths=[2, 3])


def test_vjp_takes_the_gradients_as_they_are_given():
    model = Model([layers.Masking(), layers.Dense(1)], dtype="float64").build((3, 1))
    model.weights["1.dense.kernel"][...] = 2
    dX, gradient = model.vjp([[[1.0], [2.0], [0.0]]], [[[5.0], [0.0], [0.0]]])
    np.testing.assert_array_equal(dX, [[[10.0], [0.0], [0.0]]])
    assert gradient[model.layout.entries[1].offset] == 5
    same, _ = Model.vjp(model, [[[1.0], [2.0], [7.0]]], [[[5.0], [0.0], [0.0]]], lengths=[2])
    np.testing.assert_array_equal(same, dX)


def test_padding_may_be_anything_finite():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 4, 2)), rng.random((6, 4, 1))
    for loss in ("poisson", "gamma", "squared_error", "huber"):
        model = Model([layers.Dense(1)], loss=loss, random_state=0).build((4, 2))
        expected = model.loss_and_grad(X, y + 0.1, lengths=[2] * 6)
        for padding in (-999.0, 1e4, -1e4, 1e20, -1e20):
            X[:, 2:] = padding
            value, gradient = model.loss_and_grad(X, y + 0.1, lengths=[2] * 6)
            assert value == expected[0]
            np.testing.assert_array_equal(gradient, expected[1])
            assert model.evaluate(X, y + 0.1, lengths=[2] * 6)["loss"] == pytest.approx(value)


def test_what_was_not_finite_once_is_forgotten():
    model = Model([layers.GRU(3, return_sequences=True), layers.Dense(2)], optimizer=optimizers.SGD(0.1), random_state=0)
    rng = np.random.default_rng(0)
    X, y, lengths = rng.standard_normal((32, 6, 4)), np.zeros((32, 6, 2)), rng.integers(1, 7, 32)
    model.train_on_batch(X, y)
    good = model.params.copy()
    model.weights["0.gru.recurrent_kernel"][...] = np.nan
    model.train_on_batch(X, y, lengths=[6] * 32)
    model.params = good
    skipped = model.skipped_steps
    for _ in range(3):
        model.train_on_batch(X, y, lengths=lengths)
    assert model.skipped_steps == skipped
    assert (model.params != good).any()


def test_a_gradient_ends_at_a_step_that_does_not_count():
    cell = layers.SimpleRNN(1, "identity", truncate=2, initializer=1.0, recurrent_initializer=1.0)
    model = Model([layers.Masking(), cell], dtype="float64").build((4, 1))
    gradient = model.input_gradient([[[1.0], [1.0], [0.0], [1.0]]], [0.0])
    np.testing.assert_array_equal(gradient.ravel(), [0.0, 0.0, 0.0, 3.0])


def test_scorers_see_lengths():
    rng = np.random.default_rng(0)
    X, y, lengths = rng.standard_normal((60, 6, 2)), rng.integers(0, 2, 60), rng.integers(1, 7, 60)
    model = Model([layers.GRU(3), layers.Dense(2)], loss="cross_entropy", random_state=0)
    held_out = X, y, None, lengths
    history = model.fit(X, y, 3, lengths=lengths, validation_data=held_out, scoring={"same": "accuracy"})
    assert history["val_same"] == history["val_accuracy"]


def test_gradients_from_elsewhere_reach_all_parameters():
    for parts, shape in (([layers.GRU(2), layers.Dense(1)], (4, 3)), ([layers.Embedding(5, 2), layers.LSTM(2)], (4,))):
        model = Model(parts, dtype="float64", optimizer=optimizers.SGD(1.0), random_state=0).build(shape)
        before = model.params.copy()
        model.apply_gradient(np.ones_like(before))
        moved = np.delete(before - model.params, model.layout.padding())
        np.testing.assert_allclose(moved, 1)


def test_mixing_refuses_sequences_of_unequal_length():
    with pytest.raises(ValueError, match="steps all count"):
        Model([layers.GRU(2), layers.Dense(1)]).fit(np.ones((4, 3, 1)), np.arange(4.0), mixup=1.0, lengths=[1, 2, 3, 3])


def test_a_failing_fit_builds_nothing():
    model = Model([layers.GRU(3, return_sequences=True, go_backwards=True)])
    with pytest.raises(ValueError, match="cannot turn masked sequences around"):
        model.fit(np.ones((4, 3, 1)), np.ones((4, 3, 3)), lengths=[1, 2, 3, 3])
    assert model.layout is None


def test_given_vectors_are_copied():
    vectors = np.ones((3, 2))
    layer = layers.Embedding(3, 2, initializer=vectors)
    vectors[...] = 7
    np.testing.assert_array_equal(layer.initializer, np.ones((3, 2)))
    with pytest.raises(ValueError, match="finite numbers"):
        layers.Embedding(1, 1, initializer=[[1e300]])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.ones((3, 4), "float32"), "must hold integers"),
        (np.full((3, 4), 2**63, np.uint64), r"ids below 2\*\*63, got 9223372036854775808"),
        (np.ones(4, int), r"ids of shape \(n, time\), got \(4,\)"),
        (np.ma.masked_equal(GOOD, 1), "masked entries"),
    ],
)
def test_ids_of_odd_kinds(ids, message):
    with pytest.raises(ValueError, match=message):
        ids_model().build(4).predict(ids)


CHECKPOINTED = {
    "scores of steps": [layers.LSTM(5, return_sequences=True, checkpoint=3), layers.Dense(3)],
    "one score": [layers.Dense(6, "tanh"), layers.GRU(5, checkpoint=True), layers.Dense(4, "relu"), layers.Dense(3)],
    "stack": [
        layers.LayerNorm(),
        layers.GRU(6, return_sequences=True, checkpoint=5),
        layers.Residual([layers.LSTM(6, return_sequences=True, checkpoint=5), layers.Dense(6)]),
        layers.SimpleRNN(4, checkpoint=5),
        layers.Dense(3),
    ],
    "single steps": [layers.LSTM(5, return_sequences=True, checkpoint=1), layers.Dense(3)],
    "last of a truncated one": [
        layers.LSTM(5, return_sequences=True, truncate=4),
        layers.GRU(5, truncate=4),
        layers.Dense(3),
    ],
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("name", CHECKPOINTED)
def test_checkpoints_give_the_same_gradient(name, ids, masked, monkeypatch):
    rng = np.random.default_rng(0)
    parts = [layers.Embedding(9, 4), *CHECKPOINTED[name]] if ids else CHECKPOINTED[name]
    X = rng.integers(0, 9, (40, 12)) if ids else rng.standard_normal((40, 12, 4))
    lengths, weights = rng.integers(1, 13, 40) if masked else None, rng.random(40)
    found = []
    for whole in (False, True):
        with monkeypatch.context() as patch:
            if whole:
                patch.setattr("fastdnn.truncation.steps_of_windows", lambda layout: None)
            model = Model(parts, loss="cross_entropy", dtype="float64", optimizer=optimizers.SGD(0.1), random_state=0)
            model.build(X.shape[1:])
            y = np.random.default_rng(1).integers(0, 3, (40, *model.layout.shapes[-1][:-1]))
            value, gradient = model.loss_and_grad(X, y, weights, lengths=lengths)
            all_at_once = whole or (masked and name == "last of a truncated one")  # some end before the last window
            assert (model.kept_program[1].windows == 1) == all_at_once
            history = model.fit(X, y, 2, 16, weights, lengths=lengths)
            found.append((value, gradient, history["loss"], model.params))
    for windowed, whole in zip(*found, strict=True):
        np.testing.assert_allclose(windowed, whole, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    "parts",
    [
        [layers.LSTM(3, return_sequences=True, checkpoint=True), layers.LSTM(3), layers.Dense(1)],
        [layers.Conv1D(3, 2), layers.LSTM(3, checkpoint=True), layers.Dense(1)],
        [layers.Bidirectional(layers.LSTM(3, checkpoint=True)), layers.Dense(1)],
        [layers.BatchNorm(), layers.LSTM(3, checkpoint=True), layers.Dense(1)],
    ],
)
def test_networks_without_checkpoints(parts):
    with pytest.raises(ValueError, match="checkpoint needs a network"):
        Model(parts).fit(np.arange(72.0).reshape(4, 9, 2), np.arange(4.0))
