"""Snapshots of predictors: what is kept, what is not used, what there are none of."""

import os
import time

import llvmlite.binding as llvm
import numpy as np
import pytest
from frozen_networks import network
from quick_predictors import forget, kept, python, quick, saved

from fastdnn import Model, _cache, layers
from fastdnn._stamp import host_target, package_stamp
from fastdnn.frozen import Predictor, loading
from fastdnn.layers import ActivationFunction
from fastdnn.predictor import QuickPredictor, load
from fastdnn.quick import files, keeping, linking, relocations, taking
from fastdnn.quick.symbols import symbols


@pytest.mark.parametrize("damage", ["cut off", "a bit", "empty", "nonsense", "of another version"])
def test_damaged_and_stale_ones_are_made_again(tmp_path, damage, monkeypatch):
    path, made, X = saved(tmp_path)
    quick(path)
    content = bytearray(kept(path).read_bytes())
    content[len(content) // 2] ^= 4
    new = {"cut off": content[: len(content) // 2], "a bit": content, "empty": b"", "nonsense": os.urandom(5000)}
    if damage in new:
        kept(path).write_bytes(new[damage])
    else:
        header, blobs = files.read(kept(path))
        blobs.pop(0)
        kept(path).write_bytes(files.as_file(header | {"made_by": ["0.0", package_stamp()]}, blobs))
    found = load(path)
    assert type(found) is Predictor
    np.testing.assert_array_equal(found.predict(X), made.predict(X))
    assert type(load(path)) is QuickPredictor


def test_what_has_ended_a_process_is_not_used_again(tmp_path):
    path, made, X = saved(tmp_path)
    forget(path)
    assert type(load(path)) is Predictor
    os.rename(kept(path, keeping.NEW), kept(path, keeping.TRIED))  # as a process leaves it that does not come back
    for _ in range(2):
        found = load(path)
        assert type(found) is Predictor
        np.testing.assert_array_equal(found.predict(X), made.predict(X))


def test_a_symbol_that_there_is_not(tmp_path):
    path, *_ = saved(tmp_path)
    quick(path)
    header, blobs = files.read(kept(path))
    name = next(iter(header["codes"]))
    with pytest.raises(LookupError, match="no_such_symbol"):
        linking.addresses("other", {name: blobs[header["codes"][name]]}, b"", [*header["needs"], "no_such_symbol"])


@pytest.mark.parametrize("limit", [("KEPT", 3), ("MOST_KEPT", 1600)])
def test_the_oldest_make_room(tmp_path, monkeypatch, limit):
    for i in range(5):
        (tmp_path / f"{i}.ready").write_bytes(bytes(200))
        os.utime(tmp_path / f"{i}.ready", (i, i))
    for name, age in (("killed", 4000), ("at work", 0)):
        (tmp_path / (name + keeping.TEMPORARY)).write_bytes(b"")
        os.utime(tmp_path / (name + keeping.TEMPORARY), 2 * (time.time() - age,))
    monkeypatch.setattr(keeping, *limit)
    monkeypatch.setattr(keeping, "folders", lambda: [tmp_path])
    keeping.keep("name", {}, [np.zeros(600, np.uint8)])
    assert {p.name for p in tmp_path.iterdir()} == {"3.ready", "4.ready", "name.new", "at work" + keeping.TEMPORARY}
    monkeypatch.setattr(keeping, *({"MOST_KEPT": 1}.popitem()))
    keeping.keep("large", {}, [np.zeros(5, np.uint8)])
    assert (tmp_path / "large.new").exists()


def test_where_the_preferred_folder_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    folders = [tmp_path / "file" / "version", tmp_path / "home" / "version"]
    monkeypatch.setattr(keeping, "folders", lambda: folders)
    path, made, X = saved(tmp_path)
    assert type(load(path)) is Predictor
    found = load(path)
    assert type(found) is QuickPredictor
    np.testing.assert_array_equal(found.predict(X), made.predict(X))
    assert [p.parent for p in tmp_path.rglob("*.ready")] == [folders[1]]


def test_a_file_that_is_replaced_while_it_is_read(tmp_path, monkeypatch):
    wide, dense = (saved(tmp_path, name)[0].rename(tmp_path / name) for name in ("wide", "dense"))
    forget(wide)
    forget(dense)
    read, (model, X) = loading.read, network("dense")

    def then_replaced(make_model, path):
        found = read(make_model, path)
        dense.replace(path)
        return found

    monkeypatch.setattr(loading, "read", then_replaced)
    load(wide)
    monkeypatch.setattr(loading, "read", read)
    assert not kept(wide, keeping.NEW).exists()
    np.testing.assert_array_equal(load(wide).predict(X), model.freeze().predict(X))


def test_no_cache_no_snapshot(tmp_path):
    path, *_ = saved(tmp_path)
    quick(path)
    code = "import sys; from fastdnn.quick.keeping import find; print(find(sys.argv[1]) is None)"
    assert python(code, str(path), FASTDNN_CACHE="0") == "True"
    assert python(code, str(path), NUMBA_CPU_NAME="generic") == "True"
    assert python(code, str(path)) == "False"


def test_what_numba_compiles_for_is_known_without_it():
    assert host_target() == _cache.numba_target()
    code = (
        "from fastdnn._stamp import host_target as h; import sys; t = h(); assert 'numba' not in sys.modules; "
        "from fastdnn._cache import numba_target as n; print(t == n(), t[2][:1])"
    )
    settings = [
        {"NUMBA_CPU_NAME": "generic"},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse4.2"},
        {"NUMBA_ENABLE_AVX": "0"},
    ]
    for setting in settings:
        assert python(code, **setting).split()[0] == "True"


# ---------------------------------------------------------------- what there is no snapshot of


class Mine(ActivationFunction):
    """x + x."""

    def forward(x):
        return x + x

    def derivative(y):
        return y * 0.0 + 2.0


class MyDense(layers.Dense):
    """Somebody's."""


@pytest.mark.parametrize("part", [layers.Dense(3, activation=Mine()), MyDense(3)])
def test_parts_of_users(part):
    model = Model([layers.Dense(4), part], random_state=0).build(3)
    network = model._built()
    with pytest.raises(relocations.Refused):
        taking.take(network, network.loss.link_for(3), {})


@pytest.mark.parametrize(
    ("address", "said"), [(lambda: 0x7F0012345678, "nobody knows"), (lambda: id(object()), "nobody knows")]
)
def test_a_number_that_cannot_be_explained(address, said, monkeypatch):
    emit, kept_here = layers.Dense.emit, []

    def and_more(self, op, builder):
        emit(self, op, builder)
        kept_here.append(np.zeros(1))  # an array that no program keeps
        op.touched = address() if len(kept_here) < 2 else address() + 8 * len(kept_here) * (address() < 1 << 46)

    monkeypatch.setattr(layers.Dense, "emit", and_more)
    network = Model([layers.Dense(4)], random_state=0).build(3)._built()
    with pytest.raises(relocations.Refused, match="nobody knows of what"):
        relocations.bound(network, network.loss.link_for(4), "float", False)


OBJECT = """
@common = common global ptr null
@missing_number = external global ptr
declare void @missing(ptr)
define internal void @hidden() noinline { %p = load ptr, ptr @common
 call void @missing(ptr %p)
 %q = load ptr, ptr @missing_number
 call void @missing(ptr %q)
 ret void }
define linkonce_odr void @weak() noinline { call void @hidden()
 ret void }
define void @strong() { call void @weak()
 ret void }
"""


@pytest.mark.parametrize(
    "triple",
    ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "arm64-apple-macosx13.0.0", "x86_64-apple-macosx13.0.0"],
)
def test_symbols_of_object_files(triple):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(OBJECT)
    machine = llvm.Target.from_triple(triple).create_target_machine()
    module.triple, module.data_layout = triple, str(machine.target_data)
    code = machine.emit_object(module)
    assert symbols(code) == ({"common", "weak", "strong"}, {"missing", "missing_number"})
    for n in (3, 40, len(code) // 2):
        with pytest.raises(ValueError, match="object"):
            symbols(code[:n])
