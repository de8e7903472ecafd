import resource
import subprocess
import sys

import pytest

import irrepnet
from irrepnet import errors
from irrepnet.cli import main
from irrepnet.cli import train as train_command

HEAVY = ("torch", "numpy", "pydantic", "rich", "yaml", "matplotlib", "ase")


def run_python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-h"],
        ["train", "--help"],
        ["eval", "-h"],
        ["check-equivariance", "-h"],
        ["doctor", "-h"],
        ["report", "-h"],
    ],
)
def test_help_exits_0_and_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom irrepnet.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: print('exit', end.code)\n"
        f"print('heavy', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = run_python("-c", code)
    assert "usage: irrepnet" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["exit 0", "heavy []"]


def test_help_takes_less_than_half_a_second():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run_python("-m", "irrepnet", "--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # CPU time: what a busy machine cannot change
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


NEW = ("init", "download", "check-data", "convert-data", "info", "predict")


def test_help_of_commands_for_data_and_models_imports_nothing_heavy():
    code = (
        "import sys\nfrom irrepnet.cli import main\n"
        f"for name in {NEW!r}:\n"
        "  try: main([name, '--help'])\n"
        "  except SystemExit as end: print('exit', end.code)\n"
        f"print('heavy', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    out = run_python("-c", code).stdout
    assert out.count("exit 0") == len(NEW)
    assert out.splitlines()[-1] == "heavy []"
    for name in NEW:
        assert f"usage: irrepnet {name} " in out


def test_help_lists_commands_in_groups(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    places = [lines.index(f"{heading}:") for heading in ("begin", "train", "use a model", "this machine")]
    assert places == sorted(places)
    for name in NEW:
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1


def test_help_lists_commands_and_exit_codes(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for word in ("train", "eval", "report", "check-equivariance", "doctor", "143 (SIGTERM)"):
        assert word in text


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"irrepnet {irrepnet.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["trian"], ["train", "--otu", "x"], ["eval"]])
def test_a_wrong_command_line_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("a"), 2),
        (errors.DataError("a"), 2),
        (errors.CheckpointError("a"), 2),
        (errors.BackendError("a"), 2),
        (errors.ShapeError("a"), 2),
        (FileNotFoundError("a"), 2),
        (errors.NonFiniteError("a"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_one_line_and_an_exit_code(monkeypatch, capsys, error, code):
    def fail(arguments):
        raise error

    monkeypatch.setattr(train_command, "run", fail)
    assert main(["train", "x.yaml"]) == code
    assert capsys.readouterr().err == ("interrupted\n" if code == 130 else "a\n")


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def fail(arguments):
        raise RuntimeError("a fault")

    monkeypatch.setattr(train_command, "run", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        main(["train", "x.yaml"])
