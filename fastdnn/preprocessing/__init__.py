"""Table of contents of the preprocessing: what makes samples of sequences, texts and series in time."""

from .sequences import pad_sequences
from .text import TextTokenizer
from .windows import split_series, windows

__all__ = ["TextTokenizer", "pad_sequences", "split_series", "windows"]
