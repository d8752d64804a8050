"""Quantization-aware fine-tuning: what int8 costs comes back, and the predictor has the weights that were trained."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastdnn import GAN, DNNClassifier, Model, compress, layers
from fastdnn.callbacks import EarlyStopping
from fastdnn.compress.quantization import quantizable, quantize
from fastdnn.narrowing import quantized
from fastdnn.optimizers import LBFGS, SGD, Adam, AdamW, ScheduleFreeAdamW

DIGITS, NUMBERS = load_digits(return_X_y=True)
X, X_TEST, Y, Y_TEST = train_test_split((DIGITS / 16).astype("float32"), NUMBERS, random_state=0)


def accuracy(model, samples=X_TEST, numbers=Y_TEST):
    return (model.predict(samples).argmax(axis=1) == numbers).mean()


def kernels_of(predictor):
    """The kernels of a predictor of bytes, float32."""
    return [leaf.kernel_ for _, leaf in predictor.model.layout.leaves if hasattr(leaf, "kernel_")]


def badly_scaled(seed=0):
    """A network trained on the digits, with weights beside which the others are small: those of a pixel that is always 0."""
    model = Model([layers.Dense(48, "relu"), layers.Dense(10)], "cross_entropy", Adam(0.003), random_state=seed)
    model.fit(X, Y, epochs=25, batch_size=64)
    assert not X[:, 0].any()
    model.weights["0.dense.kernel"][0] = 100.0
    return model


def test_what_bytes_cost_comes_back():
    model = badly_scaled()
    before, lost = accuracy(model), accuracy(model.freeze("int8"))
    assert before > 0.96
    assert lost < before - 0.1  # all others are rounded to multiples of 0.8
    model.optimizer = Adam(0.003)
    model.fit(X, Y, epochs=25, batch_size=64, callbacks=[compress.QuantizationAware()])
    predictor = model.freeze("int8")
    assert accuracy(predictor) > before - 0.01
    assert np.abs(predictor.predict(X_TEST) - model.predict(X_TEST)).max() < 0.05
    assert (predictor.predict(X_TEST).argmax(axis=1) == model.predict(X_TEST).argmax(axis=1)).mean() > 0.99
    same = badly_scaled()
    same.optimizer = Adam(0.003)
    same.fit(X, Y, epochs=25, batch_size=64)
    assert accuracy(same.freeze("int8")) < accuracy(predictor) - 0.03  # training on without it does not help


IMAGES = np.random.default_rng(0).standard_normal((60, 6, 6, 2)).astype("float32")
SERIES = IMAGES.reshape(60, 12, 6)
NETS = {
    "dense": (X[:60], [layers.Dense(9, "relu"), layers.Dropout(0.2), layers.Dense(10)]),
    "batch norm": (X[:60], [layers.Dense(9), layers.BatchNorm(activation="relu"), layers.Dense(10)]),
    "images": (IMAGES, [layers.Conv2D(5, 3), layers.BatchNorm(activation="relu"), layers.Flatten(), layers.Dense(10)]),
    "series": (SERIES, [layers.Conv1D(5, 3, activation="relu"), layers.GlobalMaxPool1D(), layers.Dense(10)]),
    "residual": (X[:60], [layers.Residual([layers.Dense(64, "relu"), layers.Dense(64)]), layers.Dense(10)]),
    "spectral": (X[:60], [layers.Dense(9, "tanh", spectral_norm=True), layers.Dense(10)]),
    "recurrent": (SERIES, [layers.LSTM(5), layers.Dense(10)]),
}


@pytest.mark.parametrize("name", NETS)
def test_predictors_have_the_weights_that_were_trained(name):
    samples, net = NETS[name]
    model = Model(net, "cross_entropy", AdamW(0.01), random_state=0)
    model.fit(samples, Y[:60], epochs=4, batch_size=16, callbacks=[compress.QuantizationAware()])
    keys, predictor = quantizable(model), model.freeze("int8")
    assert len(keys) == len(kernels_of(predictor)) > 0
    for key, kernel in zip(keys, kernels_of(predictor), strict=True):
        mine = model.weights[key]
        codes, scale = quantized(mine)
        np.testing.assert_allclose(codes * scale, mine, rtol=1e-6, atol=1e-9)
        assert np.abs(codes).max(axis=tuple(range(codes.ndim - 1))).min() == 127
        # Batch norm and spectral norm multiply a column of the kernel as a whole.
        np.testing.assert_array_equal(np.abs(quantized(kernel)[0]), np.abs(codes))
    before = model.params.copy()
    quantize(model)
    np.testing.assert_allclose(model.params, before, rtol=2e-7)


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.01), AdamW(0.01, weight_decay=0.01)])
def test_steps_are_those_of_the_straight_through_estimator(optimizer):
    """The optimizer's own steps with gradients at the rounded weights, applied to the masters one after the other."""

    def network():
        return Model([layers.Dense(7, "tanh"), layers.Dense(10)], "cross_entropy", optimizer, "float64", 0).build(64)

    model, naive = network(), network()
    model.fit(X, Y, epochs=1, batch_size=300, shuffle=False, callbacks=[compress.QuantizationAware()])
    masters = naive.params.copy()
    for lo in range(0, len(X), 300):
        naive.params[...] = masters
        quantize(naive)
        rounded = naive.params.copy()
        naive.train_on_batch(X[lo : lo + 300], Y[lo : lo + 300])
        masters += naive.params - rounded
    naive.params[...] = masters
    quantize(naive)
    np.testing.assert_allclose(model.params, naive.params, rtol=1e-9, atol=1e-12)
    assert np.abs(masters - naive.params).max() > 1e-4  # which the rounding has moved


