"""Lines N1 ... and E1 ... of tutorials/conventions.md: names, configuration, errors, files."""

import importlib
import inspect
import math
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from irrepnet import data, errors, models, nn, o3, ops
from irrepnet.cli import doctor as cli_doctor
from irrepnet.cli import main

PAGE = Path(__file__).parents[2] / "tutorials" / "conventions.md"


def test_every_line_has_its_test_and_every_test_its_line():
    lines = re.findall(r"^\| ([A-Z]\d+) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sources = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    tests = [name.upper() for source in sources for name in re.findall(r"^def test_([a-z]\d+)_", source, re.MULTILINE)]
    assert sorted(lines) == sorted(tests)


def test_n1_one_name_for_one_thing():
    words = set(inspect.signature(nn.PointConvolution.forward).parameters)
    words |= set(inspect.signature(nn.PointConvolution).parameters) | set(data.Graph.__dataclass_fields__)
    words |= set(models.Prediction._fields) | set(models.ForceFieldConfig.model_fields)
    page = PAGE.read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith("| N1 "))
    promised = set(re.findall(r"`(\w+)`", row)) - {"num_x", "edge_vec", "mul", "ir"}
    assert len(promised) > 10 and promised <= words
    entry = o3.Irreps("3x1o")[0]
    assert (entry.mul, entry.ir) == (3, o3.Irrep("1o"))


def test_n2_lmax_is_inclusive():
    assert o3.Irreps.spherical_harmonics(2).lmax == 2
    assert ops.spherical_harmonics(torch.zeros(3), 2).shape == (9,)


def test_n3_shape_letters_are_those_of_the_docstrings():
    letters = set()
    for thing in (data.Graph, nn.RadialNetwork.forward, models.Prediction, ops.convolve, data.radial_distribution):
        letters |= set(re.findall(r"\[([A-Z])\b", inspect.getsource(thing)))
    assert {"N", "E", "B", "F"} <= letters <= {"N", "E", "B", "F", "K", "W", "S"}


def test_e1_configurations_are_frozen_and_know_their_keys():
    config = models.ForceFieldConfig(species=("H",))
    with pytest.raises(ValueError, match="frozen"):
        config.cutoff = 3.0
    with pytest.raises(ValueError, match="cutof"):
        models.ForceFieldConfig(species=("H",), cutof=3.0)
    assert all(field.description for field in models.ForceFieldConfig.model_fields.values())


def test_e2_errors_say_what_was_needed_and_found():
    product = o3.FullyConnectedTensorProduct("2x0e + 1o", "1o", "1o")
    words = r"needs x \[..., 5\] for irreps_in1 = 2x0e\+1x1o; got x \[3, 4\]"
    with pytest.raises(errors.ShapeError, match=words):
        product(torch.randn(3, 4), torch.randn(3, 3))


def test_e3_errors_are_builtin_types_too():
    builtin = {
        "IrrepsError": ValueError,
        "ShapeError": ValueError,
        "DataError": ValueError,
        "ConfigError": ValueError,
        "DtypeError": TypeError,
        "BackendError": RuntimeError,
        "CheckpointError": RuntimeError,
        "NonFiniteError": ArithmeticError,
        "RankError": RuntimeError,
    }
    assert set(builtin) == {name for name in errors.__all__ if name.endswith("Error")}
    assert all(issubclass(getattr(errors, name), kind) for name, kind in builtin.items())


def test_e4_exceptions_that_e3nn_code_catches():
    product = o3.FullyConnectedTensorProduct("0e", "0e", "0e", internal_weights=False)
    for error, call in (
        (ValueError, lambda: o3.Irreps("1q")),
        (ValueError, lambda: o3.SphericalHarmonics("1e", True, irreps_in="1o")),
        (ValueError, lambda: o3.Linear("0e + 1o", "1o", instructions=[(0, 0)])),
        (IndexError, lambda: o3.TensorProduct("0e", "0e", "0e", [(1, 0, 0, "uvw", True)])),
        (RuntimeError, lambda: product(torch.ones(1, 1), torch.ones(1, 1))),
    ):
        with pytest.raises(error):
            call()


def test_e5_arguments_without_meaning_stay_at_their_defaults():
    o3.FullyConnectedTensorProduct("0e", "0e", "0e", compile_left_right=False, compile_right=True)
    with pytest.raises(errors.ConfigError, match="_specialized_code"):
        o3.FullyConnectedTensorProduct("0e", "0e", "0e", _specialized_code=True)


def test_e6_values_are_checked_once():
    with pytest.raises(errors.DataError, match="got 5"):
        ops.edge_order(torch.tensor([[0], [5]]), 2)
    nan = torch.full((2, 3), math.nan)
    with pytest.raises(errors.DataError, match="finite"):
        data.Graph.checked(nan, torch.tensor([1, 1]), torch.zeros(2, 0).long())
    assert ops.spherical_harmonics(nan, 1).isnan().any()  # an op looks at shapes and dtypes only


def test_e7_a_named_backend_serves_or_raises():
    nowhere = torch.zeros(1, 3, device="meta")  # no kernel has this device
    assert ops.spherical_harmonics(nowhere, 1, backend="auto").shape == (1, 4)
    with pytest.raises(errors.BackendError, match=r"spherical_harmonics\(backend='fused'\) cannot run: "):
        ops.spherical_harmonics(nowhere, 1, backend="fused")
    with pytest.raises(errors.BackendError, match=r"Did you mean 'fused'\?"):
        ops.spherical_harmonics(nowhere, 1, backend="fusd")


def test_e8_exit_codes(monkeypatch, tmp_path, model, capsys):
    def ends_with(error):
        """Return the code of a command that raises."""

        def fail(arguments):
            raise error

        monkeypatch.setattr(cli_doctor, "run", fail)
        return main(["doctor"])

    assert main(["doctor"]) == 0
    assert ends_with(errors.DataError("bad")) == 2
    assert ends_with(errors.NonFiniteError("nan")) == 3
    assert ends_with(errors.RankError("rank 1 is lost")) == 4
    assert ends_with(KeyboardInterrupt()) == 130

    models.save_model(model, tmp_path / "a.model")
    failed = SimpleNamespace(name="a", dtype="b", error=1.0, tolerance=0.0, unit="", passed=False)
    monkeypatch.setattr("irrepnet.cli.checks.check_model", lambda *args, **kwargs: [failed])
    assert main(["check-equivariance", str(tmp_path / "a.model")]) == 1

    (tmp_path / "a.yaml").write_text("data: {train: a.npz}\ntraining: {steps: 1}\n")
    loop = importlib.import_module("irrepnet.train.loop")
    monkeypatch.setattr(loop, "train", lambda *args, **kwargs: SimpleNamespace(signal=signal.SIGTERM))
    assert main(["train", str(tmp_path / "a.yaml"), "--out", str(tmp_path / "run")]) == 143


def test_e9_help_does_not_import_torch():
    code = "import sys, irrepnet\nfrom irrepnet.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)


def test_e10_model_files_are_checked_and_never_executed(model, tmp_path):
    path = tmp_path / "a.model"
    models.save_model(model, path)
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    path.write_bytes(raw)
    with pytest.raises(errors.CheckpointError, match="SHA-256"):
        models.load_model(path)
    torch.save({"a": 1}, path)
    with pytest.raises(errors.CheckpointError, match="pickle"):
        models.load_model(path)
