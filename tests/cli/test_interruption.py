"""A real process, really interrupted: the exit codes are those of the help, and nothing is lost."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from train import toy

from irrepnet.cli import main

OFF = ["--set", "md.enabled=false", "--set", "report.enabled=false"]


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(toy.tree(tmp_path, steps=100, validate_every_steps=5)))
    return path


def start(config_file, *arguments):
    command = [
        sys.executable,
        "-m",
        "irrepnet",
        "train",
        config_file,
        "--out",
        config_file.parent / "run",
        *OFF,
        *arguments,
    ]
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # the last bits depend on it
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=threads)


def wait_for_rows(process, config_file, count):
    """Return when the log has this many lines: the training is under way."""
    log = config_file.parent / "run" / "log.jsonl"
    deadline = time.monotonic() + 200  # on a busy machine importing torch alone can take a minute
    while time.monotonic() < deadline:
        if log.exists() and len(log.read_text().splitlines()) >= count:
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    raise AssertionError(f"{log} did not reach {count} lines")


def interrupt(config_file, number, rows, *arguments):
    process = start(config_file, *arguments)
    wait_for_rows(process, config_file, rows)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def test_signals_and_kills_lose_nothing(config_file):
    code, out = interrupt(config_file, signal.SIGTERM, 2)
    assert code == 143, out
    assert "SIGTERM: the state of step" in out
    code, out = interrupt(config_file, signal.SIGINT, 4, "--resume")
    assert code == 130, out
    code, out = interrupt(config_file, signal.SIGKILL, 6, "--resume")
    assert code == -signal.SIGKILL, out
    assert main(["train", str(config_file), "--out", str(config_file.parent / "run"), *OFF, "--resume"]) == 0
    assert main(["train", str(config_file), "--out", str(config_file.parent / "whole"), *OFF]) == 0

    toy.assert_same_run(config_file.parent / "run", config_file.parent / "whole")
