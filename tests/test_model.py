"""Model: the public interface, whole networks, errors."""

import copy
import pickle
import threading
import warnings

import naive
import numpy as np
import pytest
import scipy.sparse

import fastdnn
from fastdnn import Model, layers, optimizers
from fastdnn.thread_choice import ThreadChoice

THREADS = (1, 2, 3, 4)


def network(hidden=(20, 13), n_out=3, loss="cross_entropy", dtype="float64", features=6, seed=0, activation="tanh", **more):
    shapes = [layers.Dense(n, activation=activation) for n in hidden] + [layers.Dense(n_out)]
    return Model(shapes, loss=loss, dtype=dtype, random_state=seed, **more).build(features)


def data(rows=50, features=6, classes=3, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, features)).astype(dtype), rng.integers(0, classes, rows)


@pytest.mark.parametrize("hidden", [(), (1,), (17,), (16, 33, 5), (3,) * 12])
def test_gradient_of_whole_networks(hidden):
    X, y = data()
    model = network(hidden)
    w = np.random.default_rng(1).uniform(0, 2, len(X))
    _, gradient = model.loss_and_grad(X, y, sample_weight=w)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y, sample_weight=w)[0], model.params)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-9)


def test_interface():
    X, y = data(dtype="float32")
    m = Model(
        [layers.Dense(16, activation="relu"), layers.Dense(3)],
        loss="cross_entropy",
        optimizer=optimizers.Adam(1e-2),
        dtype="float32",
        random_state=0,
    )
    h = m.fit(X, y, epochs=3, batch_size=8, sample_weight=np.ones(50), validation_data=(X, y), callbacks=[], verbose=0)
    assert list(h) == ["loss", "val_loss", "val_accuracy", "rate", "gradient_norm", "seconds"]
    assert len(h["loss"]) == 3
    assert h["loss"][-1] < h["loss"][0]
    assert list(m.weights) == ["0.dense.kernel", "0.dense.bias", "1.dense.kernel", "1.dense.bias"]
    assert m.weights["0.dense.kernel"].shape == (6, 16)
    assert all(np.shares_memory(w, m.params) for w in m.weights.values())
    assert all(np.shares_memory(g, m.grads) for g in m.gradients.values())
    np.testing.assert_allclose(m.predict(X), naive.softmax(m.forward(X).astype(float)), rtol=1e-5)
    np.testing.assert_allclose(m.predict(X).sum(axis=1), 1, rtol=1e-6)
    assert set(m.evaluate(X, y)) == {"loss", "accuracy"}
    loss, gradient = m.loss_and_grad(X, y, training=False)
    assert isinstance(loss, float)
    assert gradient.shape == m.params.shape == m.grads.shape
    np.testing.assert_array_equal(gradient, m.grads)
    m.weights["1.dense.bias"][...] = [0, 0, 50]
    assert (m.predict(X).argmax(axis=1) == 2).all()
    assert "163 parameters" in m.summary()
    assert "Dense(units=16, activation='relu')" in m.summary()


def test_input_shape_forms():
    for shape in (5, (5,), np.int64(5)):
        assert Model([layers.Dense(2)]).build(shape).weights["0.dense.kernel"].shape == (5, 2)


def test_hundreds_of_layers_build_and_train():
    X, y = data(rows=300)
    # Without skip connections 400 layers learn nothing, and on some processors the fit says so.
    blocks = [layers.Residual([layers.Dense(16, activation="tanh")]) for _ in range(400)]
    model = Model([layers.Dense(16), *blocks, layers.Dense(3)], loss="cross_entropy", dtype="float64", random_state=0)
    before = model.fit(X, y, epochs=1, batch_size=50)["loss"][0]
    assert model.fit(X, y, epochs=5, batch_size=50)["loss"][-1] < before
    assert len(model.weights) == 804


def test_nan_in_nan_out():
    X, _ = data()
    model = network()
    clean = model.predict(X)
    X[7, 3] = np.nan
    X[9, 1] = np.inf
    dirty = model.predict(X)
    assert np.isnan(dirty[7]).all()
    np.testing.assert_array_equal(np.delete(dirty, [7, 9], axis=0), np.delete(clean, [7, 9], axis=0))


