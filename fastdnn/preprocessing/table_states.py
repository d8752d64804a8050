"""Kinds and categories of the columns of a table that comes in blocks: learned block by block, merged where read apart."""

import numpy as np

from .table import TableReader, check_categorical, refuse_infinite
from .table_columns import Column, key
from .table_frames import as_table
from .table_kinds import CALENDAR, CLOCK, CategoryKind, DateKind, Kind, NumberKind, OrdinalKind, check_text, occurring

MOST_LEVELS = 1_000_000  # of a column, which are in memory
HOLDS = {
    "number": "numbers", "category": "strings or categories", "boolean": "booleans", "ordinal": "ordered categories",
    "datetime": "dates", "duration": "durations", "time": "times",
}  # fmt: skip


class ColumnState:
    """What the blocks so far say of a column.

    Parameters
    ----------
    name : str
    named : bool
        Whether it stands in `categorical_features`.

    Attributes
    ----------
    kind : str or None
        As in `TableReader.kinds_`; None until there is a value.
    places : dict of key -> int
        The levels that have occurred, numbered as they came.
    counts : ndarray of int, shape (levels,)
        Rows of each that count.
    """

    def __init__(self, name, named):
        self.name, self.named, self.kind, self.zone, self._has_clock = name, named, None, None, False
        self.places, self.counts, self._rows = {}, np.zeros(0, np.int64), 0
        self._dtypes, self._declared = set(), None  # levels in the order of their type; () where blocks differ in them

    def update(self, column, counted):
        """Learn from the `Column` of a block.

        counted : rows that count, (n,) of bool or a slice

        Returns
        -------
        ndarray of float64, shape (n,)
            Its values: numbers, numbers of levels in `places`, microseconds since 1970; NaN where missing.
        """
        if column.is_empty():
            return np.full(len(column.values), np.nan)
        kind = "category" if self.named else self._kind_of(column)
        self._take(kind, column.zone)
        if column.form == "level":
            return self._levels(column, counted)
        if column.form == "date":
            self._has_clock |= bool((column.values != column.values.astype("datetime64[D]"))[~np.isnat(column.values)].any())
            moments = column.values.astype("datetime64[us]")
            return np.where(np.isnat(moments), np.nan, moments.view(np.int64).astype(np.float64))
        values = column.values.astype(np.float64)
        if column.missing is not None:
            values[column.missing] = np.nan
        return values

    def _kind_of(self, column):
        if column.form == "level":
            return column.dtype or "category"
        return "datetime" if column.form == "date" else column.form

    def _take(self, kind, zone):
        """The kind of values that have come; ValueError unless it is that of those before."""
        if self.kind is None:
            self.kind, self.zone = kind, zone
        if kind != self.kind:
            raise ValueError(
                f"column {self.name!r} holds {HOLDS[kind]}, in the blocks before {HOLDS[self.kind]}: give it one type in all"
                + ("" if self.named else ", or name it in categorical_features if they are categories")
            )
        if zone != self.zone:
            raise ValueError(
                f"column {self.name!r} holds times of {zone or 'no time zone'}, in the blocks before of "
                f"{self.zone or 'none'}: give it one in all"
            )

    def _levels(self, column, counted):
        used = occurring(column)
        found = [key(column.levels[place]) for place in used]
        table = np.full(len(column.levels) + 1, np.nan)  # the last is at -1
        table[used] = [np.nan if k is None else self.places.setdefault(k, len(self.places)) for k in found]
        values = table[column.values]
        self._count(np.bincount(values[counted][~np.isnan(values[counted])].astype(np.int64), minlength=len(self.places)))
        self._rows += int(np.count_nonzero(~np.isnan(values)))
        typed = column.dtype in ("category", "ordinal")
        self._declare([k for k in map(key, column.levels) if k is not None] if typed else (), {column.dtype})
        return values

    def _count(self, counts):
        if len(self.places) > MOST_LEVELS:
            raise ValueError(
                f"column {self.name!r} has more than {MOST_LEVELS:,} different values: drop it, or make fewer of them before"
            )
        self.counts = np.pad(self.counts, (0, len(self.places) - len(self.counts))) + counts

    def _declare(self, levels, dtypes):
        """Compare the levels of the column's type with those before; ValueError if they have an order and it differs."""
        if self._declared is None:
            self._declared = levels
        elif levels != self._declared:
            if self.kind == "ordinal":
                raise ValueError(
                    f"column {self.name!r} has the ordered categories {levels[:5]}, in the blocks before "
                    f"{list(self._declared[:5])}: give it one type in all"
                )
            self._declared = ()
        self._dtypes |= dtypes

    def merge(self, other):
        """Take what another state of the column has learned; returns (levels,) the numbers that its levels have here."""
        if other.kind is None:
            return np.zeros(0, int)
        self._take(other.kind, other.zone)
        self._has_clock |= other._has_clock
        table = np.array([self.places.setdefault(k, len(self.places)) for k in other.places], int)
        if other._declared is not None:
            self._count(np.bincount(table, other.counts, minlength=len(self.places)).astype(np.int64))
            self._declare(other._declared, other._dtypes)
            self._rows += other._rows
        return table

    def made(self):
        """The `Kind` of the column; ValueError if its strings are texts."""
        if self.kind is None:
            return Kind(self.name)
        if self.kind == "datetime":
            return DateKind.of_features(self.name, self.zone, [f for f in CALENDAR if f not in CLOCK or self._has_clock])
        if self.kind in ("number", "duration", "time") and not self.named:
            return NumberKind(self.name, self.kind)
        if self.kind == "ordinal":
            return OrdinalKind.of_keys(self.name, "ordinal", self._declared, True)
        levels = list(self.places)
        if self._dtypes == {None} and not self.named:
            check_text(self.name, self._rows, levels, range(len(levels)))
        kind = "boolean" if self._dtypes == {"boolean"} else "category"
        if self._declared:
            return CategoryKind.of_keys(self.name, kind, [k for k in self._declared if k in self.places], True)
        return CategoryKind.of_keys(self.name, kind, levels, False)

    def column(self, values):
        """The `Column` of values that `update` has given."""
        missing = np.isnan(values)
        if self.kind == "datetime":
            moments = np.where(missing, 0, values).astype(np.int64).view("datetime64[us]")
            return Column("date", np.where(missing, np.datetime64("NaT"), moments), zone=self.zone)
        if self.kind in ("category", "boolean", "ordinal"):
            return Column("level", np.where(missing, -1, values).astype(np.int64), list(self.places))
        return Column(self.kind or "number", values)

    def shares(self, kind):
        """(levels + 1,) rows that count, by the code that `kind` gives them; none of code 0."""
        codes = kind.codes(Column("level", np.arange(len(self.places)), list(self.places)))
        return np.bincount(codes, self.counts, minlength=len(kind.levels) + 1)


