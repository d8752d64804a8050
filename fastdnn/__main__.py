"""Command line: `python -m fastdnn demo | info | warmup` (or just `fastdnn ...`)."""

import argparse
import contextlib
import importlib.metadata
import os
import platform
import sys
import time
import warnings

import numpy as np

from . import MLPClassifier, __version__, _cache, _isa, _jit, _threads  # a public name brings all kernels, for `warmup`

BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", " ..::||##"  # an eighth of a line more each; the second for terminals that lack the first


def curve(values, height=10, width=60, title="", encoding="utf-8"):
    """The values as a line drawn with characters that the encoding has: largest on top, first on the left."""
    try:
        blocks = BLOCKS if BLOCKS.encode(encoding) else PLAIN
    except UnicodeEncodeError:
        blocks = PLAIN
    values = np.asarray(values, float)
    columns = np.interp(np.linspace(0, len(values) - 1, min(width, len(values))), np.arange(len(values)), values)
    low, high = columns.min(), columns.max()
    levels = np.round((columns - low) / ((high - low) or 1) * (height * 8 - 1)).astype(int)
    lines = [title] if title else []
    for line in range(height - 1, -1, -1):
        label = {height - 1: high, 0: low}.get(line)
        edge = f"{label:10.4f} |" if label is not None else f"{'':10} |"
        lines.append(edge + "".join(blocks[min(8, max(0, level - line * 8 + 1))] for level in levels))
    lines.append(f"{'':10} +{'-' * len(columns)}  {len(values)} epochs")
    return "\n".join(lines)


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _fit(estimator, X, y):
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # max_iter reached: both stop there alike
        estimator.fit(X, y)
    return estimator, time.perf_counter() - began


def demo(arguments):
    """Train on the digits bundled with scikit-learn, beside scikit-learn's own MLP, from the same random_state."""
    import sklearn.neural_network as peer
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if arguments.plot is not None:
        check_picture(arguments.plot)
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16.0, y, random_state=0, stratify=y)
    settings = {"hidden_layer_sizes": (100,), "max_iter": arguments.epochs, "random_state": 0}
    print(f"digits: {len(X_train)} training and {len(X_test)} test images of 8 x 8, hidden layer of 100, same random_state")
    compiling = _fit(MLPClassifier(max_iter=1), X_train[:20], y_train[:20])[1]
    ours, seconds = _fit(MLPClassifier(**settings), X_train, y_train)
    theirs, their_seconds = _fit(peer.MLPClassifier(**settings), X_train, y_train)
    difference = np.abs(np.subtract(ours.loss_curve_, theirs.loss_curve_)).max()
    print(f"{'':14}{'test accuracy':>15}{'epochs':>8}{'seconds':>9}")
    print(f"{'fastdnn':14}{ours.score(X_test, y_test):15.4f}{ours.n_iter_:8d}{seconds:9.3f}")
    print(f"{'scikit-learn':14}{theirs.score(X_test, y_test):15.4f}{theirs.n_iter_:8d}{their_seconds:9.3f}")
    print(f"{their_seconds / seconds:.1f} times faster (loading or compiling the kernels took {compiling:.2f} s before that)")
    print(f"largest difference of the two loss curves: {difference:.1e}")
    print(curve(ours.loss_curve_, title="training loss of fastdnn:", encoding=sys.stdout.encoding or "ascii"))
    if arguments.plot is not None:
        plot(ours.loss_curve_, theirs.loss_curve_, arguments.plot)
        print(f"picture written to {arguments.plot}")


def check_picture(path):
    """SystemExit unless a picture can be written to that path: before minutes are spent on what it is to show."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise SystemExit("--plot needs matplotlib: pip install 'fastdnn[plot]'") from error
    folder, name = os.path.split(os.path.abspath(path))
    kinds = sorted(FigureCanvasAgg.get_supported_filetypes())
    if not os.path.isdir(folder):
        raise SystemExit(f"--plot: there is no folder {folder}")
    if os.path.isdir(os.path.abspath(path)):
        raise SystemExit(f"--plot: {path!r} is no name of a file")
    if os.path.splitext(name)[1][1:].lower() not in kinds:
        raise SystemExit(f"--plot: the name must end with one of {', '.join('.' + kind for kind in kinds)}, got {path!r}")
    new = not os.path.exists(path)
    try:
        with open(path, "ab"):
            pass
    except (OSError, ValueError) as error:
        raise SystemExit(f"--plot: {path!r} cannot be written: {error}") from None
    if new:
        os.remove(path)


def plot(ours, theirs, path):
    """Write a picture of two loss curves."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(theirs, color="#d9822b", linewidth=4, alpha=0.6, label="scikit-learn")
    axes.plot(ours, color="#1f4e79", linewidth=1.5, label="fastdnn")
    axes.set(xlabel="epoch", ylabel="training loss", yscale="log", title="Digits: the same training, epoch by epoch")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def info(arguments):
    """What fastdnn compiles for, and with what."""
    isa, folder = _isa.isa(), _cache.cache_folder()
    files = list(folder.glob("*.nb[ic]")) if folder else []
    codegen = _isa.cpu_target.target_context.codegen()
    rows = {
        "fastdnn": __version__,
        "processor": f"{codegen._get_host_cpu_name()} ({platform.machine()}, {platform.system()})",
        "vectors": f"{8 * isa.bytes} bits, {isa.registers} registers, fused multiply-add: {'yes' if isa.fma else 'no'}",
        "threads": f"{_threads.get_num_threads()} (Numba's {_threads.threading_layer()} layer)",
        "cache": f"{folder} ({len(files)} files, {sum(f.stat().st_size for f in files) / 1e6:.1f} MB)" if folder else "none",
        "python": platform.python_version(),
    }
    rows |= {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "scikit-learn", "numba", "llvmlite")}
    for name, value in rows.items():
        print(f"{name:14}{value}")


def warmup(arguments):
    """Compile every kernel now and keep it."""
    began = time.perf_counter()
    kernels = list(_jit.KERNELS)
    try:
        from rich.progress import track

        steps = track(kernels, description="compiling")
    except ImportError:
        steps = kernels
    for each in steps:
        each.warm()
    where = _cache.cache_folder() or "nowhere: no folder is writable, set NUMBA_CACHE_DIR"
    print(f"{len(kernels)} kernels ready after {time.perf_counter() - began:.1f} s, kept in {where}")


def main(argv=None):
    parser = argparse.ArgumentParser(prog="fastdnn", description=__doc__)
    parser.add_argument("--version", action="version", version=f"fastdnn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("demo", help=demo.__doc__)
    one.add_argument("--plot", metavar="FILE", help="also write the loss curves as a picture (needs matplotlib)")
    one.add_argument("--epochs", type=_positive, default=200, help="largest number of epochs (default 200)")
    commands.add_parser("info", help=info.__doc__)
    commands.add_parser("warmup", help=warmup.__doc__)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # not a terminal's, or closed
            stream.reconfigure(errors="backslashreplace")  # a path may have what the terminal's encoding lacks
    arguments = parser.parse_args(argv)
    {"demo": demo, "info": info, "warmup": warmup}[arguments.command](arguments)


if __name__ == "__main__":
    main()
