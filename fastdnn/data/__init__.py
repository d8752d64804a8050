"""Samples that are not all in memory: streams of blocks, Parquet files."""

from .blocks import Block, BlockSource
from .parquet import ParquetSource

__all__ = ["Block", "BlockSource", "ParquetSource"]
