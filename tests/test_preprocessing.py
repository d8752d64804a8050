"""Sequences padded, texts as ids, windows of series and their parts: values, types, messages, and use with scikit-learn."""

import math
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import estimator_checks, get_tags

from fastdnn import preprocessing
from fastdnn.preprocessing import TextTokenizer, pad_sequences, split_series, windows

TEXTS = ["The cat sat.", "the dog!", "A cat, a dog: the end."]


def message(text):
    return pytest.raises(ValueError, match=re.escape(text))


def test_all_that_is_public_is_named():
    assert sorted(preprocessing.__all__) == ["TextTokenizer", "pad_sequences", "split_series", "windows"]
    assert all(getattr(preprocessing, name).__doc__ for name in preprocessing.__all__)


# ---------------------------------------------------------------- pad_sequences


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


# ---------------------------------------------------------------- TextTokenizer


def test_ids_by_frequency_and_then_by_characters():
    tokenizer = TextTokenizer().fit(TEXTS)
    assert tokenizer.tokens_ == ["", "[UNK]", "the", ".", "a", "cat", "dog", "!", ",", ":", "end", "sat"]
    assert tokenizer.vocabulary_ == {token: i for i, token in enumerate(tokenizer.tokens_) if i > 1}
    assert (tokenizer.n_tokens_, tokenizer.length_) == (12, 9)
    ids = tokenizer.transform(["The dog; the CAT"])
    assert ids.dtype == np.int64
    np.testing.assert_array_equal(ids, [[2, 6, 1, 2, 5, 0, 0, 0, 0]])


def test_order_of_the_texts_does_not_matter():
    assert TextTokenizer().fit(TEXTS).tokens_ == TextTokenizer().fit(TEXTS[::-1]).tokens_


def test_limits_of_the_vocabulary():
    tokenizer = TextTokenizer(max_tokens=4).fit(TEXTS)
    assert tokenizer.tokens_ == ["", "[UNK]", "the", "."]
    assert tokenizer.n_tokens_ == 4  # ids are less than max_tokens: Embedding(max_tokens, ...) takes them
    assert tokenizer.transform(TEXTS).max() == 3
    assert TextTokenizer(max_tokens=100).fit(TEXTS).n_tokens_ == 12
    assert TextTokenizer(min_count=3).fit(TEXTS).tokens_ == ["", "[UNK]", "the"]


def test_length_and_where_texts_are_cut():
    assert TextTokenizer(length=3).fit(TEXTS).transform(["the end of the cat"]).tolist() == [[2, 10, 1]]
    assert TextTokenizer(length=3, truncate="start").fit(TEXTS).transform(["the end of the cat"]).tolist() == [[1, 2, 5]]
    assert TextTokenizer(length=20).fit(TEXTS).transform(TEXTS).shape == (3, 20)


def test_a_text_without_tokens_is_one_unknown_token():
    tokenizer = TextTokenizer().fit([*TEXTS, ""])
    np.testing.assert_array_equal(tokenizer.transform(["", " \n"])[:, :2], [[1, 0], [1, 0]])
    assert (tokenizer.transform(["", "x", *TEXTS])[:, 0] != 0).all()


def test_tokens_that_others_drop():
    tokenizer = TextTokenizer().fit(["I'm a C++ user, 3 < 4?"])
    assert tokenizer.inverse_transform(tokenizer.transform(["I'm a C++ user, 3 < 4?"])) == [
        ["i", "'", "m", "a", "c", "+", "+", "user", ",", "3", "<", "4", "?"]
    ]
    assert TextTokenizer(token_pattern=r"\b\w\w+\b").fit(TEXTS).tokens_[2:] == ["the", "cat", "dog", "end", "sat"]
    assert {"The", "the", "A", "a"} <= TextTokenizer(lowercase=False).fit(TEXTS).vocabulary_.keys()


@pytest.mark.parametrize("text", ["Straße, naïve Ωμέγα", "日本語テキスト", "мир 🙂🙃", "हिन्दी भाषा", "e\u0301te\u0301"])
@pytest.mark.parametrize("analyzer", ["word", "char", list])
def test_unicode(text, analyzer):
    tokenizer = TextTokenizer(analyzer, lowercase=False).fit([text])
    ids = tokenizer.transform([text])
    assert ids.min() > 1
    assert "".join(tokenizer.inverse_transform(ids)[0]) == (text if analyzer != "word" else text.replace(" ", ""))
    assert pickle.loads(pickle.dumps(tokenizer)).transform([text]).tolist() == ids.tolist()


def test_characters_and_back():
    tokenizer = TextTokenizer("char", lowercase=False).fit(["Hello world"])
    assert tokenizer.decode(tokenizer.transform(["old  Hero"])[0]) == "old Hero"  # one space of several
    exact = TextTokenizer(list).fit(["Hello  \n\n world"])
    assert exact.decode(exact.transform(["low  \n\n"])[0], separator="") == "low  \n\n"


