"""Weights of recurrent layers and embeddings from a PyTorch state_dict."""

import itertools

import numpy as np
import pytest
from test_torch_weights import linear, normal, refused, save

from fastdnn import Model, layers

KINDS = {"LSTM": (layers.LSTM, 4), "GRU": (layers.GRU, 3), "RNN": (layers.SimpleRNN, 1)}


def recurrent(name, kind, n_in, units, number=1, both=False, bias=True):
    """The tensors of a torch.nn.LSTM, GRU or RNN."""
    columns, found = KINDS[kind][1] * units, {}
    for k, end in itertools.product(range(number), ("", "_reverse") if both else ("",)):
        width = n_in if k == 0 else units * (1 + both)
        found[f"{name}.weight_ih_l{k}{end}"] = normal(columns, width)
        found[f"{name}.weight_hh_l{k}{end}"] = normal(columns, units)
        if bias:
            found |= {f"{name}.bias_{side}_l{k}{end}": normal(columns) for side in ("ih", "hh")}
    return found


def layer(kind, units, both=False, **settings):
    made = KINDS[kind][0](units, return_sequences=True, **settings)
    return layers.Bidirectional(made) if both else made


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_where(kind, both, tmp_path):
    tensors = recurrent("rnn", kind, 3, 4, 2, both) | linear("out", 4 * (1 + both), 2)
    model = Model([layer(kind, 4, both), layer(kind, 4, both), layers.Dense(2)]).build((5, 3))
    model.load_weights(save(tmp_path / "m", tensors), layout="torch")
    name = model.layers[0].name
    for k, (prefix, end) in itertools.product(
        range(2), (("forward_", ""), ("backward_", "_reverse")) if both else (("", ""),)
    ):
        own = {key.removeprefix(f"{k}.{name}.{prefix}"): w for key, w in model.weights.items() if key.startswith(f"{k}.")}
        np.testing.assert_array_equal(own["kernel"], tensors[f"rnn.weight_ih_l{k}{end}"].T)
        np.testing.assert_array_equal(own["recurrent_kernel"], tensors[f"rnn.weight_hh_l{k}{end}"].T)
        first, second = (tensors[f"rnn.bias_{side}_l{k}{end}"] for side in ("ih", "hh"))
        if kind == "GRU":
            np.testing.assert_array_equal(own["recurrent_bias"], second)
        np.testing.assert_array_equal(own["bias"], first if kind == "GRU" else second + first)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("kind", "both", "number"), [*itertools.product(KINDS, [False, True], [1, 2])])
def test_the_same_scores(kind, both, number, dtype, tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    width = 5 * (1 + both)
    rnn = getattr(nn, kind)(6, 5, number, bidirectional=both, batch_first=True)
    net = nn.ModuleDict({"ids": nn.Embedding(11, 6), "rnn": rnn, "norm": nn.LayerNorm(width), "out": nn.Linear(7 * width, 3)})
    net.to(getattr(torch, dtype))
    kinds = {name: "BF16" for name in net.state_dict()} if dtype == "bfloat16" else {}
    raw = {name: (t.view(torch.float16) if kinds else t).numpy() for name, t in net.state_dict().items()}
    net.float()
    x = torch.randint(0, 11, (4, 7))
    expected = net["out"](net["norm"](net["rnn"](net["ids"](x))[0]).flatten(1)).detach().numpy()
    steps = [layer(kind, 5, both) for _ in range(number)]
    model = Model([layers.Embedding(11, 6), *steps, layers.LayerNorm(), layers.Flatten(), layers.Dense(3)]).build(7)
    model.load_weights(save(tmp_path / "m", raw, kinds), layout="torch")
    np.testing.assert_allclose(model.predict(x.numpy()), expected, rtol=0, atol=1e-5)


def test_a_sequence_is_flattened_with_its_features_last(tmp_path):
    tensors = recurrent("rnn", "GRU", 3, 4) | linear("out", 20, 2)
    model = Model([layer("GRU", 4), layers.Flatten(), layers.Dense(2)]).build((5, 3))
    model.load_weights(save(tmp_path / "m", tensors), layout="torch")
    np.testing.assert_array_equal(model.weights["2.dense.kernel"], tensors["out.weight"].T)


def test_cells_and_layers_without_bias(tmp_path):
    tensors = recurrent("rnn", "LSTM", 3, 4, bias=False)
    model = (
        Model([layer("LSTM", 4, use_bias=False)]).build((5, 3)).load_weights(save(tmp_path / "m", tensors), layout="torch")
    )
    np.testing.assert_array_equal(model.weights["0.lstm.kernel"], tensors["rnn.weight_ih_l0"].T)
    tensors = {key.replace("_l0", "").replace("rnn", "l1"): a for key, a in recurrent("rnn", "LSTM", 3, 4).items()}
    model = Model([layer("LSTM", 4)]).build((5, 3)).load_weights(save(tmp_path / "m", tensors), layout="torch")
    np.testing.assert_array_equal(model.weights["0.lstm.kernel"], tensors["l1.weight_ih"].T)


def test_names(tmp_path):
    tensors = recurrent("b", "LSTM", 4, 4) | recurrent("a", "LSTM", 4, 4)
    path, model = save(tmp_path / "m", tensors), Model([layer("LSTM", 4), layer("LSTM", 4)]).build((5, 4))
    refused(model, path, "does not say whether 'a.l0' or 'b.l0'")
    model.load_weights(path, layout="torch", names={"0.lstm": "b.l0"})
    np.testing.assert_array_equal(model.weights["0.lstm.kernel"], tensors["b.weight_ih_l0"].T)


def test_what_does_not_fit(tmp_path):
    def check(change, match, both=False):
        tensors = recurrent("rnn", "LSTM", 3, 4, both=both)
        change(tensors)
        refused(Model([layer("LSTM", 4, both)]).build((5, 3)), save(tmp_path / "m", tensors), match)

    check(
        lambda t: t.pop("rnn.bias_hh_l0"),
        r"lacks 'rnn.bias_hh_l0' of shape \(16,\) for the layer 0.lstm; a layer .* use_bias",
    )
    check(lambda t: t.pop("rnn.bias_hh_l0_reverse"), "lacks 'rnn.bias_hh_l0_reverse'", both=True)
    check(lambda t: t.update({"rnn.weight_hr_l0": normal(2, 4)}), "no layer of the model takes 'rnn.weight_hr_l0'")
    check(lambda t: t.update({"rnn.bias_ih_l0": normal(8)}), r"'rnn.bias_ih_l0' must have shape \(16,\)")
    check(lambda t: t.update(recurrent("rnn", "LSTM", 3, 4, both=True)), "takes a module with weight_ih .* none like it left")
