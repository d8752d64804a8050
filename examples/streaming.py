"""A Parquet file that need not fit into memory: an epoch, a process that is killed within one, and what it had learned.

python examples/streaming.py [ROWS]
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fastdnn import Model, layers, optimizers, schedules
from fastdnn.callbacks import Callback, ModelCheckpoint
from fastdnn.data import ParquetSource

FEATURES, GROUP = [f"x{j}" for j in range(20)], 50_000


def write(path, rows):
    """A file of so many rows, made part by part: a sum of products, and noise."""
    rng = np.random.default_rng(0)
    schema = pa.schema([(name, pa.float32()) for name in [*FEATURES, "y"]])
    with pq.ParquetWriter(path, schema) as writer:
        for lo in range(0, rows, GROUP):
            X = rng.standard_normal((min(GROUP, rows - lo), len(FEATURES)), np.float32)
            y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + 0.1 * rng.standard_normal(len(X), np.float32)
            writer.write_table(pa.table([*X.T.copy(), y], schema=schema))


def network():
    net = [layers.Dense(128, activation="relu"), layers.Dense(128, activation="relu"), layers.Dense(1)]
    return Model(net, optimizer=optimizers.AdamW(schedules.OneCycle(0.003)), random_state=0)


class PowerCut(Callback):
    """Ends the process, as nobody can prevent, when so many steps are done."""

    comes_last = True

    def __init__(self, step):
        self.step = step

    def on_turn(self, fit):
        if fit.model.step >= self.step:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def train(path, checkpoint, *more):
    """Two epochs of the file; a model that is there already goes on where it was, in the middle of an epoch too."""
    model = Model.load(checkpoint) if os.path.exists(checkpoint) else network()
    source = ParquetSource(path, FEATURES, "y")
    keep = ModelCheckpoint(checkpoint, best_only=False, seconds=0.1)  # of long epochs: 60, say
    model.fit(source, epochs=2, batch_size=256, shuffle_buffer=20_000, callbacks=[keep, *more], resume=True)
    return model


def main(rows=200_000):
    with tempfile.TemporaryDirectory() as folder:
        path, checkpoint = str(pathlib.Path(folder) / "rows.parquet"), str(pathlib.Path(folder) / "last.fdnn")
        write(path, rows)
        began = time.perf_counter()
        whole = train(path, checkpoint + ".whole")
        seconds = time.perf_counter() - began
        print(
            f"{2 * rows:,} rows of {len(FEATURES)} columns in {seconds:.1f} s, {os.path.getsize(path) / 1e6:.0f} MB of file"
        )
        killed = subprocess.run([sys.executable, __file__, path, checkpoint, str(int(1.4 * rows / 256))])
        print(f"killed ({killed.returncode}) in epoch 2 after step {Model.load(checkpoint).step} of {whole.step}")
        resumed = train(path, checkpoint)
        same = np.array_equal(resumed.params, whole.params)
        print(f"went on to step {resumed.step}: the same bits as without the interruption: {same}")
        r2 = whole.evaluate(ParquetSource(path, FEATURES, "y"))["r2"]
        print(f"r2 {r2:.4f}, read block by block")
    return r2 if same else 0.0


if __name__ == "__main__":
    if len(sys.argv) > 2:
        train(sys.argv[1], sys.argv[2], PowerCut(int(sys.argv[3])))
    else:
        main(*map(int, sys.argv[1:]))
