"""What is imported when it is asked for may be asked for by several threads at once."""

import ast

import pytest
from quick_predictors import PACKAGE, python, quick, saved

import fastdnn
from fastdnn import MLPClassifier

START = """
import sys, threading
wrong, ready = [], threading.Barrier(8)

def run(call):
    ready.wait()
    try:
        call()
    except Exception as error:
        wrong.append(repr(error)[:200])

def at_once(calls):
    threads = [threading.Thread(target=run, args=(calls[i % len(calls)],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(wrong)
"""
NAMES = """
import fastdnn
names = "layers", "Model", "MLPClassifier", "losses", "search_space", "callbacks", "warmup", "GAN"
at_once([lambda name=name: getattr(fastdnn, name) for name in names])
"""
PREDICTORS = """
import numpy as np
from fastdnn.predictor import load
network, classifier = map(load, sys.argv[1:])
X = np.zeros((3, 31))

def refused():
    try:
        classifier.predict(X[:, :3])
    except ValueError as error:
        assert "features" in str(error)

calls = network.summary, lambda: classifier.predict(X.astype(object)), refused, lambda: classifier.score(X, ["a"] * 3)
at_once(calls)
"""


def test_names_of_the_package():
    assert python(START + NAMES) == "[]"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_predictors(tmp_path):
    path, _, X = saved(tmp_path)
    quick(path)
    classifier = tmp_path / "classifier.fdnn"
    MLPClassifier((4,), max_iter=1, random_state=0).fit(X[:30], ["a", "b", "c"] * 10).freeze().save(classifier)

    python("import sys; from fastdnn.predictor import load; load(sys.argv[1])", str(classifier))
    assert python(START + PREDICTORS, str(path), str(classifier)) == "[]"


def test_no_module_asks_for_a_public_name_while_it_is_imported():
    for path in PACKAGE.rglob("*.py"):
        depth = len(path.relative_to(PACKAGE).parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module is None and node.level == depth and path.stem != "__main__":
                assert not {name.name for name in node.names} & {*fastdnn.__all__}, path
