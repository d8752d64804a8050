"""scikit-learn's own test file for its MLP, verbatim, with the two class names replaced before it is imported."""

import importlib
import sys

import pytest
import sklearn.neural_network

import fastdnn

NAMES = ("MLPClassifier", "MLPRegressor")
FILE = "sklearn.neural_network.tests.test_mlp"

originals = {name: getattr(sklearn.neural_network, name) for name in NAMES}
sys.modules.pop(FILE, None)
try:
    for name in NAMES:
        setattr(sklearn.neural_network, name, getattr(fastdnn, name))
    module = importlib.import_module(FILE)
finally:
    for name, original in originals.items():
        setattr(sklearn.neural_network, name, original)
    sys.modules.pop(FILE, None)

globals().update({name: test for name, test in vars(module).items() if name.startswith("test_")})

# scikit-learn's own run does not turn these into errors; everything else stays one.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_the_file_tests_fastdnn():
    assert module.MLPClassifier is fastdnn.MLPClassifier
    assert module.MLPRegressor is fastdnn.MLPRegressor
    assert sum(name.startswith("test_") for name in vars(module)) > 40
