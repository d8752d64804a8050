"""Initial values of parameters. To add one, add one function here; tests and docs pick it up by its name.

An initializer is a function (generator, shape, fan_in, fan_out) -> float64 array; `fan_in` and `fan_out` are the numbers of
inputs and outputs that one weight matrix connects.
"""

import numpy as np

__all__ = ["INITIALIZERS"]

INITIALIZERS = {}  # name -> function


def initializer(function):
    """Decorator: put an initializer into the table, under its name."""
    INITIALIZERS[function.__name__] = function
    return function


def check_initializer(given):
    """The name of an initializer, or a number as a float; otherwise ValueError with the list of names."""
    if isinstance(given, (int, float, np.integer, np.floating)) and not isinstance(given, bool) and np.isfinite(given):
        return float(given)
    if not isinstance(given, str) or given not in INITIALIZERS:
        raise ValueError(f"initializer must be a finite number or one of {sorted(INITIALIZERS)}, got {given!r}")
    return given


def draw(given, generator, shape, fan_in, fan_out):
    """Values by an initializer's name, or all equal to a number; by several, each for its share of the columns."""
    if isinstance(given, np.ndarray):
        return given
    if isinstance(given, tuple):
        part = (*shape[:-1], shape[-1] // len(given))
        return np.concatenate([draw(each, generator, part, fan_in, fan_out) for each in given], axis=-1)
    if isinstance(given, float):
        return np.full(shape, given)
    return INITIALIZERS[given](generator, shape, fan_in, fan_out)


def _uniform(generator, shape, variance):
    bound = np.sqrt(3.0 * variance)
    return generator.uniform(-bound, bound, shape)


def _normal(generator, shape, variance):
    return generator.standard_normal(shape) * np.sqrt(variance)


@initializer
def glorot_uniform(generator, shape, fan_in, fan_out):
    """Uniform on [-a, a], a = sqrt(6 / (fan_in + fan_out)), variance 2 / (fan_in + fan_out).

    Default before sigmoid-like activations. Reference: Glorot & Bengio 2010, Understanding the difficulty of training deep
    feedforward neural networks.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn.initializers import glorot_uniform
    >>> W = glorot_uniform(np.random.default_rng(0), (100, 50), 100, 50)
    >>> bool(abs(W).max() < 0.2)
    True
    """
    return _uniform(generator, shape, 2.0 / (fan_in + fan_out))


@initializer
def glorot_normal(generator, shape, fan_in, fan_out):
    """Normal with variance 2 / (fan_in + fan_out). Reference: Glorot & Bengio 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn.initializers import glorot_normal
    >>> W = glorot_normal(np.random.default_rng(0), (100, 100), 100, 100)
    >>> round(float(W.std()), 2)
    0.1
    """
    return _normal(generator, shape, 2.0 / (fan_in + fan_out))


@initializer
def he_uniform(generator, shape, fan_in, fan_out):
    """Uniform on [-a, a], a = sqrt(6 / fan_in), variance 2 / fan_in.

    Default before activations of the relu family, which halve the variance. Reference: He et al. 2015, Delving deep into
    rectifiers, arXiv:1502.01852.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn.initializers import he_uniform
    >>> W = he_uniform(np.random.default_rng(0), (150, 50), 150, 50)
    >>> bool(abs(W).max() < 0.2)
    True
    """
    return _uniform(generator, shape, 2.0 / fan_in)


@initializer
def he_normal(generator, shape, fan_in, fan_out):
    """Normal with variance 2 / fan_in. Reference: He et al. 2015, arXiv:1502.01852.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn.initializers import he_normal
    >>> W = he_normal(np.random.default_rng(0), (200, 50), 200, 50)
    >>> round(float(W.std()), 2)
    0.1
    """
    return _normal(generator, shape, 2.0 / fan_in)


@initializer
def lecun_uniform(generator, shape, fan_in, fan_out):
    """Uniform on [-a, a], a = sqrt(3 / fan_in), variance 1 / fan_in. Reference: LeCun et al. 1998, Efficient BackProp.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn.initializers import lecun_uniform
    >>> W = lecun_uniform(np.random.default_rng(0), (75, 50), 75, 50)
    >>> bool(abs(W).max() < 0.2)
    True
    """
    return _uniform(generator, shape, 1.0 / fan_in)


@initializer
def lecun_normal(generator, shape, fan_in, fan_out):
    """Normal with variance 1 / fan_in; default before selu. Reference: LeCun et al. 1998; Klambauer et al. 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn.initializers import lecun_normal
    >>> W = lecun_normal(np.random.default_rng(0), (100, 100), 100, 100)
    >>> round(float(W.std()), 2)
    0.1
    """
    return _normal(generator, shape, 1.0 / fan_in)


@initializer
def orthogonal(generator, shape, fan_in, fan_out):
    """Orthonormal columns (or rows, if there are fewer of those): Q of the QR decomposition of a normal matrix.

    The signs of R's diagonal are put into Q, which makes it uniform among them. An array of more dimensions is taken as a
    matrix of its last one. Reference: Saxe, McClelland & Ganguli 2014, arXiv:1312.6120.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn.initializers import orthogonal
    >>> W = orthogonal(np.random.default_rng(0), (30, 20), 30, 20)
    >>> bool(np.allclose(W.T @ W, np.eye(20)))
    True
    """
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return (q if rows >= columns else q.T).reshape(shape)


@initializer
def zeros(generator, shape, fan_in, fan_out):
    """All 0; default of biases. A number given in place of a name makes all values that number.

    Reference: Goodfellow, Bengio & Courville 2016, Deep Learning, section 8.4.

    Examples
    --------
    >>> from fastdnn.initializers import zeros
    >>> zeros(None, (2,), 1, 2)
    array([0., 0.])
    """
    return np.zeros(shape)


@initializer
def ones(generator, shape, fan_in, fan_out):
    """All 1; default of scales. Reference: Ioffe & Szegedy 2015, arXiv:1502.03167.

    Examples
    --------
    >>> from fastdnn.initializers import ones
    >>> ones(None, (2,), 1, 2)
    array([1., 1.])
    """
    return np.ones(shape)
