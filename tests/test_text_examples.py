"""The examples on texts learn small made data of the formats that they read, and print what they promise."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest

# ------------------------------------------------------------ text_generation


def write_text(path):
    """Four words in random order: but for the first letter of a word all is certain, so that about 0.3 nats are left."""
    words = np.random.default_rng(0).choice(["king ", "queen ", "fool ", "lord\n"], 4000)
    path.write_bytes(gzip.compress("".join(words).encode()))


def test_text_generation(example, tmp_path, capsys):
    write_text(tmp_path / "text.txt.gz")
    settings = {"units": 32, "epochs": 4, "length": 32, "batch_size": 16, "characters": 60}
    assert example("text_generation").main(tmp_path / "text.txt.gz", **settings, temperature=0.5, top_k=3) < 0.5
    printed = capsys.readouterr().out
    assert printed.count("--- epoch") == 4
    assert sum(printed.split("--- epoch 4")[1].count(word) for word in ("king", "queen", "fool", "lord")) > 7
    assert "nats a character" in printed
    with pytest.raises(ValueError, match="start must have characters of the text"):
        example("text_generation").main(tmp_path / "text.txt.gz", start="?")


def test_nats_are_those_of_the_probabilities(example):
    """Each character counts once, with the context that it has in a text that goes through the network in one piece."""
    module, ids = example("text_generation"), np.random.default_rng(0).integers(5, size=400)
    model = module.network(5, 8, 10).build((len(ids),))
    p = model.predict(ids[None])[0]
    expected = -np.log(p[np.arange(299, 399), ids[300:]]).mean()
    assert module.nats(model, ids, 300, streams=1, context=300) == pytest.approx(expected, rel=1e-5)
    assert module.nats(model, ids, 300, streams=7, context=280) == pytest.approx(expected, rel=1e-3)


def test_windows_are_followed_by_themselves_one_character_later(example):
    X, y = example("text_generation").windows_from(np.arange(20), 2, 5)
    assert X.tolist() == [[2, 3, 4, 5, 6], [7, 8, 9, 10, 11], [12, 13, 14, 15, 16]]
    assert (y == X + 1).all()


def test_characters_are_drawn_by_temperature_and_from_the_best_k(example):
    choose, rng = example("text_generation").choose, np.random.default_rng(0)
    scores = np.log(np.array([0.1, 0.5, 0.4], "float32"))
    counts = {
        (temperature, top_k): np.bincount([choose(scores, temperature, top_k, rng) for _ in range(2000)], minlength=3) / 2000
        for temperature, top_k in ((1.0, 3), (0.5, 3), (1.0, 2), (1.0, 1), (1.0, 100))
    }
    np.testing.assert_allclose(counts[1.0, 3], [0.1, 0.5, 0.4], atol=0.04)
    np.testing.assert_allclose(counts[1.0, 100], [0.1, 0.5, 0.4], atol=0.04)
    np.testing.assert_allclose(counts[0.5, 3], np.array([1, 25, 16]) / 42, atol=0.04)
    np.testing.assert_allclose(counts[1.0, 2], [0, 5 / 9, 4 / 9], atol=0.04)
    np.testing.assert_allclose(counts[1.0, 1], [0, 1, 0])


# ------------------------------------------------------------ surnames


def made_names():
    """Bytes of a file for each of three languages, which their endings tell apart."""
    rng, found = np.random.default_rng(0), {}
    for language, ending in (("Elvish", "iel"), ("Dwarvish", "ûk"), ("Orcish", "ash")):
        starts = ["".join(rng.choice(list("bdgklmnr"), 3)) for _ in range(100)]
        found[f"{language}.txt"] = "\n".join(f"{start.title()}{ending} " for start in starts).encode()
    return found


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_surnames(kind, example, tmp_path, capsys):
    path = {"folder": tmp_path, "tar": tmp_path / "names.tar.gz", "zip": tmp_path / "data.zip"}[kind]
    if kind == "folder":
        for name, content in made_names().items():
            (tmp_path / name).write_bytes(content)
    elif kind == "tar":
        with tarfile.open(path, "w:gz") as archive:
            for name, content in made_names().items():
                info = tarfile.TarInfo(f"names/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("data/names")
            archive.writestr("data/eng-fra.txt", "no name")
            for name, content in made_names().items():
                archive.writestr(f"data/names/{name}", content)
    module = example("surnames")
    if kind == "zip":  # what is fetched
        module.URL, path = path.as_uri(), None
    names, languages = module.read(path)
    assert len(names) == 300
    assert sorted(set(languages)) == ["Dwarvish", "Elvish", "Orcish"]
    assert all(name == name.strip() for name in names)
    if kind == "folder":
        assert module.main(path, seeds=1, epochs=6) > 0.9
        printed = capsys.readouterr().out
        assert "300 names of 3 languages" in printed
        assert "mean over 1 seeds" in printed


def test_surnames_says_where_it_found_none(example, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file with names"):
        example("surnames").read(tmp_path)


# ------------------------------------------------------------ sentences


def made_sentences(n, seed):
    """Lines of films: what is said of them, or its negation, tells the class."""
    rng, lines = np.random.default_rng(seed), []
    for k in range(n):
        good, turned = k % 2, rng.random() < 0.3
        word = rng.choice(["dull", "flat"] if good == turned else ["bright", "witty"])
        said = f"{'not ' * turned}{word}"
        what, scene = rng.choice(["film", "plot", "cast"]), rng.choice(list("abcdefgh"))
        lines.append(f"{good} The {what} is {said} , as in « {scene} » .")
    return "\n".join(lines) + "\n"


def test_sentences_with_a_test_set(example, tmp_path, capsys):
    (tmp_path / "stsa.binary.train").write_text(made_sentences(400, 0), "utf-8")
    (tmp_path / "stsa.binary.test.gz").write_bytes(gzip.compress(made_sentences(100, 1).encode("latin-1")))
    assert example("sentences").main("SST-2", tmp_path, seeds=1, epochs=25) > 0.9
    printed = capsys.readouterr().out
    assert "400 sentences, test accuracy" in printed
    assert "SST-2: mean test accuracy" in printed
    X, y = example("sentences").read(tmp_path, "stsa.binary.test")
    assert "«" in X[0]
    assert list(y[:4]) == [0, 1, 0, 1]
    with pytest.raises(FileNotFoundError, match=r"no TREC.train.all or TREC.train.all.gz in"):
        example("sentences").main("TREC", tmp_path)


def test_sentences_in_folds(example, tmp_path, capsys):
    (tmp_path / "rt-polarity.all.gz").write_bytes(gzip.compress(made_sentences(400, 0).encode("latin-1")))
    assert example("sentences").main("MR", tmp_path, folds=2, seeds=1, epochs=25) > 0.9
    assert capsys.readouterr().out.count("360 sentences") == 2
    module = example("sentences")
    module.FILES, module.URL = {"MR": ("rt-polarity.all.gz",)}, f"{tmp_path.as_uri()}/"
    folds = module.splits("MR", None, 10)  # fetched
    assert sum(len(test) for _, _, test, _ in folds) == 400


def test_log_odds_count_each_sentence_once(example):
    ids, y = np.array([[2, 2, 0], [2, 3, 0], [3, 0, 0]]), np.array([0, 0, 1])
    inside = np.array([[3, 1, 3, 2], [2, 1, 1, 2]]) / [[9], [6]]  # and one sentence more that has all
    expected = np.log([inside[0] / inside[1], inside[1] / inside[0]]).T
    np.testing.assert_allclose(example("sentences").log_odds(ids, y, 4), expected)
