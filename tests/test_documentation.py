"""Public names: docstrings with formula, reference and example, type hints that resolve."""

import inspect
import typing

import pytest

import fastdnn


def test_public_names_are_documented():
    for name in fastdnn.__all__:
        thing = getattr(fastdnn, name)
        assert thing.__doc__, name
        for member in getattr(thing, "__all__", [m for m in dir(thing) if not m.startswith("_")]):
            value = getattr(thing, member, None)
            assert not callable(value) or value.__doc__, f"{name}.{member}"


TABLES = {
    "layers": fastdnn.layers.LAYERS,
    "activations": {name: type(f) for name, f in fastdnn.layers.ACTIVATIONS.items()},
    "initializers": fastdnn.initializers.INITIALIZERS,
    "losses": fastdnn.losses.LOSSES_TABLE,
    "optimizers": fastdnn.optimizers.OPTIMIZERS,
    "schedules": fastdnn.schedules.SCHEDULES,
}


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, names in TABLES.items() for name in names])
def test_every_name_of_a_table_has_formula_reference_and_example(table, name):
    doc = TABLES[table][name].__doc__  # the examples are run as doctests
    assert ">>> " in doc
    assert "Reference" in doc
    assert any(sign in doc.split("Examples")[0] for sign in "=^(<-|") or table in ("layers", "activations", "initializers")


@pytest.mark.parametrize("name", ["Model", "MLPClassifier", "MLPRegressor", "DNNClassifier", "DNNRegressor"])
def test_public_methods_have_type_hints_that_resolve(name):
    cls = getattr(fastdnn, name)
    found = {n: f for n, f in inspect.getmembers(cls, inspect.isfunction) if f.__module__.startswith("fastdnn")}
    public = {n: inspect.unwrap(f) for n, f in found.items() if not n.startswith("_") or n == "__init__"}
    internal = {
        "check",
        "clear_padding",
        "go_back",
        "history_keys",
        "keep_best",
        "make_writable",
        "predict_plain",
        "restore_best",
    }
    for method, function in public.items():
        if method not in internal:
            hints = typing.get_type_hints(function)
            assert {*inspect.signature(function).parameters, "return"} - {"self"} <= hints.keys(), method
