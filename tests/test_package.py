"""The names of the package, which are imported when they are asked for."""

import pytest
from quick_predictors import python

import fastdnn


def test_import_fastdnn_imports_nothing_until_a_name_is_asked_for():
    code = "import sys, fastdnn; print([m for m in sys.modules if m.startswith(('fastdnn.', 'numpy', 'numba'))])"
    assert python(code) == "[]"
    code = "import fastdnn; fastdnn.layers.Dense(3); from fastdnn import MLPClassifier; print(MLPClassifier.__name__)"
    assert python(code) == "MLPClassifier"
    code = "from fastdnn import *; import fastdnn; print(all(name in globals() for name in fastdnn.__all__))"
    assert python(code) == "True"


def test_names_of_the_package():
    for name in fastdnn.__all__:
        assert getattr(fastdnn, name) is not None
        assert name in dir(fastdnn)
    assert {"__version__", "Model", "layers"} <= {*dir(fastdnn)}
    assert fastdnn.thread_choice.SLICE > 0
    assert not hasattr(fastdnn, "nonsense")
    assert not hasattr(fastdnn, "__nonsense__")
    with pytest.raises(ImportError, match="nonsense"):
        exec("from fastdnn import nonsense")
