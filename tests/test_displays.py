"""Pictures, drawings and tables of networks and trainings."""

import re
import xml.etree.ElementTree

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier as SklearnMLP

from fastdnn import (
    DNNClassifier,
    MLPClassifier,
    Model,
    NetworkDisplay,
    TrainingCurveDisplay,
    config_context,
    layers,
    optimizers,
)
from fastdnn.diagram import outline, scene
from fastdnn.summary import count, describe, fit_bytes

plt = pytest.importorskip("matplotlib.pyplot")

X, Y = load_digits(return_X_y=True)
X, Y = (X / 16)[:200], Y[:200]

NETWORKS = {
    "dense": [layers.Dense(64, activation="relu"), layers.Dropout(0.2), layers.Dense(10)],
    "residual": [
        layers.Dense(32),
        *[layers.Residual([layers.Dense(32, activation="relu"), layers.BatchNorm(), layers.Dense(32)])] * 2,
        layers.Dense(10),
    ],
    "deep": [layers.Dense(16, activation="tanh")] * 300 + [layers.Dense(10)],
    "periodic": [layers.Dense(64), *[layers.Dense(32), layers.BatchNorm(), layers.Dense(64)] * 50, layers.Dense(10)],
    "nested": [
        layers.Residual([layers.Dense(64), layers.Residual([layers.Activation("relu")]), layers.Dense(64)]),
        layers.Flatten(),
        layers.Dense(10),
    ],
    "two ways": [
        layers.Residual(
            [layers.Dense(32, "relu"), layers.Dense(24)],
            shortcut=[layers.Dense(24, use_bias=False), layers.BatchNorm()],
        ),
        layers.Dense(10),
    ],
    "columns": [
        layers.Columns([(range(60), []), ((60, 61), [layers.Dense(5), layers.Scale()]), ((63,), [layers.PReLU()])]),
        layers.Dense(10),
    ],
    "alone": [layers.Columns([((3, 1), [])]), layers.Dense(10)],
}


@pytest.fixture(autouse=True)
def _close():
    backend = plt.get_backend()
    plt.switch_backend("Agg")
    yield
    plt.close("all")
    plt.switch_backend(backend)


def built(name):
    return Model(NETWORKS[name], loss="cross_entropy").build(64)


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("name", NETWORKS)
def test_the_table_adds_up(name):
    model = built(name)
    infos = describe(model)
    assert sum(map(count, infos)) == model.layout.n_params
    assert [info.key for info in infos] == [key for key, layer in model.layout.leaves if not layer.internal]
    text = model.summary()
    assert f"{model.layout.n_params:,} parameters" in text


def test_columns_are_one_box():
    box, *_ = outline(built("columns"))
    assert box.title.startswith("Columns: 60 alone, 2 Dense Scale")
    assert (box.shape, box.kind, box.detail) == ((66,), "layer", "21 parameters")
    assert outline(built("alone"))[0].shape == (2,)


def test_what_is_on_the_way_around_is_in_the_box():
    box, _ = outline(built("two ways"))
    assert (box.shape, box.kind, box.around) == ((24,), "residual", "Dense BatchNorm \u00b7 1,584 parameters")
    assert box.gradients == "dkernel 64\u00d724, dgamma 24, dbeta 24"
    plain, shown = ({text for _, _, text, *_ in scene(built(name)).texts} for name in ("residual", "two ways"))
    assert {"+   g(x) is added", f"g: {box.around}"} <= shown
    assert "+   x is added" in plain
    assert "0.residual.shortcut.1.batch_norm" in built("two ways").summary()


def test_summary_says_what_a_fit_takes():
    model = Model([layers.Dense(100, activation="relu"), layers.Dense(10)], loss="cross_entropy", optimizer="adam").build(64)
    text = model.summary(batch_size=200)
    assert re.search(r"0\.dense  Dense\(units=100, activation='relu'\)\s+\(100,\)\s+6,500\s+12,900", text)
    assert "about 44,700 to train" in text or "to train with it" in text
    assert "a fit in batches of 200" in text
    with config_context(n_threads=1):
        assert "1 thread" in model.summary()
    with pytest.raises(ValueError, match="no parameters yet"):
        Model([layers.Dense(1)]).summary()


@pytest.mark.parametrize("name", NETWORKS)
def test_memory_of_a_fit_is_about_right(name):
    model = built(name)
    own, work = fit_bytes(model, 128)
    X, y = np.zeros((128, *model.layout.shapes[0]), model.dtype), np.zeros(128, np.int64)
    run = model.bind(X, y, None, 128)
    run.epoch()
    gradients = run.plan.shards if run.by_shards else 1
    arrays = (2 + gradients + model.optimizer.n_moments) * model.layout.size
    held = (arrays + run.program.n_work) * model.dtype.itemsize
    assert 0.8 < (own + work) / held < 1.6  # some layers work in place


