"""A table as its user has it, as an array of numbers and one of codes of categories."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
from sklearn.exceptions import NotFittedError

from .table_frames import as_table
from .table_kinds import Kind, NumberKind, kind_of

FEW = 64  # rows: of so many levels are looked up one by one
SHOWN = 5  # names in a message


class TableReader:
    """Reader of tables: data frames of pandas and Polars, tables of Arrow, arrays and lists of rows.

    What a column becomes is learned from its type and its values in `fit`:

    ============ ==================================================================================================
    kind         becomes
    ============ ==================================================================================================
    "number"     a number, of any integer, float or decimal type, or of Python's numbers
    "category"   a code, of strings, of categories without order and of columns named in `categorical_features`
    "boolean"    a code, of booleans
    "ordinal"    a number, the place from 0 in the order of an ordered pandas category, a Polars Enum, an ordered Arrow
                 dictionary, also of levels that do not occur in fit
    "datetime"   numbers: year, month, day, weekday (0 is Monday) and day of the year, hour and minute if any value in
                 fit has a time of day, and days since 1970, all by the clocks of the time zone in fit
    "duration"   a number, of days
    "time"       a number, of hours since midnight
    "empty"      nothing: no value was there in fit, and those that come later are not read
    ============ ==================================================================================================

    Missing are NaN, None, NaT, pandas.NA, Arrow's and Polars's null and masked values. Levels are compared as Python compares
    them, 1.0 equals 1 and True, but "1" does not; if both numbers and strings are levels of a column, by their texts.

    Parameters
    ----------
    categorical_features : "from_dtype", None, sequence of str, of int or of bool, default="from_dtype"
        Columns that are categorical, whatever they hold, beside those whose type says so: names, positions, or a mask of all
        columns. "from_dtype" and None: no others.
    estimator_name : str, default="TableReader"
        Who stands in messages.

    Attributes
    ----------
    columns_ : list of str
        Names of the columns; "x0", "x1" ... for arrays.
    kinds_ : list of str
        Kind of each column.
    number_names_, category_names_ : list of str
        Names of the columns of numbers and of codes.
    number_sources_, category_sources_ : ndarray of int
        Positions of the columns that they come from.
    categories_ : list of list
        Levels of each column of codes that occur in fit; code 1 is the first. Those of a type with an order of its own are in
        that order, others are sorted.
    has_names_ : bool
        Whether the columns had names, all of them strings.
    n_features_in_ : int
        Number of columns.

    Examples
    --------
    >>> import pandas as pd
    >>> from fastdnn.preprocessing.table import TableReader
    >>> frame = pd.DataFrame({"age": [31, None, 50], "city": ["Rome", "Oslo", "Rome"]})
    >>> reader = TableReader().fit(frame)
    >>> reader.categories_
    [['Oslo', 'Rome']]
    >>> reader.transform(frame)
    (array([[31.],
           [nan],
           [50.]]), array([[2],
           [1],
           [2]], dtype=int32))
    """

    def __init__(
        self, categorical_features: str | Sequence | np.ndarray | None = "from_dtype", estimator_name: str = "TableReader"
    ) -> None:
        self.categorical_features = categorical_features
        self.estimator_name = estimator_name

    def fit(self, X: Any) -> Self:
        """Learn the columns, their kinds and their categories.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, Arrow Table, array-like of shape (n, columns)
            All rows.

        Returns
        -------
        self : object
            The fitted reader.

        Raises
        ------
        ValueError, TypeError
            If `categorical_features` or X does not fit. What is wrong with a column names it.
        """
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """What ``fit(X).transform(X)`` gives, in one pass."""
        table = as_table(X, self.estimator_name)
        names = table.names
        named = check_categorical(self.categorical_features, names, table.labels is not None)
        kinds, columns = [], {}
        block = table.block
        if block is not None:
            there = ~np.isnan(block).all(axis=0)
        for place, name in enumerate(names):
            if block is not None and place not in named:  # no need to look at one column after the other
                kinds.append(NumberKind(name, "number") if there[place] else Kind(name))
                continue
            columns[place] = table.levels(place, name) if place in named else table.column(place, name)
            kinds.append(kind_of(name, columns[place], place in named))
        has_labels = table.labels is not None
        self._keep(kinds, has_labels, has_labels and all(isinstance(label, str) for label in table.labels))
        return self._read(table, range(len(names)), columns)

    @classmethod
    def of_kinds(cls, kinds, has_labels, has_names, estimator_name):
        """A fitted reader of columns of these kinds; has_labels : whether columns are found by their names."""
        reader = cls(estimator_name=estimator_name)
        if len({kind.name for kind in kinds}) != len(kinds) or not kinds:
            raise ValueError("the columns of a table must have different names")
        reader._keep(kinds, has_labels, has_names)
        return reader

    def _keep(self, kinds, has_labels, has_names):
        self.columns_, self.kinds_ = [kind.name for kind in kinds], [kind.kind for kind in kinds]
        self.n_features_in_, self.has_names_ = len(kinds), has_names
        self._places = dict(zip(self.columns_, range(len(kinds)), strict=True)) if has_labels else None
        self._lay_out(kinds)

    @property
    def has_labels(self):
        """Whether columns are found by their names."""
        return self._places is not None

    def column_kinds(self):
        """The `Kind` of each column."""
        found = [Kind(name) for name in self.columns_]
        for place, kind, _ in self._kinds:
            found[place] = kind
        return found

    def transform(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and codes of a table.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, Arrow Table, array-like of shape (n, columns)
            Columns of frames are found by their names if those in fit had names, otherwise by position.

        Returns
        -------
        numbers : ndarray of float64, shape (n, len(number_names_))
            NaN where missing.
        codes : ndarray of int32, shape (n, len(category_names_))
            0 where missing, or not there in fit; 1, 2 ... are the levels in `categories_`.
        """
        if not hasattr(self, "n_features_in_"):
            raise NotFittedError("TableReader must be fitted before; call fit")
        table = as_table(X, self.estimator_name)
        return self._read(table, self.places_in(table), None)

    def of_columns(self, n, columns):
        """What `transform` gives of n rows whose columns have been read: of {position: `Column`}."""
        return self._read(SimpleNamespace(rows=n, block=None), None, columns)

    def _lay_out(self, kinds):
        """Keep the kinds, and where each of them writes to."""
        self._kinds, self.number_names_, self.category_names_, self.categories_ = [], [], [], []
        number_sources, category_sources, plain = [], [], {}
        for place, kind in enumerate(kinds):
            if kind.levels is not None:
                slot = len(self.category_names_)
                self.category_names_.append(kind.name)
                self.categories_.append(list(kind.levels))
                category_sources.append(place)
            elif kind.names:
                slot = len(self.number_names_)
                if len(kind.names) > 1:
                    slot = slice(slot, slot + len(kind.names))
                if kind.kind == "number":
                    plain[place] = slot
                self.number_names_ += kind.names
                number_sources += [place] * len(kind.names)
            else:
                continue
            self._kinds.append((place, kind, slot))
        self.number_sources_, self.category_sources_ = np.array(number_sources, int), np.array(category_sources, int)
        self._plain, self._plain_slots = list(plain), list(plain.values())
        self._all_plain = len(plain) == len(kinds)

    def _read(self, table, places, columns):
        """Numbers and codes of a table whose columns stand at `places`; `columns` are those that fit has read."""
        numbers = np.empty((table.rows, len(self.number_names_)))
        codes = np.empty((table.rows, len(self.category_names_)), np.int32)
        if table.block is not None:
            if self._all_plain and isinstance(places, range):
                numbers[:] = table.block
            else:
                numbers[:, self._plain_slots] = table.block[:, [places[place] for place in self._plain]]
        for place, kind, slot in self._kinds:
            if table.block is not None and kind.kind == "number":
                continue
            if columns is not None:
                column = columns[place]
            elif kind.by_level:
                column = table.levels(places[place], kind.name, FEW)
            else:
                column = table.column(places[place], kind.name, kind.zone)
            if kind.levels is None:
                numbers[:, slot] = kind.numbers(column)
            else:
                codes[:, slot] = kind.codes(column)
        self._check_finite(numbers)
        return numbers, codes

    def places_in(self, table):
        """Positions in a table of the columns that were there in fit; ValueError unless all are, and no others."""
        names = () if table.labels is None else table.names
        if self._places is None or table.labels is None:
            if table.columns != self.n_features_in_:
                raise ValueError(
                    f"X has {table.columns} features, but {self.estimator_name} is expecting {self.n_features_in_} features "
                    "as input"
                )
            return range(self.n_features_in_)
        if names == self.columns_:
            return range(self.n_features_in_)
        there = dict(zip(names, range(len(names)), strict=True))
        missing, new = [n for n in self.columns_ if n not in there], [n for n in names if n not in self._places]
        if missing or new:
            texts = [f"X lacks {listed(missing)}, which {verb(missing)} there in fit: add {them(missing)}"] * bool(missing)
            texts += [f"{listed(new)} of X {verb(new)} not there in fit: drop {them(new)}"] * bool(new)
            raise ValueError("; ".join(texts))
        return [there[name] for name in self.columns_]

    def _check_finite(self, numbers):
        """ValueError that names the columns with infinite numbers, if there are any."""
        infinite = np.isinf(numbers)
        if infinite.any():
            refuse_infinite(numbers, infinite, [self.columns_[place] for place in self.number_sources_])


