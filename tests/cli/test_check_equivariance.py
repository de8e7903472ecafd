import numpy as np
import pytest
import torch
from cli import models
from train import toy

from irrepnet.cli import main
from irrepnet.cli.checks import check_model, example_frame
from irrepnet.data import Frame
from irrepnet.deploy import Predictor
from irrepnet.models import ForceField, ForceFieldConfig, Prediction, save_model


def small_model(species=("H", "O"), **changes):
    torch.manual_seed(0)
    settings = {"irreps_hidden": "4x0e+4x1o", "num_layers": 2, "radial_hidden": (8,), **changes}
    return ForceField(ForceFieldConfig(species=species, cutoff=3.0, **settings)).eval()


def small_frame(**changes):
    return Frame(species=toy.SPECIES, pos=toy.arrays(1)["pos"][0], **changes)


class FixedAxis(ForceField):
    """A model that prefers the x axis: neither rotates nor has forces that are the slope of its energy."""

    def forward(self, graph, *, compute_stress=False):
        energy, forces, stress = super().forward(graph, compute_stress=compute_stress)
        return Prediction(energy, forces * torch.tensor([1.1, 1.0, 1.0], dtype=forces.dtype), stress)


def test_every_promise_is_checked_and_kept():
    checks = check_model(small_model(), small_frame(cell=[[4, 0, 0], [1, 4, 0], [0, 1, 5]], pbc=True))
    assert all(check.passed for check in checks)
    assert [check.name for check in checks if check.dtype == "float64"] == [
        "rotation", "inversion", "translation", "permutation", "smallest rms",
        "forces = -dE/dpos", "sum of forces = 0", "stress = dE/dstrain / V",
    ]  # fmt: skip
    assert sum(check.dtype == "float32" for check in checks) == 5


def test_the_model_is_left_as_it_was():
    model = small_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    check_model(model, small_frame(), trials=1)
    assert model.dtype == torch.float32
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_broken_model_fails_where_it_is_broken():
    failed = {(c.name, c.dtype) for c in check_model(FixedAxis(small_model().config), small_frame()) if not c.passed}
    assert {("rotation", "float64"), ("rotation", "float32"), ("forces = -dE/dpos", "float64")} <= failed
    assert ("translation", "float64") not in failed


def test_a_model_of_zeros_proves_nothing_and_fails():
    model = small_model()
    torch.nn.init.zeros_(model.trunk.embedding)
    failed = [check.name for check in check_model(model, small_frame(), trials=1) if not check.passed]
    assert failed == ["smallest rms", "smallest rms"]


def test_a_large_shift_hides_no_error():
    """At -1e7 eV an energy that is off by 0.1 eV would be within 1e-4 of it."""

    class Tilted(ForceField):
        def forward(self, graph, *, compute_stress=False):
            prediction = super().forward(graph, compute_stress=compute_stress)
            return prediction._replace(energy=prediction.energy + 0.1 * graph.pos[0, 0].sin())

    checks = check_model(Tilted(small_model(species_shifts=(-1e7, -1e7)).config), small_frame(), trials=3)
    assert {"rotation", "translation"} <= {c.name for c in checks if not c.passed and c.dtype == "float32"}


def test_an_open_structure_has_no_stress_to_check():
    names = [check.name for check in check_model(small_model(), small_frame(), trials=1)]
    assert "forces = -dE/dpos" in names
    assert "stress = dE/dstrain / V" not in names


def test_the_example_is_made_of_elements_that_the_model_knows():
    assert len(example_frame(small_model())) == 192
    frame = example_frame(small_model(("C", "Si")))
    assert set(frame.species.tolist()) == {6, 14}
    assert np.linalg.norm(frame.pos[1] - frame.pos[0]) > 0.5


def test_the_command_prints_a_table_and_exits_0(tmp_path, capsys):
    save_model(small_model(("Ar",)), tmp_path / "a.model")
    assert main(["check-equivariance", str(tmp_path / "a.model"), "--trials", "2"]) == 0
    out = capsys.readouterr().out
    assert "27 atoms, each moved by about 0.05 Å; 2 trials" in out
    assert "all 13 checks passed" in out


def test_the_command_exits_1_when_a_check_fails(tmp_path, capsys, monkeypatch):
    from irrepnet.models import checkpoint

    save_model(small_model(("Ar",)), tmp_path / "a.model")
    broken = FixedAxis(small_model(("Ar",)).config)
    monkeypatch.setattr(checkpoint, "load_model", lambda path: broken)
    assert main(["check-equivariance", str(tmp_path / "a.model"), "--trials", "1"]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "checks failed" in out


def test_a_frame_of_ones_own(tmp_path, capsys):
    save_model(small_model(), tmp_path / "a.model")
    data = toy.write_frames(tmp_path / "frames.npz")
    assert main(["check-equivariance", str(tmp_path / "a.model"), "--data", data, "--trials", "1"]) == 0
    assert "frames.npz frame 0, 4 atoms" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["no.model", "."])
def test_a_file_that_is_no_model_exits_2(path, capsys):
    assert main(["check-equivariance", path]) == 2
    assert path in capsys.readouterr().err


def test_keys_of_the_data_can_be_said(tmp_path, capsys):
    save_model(small_model(), tmp_path / "a.model")
    columns = toy.arrays(2)
    data = toy.write_frames(tmp_path / "frames.npz", 2, without=("pos",), R=columns["pos"])
    reading = ["--data", data, "--set", "data.keys.pos=R"]
    assert main(["check-equivariance", str(tmp_path / "a.model"), *reading, "--trials", "1"]) == 0
    assert "frames.npz frame 0, 4 atoms" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "empty.xyz"], "empty.xyz"),
        (["--data", "other.npz"], "found 6 (C)"),
        (["--data", "other.npz", "--set", "training.lr=3"], "check-equivariance knows the data section only"),
        (["--set", "data.keys.pos=R"], "found no --data"),
    ],
)
def test_data_that_cannot_be_checked_are_one_line_and_exit_2(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    save_model(small_model(), "a.model")
    (tmp_path / "empty.xyz").touch()
    toy.write_frames("other.npz", 2, species=[8, 1, 1, 6])
    assert main(["check-equivariance", "a.model", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_perfect_crystal_passes():
    """Its forces are zero by symmetry, which would prove nothing."""
    cell = 3.567 * np.eye(3)
    sites = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    scaled = np.array([site + shift for site in np.array(sites) for shift in (np.zeros(3), np.full(3, 0.25))])
    diamond = Frame(species=[6] * 8, pos=scaled @ cell, cell=cell, pbc=True)
    model = small_model(("C",))
    assert abs(Predictor(model)(diamond.species, diamond.pos, diamond.cell, diamond.pbc).forces).max() < 1e-6
    checks = check_model(model, diamond, trials=1)
    assert [check.name for check in checks if not check.passed] == []


def test_other_models_are_refused(tmp_path, capsys):
    path = models.property_model(tmp_path / "a.model")
    assert main(["check-equivariance", path]) == 2
    assert "needs a force field; found a property model" in capsys.readouterr().err
    assert main(["check-equivariance", str(tmp_path / "a.committee")]) == 2
    assert "needs one model file; found a committee" in capsys.readouterr().err
