"""The columns of a table as inputs of a graph, and the numbers and codes that they become: `TableReader` as nodes."""

import numpy as np

from .dates import ABSENT, DAY, HOUR, calendar_nodes, span_nodes
from .doubles import double, known_only
from .graph import ML

SHOWN = 6  # levels in the description of an input
WORDS = {"datetime": "dates", "duration": "durations", "time": "times"}  # kinds that are nanoseconds, and what they hold
UNITS = {"duration": DAY, "time": HOUR}


class TableInputs:
    """The columns of a table that a fitted `TableReader` reads.

    Parameters
    ----------
    graph : Graph
    reader : TableReader
        Fitted.
    names : dict or None
        The columns by their places, each (n, 1) of the type that `dtype_of` says.
    x : str or None
        All of them, float64 (n, columns), where there are no names.
    """

    def __init__(self, graph, reader, names=None, x=None):
        self.graph, self.reader, self._names, self._x = graph, reader, names, x

    def nodes(self):
        """(numbers, codes): names of float64 (n, k) and of int64 (n, c), None where there are no columns.

        Raises
        ------
        ValueError
            If a column is none that an array of floats has.
        """
        numbers, codes = [], []
        for place, kind, _ in self.reader._kinds:
            x = self._names[place] if self._names else self._sliced(place, kind)
            if kind.levels is not None:
                codes.append(self._looked_up(kind, x, 0))
            elif kind.kind == "number":
                numbers.append(x)
            elif kind.kind == "ordinal":
                found = self._looked_up(kind, x, -1)
                absent = self.graph.node("Less", found, self.graph.constant(0))
                numbers.append(known_only(self.graph, absent, self.graph.cast(found, np.float64)))
            elif kind.kind == "datetime":
                numbers.append(calendar_nodes(self.graph, x, kind.features))
            else:
                numbers.append(span_nodes(self.graph, x, UNITS[kind.kind]))
        return beside(self.graph, numbers), beside(self.graph, codes)

    def _sliced(self, place, kind):
        if kind.kind in WORDS or dtype_of(kind) is np.str_:
            what = WORDS.get(kind.kind, "categories that are strings")
            raise ValueError(
                f"column {kind.name!r} holds {what}, which are not in an array of floats: let each column be an input, with "
                "columns=True; in a pipeline make numbers of it before"
            )
        return self.graph.slice(self._x, 1, place, place + 1)

    def _looked_up(self, kind, x, absent):
        """Name of what `kind.table` says of levels, int64 (n, 1), `absent` where it says nothing."""
        graph, keys, values = self.graph, list(kind.table), list(kind.table.values())
        dtype = dtype_of(kind) if self._names else np.float64
        if dtype is np.float64:
            same = graph.node("Equal", x, double(graph, [keys], "levels"))
            found = graph.node("Where", same, graph.constant([values], "values"), graph.constant(absent))
            return graph.reduce("ReduceMax", found, [1])  # `absent` is less than all values
        given = {"keys_strings": keys} if dtype is np.str_ else {"keys_int64s": list(map(int, keys))}
        return graph.node("LabelEncoder", x, domain=ML, values_int64s=values, default_int64=absent, **given)


def add_table(graph, reader, columns=None):
    """Add the inputs of a table; returns its `TableInputs`.

    Parameters
    ----------
    graph : Graph
        Without nodes as yet, for columns may have any names.
    reader : TableReader
        Fitted.
    columns : bool or None
        Whether each column is an input of its own, or all of them are one, "X"; None: "X" where all are numbers.

    Raises
    ------
    ValueError
        If a column cannot be said in ONNX; it is named.
    """
    if columns is None:
        columns = bool(set(reader.kinds_) - {"number", "empty"})
    if not columns:
        return TableInputs(graph, reader, x=graph.add_input("X", ("n", reader.n_features_in_), np.float64))
    names = {}
    for place, kind, _ in reader._kinds:
        names[place] = graph.add_input(reader.columns_[place], ("n", 1), dtype_of(kind))
        graph.inputs[-1].doc_string = described(kind)
    return TableInputs(graph, reader, names)


def dtype_of(kind):
    """Type of a column's input: float64 for numbers and for levels some of which are floats, otherwise int64 or str."""
    if kind.kind == "number":
        return np.float64
    if kind.kind in WORDS:
        return np.int64
    keys = list(kind.table)
    if all(isinstance(key, str) for key in keys):
        return np.str_
    if all(isinstance(key, int) and -(2**63) <= key < 2**63 for key in keys):
        return np.int64
    if any(float(key) != key for key in keys):
        raise ValueError(
            f"column {kind.name!r} has categories that are neither integers of 64 bits nor float64, which ONNX has not; make "
            "strings of them"
        )
    return np.float64


def described(kind):
    """What the input of a column is to hold, for whoever uses the model."""
    if kind.kind == "number":
        return "number; NaN where missing"
    if kind.kind == "datetime":
        return f"nanoseconds since 1970{f' by the clocks of {kind.zone}' * bool(kind.zone)}; {ABSENT} where missing"
    if kind.kind in WORDS:
        return f"nanoseconds{' since midnight' * (kind.kind == 'time')}; {ABSENT} where missing"
    levels, dtype = list(kind.table), dtype_of(kind)
    shown = ", ".join(map(repr, levels[:SHOWN])) + f" and {len(levels) - SHOWN} more" * (len(levels) > SHOWN)
    form = {np.float64: "number", np.int64: "integer", np.str_: "string"}[dtype]
    return f"{kind.kind}, {form}: {shown}; {'NaN' if dtype is np.float64 else 'any other'} where missing"


def beside(graph, columns):
    """Name of columns side by side, or None if there are none."""
    if len(columns) < 2:
        return columns[0] if columns else None
    return graph.node("Concat", *columns, axis=1)
