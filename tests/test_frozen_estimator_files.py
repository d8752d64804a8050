"""Files of frozen estimators: in a process that has just started, and hostile ones."""

import json
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from mixed_table import fitted
from quick_predictors import python
from test_frozen_estimators import CLASSIFIERS, REGRESSORS, made

from fastdnn import ModelFormatError, TabularRegressor
from fastdnn.frozen.estimators import FrozenClassifier
from fastdnn.frozen.tables import FrozenTable
from fastdnn.predictor import QuickPredictor, load
from fastdnn.saving.container import checksum

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PROCESS = """
import sys
import numpy as np
from fastdnn.predictor import load
for path in sys.argv[1:]:
    data, found = np.load(path + ".npz"), load(path)
    assert type(found.predictor).__name__ == "QuickPredictor", path
    np.testing.assert_array_equal(found.predict(data["X"]), data["labels"])
    if hasattr(found, "classes_"):
        np.testing.assert_array_equal(found.predict_proba(data["X"]), data["p"])
print(*{name for name in ("numba", "scipy", "sklearn", "fastdnn.model") if name in sys.modules})
"""


def test_a_new_process_needs_neither_numba_nor_scikit_learn(tmp_path):
    cases = [(CLASSIFIERS, name) for name in ("strings", "booleans", "labels", "ids", "images")] + [(REGRESSORS, "several")]
    paths = [tmp_path / f"{number}.fdnn" for number in range(len(cases))]
    for path, (of_kind, name) in zip(paths, cases, strict=True):
        estimator, samples, _ = made(of_kind, name)
        frozen = estimator.freeze()
        frozen.save(path)
        load(path)  # which keeps what the next process needs
        p = frozen.predict_proba(samples) if of_kind is CLASSIFIERS else ()
        np.savez(f"{path}.npz", X=samples, labels=frozen.predict(samples), p=p)
    assert python(PROCESS, *map(str, paths)) == ""
    again = load(paths[0])
    assert type(again.predictor) is QuickPredictor
    estimator, samples, _ = made(*cases[0])
    again.save(tmp_path / "again.fdnn")
    for each in (again, load(tmp_path / "again.fdnn"), pickle.loads(pickle.dumps(again))):
        np.testing.assert_array_equal(each.predict(samples), estimator.predict(samples))
    sparse = scipy.sparse.csr_matrix(samples)
    np.testing.assert_array_equal(again.predict(sparse), estimator.predict(samples))


OF_FRAMES = """
import sys, warnings
import numpy as np
from fastdnn.predictor import load
data, found = np.load(sys.argv[1] + ".npz"), load(sys.argv[1])
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    np.testing.assert_array_equal(found.predict(data["X"]), data["labels"])
print(*(str(warning.message) for warning in said))
import pandas as pd
frame = pd.DataFrame(data["X"], columns=found.feature_names_in_)
warnings.simplefilter("error")
np.testing.assert_array_equal(found.predict(frame), data["labels"])
np.testing.assert_array_equal(found.predict(frame.astype({"b": "float64"})), data["labels"])
print(*{name for name in ("numba", "scipy", "sklearn", "fastdnn.model") if name in sys.modules})
try:
    found.predict(frame[frame.columns[::-1]])
except ValueError as error:
    print("same order" in str(error))
"""


def test_frames_need_no_scikit_learn_either(tmp_path):
    estimator, samples, _ = made(CLASSIFIERS, "strings")
    frame = pd.DataFrame(samples, columns=list("abcdef"))
    frozen = estimator.fit(frame, estimator.predict(samples)).freeze()
    frozen.save(tmp_path / "e.fdnn")
    load(tmp_path / "e.fdnn")
    np.savez(tmp_path / "e.fdnn.npz", X=samples, labels=frozen.predict(frame))
    said, imported, refused = python(OF_FRAMES, str(tmp_path / "e.fdnn")).split("\n")
    assert said == "X does not have valid feature names, but FrozenClassifier was fitted with feature names"
    assert (imported, refused) == ("", "True")


def changed(path, change):
    """The file with its settings, as a dict, changed by a function, and a checksum that fits."""
    data = path.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    header, payload = json.loads(data[8 : 8 + n]), data[8 + n :]
    settings = json.loads(header["__metadata__"]["predictor"])
    change(settings)
    header["__metadata__"]["predictor"] = json.dumps(settings)
    digest = checksum(header["__metadata__"])
    digest.update(payload)
    header["__metadata__"]["sha256"] = digest.hexdigest()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)


NO_LABELS = {"dtype": "O", "values": []}
WRONG = {"kind": "pickle", "samples": 3, "names": ["a"], "task": "binary", "scored": "yes", "classes": NO_LABELS}


@pytest.mark.parametrize("name", WRONG)
def test_hostile_settings(name, tmp_path):
    estimator, *_ = made(CLASSIFIERS, "several")
    estimator.freeze().save(tmp_path / "e.fdnn")
    changed(tmp_path / "e.fdnn", lambda settings: settings["estimator"].update({name: WRONG[name]}))
    with pytest.raises(ModelFormatError):
        load(tmp_path / "e.fdnn")


