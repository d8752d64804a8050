"""Whether a generator finds all of a distribution: 8 Gaussians on a ring, 25 on a grid.

    python examples/gan_modes.py [ring|grid] [--seeds N] [--folder FOLDER]

prints, for each seed, how many modes 2,500 samples hit (20 or more of them within three standard deviations) and the share of
samples that hit one, and writes modes_ring.png or modes_grid.png (and a GIF that moves, where Pillow is installed) into
FOLDER. Metric: Srivastava, A. et al. (2017). VEEGAN. arXiv:1705.07761.
"""

import argparse
import pathlib
import time

import numpy as np
from moving import bytes_of, save, save_moving

from fastdnn import GAN, layers, optimizers, schedules

WIDE = [layers.Dense(128, activation="relu"), layers.Dense(128, activation="relu")]
# name: (standard deviation, epochs of 200 steps, largest rate, loss). The grid wants more steps, larger ones, and the hinge.
PROBLEMS = {"ring": (0.02, 30, 2e-3, "non_saturating"), "grid": (0.05, 100, 4e-3, "hinge")}


def centers_of(name):
    """The means of the Gaussians, (modes, 2)."""
    if name == "ring":
        angles = 2 * np.pi * np.arange(8) / 8
        return 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.array([(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)], float)


def data(name, n, seed):
    """n samples of the mixture."""
    source, centers = np.random.default_rng(seed), centers_of(name)
    samples = centers[source.integers(len(centers), size=n)] + PROBLEMS[name][0] * source.standard_normal((n, 2))
    return samples.astype(np.float32)


def quality(samples, name):
    """(modes that are hit, share of the samples that hit one)"""
    distances = np.linalg.norm(samples[:, None] - centers_of(name), axis=2)
    hits = distances.min(axis=1) < 3 * PROBLEMS[name][0]
    counts = np.bincount(distances.argmin(axis=1)[hits], minlength=len(centers_of(name)))
    return int((counts >= 20).sum()), float(hits.mean())


def generator_of(name, seed):
    """The pair of networks."""
    _, _, rate, loss = PROBLEMS[name]
    optimizer = optimizers.Adam(schedules.Polynomial(rate), beta_1=0.5)
    return GAN(
        [*WIDE, layers.Dense(2)],
        WIDE,
        latent=16,
        loss=loss,
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        random_state=seed,
    )


def picture(frames, X, name, path):
    """Samples over the epochs, one square each, into a PNG; returns them as frames that move."""
    from matplotlib import pyplot as plt

    limit = 1.4 * np.abs(X).max()
    shown = [frames[k] for k in np.linspace(0, len(frames) - 1, 6).round().astype(int)]
    figure, axes = plt.subplots(1, 6, figsize=(12, 2.2), layout="constrained")
    for ax, (epoch, samples) in zip(axes, shown, strict=True):
        draw(ax, samples, X, limit, f"epoch {epoch}")
    save(bytes_of(figure), path)
    plt.close(figure)
    moving = []
    for epoch, samples in frames:
        figure, ax = plt.subplots(figsize=(3, 3.2), layout="constrained")
        draw(ax, samples, X, limit, f"{name}, epoch {epoch}")
        moving.append(bytes_of(figure))
        plt.close(figure)
    return moving


def draw(ax, samples, X, limit, title):
    ax.scatter(*X[:1000].T, s=4, color="#b34700", alpha=0.4, linewidths=0)
    ax.scatter(*samples[:1000].T, s=3, color="#1868b7", alpha=0.5, linewidths=0)
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], title=title, aspect="equal")


def main(name="ring", seeds=5, folder=pathlib.Path(__file__).parent, epochs=None, n=51200):
    found = []
    for seed in range(seeds):
        X, gan, frames = data(name, n, seed), generator_of(name, seed), []

        def look(gan, history, frames=frames):
            frames.append((gan.epochs, gan.sample(1000, random_state=0)))

        began = time.perf_counter()
        gan.fit(X, epochs=epochs or PROBLEMS[name][1], batch_size=256, callbacks=[look] if seed == 0 else [])
        seconds, (modes, share) = time.perf_counter() - began, quality(gan.sample(2500, random_state=seed), name)
        found.append((modes, share))
        print(f"{name}, seed {seed}: {modes} of {len(centers_of(name))} modes, {share:.1%} of the samples, {seconds:.1f} s")
        if seed == 0:
            path = pathlib.Path(folder) / f"modes_{name}.png"
            save_moving(picture(frames, X, name, path), path.with_suffix(".gif"))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=PROBLEMS, default="ring")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", default=pathlib.Path(__file__).parent)
    arguments = parser.parse_args()
    main(arguments.name, arguments.seeds, arguments.folder)
