"""The examples of series in time run on small data and beat what is simple: forecast, spoken digits, anomalies."""

import gzip

import numpy as np
import pytest
from scipy.io import wavfile
from test_examples import example

CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


def write_hours(path, hours=1200):
    """Columns as ETTh1 has them: days alike, on a level that wanders, with noise that a copy of the last day would keep."""
    rng, time = np.random.default_rng(0), np.arange(hours)[:, None]
    days = np.sin(2 * np.pi * (time / 24 + np.arange(len(CHANNELS)) / 7))
    table = 5 * days + rng.standard_normal(days.shape).cumsum(axis=0) * 0.05 + 2 * rng.standard_normal(days.shape)
    lines = [f"2016-07-01 00:00:00,{','.join(map(repr, row))}" for row in table.tolist()]
    with gzip.open(path, "wt") as file:
        file.write("\n".join([",".join(("date", *CHANNELS)), *lines]))


def test_forecast(tmp_path, capsys):
    pytest.importorskip("matplotlib").use("Agg")
    write_hours(tmp_path / "hours.csv.gz")
    error, simple = example("forecast").main(
        tmp_path / "hours.csv.gz", 96, 30, (700, 200, 200), units=16, seeds=2, epochs=25, picture=tmp_path / "forecast.png"
    )
    assert error < 0.75 * simple
    assert (tmp_path / "forecast.png").stat().st_size > 10_000
    assert "171 test windows, 30 hours ahead" in capsys.readouterr().out


def test_forecast_fetches_for_itself(tmp_path):
    forecast = example("forecast")
    write_hours(tmp_path / "hours.csv.gz", 30)
    (tmp_path / "hours.csv").write_bytes(gzip.decompress((tmp_path / "hours.csv.gz").read_bytes()))
    forecast.ADDRESS = (tmp_path / "hours.csv").as_uri()
    fetched, names = forecast.read()
    assert names == list(CHANNELS)
    np.testing.assert_array_equal(fetched, forecast.read(tmp_path / "hours.csv.gz")[0])


def test_forecast_has_channels_of_a_window_in_turn():
    """Of the series i, i + 1000: what the samples are, and what the day before gives, cut at the horizon."""
    forecast = example("forecast")
    series = np.arange(60.0)[:, None] + [0, 1000]
    X, y = forecast.samples(series, 24, 30)
    assert X.shape == (14, 24)
    assert list(X[:3, 0]) == [0, 1000, 1]
    assert list(y[:3, 0]) == [24, 1024, 25]
    assert list(forecast.seasonal_naive(X[:1], 30)[0]) == [*range(24), *range(6)]
    np.testing.assert_array_equal(forecast.days(X)[:, 0, -1], 0)


def test_spoken(capsys):
    accuracy, unordered = example("spoken").main(epochs=12, units=32, n_train=500, n_test=200)
    assert accuracy > 0.85
    assert unordered < accuracy - 0.25


def test_spoken_reads_recordings(tmp_path, capsys):
    spoken = example("spoken")
    with pytest.raises(FileNotFoundError, match="wav"):
        spoken.main(tmp_path)
    rng = np.random.default_rng(0)
    for k in range(25):
        for digit in range(10):
            sound = spoken.spoken(digit, rng)
            path = tmp_path / f"{digit}_anna_{k}.wav"
            wavfile.write(path, spoken.RATE, np.rint(3000 * sound).astype(np.int16))
    accuracy, _ = spoken.main(tmp_path, epochs=20, units=32)
    assert accuracy > 0.6
    assert "200 sounds to train with, 50 to test with" in capsys.readouterr().out
    wavfile.write(tmp_path / "0_anna_0.wav", 16000, np.zeros(99, np.int16))
    with pytest.raises(ValueError, match="16000"):
        spoken.main(tmp_path)


def test_frames_of_a_tone_and_of_silence():
    """Sounds of any loudness have the same frames, one every 10 ms; silence and the shortest sound have finite ones."""
    spoken = example("spoken")
    tone = np.sin(np.arange(2000))
    assert spoken.frames(tone).shape == (23, 13)
    np.testing.assert_allclose(spoken.frames(tone), spoken.frames(1000 * tone), rtol=1e-4, atol=1e-4)
    for sound in (np.zeros(500), np.ones(1)):
        assert np.isfinite(spoken.frames(sound)).all()


def test_anomaly(tmp_path, capsys):
    pytest.importorskip("matplotlib").use("Agg")
    ours, simple = example("anomaly").main(train=40, usual=10, stream=60, picture=tmp_path / "anomaly.png")
    assert ours > 0.8
    assert ours > simple + 0.1
    assert (tmp_path / "anomaly.png").stat().st_size > 10_000
    assert "level shift" in capsys.readouterr().out
