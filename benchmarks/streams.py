"""More data than memory: an epoch from a Parquet file beside one from memory, scikit-learn's and PyTorch's; memory maps.

    python benchmarks/streams.py [parquet] [--rows 20000000] [--limit 1.5] [--folder FOLDER] [--arms stream,array,...]
    python benchmarks/streams.py maps [--folder FOLDER]

Each arm is a process of its own. "parquet" writes a file of so many rows of 30 float32 (once; 2.4 GB for 20 million) and
trains 30-256-256-1 with Adam and batches of 256: "stream" all rows within --limit GB of memory (private memory of the
process; what it has used at most is printed, pages of files among it), the others as many rows as take them some ten
seconds. "maps" trains 784-256-10 on 60,000 images shuffled, from an array and from a memory map whose pages are in the
cache, in turns.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

FEATURES, HIDDEN, BATCH, GROUP = 30, 256, 256, 250_000
NAMES = [f"x{j}" for j in range(FEATURES)]


def part(k, rows):
    """A part of the data: rows x 30 float32 and a target that is no linear function of them."""
    rng = np.random.default_rng(k)
    X = rng.standard_normal((rows, FEATURES), np.float32)
    y = np.sin(X[:, 0] + X[:, 1]) + X[:, 2] * X[:, 3] + 0.1 * rng.standard_normal(rows, np.float32)
    return X, y.astype(np.float32)


def written(folder, rows):
    """The file of so many rows, made if it is not there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = pathlib.Path(folder) / f"rows-{rows}.parquet"
    if path.exists():
        return path
    schema = pa.schema([(name, pa.float32()) for name in [*NAMES, "y"]])
    making = path.with_suffix(".part")
    with pq.ParquetWriter(making, schema, compression="none", use_dictionary=False) as writer:
        for k, lo in enumerate(range(0, rows, GROUP)):
            X, y = part(k, min(GROUP, rows - lo))
            writer.write_table(pa.table([*X.T.copy(), y], schema=schema), row_group_size=GROUP)
    making.rename(path)
    return path


# ---------------------------------------------------------------- arms


def model():
    from fastdnn import Model, layers

    stack = [layers.Dense(HIDDEN, activation="relu"), layers.Dense(HIDDEN, activation="relu"), layers.Dense(1)]
    return Model(stack, optimizer="adam", random_state=0)


def stream(path, rows):
    """An epoch of the whole file."""
    from fastdnn.data import ParquetSource

    source, net = ParquetSource(str(path), NAMES, "y"), model()
    X, y = part(0, 4096)
    net.fit(X, y, batch_size=BATCH)  # compiles, or loads, the kernels
    began = time.perf_counter()
    history = model().fit(source, batch_size=BATCH)
    return rows, time.perf_counter() - began, history["loss"][-1]


def array(path, rows):
    """An epoch of 2 million rows in memory."""
    X, y = part(0, 2_000_000)
    model().fit(X[:4096], y[:4096], batch_size=BATCH)
    began = time.perf_counter()
    history = model().fit(X, y, batch_size=BATCH)
    return len(X), time.perf_counter() - began, history["loss"][-1]


def blocks_of(path, rows):
    """Shuffled blocks of the file as others read them, of up to so many rows in all."""
    import pyarrow.parquet as pq

    file, rng, done = pq.ParquetFile(path), np.random.default_rng(0), 0
    for group in rng.permutation(file.num_row_groups):
        for batch in file.iter_batches(65536, row_groups=[group], columns=[*NAMES, "y"]):
            block = np.stack([column.to_numpy() for column in batch.columns], axis=1)
            block = block[rng.permutation(len(block))]
            yield block[:, :-1], block[:, -1]
            done += len(block)
            if done >= rows:
                return


def sklearn(path, rows):
    """scikit-learn's partial_fit, block by block (in batches of its own of the same size)."""
    from sklearn.neural_network import MLPRegressor

    reg, count = MLPRegressor(hidden_layer_sizes=(HIDDEN, HIDDEN), batch_size=BATCH, random_state=0), 300_000
    X, y = part(0, 1024)
    reg.partial_fit(X, y)
    began, done = time.perf_counter(), 0
    for X, y in blocks_of(path, min(rows, count)):
        reg.partial_fit(X, y)
        done += len(X)
    return done, time.perf_counter() - began, reg.loss_


