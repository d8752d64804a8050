"""Values with rows: samples of more than one row through losses, reshapes, weights and every way in and out."""

import math

import naive
import numpy as np
import pytest
from goldens import from_pytorch

from fastdnn import Model, layers, losses
from fastdnn._rows import add_whole, move
from fastdnn._simd import offset
from fastdnn.layers.base import OP, Layer, Parameter, fields, op_kernel

TIME, IMAGE = (5, 6), (2, 3, 6)
both_shapes = pytest.mark.parametrize("shape", [TIME, IMAGE], ids=["time", "image"])


def data(shape, n=12, seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape))


def targets_for(loss, shape, n_out, seed=1):
    """Targets of a loss for scores (n, ..., n_out): class numbers where it takes them, otherwise numbers in [0, 1)."""
    rng = np.random.default_rng(seed)
    if loss.labels:
        return rng.integers(0, n_out, (12, *shape[:-1]))
    y = rng.uniform(0.05, 0.95, (12, *shape[:-1], n_out))
    return np.round(y) if loss.name in ("focal", "hinge", "clipped_log_loss") else y


@both_shapes
@pytest.mark.parametrize("name", sorted(losses.LOSSES_TABLE))
def test_every_loss_on_rows_is_that_of_as_many_samples(name, shape):
    """The mean over n * rows: value, gradient, metrics and predictions equal those of the rows as samples of their own."""
    loss = losses.get_loss(name)
    n_out = loss.n_scores(1) if loss.n_scores(1) > 1 else 4
    rows, X = math.prod(shape[:-1]), data(shape)
    y = targets_for(loss, shape, n_out)
    if name == "quantile":
        y = y[..., : 12 if n_out == 1 else None]
    whole = Model([layers.Dense(n_out, activation="tanh")], loss=loss, dtype="float64", random_state=0).build(shape)
    flat = Model([layers.Dense(n_out, activation="tanh")], loss=loss, dtype="float64", random_state=0).build(shape[-1])
    flat_X, flat_y = X.reshape(-1, shape[-1]), y.reshape(12 * rows, *y.shape[len(shape) :])
    weights = np.random.default_rng(5).uniform(0, 2, 12)
    for w in (None, weights):
        of_rows = None if w is None else np.repeat(w, rows)
        (value, gradient), (expected, expected_gradient) = (
            whole.loss_and_grad(X, y, w), flat.loss_and_grad(flat_X, flat_y, of_rows),
        )  # fmt: skip
        assert value == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-14)
        ours, theirs = whole.evaluate(X, y, w), flat.evaluate(flat_X, flat_y, of_rows)
        assert ours == pytest.approx(theirs, rel=1e-12, nan_ok=True)
    assert whole.predict(X).shape == (12, *shape[:-1], n_out)
    np.testing.assert_array_equal(whole.predict(X).reshape(-1, n_out), flat.predict(flat_X))


@both_shapes
def test_cross_entropy_and_softmax_on_rows_as_in_pytorch(shape):
    X, n_out = data(shape), 5
    y = np.random.default_rng(1).integers(0, n_out, (12, *shape[:-1]))
    model = Model([layers.Dense(n_out)], loss="cross_entropy", dtype="float64", random_state=0).build(shape)

    def compute(torch):
        inputs = torch.tensor(X, requires_grad=True)
        W, b = (torch.tensor(w.copy(), requires_grad=True) for w in model.weights.values())
        scores = inputs @ W + b
        loss = torch.nn.functional.cross_entropy(scores.movedim(-1, 1), torch.tensor(y))
        loss.backward()
        return loss, W.grad, inputs.grad, scores.softmax(-1), torch.tensor(X).softmax(-1)

    loss, dW, d_inputs, probabilities, of_inputs = from_pytorch(f"cross_entropy on rows {shape}", compute)
    assert model.loss_and_grad(X, y)[0] == pytest.approx(float(loss), rel=1e-9)
    np.testing.assert_allclose(model.gradients["0.dense.kernel"], dW, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.input_gradient(X, y), d_inputs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.predict(X), probabilities, rtol=1e-9)
    softmax = Model([layers.Activation("softmax")], dtype="float64").build(shape)
    np.testing.assert_allclose(softmax.forward(X), of_inputs, rtol=1e-9)


