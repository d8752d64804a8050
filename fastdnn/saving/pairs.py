"""A GAN as metadata and arrays, and back: its two networks as `saving.state` writes them, each under its name."""

import json

import numpy as np

from ..history import History
from ..losses import Adversarial
from ..model import Model
from ..specs import check_count, check_path
from .container import Reader, parse, write
from .errors import ModelFormatError
from .plain import known_types
from .state import MAX_HISTORY, MAX_INT, UNFIT, VERSION, _checked, _read, _snapshot, check_file

FORMAT = "fastdnn-gan"
PARTS = "generator", "discriminator"
SETTINGS = "latent", "loss", "label_smoothing", "discriminator_steps", "instance_noise"  # arguments of the constructor


class Part:
    """The arrays of a file whose names begin with a prefix, read like a file of their own."""

    def __init__(self, prefix, shapes, arrays=None):
        self.shapes = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
        self._prefix, self._arrays = prefix, arrays

    def arrays(self):
        """Pairs (name, array)."""
        for name in self.shapes:
            yield name, self._arrays[self._prefix + name]


def save_gan(gan, path):
    """`GAN.save`."""
    path = check_path("path", path)
    gan._built()
    with gan.locked():
        history = None if gan.history is None else gan.history.copy()
        settings = {name: getattr(gan, name) for name in SETTINGS} | {
            "seed": gan.seed,
            "classes": None if gan.classes is None else gan.classes.tolist(),
            "epochs": gan.epochs,
            "fit_start": list(gan.trained.fit_start),
            "history": None if history is None else list(history),
            "stopped": None if history is None else history.stopped,
        }
        metadata, arrays = {"format": FORMAT, "version": str(VERSION)}, {}
        for name in PARTS:
            of_part, found = _snapshot(getattr(gan, name), True)
            metadata[name] = json.dumps(of_part, allow_nan=False)
            arrays |= {f"{name}/{key}": array for key, array in found.items()}
    try:
        metadata["gan"] = json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(f"classes must be numbers or texts to be written to a file, got {gan.classes!r}") from None
    arrays |= {f"history/{key}": np.array(values, np.float64) for key, values in (history or {}).items()}
    write(path, metadata, arrays)


def load_gan(cls, path, parts, max_bytes):
    """`GAN.load`."""
    types, path = known_types(parts), check_path("path", path)
    max_bytes = None if max_bytes is None else check_count("max_bytes", max_bytes)
    check_file(path)
    with open(path, "rb") as file:
        reader = Reader(file, max_bytes)
        if reader.metadata.get("format") != FORMAT or reader.metadata.get("version") != str(VERSION):
            raise ModelFormatError("the file is not a GAN of fastdnn, or one of a later version than this")
        settings = parse(reader.metadata.get("gan", ""))
        of_parts = {name: parse(reader.metadata.get(name, "")) for name in PARTS}
        models = [_checked(Model, of_parts[n], Part(f"{n}/", reader.shapes).shapes, reader.size, types) for n in PARTS]
        gan = _untrained(cls, settings, models)
        keys = _history_keys(settings, reader.shapes)
        arrays = dict(reader.arrays())
    for model, name in zip(models, PARTS, strict=True):
        _read(model, of_parts[name], Part(f"{name}/", reader.shapes, arrays), True)
    if keys is not None:
        gan.history = History({key: arrays[f"history/{key}"].tolist() for key in keys})
        gan.history.stopped = settings.get("stopped")
    return gan


def _untrained(cls, settings, models):
    """The GAN of the settings with two models whose arrays are still to come; ModelFormatError if they do not fit."""
    generator, discriminator = models
    classes, seed = settings.get("classes"), settings.get("seed")
    if type(seed) is not int or not 0 <= seed < 1 << 256:
        raise ModelFormatError("seed must be a number >= 0")
    flat = classes is None or (
        isinstance(classes, list) and classes and all(isinstance(c, (int, float, str)) for c in classes)
    )
    if not flat or (classes is not None and len({type(c) for c in classes}) > 1):
        raise ModelFormatError("classes must be a list of numbers or texts")
    k = 0 if classes is None else len(classes)
    try:
        gan = cls(
            list(generator.layers), list(discriminator.layers[:-1]), **{name: settings.get(name) for name in SETTINGS},
            generator_optimizer=generator.optimizer, discriminator_optimizer=discriminator.optimizer,
            average=generator.optimizer.average, dtype=generator.precision, random_state=seed,
        )  # fmt: skip
        fits = (
            generator.layout.shapes[0] == (gan.latent + k,)
            and generator.layout.shapes[-1] == discriminator.layout.shapes[0]
            and discriminator.layout.shapes[-1] == (max(1, k),)
            and generator.precision == discriminator.precision
            and discriminator.loss == Adversarial(gan.loss)
        )
    except UNFIT as error:
        raise ModelFormatError(f"the parts of the GAN do not fit each other: {str(error)[:200]}") from None
    if not fits:
        raise ModelFormatError("the two networks do not fit each other, or the classes")
    epochs, start = settings.get("epochs"), settings.get("fit_start")
    good = isinstance(start, list) and len(start) == 2
    if not good or not all(type(n) is int and 0 <= n < MAX_INT for n in (epochs, *start)) or start[1] > epochs:
        raise ModelFormatError("epochs and fit_start must be numbers >= 0")
    gan.generator, gan.discriminator = models
    gan.classes = None if classes is None else np.asarray(classes)
    if classes is not None and not np.array_equal(np.unique(gan.classes), gan.classes):
        raise ModelFormatError("classes must be in order, each once")
    gan.epochs, gan.trained.fit_start = epochs, tuple(start)
    return gan


def _history_keys(settings, shapes):
    """Keys of the history in the file, None if there is none; ModelFormatError unless arrays and names fit."""
    keys, stopped = settings.get("history"), settings.get("stopped")
    if stopped is not None and not isinstance(stopped, str):
        raise ModelFormatError("stopped must be a text")
    if keys is not None and not (
        isinstance(keys, list) and all(isinstance(k, str) for k in keys) and len(set(keys)) == len(keys)
    ):
        raise ModelFormatError("history must be a list of different texts")
    wanted = {f"history/{key}" for key in keys or ()}
    for name in {n for n in shapes if not n.startswith(tuple(f"{part}/" for part in PARTS))} ^ wanted:
        raise ModelFormatError(f"the file lacks the array {name[:80]!r}, or has no place for it")
    for name in wanted:
        if len(shapes[name]) != 1 or shapes[name][0] > MAX_HISTORY or shapes[name] != shapes[f"history/{keys[0]}"]:
            raise ModelFormatError(f"the array {name[:80]!r} must be a list of at most {MAX_HISTORY} numbers")
    return keys
