"""Files of several groups through one reader, by keys and units alone."""

from pathlib import Path

import numpy as np
import pytest

from irrepnet.data import Keys, Units, find_leaks, read_frames, validate_frames

SHELF = Path(__file__).parents[3] / "shared" / "data"
HARTREE, KCAL = 27.211386, 1 / 23.060548

pytestmark = pytest.mark.skipif(not SHELF.is_dir(), reason=f"{SHELF} is not on this machine")


@pytest.mark.parametrize(
    ("path", "keys", "units", "wanted"),
    [
        (
            "qm9/qm9_full15_dev.npz",
            Keys(id="gdb_id", species="z", energy="props[10]", properties={"mu": "props[3]", "all": "props"}),
            Units(energy="Hartree", length="angstrom"),
            {"frames": 18802, "id": "1", "energy": -40.47893 * HARTREE, "mu": (), "all": (15,)},
        ),
        (
            "qm7/qm7_dev.npz",
            Keys(id="name", species="z", energy="hof_kcal[0]"),
            Units(energy="kcal/mol"),
            {"frames": 5701, "id": "0001.xyz", "energy": -417.031 * KCAL},
        ),
        (
            "qm9_mp2/qm9_mp2_dev.npz",
            Keys(
                id="gdb_id", species="z", energy="e_mp2_Ha", properties={"dipole": "dipole_mp2_relaxed_au"},
                atom_properties={"q": "mulliken_charge"},
            ),
            Units(energy="Hartree", length="angstrom"),
            {"frames": 7736, "id": "4", "dipole": (3,), "q": (4,)},
        ),
        (
            "si_nmr_tensor/si_nmr_dev.npz",
            Keys(species="z", selected="selected", atom_properties={"nmr": "nmr_tensor"}),
            Units(),
            {"frames": 341, "nmr": (24, 3, 3)},
        ),
        (
            "elasticity_n100/elasticity_n100.npz",
            Keys(species="z", group="split", properties={"C": "C_full_GPa"}),
            Units(),
            {"frames": 100, "C": (3, 3, 3, 3)},
        ),
        (
            "water_tensors_tensoap/dimer_dev.npz",
            Keys(id="frame", species="z", energy="potential", properties={"alpha": "alpha", "beta": "beta"}),
            Units(energy="Hartree", length="angstrom"),
            {"frames": 800, "id": "0", "alpha": (3, 3), "beta": (3, 3, 3)},
        ),
        (
            "water_tensors_deepmd/atomic_dipole_dev.npz",
            Keys(species="z", atom_properties={"dipole": "atomic_dipole"}),
            Units(),
            {"frames": 80, "dipole": (192, 3)},
        ),
        (
            "hessian_dp/H8C4N2O_dev.npz",
            Keys(species="z", properties={"hessian": "hessian"}),
            Units(),
            {"frames": 8, "hessian": (45, 45)},
        ),
    ],
    ids=lambda value: value.split("/")[0] if isinstance(value, str) else "",
)  # fmt: skip
def test_files_of_molecules_and_tensors(path, keys, units, wanted):
    if not (SHELF / path).exists():
        pytest.skip(f"{SHELF / path} is not on this machine")
    frames = read_frames(SHELF / path, keys=keys, units=units)
    assert len(frames) == wanted.pop("frames")
    for name, value in wanted.items():
        if name in ("id", "energy"):
            assert getattr(frames[0], name) == (value if name == "id" else pytest.approx(value, rel=1e-6))
        else:
            assert {**frames[0].properties, **frames[0].atom_properties}[name].shape == value
    assert all(np.isfinite(frame.pos).all() for frame in frames)
    validate_frames(frames[:30], require=[name for name in wanted if name != "id"])


def test_tensors_of_selected_atoms_are_all_there():
    file = SHELF / "si_nmr_tensor" / "si_nmr_dev.npz"
    if not file.exists():
        pytest.skip(f"{file} is not on this machine")
    keys = Keys(species="z", selected="selected", atom_properties={"nmr": "nmr_tensor"})
    frames = read_frames(file, keys=keys, units=Units())
    rows = np.concatenate([frame.atom_properties["nmr"] for frame in frames])
    known = ~np.isnan(rows).any(axis=(1, 2))
    with np.load(file) as archive:
        assert np.array_equal(rows[known], archive["nmr_tensor"])
        assert np.array_equal(known, archive["selected"])
    # Its README counts 21 geometries that are there twice.
    assert any("also in training" in leak for leak in find_leaks(frames[::2], frames[1::2]))
