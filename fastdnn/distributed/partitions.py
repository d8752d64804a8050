"""Partitions of dask collections, X, y and weights zipped so that they lie together; and how arrays are made of them."""

import contextlib
import time

import dask
import numpy as np
import scipy.sparse
from dask import array as da
from dask.base import is_dask_collection
from distributed import Client, default_client, wait

from ..inputs import as_numbers

POLL = 1.0  # seconds between two looks at whether there are workers still
PATIENCE = 30.0  # seconds that tasks have to end after another one has failed


def get_client(client):
    """The client, or the one that was made last."""
    if client is None:
        try:
            return default_client()
        except ValueError as error:
            raise ValueError(
                "there is no Dask client: make one, client = distributed.Client(), and give it as client=..."
            ) from error
    if not isinstance(client, Client) or client.asynchronous:
        raise ValueError(f"client must be a distributed.Client that is not asynchronous, got {client!r}")
    return client


def is_frame(X):
    """Whether it is a dask frame or series."""
    return is_dask_collection(X) and hasattr(X, "map_partitions") and hasattr(X, "npartitions") and not is_array(X)


def is_array(X):
    return isinstance(X, da.Array)


def check_collection(X, name, like=None):
    """ValueError unless it is a dask array, frame or series."""
    if is_array(X) or is_frame(X):
        return
    hint = "dask.array.from_array(X, chunks=(rows, -1)) makes one of an array" if like is None else (
        f"it must have the partitions of X: dask.array.from_array({name}, chunks=...) with the chunks of X's rows makes one "
        "of an array"
    )  # fmt: skip
    raise ValueError(f"{name} must be a dask array, frame or series, got {type(X).__name__}; {hint}")


def blocks(X, name):
    """The partitions of a collection as delayed objects, each with all columns."""
    if not is_array(X):
        return list(X.to_delayed())
    if X.ndim == 0:
        raise ValueError(f"{name} must be a dask array of samples, got one number")
    if any(n > 1 for n in X.numblocks[1:]):
        X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    return list(X.to_delayed().ravel())


def known_rows(X):
    """Rows of each partition, None where Dask does not know."""
    rows = X.chunks[0] if is_array(X) else ()
    return rows if rows and not np.isnan(rows).any() else None


def zipped(X, y, sample_weight=None):
    """A delayed tuple (X, y, weights) for each partition; ValueError if the collections do not fit each other."""
    check_collection(X, "X")
    if X.ndim < 2:
        raise ValueError("X must have a row for each sample, got one dimension; X[:, None], X.to_frame() make a column of it")
    columns = []
    for name, values in (("y", y), ("sample_weight", sample_weight)):
        if values is None and name == "sample_weight":
            columns.append(None)
            continue
        check_collection(values, name, X)
        theirs, rows = known_rows(values), known_rows(X)
        if theirs and rows and theirs != rows:
            if sum(theirs) != sum(rows):
                raise ValueError(f"{name} must have a row for each of the {sum(rows)} of X, got {sum(theirs)}")
            values = values.rechunk({0: rows})
        columns.append(blocks(values, name))
        n = len(blocks(X, "X"))
        if len(columns[-1]) != n:
            raise ValueError(f"{name} must have the {n} partitions of X, got {len(columns[-1])}")
    Xs = blocks(X, "X")
    together = dask.delayed(_tuple, name="fastdnn_partition", pure=False)
    y_parts, weights = columns
    return [together(x, y_parts[i], None if weights is None else weights[i]) for i, x in enumerate(Xs)]


def _tuple(X, y, weights):
    return X, y, weights


