"""What compiled code depends on, and where it is kept: the sources of the package, the processor, the folders.

This is known without Numba, so that a process that has only to find what an earlier one has kept need not import it.
"""

import functools
import hashlib
import os
import pathlib
import shutil

PACKAGE = pathlib.Path(__file__).resolve().parent
KEPT = 4  # versions of the package (or kinds of processor) whose kernels stay in a cache folder
SLOW_AVX = {"corei7-avx", "core-avx-i", "sandybridge", "ivybridge", "nocona"}  # processors for which Numba leaves AVX alone


@functools.cache
def package_stamp():
    """Hash over the sources of the whole package: any edit anywhere makes every cached kernel stale."""
    digest = hashlib.sha256()
    for name, path in sorted(_sources(str(PACKAGE), "")):
        digest.update(name.encode())
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def _sources(folder, prefix):
    """Pairs (name within the package, path) of its sources; a walk by `pathlib` takes four times as long."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield prefix + entry.name, entry.path
            elif entry.name != "__pycache__" and entry.is_dir():
                yield from _sources(entry.path, f"{prefix}{entry.name}/")


def folder_name(target):
    """Name of the folder for this version of the package and what Numba compiles for, see `host_target`."""
    return f"{package_stamp()[:16]}-{hashlib.sha256(repr(target).encode()).hexdigest()[:8]}"


@functools.cache
def host_target():
    """(triple, processor, features) that Numba compiles for, by its rules (`numba.core.config`, `codegen.magic_tuple`).

    Who keeps something by it compares it with Numba's own answer before, which may come from other settings than these.
    """
    import llvmlite.binding as llvm

    name, features = (os.environ.get(f"NUMBA_CPU_{what}") for what in ("NAME", "FEATURES"))
    if features is None and name is not None and name.lower() == "generic":
        features = ""
    if features is None:
        features = _host_features(llvm, name)
    return llvm.get_process_triple(), llvm.get_host_cpu_name() if name is None else name, features


def _host_features(llvm, name):
    """Features of this processor as LLVM has them, those of AVX off where Numba has them off."""
    try:
        found = llvm.get_host_cpu_features()
    except RuntimeError:
        return ""
    wanted = os.environ.get("NUMBA_ENABLE_AVX", "")
    uses_avx = int(wanted) if wanted.isdecimal() else (name or llvm.get_host_cpu_name()) not in SLOW_AVX
    if not uses_avx:
        found.update({feature: False for feature in found if feature.startswith("avx")})
    return found.flatten()


def base_folders(numba_folder):
    """Folders in which kernels may be kept, the preferred one first; numba_folder : NUMBA_CACHE_DIR or ""."""
    if os.environ.get("FASTDNN_CACHE") == "0":
        return []
    home = os.path.expanduser("~")
    return [
        *([pathlib.Path(numba_folder) / "fastdnn"] if numba_folder else []),
        PACKAGE / "__pycache__" / "kernels",
        *([pathlib.Path(home) / ".cache" / "fastdnn"] if home != "~" else []),
    ]


def remove_old(keep):
    """Remove the folders beside `keep` but for the newest KEPT - 1: those of other versions, or processors."""
    others = [f for f in keep.parent.iterdir() if f.is_dir() and f != keep]
    for old in sorted(others, key=lambda f: f.stat().st_mtime, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