def test_predicting_while_another_thread_builds():
    model, stop, wrong = Model([layers.Dense(3)]).build(20), [], []

    def build():
        while not stop:
            model.build(5000, initialize=False)
            model.build(20, initialize=False)

    def predict(columns):
        X = np.zeros((2, columns))
        for _ in range(300):
            try:
                model.predict(X)
            except ValueError as error:
                if "samples of shape" not in str(error):
                    wrong.append(error)

    builder, workers = threading.Thread(target=build), [threading.Thread(target=predict, args=(c,)) for c in (20, 5000)]
    [thread.start() for thread in (builder, *workers)]
    [worker.join() for worker in workers]
    stop.append(True)
    builder.join()
    assert not wrong


def test_sample_weight_equals_repetition():
    X, y = data(30)
    repeats = np.arange(30) % 3
    a = network().loss_and_grad(X, y, sample_weight=repeats)
    b = network().loss_and_grad(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
    np.testing.assert_allclose(a[0], b[0], rtol=1e-12)
    np.testing.assert_allclose(a[1], b[1], rtol=1e-10, atol=1e-14)


def test_pickle_and_deepcopy_keep_views_and_training():
    X, y = data()
    model = network()
    model.fit(X, y, epochs=2)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(twin.predict(X), model.predict(X))
        twin.weights["2.dense.bias"][...] = [9, 0, 0]
        assert (twin.predict(X).argmax(axis=1) == 0).mean() > 0.9
        assert not np.array_equal(twin.params, model.params)
    twin = pickle.loads(pickle.dumps(model))
    assert twin.fit(X, y, epochs=2)["loss"] == model.fit(X, y, epochs=2)["loss"]


def test_python_threads_may_predict_with_one_model():
    X, _ = data(5000, 30)
    model = network((64, 64), features=30)
    expected, wrong = model.predict(X), []

    def work():
        for _ in range(20):
            if not np.array_equal(model.predict(X), expected):
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    assert not wrong


def test_callbacks_stop_and_see_the_history():
    X, y = data()
    seen = []

    def callback(model, history):
        seen.append(history["loss"][-1])
        return len(seen) == 4

    assert len(network().fit(X, y, epochs=10, callbacks=[callback])["loss"]) == 4


def test_verbose_prints_an_epoch_a_line_and_otherwise_nothing(capfd):
    X, y = data()
    network().fit(X, y, epochs=2)
    assert capfd.readouterr() == ("", "")
    network().fit(X, y, epochs=2, verbose=1)
    assert capfd.readouterr().out.count("loss") == 2


def test_diverging_training_stops_with_a_warning():
    X, y = data()
    model = network((), 1, "squared_error", optimizer=optimizers.SGD(1e6))
    with pytest.warns(RuntimeWarning, match="training stopped. Scale the data"):
        history = model.fit(X, y.astype(float), epochs=200, batch_size=10)
    assert len(history["loss"]) < 200


def test_evaluate_regression_and_log_loss():
    X, y = data()
    assert set(network((), 1, "squared_error").evaluate(X, y)) == {"loss", "r2"}
    result = network((), 3, "log_loss").evaluate(X, np.eye(3)[y])
    assert set(result) == {"loss", "accuracy"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X, y: Model([]), "layers must be a list of at least one fastdnn layer"),
        (lambda m, X, y: Model(layers.Dense(1)), "layers must be a list"),
        (lambda m, X, y: Model([layers.Dense(1)], dtype="float16"), "dtype must be one of"),
        (lambda m, X, y: Model([layers.Dense(1)], loss="mse"), "loss must be a Loss or one of"),
        (lambda m, X, y: Model([layers.Dense(1)], random_state="0"), "random_state must be"),
        (lambda m, X, y: Model([layers.Dense(1)]).predict(X), "call fit"),
        (lambda m, X, y: Model([layers.Dense(1)]).weights, "call fit"),
        (lambda m, X, y: m.build((0,)), "input_shape must be an integer >= 1, got 0"),
        (lambda m, X, y: m.predict(X[:, :3]), r"samples of shape \(6,\), got \(3,\)"),
        (lambda m, X, y: m.predict(X[0]), "X must have shape"),
        (lambda m, X, y: m.fit(X[:0], y[:0]), "no samples"),
        (lambda m, X, y: m.predict(X + 1j), "X must hold real numbers, got complex128"),
        (lambda m, X, y: m.predict(scipy.sparse.csr_array(X + 1j)), "X must hold real numbers"),
        (lambda m, X, y: m.predict(X.astype("datetime64[s]")), "X must hold real numbers"),
        (lambda m, X, y: m.predict(np.zeros((0, 3, 4))), r"samples of shape \(6,\), got \(3, 4\)"),
        (lambda m, X, y: m.fit(X, y, sample_weight="abc"), "sample_weight must hold real numbers"),
        (lambda m, X, y: m.fit(X, y, validation_data=X), "validation_data must be a tuple"),
        (lambda m, X, y: m.fit(X, y, validation_data=(X[:, :3], y)), "samples of the shape of X"),
        (lambda m, X, y: m.fit(X, y, validation_data=(X, y + 9)), "class numbers must be 0 to 2"),
        (lambda m, X, y: m.fit(X, y, callbacks=[3]), "callbacks must be a list of fastdnn callbacks or functions"),
        (lambda m, X, y: m.build(3.0), "input_shape must be an integer"),
        (lambda m, X, y: m.build(None), "input_shape must be an integer"),
        (lambda m, X, y: Model([layers.Dense(1)]).gradients, "call fit"),
        (lambda m, X, y: Model([layers.Dense(1)], dtype="foo"), "dtype must be one of"),
        (lambda m, X, y: Model([layers.Dense(1)], dtype=None), "dtype must be one of"),
        (lambda m, X, y: setattr(m, "params", np.zeros(3)), "params has shape"),
        (lambda m, X, y: setattr(m, "optimizer", "addam"), "optimizer must be"),
        (lambda m, X, y: setattr(m, "loss", "mse"), "loss must be"),
        (lambda m, X, y: setattr(m, "layers", [layers.Dense(4000)]), "must have the same parameters"),
        (lambda m, X, y: m.weights.update({"0.dense.bias": np.zeros(3)}), "has shape"),
        (lambda m, X, y: m.evaluate(X[:0], y[:0]), "no samples"),
        (lambda m, X, y: setattr(Model([layers.Dense(1)]), "layers", [3]), "layers must be a list"),
        (lambda m, X, y: m.weights.__setitem__("0.dense.bias", np.zeros(3)), "has shape"),
        (lambda m, X, y: m.predict([["a"] * 6]), "X must hold real numbers"),
        (lambda m, X, y: m.fit(X, y[:-1]), "one target for each of the 50 samples"),
        (lambda m, X, y: m.fit(X, y, epochs=0), "epochs must be an integer >= 1, got 0"),
        (lambda m, X, y: m.fit(X, y, batch_size=2.0), "batch_size must be an integer"),
        (lambda m, X, y: m.fit(X, y, sample_weight=np.ones(3)), r"sample_weight must have shape \(50,\), got \(3,\)"),
        (lambda m, X, y: m.fit(X, y, sample_weight=-np.ones(50)), "sample_weight must be finite and not negative"),
        (lambda m, X, y: m.fit(np.where(X > 2, np.nan, X), y), "Input X contains NaN"),
        (lambda m, X, y: m.fit(np.where(X > 2, np.inf, X), y), "Input X contains infinity"),
        (lambda m, X, y: fastdnn.set_num_threads(0), "n_threads must be an integer >= 1, got 0"),
    ],
)
def test_errors_say_what_to_do(call, message):
    X, y = data()
    model = network()
    before = model.params.copy()
    with pytest.raises(ValueError, match=message):
        call(model, X, y)
    np.testing.assert_array_equal(model.params, before)