def test_more_outputs_than_there_is_memory_for(tmp_path):
    estimator, *_ = made(CLASSIFIERS, "several")
    estimator.freeze().save(tmp_path / "e.fdnn")
    changed(tmp_path / "e.fdnn", lambda settings: settings["layers"][-1].update(units=1 << 50))
    with pytest.raises(ModelFormatError, match="wider"):
        load(tmp_path / "e.fdnn")


OF_CLASSES = [
    {"dtype": "int8", "values": [1, 2, 300]},
    {"dtype": "int64", "values": [1, 2, "3"]},
    {"dtype": "object", "values": [[], 1, 2]},
    {"dtype": "str", "values": ["a", "b"]},
    {"dtype": ["int8"], "values": [1, 2, 3]},
    [1, 2, 3],
    None,
]


@pytest.mark.parametrize("classes", OF_CLASSES)
def test_hostile_classes(classes, tmp_path):
    estimator, *_ = made(CLASSIFIERS, "several")
    estimator.freeze().save(tmp_path / "e.fdnn")
    changed(tmp_path / "e.fdnn", lambda settings: settings["estimator"].update(classes=classes))
    with pytest.raises(ModelFormatError):
        load(tmp_path / "e.fdnn")


def mutants(value, rng):
    """The JSON value with one of its parts replaced."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        return {k: v for k, v in value.items() if k != key} if rng.random() < 0.2 else value | {key: mutants(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.integers(len(value))
        return [*value[:place], mutants(value[place], rng), *value[place + 1 :]]
    return [None, -1, 1e300, "x", [], {}, True, [1.5], 10**30][rng.integers(9)]


def test_hostile_tables():
    estimator, table, _ = fitted(TabularRegressor, 150, epochs=2, quantiles=(0.1, 0.9))
    frozen = estimator.freeze().predictor
    plain, rng, refused = json.loads(json.dumps(frozen.plain())), np.random.default_rng(0), 0
    for _ in range(300):
        try:
            each = FrozenTable.of_plain(frozen.predictors, mutants(plain, rng))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError):
            refused += 1
            continue
        try:
            assert each.predict(table).shape == (150, 2)
        except ValueError:  # of a column that the table has not
            refused += 1
    assert refused > 100


OF_NETWORKS = {
    "none": lambda settings: settings.update(networks=[]),
    "no list": lambda settings: settings.update(networks={"0": settings["networks"][0]}),
    "one less": lambda settings: settings["networks"].pop(),
    "one more": lambda settings: settings["networks"].append(settings["networks"][0]),
    "no settings": lambda settings: settings["networks"].append(3),
    "one that is later": lambda settings: settings["networks"].insert(0, 1),
    "one that is none": lambda settings: settings["networks"].append(-1),
    "other layers": lambda settings: settings["networks"][0].update(layers=[{"type": "Dense", "units": 1}]),
    "another shape": lambda settings: settings["networks"][0].update(input_shape=[3]),
    "another estimator": lambda settings: settings["estimator"].update(names=["a", "b"]),
    "single": lambda settings: settings.update(settings.pop("networks")[0]),
}


@pytest.mark.parametrize("name", OF_NETWORKS)
def test_hostile_networks_of_tables(name, tmp_path):
    estimator, table, _ = fitted(TabularRegressor, 60, epochs=1, n_models=2)
    estimator.freeze().save(tmp_path / "e.fdnn")
    assert load(tmp_path / "e.fdnn").predict(table).shape == (60,)
    changed(tmp_path / "e.fdnn", OF_NETWORKS[name])
    with pytest.raises(ModelFormatError):
        load(tmp_path / "e.fdnn")


def test_a_wide_table_of_many_networks(tmp_path):
    X = np.random.default_rng(0).standard_normal((60, 700))
    settings = {"epochs": 1, "n_models": 8, "n_bins": (48, 0), "hidden_layer_sizes": (4,), "random_state": 0}
    estimator = TabularRegressor("fast", **settings).fit(X, X[:, 0])
    estimator.freeze().save(tmp_path / "e.fdnn")
    np.testing.assert_allclose(load(tmp_path / "e.fdnn").predict(X), estimator.predict(X), rtol=1e-6)


def test_labels_that_are_strings_of_numpy(tmp_path):
    estimator, *_ = made(CLASSIFIERS, "several")
    names = np.array([np.str_(name) for name in "abc"], object)
    FrozenClassifier(estimator.freeze().predictor, names, "multiclass").save(tmp_path / "e.fdnn")
    assert load(tmp_path / "e.fdnn").classes_.tolist() == ["a", "b", "c"]


def test_labels_that_no_file_has(tmp_path):
    estimator, *_ = made(CLASSIFIERS, "several")
    frozen = FrozenClassifier(estimator.freeze().predictor, np.array([b"a", b"b", b"c"]), "multiclass")
    with pytest.raises(ValueError, match="strings or numbers"):
        frozen.save(tmp_path / "e.fdnn")
    assert not list(tmp_path.iterdir())