@both_shapes
@pytest.mark.parametrize("n_out", [1, 3])
def test_training_on_rows_is_training_on_as_many_samples(shape, n_out):
    X, rows = data(shape, 40).astype("float32"), math.prod(shape[:-1])
    y = X @ np.random.default_rng(2).standard_normal((shape[-1], n_out)).astype("float32")
    stack = [layers.Dense(9, activation="relu"), layers.BatchNorm(), layers.Dense(n_out)]
    whole = Model(stack, random_state=0).build(shape)
    flat = Model(stack, random_state=0).build(shape[-1])
    a = whole.fit(X, y, epochs=3, batch_size=10, shuffle=False)
    b = flat.fit(X.reshape(-1, shape[-1]), y.reshape(-1, n_out), epochs=3, batch_size=10 * rows, shuffle=False)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
    np.testing.assert_allclose(whole.params, flat.params, rtol=1e-2, atol=1e-4)


RESHAPES = {
    "leading": [layers.Reshape((5, 6)), layers.Dense(4, "tanh"), layers.Flatten(), layers.Dense(2)],
    "copied": [layers.Dense(15, "relu"), layers.Reshape((3, 5)), layers.Dense(4, "tanh"), layers.Reshape((2, 6)),
               layers.Dense(2)],
    "unpadded": [layers.Dense(32, "tanh"), layers.Reshape((2, 16)), layers.Dense(16, "relu"), layers.Flatten(),
                 layers.Dense(2)],
    "several": [layers.Dense(12, "gelu"), layers.Reshape((3, 4)), layers.Reshape((-1, 2)), layers.Flatten(), layers.Dense(3)],
    "last": [layers.Dense(12, "gelu"), layers.Reshape((3, 4)), layers.Reshape((2, -1))],
    "only": [layers.Reshape((6, 5)), layers.Reshape((3, 10))],
    "inside": [layers.Dense(12), layers.Residual([layers.Reshape((3, 4)), layers.Dense(4, "tanh"), layers.Flatten()]),
               layers.Dense(2)],
}  # fmt: skip


@pytest.mark.parametrize("name", RESHAPES)
def test_reshapes_keep_the_order_of_the_numbers_and_their_gradients(name):
    X = data((30,))
    model = Model(RESHAPES[name], dtype="float64", random_state=0).build(30)
    scores = X
    for number, layer in enumerate(RESHAPES[name]):
        scores = model.forward(X, layer=number)
        if isinstance(layer, (layers.Reshape, layers.Flatten)):
            before = X if number == 0 else model.forward(X, layer=number - 1)
            np.testing.assert_array_equal(scores, before.reshape(scores.shape))
    y = np.random.default_rng(1).standard_normal(scores.shape)
    loss, gradient = model.loss_and_grad(X, y)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y)[0], model.params)
    numeric[model.layout.padding()] = gradient[model.layout.padding()]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y)[0], X)
    np.testing.assert_allclose(model.input_gradient(X, y), numeric, rtol=1e-6, atol=1e-8)
    assert loss == pytest.approx(model.evaluate(X, y)["loss"])


def test_dense_after_flatten_reads_the_same_memory_where_rows_have_no_padding():
    model = Model(RESHAPES["unpadded"], random_state=0).build(30)
    table = model.bind(data((30,)), np.zeros((12, 2))).program.table
    assert not table[[2, 4], OP.forward].any()
    assert table[1, OP.derivative] == 0  # the product after the reshape does it


class Doubling(Layer):
    """Writes over its input: what `_refuse_overwriting` is for."""

    name = "doubling"

    def emit(self, op, builder):
        builder.in_place(op)
        op.forward = 1  # never called: the program is refused before


@pytest.mark.parametrize("around", [None, [layers.Dense(3)], [Doubling()]], ids=str)
def test_a_layer_may_not_write_over_what_the_other_way_reads(around):
    inside = [Doubling()] if around != [Doubling()] else [layers.Dense(3)]
    with pytest.raises(ValueError, match="writes over its input, which the layer before it needs"):
        Model([layers.Dense(3), layers.Residual(inside, around)]).build(2).bind(data((2,)), np.zeros((12, 3)))


def test_a_layer_may_not_write_over_what_the_one_before_has_saved():
    with pytest.raises(ValueError, match="writes over its input, which the layer before it needs"):
        Model([layers.Dense(3, "tanh"), Doubling(), layers.Dense(1)]).build(2).loss_and_grad([[1.0, 2.0]], [1.0])


