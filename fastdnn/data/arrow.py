"""Arrow tables as matrices of numbers."""

import sys

import numpy as np

ROWS = 2048  # that are written column by column while they are in the cache


def is_arrow(X):
    """Whether X is a table or a record batch of pyarrow, which nobody needs to import for the answer."""
    arrow = sys.modules.get("pyarrow")
    return arrow is not None and isinstance(X, (arrow.Table, arrow.RecordBatch))


def matrix(table, dtype=None):
    """The columns of a table as an array (n, columns) of that float type, gaps as NaN.

    None is float32 where that holds all values of the columns' types, otherwise float64.

    A table whose one column holds lists of a fixed size, images say, gives (n, size) of the type that is in them.

    Raises
    ------
    ValueError
        If a column holds something else than numbers and booleans; the message names it.
    """
    import pyarrow as pa

    if table.num_columns == 1 and pa.types.is_fixed_size_list(table.column(0).type):
        return _lists(table)
    columns = [numbers(column, name) for name, column in zip(table.column_names, table.columns, strict=True)]
    found = np.empty((table.num_rows, len(columns)), dtype or np.result_type(np.float32, *columns))
    for lo in range(0, len(found), ROWS):
        part = found[lo : lo + ROWS]
        for j, column in enumerate(columns):
            part[:, j] = column[lo : lo + ROWS]
    return found


def numbers(column, name):
    """A column as an array of numbers, of a float type where it has gaps."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise ValueError(
            f"column {name!r} must hold numbers, got {kind}; leave it out, encode it before, or take a Tabular estimator"
        )
    if column.null_count:
        small = pa.types.is_boolean(kind) or kind.bit_width <= (32 if pa.types.is_floating(kind) else 16)
        column = pc.fill_null(column.cast(pa.float32() if small else pa.float64()), np.nan)
    return column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)


def targets(table, names):
    """Columns as targets: (n,) of one name, (n, k) of a list or of lists of a fixed size; strings stay strings."""
    import pyarrow as pa

    if isinstance(names, str):
        column = table.column(names)
        if pa.types.is_nested(column.type):
            return matrix(table.select([names]), np.float64)
        return column.to_numpy() if hasattr(column, "chunks") else column.to_numpy(zero_copy_only=False)
    return matrix(table.select(names), np.float64)


def _lists(table):
    import pyarrow as pa

    (column,), (name,) = table.columns, table.column_names
    if column.null_count:
        raise ValueError(f"column {name!r} contains missing values; filter them out")
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return numbers(column.flatten(), name).reshape(len(column), column.type.list_size)
