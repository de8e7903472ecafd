"""The plugin of pytest, in runs of its own: what a user sees, and what other users do not notice."""

import os
import subprocess
import sys

import pytest
import torch

pytest_plugins = ["pytester"]

PLUGIN = ["-p", "irrepnet.testing.pytest_plugin"]

LAYER = """
import torch
from irrepnet import o3

def test_layer(assert_equivariant):
    assert_equivariant(o3.Linear("2x0e + 1o", "1o"), "2x0e + 1o", "1o")
"""

FIXTURES = """
import torch
from irrepnet import o3

def test_parity(infer_parity):
    assert infer_parity(torch.linalg.cross, ["1o", "1o"]) == o3.Irreps("1e")

def test_size(assert_normalized):
    assert_normalized(o3.Linear("4x0e", "4x0e"), "4x0e", "4x0e")

def test_lattice(assert_periodic):
    pos, cell = torch.rand(2, 3), torch.eye(3)
    assert_periodic(lambda pos, cell: cell.det().abs(), pos, cell, outputs="extensive")

def test_dtype(float_dtype, assert_equivariant):
    layer = o3.Linear("2x0e + 1o", "1o")
    assert layer.weight.dtype == float_dtype
    assert_equivariant(layer, "2x0e + 1o", "1o")

def test_default_dtype_is_put_back():
    assert torch.get_default_dtype() == torch.float32
"""

WEIGHTS = """
import pathlib, torch

def test_fails(irrepnet_seed):
    with open("weights", "a") as stream:
        print(irrepnet_seed, torch.randn(1).item(), file=stream)
    raise ArithmeticError("planted")

def test_fails_without_the_fixture():
    raise ArithmeticError("planted")
"""

SEEDED = """
import torch

def test_weight(float_dtype):
    assert torch.rand(1, dtype=torch.float64).item() == WEIGHT
"""

HYPOTHESIS = """
from hypothesis import given, settings
from irrepnet.testing import strategies

@settings(deadline=None, max_examples=10)
@given(irreps=strategies.irreps(lmax=2, max_mul=2))
def test_drawn(assert_equivariant, irreps):
    assert_equivariant(lambda x: 2 * x, irreps, irreps)
"""

STRANGER = """
import sys

def test_of_another_project():
    assert not {"torch", "numpy"} & set(sys.modules)
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Return a function that writes a test file and runs pytest on it; plugins of the environment stay out of it."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(text, *options):
        pytester.makepyfile(test_planted=text)
        result = pytester.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", *options, "test_planted.py")
        return result.ret, result.stdout.str() + result.stderr.str()

    return run


def test_a_test_of_three_lines(run):
    code, text = run(LAYER, "-W", "error")
    assert code == 0 and "1 passed" in text, text
    assert "seed" not in text


def test_all_fixtures(run):
    code, text = run(FIXTURES)
    assert code == 0 and "6 passed" in text, text


def test_hypothesis_takes_the_fixtures(run):
    code, text = run(HYPOTHESIS)
    assert code == 0 and "1 passed" in text, text


def test_a_failing_test_tells_its_seed_and_repeats_with_it(run, pytester):
    _, text = run(WEIGHTS, "--irrepnet-seed", "random")
    (line,) = [line for line in text.splitlines() if "repeat with" in line]  # the other test tells nothing
    seed = line.split()[-1]
    assert line == f"seed {seed}: repeat with --irrepnet-seed {seed}"
    for options in (["--irrepnet-seed", seed], ["--irrepnet-seed", "random"], [], []):
        torch.rand(7)  # what ran before does not matter
        before = torch.get_rng_state()
        run(WEIGHTS, *options)
        assert torch.equal(torch.get_rng_state(), before)  # nor is it noticed afterwards
    rows = [line.split() for line in (pytester.path / "weights").read_text().splitlines()]
    assert [row[0] for row in rows[:2]] == [seed, seed] and [row[0] for row in rows[3:]] == ["0", "0"]
    first, again, other, default, default_again = (weight for _, weight in rows)
    assert first == again != other != default == default_again


def test_every_fixture_starts_from_the_seed(run):
    weight = torch.rand(1, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).item()
    code, text = run(SEEDED.replace("WEIGHT", repr(weight)), "--irrepnet-seed", "5")
    assert code == 0 and "2 passed" in text, text


def test_a_failing_check_shows_the_line_of_the_test(run):
    code, text = run(LAYER.replace('"1o")\n', '"1e")\n'))
    assert code == 1
    assert '>       assert_equivariant(o3.Linear("2x0e + 1o", "1o"), "2x0e + 1o", "1e")' in text
    assert "not equivariant under inversion" in text
    assert "def equivariance_error" not in text and "Args:" not in text  # not the source of the check


def test_strangers_do_not_notice(tmp_path):
    (tmp_path / "test_stranger.py").write_text(STRANGER)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, "-W", "error", "--strict-markers", "--strict-config"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0 and "1 passed" in result.stdout, result.stdout
    assert "irrepnet" not in result.stdout + result.stderr


def test_bad_seed(run):
    code, text = run(LAYER, "--irrepnet-seed", "zero")
    assert code == 4 and "--irrepnet-seed: invalid" in text, text


def test_help_and_fixtures_are_listed(run):
    _, text = run(LAYER, "--help")
    assert "--irrepnet-seed=N" in text
    _, text = run(LAYER, "--fixtures")
    assert all(f"{name} " in text for name in ("assert_equivariant", "assert_periodic", "infer_parity", "float_dtype"))
