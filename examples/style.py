"""Textures and styles: pictures made by the gradient of their pixels, through a network with random weights.

    python examples/style.py [--style PICTURE] [--content PICTURE] [--size 144 192] [--steps 200] [--folder FOLDER]

writes style.png into FOLDER (this one): a texture made of noise, and the content in the style. Without paths they are the
two photographs that come with scikit-learn; nothing is fetched.

The Gram matrices of a network's features say which features a picture has together, not where: pictures with the same ones
have the same texture. Four blocks of convolutions see more and more of the picture. Each block is a `Model` of its own, so
that `Model.forward` gives its features, and `Model.vjp` takes the gradient of the losses at all of them back to the pixels;
SciPy's L-BFGS does the rest. Random weights do: half of each kernel's mean is taken out, for edges to count beside colors.
The content, where there is one, holds the features of the second block; steps from pixel to pixel cost a little.

References: Gatys, L. et al. (2015). Texture synthesis using convolutional neural networks. arXiv:1505.07376. Gatys, L. et
al. (2015). A neural algorithm of artistic style. arXiv:1508.06576. Ustyuzhaninov, I. et al. (2017). What does it take to
generate natural textures? ICLR, whose first version is arXiv:1606.00021.
"""

import argparse
import pathlib
import time

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from fastdnn import Model, layers

FILTERS, KERNEL = (32, 64, 96, 96), 5
CONTENT, SMOOTH = 0.05, 0.003  # weights of the content and of steps from pixel to pixel, beside the Gram matrices
CONTENT_BLOCK = 1
PETALS = 195, 255, 355, 375  # of scikit-learn's flower


