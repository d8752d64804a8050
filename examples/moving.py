"""Pictures of samples side by side, and of how they change: what several examples draw with."""

import pathlib

import matplotlib
import matplotlib.image
import numpy as np

matplotlib.use("Agg")


def mosaic(images, columns, zoom=1, border=1):
    """Images (n, height, width), numbers from 0 (white) to 1 (black), in rows of `columns`: bytes (height, width)."""
    n, height, width = images.shape
    rows = -(-n // columns)
    whole = np.zeros((rows * (height + border) + border, columns * (width + border) + border))
    for k, image in enumerate(images):
        top, left = (k // columns) * (height + border) + border, (k % columns) * (width + border) + border
        whole[top : top + height, left : left + width] = image
    whole = np.repeat(np.repeat(whole, zoom, axis=0), zoom, axis=1)
    return np.rint(255 * (1 - np.clip(whole, 0, 1))).astype(np.uint8)


def save(image, path):
    """Write bytes (height, width) or (height, width, 3) as a PNG."""
    matplotlib.image.imsave(path, image, cmap="gray", vmin=0, vmax=255)


def bytes_of(figure):
    """A matplotlib figure as bytes (height, width, 3)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def save_moving(frames, path, seconds=0.25):
    """Write frames as a GIF that moves, where Pillow is installed; returns its path, or None."""
    try:
        from PIL import Image
    except ImportError:
        print("pip install pillow, and there is a moving picture, too")
        return None
    first, *others = (Image.fromarray(frame) for frame in frames)
    path = pathlib.Path(path)
    first.save(path, save_all=True, append_images=others, duration=round(1000 * seconds), loop=0)
    return path
