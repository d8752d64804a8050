"""Training on the workers of a Dask cluster: ``pip install "fastdnn[dask]"``.

`fit` trains a `Model`; `DaskDNNClassifier` and `DaskDNNRegressor` are the estimators for dask arrays and frames of numbers,
`DaskTabularClassifier` and `DaskTabularRegressor` those for tables as they come.
"""

import importlib.util

if any(importlib.util.find_spec(name) is None for name in ("dask", "distributed")):
    raise ModuleNotFoundError('fastdnn.distributed needs packages that are not installed: pip install "fastdnn[dask]"')

from .connecting import WorkerLost
from .dnn import DaskDNNClassifier, DaskDNNRegressor
from .driver import fit
from .exchange import Exchange
from .tabular import DaskTabularClassifier, DaskTabularRegressor

__all__ = [
    "DaskDNNClassifier", "DaskDNNRegressor", "DaskTabularClassifier", "DaskTabularRegressor", "Exchange", "WorkerLost", "fit",
]  # fmt: skip
