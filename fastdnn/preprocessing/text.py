"""Texts as padded ids of their words or characters."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .sequences import ENDS, as_reals, pad_sequences

PADDING, UNKNOWN = 0, 1  # ids
RESERVED = ["", "[UNK]"]  # what stands for them in `tokens_`, as in Keras's TextVectorization


class TextTokenizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Transformer of texts to the ids of their tokens, for `Embedding`.

    Id 0 is padding, which stands at the end; id 1 is any token that is not in the vocabulary; ids from 2 are tokens, the
    most frequent first, those of one frequency in the order of their characters. A text without a token becomes one unknown
    token, so that each text has a step that counts, as ``Embedding(mask_zero=True)`` demands.

    Parameters
    ----------
    analyzer : {"word", "char"} or callable, default="word"
        What tokens are: matches of `token_pattern`, or characters, by the analyzers of scikit-learn's `CountVectorizer`
        (that of characters makes one space of several). A callable gets a text as it is and gives an iterable of strings;
        ``list``, say, gives all characters with all white space.
    lowercase : bool, default=True
        Whether to make texts lower-case before; not for a callable.
    token_pattern : str, default=r"\w+|[^\w\s]"
        Regular expression of a token, for "word". The default keeps each word and each punctuation mark: a sequence lives on
        both. (`CountVectorizer` drops punctuation and words of one letter.)
    max_tokens : int or None, default=None
        Most ids, at least 3, those of padding and unknown tokens included: ``Embedding(max_tokens, ...)`` is large enough
        for any training data. None has no limit; ``Embedding(tokenizer.n_tokens_, ...)`` then.
    min_count : int, default=1
        Tokens that training texts have fewer times, in all, are unknown.
    length : int or None, default=None
        Steps of the result, at least 1; None takes those of the longest training text.
    truncate : {"end", "start"}, default="end"
        Where a longer text is cut.

    Attributes
    ----------
    vocabulary_ : dict of str -> int
        Ids of the tokens, from 2.
    tokens_ : list of str
        Tokens by id; "" is padding, "[UNK]" an unknown token.
    n_tokens_ : int
        Number of ids.
    length_ : int
        Steps of the result.

    Raises
    ------
    ValueError
        If a parameter is none of these; if X is one string, or holds anything that is no string; if no token is left.

    Notes
    -----
    The columns of the result are steps, not tokens, so `get_feature_names_out` names them as scikit-learn does where columns
    are not made of one input column each: "texttokenizer0" and so on.

    Examples
    --------
    >>> from fastdnn.preprocessing import TextTokenizer
    >>> tokenizer = TextTokenizer().fit(["The cat sat.", "The dog!"])
    >>> tokenizer.tokens_
    ['', '[UNK]', 'the', '!', '.', 'cat', 'dog', 'sat']
    >>> tokenizer.transform(["The dog sat there", ""])
    array([[2, 6, 7, 1],
           [1, 0, 0, 0]])
    >>> tokenizer.decode([2, 6, 7, 1])
    'the dog sat [UNK]'

    In a pipeline, max_tokens says how many vectors the network needs:

    >>> from sklearn.pipeline import make_pipeline
    >>> from fastdnn import DNNClassifier, layers
    >>> network = DNNClassifier([layers.Embedding(1000, 32, mask_zero=True), layers.GRU(64)])
    >>> pipeline = make_pipeline(TextTokenizer(max_tokens=1000, length=50), network)

    References
    ----------
    CountVectorizer of scikit-learn (analyzers) and TextVectorization of Keras (reserved ids, order).
    """

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        "analyzer": [StrOptions({"word", "char"}), callable],
        "lowercase": ["boolean"],
        "token_pattern": [str],
        "max_tokens": [Interval(Integral, len(RESERVED) + 1, None, closed="left"), None],
        "min_count": [Interval(Integral, 1, None, closed="left")],
        "length": [Interval(Integral, 1, None, closed="left"), None],
        "truncate": [StrOptions(set(ENDS))],
    }

    def __init__(
        self,
        analyzer: str | Callable[[str], Iterable[str]] = "word",
        *,
        lowercase: bool = True,
        token_pattern: str = r"\w+|[^\w\s]",
        max_tokens: int | None = None,
        min_count: int = 1,
        length: int | None = None,
        truncate: str = "end",
    ) -> None:
        self.analyzer = analyzer
        self.lowercase = lowercase
        self.token_pattern = token_pattern
        self.max_tokens = max_tokens
        self.min_count = min_count
        self.length = length
        self.truncate = truncate

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        return tags

    @property
    def _n_features_out(self):
        return self.length_

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the vocabulary, and the length unless it is given.

        Parameters
        ----------
        X : list of str, array of str of shape (n,) or pandas Series
            Training texts, at least one.
        y : None
            Not used.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If a parameter or X does not fit, or no token is left.
        """
        analyze, counts, longest = self._analyzer(), Counter(), 1
        for text in check_texts(X):
            tokens = list(analyze(text))
            counts.update(tokens)
            longest = max(longest, len(tokens))
        wrong = next((token for token in counts if not isinstance(token, str)), None)
        if wrong is not None:
            raise ValueError(f"analyzer must give tokens that are strings, got {wrong!r}")
        kept = sorted((t for t, count in counts.items() if count >= self.min_count), key=lambda t: (-counts[t], t))
        if not kept:
            raise ValueError(
                f"no token is left: X has {len(counts)}, none of them min_count={self.min_count} times; take a smaller "
                "min_count or another analyzer"
            )
        self.tokens_ = [*RESERVED, *kept][: self.max_tokens]
        self.vocabulary_ = {token: number for number, token in enumerate(self.tokens_) if number >= len(RESERVED)}
        self.n_tokens_, self.length_ = len(self.tokens_), longest if self.length is None else int(self.length)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Ids of the tokens of texts, padded with 0 at the end.

        Parameters
        ----------
        X : list of str, array of str of shape (n,) or pandas Series
            Texts, at least one.

        Returns
        -------
        ndarray of int64, shape (n, length_)
            Ids, 0 to n_tokens_ - 1.
        """
        check_is_fitted(self)
        analyze, number = self._analyzer(), self.vocabulary_.get
        ids = [[number(token, UNKNOWN) for token in analyze(text)] or [UNKNOWN] for text in check_texts(X)]
        return pad_sequences(ids, self.length_, PADDING, truncate=self.truncate)

    def inverse_transform(self, X: ArrayLike) -> list[list[str]]:
        """Tokens of ids; `decode` makes a text of them.

        Parameters
        ----------
        X : array-like of int, shape (n, time)
            Ids, 0 to n_tokens_ - 1, of any number of steps.

        Returns
        -------
        list of list of str
            Tokens of each row, padding left out, "[UNK]" for unknown ones.
        """
        check_is_fitted(self)
        return [[self.tokens_[i] for i in row if i != PADDING] for row in self._check_ids(X, "X", 2).tolist()]

    def decode(self, ids: ArrayLike, separator: str | None = None) -> str:
        """The text of ids, of those that a network has generated, say.

        Parameters
        ----------
        ids : array-like of int, shape (time,)
            Ids, 0 to n_tokens_ - 1; 0 is left out.
        separator : str or None, default=None
            What stands between two tokens; None: nothing for characters, otherwise a space. What an analyzer has dropped
            (upper case, white space) does not come back.

        Returns
        -------
        str
            The text, with "[UNK]" for unknown tokens.
        """
        check_is_fitted(self)
        if separator is None:
            separator = "" if self.analyzer == "char" else " "
        return separator.join(self.tokens_[i] for i in self._check_ids(ids, "ids", 1).tolist() if i != PADDING)

    def _analyzer(self):
        """Function from a text to its tokens."""
        settings = {"analyzer": self.analyzer, "lowercase": self.lowercase, "token_pattern": self.token_pattern}
        try:
            return CountVectorizer(**settings).build_analyzer()
        except re.error as error:
            raise ValueError(f"token_pattern must be a regular expression, got {self.token_pattern!r}: {error}") from error

    def _check_ids(self, ids, name, ndim):
        """`ids` as an array; ValueError unless it has that many dimensions and holds ids."""
        found = as_reals(ids, name)
        if found.ndim != ndim or found.dtype.kind not in "iu":
            shape = ("(time,)", "(n, time)")[ndim - 1]
            raise ValueError(f"{name} must hold integers, of shape {shape}, got {found.dtype} of shape {found.shape}")
        wrong = found[(found < 0) | (found >= self.n_tokens_)]
        if wrong.size:
            raise ValueError(f"{name} must hold ids of 0 to {self.n_tokens_ - 1}, got {wrong[0]}")
        return found


def check_texts(X):
    """List of the strings of X; ValueError unless it is a list, an array or a series of strings."""
    if isinstance(X, (str, bytes)):
        raise ValueError("X must be an iterable of strings, not one string; put it into a list, [text]")
    if getattr(X, "ndim", 1) != 1:
        raise ValueError(f"X must hold strings and have shape (n,), got shape {X.shape}; take one column")
    if not hasattr(X, "__len__"):  # a generator would be used up by fit, before transform
        raise ValueError(f"X must be a list, an array or a series of strings, got {X!r}; list(X) makes a list")
    texts = list(X)
    if not texts:
        raise ValueError("X must hold at least one text, got none")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"X must hold strings, got {text!r} in row {row}; remove, decode or replace it")
    return texts