def test_decode_and_inverse_transform():
    tokenizer = TextTokenizer().fit(TEXTS)
    ids = tokenizer.transform(["the zebra sat.", "dog"])
    assert tokenizer.inverse_transform(ids) == [["the", "[UNK]", "sat", "."], ["dog"]]
    assert tokenizer.decode(ids[0]) == "the [UNK] sat ."
    assert tokenizer.decode([2, 6], separator="_") == "the_dog"
    assert tokenizer.inverse_transform(np.int32([[2], [6]])) == [["the"], ["dog"]]
    for bad in ([[2, 12]], [[-1]]):
        with message("X must hold ids of 0 to 11, got"):
            tokenizer.inverse_transform(bad)
    with message("ids must hold integers, of shape (time,), got int64 of shape (1, 1)"):
        tokenizer.decode([[2]])
    with message("X must hold integers, of shape (n, time), got float64 of shape (1, 1)"):
        tokenizer.inverse_transform([[2.0]])


@pytest.mark.parametrize(
    "kind",
    [list, tuple, np.array, lambda t: np.array(t, object), pd.Series, lambda t: pd.Series(t, dtype=object), pd.Index],
)
def test_texts_of_any_kind(kind):
    assert TextTokenizer().fit(kind(TEXTS)).transform(kind(TEXTS)).tolist() == TextTokenizer().fit_transform(TEXTS).tolist()


@pytest.mark.parametrize(
    ("X", "text"),
    [
        ("one text", "X must be an iterable of strings, not one string"),
        (b"one text", "X must be an iterable of strings, not one string"),
        (["a", None], "X must hold strings, got None in row 1"),
        (["a", b"b"], "X must hold strings, got b'b' in row 1"),
        ([["a"]], "X must hold strings, got ['a'] in row 0"),
        (pd.Series(["a", math.nan], dtype=object), "X must hold strings, got nan in row 1"),
        (np.array([["a"]]), "X must hold strings and have shape (n,), got shape (1, 1)"),
        (pd.DataFrame({"a": ["b"]}), "X must hold strings and have shape (n,), got shape (1, 1)"),
        (np.array("a"), "X must hold strings and have shape (n,), got shape ()"),
        ((t for t in TEXTS), "X must be a list, an array or a series of strings, got <generator"),
        (None, "X must be a list, an array or a series of strings, got None"),
        ([], "X must hold at least one text"),
    ],
)
def test_texts_that_are_none(X, text):
    with message(text):
        TextTokenizer().fit(X)
    with message(text):
        TextTokenizer().fit(TEXTS).transform(X)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"analyzer": "words"}, "The 'analyzer' parameter of TextTokenizer must be"),
        ({"max_tokens": 2}, "The 'max_tokens' parameter of TextTokenizer must be"),
        ({"min_count": 0}, "The 'min_count' parameter of TextTokenizer must be"),
        ({"length": 0}, "The 'length' parameter of TextTokenizer must be"),
        ({"truncate": "pre"}, "The 'truncate' parameter of TextTokenizer must be"),
        ({"token_pattern": "("}, "token_pattern must be a regular expression, got '('"),
        ({"min_count": 9}, "no token is left: X has 10, none of them min_count=9 times"),
        ({"analyzer": lambda text: [1, 2]}, "analyzer must give tokens that are strings, got 1"),
    ],
)
def test_settings_that_do_not_fit(settings, text):
    with message(text):
        TextTokenizer(**settings).fit(TEXTS)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_set_params,
        estimator_checks.check_valid_tag_types,
    ],
    ids=lambda check: check.__name__,
)
def test_scikit_learns_checks_that_need_no_numbers(check):
    check("TextTokenizer", TextTokenizer())


def test_tags_clone_and_parameters():
    tags = get_tags(TextTokenizer())
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.requires_fit
    tokenizer = TextTokenizer(list, max_tokens=9, length=4).fit(TEXTS)
    copy = clone(tokenizer)
    assert copy.get_params() == tokenizer.get_params()
    assert not hasattr(copy, "vocabulary_")
    assert tokenizer.fit(TEXTS, [0, 1, 2]) is tokenizer


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "decode", "get_feature_names_out"])
def test_not_fitted(method):
    with pytest.raises(NotFittedError):
        getattr(TextTokenizer(), method)(TEXTS)