def test_parameters_of_any_rank_stand_in_the_flat_buffer():
    class Three(Layer):
        name = "three"

        def parameters(self, input_shape):
            return [Parameter("kernel", (2, 3, 5), "glorot_uniform", True, fans=(6, 10)), Parameter("bias", (5,), 0.0, False)]

    model = Model([Three()], random_state=0).build(5)
    kernel = model.weights["0.three.kernel"]
    assert kernel.shape == (2, 3, 5)
    kernel[...] = np.arange(30).reshape(2, 3, 5)
    assert np.shares_memory(kernel, model.params)
    assert np.delete(model.params, model.layout.padding()).sum() == np.arange(30).sum()
    assert model.layout.n_params == 35
    limit = np.sqrt(6 / 16)
    fresh = Model([Three()], random_state=0).build(5).weights["0.three.kernel"]
    assert 0.5 * limit < np.abs(fresh).max() <= limit


REPEAT = fields("steps")  # of a sample of the input


class RepeatSteps(Layer):
    """(time, features) with each step twice: a layer whose output has another number of rows than its input."""

    name, record = "repeat_steps", REPEAT

    def output_shape(self, input_shape):
        if len(input_shape) != 2:
            raise ValueError(f"RepeatSteps takes (time, features), got {input_shape}")
        return 2 * input_shape[0], input_shape[1]

    def emit(self, op, builder):
        builder.in_place(op)
        op.steps, op.sample_rows = builder.sample_rows, 1  # whole samples
        op.y, op.forward = builder.new_rows(op.n_out, 2 * op.steps), repeat_forward.address(builder.dtype)
        if builder.with_gradient:
            op.dy, op.backward = builder.new_deltas(op.n_out, 2 * op.steps), repeat_backward.address(builder.dtype)


@op_kernel(REPEAT)
def repeat_forward(op, data, params, grads, work, start, lo, n):
    """Rows 2 t and 2 t + 1 of Y are row t of X, for samples lo..lo+n."""
    ld = op.ld_in
    for i in range(lo * op.steps, (lo + n) * op.steps):
        for twice in range(2):
            move(offset(work, op.x + i * ld), offset(work, op.y + (2 * i + twice) * ld), ld)


@op_kernel(REPEAT)
def repeat_backward(op, data, params, grads, work, start, lo, n):
    """Row t of dX is the sum of rows 2 t and 2 t + 1 of dY, for samples lo..lo+n."""
    ld = op.ld_in
    if op.dx >= 0:
        for i in range(lo * op.steps, (lo + n) * op.steps):
            dy = offset(work, op.dy + 2 * i * ld)
            add_whole(dy, offset(dy, ld), offset(work, op.dx + i * ld), ld)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_layer_that_doubles_the_time_steps(threads, monkeypatch):
    monkeypatch.setattr("fastdnn.training.worthwhile_threads", lambda *_: threads)
    X = data((4, 6))
    stack = [layers.Dense(5, "tanh"), RepeatSteps(), layers.LayerNorm(), RepeatSteps(), layers.Dense(2)]
    model = Model(stack, dtype="float64", random_state=0).build((4, 6))
    hidden = model.forward(X, layer=0)
    np.testing.assert_array_equal(model.forward(X, layer=1), np.repeat(hidden, 2, axis=1))
    assert model.forward(X).shape == (12, 16, 2)
    y = np.random.default_rng(1).standard_normal((12, 16, 2))
    gradient = model.loss_and_grad(X, y)[1]
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y)[0], model.params)
    numeric[model.layout.padding()] = gradient[model.layout.padding()]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y)[0], X)
    np.testing.assert_allclose(model.input_gradient(X, y), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("wrong", ["in place", "values", "gradients", "both"])
@pytest.mark.parametrize("first", [True, False])
def test_a_layer_that_asks_for_too_little_room_is_refused(wrong, first):
    class Careless(RepeatSteps):
        def emit(self, op, builder):
            super().emit(op, builder)
            if wrong == "in place":
                op.y, op.dy = op.x, op.dx
            if wrong in ("values", "both"):
                op.y = builder.new_rows(op.n_out)
            if wrong in ("gradients", "both"):
                op.dy = builder.new_deltas(op.n_out)

    stack = [*([] if first else [layers.Dense(6, "tanh")]), Careless(), layers.Flatten(), layers.Dense(1)]
    model = Model(stack).build((4, 6))
    with pytest.raises(ValueError, match=r"Careless.* makes samples of shape \(8, 6\)"):
        model.loss_and_grad(data((4, 6)), np.zeros(12))
    if wrong == "in place":
        with pytest.raises(ValueError, match="need a place of their own"):
            model.forward(data((4, 6)))


@both_shapes
def test_flops_count_the_rows(shape):
    per_row = Model([layers.Dense(7)]).build(6).layout.flops
    assert Model([layers.Dense(7)]).build(shape).layout.flops == math.prod(shape[:-1]) * per_row


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((12, 4, 2)), r"y must have shape \(n, 5, ...\) for scores \(5, 2\), got \(12, 4, 2\)"),
        (np.zeros((12, 5, 3)), "y must have shape"),
        (np.zeros(12), "y must have shape"),
        (np.zeros((11, 5, 2)), "y must have one target for each of the 12 samples"),
    ],
)
def test_targets_that_do_not_fit_the_rows(y, message):
    model = Model([layers.Dense(2)]).build(TIME)
    with pytest.raises(ValueError, match=message):
        model.fit(data(TIME), y)


