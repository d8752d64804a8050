"""python -m fastdnn demo | info | warmup."""

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
        ([], "required"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert message in capsys.readouterr().err + str(caught.value)
