"""Augmentation: against NumPy and SciPy, what it draws, gradients, threads; nothing of it in inference."""

import pickle

import naive
import numpy as np
import pytest
from scipy import ndimage, stats

from fastdnn import Model, layers
from fastdnn.layers import augmentation
from fastdnn.layers.augmentation import RandomErasing, RandomFlip, RandomRotation, RandomTranslation, RandomZoom
from fastdnn.layers.base import OP

CASES = [
    RandomFlip(),
    RandomTranslation(0.3, (-0.2, 0.4)),
    RandomRotation((-0.3, 0.6), fill_mode="constant", fill_value=-1.5),
    RandomZoom(0.5, fill_mode="wrap"),
    RandomZoom(0.3, (-0.5, 0.1), fill_mode="nearest", interpolation="nearest"),
    RandomErasing(0.7, fill_value=0.5),
]
every_case = pytest.mark.parametrize("layer", CASES, ids=repr)
SHAPE = 6, 5, 3


def images(n, shape=SHAPE, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(dtype)


def augmented(layer, X, seed=0, step=0, before=()):
    """What a layer makes of X in training, exactly: the gradient of the weights of outputs that see one sample each."""
    given, n = len(X), 1 << (len(X) - 1).bit_length()
    X = np.concatenate([X, np.zeros((n - given, *X.shape[1:]), X.dtype)])
    ends = [layers.Flatten(), layers.Dense(n, initializer=0.0)]
    model = Model([*before, layer, *ends], dtype=X.dtype, random_state=seed).build(X.shape[1:])
    model.step = step
    model.loss_and_grad(X, -n * np.eye(n, dtype=X.dtype), training=True)
    return list(model.gradients.values())[-2].T.reshape(X.shape)[:given]


# ---------------------------------------------------------------- what is computed


@pytest.mark.parametrize("mode", ["horizontal_and_vertical", "horizontal", "vertical"])
def test_flips_happen_to_half_of_the_images(mode):
    X = images(1024, (3, 4, 2))
    Y = augmented(RandomFlip(mode), X)
    ways = np.stack([X, X[:, :, ::-1], X[:, ::-1], X[:, ::-1, ::-1]])
    same = (ways == Y).all(axis=(2, 3, 4))
    assert (same.sum(axis=0) == 1).all()
    shares = {"horizontal_and_vertical": [0.25] * 4, "horizontal": [0.5, 0.5, 0, 0], "vertical": [0.5, 0, 0.5, 0]}
    np.testing.assert_allclose(same.mean(axis=1), shares[mode], atol=0.07)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize(
    ("fill_mode", "how"),
    [("reflect", "symmetric"), ("constant", "constant"), ("wrap", "wrap"), ("nearest", "edge")],
)
def test_shifts_by_whole_pixels(fill_mode, how, interpolation):
    X = images(3, (8, 4, 18))
    wide = np.pad(X, ((0, 0), (8, 8), (4, 4), (0, 0)), how, **({"constant_values": 2.5} if how == "constant" else {}))
    for down, right in ((0.25, -0.5), (-0.5, 0.75), (1.0, 1.0), (0.0, -1.0)):
        layer = RandomTranslation((down, down), (right, right), fill_mode, interpolation, fill_value=2.5)
        r, c = 8 - int(8 * down), 4 - int(4 * right)
        np.testing.assert_array_equal(augmented(layer, X), wide[:, r : r + 8, c : c + 4])


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quarter_turns_are_exact(dtype, interpolation):
    for size in (5, 6):
        X = images(2, (size, size, 3), dtype)
        for quarters in (-4, -1, 1, 2, 3):
            layer = RandomRotation((quarters / 4, quarters / 4), interpolation=interpolation)
            np.testing.assert_array_equal(augmented(layer, X), np.rot90(X, quarters, axes=(1, 2)))


def warped(X, matrix, shift, layer):
    """Images under an affine map around the center, by SciPy: place = matrix (pixel - center - shift) + center."""
    mode = {"constant": "grid-constant", "wrap": "grid-wrap"}.get(layer.fill_mode, layer.fill_mode)
    center = (np.array(X.shape[1:3]) - 1) / 2
    at, order = center - matrix @ (center + shift), int(layer.interpolation == "bilinear")
    Y = np.empty_like(X)
    for s in range(len(X)):
        for k in range(X.shape[-1]):
            found = ndimage.affine_transform(X[s, ..., k], matrix, at, order=order, mode=mode, cval=layer.fill_value)
            Y[s, ..., k] = found
    return Y


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill_mode", ["reflect", "constant", "wrap", "nearest"])
def test_maps_as_in_scipy(fill_mode, interpolation):
    settings, none = {"fill_mode": fill_mode, "interpolation": interpolation, "fill_value": 0.7}, np.zeros(2)
    for shape in ((7, 4, 3), (3, 11, 17), (1, 5, 1)):
        X, size = images(2, shape), np.array(shape[:2])
        for down, right in ((0.13, -0.41), (-0.91, 0.87)):
            layer = RandomTranslation((down, down), (right, right), **settings)
            np.testing.assert_allclose(augmented(layer, X), warped(X, np.eye(2), size * (down, right), layer), atol=1e-8)
        for turn in (0.07, -0.31, 0.83):
            layer, t = RandomRotation((turn, turn), **settings), 2 * np.pi * turn
            matrix = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
            np.testing.assert_allclose(augmented(layer, X), warped(X, matrix, none, layer), atol=1e-8)
        for rows, columns in ((0.83, -0.37), (-0.23, None)):
            ranges = (rows, rows), None if columns is None else (columns, columns)
            layer, matrix = RandomZoom(*ranges, **settings), np.diag([1 + rows, 1 + (rows if columns is None else columns)])
            np.testing.assert_allclose(augmented(layer, X), warped(X, matrix, none, layer), atol=1e-8)


def test_float32_and_float64_draw_the_same():
    X = images(16, dtype="float32")
    for layer in CASES:
        np.testing.assert_allclose(augmented(layer, X), augmented(layer, X.astype(float)), atol=2e-6)


def test_places_are_drawn_uniformly_from_their_ranges():
    n, size = 256, 21
    r, c = np.meshgrid(*[np.arange(size) - size // 2] * 2, indexing="ij")
    X = np.repeat(np.stack([r, c], axis=-1)[None].astype(float), n, axis=0)  # each pixel says where it is

    def is_uniform(found, lower, upper):
        assert stats.kstest(found, "uniform", (lower, upper - lower)).pvalue > 1e-3

    def places(layer):
        """Where the center and its neighbours below and to the right come from."""
        Y = augmented(layer, X)[:, size // 2 :, size // 2 :]
        return Y[:, 0, 0], Y[:, 1, 0], Y[:, 0, 1]

    center, _, _ = places(RandomTranslation((-0.2, 0.3), 0.1))
    is_uniform(-center[:, 0] / size, -0.2, 0.3)
    is_uniform(-center[:, 1] / size, -0.1, 0.1)
    assert abs(np.corrcoef(center.T)[0, 1]) < 0.2
    center, below, right = places(RandomRotation((-0.1, 0.2)))
    np.testing.assert_allclose(center, 0, atol=1e-8)
    is_uniform(np.arctan2(right[:, 0], right[:, 1]) / (2 * np.pi), -0.1, 0.2)
    np.testing.assert_allclose((below**2).sum(axis=1), 1, atol=1e-8)
    _, below, right = places(RandomZoom(0.3, (-0.1, 0.4)))
    is_uniform(below[:, 0], 0.7, 1.3)
    is_uniform(right[:, 1], 0.9, 1.4)
    assert abs(np.corrcoef(below[:, 0], right[:, 1])[0, 1]) < 0.2
    _, below, right = places(RandomZoom(0.3))
    is_uniform(below[:, 0], 0.7, 1.3)
    np.testing.assert_allclose(right[:, 1], below[:, 0], atol=1e-8)


def test_boxes_are_erased():
    X = images(512, (16, 20, 2))
    Y = augmented(RandomErasing(0.5, (0.1, 0.3), fill_value=3.0), X)
    erased = (Y == 3.0).all(axis=-1)
    np.testing.assert_array_equal(Y[~erased], X[~erased])
    has = erased.any(axis=(1, 2))
    assert abs(has.mean() - 0.5) < 0.1
    heights, widths = erased.any(axis=2).sum(axis=1)[has], erased.any(axis=1).sum(axis=1)[has]
    np.testing.assert_array_equal(heights * widths, erased.sum(axis=(1, 2))[has])
    for sides, size in ((heights, 16), (widths, 20)):
        assert sides.min() >= np.floor(np.sqrt(0.1) * size)
        assert sides.max() <= np.ceil(np.sqrt(0.3) * size)
        assert len(set(sides)) > 2
    for axis in (1, 2):  # also the first and the last row and column
        hits = erased.any(axis=axis).mean(axis=0)
        assert hits.min() > 0.005
        np.testing.assert_allclose(hits, hits[::-1], atol=0.1)


def test_everything_or_nothing_is_erased():
    X = images(20)
    assert (augmented(RandomErasing(scale=(1.0, 1.0), fill_value=-2.0), X) == -2.0).all()
    for layer in (RandomErasing(0.0), RandomErasing(scale=0.0)):
        np.testing.assert_array_equal(augmented(layer, X), X)
    Y = augmented(RandomErasing(scale=0.25, fill_value=9.0), images(256, (20, 20, 1)))
    shares = (Y[..., 0] == 9.0).mean(axis=(1, 2))
    assert shares.max() <= 0.36
    assert len(set(shares)) > 20


def test_the_identity_is_exact():
    X = images(4)
    for layer in (RandomTranslation(0.0, 0.0), RandomRotation(0.0), RandomZoom(0.0), RandomZoom(0.0, 0)):
        np.testing.assert_array_equal(augmented(layer, X), X)
    center = augmented(RandomZoom((-1.0, -1.0)), images(4, (5, 5, 2)))
    assert (center == center[:, :1, :1]).all()


# ---------------------------------------------------------------- where it happens, and by what it is drawn


@every_case
def test_nothing_random_in_inference(layer):
    X = images(10, dtype="float32")
    np.testing.assert_array_equal(Model([layer], random_state=0).build(SHAPE).forward(X), X)
    ends = [layers.Flatten(), layers.Dense(1)]
    plain, model = (Model([*first, *ends], random_state=0).build(SHAPE) for first in ([], [layer]))
    model.params = plain.params
    (loss, gradient), (expected, expected_gradient) = (m.loss_and_grad(X, np.ones(10)) for m in (model, plain))
    assert loss == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)  # images are summed by shards
    assert not np.array_equal(model.loss_and_grad(X, np.ones(10), training=True)[1], gradient)


@every_case
def test_what_is_drawn_depends_on_seed_layer_step_and_row(layer):
    X = np.repeat(images(1), 32, axis=0)
    Y = augmented(layer, X)
    np.testing.assert_array_equal(augmented(layer, X), Y)
    np.testing.assert_array_equal(augmented(layer, X[:16]), Y[:16])
    behind = augmented(layer, X, before=[layers.Rescaling(1.0)])
    for other in (augmented(layer, X, seed=1), augmented(layer, X, step=1), behind, np.roll(Y, 1, axis=0)):
        assert (other != Y).any(axis=(1, 2, 3)).mean() > 0.3


def test_same_bits_on_any_number_of_threads(on_threads):
    X, y = images(150, dtype="float32"), np.random.default_rng(1).standard_normal((150, 3)).astype("float32")
    for norm in ([], [layers.BatchNorm()]):
        results = set()
        for threads in (1, 2, 3, 4):
            with on_threads(threads):
                stack = [CASES[0], layers.Conv2D(4, 3, padding="same"), *norm, *CASES[1:], layers.Flatten(), layers.Dense(3)]
                model = Model(stack, random_state=1)
                loss = model.fit(X, y, epochs=2, batch_size=64)["loss"]
                results.add((model.params.tobytes(), model.state.tobytes(), *loss))
        assert len(results) == 1
        assert np.isfinite(model.params).all()


def test_bytes_train_as_floats():
    X, y = np.random.default_rng(0).integers(0, 256, (40, *SHAPE)).astype(np.uint8), np.arange(40) % 3
    stack = [layers.Rescaling(1 / 255), *CASES, layers.Flatten(), layers.Dense(3)]
    bytes_, floats = (Model(stack, loss="cross_entropy", random_state=0) for _ in range(2))
    bytes_.fit(X, y, epochs=2, batch_size=16)
    floats.fit(X.astype("float32"), y, epochs=2, batch_size=16)
    np.testing.assert_allclose(bytes_.params, floats.params, atol=1e-5)


# ---------------------------------------------------------------- gradients, NaN


@pytest.mark.parametrize("training", [False, True])
@every_case
def test_gradient_behind_a_convolution(layer, training):
    stack = [layers.Conv2D(4, 3, padding="same", activation="tanh"), layer, layers.Flatten(), layers.Dense(3)]
    model = Model(stack, dtype="float64", random_state=0).build(SHAPE)
    X, y = images(6), images(6, (3,), seed=1)
    _, gradient = model.loss_and_grad(X, y, training=training)
    numeric = naive.central_difference(lambda: model.loss_and_grad(X, y, training=training)[0], model.params)
    numeric[model.layout.padding()] = gradient[model.layout.padding()]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-8)


@every_case
def test_gradient_inside_a_residual_block(layer):
    block = layers.Residual([layers.Conv2D(3, 3, padding="same"), layer])
    stack = [block, layers.BatchNorm(), layers.Flatten(), layers.Dense(2)]
    for first in (stack, [layers.Residual([layer]), *stack]):
        model = Model(first, dtype="float64", random_state=0).build((4, 4, 3))
        X, y = images(5, (4, 4, 3)), images(5, (2,), seed=1)
        numeric = naive.central_difference(lambda m=model, X=X, y=y: m.loss_and_grad(X, y, training=True)[0], X, 1e-5)
        np.testing.assert_allclose(model.input_gradient(X, y, training=True), numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fill_mode", ["reflect", "constant", "wrap", "nearest"])
def test_gradient_of_the_samples(fill_mode):
    shape = 4, 3, 17
    for layer in (RandomTranslation(1.0, 1.0, fill_mode), RandomRotation(1.0, fill_mode), RandomZoom(1.0, 0.9, fill_mode)):
        model = Model([layer, layers.Flatten(), layers.Dense(2)], dtype="float64", random_state=0).build(shape)
        X, y = images(3, shape), images(3, (2,), seed=1)
        numeric = naive.central_difference(lambda m=model: m.loss_and_grad(X, y, training=True)[0], X)  # noqa: B023
        np.testing.assert_allclose(model.input_gradient(X, y, training=True), numeric, rtol=1e-6, atol=1e-8)


def output(layer, X):
    """What a layer makes of one sample in training, NaN and all."""
    model = Model([layer], dtype=X.dtype, random_state=0).build(X.shape[1:])
    clean = np.zeros_like(X)
    run = model.bind(clean, np.zeros_like(X), None, 1)
    clean[...] = X  # `bind` refuses NaN; layers before may make them
    run.loss_and_grad()
    row, (_, height, width, channels) = run.program.table[1], X.shape
    y = run.program.work[row[OP.y] : row[OP.y] + height * width * row[OP.ld_out]]
    return y.reshape(1, height, width, -1)[..., :channels].copy()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinities_stay_where_they_are(bad):
    X = images(1)
    X[0, 2, 1, 0] = bad
    quarter = RandomRotation((0.5, 0.5))
    for layer in (RandomFlip(), quarter, RandomTranslation((1 / 6, 1 / 6), 0.0, "wrap"), RandomErasing(scale=0.0)):
        Y = output(layer, X)
        assert np.isnan(Y).sum() == np.isnan(X).sum()
        assert (~np.isfinite(Y)).sum() == 1
    between = output(RandomTranslation((1 / 12, 1 / 12), 0.0), X)
    assert (~np.isfinite(between)).sum() == 2
    assert np.isnan(between).any() == np.isnan(bad)


def test_a_nan_does_not_reach_other_samples():
    X = np.abs(images(8, dtype="float32"))
    X[3] *= -1
    model = Model([layers.PReLU(), *CASES[:-1], layers.Flatten(), layers.Dense(1)], random_state=0).build(SHAPE)
    model.weights["0.prelu.slope"][...] = np.nan
    gradient = model.input_gradient(X, np.zeros(8), training=True)
    np.testing.assert_array_equal(np.isnan(gradient).any(axis=(1, 2, 3)), np.arange(8) == 3)


# ---------------------------------------------------------------- specs and errors


@every_case
def test_layers_pickle_print_and_compare(layer):
    assert pickle.loads(pickle.dumps(layer)) == layer
    assert eval(repr(layer), vars(augmentation)) == layer
    assert type(layer)(**layer.settings()) == layer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomFlip("both"), "mode must be 'horizontal_and_vertical', 'horizontal', 'vertical', got 'both'"),
        (lambda: RandomFlip(None), "mode must be .* got None"),
        (lambda: RandomTranslation(1.1, 0), r"height_factor must be a number in \[-1, 1\], got 1.1"),
        (lambda: RandomTranslation(0, (0.1, 0.2, 0.3)), r"width_factor must be a number in \[-1, 1\] or a pair .* 0.3\)"),
        (lambda: RandomTranslation(0, (0.3, -0.2)), r"width_factor must be a pair \(lower, upper\) with lower <= upper"),
        (lambda: RandomTranslation(0, 0, "mirror"), "fill_mode must be 'constant', .* 'wrap', 'reflect', got 'mirror'"),
        (lambda: RandomTranslation(0, 0, interpolation="cubic"), "interpolation must be 'bilinear', 'nearest', got 'cubic'"),
        (lambda: RandomTranslation(0, 0, fill_value=np.nan), "fill_value must be a number"),
        (lambda: RandomRotation("0.1"), "factor must be a number"),
        (lambda: RandomRotation((0.0, np.nan)), "factor must be a number .* got nan"),
        (lambda: RandomZoom(None), "height_factor must be a number .* got None"),
        (lambda: RandomZoom(0.1, -1.5), "width_factor must be a number .* got -1.5"),
        (lambda: RandomErasing(1.5), r"factor must be a number in \[0, 1\], got 1.5"),
        (lambda: RandomErasing(scale=(-0.1, 0.3)), r"scale must be a number in \[0, 1\], got -0.1"),
        (lambda: RandomErasing(fill_value=None), "fill_value must be a number .* got None"),
    ],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@every_case
def test_samples_must_be_images(layer):
    with pytest.raises(ValueError, match=r"samples must have shape \(height, width, channels\), got \(5, 3\)"):
        Model([layer]).build((5, 3))