@pytest.mark.parametrize("order", ["C", "F", "reversed", "every second"])
def test_samples_with_rows_of_any_strides(order):
    X = data(TIME, 24)
    form = {"C": X, "F": np.asfortranarray(X), "reversed": X[::-1][::-1], "every second": np.repeat(X, 2, axis=0)[::2]}[order]
    model = Model([layers.Dense(4, "tanh"), layers.Dense(2)], dtype="float64", random_state=0).build(TIME)
    np.testing.assert_array_equal(model.forward(form), model.forward(X))


def test_save_and_load_layers_on_rows(tmp_path):
    model = Model([layers.LayerNorm(), layers.Dense(4, "relu"), layers.Flatten(), layers.Dense(2)], random_state=0).build(
        TIME
    )
    model.save(tmp_path / "m")
    X = data(TIME).astype("float32")
    np.testing.assert_array_equal(Model.load(tmp_path / "m").forward(X), model.forward(X))


@pytest.mark.parametrize("n", [7, 8, 50])
def test_gradients_in_many_shards_have_the_same_bits_on_any_number_of_threads(n, on_threads):
    """Series have few weights beside their work: eight shards, chunks of samples that fit the cache, pieces of a batch."""
    X = data((300, 16), n).astype("float32")
    y = np.random.default_rng(1).standard_normal((n, 300, 3)).astype("float32")
    found = set()
    for threads in (1, 2, 3, 4):
        with on_threads(threads):
            model = Model([layers.Dense(16, "tanh"), layers.LayerNorm(), layers.Dense(3)], random_state=0)
            losses = model.fit(X, y, epochs=3, batch_size=n, shuffle=False)["loss"]
            found.add((model.params.tobytes(), model.predict(X).tobytes(), *losses))
    assert len(found) == 1
    run = model.bind(X, y, batch_size=n)
    assert run.plan.shards == min(n, 8)
    assert run.chunk < 50
    double = Model(model.layers, dtype="float64").build((300, 16))
    double.params = model.params
    exact = double.loss_and_grad(X.astype(float), y.astype(float))[1]
    np.testing.assert_allclose(model.loss_and_grad(X, y)[1], exact, rtol=1e-3, atol=1e-5 * np.abs(exact).max())


def test_a_batch_larger_than_the_workspace_of_series(monkeypatch):
    monkeypatch.setattr("fastdnn.planning.PIECE_BYTES", 1 << 20)
    X, y = data((50, 16), 300), np.random.default_rng(1).standard_normal((300, 50, 2))
    model = Model([layers.Dense(8, "tanh"), layers.Dense(2)], dtype="float64", random_state=0).build((50, 16))
    run = model.bind(X, y, batch_size=300)
    assert run.program.rows < 100
    flat = Model(model.layers, dtype="float64", random_state=0).build(16)
    loss, gradient = flat.loss_and_grad(X.reshape(-1, 16), y.reshape(-1, 2))
    assert run.loss_and_grad() == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(model.grads, gradient, rtol=1e-9, atol=1e-13)
