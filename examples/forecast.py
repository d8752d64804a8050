"""A series four days ahead: the data set ETTh1, hours of seven channels, with one recurrent network for all of them.

    python examples/forecast.py [ETTh1.csv] [--seeds 5] [--picture forecast.png]

takes a .csv or .csv.gz, its first column the date; without a path ETTh1 is fetched from
https://github.com/zhouhaoyi/ETDataset (2.5 MB). Each channel of each window is a sample of its own: 14 days less the last
value, a day a step of the GRU, from which a dense layer forecasts the 96 hours that follow. Split, scaling and errors are
those of the literature (Zhou et al. 2021, arXiv:2012.07436): twelve, four and four months, errors of scaled values over all
windows of the last. All settings were chosen on the four months in the middle. The forecast is the mean of networks from
several seeds.
"""

import argparse
import io
import time
import urllib.request

import numpy as np
from sklearn.preprocessing import StandardScaler

from fastdnn import Model, callbacks, layers, optimizers, schedules
from fastdnn.preprocessing import split_series, windows

ADDRESS = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv"
DAY, MONTH = 24, 30 * 24
PARTS = 12 * MONTH, 4 * MONTH, 4 * MONTH  # to train with, to choose settings by, to test with


def read(path=None):
    """(series of shape (hours, channels), names of the channels)."""
    if path is None:
        with urllib.request.urlopen(ADDRESS, timeout=60) as answer:
            path = io.StringIO(answer.read().decode())
    table = np.loadtxt(path, str, delimiter=",")
    return table[1:, 1:].astype("float32"), list(table[0, 1:])


def samples(part, length, horizon):
    """Hours before, (windows * channels, length), and hours to forecast: the channels of a window one after another."""
    X, y = windows(part, length, horizon)
    return np.moveaxis(X, 2, 1).reshape(-1, length), np.moveaxis(y, 2, 1).reshape(-1, horizon)


def days(X):
    """Windows less their last values, a day a step: levels change from year to year, what follows from them does not."""
    return (X - X[:, -1:]).reshape(len(X), -1, DAY)


def network(horizon, units, seed):
    return Model(
        [layers.GRU(units, recurrent_dropout=0.2), layers.Dropout(0.3), layers.Dense(horizon)],
        loss="huber",  # far outliers of some channels would lead the squared error
        optimizer=optimizers.AdamW(schedules.OneCycle(3e-3), weight_decay=0.1),
        random_state=seed,
    )


def trained(train, valid, units, seed, epochs):
    """A network that forecasts what is added to the last value, as it was after its best epoch."""
    (X, y), (X_valid, y_valid) = train, valid
    model = network(y.shape[1], units, seed)
    stop = callbacks.EarlyStopping("val_loss", patience=2)
    held_out = days(X_valid), y_valid - X_valid[:, -1:]
    model.fit(days(X), y - X[:, -1:], epochs, 256, validation_data=held_out, callbacks=[stop])
    return model


def forecast(models, X):
    """Mean of the networks' forecasts."""
    return X[:, -1:] + np.mean([model.predict(days(X)) for model in models], axis=0)


def seasonal_naive(X, horizon):
    """The last day again and again."""
    return np.tile(X[:, -DAY:], (1, -(-horizon // DAY)))[:, :horizon]


def draw(path, X, y, guess, name):
    """Six windows, evenly spaced in time: the last days before, and what follows with its forecast."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(10, 4.6), sharex=True, layout="constrained")
    before, after = np.arange(-5 * DAY, 0), np.arange(y.shape[1])
    for place, i in zip(axes.flat, np.linspace(0, len(X) - 1, axes.size).astype(int), strict=True):
        known = X[i, -len(before) :]
        place.plot(before[-len(known) :], known, color="0.6", lw=1)
        place.plot(after, y[i], color="black", lw=1, label="truth")
        place.plot(after, guess[i], color="tab:red", lw=1.4, label="forecast")
        place.set_title(f"{name}, test window {i}", fontsize=8, loc="left")
        place.tick_params(labelsize=7)
    axes[0, 0].legend(fontsize=7, frameon=False)
    figure.supxlabel("hours from the end of the window", fontsize=8)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(path=None, length=14 * DAY, horizon=96, parts=PARTS, units=128, seeds=5, epochs=4, picture=None):
    """Mean squared errors of the scaled test windows: of the networks, and of the day before."""
    series, names = read(path)
    scaler = StandardScaler().fit(series[: parts[0]])
    train, valid, test = (samples(part, length, horizon) for part in split_series(scaler.transform(series), parts, length))
    models, began = [], time.perf_counter()
    for seed in range(seeds):
        models.append(trained(train, valid, units, seed, epochs))
        error = np.mean((forecast(models, valid[0]) - valid[1]) ** 2)
        print(f"{seed + 1} of {seeds} networks: validation MSE {error:.4f}, {time.perf_counter() - began:.0f} s", flush=True)
    X, y = test
    guesses = {"GRU": forecast(models, X), "seasonal naive": seasonal_naive(X, horizon)}
    print(f"{len(X) // len(names)} test windows, {horizon} hours ahead\n{'':15s}{'MSE':>7s}{'MAE':>8s}")
    for name, guess in guesses.items():
        print(f"{name:15s}{np.mean((guess - y) ** 2):7.4f}{np.mean(np.abs(guess - y)):8.4f}")
    if picture:
        of_last = slice(len(names) - 1, None, len(names))
        scale, mean = scaler.scale_[-1], scaler.mean_[-1]
        draw(picture, *(a[of_last] * scale + mean for a in (X, y, guesses["GRU"])), names[-1])
        print(f"wrote {picture}")
    return tuple(float(np.mean((guess - y) ** 2)) for guess in guesses.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", help="ETTh1.csv or ETTh1.csv.gz")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picture", help="file to draw into, such as forecast.png")
    arguments = parser.parse_args()
    main(arguments.path, seeds=arguments.seeds, picture=arguments.picture)