def torch(path, rows, whole=False):
    """PyTorch's DataLoader over a data set that reads the same file, shuffled in blocks, and gives it sample by sample.

    whole : whether the data set gives whole batches, which spares the loader its work
    """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, IterableDataset

    count = min(rows, 1_000_000 if whole else 300_000)

    class Samples(IterableDataset):
        def __iter__(self):
            for X, y in blocks_of(path, count):
                if not whole:
                    yield from zip(torch.from_numpy(X), torch.from_numpy(y), strict=True)
                for lo in range(0, len(X) if whole else 0, BATCH):
                    yield torch.from_numpy(X[lo : lo + BATCH]), torch.from_numpy(y[lo : lo + BATCH])

    net = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    optimizer, done = torch.optim.Adam(net.parameters()), 0
    began = time.perf_counter()
    for X, y in DataLoader(Samples(), batch_size=None if whole else BATCH):
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.mse_loss(net(X)[:, 0], y)
        loss.backward()
        optimizer.step()
        done += len(X)
    return done, time.perf_counter() - began, float(loss.detach())


def torch_batches(path, rows):
    """PyTorch with a data set that gives whole batches."""
    return torch(path, rows, whole=True)


ARMS = {"stream": stream, "array": array, "sklearn": sklearn, "torch": torch, "torch_batches": torch_batches}


def limit_memory(gigabytes):
    """Let the process have so much private memory at most, where the system can be told so."""
    try:
        import resource
    except ImportError:
        return
    size = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def peak_memory():
    """Most bytes that the process has had in memory; NaN where nobody says."""
    try:
        import resource
    except ImportError:
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run_arm(name, path, rows, limit):
    """In a process of its own: print what an arm has measured."""
    if name == "stream" and limit:
        limit_memory(limit)
    done, seconds, loss = ARMS[name](path, rows)
    print(json.dumps({"arm": name, "rows": done, "seconds": seconds, "loss": loss, "peak": peak_memory()}))


def parquet(args):
    path = written(args.folder, args.rows)
    print(f"{path.stat().st_size / 1e9:.2f} GB, {args.rows:,} rows of {FEATURES} float32, {FEATURES}-{HIDDEN}-{HIDDEN}-1")
    command = [
        sys.executable,
        __file__,
        "parquet",
        "--rows",
        str(args.rows),
        "--limit",
        str(args.limit),
        "--folder",
        args.folder,
    ]
    found = {}
    for name in args.arms.split(","):
        # Arrow's usual allocator reserves 1 GB of addresses, which the limit counts though they are no memory.
        env = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
        out = subprocess.run([*command, "--arm", name], capture_output=True, text=True, env=env)
        if out.returncode:
            raise SystemExit(f"{name} failed:\n{out.stderr[-2000:]}")
        found[name] = json.loads(out.stdout.splitlines()[-1])
        one = found[name]
        speed = one["rows"] / one["seconds"]
        print(
            f"{name:8} {one['rows']:>11,} rows {one['seconds']:8.1f} s {speed:>10,.0f} rows/s  loss {one['loss']:.4f}  "
            f"peak {one['peak'] / 2**30:.2f} GB",
            flush=True,
        )
    if "stream" in found:
        ours = found["stream"]["rows"] / found["stream"]["seconds"]
        for name, one in found.items():
            if name != "stream":
                print(f"stream / {name}: {ours * one['seconds'] / one['rows']:.2f}")


# ---------------------------------------------------------------- memory maps


def maps(args):
    from fastdnn import Model, layers

    def fit(X, y):
        rescaled = [layers.Rescaling(1 / 255)] if X.dtype == np.uint8 else []
        stack = [*rescaled, layers.Dense(256, activation="relu"), layers.Dense(10)]
        net = Model(stack, loss="cross_entropy", optimizer="adam", random_state=0)
        began = time.perf_counter()
        net.fit(X, y, batch_size=128, epochs=2)
        return time.perf_counter() - began, net.params

    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 60_000)
    for kind in ("uint8", "float32"):
        X = rng.integers(0, 256, (60_000, 784), dtype=np.uint8)
        X = X if kind == "uint8" else (X / np.float32(255)).astype(np.float32)
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            np.save(f"{folder}/X.npy", X)
            there = np.load(f"{folder}/X.npy", mmap_mode="r")
            times = {"array": [], "map": []}
            fit(X[:1000], y[:1000])
            for turn in range(6):
                for name, data in (("array", X), ("map", there))[:: 1 if turn % 2 else -1]:
                    seconds, params = fit(data, y)
                    times[name].append(seconds)
                    if name == "array":
                        expected = params
            assert np.array_equal(params, expected)
            of_array, of_map = (statistics.median(times[name]) for name in ("array", "map"))
            print(
                f"{kind:8} array {of_array:.3f} s, memory map {of_map:.3f} s for 2 epochs: {of_map / of_array:.3f}",
                flush=True,
            )
            del there


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["parquet", "maps"], default="parquet")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument(
        "--limit", type=float, default=1.5, metavar="GB", help="of private memory of the arm 'stream'; 0: none"
    )
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where files are written")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.arm:
        run_arm(args.arm, written(args.folder, args.rows), args.rows, args.limit)
    elif args.what == "maps":
        maps(args)
    else:
        parquet(args)


if __name__ == "__main__":
    main()
