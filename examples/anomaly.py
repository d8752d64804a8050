"""Anomalies of a series: a recurrent network forecasts each hour from those before; where it fails, something is unusual.

    python examples/anomaly.py [--picture anomaly.png]

makes an hourly series of a daily pattern, a trend and noise, trains on its first part, measures usual errors on the second,
and scores the third as a stream, value by value as they come: `Model.stepper` keeps the states of the GRU, so that a value
costs one step and not a window of them. Anomalies are in the third part only: spikes, shifts of the level, days without the
daily pattern, days with a pattern twice as fast.
"""

import argparse
import time

import numpy as np
from sklearn.metrics import roc_auc_score

from fastdnn import Model, layers, optimizers, schedules
from fastdnn.preprocessing import windows

DAY = 24
# kinds of anomalies, and for how many hours changes are unusual: a spike goes and comes back, so does a day of its own kind
KINDS = {"spike": 2, "level shift": 1, "missing pattern": DAY + 1, "fast pattern": DAY + 1}


def pattern(hours):
    """The usual course of a day: a swing, and a peak in the evening."""
    return np.sin(2 * np.pi * hours / DAY) + 0.8 * np.exp(-((hours % DAY - 19) ** 2) / 4)


def made(days, quiet, noise=0.1, seed=0):
    """(series, slices of the anomalies by kind): one every fourth day behind the `quiet` days, kinds in turn."""
    rng, hours = np.random.default_rng(seed), np.arange(days * DAY)
    series = 0.05 * hours / DAY + pattern(hours) + noise * rng.standard_normal(len(hours))
    anomalies = {kind: [] for kind in KINDS}
    for number, day in enumerate(range(quiet + 3, days - 1, 4)):
        kind, start = list(KINDS)[number % len(KINDS)], day * DAY + rng.integers(DAY)
        anomalies[kind].append(slice(start, start + KINDS[kind]))
        of_a_day, size = slice(start, start + DAY), rng.choice((-1, 1)) * rng.uniform(0.6, 1.2)
        if kind == "spike":
            series[start] += size
        elif kind == "level shift":
            series[start:] += size
        elif kind == "missing pattern":
            series[of_a_day] -= pattern(hours[of_a_day])
        else:
            series[of_a_day] += pattern(2 * hours[of_a_day]) - pattern(hours[of_a_day])
    return series, anomalies


def inputs(changes, hours):
    """What the network is told of an hour: the change of the series, cut off where none is usual, and the clock."""
    angle = 2 * np.pi * np.asarray(hours) / DAY
    return np.stack([np.clip(changes, -3, 3), np.sin(angle), np.cos(angle)], axis=-1)


def trained(changes, hours, units, epochs, length=4 * DAY):
    """A network that gives, after each change of the series, the next one; changes know of no trend."""
    X, y = (windows(a, length)[0] for a in (inputs(changes, hours)[:-1], changes[1:]))
    model = Model(
        [layers.GRU(units, return_sequences=True), layers.Dense(1)],
        optimizer=optimizers.AdamW(schedules.OneCycle(1e-2), weight_decay=0.01, clip_norm=1.0),
        random_state=0,
    )
    model.fit(X, y, epochs, 32)
    return model


class Detector:
    """Scores of values as they come: the squared error of the forecast, in units of the usual one.

    Parameters
    ----------
    model : Model
        Gives the next change of a series after each of its changes.
    usual : array-like of shape (time,)
        Some days of the series without anomalies that the model was not trained on; the stream is what follows.
    hour : int
        Of the first of them.
    """

    def __init__(self, model, usual, hour):
        self.stepper, self.hour, self.value, self.forecast, self.spread = model.stepper(), hour, usual[0], 0.0, 1.0
        errors = [self.score(value) for value in usual[1:]]
        self.spread = np.mean(errors[2 * DAY :])  # without the first days, of which the network knows little

    def score(self, value):
        """The score of the next value."""
        change, self.value, self.hour = value - self.value, value, self.hour + 1
        error = (change - self.forecast) ** 2
        self.forecast = self.stepper.step([inputs(change, self.hour)])[0, 0]
        return error / self.spread


def seasonal_scores(series):
    """What needs no network: squared differences from the change a day before."""
    changes = np.diff(series, prepend=series[0])
    return (changes - np.roll(changes, DAY)) ** 2


def draw(path, series, scores, unusual, threshold):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(10, 4), sharex=True, layout="constrained")
    at = np.arange(len(series)) / DAY
    axes[0].plot(at, series, color="black", lw=0.7)
    axes[1].semilogy(at, np.maximum(scores, 0.1), color="tab:red", lw=0.7)
    axes[1].axhline(threshold, color="0.5", lw=0.7)
    for place, label in zip(axes, ("series", "score"), strict=True):
        place.fill_between(at, 0, 1, where=unusual, step="mid", transform=place.get_xaxis_transform(), color="0.85")
        place.set_ylabel(label)
    axes[1].set_xlabel("days")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(train=60, usual=20, stream=120, units=16, epochs=10, threshold=16.0, picture=None):
    """Areas under the ROC curve of the scores of the stream's hours: the network's, and those that need none."""
    quiet = train + usual
    series, anomalies = made(quiet + stream, quiet)
    changes = np.diff(series[: train * DAY])
    series, changes = series / changes.std(), changes / changes.std()
    began = time.perf_counter()
    model = trained(changes, np.arange(1, train * DAY), units, epochs)
    print(f"trained in {time.perf_counter() - began:.1f} s")
    detector, began = Detector(model, series[train * DAY : quiet * DAY], train * DAY), time.perf_counter()
    scores = np.zeros(len(series))
    for hour in range(quiet * DAY, len(series)):
        scores[hour] = detector.score(series[hour])
    each = (time.perf_counter() - began) / (stream * DAY)
    print(f"{stream * DAY} values in a stream, {1e6 * each:.0f} microseconds each")

    unusual, alarms = np.zeros(len(series), bool), scores > threshold
    for kind, places in anomalies.items():
        for place in places:
            unusual[place] = True
        print(f"{kind:16s} {sum(alarms[place].any() for place in places)} of {len(places)} found")
    print(f"{alarms.sum()} alarms, precision {np.mean(unusual[alarms]):.3f}, recall of hours {np.mean(alarms[unusual]):.3f}")
    watched = slice(quiet * DAY, None)
    ours, simple = (roc_auc_score(unusual[watched], s[watched]) for s in (scores, seasonal_scores(series)))
    print(f"area under the ROC curve: GRU {ours:.3f}, the change a day before {simple:.3f}")
    if picture:
        draw(picture, series[watched], scores[watched], unusual[watched], threshold)
        print(f"wrote {picture}")
    return float(ours), float(simple)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", help="file to draw into, such as anomaly.png")
    main(picture=parser.parse_args().picture)