# ---------------------------------------------------------------- drawings


def test_repetitions_are_one_box():
    (box, last) = outline(built("deep"))[1:] if len(outline(built("deep"))) == 3 else (None, None)
    assert (box.kind, box.times, len(box.inside)) == ("repeat", 299, 1)
    assert last.title == "Dense(units=10)"
    boxes = outline(built("periodic"))
    assert [(b.kind, b.times) for b in boxes] == [("layer", 1), ("repeat", 50), ("layer", 1)]
    assert [b.title for b in boxes[1].inside] == ["Dense(units=32)", "BatchNorm()", "Dense(units=64)"]
    boxes = outline(built("residual"))
    assert [b.kind for b in boxes] == ["layer", "residual", "residual", "layer"]


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_is_on_the_sheet(name):
    drawing = scene(built(name))
    assert drawing.height < 1500
    for x, y, width, height, _ in drawing.rectangles:
        assert 0 <= x <= x + width <= drawing.width
        assert 0 <= y <= y + height <= drawing.height
    for points, _ in drawing.arrows:
        assert all(0 <= x <= drawing.width and 0 <= y <= drawing.height for x, y in points)
    forward = sum(kind == "forward" for _, kind in drawing.arrows)
    back = sum(kind == "backward" for _, kind in drawing.arrows)
    assert 0 < forward <= back


@pytest.mark.parametrize("name", NETWORKS)
def test_html(name):
    html = built(name)._repr_html_()
    xml.etree.ElementTree.fromstring(html)  # well formed
    assert "prefers-color-scheme: dark" in html
    assert "<script" not in html
    assert "not built" in Model([layers.Dense(1)])._repr_html_()


def test_html_escapes():
    class Odd(layers.Layer):
        name = "odd"

        def __init__(self, note):
            self.note = note

    html = Model([Odd("<script>alert(1)</script>"), layers.Dense(1)]).build(3)._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


# ---------------------------------------------------------------- displays


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_training_curves():
    clf = DNNClassifier(epochs=4, validation_fraction=0.2, scoring="f1_macro", random_state=0).fit(X, Y)
    display = TrainingCurveDisplay.from_estimator(clf)
    assert list(display.lines_) == ["loss", "val_loss", "val_accuracy", "val_f1_macro"]
    assert display.figure_.axes == [display.ax_, display.ax_scores_]
    np.testing.assert_array_equal(display.lines_["loss"].get_ydata(), clf.history_["loss"])
    np.testing.assert_array_equal(display.lines_["loss"].get_xdata(), [1, 2, 3, 4])
    _, ax = plt.subplots()
    display = TrainingCurveDisplay.from_estimator(clf, ax=ax, keys=["loss", "rate"])
    assert display.ax_ is ax
    assert list(display.lines_) == ["loss", "rate"]
    assert clf.history_.plot(keys=["loss"]).ax_.get_ylabel() == "loss"
    for other in (
        MLPClassifier(max_iter=3),
        SklearnMLP(max_iter=3, early_stopping=True),
        MLPClassifier(max_iter=2, callbacks=[]),
    ):
        assert "loss" in TrainingCurveDisplay.from_estimator(other.fit(X, Y)).lines_
    model = Model([layers.Dense(10)], loss="cross_entropy")
    model.fit(X, Y, epochs=1)
    assert TrainingCurveDisplay.from_estimator(model).lines_.keys() == {"loss"}
    with pytest.raises(ValueError, match="keys must be among"):
        TrainingCurveDisplay.from_estimator(model, keys=["f1"])
    with pytest.raises(ValueError, match="call fit first"):
        TrainingCurveDisplay.from_estimator(DNNClassifier())


@pytest.mark.parametrize("name", NETWORKS)
def test_network_pictures(name, tmp_path):
    display = NetworkDisplay.from_estimator(built(name))
    display.figure_.savefig(tmp_path / "net.png")
    assert (tmp_path / "net.png").stat().st_size > 10_000


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_network_of_estimators():
    for estimator in (DNNClassifier(epochs=1, optimizer=optimizers.SGD(0.1)), MLPClassifier(max_iter=1)):
        _, ax = plt.subplots()
        assert NetworkDisplay.from_estimator(estimator.fit(X, Y), ax=ax).ax_ is ax
    with pytest.raises(ValueError, match="no network yet"):
        NetworkDisplay.from_estimator(DNNClassifier())