def image_of(path=None, sample="flower.jpg", box=None):
    """The image of a file; without a path one of scikit-learn's, or a box of it (left, upper, right, lower)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("pictures are read with Pillow, which is not installed: pip install pillow") from error
    if path is None:
        from sklearn.datasets import load_sample_image

        return Image.fromarray(load_sample_image(sample)).crop(box)
    with Image.open(path) as image:
        return image.convert("RGB")


def shrunk(image, size):
    """(height, width, 3) pixels of an image, float32 from 0 to 1: its middle, cut to the form of `size`."""
    height, width = size
    scale = min(image.height / height, image.width / width)
    left, upper = (image.width - scale * width) / 2, (image.height - scale * height) / 2
    box = left, upper, left + scale * width, upper + scale * height
    return np.asarray(image.resize((width, height), box=box, resample=1), np.float32) / 255  # 1: Lanczos


def network(shape, filters=FILTERS, seed=0, dtype="float32"):
    """Blocks of layers as Models, each for what the one before gives."""
    blocks, shape = [], (*shape, 3)
    for i, n in enumerate(filters):
        first = layers.AvgPool2D() if i else layers.Rescaling(4, -1.8)
        convolution = layers.Conv2D(n, KERNEL, padding="same", activation="relu", initializer="he_normal")
        block = Model([first, convolution], dtype=dtype, random_state=seed + i).build(shape)
        kernels = block.weights["1.conv2d.kernel"]
        kernels -= 0.5 * kernels.mean(axis=(0, 1), keepdims=True)
        blocks.append(block)
        shape = block.layout.shapes[-1]
    return blocks


def gram(features):
    """(filters, filters): means over the picture of the products of two features."""
    rows = features.reshape(-1, features.shape[-1])
    return rows.T @ rows / len(rows)


class Looks:
    """What a picture is to look like, as a function of its pixels that SciPy minimizes.

    Parameters
    ----------
    blocks : list of Model
        As `network` makes them.
    style : ndarray of shape (height, width, 3)
        Gives the Gram matrices.
    content : ndarray of the same shape, or None
        Gives the features of a block.
    """

    def __init__(self, blocks, style, content=None):
        self.blocks, self.shape = blocks, style.shape
        self.grams = [gram(found) for found in self.features(style)]
        self.content = None if content is None else self.features(content)[CONTENT_BLOCK]
        self.roughness = sum((np.diff(style.astype(float), axis=axis) ** 2).sum() for axis in (0, 1))

    def features(self, picture):
        """Output of each block, (1, height, width, filters)."""
        found = []
        for block in self.blocks:
            found.append(block.forward(found[-1] if found else picture[None]))
        return found

    def gram_loss(self, picture):
        """Sum over the blocks of |G - G of the style|^2 / |G of the style|^2."""
        pairs = zip(self.features(picture), self.grams, strict=True)
        return float(sum(((gram(found) - wanted) ** 2).sum() / (wanted**2).sum() for found, wanted in pairs))

    def __call__(self, pixels):
        """(loss, its gradient), from the last block back to the first."""
        picture = pixels.reshape(self.shape)
        inputs = [picture[None], *self.features(picture)]
        loss, gradient = 0.0, 0.0
        for i in reversed(range(len(self.blocks))):
            found, wanted = inputs[i + 1], self.grams[i]
            rows = found.reshape(-1, found.shape[-1])
            off, size = gram(found) - wanted, (wanted**2).sum()
            loss += (off**2).sum() / size
            gradient = gradient + (4 / size / len(rows) * (rows @ off)).reshape(found.shape)
            if i == CONTENT_BLOCK and self.content is not None:
                off, weight = found - self.content, CONTENT / (self.content**2).sum()
                loss += weight * (off**2).sum()
                gradient = gradient + 2 * weight * off
            gradient = self.blocks[i].vjp(inputs[i], gradient)[0]
        gradient, weight = gradient[0].astype(float), SMOOTH / self.roughness
        for axis in (0, 1):
            steps, ends = np.diff(picture, axis=axis), [(1, 1), (0, 0), (0, 0)]
            ends[0], ends[axis] = ends[axis], ends[0]
            loss += weight * (steps**2).sum()
            gradient -= 2 * weight * np.diff(np.pad(steps, ends), axis=axis)
        return float(loss), gradient.ravel()


def made(looks, start, steps):
    """The picture that L-BFGS makes of another one; prints what it does to the Gram loss."""
    began = time.perf_counter()
    with threadpool_limits(1, "blas"):  # Gram matrices are small: NumPy's threads would wait for each other, and for ours
        found = minimize(
            looks, start.ravel().astype(float), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * start.size,
            options={"maxiter": steps, "maxfun": 10 * steps, "maxcor": 20, "ftol": 0, "gtol": 0},
        )  # fmt: skip
    picture = found.x.reshape(start.shape)
    before, after = looks.gram_loss(start), looks.gram_loss(picture)
    print(f"Gram loss {before:.3f} -> {after:.5f} in {found.nfev} gradients, {time.perf_counter() - began:.1f} s")
    return picture, before, after


def draw(pictures, path):
    """A row of pictures, {title: picture}."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    height, width, _ = pictures["style"].shape
    figure, axes = plt.subplots(1, len(pictures), figsize=(13, 0.35 + 2.55 * height / width), layout="constrained")
    for ax, (title, picture) in zip(axes, pictures.items(), strict=True):
        ax.imshow(picture)
        ax.set_title(title, fontsize=9, loc="left")
        ax.axis("off")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(folder=None, style=None, content=None, size=(144, 192), steps=200, filters=FILTERS, seed=0):
    """(Gram loss before, after) of the texture and of the content in the style."""
    path = pathlib.Path(folder or pathlib.Path(__file__).resolve().parent) / "style.png"
    style = shrunk(image_of(style, "flower.jpg", PETALS), size)
    content = shrunk(image_of(content, "china.jpg"), size)
    blocks = network(size, filters, seed)
    noise = 0.05 * np.random.default_rng(seed).standard_normal(style.shape)
    start = np.clip(style.mean(axis=(0, 1)) + noise, 0, 1)
    texture, *of_texture = made(Looks(blocks, style), start, steps)
    styled, *of_content = made(Looks(blocks, style, content), content, steps)
    pictures = {"style": style, "texture: before": start, "after": texture, "content: before": content, "after ": styled}
    draw(pictures, path)
    print(f"wrote {path}")
    return of_texture, of_content


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", help="a picture to take the texture of")
    parser.add_argument("--content", help="a picture to paint anew")
    parser.add_argument("--size", type=int, nargs=2, default=(144, 192), help="height and width")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--folder", help="where style.png goes")
    given = parser.parse_args()
    main(given.folder, given.style, given.content, tuple(given.size), given.steps)
