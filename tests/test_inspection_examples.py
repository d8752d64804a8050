"""The examples of pictures by gradients: styles, and what predictions hang on."""

import gzip
import sys

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")


def pixels(path):
    """(height, width) of a PNG, and whether anything is drawn in it."""
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    image = matplotlib.image.imread(path)
    assert image[..., :3].std() > 0.1
    return image.shape[:2]


# ------------------------------------------------------------ style


def test_style(example, tmp_path, capsys):
    losses = example("style").main(tmp_path, size=(32, 40), steps=25, filters=(8, 16, 16))
    for before, after in losses:
        assert after < before / 20
    height, width = pixels(tmp_path / "style.png")
    assert width == 1040
    assert height == pytest.approx(80 * (0.35 + 2.55 * 32 / 40), abs=1)
    assert capsys.readouterr().out.count("Gram loss") == 2


def test_the_gradient_of_the_looks_is_right(example):
    """In all random directions, the blocks' gradients added up on their way back."""
    module, rng = example("style"), np.random.default_rng(0)
    style, content, x = rng.uniform(size=(3, 16, 20, 3))
    blocks = module.network((16, 20), (4, 8, 8), dtype="float64")
    for looks in (module.Looks(blocks, style), module.Looks(blocks, style, content)):
        loss, gradient = looks(x.ravel())
        for _ in range(5):
            d = 1e-6 * rng.standard_normal(x.size)
            slope = looks(x.ravel() + d)[0] - looks(x.ravel() - d)[0]
            assert slope == pytest.approx(2 * gradient @ d, rel=1e-5)
        assert loss > looks.gram_loss(x) > 0
    assert module.Looks(blocks, x).gram_loss(x) == 0


def test_style_of_pictures_of_ones_own(example, tmp_path):
    module, stripes = example("style"), np.zeros((40, 60, 4))
    stripes[:, 15:45, :3], stripes[..., 3] = [1, 0.5, 0], 1
    matplotlib.image.imsave(tmp_path / "stripes.png", stripes)
    picture = module.shrunk(module.image_of(tmp_path / "stripes.png"), (20, 10))  # half as high, a sixth as wide: its middle
    assert picture.shape == (20, 10, 3)
    np.testing.assert_allclose(picture, np.tile([1, 0.5, 0], (20, 10, 1)), atol=0.01)
    both = {"style": tmp_path / "stripes.png", "content": tmp_path / "stripes.png"}
    (before, after), (same, _) = module.main(tmp_path, **both, size=(20, 24), steps=10, filters=(4, 8))
    assert after < before
    assert same < 1e-9  # the content is the style
    with pytest.raises(FileNotFoundError):
        module.main(tmp_path, style=tmp_path / "nothing.png")


def test_style_says_what_it_needs(example, monkeypatch):
    module = example("style")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pictures are read with Pillow, which is not installed: pip install pillow"):
        module.image_of()


# ------------------------------------------------------------ saliency


def test_saliency(example, tmp_path, capsys):
    error, (whole, top, drawn) = example("saliency").main(tmp_path, epochs=5, table_epochs=30)
    assert error < 0.01
    assert whole > 0.25
    assert top < drawn - 0.1 < whole - 0.1
    assert pixels(tmp_path / "saliency.png") == (280, 840)
    printed = capsys.readouterr().out
    assert "test accuracy 0.9" in printed
    ranking = [line.split()[0] for line in printed.splitlines() if line.endswith("#")]
    assert sorted(ranking) == sorted("age sex bmi bp s1 s2 s3 s4 s5 s6".split())


def test_saliency_of_fashion_mnist(example, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, n in (("train", 400), ("t10k", 10)):
        labels = np.arange(n, dtype=np.uint8) % 10
        bytes_ = rng.integers(0, 60, (n, 28, 28), dtype=np.uint8)
        bytes_[np.arange(n), 2 * labels + 4] = 250  # a bright row tells the class
        for kind, array in (("images-idx3", bytes_), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (tmp_path / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    assert example("saliency").of_images(tmp_path / "clothes.png", tmp_path, epochs=3) < 0.02
    assert pixels(tmp_path / "clothes.png") == (280, 840)