def test_names_and_frames():
    tokenizer = TextTokenizer(length=2).set_output(transform="pandas")
    frame = tokenizer.fit_transform(pd.Series(TEXTS, index=[7, 8, 9]))
    assert list(frame.columns) == list(tokenizer.get_feature_names_out()) == ["texttokenizer0", "texttokenizer1"]
    assert list(frame.index) == [7, 8, 9]
    assert (frame.dtypes == np.int64).all()
    columns = ColumnTransformer([("ids", TextTokenizer(length=2), "text")], remainder="passthrough")
    data = pd.DataFrame({"text": TEXTS, "size": [1, 2, 3]})
    np.testing.assert_array_equal(columns.fit_transform(data), [[2, 5, 1], [2, 6, 2], [4, 5, 3]])
    assert list(columns.get_feature_names_out()) == ["ids__texttokenizer0", "ids__texttokenizer1", "remainder__size"]


def test_grid_search_in_a_pipeline_and_pickle():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    texts = [f"{'good' if label else 'bad'} {' '.join(rng.choice(['film', 'plot', 'cast'], 2))}" for label in y]
    pipeline = make_pipeline(TextTokenizer(length=3), OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    grid = {"texttokenizer__max_tokens": [3, 7], "texttokenizer__analyzer": ["word", "char"]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(texts, y)
    assert search.best_params_ == {"texttokenizer__max_tokens": 7, "texttokenizer__analyzer": "word"}
    assert search.best_score_ == 1
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(texts), y)


# ---------------------------------------------------------------- windows


def by_hand(series, length, horizon, step, gap):
    """(X, y) of windows, one after the other."""
    starts = range(0, len(series) - length - gap - horizon + 1, step)
    first = length + gap
    return [series[i : i + length] for i in starts], [series[i + first : i + first + horizon] for i in starts]


@pytest.mark.parametrize(
    ("length", "horizon", "step", "gap"), [(1, 1, 1, 0), (5, 3, 1, 0), (4, 2, 3, 0), (4, 2, 3, 5), (12, 8, 7, 0)]
)
def test_windows_in_the_order_of_time(length, horizon, step, gap):
    table = np.arange(60.0).reshape(20, 3)
    X, y = windows(table, length, horizon, step, gap=gap)
    X_expected, y_expected = by_hand(table, length, horizon, step, gap)
    assert len(X) == len(y) == (20 - length - gap - horizon) // step + 1
    np.testing.assert_array_equal(X, X_expected)
    np.testing.assert_array_equal(y, y_expected)
    X_line, y_line = windows(table[:, 0], length, horizon, step, gap=gap)
    np.testing.assert_array_equal(X_line, X[..., :1])
    np.testing.assert_array_equal(y_line, y[..., 0])


def test_windows_share_memory_and_type():
    for series in (np.arange(50, dtype=np.float32).reshape(25, 2), np.arange(25), np.zeros((25, 2), order="F")):
        for target in (None, 0, slice(0, 1)):
            X, y = windows(series, 4, 2, target=target)
            assert np.shares_memory(X, series)
            assert np.shares_memory(y, series)
            assert X.dtype == y.dtype == series.dtype
            assert not X.flags.writeable


def test_windows_much_larger_than_memory():
    X, y = windows(np.zeros((300_000, 100)), 10_000, 5_000)
    assert X.shape == (285_001, 10_000, 100)  # 2 TB
    assert y.shape == (285_001, 5_000, 100)


@pytest.mark.parametrize("ids", [[16777217, 3, 2, 1], np.uint64([16777217, 3, 2, 1])])
def test_windows_of_ids_stay_integers(ids):
    X, y = windows(ids, 2)
    assert X.dtype.kind in "iu"
    assert X.tolist() == [[[16777217], [3]], [[3], [2]]]
    assert y.tolist() == [[2], [1]]


@pytest.mark.parametrize("target", [1, -1, [1], (2, 0), slice(1, None), np.array([0, 0]), range(2)])
def test_targets(target):
    table = np.arange(30).reshape(10, 3)
    _, y = windows(table, 2, 3, target=target)
    np.testing.assert_array_equal(y, by_hand(table[:, target], 2, 3, 1, 0)[1])
    np.testing.assert_array_equal(windows(pd.DataFrame(table), 2, 3, target=target)[1], y)


@pytest.mark.parametrize("target", [3, -4, [], "a", 1.0, True, [0, 3], [True, False, True], [[0, 1]], slice(9, None)])
def test_targets_that_are_no_columns(target):
    with message("target must be columns of the series, 0 to 2, or None for all, got"):
        windows(np.zeros((10, 3)), 2, target=target)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((np.zeros(6), 4, 3), "series must have at least 7 steps for length=4, gap=0 and horizon=3, got 6"),
        ((np.zeros(6), 4, 1, 1, None, 2), "series must have at least 7 steps for length=4, gap=2 and horizon=1, got 6"),
        ((np.zeros(6), 0), "length must be an integer >= 1, got 0"),
        ((np.zeros(6), 2, 0), "horizon must be an integer >= 1, got 0"),
        ((np.zeros(6), 2, 1, 0), "step must be an integer >= 1, got 0"),
        ((np.zeros(6), 2, 1, 1, None, -1), "gap must be an integer >= 0, got -1"),
        ((np.zeros(6), 2.0), "length must be an integer >= 1, got 2.0"),
        ((np.zeros((2, 2, 2)), 2), "series must have shape (time,) or (time, features)"),
        (([], 2), "series must have shape (time,) or (time, features), none of them 0, got (0,)"),
        ((["a", "b"], 1), "series must hold real numbers, got the string 'a'"),
        (([1, None], 1), "series contains missing values (None)"),
    ],
)
def test_windows_that_do_not_fit(arguments, text):
    with message(text):
        windows(*arguments)
    assert len(windows(np.zeros(7), 4, 3)[0]) == 1