def test_a_batch_of_zero_weight_teaches_nothing():
    X, y = data()
    w = np.ones(50)
    w[:10] = 0
    one, two = network(optimizer="sgd"), network(optimizer="sgd")
    one.fit(X, y, sample_weight=w, batch_size=10, shuffle=False)
    two.fit(X[10:], y[10:], batch_size=10, shuffle=False)
    np.testing.assert_array_equal(one.params, two.params)


def test_what_memory_is_laid_out_from_can_be_assigned_safely():
    X, y = data()
    model = network(optimizer="sgd")
    model.fit(X, y)
    model.optimizer = optimizers.Adam()
    assert model.fit(X, y, epochs=30)["loss"][-1] < 1.2
    params = model.params
    model.params = model.params - np.float64(0.0)
    assert model.params is params
    model.weights["0.dense.bias"] = np.full(20, 0.5)
    assert (model.weights["0.dense.bias"] == 0.5).all()
    before = model.predict(X)
    model.layers = [layers.Dense(20, activation="relu"), *model.layers[1:]]
    assert not np.array_equal(model.predict(X), before)
    model.evaluate(X, y)
    model.loss = "log_loss"
    np.testing.assert_allclose(model.predict(X), 1 / (1 + np.exp(-model.forward(X))), rtol=1e-12)
    with pytest.raises(AttributeError, match=r"Dense.units is fixed; make a new Dense"):
        model.layers[0].units = 4000