def refuse_infinite(numbers, infinite, names):
    """ValueError that says where numbers are infinite; names : for each of their columns, that of the column of the table."""
    columns = np.flatnonzero(infinite.any(axis=0))
    row = np.argmax(infinite[:, columns[0]])
    names = list(dict.fromkeys(names[column] for column in columns))
    raise ValueError(
        f"X must hold finite or missing numbers, got {numbers[row, columns[0]]} in row {row} of column {names[0]!r}"
        + (f", and infinity in {listed(names[1:])}" if names[1:] else "")
        + "; replace infinity by NaN, with X.replace([np.inf, -np.inf], np.nan) of pandas, say"
    )


def check_categorical(features, names, by_name):
    """Set of the positions of columns that `categorical_features` names; ValueError if it names none of them."""
    if features is None or (isinstance(features, str) and features == "from_dtype"):
        return set()
    what = "categorical_features must be 'from_dtype', None or a list of names, of positions or of booleans, "
    if isinstance(features, (str, bytes)) or not hasattr(features, "__len__") or not np.iterable(features):
        raise ValueError(f"{what}got {features!r}; put a single column into a list")
    features = list(features)
    kinds = {kind_of_feature(feature) for feature in features}
    if len(kinds) > 1 or kinds & {None}:
        raise ValueError(f"{what}got {features!r}")
    if kinds == {bool}:
        if len(features) != len(names):
            raise ValueError(
                f"categorical_features must have a boolean for each of the {len(names)} columns of X, got {len(features)}"
            )
        return {place for place, feature in enumerate(features) if feature}
    if kinds == {int}:
        wrong = [feature for feature in features if not 0 <= feature < len(names)]
        if wrong:
            raise ValueError(f"categorical_features must hold positions of 0 to {len(names) - 1}, got {wrong[0]}")
        return set(map(int, features))
    if features and not by_name:
        raise ValueError(
            f"categorical_features must hold positions or booleans for an array, which has no names, got {features}"
        )
    places = dict(zip(names, range(len(names)), strict=True))
    wrong = [feature for feature in features if feature not in places]
    if wrong:
        raise ValueError(f"categorical_features must hold names of columns of X, got {wrong[0]!r}; X has {listed(names)}")
    return {places[feature] for feature in features}


def kind_of_feature(feature):
    """Which of bool, int and str an item of `categorical_features` is; None if none of them."""
    for kind, kinds in ((bool, (bool, np.bool_)), (int, (int, np.integer)), (str, (str,))):
        if isinstance(feature, kinds):
            return kind
    return None


def listed(names):
    """Names for a message: "column 'a'", "columns 'a', 'b' and 3 more"."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"column{'s' * (len(names) > 1)} {', '.join(map(repr, names[:SHOWN]))}{more}"


def verb(names):
    """The verb for one name or several."""
    return "were" if len(names) > 1 else "was"


def them(names):
    """The pronoun for one name or several."""
    return "them" if len(names) > 1 else "it"