def test_weights_that_move_by_less_than_a_step_are_not_lost():
    model = Model([layers.Dense(1, use_bias=False)], optimizer=SGD(5e-3), random_state=0).build(2)
    model.weights["0.dense.kernel"] = [[1.0], [0.5]]
    samples = np.stack([np.zeros(64), np.linspace(-1, 1, 64)], axis=1)
    model.fit(samples, 0.6 * samples[:, 1], epochs=400, batch_size=8, callbacks=[compress.QuantizationAware()])
    # From 64/127 to 76/127, while a step of the optimizer is at most 2e-4.
    np.testing.assert_allclose(model.weights["0.dense.kernel"][:, 0], [1, 76 / 127], atol=0.012)


def test_the_rounding_may_begin_later():
    seen = []
    model = Model([layers.Dense(4, "relu"), layers.Dense(10)], "cross_entropy", random_state=0)

    def look(model, history):
        codes, scale = quantized(model.weights["0.dense.kernel"])
        seen.append(bool(np.allclose(codes * scale, model.weights["0.dense.kernel"], atol=1e-7)))

    model.fit(X, Y, epochs=6, batch_size=100, callbacks=[compress.QuantizationAware(start=0.5), look])
    assert seen == [False, False, True, True, True, True]  # after half of the steps: at the end of the third epoch


def test_best_weights_are_rounded_ones():
    model = Model([layers.Dense(16, "relu"), layers.Dense(10)], "cross_entropy", Adam(0.02), random_state=0)
    callbacks = [EarlyStopping("val_loss", 3), compress.QuantizationAware()]
    model.fit(X, Y, epochs=40, validation_data=(X_TEST, Y_TEST), callbacks=callbacks)
    assert model.history.restored is not None
    assert model.evaluate(X_TEST, Y_TEST)["loss"] == pytest.approx(min(model.history["val_loss"]), rel=1e-5)
    codes, scale = quantized(model.weights["0.dense.kernel"])
    np.testing.assert_allclose(codes * scale, model.weights["0.dense.kernel"], rtol=1e-6, atol=1e-9)


def test_masks_hold():
    model = Model([layers.Dense(32, "relu"), layers.Dense(10)], "cross_entropy", Adam(0.01), random_state=0)
    model.fit(X, Y, epochs=2)
    compress.prune(model, 0.8)
    pruned = model.weights["0.dense.kernel"] == 0
    model.fit(X, Y, epochs=3, callbacks=[compress.QuantizationAware()])
    assert pruned.mean() > 0.79
    assert not model.weights["0.dense.kernel"][pruned].any()


@pytest.mark.parametrize("first", [0, 1])
def test_what_is_pruned_meanwhile_stays_so(first):
    """Columns of which all is pruned have no large weight beside which what is left of a rounding would be nothing."""
    model, held = Model([layers.Dense(64, "relu"), layers.Dense(10)], "cross_entropy", Adam(0.01), random_state=0), []
    both = [compress.MagnitudePruning(0.95, every=3), compress.QuantizationAware()]
    model.fit(X[:, :12], Y, epochs=4, callbacks=[both[first], both[1 - first], lambda model, _: held.append(cleared(model))])
    assert all(held)
    assert compress.sparsity(model)["all"] > 0.94


def cleared(model):
    return model.mask is None or not model.params[model.mask == 0].any()


def test_in_estimators():
    quantizing = compress.QuantizationAware()
    clf = DNNClassifier(hidden_layer_sizes=(32,), epochs=12, callbacks=[quantizing], random_state=0).fit(X, Y)
    assert abs(clf.freeze("int8").score(X_TEST, Y_TEST) - clf.score(X_TEST, Y_TEST)) < 0.01


@pytest.mark.parametrize("optimizer", [LBFGS(), ScheduleFreeAdamW()])
def test_optimizers_that_do_not_fit(optimizer):
    with pytest.raises(ValueError, match="of single steps from its weights"):
        Model([layers.Dense(10)], "cross_entropy", optimizer).fit(X, Y, callbacks=[compress.QuantizationAware()])


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="start must be a number in"):
        compress.QuantizationAware(1.0)
    with pytest.raises(ValueError, match="needs a Dense or convolutional layer"):
        Model([layers.Scale()], optimizer="sgd").fit(X, X, callbacks=[compress.QuantizationAware()])
    pair = GAN([layers.Dense(4)], [layers.Dense(1)], latent=4)
    with pytest.raises(ValueError, match="single networks"):
        pair.fit(X[:, :4], epochs=1, callbacks=[compress.QuantizationAware()])