def test_a_failed_fit_changes_nothing():
    X, y = data()
    model = Model([layers.Dense(3)], loss="cross_entropy")
    with pytest.raises(ValueError, match="class numbers"):
        model.fit(np.zeros((50, 20)), y + 5)
    model.fit(X, y)


def test_predict_nothing():
    assert network().predict(np.zeros((0, 6))).shape == (0, 3)


def test_diverging_with_validation_data_keeps_the_history():
    X, y = data()
    model = network((), 1, "squared_error", optimizer=optimizers.SGD(1e6))
    with pytest.warns(RuntimeWarning, match="training stopped"):
        history = model.fit(X, y.astype(float), epochs=200, batch_size=10, validation_data=(X, y))
    assert len(history["loss"]) > 1
    model.params = np.nan * model.params
    assert np.isnan(model.evaluate(X, y)["r2"])
    for key, weight in model.weights.items():
        model.weights[key] = np.full(weight.shape, 0.1)
    model.optimizer = optimizers.SGD(1e-3)
    assert np.isfinite(model.fit(X, y, epochs=2)["loss"]).all()
    assert np.isfinite(model.params).all()


def test_an_epsilon_too_small_for_the_float_type():
    X, y = data(dtype="float32")
    X[:, 2] = 0
    model = network(dtype="float32", optimizer=optimizers.Adam(epsilon=1e-60))
    model.fit(X, y, epochs=2)
    assert np.isfinite(model.params).all()


def test_absurd_thread_counts_are_harmless():
    X, y = data()
    with fastdnn.config_context(n_threads=10**9):
        network().fit(X, y)


def test_building_anew_while_predicting_or_training():
    X, y = data()
    model = network()
    with pytest.raises(RuntimeError, match="were changed while it was being trained"):
        model.fit(X, y, epochs=2, callbacks=[lambda model, history: model.build(6) and False])


def test_same_as_pytorch():
    torch = pytest.importorskip("torch")
    X, y = data(64, 9, 4)
    model = network((30, 20), 4, features=9, optimizer=optimizers.SGD(0.1, 0.9))
    peers = [torch.tensor(w, requires_grad=True) for w in model.weights.values()]
    optimizer = torch.optim.SGD(peers, lr=0.1, momentum=0.9)

    def forward():
        x = torch.tensor(X)
        for i in range(0, 6, 2):
            x = x @ peers[i] + peers[i + 1]
            x = torch.tanh(x) if i < 4 else x
        return x

    np.testing.assert_allclose(model.forward(X), forward().detach(), rtol=1e-9, atol=1e-12)
    run = model.bind(X, y, batch_size=64)
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(forward(), torch.tensor(y))
        ours, _ = model.loss_and_grad(X, y)
        optimizer.zero_grad()
        loss.backward()
        assert ours == pytest.approx(loss.item(), rel=1e-9)
        for g, p in zip(model.gradients.values(), peers, strict=True):
            np.testing.assert_allclose(g, p.grad, rtol=1e-8, atol=1e-13)
        optimizer.step()
        run.epoch()
    for w, p in zip(model.weights.values(), peers, strict=True):
        np.testing.assert_allclose(w, p.detach(), rtol=1e-8, atol=1e-12)


def test_no_memory_grows_with_the_epochs():
    import tracemalloc

    X, y = data(2000, 20)
    model = network((50,), features=20)
    run = model.bind(X, y, batch_size=100)
    with fastdnn.config_context(n_threads=1):  # tables for another number of threads are made when it is first used
        run.epoch()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(50):
            run.epoch()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert grown < 20_000


def test_prediction_memory_does_not_grow_with_the_rows(monkeypatch):
    import tracemalloc

    # The first call takes all threads, and makes what they need.
    monkeypatch.setattr(ThreadChoice, "next", lambda choice: (choice.most, 0.1))
    model = network((512, 512), features=20)
    peaks = []
    for rows in (2_000, 40_000):
        X = np.zeros((rows, 20))
        model.predict(X)
        tracemalloc.start()
        model.predict(X)
        peaks.append(tracemalloc.get_traced_memory()[1] - rows * 3 * 8)
        tracemalloc.stop()
    assert abs(peaks[1] - peaks[0]) < 100_000


def test_warnings_stay_away():
    X, y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network().fit(X, y)
