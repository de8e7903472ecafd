"""The shipped set: what its README promises, and the script that made it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import irrepnet
from irrepnet.data import duplicated_frames, force_rms, radial_distribution, read_frames, validate_frames

FOLDER = Path(irrepnet.__file__).parent / "data" / "water_xtb"


@pytest.fixture(scope="module")
def train():
    return read_frames("package:water_xtb/train.npz")


@pytest.fixture(scope="module")
def heldout():
    return read_frames("package:water_xtb/heldout.npz")


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate_water", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_liquid(frame):
    return frame.group.startswith("start")


def nearest_between_molecules(frame, first, second):
    one, two = np.flatnonzero(frame.species == first), np.flatnonzero(frame.species == second)
    vec = frame.pos[two] - frame.pos[one][:, None]
    vec -= 12.42 * np.round(vec / 12.42)
    return np.where(one[:, None] // 3 == two // 3, np.inf, np.linalg.norm(vec, axis=-1))


def test_short_contacts_are_learned_from_and_not_tested_on(train, heldout):
    contacts = [frame for frame in train if not is_liquid(frame)]
    assert len(contacts) == 23
    assert all(is_liquid(frame) for frame in heldout)
    for (first, second), (low, liquid) in {(8, 8): (1.9, 2.45), (8, 1): (1.25, 1.5), (1, 1): (1.0, 1.3)}.items():
        gaps = np.array([nearest_between_molecules(frame, first, second).min() for frame in contacts])
        assert low - 1e-4 < gaps.min() < low + 0.15
        in_liquid = min(nearest_between_molecules(frame, first, second).min() for frame in train if is_liquid(frame))
        assert in_liquid > liquid
        assert (gaps < in_liquid).mean() > 0.5  # most frames show a distance that the liquid does not
    assert 5 < max(abs(frame.forces).max() for frame in contacts) < 10  # steep, but no frame outweighs all others


def test_size_and_split(train, heldout):
    assert len(train) == 161
    assert len(heldout) == 30
    groups = {frame.group for frame in train}, {frame.group for frame in heldout}
    assert [len(names) for names in groups] == [46, 5]
    assert not groups[0] & groups[1]
    assert duplicated_frames(train, heldout) == []
    assert sum(path.stat().st_size for path in FOLDER.glob("*.npz")) < 1_000_000


def test_values_are_sound(train, heldout):
    assert validate_frames(train + heldout) == []
    for frame in train + heldout:
        assert frame.species.tolist() == [8, 1, 1] * 64
        assert frame.pbc.all()
        assert abs(frame.forces.sum(axis=0)).max() < 1e-4
    assert force_rms(train) == pytest.approx(0.930, abs=0.001)
    assert force_rms([frame for frame in train if is_liquid(frame)]) == pytest.approx(0.890, abs=0.001)
    assert force_rms(heldout) == pytest.approx(0.888, abs=0.001)
    energies = np.array([frame.energy for frame in train if is_liquid(frame)]) / 64
    assert (energies.mean(), energies.std()) == pytest.approx((-157.257, 0.020), abs=0.001)


def test_bonds_and_angles_move(train):
    molecules = np.stack([frame.pos for frame in train]).reshape(-1, 3, 3)
    arms = molecules[:, 1:] - molecules[:, :1]
    length = np.linalg.norm(arms, axis=-1)
    assert 0.025 < length.std() < 0.06  # below is colder than 300 K
    assert 0.85 < length.min() < 0.90
    assert 1.08 < length.max() < 1.15
    angle = np.degrees(np.arccos((arms[:, 0] * arms[:, 1]).sum(-1) / length.prod(-1)))
    assert 5.0 < angle.std() < 7.0


def test_it_is_a_liquid(heldout):
    pos = [frame.pos for frame in heldout]
    r, g = radial_distribution(pos, heldout[0].species, heldout[0].cell, ("O", "O"), r_max=6.0, num_bins=30)
    assert 2.6 < r[g.argmax()] < 3.2
    assert 1.8 < g.max() < 3.0
    assert not g[r < 2.4].any()
    assert g[r > 5.0] == pytest.approx(np.ones((r > 5.0).sum()), abs=0.15)


def test_classical_forces_are_a_gradient_without_net_force(generate):
    rng = np.random.default_rng(0)
    pos = generate.lattice(generate.MATCHED, rng) + rng.normal(0, 0.02, (192, 3))
    assert abs(generate.classical_forces(pos, generate.MATCHED).sum(axis=0)).max() < 1e-12
    # The derivative of a gradient is symmetric: bond, angle and a pair of neighbours.
    step = 1e-4

    def slope(atom, axis, seen_by, component):
        shift = np.zeros_like(pos)
        shift[atom, axis] = step
        forces = [generate.classical_forces(pos + sign * shift, generate.MATCHED) for sign in (1, -1)]
        return (forces[0] - forces[1])[seen_by, component] / (2 * step)

    for one, along, other, across in ((3, 0, 4, 1), (4, 0, 5, 1), (0, 2, 3, 2)):
        there, back = slope(one, along, other, across), slope(other, across, one, along)
        assert abs(there) > 1e-3
        assert there == pytest.approx(back, rel=1e-4)


def test_the_script_continues_and_assembles(generate, tmp_path):
    rng = np.random.default_rng(0)
    for start in (3, 4):
        generate.write_npz(
            tmp_path / f"start_{start:02d}.npz", pos=rng.normal(size=(6, 192, 3)), energy=rng.normal(size=6),
            forces=rng.normal(size=(6, 192, 3)),
        )  # fmt: skip
    generate.assemble(tmp_path, tmp_path)
    train, heldout = np.load(tmp_path / "train.npz"), np.load(tmp_path / "heldout.npz")
    assert set(train["group"]) == {"start 03, 311 K"}
    assert set(heldout["group"]) == {"start 04, 315 K"}
    assert set(train.files) == set(np.load(FOLDER / "train.npz").files)
    assert not list(tmp_path.glob("*.npz.*"))  # no drafts left


def test_the_script_helps_without_tblite():
    run = subprocess.run([sys.executable, FOLDER / "generate.py", "--help"], capture_output=True, text=True, check=True)
    assert "--parts" in run.stdout


def test_labels_are_what_tblite_says(generate, heldout):
    pytest.importorskip("tblite", reason="tblite is not installed")
    energy, forces = generate.make_xtb()(heldout[7].pos)
    assert energy == pytest.approx(heldout[7].energy, abs=1e-4)
    assert forces == pytest.approx(heldout[7].forces, abs=1e-4)
