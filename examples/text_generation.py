"""Text made character by character: an LSTM that has read Shakespeare, with samples of what it writes as it learns.

    python examples/text_generation.py [TEXT] [--units 384] [--epochs 12] [--temperature 0.8] [--top-k 20] [--start "ROMEO:"]

TEXT is a file, .txt or .txt.gz; without it tinyshakespeare is fetched from https://github.com/karpathy/char-rnn (1.1 MB).
The first 90 % are trained on. The last 10 % are looked at once, when all epochs are done: each character is predicted from
at least 100 before it. What counts is the mean of -log p, in nats a character.
"""

import argparse
import gzip
import pathlib
import time
import urllib.request

import numpy as np

from fastdnn import Model, layers, optimizers, schedules

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


def fetch(path, url):
    """The bytes of a file, or of what stands at the URL where there is no path; those of a .gz unpacked."""
    if path is not None:
        found = pathlib.Path(path).read_bytes()
    else:
        with urllib.request.urlopen(url, timeout=60) as answer:
            found = answer.read()
    return gzip.decompress(found) if found[:2] == b"\x1f\x8b" else found


def network(n_chars, units, steps, rate=4e-3):
    """Characters to the scores of the next one; `steps` are those of all epochs, which the learning rate needs to know."""
    return Model(
        [
            layers.Embedding(n_chars, 64),
            layers.LSTM(units, return_sequences=True),
            layers.Dropout(0.4),
            layers.Dense(n_chars),
        ],
        loss="cross_entropy",
        optimizer=optimizers.AdamW(
            schedules.OneCycle(rate, start=5, rise=0.1, total=steps), weight_decay=0.05, clip_norm=1.0
        ),
        random_state=0,
    )


def windows_from(ids, start, length):
    """(X, y): consecutive windows of the text from `start` on, and the same windows one character later."""
    n = (len(ids) - 1 - start) // length
    X = ids[start : start + n * length].reshape(n, length)
    return X, ids[start + 1 : start + 1 + n * length].reshape(n, length)


def nats(model, ids, first, streams=256, context=100):
    """Mean of -log p over the characters from number `first` on, each predicted from at least `context` before it.

    Streams side by side go through a part of the text each, and begin with the end of the part before.
    """
    each = -(-(len(ids) - first) // streams)
    starts, total = first + each * np.arange(streams), 0.0
    stepper = model.stepper(streams)
    for t in range(-context, each):
        at = starts + t
        p = stepper.step(ids[np.minimum(at, len(ids)) - 1])
        if t >= 0:
            inside = at < len(ids)
            total -= np.log(p[inside, ids[at[inside]]]).sum(dtype=float)
    return total / (len(ids) - first)


def choose(scores, temperature, top_k, rng):
    """A number drawn by its scores, from the best `top_k`; the lower the temperature, the more often the likely ones."""
    scores = scores.astype(float) / temperature
    if top_k < len(scores):
        scores[scores < np.partition(scores, -top_k)[-top_k]] = -np.inf
    p = np.exp(scores - scores.max())
    return rng.choice(len(p), p=p / p.sum())


def write(model, start, length, temperature=0.8, top_k=20, seed=0):
    """Ids that the network goes on with, after those of `start`."""
    stepper, rng, made = model.stepper(scores=True), np.random.default_rng(seed), []
    for id_ in start:
        scores = stepper.step([id_])
    for _ in range(length):
        made.append(choose(scores[0], temperature, top_k, rng))
        scores = stepper.step([made[-1]])
    return made


def main(path=None, units=384, epochs=12, length=128, batch_size=32, temperature=0.8, top_k=20, start="\n", characters=300):
    text = fetch(path, URL).decode()
    chars, ids = np.unique(list(text), return_inverse=True)
    unknown = set(start) - set(chars)
    if unknown or not start:
        raise ValueError(f"start must have characters of the text, at least one, got {start!r}")
    first = len(ids) * 9 // 10
    batches = -(-(first // length) // batch_size)
    model = network(len(chars), units, epochs * batches)
    model.build((length,))
    print(f"{len(text):,} characters, {len(chars)} different ones; {model.layout.n_params:,} parameters")
    rng, began = np.random.default_rng(0), time.perf_counter()
    for epoch in range(epochs):
        # Windows begin elsewhere each time, so that their first characters, which have no context, are others.
        X, y = windows_from(ids[:first], rng.integers(length), length)
        loss = model.fit(X, y, epochs=1, batch_size=batch_size)["loss"][-1]
        print(f"\n--- epoch {epoch + 1}, loss {loss:.3f}, {time.perf_counter() - began:.0f} s")
        made = write(model, np.searchsorted(chars, list(start)), characters, temperature, top_k, seed=epoch)
        print((start + "".join(chars[made])).strip(), flush=True)
    seconds, test = time.perf_counter() - began, nats(model, ids, first)
    print(f"\n{epochs} epochs in {seconds:.0f} s, {test:.4f} nats a character on the last 10 %")
    return test


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", help="a .txt or .txt.gz file")
    parser.add_argument("--units", type=int, default=384)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--temperature", type=float, default=0.8, help="the lower, the more likely the characters; above 0")
    parser.add_argument("--top-k", type=int, default=20, help="how many of the most likely characters to draw from")
    parser.add_argument("--start", default="\n", help="what each sample begins with")
    arguments = parser.parse_args()
    main(
        arguments.text,
        arguments.units,
        arguments.epochs,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        start=arguments.start,
    )
