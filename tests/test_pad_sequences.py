"""Sequences of unequal length, padded at the end; what is refused."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from fastdnn import preprocessing
from fastdnn.preprocessing import pad_sequences


def message(text):
    return pytest.raises(ValueError, match=re.escape(text))


def test_all_that_is_public_is_named():
    assert sorted(preprocessing.__all__) == ["TextTokenizer", "pad_sequences", "split_series", "windows"]
    assert all(getattr(preprocessing, name).__doc__ for name in preprocessing.__all__)


def test_padding_stands_at_the_end():
    padded = pad_sequences([[1, 2, 3], (4,), np.array([5, 6], np.int8)])
    np.testing.assert_array_equal(padded, [[1, 2, 3], [4, 0, 0], [5, 6, 0]])
    assert padded.dtype == np.int64


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda s: pd.Series(s)])
def test_sequences_in_any_iterable(kind):
    np.testing.assert_array_equal(pad_sequences(kind([[1], [2, 3]])), [[1, 0], [2, 3]])


def test_steps_of_several_features_are_padded_as_a_whole():
    first, second = np.ones((2, 3), np.float32), np.full((4, 3), 2, np.float32)
    padded = pad_sequences([first, second], value=-1)
    assert padded.dtype == np.float32
    np.testing.assert_array_equal(padded[0], [[1, 1, 1], [1, 1, 1], [-1, -1, -1], [-1, -1, -1]])
    np.testing.assert_array_equal(padded[1], second)
    assert pad_sequences([np.zeros((2, 4, 4, 1)), np.zeros((3, 4, 4, 1))]).shape == (2, 3, 4, 4, 1)


@pytest.mark.parametrize("number", [2**24 + 1, 2**53 + 1, 2**63 - 1])
@pytest.mark.parametrize("kind", [list, np.array, lambda s: np.array(s, np.uint64), lambda s: pd.Series(s, dtype="Int64")])
def test_ids_never_become_floats(number, kind):
    padded = pad_sequences([kind([number, 1]), [3]])
    assert padded.dtype == np.int64
    assert padded[0, 0] == number


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (("float32", "float32"), "float32"),
        (("float16", "float16"), "float32"),
        (("float32", "float64"), "float64"),
        (("longdouble", "float32"), "float64"),
        (("float32", "int8"), "float32"),
        (("float32", "int64"), "float64"),
        (("bool", "uint8"), "int64"),
    ],
)
def test_type_of_the_result(dtypes, expected):
    assert pad_sequences([np.ones(n + 1, dtype) for n, dtype in enumerate(dtypes)]).dtype == expected


def test_type_that_is_asked_for():
    assert pad_sequences([[1, 255]], dtype=np.uint8).dtype == np.uint8
    np.testing.assert_array_equal(pad_sequences([[1, 2], [3]], dtype="float32", value=0.5), np.float32([[1, 2], [3, 0.5]]))
    with message("sequences[1] must hold integers of 0 to 255 for uint8, got 256 to 256"):
        pad_sequences([[1], [256]], dtype="uint8")
    with message("sequences[0] must hold integers of -9223372036854775808 to 9223372036854775807 for int64"):
        pad_sequences([np.array([2**63], np.uint64)])
    with message("sequences[1] holds float64, which dtype=int64 would cut"):
        pad_sequences([[1], [1.5]], dtype=int)
    with message("sequences[0] must be finite in float32, got inf"):
        pad_sequences([[1e300]], dtype="float32")
    for dtype in ("complex", "U5", bool, "no type"):
        with message("dtype must be an integer or float type"):
            pad_sequences([[1]], dtype=dtype)


def test_longer_sequences_are_cut():
    sequences = [[1, 2, 3, 4], [5]]
    np.testing.assert_array_equal(pad_sequences(sequences, 2), [[1, 2], [5, 0]])
    np.testing.assert_array_equal(pad_sequences(sequences, 2, truncate="start"), [[3, 4], [5, 0]])
    np.testing.assert_array_equal(pad_sequences(sequences, 5, truncate="start"), [[1, 2, 3, 4, 0], [5, 0, 0, 0, 0]])


def test_the_result_is_a_copy():
    sequence = np.arange(3)
    pad_sequences([sequence])[0, 0] = 9
    assert sequence[0] == 0


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ([], "sequences[1] is empty (shape (0,))"),
        (np.zeros((2, 0)), "sequences[1] is empty (shape (2, 0))"),
        (7, "sequences[1] must have shape (time,) or (time, features), got the number 7"),
        (["a"], "sequences[1] must hold real numbers, got the string 'a'"),
        (["1", 2], "sequences[1] must hold real numbers, got the string '1'"),
        ("text", "sequences[1] must hold real numbers, got the string 'text'"),
        ([b"a"], "sequences[1] must hold real numbers, got the string b'a'"),
        ([1, None], "sequences[1] contains missing values (None)"),
        (None, "sequences[1] contains missing values (None)"),
        (pd.Series([1, pd.NA], dtype=object), "sequences[1] contains missing values (<NA>)"),
        ([math.nan, math.nan], "sequences[1] must be finite in float64, got nan"),
        ([1.0, math.inf], "sequences[1] must be finite in float64, got inf"),
        ([[1, 2], [3]], "sequences[1] must hold steps of one shape"),
        ([[1, 2]], "sequences[1] must have steps of shape (), as sequences[0] has, got (2,)"),
        ([1j], "sequences[1] must hold real numbers that fit 64 bits, got complex128"),
        ([2**70], "sequences[1] must hold real numbers that fit 64 bits, got object"),
        ([np.datetime64("2020")], "sequences[1] must hold real numbers that fit 64 bits, got datetime64[Y]"),
        (np.ma.masked_array([1, 2], [0, 1]), "sequences[1] has masked entries"),
        (scipy.sparse.csr_matrix([[1]]), "sequences[1] must be a dense array"),
    ],
)
def test_messages_name_the_sequence(bad, text):
    with message(text):
        pad_sequences([[1, 2], bad])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"length": 0}, "length must be an integer >= 1, got 0"),
        ({"length": 2.0}, "length must be an integer >= 1, got 2.0"),
        ({"truncate": "pre"}, "truncate must be one of ('end', 'start'), got 'pre'"),
        ({"value": 0.5}, "value must be an integer of -9223372036854775808 to"),
        ({"value": 256, "dtype": "uint8"}, "value must be an integer of 0 to 255"),
        ({"value": math.nan, "dtype": float}, "value must be a number in"),
        ({"value": 1e300, "dtype": "float32"}, "value must be a number in"),
        ({"value": "0"}, "value must be an integer of"),
        ({"value": True}, "value must be an integer of"),
    ],
)
def test_messages_name_the_argument(arguments, text):
    with message(text):
        pad_sequences([[1, 2]], **arguments)


@pytest.mark.parametrize("sequences", ["ab", 3, None])
def test_what_is_no_list_of_sequences(sequences):
    with message("sequences must be a list of sequences"):
        pad_sequences(sequences)


def test_no_sequences():
    with message("sequences must hold at least one sequence"):
        pad_sequences([])
    with message("sequences[0] must have shape (time,) or (time, features), got the number 1"):
        pad_sequences([1, 2, 3])
