"""python -m fastdnn demo | info | warmup."""

import os
import subprocess
import sys

import pytest

from fastdnn import __main__ as cli


def test_demo(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    cli.main(["demo", "--epochs", "15", "--plot", str(tmp_path / "loss.png")])
    out = capsys.readouterr().out
    ours, theirs = (
        next(line.split() for line in out.splitlines() if line.startswith(n)) for n in ("fastdnn", "scikit-learn")
    )
    assert ours[1:3] == theirs[1:3]
    assert "times faster" in out
    difference = float(out.split("largest difference of the two loss curves: ")[1].split()[0])
    assert difference < 1e-12
    assert (tmp_path / "loss.png").stat().st_size > 5000


def test_info(capsys):
    cli.main(["info"])
    out = capsys.readouterr().out
    for word in ("processor", "vectors", "threads", "cache", "numba", "scikit-learn"):
        assert word in out


def test_warmup(capsys):
    cli.main(["warmup"])
    assert "kernels ready after" in capsys.readouterr().out


def test_module_runs_and_explains_itself():
    done = subprocess.run([sys.executable, "-m", "fastdnn", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("demo", "info", "warmup"))


def test_curve():
    text = cli.curve([3, 2, 1], height=3)
    assert text.splitlines()[0].strip().startswith("3.0000")
    assert text.splitlines()[2].strip().startswith("1.0000")
    assert cli.curve([1.0])
    assert cli.curve([2.0] * 500)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--epochs", "0"], "at least 1"),
        (["demo", "--plot", "/nowhere/x.png"], "there is no folder"),
        (["demo", "--plot", "p.foo"], "must end with one of"),
        (["demo", "--plot", "p"], "must end with one of"),
        (["demo", "--plot", ""], "no name of a file"),
        (["demo", "--plot", "."], "no name of a file"),
        (["demo", "--plot", ".png"], "must end with one of"),
        (["demo", "--plot", "n" * 300 + ".png"], "cannot be written"),
        (["demo", "--plot", "nul\0.png"], "cannot be written"),
        ([], "required"),
    ],
)
def test_wrong_arguments(arguments, message, capsys, monkeypatch, tmp_path):
    """Refused before anything is trained, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_fit", None)
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert message in capsys.readouterr().err + str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_plot_that_cannot_be_written_is_refused_before(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "_fit", None)
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(PermissionError("not allowed")))
    with pytest.raises(SystemExit, match="not allowed"):
        cli.main(["demo", "--plot", str(tmp_path / "p.png")])


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "utf-8"])
def test_terminals_of_any_encoding(encoding):
    """Block characters where the terminal has them, plain ones elsewhere; never an error."""
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-m", "fastdnn", "demo", "--epochs", "3"], capture_output=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    out = done.stdout.decode(encoding)
    assert ("\u2588" in out) == (encoding == "utf-8")
    assert "##" in out or encoding == "utf-8"
    assert "\\u" not in out


def test_paths_that_the_terminal_lacks(tmp_path):
    folder = tmp_path / "caf\u00e9 \u4e2d"
    folder.mkdir()
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "NUMBA_CACHE_DIR": str(folder), "FASTDNN_QUIET": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "fastdnn", "info"], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "caf\\xe9 \\u4e2d" in done.stdout
