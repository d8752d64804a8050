"""The examples of networks that make something: what they count, what they draw, and that they learn."""

import numpy as np
import pytest

pytest.importorskip("matplotlib").use("Agg")


def size_of(path):
    """(height, width) of a PNG."""
    raw = path.read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(raw[20:24], "big"), int.from_bytes(raw[16:20], "big")


def test_modes_are_counted_as_they_are_defined(example):
    modes = example("gan_modes")
    centers = modes.centers_of("grid")
    assert centers.shape == (25, 2)
    samples = np.concatenate([np.repeat(centers[:3], 20, axis=0), centers[3:4] + [[0.16, 0]] * 40, centers[4:5]])
    assert modes.quality(samples, "grid") == (3, pytest.approx(61 / 101))  # 40 are too far off, one is too few for a mode
    real = modes.data("ring", 2000, 0)
    hit, share = modes.quality(real, "ring")
    assert hit == 8
    assert share == pytest.approx(1 - np.exp(-4.5), abs=0.01)  # of a normal distribution within three deviations


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_modes(example, tmp_path, name, capsys):
    found = example("gan_modes").main(name, seeds=1, folder=tmp_path, epochs=3, n=2560)
    assert len(found) == 1
    assert f"{name}, seed 0" in capsys.readouterr().out
    height, width = size_of(tmp_path / f"modes_{name}.png")
    assert width > 4 * height


def test_digits_that_no_one_has_drawn(example, tmp_path, capsys):
    share, accuracy = example("gan_images").main(epochs=40, pictures=tmp_path, judge_epochs=20)
    assert accuracy > 0.95
    assert share > 0.6  # a tenth by chance; 0.99 after 200 epochs
    assert "recognized" in capsys.readouterr().out
    assert size_of(tmp_path / "gan_digits.png") == (4 * 91, 4 * 91)


def test_autoencoders(example, tmp_path, capsys):
    ratio, auc = example("autoencoder").main(pictures=tmp_path, epochs=60, outlier_epochs=20)
    assert ratio < 0.95
    assert auc > 0.95
    assert "ROC AUC" in capsys.readouterr().out
    assert size_of(tmp_path / "autoencoder.png") == (6 * (14 * 9 + 1), 6 * 91)


def test_mosaics_and_moving_pictures(example, tmp_path):
    moving = example("moving")
    whole = moving.mosaic(np.ones((3, 2, 2)), 2, zoom=1)
    assert whole.shape == (7, 7)
    assert (whole[1:3, 1:3] == 0).all()  # 1 is black
    assert (whole[4:6, 4:6] == 255).all()  # there is no fourth one
    made = moving.save_moving([whole, 255 - whole], tmp_path / "m.gif")
    if made is not None:
        with pytest.importorskip("PIL.Image").open(made) as image:
            assert image.n_frames == 2
