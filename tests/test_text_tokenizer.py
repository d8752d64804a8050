"""Texts to padded ids and back: vocabulary, lengths, scikit-learn's conventions; what is refused."""

import math
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import estimator_checks, get_tags

from fastdnn.preprocessing import TextTokenizer

TEXTS = ["The cat sat.", "the dog!", "A cat, a dog: the end."]


def message(text):
    return pytest.raises(ValueError, match=re.escape(text))


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
