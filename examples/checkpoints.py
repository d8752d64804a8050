"""A training that is interrupted, and goes on in another process as if nothing had happened.

python examples/checkpoints.py
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from sklearn.datasets import load_digits

from fastdnn import Model, layers, optimizers, schedules
from fastdnn.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint

EPOCHS = 20


def network():
    return Model(
        [layers.Dense(64, activation="relu"), layers.BatchNorm(), layers.Dropout(0.3), layers.Dense(10)],
        loss="cross_entropy",
        optimizer=optimizers.AdamW(schedules.OneCycle(0.01)),
        random_state=0,
    )


def train(model, path, *more):
    """Train for EPOCHS epochs in all; a model that has been trained before goes on where it was."""
    X, y = load_digits(return_X_y=True)
    checkpoint = ModelCheckpoint(path, best_only=False)  # the last epoch, with all that is needed to go on
    callbacks = [EarlyStopping(patience=10), checkpoint, *more]
    model.fit(X / 16, y, epochs=EPOCHS, batch_size=64, validation_fraction=0.2, callbacks=callbacks, resume=True)
    return model


def main():
    with tempfile.TemporaryDirectory() as folder:
        whole, path = pathlib.Path(folder) / "whole.fdnn", pathlib.Path(folder) / "interrupted.fdnn"
        at_once = train(network(), whole)
        half = train(network(), path, LambdaCallback(lambda fit: "the power went off" if fit.epoch == 7 else None))
        print(f"interrupted after epoch {len(half.history['loss'])}: {half.history.stopped}")
        subprocess.run([sys.executable, __file__, path], check=True)
        resumed = Model.load(path)
        resumed.restore_best()  # the file holds the last epoch, to go on from, and the best one
    same = np.array_equal(resumed.params, at_once.params) and resumed.history["loss"] == at_once.history["loss"]
    print(f"{len(resumed.history['loss'])} epochs in two processes, the same bits as in one: {same}")
    return same


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(Model.load(sys.argv[1]), sys.argv[1])
    else:
        main()
