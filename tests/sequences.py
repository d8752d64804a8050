"""Networks and data that the tests of sequences share."""

import numpy as np

from fastdnn import Model, layers

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