class Reader:
    """Arrays of a partition: (X, y, weights or None).

    Parameters
    ----------
    X : dask collection
        What all partitions belong to.
    """

    def __init__(self, X):
        self.columns = list(X.columns) if hasattr(X, "columns") else None

    def __call__(self, part):
        X, y, weights = part
        X, y = self.samples(X), target_array(y)
        if len(y) != X.shape[0]:
            raise ValueError(f"y must have a row for each of the {X.shape[0]} of X, got {len(y)}")
        if weights is not None:
            weights = np.asarray(as_numbers(weights, "sample_weight", np.float64)).reshape(-1)
            if len(weights) != X.shape[0]:
                raise ValueError(f"sample_weight must have a row for each of the {X.shape[0]} of X, got {len(weights)}")
            if not np.isfinite(weights).all() or (weights < 0).any():
                raise ValueError("sample_weight must be finite and not negative")
        return X, y, weights

    def check_columns(self, X):
        """ValueError unless a partition has the columns of all."""
        found = None if self.columns is None else list(getattr(X, "columns", []))
        if found != self.columns:
            raise ValueError(f"X must have the columns {self.columns}, got {found}")

    def samples(self, X):
        """The samples of a partition as an array, or a sparse matrix."""
        self.check_columns(X)
        if scipy.sparse.issparse(X):
            return X.tocsr()
        array = as_array(X)
        if array.dtype.kind not in "fiub":
            odd = [str(name) for name, kind in getattr(X, "dtypes", {}).items() if getattr(kind, "kind", "O") not in "fiub"]
            where = f" (columns {', '.join(odd[:5])})" if odd else ""
            raise ValueError(f"X must hold numbers, got {array.dtype}{where}")
        return array


class Tables(Reader):
    """Tables as they are, with the same columns in all partitions: (X, y, weights or None)."""

    def samples(self, X):
        """The table of a partition."""
        self.check_columns(X)
        return X


def as_array(X):
    """Samples as an array; of a frame of numbers where some may be missing one of floats, in which those are NaN."""
    kinds = [getattr(kind, "numpy_dtype", kind) for kind in getattr(X, "dtypes", ())]
    array = np.asarray(X)
    if array.dtype != object or not all(getattr(kind, "kind", "O") in "fiub" for kind in kinds) or not kinds:
        return array
    common = np.result_type(*kinds)
    return X.to_numpy(common if common.kind == "f" else np.float64, na_value=np.nan)


def target_array(y):
    """Targets of a partition, a single column as (n,)."""
    return np.asarray(one_column(y))


def one_column(y):
    """Targets or weights of a partition as they are, a single column as one of (n,)."""
    if np.ndim(y) != 2 or y.shape[1] != 1:
        return y
    return y.iloc[:, 0] if hasattr(y, "iloc") else y[:, 0]


def here(data, client):
    """What a collection holds, brought here by the workers of a client; what is no collection as it is."""
    return client.compute(data).result() if is_dask_collection(data) else data


def settled(client, futures, timeout):
    """Wait until all partitions are there; RuntimeError, with its number, if one never will be."""
    finished(client, futures, timeout)
    for number, future in enumerate(futures):
        if future.status == "error":
            error = future.exception()
            raise RuntimeError(f"partition {number} could not be computed: {type(error).__name__}: {error}") from error
        if future.status == "cancelled":
            raise RuntimeError(
                f"partition {number} was lost with its worker, and Dask cannot compute it anew: of data from client.scatter "
                "there are no more copies than were made (broadcast=True makes one on each worker)"
            )


def finished(client, futures, timeout, failing=None, workers=None):
    """Wait until no future is pending.

    timeout : seconds without any worker that takes tasks after which a RuntimeError is raised
    failing : called once one has failed, that the others end; they have `PATIENCE` seconds
    workers : the worker that each is pinned to, without which it is cancelled: where it was the last one, Dask would let its
        task wait for it, whoever joins
    """
    begun, failed = time.monotonic(), None
    while left := [future for future in futures if future.status in ("pending", "lost")]:
        with contextlib.suppress(Exception):  # what has become of each is seen by its status
            wait(left, timeout=POLL, return_when="FIRST_COMPLETED")
        now = time.monotonic()
        if client.status != "running":
            raise RuntimeError(f"the Dask client is {client.status}")
        if failed is None and any(future.status in ("error", "cancelled") for future in futures):
            failed = now
            if failing is not None:
                failing()
        there = known(client)
        if failing is not None and failed is not None and now - failed > PATIENCE:
            client.cancel(left)
        elif workers is not None:
            pinned = zip(futures, workers, strict=True)
            gone = [future for future, worker in pinned if worker not in there and future.status in ("pending", "lost")]
            if gone:
                client.cancel(gone)
        if any(future.status not in ("pending", "lost") for future in left) or "running" in there.values():
            begun = now
        elif now - begun > timeout:
            raise RuntimeError(
                f"there has been no Dask worker for {timeout:g} seconds, or none that takes tasks: one whose memory is "
                "nearly full is paused"
            )


def known(client):
    """{address: status} of the workers; those that are "running" take tasks."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {address: facts.get("status", "running") for address, facts in workers.items()}