class TableStates:
    """What the blocks of a table say of its columns. It pickles, and takes what others have learned from other blocks.

    Parameters
    ----------
    categorical_features, estimator_name
        Of the `TableReader` that comes of it.

    Attributes
    ----------
    columns : list of ColumnState
        In the order of the first block.
    n : int
        Rows that count.
    missing : ndarray of bool, shape (columns,)
        Whether one of these lacks a value.
    """

    def __init__(self, categorical_features, estimator_name):
        self._features, self._estimator_name, self._finder = categorical_features, estimator_name, None
        self.columns, self.n, self.missing = [], 0, None

    def update(self, X, counted):
        """Learn from the rows X of a block; (n, columns) float64 as `ColumnState.update` gives it.

        counted : function of the number of rows -> those that count, (n,) of bool or a slice
        """
        table = as_table(X, self._estimator_name)
        if self._finder is None:
            self._begin(table)
        places, counted, block = self._finder.places_in(table), counted(table.rows), table.block
        values = np.empty((table.rows, len(self.columns)))
        if block is not None:
            values[:] = block if isinstance(places, range) else block[:, places]
            there = ~np.isnan(values).all(axis=0)
        for j, (state, place) in enumerate(zip(self.columns, places, strict=True)):
            if block is not None and not state.named:
                if there[j]:
                    state._take("number", None)
                continue
            read = table.levels(place, state.name) if state.named else table.column(place, state.name, state.zone)
            values[:, j] = state.update(read, counted)
        infinite = np.isinf(values)
        if infinite.any():
            refuse_infinite(values, infinite, [state.name for state in self.columns])
        self.missing |= np.isnan(values[counted]).any(axis=0)
        self.n += len(values[counted])
        return values

    def _begin(self, table):
        names, labels = table.names, table.labels
        named = check_categorical(self._features, names, labels is not None)
        self.columns = [ColumnState(name, place in named) for place, name in enumerate(names)]
        self.missing = np.zeros(len(names), bool)
        has_names = labels is not None and all(isinstance(label, str) for label in labels)
        self._finder = self._reader_of([Kind(name) for name in names], labels is not None, has_names)

    def _reader_of(self, kinds, has_labels, has_names):
        return TableReader.of_kinds(kinds, has_labels, has_names, self._estimator_name)

    def merge(self, other):
        """Take what other states have learned; returns, of each column, the numbers that their levels have here."""
        names, theirs = ([state.name for state in states.columns] for states in (self, other))
        if names != theirs:
            raise ValueError(f"X has the columns {theirs}, in the blocks before {names}")
        self.missing |= other.missing
        self.n += other.n
        return [state.merge(another) for state, another in zip(self.columns, other.columns, strict=True)]

    def reader(self):
        """The `TableReader` of all blocks."""
        kinds = [state.made() for state in self.columns]
        return self._reader_of(kinds, self._finder.has_labels, self._finder.has_names_)

    def read(self, reader, values):
        """(numbers, codes) as the reader gives them, of rows that `update` has given."""
        columns = {place: state.column(values[:, place]) for place, state in enumerate(self.columns)}
        return reader.of_columns(len(values), columns)

    def counts(self, reader):
        """Of each column of codes, (levels + 1,) the rows that count of each code."""
        kinds, found = reader.column_kinds(), []
        for place in reader.category_sources_:
            counts = self.columns[place].shares(kinds[place])
            counts[0] = self.n - counts.sum()
            found.append(counts)
        return found
