"""Predictors from files, at once: what an earlier process has compiled and kept is read, linked and called.

Importing this, and predicting with what `load` gives, needs NumPy and LLVM, and neither Numba nor SciPy, scikit-learn or the
part of the package that trains. What goes beyond it imports them when it is asked for.
"""

import contextlib
import os
import threading
import time

import numpy as np

from ._importing import alone
from ._stamp import package_stamp
from .frozen.estimators import of_plain
from .quick.keeping import find, name_of
from .quick.running import SLICE, Snapshot
from .quick.samples import as_samples, fits

SLOW = 0.002  # seconds of a call on one thread from which several are worth having
ABOUT = "dtype", "estimator"  # settings of a predictor's file that its snapshot has too
PATIENCE = 0.5  # seconds spent in such calls before the rest of the package, which has threads, is imported


def load(path):
    """The predictor in a file that `Predictor.save` wrote.

    The first process that loads it compiles what is not compiled yet, and keeps beside the compiled kernels what the next
    ones need to answer within a fraction of a second of their start, imports included. Where a service is installed that can
    be done ahead: ``python -c "from fastdnn.predictor import load; load('digits.fdnn')"``.

    Parameters
    ----------
    path : str or path-like
        The file. It must stay: samples of a kind that is not known here, and threads for long calls, need it again.

    Returns
    -------
    Predictor or QuickPredictor, or the FrozenClassifier or FrozenRegressor of one, where an estimator was frozen
        With the same methods and, bit for bit, the same results. Several Python threads may use one at the same time.

    Raises
    ------
    ModelFormatError
        If the file is not a whole and valid one.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from fastdnn import Model, layers
    >>> m = Model([layers.Dense(3)], loss="cross_entropy", random_state=0).build(4)
    >>> X = np.ones((2, 4), "float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     m.freeze().save(pathlib.Path(folder, "it.fdnn"))
    ...     bool((load(pathlib.Path(folder, "it.fdnn")).predict(X) == m.predict(X)).all())
    True
    """
    found = _kept(path)
    if found is not None:
        return of_plain(found, found._snapshot.header["about"].get("estimator"))
    _, found, about = _loaded(path)
    return of_plain(found, about.get("estimator"))


def _kept(path):
    """The `QuickPredictor` of the snapshot that an earlier process has kept of the predictor in a file, or None."""
    try:
        found = find(path)
        if found is None:
            return None
        snapshot = Snapshot(package_stamp(), found.header, found.blobs)
        if found.first:
            snapshot.try_out()
        found.works()
        return QuickPredictor(path, found.name, snapshot)
    except (ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError):
        return None  # who reads the file itself says what is wrong with it


def _loaded(path):
    """(name of its snapshot, the predictor in a file with all that it can do, settings in ABOUT).

    The snapshot is kept for later processes. The name is None if the file was replaced while it was read.
    """
    with alone():
        from . import Model
        from .frozen.loading import read
        from .frozen.predictor import Predictor
        from .quick.taking import keep_snapshot
    name = _name(path)
    settings, predictor = read(Model, path)
    about = {key: settings[key] for key in ABOUT if key in settings}
    name = name if name == _name(path) else None
    if name is not None and isinstance(predictor, Predictor):
        keep_snapshot(name, predictor.model, about)
    return name, predictor, about


def _name(path):
    """`keeping.name_of` a file, None where it has none: who reads it says why."""
    try:
        return name_of(path)
    except (OSError, TypeError, ValueError):
        return None


def processors():
    """Processors that this process may use, as far as is known without Numba."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = os.environ.get("NUMBA_NUM_THREADS", "")
    return min(found, int(most)) if most.isdecimal() else found


def _itself(predictor):
    return predictor


class QuickPredictor:
    """A predictor that answers at once; what else a `Predictor` has is there as soon as it is asked for.

    It works on one thread. Once half a second has gone into calls that several threads would have done faster, the part of
    the package that has threads is imported by a thread in the background, and takes over.

    Attributes
    ----------
    dtype : str
        Of the products: "float32", "float64", "bfloat16" or "int8".
    input_shape, output_shape : tuple of int
        Of a sample, and of what is predicted for it.
    """

    def __init__(self, path, name, snapshot):
        self._path, self._name, self._snapshot = os.path.abspath(path), name, snapshot
        self._whole, self._spent, self._helper = None, 0.0, None
        self.dtype = snapshot.header["about"]["dtype"]
        self.input_shape, self.output_shape = snapshot.input_shape, snapshot.output_shape

    def predict(self, X, lengths=None, out=None):
        """Predictions, the loss's link applied: as `Predictor.predict`."""
        samples = None
        if self._whole is None and lengths is None and fits(out, self._snapshot):
            samples = as_samples(X, self._snapshot)
        if samples is None or (out is not None and out.shape != (len(samples.X), *self.output_shape)):
            return self.whole().predict(X, lengths, out)
        n = len(samples.X)
        result = np.empty((n, *self.output_shape), self._snapshot.dtype) if out is None else out
        began = time.perf_counter()
        done = self._snapshot.run(samples, result, self._is_helped)
        if done < n:
            self._whole.predict(np.asarray(X)[done:], None, result[done:])
        elif SLOW < (seconds := time.perf_counter() - began) < SLICE:
            self._was_slow(seconds)
        return result

    def whole(self):
        """The `Predictor` of the same file."""
        if self._whole is None:
            name, found = name_of(self._path), None
            if name == self._name:
                name, found, _ = _loaded(self._path)
            if name != self._name:
                raise FileNotFoundError(f"{self._path} is another file than when it was loaded; load it again")
            self._whole = found
        return self._whole

    def _is_helped(self):
        """Whether somebody else goes on with a call that has taken a SLICE more."""
        self._was_slow(SLICE)
        return self._whole is not None

    def _was_slow(self, seconds):
        """Note that so much time has gone into a long call."""
        self._spent += seconds
        if self._spent > PATIENCE and self._helper is None and processors() > 1:
            self._helper = threading.Thread(target=self._help, name="fastdnn imports its threads")
            self._helper.start()

    def _help(self):
        with contextlib.suppress(Exception):  # then one thread goes on; whoever needs more sees the error
            self.whole()

    def __getattr__(self, name):
        if name.startswith("_"):  # what copies and notebooks look for
            raise AttributeError(name)
        return getattr(self.whole(), name)

    def __reduce__(self):
        return _itself, (self.whole(),)

    def __repr__(self):
        return f"<QuickPredictor of {self._path}>"
