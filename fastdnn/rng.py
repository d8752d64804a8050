"""Random numbers: one counter-based generator per purpose, and the initializers of weights.

Streams are keyed by (seed, purpose, index), never by thread or by how many numbers something else has drawn: adding a
layer does not change the weights of another, and training can resume in the middle. Reference: Salmon et al. 2011,
Parallel random numbers: as easy as 1, 2, 3 (Philox), as NumPy implements it.
"""

import numpy as np

WEIGHTS, SHUFFLE, SPLIT = range(3)  # purposes


def check_seed(random_state):
    """An int seed from None (entropy of the system), an int >= 0, or a NumPy RandomState or Generator (drawn from)."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool) and random_state >= 0:
        return int(random_state)
    raise ValueError(
        f"random_state must be None, an integer >= 0, a numpy RandomState or a numpy Generator, got {random_state!r}"
    )


def generator(seed, purpose, index=0):
    """A NumPy Generator of its own for (seed, purpose, index)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, purpose, index])))


def _uniform(scale):
    def draw(rng, shape, fan_in, fan_out):
        bound = np.sqrt(3.0 * scale(fan_in, fan_out))
        return rng.uniform(-bound, bound, shape)

    return draw


def _normal(scale):
    def draw(rng, shape, fan_in, fan_out):
        return rng.standard_normal(shape) * np.sqrt(scale(fan_in, fan_out))

    return draw


def _glorot(fan_in, fan_out):
    return 2.0 / (fan_in + fan_out)


def _he(fan_in, fan_out):
    return 2.0 / fan_in


# name -> draw(rng, shape, fan_in, fan_out); the functions above give the variance. Glorot & Bengio 2010; He et al. 2015.
INITIALIZERS = {
    "glorot_uniform": _uniform(_glorot),
    "glorot_normal": _normal(_glorot),
    "he_uniform": _uniform(_he),
    "he_normal": _normal(_he),
    "zeros": lambda rng, shape, fan_in, fan_out: np.zeros(shape),
}


def check_initializer(name):
    """The name itself if there is an initializer of that name; otherwise ValueError with the list of names."""
    if not isinstance(name, str) or name not in INITIALIZERS:
        raise ValueError(f"initializer must be one of {sorted(INITIALIZERS)}, got {name!r}")
    return name