@pytest.mark.parametrize(("horizon", "step"), [(1, 1), (3, 1), (4, 2), (3, 5)])
def test_scikit_learns_splits_in_time_with_a_gap(horizon, step):
    _, y = windows(np.arange(100), 5, horizon, step)
    for train, test in TimeSeriesSplit(3, gap=math.ceil(horizon / step) - 1).split(y):
        assert y[train].max() < y[test].min()
        assert step > horizon or y[train].max() + step >= y[test].min()  # no wider than needed


# ---------------------------------------------------------------- split_series


@pytest.mark.parametrize(("length", "gap", "horizon"), [(1, 0, 1), (6, 0, 4), (6, 3, 4)])
@pytest.mark.parametrize("sizes", [(50, 20, 20), (0.5, 0.3, 0.2)])
def test_targets_of_parts_follow_each_other(sizes, length, gap, horizon):
    series, seen = np.arange(100), 0
    parts = split_series(series, sizes, length, gap)
    steps = [round(100 * size) if size < 1 else size for size in sizes]
    for number, (part, size) in enumerate(zip(parts, steps, strict=True)):
        assert np.shares_memory(part, series)
        X, y = windows(part, length, horizon, gap=gap)
        assert y.min() == (seen if number else length + gap)
        assert y.max() == seen + size - 1
        assert (X.max(axis=(1, 2)) + gap < y[:, 0]).all()
        seen += size


def test_split_of_etth1():
    series, month = np.arange(17420), 30 * 24
    train, val, test = split_series(series, (12 * month, 4 * month, 4 * month), length=96)
    assert (train[0], train[-1]) == (0, 8639)  # borders of the code of Informer, data/data_loader.py
    assert (val[0], val[-1]) == (8640 - 96, 8640 + 2880 - 1)
    assert (test[0], test[-1]) == (8640 + 2880 - 96, 8640 + 5760 - 1)


def test_shares_leave_no_step_and_frames_stay_frames():
    for time in (7, 10, 99, 1001):
        parts = split_series(np.arange(time), (0.7, 0.2, 0.1))
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(time))
    frame = pd.DataFrame({"a": range(10)}, index=pd.date_range("2020", periods=10))
    train, test = split_series(frame, (0.6, 0.4), length=2)
    assert list(train["a"]) == [0, 1, 2, 3, 4, 5]
    assert list(test["a"]) == [4, 5, 6, 7, 8, 9]
    assert test.index[0] == pd.Timestamp("2020-01-05")
    assert [len(part) for part in split_series([1, 2, 3], [2])] == [2]
    assert [len(part) for part in split_series([1, 2, 3], [2, 1], length=2)] == [2, 3]  # all that the first part has


@pytest.mark.parametrize(
    ("sizes", "length", "text"),
    [
        ((6, 5), 0, "sizes must be at most the 10 steps of the series together, got (6, 5), 11 steps"),
        ((0.7, 0.4), 0, "sizes must be at most the 10 steps of the series together, got (0.7, 0.4), 11 steps"),
        ((5, 0), 0, "sizes[1] must be an integer >= 1, got 0"),
        ((0.5, 0.0), 0, "sizes[1] must be a number in (0, 1], got 0.0"),
        ((0.5, 3), 0, "sizes[1] must be a number in (0, 1], got 3"),
        ((0.9, 0.01), 0, "sizes must leave each part at least one of the 10 steps of the series, got (0.9, 0.01)"),
        ((), 0, "sizes must be a sequence of steps or shares"),
        (5, 0, "sizes must be a sequence of steps or shares"),
        ("12", 0, "sizes must be a sequence of steps or shares"),
        ((5, 5), 6, "length + gap must be at most the 5 steps of the first part, got 6"),
        ((5, 5), -1, "length must be an integer >= 0, got -1"),
    ],
)
def test_parts_that_do_not_fit(sizes, length, text):
    with message(text):
        split_series(np.arange(10), sizes, length)
