"""Spoken digits, of unequal durations, as frames of a spectrum that a recurrent network goes through in both directions.

    python examples/spoken.py [FOLDER] [--epochs 20]

FOLDER holds recordings named <digit>_<speaker>_<k>.wav, as https://github.com/Jakobovski/free-spoken-digit-dataset has them;
as its authors propose, those with k < 5 are the test set. Without it, sounds are made: each digit is a few tones that glide
like the formants of a vowel, at another pitch, pace and loudness each time, in noise. Digits 2 k and 2 k + 1 are the same
tones, one forwards and one backwards: what matters is their order.
"""

import argparse
import pathlib
import time

import numpy as np
from scipy.fft import dct
from scipy.io import wavfile
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastdnn import Model, layers, losses, optimizers, schedules
from fastdnn.preprocessing import pad_sequences

RATE = 8000  # samples a second
FRAME, HOP, FFT = 200, 80, 256  # 25 ms every 10 ms
BANDS, COEFFICIENTS = 26, 13
# frequencies in Hz of three tones at the beginning, in the middle and at the end, one line for digits 2 k and 2 k + 1
TRACKS = np.array(
    [
        [[300, 2200, 2900], [500, 1800, 2500], [700, 1200, 2500]],
        [[300, 800, 2300], [400, 1400, 2400], [300, 2100, 2800]],
        [[700, 1100, 2500], [600, 900, 2400], [350, 750, 2300]],
        [[500, 1500, 2500], [700, 1700, 2400], [400, 2000, 2600]],
        [[450, 1000, 2400], [650, 1500, 2600], [600, 1800, 2500]],
    ]
)


def filters():
    """Triangles of equal widths on the mel scale, (bands, frequencies of the spectrum)."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    low, center, high = (700 * (10 ** (mel[i : i + BANDS, None] / 2595) - 1) for i in range(3))
    at = np.fft.rfftfreq(FFT, 1 / RATE)
    return np.maximum(0, np.minimum((at - low) / (center - low), (high - at) / (high - center)))


def frames(sound):
    """Mel-frequency cepstral coefficients, (time, 13), of the sound made as loud as any."""
    sound = np.pad(np.asarray(sound, float), (0, max(0, FRAME - len(sound))))
    sound = sound / (sound.std() + 1e-9)
    sound = np.append(sound[0], sound[1:] - 0.97 * sound[:-1])  # louder where speech has little power
    pieces = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::HOP] * np.hamming(FRAME)
    power = np.abs(np.fft.rfft(pieces, FFT)) ** 2 @ filters().T
    return dct(np.log(power + 1e-3), norm="ortho")[:, :COEFFICIENTS].astype("float32")  # silence is not -infinity


def spoken(digit, rng):
    """A sound of 0.2 to 0.6 s."""
    n = int(rng.uniform(0.2, 0.6) * RATE)
    pace = np.linspace(0, 1, n) ** np.exp(rng.normal(0, 0.3))  # slow at first, or at the end
    track = TRACKS[digit // 2] * np.exp(rng.normal(0, 0.08)) * np.exp(rng.normal(0, 0.04, (3, 3)))
    if digit % 2:
        track = track[::-1]
    tones = 0
    for frequencies in track.T:
        phase = 2 * np.pi * np.cumsum(np.interp(pace, (0, 0.5, 1), frequencies)) / RATE
        tones = tones + rng.uniform(0.4, 1) * np.sin(phase + rng.uniform(0, 2 * np.pi))
    return tones * np.hanning(n) + rng.uniform(0.1, 0.6) * rng.standard_normal(n)


def made(n, seed=0):
    """(list of frames, digits), as many of each digit."""
    rng, digits = np.random.default_rng(seed), np.arange(n) % 10
    return [frames(spoken(digit, rng)) for digit in digits], digits


def recordings(folder):
    """(frames, digits) to train with and to test with."""
    paths = sorted(pathlib.Path(folder).glob("[0-9]_*_*.wav"))
    if not paths:
        raise FileNotFoundError(f"no <digit>_<speaker>_<k>.wav in {folder}")
    parts = ([], []), ([], [])
    for path in paths:
        rate, sound = wavfile.read(path)
        if rate != RATE:
            raise ValueError(f"{path} has {rate} samples a second; resample it to {RATE}")
        sounds, digits = parts[int(path.stem.split("_")[-1]) < 5]
        sounds.append(frames(sound if sound.ndim == 1 else sound.mean(axis=1)))
        digits.append(int(path.name[0]))
    if not parts[0][0] or not parts[1][0]:
        raise ValueError(f"{folder} must hold recordings with k < 5, to test with, and others, to train with")
    return [(sounds, np.array(digits)) for sounds, digits in parts]


def network(units, seed=0):
    return Model(
        [layers.Bidirectional(layers.GRU(units, dropout=0.1)), layers.Dropout(0.4), layers.Dense(10)],
        loss=losses.CrossEntropy(label_smoothing=0.05),
        optimizer=optimizers.AdamW(schedules.OneCycle(5e-3), weight_decay=0.02, clip_norm=1.0),
        random_state=seed,
    )


def accuracy_without_order(train, test):
    """Of a linear model of the means and deviations of each sound's frames: what can be told without their order."""
    X, X_test = (np.array([np.append(s.mean(axis=0), s.std(axis=0)) for s in sounds]) for sounds, _ in (train, test))
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return linear.fit(X, train[1]).score(X_test, test[1])


def main(folder=None, epochs=20, units=64, n_train=2000, n_test=500):
    """Test accuracies of the network and of the linear model that does not know the order of the frames."""
    train, test = recordings(folder) if folder else (made(n_train), made(n_test, seed=1))
    scaler = StandardScaler().fit(np.concatenate(train[0]))
    longest = max(map(len, train[0]))
    X, X_test = (pad_sequences([scaler.transform(s) for s in sounds], longest) for sounds, _ in (train, test))
    lengths, lengths_test = ([min(len(s), longest) for s in sounds] for sounds, _ in (train, test))
    print(f"{len(X)} sounds to train with, {len(X_test)} to test with, of {min(lengths)} to {longest} frames")
    model, began = network(units), time.perf_counter()
    model.fit(X, train[1], epochs, 32, lengths=lengths)
    seconds, guesses = time.perf_counter() - began, model.predict(X_test, lengths_test).argmax(axis=1)
    accuracy, unordered = np.mean(guesses == test[1]), accuracy_without_order(train, test)
    print(f"{epochs} epochs in {seconds:.0f} s, test accuracy {accuracy:.4f}; without the order of frames {unordered:.4f}")
    print("rows: digits; columns: what they were taken for")
    print(confusion_matrix(test[1], guesses, labels=range(10)))
    return float(accuracy), float(unordered)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder with the .wav files")
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    main(arguments.folder, arguments.epochs)
