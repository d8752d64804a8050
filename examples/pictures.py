"""The pictures of the README: three networks, a training with validation, and a network as a notebook shows it.

    python examples/pictures.py [FOLDER]

writes network_dense.png, network_residual.png, network_deep.png, training.png and notebook.html into FOLDER (this one).
"""

import pathlib
import sys

import matplotlib
from sklearn.datasets import load_digits

from fastdnn import DNNClassifier, Model, NetworkDisplay, TrainingCurveDisplay, layers, optimizers, schedules


def networks():
    block = [layers.Dense(64, activation="relu"), layers.BatchNorm(), layers.Dropout(0.2), layers.Dense(64)]
    return {
        "dense": [layers.Dense(100, activation="relu"), layers.Dropout(0.2), layers.Dense(10)],
        "residual": [layers.Dense(64), layers.Residual(block), layers.Residual(block), layers.Dense(10)],
        "deep": [layers.Dense(64), *[layers.Residual([layers.LayerNorm(), layers.Dense(64, activation="gelu")])] * 150,
                 layers.Dense(10)],
    }  # fmt: skip


def main(folder=None):
    matplotlib.use("Agg")
    folder = pathlib.Path(folder or __file__).resolve()
    folder = folder.parent if folder.is_file() else folder
    for name, net in networks().items():
        optimizer = optimizers.AdamW(schedules.OneCycle(0.01))
        model = Model(net, loss="cross_entropy", optimizer=optimizer).build(64)
        NetworkDisplay.from_estimator(model).figure_.savefig(folder / f"network_{name}.png", dpi=80)
        if name == "residual":
            page = f"<!doctype html><meta charset='utf-8'><title>Model</title><body>{model._repr_html_()}"
            (folder / "notebook.html").write_text(page, encoding="utf-8")
    X, y = load_digits(return_X_y=True)
    net = [layers.Dense(100, activation="relu"), layers.Dropout(0.2)]
    clf = DNNClassifier(net, epochs=100, early_stopping=True, scoring=["accuracy", "f1_macro"], random_state=0).fit(X / 16, y)
    TrainingCurveDisplay.from_estimator(clf).figure_.savefig(folder / "training.png", dpi=80)
    written = sorted(p.name for p in folder.iterdir() if p.suffix in (".png", ".html"))
    print("wrote", ", ".join(written))
    return len(written)


if __name__ == "__main__":
    main(*sys.argv[1:])
