"""Ids and their vectors: gradients, steps that touch few rows, and what is no id; errors of layers of sequences."""

import naive
import numpy as np
import pytest

from fastdnn import Model, layers, optimizers


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
