"""A picture of every schedule: the rate over the steps of a fit.

python examples/schedules.py [FILE.png]
"""

import argparse

import numpy as np

from fastdnn import schedules

SHOWN = [
    schedules.Constant(1.0),
    schedules.Step(1.0, every=250, factor=0.5),
    schedules.Exponential(1.0, 0.1, every=500),
    schedules.Polynomial(1.0, power=2.0),
    schedules.InverseScaling(1.0),
    schedules.Cosine(1.0),
    schedules.Cosine(1.0, period=150, growth=2.0),
    schedules.OneCycle(1.0),
    schedules.Warmup(schedules.Cosine(1.0), 100),
]


def main(path=None, steps=1000):
    rates = {repr(schedule): schedule.rates(np.arange(steps), steps) for schedule in SHOWN}
    plateau, state, loss = schedules.ReduceOnPlateau(1.0, factor=0.5, patience=3), {}, 1.0
    stuck = []
    for _ in range(20):  # epochs: the loss falls, and stays where it is from the fifth epoch on
        stuck += [state.get("factor", 1.0)] * (steps // 20)
        loss = max(0.5, loss - 0.1)
        plateau.observe(loss, state)
    rates[repr(plateau)] = np.array(stuck)
    for name, values in rates.items():
        print(f"{name:75} first {values[0]:.3f}, middle {values[steps // 2]:.3f}, last {values[-1]:.3f}")
    if path is not None:
        draw(path, rates)
    return len(rates)


def draw(path, rates):
    """One small picture for each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 5, figsize=(15, 5), sharex=True, sharey=True, layout="constrained")
    for ax, (name, values) in zip(axes.flat, rates.items(), strict=True):
        ax.plot(values)
        ax.set_title(name.replace(", ", ",\n", 2), fontsize=8)
        ax.grid(alpha=0.3)
    figure.supxlabel("step")
    figure.supylabel("learning rate")
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", help="where the picture goes")
    main(parser.parse_args().path)
