import os
import subprocess
import sys

import pytest
from rich.console import Console

from irrepnet.train.console import TrainingConsole, format_seconds

ROW = {
    "step": 20,
    "epoch": 1.25,
    "seconds": 75.0,
    "lr": 0.005,
    "train_loss": 0.1234567,
    "valid_loss": 0.2,
    "forces_mae": 40.0,
    "forces_rmse": 52.345,
}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.6, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (None, "-")]
)
def test_durations(seconds, text):
    assert format_seconds(seconds) == text


def test_a_row_below_a_header_with_units_and_only_the_labels_there_are(capsys):
    with TrainingConsole() as console:
        console.row(ROW, seconds_left=30.0, is_best=True)
        console.row({**ROW, "step": 40, "train_loss": None}, seconds_left=None, is_best=False)
    header, first, second = capsys.readouterr().out.splitlines()
    assert "forces MAE / RMSE, meV/Å" in header
    assert "energy" not in header
    assert first.split() == ["20", "1.25", "0.1235", "0.2*", "40.00", "/", "52.34", "5.00e-03", "1m15s", "30s"]
    assert second.split() == ["40", "1.25", "-", "0.2", "40.00", "/", "52.34", "5.00e-03", "1m15s", "-"]
    assert len(header) == len(first) == len(second)


def test_a_terminal_gets_a_bar_with_the_time_left_and_a_file_does_not(capsys, monkeypatch):
    with TrainingConsole() as console:
        console.advance(0.5, 10, 0.1, 30.0)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    with TrainingConsole() as console:
        console.advance(0.5, 10, 0.1, 30.0)
    assert "30s left  step 10  loss 0.1" in capsys.readouterr().out


def test_quiet_is_silent(capsys):
    with TrainingConsole(quiet=True) as console:
        console.say("a")
        console.row(ROW, seconds_left=30.0, is_best=True)
    assert capsys.readouterr().out == ""


TALK = """
import sys, time
from irrepnet.train.console import TrainingConsole
with TrainingConsole() as console:
    for _ in range(20):
        console.say("x" * 1000)
        time.sleep(0.01)
print("after the training", flush=True)
print("done", file=sys.stderr)
"""


@pytest.mark.skipif(os.name != "posix", reason="pipes of a shell")
def test_a_reader_that_leaves_does_not_end_the_training():
    with subprocess.Popen([sys.executable, "-c", TALK], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read().decode() == "done\n"
    assert process.returncode == 0
