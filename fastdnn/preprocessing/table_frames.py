"""Tables of any make: data frames, Arrow tables, arrays and lists of rows."""

from collections import Counter
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from narwhals.exceptions import DuplicateError
from sklearn.utils import check_array

from .table_columns import Column, as_levels, factorized, from_array, from_narwhals, from_pandas, refuse_unhashable

WIDE = 50  # columns from which on a frame is looked at as a whole first


class ArrayTable:
    """An array (n, columns); the base of what else is a table.

    Attributes
    ----------
    X : object
        The table.
    rows, columns : int
        Its shape.
    labels : list or None
        What its columns are called; None if they have no names.
    block : ndarray or None
        The table as one array, if that is one of integers or floats and it saves time to read it as such.
    """

    labels = None

    def __init__(self, X):
        self.X, (self.rows, self.columns) = X, X.shape
        self.block = self.as_block()

    @property
    def names(self) -> list[str]:
        """Names of the columns, as strings; ValueError if two are the same."""
        if self.labels is None:
            return [f"x{place}" for place in range(self.columns)]
        return unique([label if type(label) is str else label_name(label) for label in self.labels])

    def as_block(self):
        """What `block` is."""
        return self.X if self.X.dtype.kind in "iuf" else None

    def native(self, place):
        """A column as the table hands it out."""
        return self.X[:, place]

    def read(self, native, name, mixed, zone):
        """A column that was handed out, in one of the forms."""
        return from_array(native, name, mixed, zone=zone)

    def values(self, native):
        """List of the values of a column that was handed out."""
        if native.dtype.kind in "mM":  # those of nanoseconds would be integers
            native = native.astype(f"{native.dtype.kind}8[us]")
        return native.tolist()

    def column(self, place: int, name: str, zone: str | None = None) -> Column:
        """A column in one of the forms, its dates by the clocks of `zone`."""
        return self.read(self.native(place), name, False, zone)

    def levels(self, place: int, name: str, few: int = 0) -> Column:
        """A column in the form of levels, whatever it holds; of at most `few` rows those are the values themselves."""
        native = self.native(place)
        if self.rows <= few:
            values = self.values(native)
            refuse_unhashable(name, values)
            return Column("level", None, values)
        column = self.read(native, name, True, None)
        return as_levels(column) if column.form in ("level", "number") else factorized(self.values(native))


class PandasTable(ArrayTable):
    """A DataFrame of pandas."""

    def __init__(self, X):
        self.labels = X.columns.tolist()
        super().__init__(X)

    def as_block(self):
        """Columns of which none needs a look of its own, if there are many."""
        plain = self.columns >= WIDE and all(isinstance(t, np.dtype) and t.kind in "iuf" for t in set(self.X.dtypes))
        return self.X.to_numpy() if plain else None

    def native(self, place):
        """A Series."""
        label = self.labels[place]
        return self.X[label] if type(label) is str else self.X.iloc[:, place]

    def read(self, native, name, mixed, zone):
        """The column of a Series."""
        return from_pandas(native, name, mixed, zone)

    def values(self, native):
        """List of the values of a Series."""
        levels = getattr(native.dtype, "categories", None)
        if levels is None:
            return native.tolist()
        return [None if code < 0 else levels[code] for code in native.array.codes]


class NarwhalsTable(ArrayTable):
    """Any other data frame that Narwhals knows."""

    def __init__(self, X):
        self.labels = X.columns
        super().__init__(X)

    def as_block(self):
        """None."""

    def native(self, place):
        """A Series of Narwhals."""
        return self.X.get_column(self.labels[place])

    def read(self, native, name, mixed, zone):
        """The column of a Series of Narwhals."""
        return from_narwhals(native, name, mixed, zone)

    def values(self, native):
        """List of the values of a Series of Narwhals."""
        return native.to_list()


def label_name(label):
    """Name of a column that is called something else than a string; those of several levels are joined by "_"."""
    return "_".join(map(str, label)) if isinstance(label, tuple) else str(label)


def unique(names):
    """The names; ValueError if two are the same."""
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise ValueError(f"X must have columns of different names, got {twice!r} more than once; rename or drop one")
    return names


def as_table(X: Any, estimator_name: str) -> ArrayTable:
    """X as a table; ValueError or TypeError in the words of scikit-learn unless it is one of at least one row and column."""
    if type(X) is np.ndarray and X.ndim == 2 and X.size:
        return ArrayTable(X)
    pandas = nw.dependencies.get_pandas()
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return check_size(PandasTable(X), estimator_name)
    if not isinstance(X, (list, tuple, np.ndarray)):
        native, pyarrow = nw.to_native(X, pass_through=True), nw.dependencies.get_pyarrow()
        if pyarrow is not None and isinstance(X, pyarrow.RecordBatch):
            native = pyarrow.Table.from_batches([X])
        if pyarrow is not None and isinstance(native, pyarrow.Table):
            native = without_index(native)
        if native is not X:
            return as_table(native, estimator_name)
        try:
            frame = nw.from_native(X, pass_through=True)
        except DuplicateError:  # of Arrow's tables, whose names nothing else checks
            unique(X.column_names)
            raise
        if isinstance(frame, nw.LazyFrame):
            raise TypeError("X must be a table in memory, got a lazy one; use X.collect()")
        if isinstance(frame, nw.DataFrame):
            return check_size(NarwhalsTable(frame), estimator_name)
    if isinstance(X, np.ma.MaskedArray):
        X = np.where(np.ma.getmaskarray(X), np.nan if X.dtype.kind == "f" else None, X.data)
    elif isinstance(X, (list, tuple)):
        X = from_rows(X)
    return ArrayTable(check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator_name))


def without_index(table):
    """An Arrow table without the columns that were the index of the frame of pandas that it was made of."""
    index = [name for name in (table.schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)]
    index = [name for name in index if name.startswith("__index_level_") and name in table.column_names]
    return table.drop_columns(index) if index else table


def check_size(table, estimator_name):
    """The table of a data frame; ValueError unless it has a row and a column."""
    for count, what in ((table.rows, "sample"), (table.columns, "feature")):
        if not count:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape=({table.rows}, {table.columns})) while a minimum of 1 is required by "
                f"{estimator_name}."
            )
    return table


def from_rows(rows):
    """Array of a list of rows, of objects if there are strings among them."""
    try:
        array = np.asarray(rows)
        return np.array(rows, object) if array.dtype.kind in "US" else array
    except ValueError as error:
        raise ValueError(f"X must have rows of one length, got a list of others: {error}") from error
