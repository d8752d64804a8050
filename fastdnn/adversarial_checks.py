"""What a GAN looks at before its networks train, and says afterwards: initial weights, samples, labels, pairs that fit."""

import numpy as np

from . import rng
from .convergence import few, left_out, spread, warn
from .inputs import as_numbers, check_kinds, check_missing
from .layers.weighted import Weighted
from .losses import Adversarial
from .schedules import get_schedule
from .sources import Source

LOST = {"non_saturating": 4.6, "least_squares": 0.98, "hinge": 2.0}  # loss of a generator nothing of which is believed
SAME = 1e-2  # samples that differ by less, in parts of what the real ones do, are taken for the same
BOUNDS = {"tanh": (-1, 1), "sigmoid": (0, 1), "relu": (0, np.inf), "softplus": (0, np.inf)}  # of activations


def draw_weights(model):
    """Draw kernels and biases of layers whose `initializer` is None uniformly from -1 to 1, divided by sqrt(fan_in).

    That is PyTorch's default. With He's weights, larger by a factor of 2.4, and biases of 0 before rectifiers, a generator
    found 1 to 3 of 8 modes where it finds all of them so.
    """
    fans = {}
    for i, entry in enumerate(model.layout.entries):
        layer = model.layout.leaves[entry.layer][1]
        own = entry.name == "bias" and layer.__dict__.get("bias_initializer") != "zeros"
        if isinstance(layer, Weighted) and layer.initializer is None and not own:
            fans.setdefault(entry.layer, (entry.parameter.fans or (entry.rows,))[0])
            source = rng.generator(model.seed, rng.WEIGHTS, len(model.layout.entries) + i)
            entry.view(model.params)[...] = source.uniform(-1, 1, entry.shape) / np.sqrt(fans[entry.layer])
    model.start_states()


def named(name, check, *arguments):
    """What `check` makes of arguments; its ValueErrors begin with the name of the argument."""
    try:
        return check(*arguments)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def check_optimizer(optimizer):
    """ValueError unless an optimizer takes single steps, by a schedule that does not wait for a loss to fall."""
    if optimizer.full_batch or optimizer.trains_elsewhere:
        raise ValueError(f"networks that train in turns need an optimizer of single steps, not {optimizer!r}")
    if get_schedule(getattr(optimizer, "learning_rate", 1.0)).reacts:
        raise ValueError(f"{optimizer.learning_rate!r} reacts to a loss that falls, and of two networks in turns none does")


def as_labels(y, name):
    """Labels (n,), bools, numbers or texts; ValueError otherwise."""
    labels = np.asarray(y)
    if labels.dtype == object:
        check_missing(labels, name)
        check_kinds(labels, name)
        labels = np.asarray(labels.tolist()) if labels.ndim == 1 else labels
    if labels.ndim != 1 or labels.dtype.kind not in "iufbU" or not len(labels):
        raise ValueError(f"{name} must be labels (n,), numbers or texts, got {labels.dtype} of shape {labels.shape}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"{name} contains NaN or infinity; remove those samples")
    return labels


def class_numbers(classes, labels):
    """Class numbers of labels; ValueError if there is one that the networks do not know."""
    alike = (labels.dtype.kind == "U") == (classes.dtype.kind == "U")
    numbers = np.minimum(np.searchsorted(classes, labels), len(classes) - 1) if alike else np.zeros(len(labels), int)
    unknown = np.flatnonzero(classes[numbers] != labels) if alike else [0]
    if len(labels) and len(unknown):
        raise ValueError(f"labels must be among {classes.tolist()}, got {labels[unknown[0]].item()!r}")
    return numbers


def check_samples(gan, X, y):
    """(samples of the float type, labels or None) for a fit of a GAN; ValueError if it cannot take them."""
    X = as_numbers(X, "X", gan.dtype)
    source = Source(X, gan.dtype)
    source.check_finite()
    if source.n < 2:
        raise ValueError(f"X must have at least 2 samples to tell from others, got {source.n}")
    last = getattr(gan.layers[0][-1], "activation", None)
    low, high = BOUNDS.get(last if isinstance(last, str) else "", (-np.inf, np.inf))
    if X.min() < low or X.max() > high:
        raise ValueError(
            f"X has numbers from {X.min():g} to {X.max():g}, and the generator, which ends with {last}, makes them from "
            f"{low} to {high}: scale X, or take another last activation"
        )
    if gan.generator is not None and X.shape[1:] != gan.discriminator.layout.shapes[0]:
        raise ValueError(f"X must hold samples of shape {gan.discriminator.layout.shapes[0]}, got {X.shape[1:]}")
    if y is None:
        if gan.classes is not None:
            raise ValueError("this GAN makes samples by class: give the labels y, too")
        return X, None
    labels = as_labels(y, "y")
    if len(labels) != len(X):
        raise ValueError(f"y must hold a label for each of the {len(X)} samples, got {len(labels)}")
    if gan.generator is not None and gan.classes is None:
        raise ValueError("this GAN was built without classes: fit it without y, or make a new one")
    return X, labels


def check_pair(gan):
    """ValueError unless the two networks are such as `build` makes them: kernels trust it."""
    generator, discriminator = gan.generator, gan.discriminator
    k = 0 if gan.classes is None else len(gan.classes)
    wanted = [(gan.latent + k,), discriminator._built().layout.shapes[0], (max(1, k),)]
    shapes = generator._built().layout.shapes
    if [shapes[0], shapes[-1], discriminator.layout.shapes[-1]] != wanted:
        raise ValueError(
            f"the generator must take {wanted[0]}, make {wanted[1]}, and the discriminator give {wanted[2]}, got "
            f"{shapes[0]}, {shapes[-1]} and {discriminator.layout.shapes[-1]}; call build for new networks"
        )
    for name, model in (("generator", generator), ("discriminator", discriminator)):
        named(name, check_optimizer, model.optimizer)
        if model.precision != gan.precision:
            raise ValueError(f"the {name} must be of {gan.precision}, got {model.precision}")
    if discriminator.loss != Adversarial(gan.loss):
        raise ValueError(f"the discriminator's loss must be {Adversarial(gan.loss)!r}, got {discriminator.loss!r}")


def say_what_went_wrong(gan, X, numbers, counts):
    """Warn if there was nothing to learn from, steps were left out, or the generator has learned one sample."""
    history = gan.history
    if numbers is not None and len(gan.classes) == 1:
        warn(f"all samples are of the class {gan.classes[0].item()!r}: labels say nothing; fit without y, or give others")
    losses = history.get("generator_loss") or [np.nan]
    if not np.isfinite(losses[-1]):
        return
    for model, (skipped, step) in zip(gan._models, counts, strict=True):
        for text in left_out(model, model.skipped_steps - skipped, model.step - step):
            warn(text)
            return
    if losses[-1] > LOST[gan.loss]:
        warn(
            f"the discriminator believes nothing of what is made (the generator's loss is {losses[-1]:.3g}): what it "
            "says is of little use to the generator. Take a smaller discriminator, Dropout in it, a smaller rate of its "
            "optimizer, or loss='least_squares'"
        )
    real = X[few(np.arange(len(X)))]
    if spread(gan.sample(len(real), random_state=0)) < SAME * spread(real):
        warn(
            "the generator makes the same sample of all codes: it has collapsed. Take smaller rates, BatchNorm in the "
            "generator, another loss, or larger batches"
        )
