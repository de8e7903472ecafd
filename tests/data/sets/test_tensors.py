"""Tensor labels: TENSOAP water, 29Si shieldings, elastic constants."""

import json

import numpy as np
import pytest
from data.sets.published import COPIES, put

from irrepnet.data.sets import matten, tensoap
from irrepnet.data.sets.registry import SETS, read_set
from irrepnet.errors import DataError, ShapeError

HARTREE = 27.211386245981  # eV


def needs(folder):
    return pytest.mark.skipif(not (COPIES / folder).is_dir(), reason=f"{COPIES / folder} is not on this machine")


def numbers(values):
    return '"' + " ".join(str(value) for value in values) + '"'


def monomer(**labels):
    texts = " ".join(f"{name}={value}" for name, value in labels.items())
    atoms = "O 0.066334 0.0 0.003701\nH -0.526383 -0.769327 -0.029366\nH -0.526383 0.769327 -0.029366"
    return f"3\nProperties=species:S:1:pos:R:3 {texts}\n{atoms}\n"


def test_tensors_of_water_get_their_axes(tmp_path, monkeypatch):
    monkeypatch.setattr(tensoap, "_STRUCTURES", 2)
    beta = np.arange(27.0)
    text = monomer(
        potential=-76.3489282585,
        mu=numbers((-0.734398, 0.0, -0.040971)),
        alpha=numbers((9.812358, 0, 0.019696, 0, 10.287476, 0, 0.019696, 0, 9.460413)),
        beta=numbers(beta),
    )
    put(tmp_path, SETS["water_tensors"].members["monomer"][0], text * 2)
    first, second = read_set("water_tensors/monomer", tmp_path)
    assert first.energy == pytest.approx(-76.3489282585 * HARTREE)
    assert first.properties["mu"].tolist() == [-0.734398, 0.0, -0.040971]
    assert first.properties["alpha"][0].tolist() == [9.812358, 0, 0.019696]
    assert (first.properties["beta"] == beta.reshape(3, 3, 3)).all()
    assert (first.id, second.id) == ("0", "1")
    assert first.forces is None and first.cell is None


def test_a_tensor_with_too_few_numbers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tensoap, "_STRUCTURES", 1)
    text = monomer(potential=-1, mu=numbers(range(3)), alpha=numbers(range(9)), beta=numbers(range(26)))
    put(tmp_path, SETS["water_tensors"].members["dimer"][0], text)
    with pytest.raises(ShapeError, match=r"frame 0: beta needs shape \[3, 3, 3\]; found \[26\]"):
        read_set("water_tensors/dimer", tmp_path)


@needs("water_tensors_tensoap")
def test_copies_of_tensors_of_water():
    frames = read_set("water_tensors/monomer", COPIES)
    assert len(frames) == 800
    first = frames[0]
    assert first.id == "0"
    assert first.properties["beta"].shape == (3, 3, 3)
    assert np.linalg.norm(first.properties["mu"]) * 2.541746 == pytest.approx(1.87, abs=0.01)  # D
    assert first.energy == pytest.approx(-2077.5602, abs=1e-4)
    bulk = read_set("water_bulk_tensors", COPIES)
    assert np.mean([np.trace(frame.properties["alpha"]) for frame in bulk]) / 3 / 32 == pytest.approx(1.39, abs=0.01)
    assert bulk[0].pbc.all() and bulk[0].energy is None


def structure(elements):
    sites = [{"species": [{"element": name, "occu": 1}], "xyz": [0.5 * n, 0, 0]} for n, name in enumerate(elements)]
    return {"lattice": {"matrix": [[5.0, 0, 0], [0, 5.0, 0], [0, 0, 5.0]], "pbc": [True] * 3}, "sites": sites}


def test_shieldings_are_nan_where_they_are_not_known(tmp_path, monkeypatch):
    monkeypatch.setattr(matten, "check_count", lambda frames, count, label: frames)
    tensors = np.arange(18.0).reshape(2, 3, 3)
    table = {
        "sigma_iso": {"0": [4.0, 13.0]},
        "structure": {"0": structure(["Si", "O", "Si"])},
        "atom_selector": {"0": [True, False, True]},
        "nmr_tensor": {"0": tensors.tolist()},
    }
    put(tmp_path, SETS["si_nmr"].files[0], json.dumps(table))
    (frame,) = read_set("si_nmr", tmp_path)
    found = frame.atom_properties["nmr_tensor"]
    assert (found[[0, 2]] == tensors).all() and np.isnan(found[1]).all()
    assert frame.id == "0" and frame.species.tolist() == [14, 8, 14]


def test_elastic_constants_have_four_axes(tmp_path, monkeypatch):
    monkeypatch.setattr(matten, "check_count", lambda frames, count, label: frames)
    constants = np.random.default_rng(0).normal(size=(3, 3, 3, 3))
    table = {"structure": {"7": structure(["Li"])}, "elastic_tensor_full": {"7": constants.tolist()}}
    put(tmp_path, SETS["elasticity"].files[0], json.dumps(table))
    (frame,) = read_set("elasticity", tmp_path)
    assert (frame.properties["elastic_tensor"] == constants).all()
    assert frame.id == "7" and frame.pbc.all()


@pytest.mark.parametrize(
    "change", [{"atom_selector": {"0": [True, True]}}, {"nmr_tensor": {}}, {"structure": {"0": 1}}]
)
def test_a_table_that_does_not_fit_is_named(tmp_path, change):
    table = {
        "structure": {"0": structure(["Si", "O"])},
        "atom_selector": {"0": [True, False]},
        "nmr_tensor": {"0": [np.eye(3).tolist(), np.eye(3).tolist(), np.eye(3).tolist()]},
    }
    put(tmp_path, SETS["si_nmr"].files[0], json.dumps(table | change))
    with pytest.raises(DataError, match=r"si_nmr_data.json: needed a table of structures and tensors"):
        read_set("si_nmr", tmp_path)


def test_structures_with_shared_sites_are_refused():
    from irrepnet.data.sets.pymatgen_structure import parse_structure

    mixed = structure(["Si"])
    mixed["sites"][0]["species"][0]["occu"] = 0.5
    with pytest.raises(ValueError, match="a site needs one element; found"):
        parse_structure(mixed)


@needs("si_nmr_tensor")
def test_copies_of_tensors_of_crystals():
    frames = read_set("si_nmr", COPIES)
    assert len(frames) == 341
    known = [~np.isnan(frame.atom_properties["nmr_tensor"][:, 0, 0]) for frame in frames]
    assert sum(int(mask.sum()) for mask in known) == 1088
    assert all((frame.species[mask] == 14).all() for frame, mask in zip(frames, known, strict=True))
    assert frames[0].atom_properties["nmr_tensor"][0, 0].tolist() == [385.064661, 0.577841, -6.82139]
    crystals = read_set("elasticity", COPIES)
    assert len(crystals) == 100
    constants = crystals[0].properties["elastic_tensor"]
    assert constants[0, 0, 0, 0] == pytest.approx(249.53020611) and constants[0, 0, 1, 1] == pytest.approx(139.00779133)
    assert constants == pytest.approx(constants.transpose(2, 3, 0, 1))
