"""Parquet files, and whatever else pyarrow.dataset reads, as a stream."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..specs import check_count
from .arrow import is_arrow, targets
from .blocks import Block, BlockSource, order_of


def arrow_dataset():
    """The module pyarrow.dataset; ImportError that says what to install."""
    try:
        import pyarrow.dataset
    except ImportError as error:
        raise ImportError('ParquetSource needs pyarrow: pip install "fastdnn[data]"') from error
    return pyarrow.dataset


class ParquetSource(BlockSource):
    """Samples from Parquet files (or CSV, Feather, ORC), read block by block.

    Parameters
    ----------
    data : path, list of paths, pyarrow.dataset.Dataset or pyarrow.Table
        A file, a folder with files (of the same columns; hive partitions become columns), several, or what is open already.
    columns : sequence of str or None, default=None
        Columns of the samples; None is all that are neither target nor weight. One column of lists of a fixed size gives
        samples of that size.
    target : str or sequence of str or None
        Column of the targets, or several; None for predictions.
    sample_weight : str or None, default=None
        Column of the weights of the samples.
    filter : pyarrow.compute.Expression or None, default=None
        Which rows are read, ``pyarrow.dataset.field("year") > 2020`` say; files and row groups that have none are skipped.
    format : str, default="parquet"
        "parquet", "csv", "feather" or "orc", where `data` is a path.
    block_rows : int, default=65536
        Rows of a block at most. Memory grows with it, and with the row groups of the files.

    Attributes
    ----------
    n_samples : int
        Rows that are read, counted in the files' metadata where there is no filter.

    Raises
    ------
    ImportError
        If pyarrow is missing: ``pip install "fastdnn[data]"``.
    ValueError
        If a column is not there.

    Notes
    -----
    A fit that shuffles reads row groups in another order in each epoch and shuffles rows in its buffer. Files whose rows are
    sorted (by the target, say) should have row groups smaller than the buffer, or be written in random order.

    Arrow's usual allocator reserves 1 GB of addresses. Where these are limited (``ulimit -v`` or ``-d``), set the environment
    variable ARROW_DEFAULT_MEMORY_POOL to "system" before pyarrow is imported.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa
    >>> from fastdnn import Model, layers
    >>> from fastdnn.data import ParquetSource
    >>> x = np.linspace(-1, 1, 1000)
    >>> source = ParquetSource(pa.table({"x": x, "y": 2 * x}), target="y")  # a path of yours
    >>> model = Model([layers.Dense(1)], optimizer="sgd", random_state=0)
    >>> history = model.fit(source, epochs=40)
    >>> history["loss"][-1] < 1e-3
    True
    """

    def __init__(
        self,
        data: Any,
        columns: Sequence[str] | None = None,
        target: str | Sequence[str] | None = None,
        sample_weight: str | None = None,
        filter: Any = None,
        format: str = "parquet",
        block_rows: int = 65536,
    ) -> None:
        self.data, self.target, self.sample_weight, self.filter, self.format = data, target, sample_weight, filter, format
        self.block_rows, self._n_samples = check_count("block_rows", block_rows), None
        names = self._dataset().schema.names
        others = [*([target] if isinstance(target, str) else target or ()), *([sample_weight] if sample_weight else ())]
        self.columns = [name for name in names if name not in others] if columns is None else list(columns)
        if missing := [name for name in (*self.columns, *others) if name not in names]:
            raise ValueError(f"there is no column {missing[0]!r} in data; it has {', '.join(map(repr, names[:20]))}")
        if not self.columns:
            raise ValueError("columns must name at least one column of the samples, got none")

    def _dataset(self):
        dataset = arrow_dataset()
        if isinstance(self.data, dataset.Dataset):
            return self.data
        if is_arrow(self.data):
            return dataset.dataset(self.data)
        return dataset.dataset(self.data, format=self.format, partitioning="hive")

    @property
    def n_samples(self):
        if self._n_samples is None:
            self._n_samples = self._dataset().count_rows(filter=self.filter)
        return self._n_samples

    def blocks(self, seed=None):
        parts = self.parts()
        for k in order_of(len(parts), seed):
            yield from parts[k]()

    def parts(self):
        return self._parts([*self.columns, *self._targets(), *self._weights()])

    def target_blocks(self):
        """The targets and weights alone, a `Block` after the other without samples."""
        for part in self._parts([*self._targets(), *self._weights()]):
            yield from part()

    def _targets(self):
        return [self.target] if isinstance(self.target, str) else list(self.target or ())

    def _weights(self):
        return [self.sample_weight] if self.sample_weight else []

    def _parts(self, columns):
        """Functions that read these columns of the parts that are read on their own: row groups, where there are some."""
        dataset, found = self._dataset(), []  # once: it looks for the files
        for fragment in dataset.get_fragments(filter=self.filter):
            found += fragment.split_by_row_group() if hasattr(fragment, "split_by_row_group") else [fragment]
        return [partial(self._blocks_of, fragment, dataset.schema, columns) for fragment in found]

    def _blocks_of(self, fragment, schema, columns):
        import pyarrow as pa

        batches = fragment.to_batches(
            schema=schema, columns=list(dict.fromkeys(columns)), filter=self.filter,
            batch_size=self.block_rows, use_threads=False, batch_readahead=1, fragment_readahead=1,
        )  # fmt: skip
        try:
            for batch in batches:
                if batch.num_rows:
                    yield self._block_of(pa.table(batch), columns, place_of(fragment))
        except Exception as error:
            if place_of(fragment):
                error.add_note(f"in {place_of(fragment)}")
            raise

    def _block_of(self, table, columns, place):
        return Block(
            table.select([name for name in self.columns if name in columns]),
            None if self.target is None else targets(table, self.target),
            None if self.sample_weight is None else targets(table, self.sample_weight),
            place=place,
        )

    def __repr__(self):
        return f"ParquetSource(columns={self.columns!r}, target={self.target!r})"


def place_of(fragment):
    """In words, where a fragment is."""
    groups = [group.id for group in getattr(fragment, "row_groups", None) or ()]
    return getattr(fragment, "path", "") + (f", row group {groups[0]}" if len(groups) == 1 else "")
