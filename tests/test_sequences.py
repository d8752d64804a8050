"""Recurrent layers beside PyTorch: scores, loss, gradients, steps; initial weights."""

import naive
import numpy as np
import pytest
from goldens import from_pytorch
from sequences import CELLS, FEATURES, LENGTHS, STEPS, model_and_data, stack

from fastdnn import Model, layers, optimizers


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
