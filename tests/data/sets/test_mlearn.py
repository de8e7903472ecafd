"""mlearn: the two orders in which its stresses are published, verified against strains and forces."""

import json

import numpy as np
import pytest
from data.sets.published import COPIES, put

from irrepnet.data import build_graph
from irrepnet.data.sets import mlearn
from irrepnet.data.sets.registry import SETS, read_set
from irrepnet.errors import DataError

KBAR = 1 / 1602.176634  # eV/Å^3
SHEARS = [(0, 1), (0, 2), (1, 2)]
ELEMENTS = [("Si", 214), ("Ge", 228), ("Li", 241), ("Mo", 194)]

needs_copies = pytest.mark.skipif(
    not (COPIES / "mlearn").is_dir(), reason=f"{COPIES / 'mlearn'} is not on this machine"
)


def entry(element, group, stress):
    """An entry of training.json: one atom in a box."""
    site = {"species": [{"element": element, "occu": 1}], "abc": [0, 0, 0.25], "xyz": [0.0, 0.0, 1.0], "label": element}
    lattice = {"matrix": [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]], "a": 4.0, "volume": 64.0}
    structure = {"@module": "pymatgen.core.structure", "@class": "Structure", "lattice": lattice, "sites": [site]}
    outputs = {"energy": -1.5, "forces": [[0.1, 0.2, 0.3]], "virial_stress": stress}
    return {"structure": structure, "outputs": outputs, "num_atoms": 1, "element": element, "group": group}


@pytest.mark.parametrize(
    ("element", "group", "yz", "xz"),
    [
        ("Si", "Elastic", 5.0, 6.0),
        ("Si", "Vacancy", 6.0, 5.0),
        ("Li", "AIMD-NVT", 5.0, 6.0),
        ("Mo", "Elastic", 6.0, 5.0),
    ],
)
def test_stresses_are_in_the_order_of_element_and_group(tmp_path, monkeypatch, element, group, yz, xz):
    member = f"{element}/test"
    text = json.dumps([entry(element, group, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])])
    put(tmp_path, SETS["mlearn"].members[member][0], text)
    monkeypatch.setitem(mlearn._COUNTS, member, 1)
    (frame,) = read_set(f"mlearn/{member}", tmp_path)
    assert frame.stress == pytest.approx(-KBAR * np.array([[1, 4, xz], [4, 2, yz], [xz, yz, 3]]), rel=1e-9)
    assert (frame.energy, frame.group, frame.id) == (-1.5, group, f"{member}/0")
    assert frame.pbc.all() and frame.pos.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("text", ["{", "[1]", '[{"structure": {}}]', '{"a": 1}'])
def test_damaged_json_is_named(tmp_path, text):
    put(tmp_path, SETS["mlearn"].members["Si/test"][0], text)
    with pytest.raises(DataError, match=r"test.json: needed structures with outputs; found it unreadable"):
        read_set("mlearn/Si/test", tmp_path)


@needs_copies
@pytest.mark.parametrize(("element", "count"), ELEMENTS)
def test_crystals_resist_being_sheared_and_compressed(element, count):
    frames = read_set(f"mlearn/{element}/train", COPIES)
    assert len(frames) == count
    elastic = [frame for frame in frames if frame.group == "Elastic"]
    sheared = 0
    for frame in elastic:
        cell = frame.cell / np.cbrt(np.linalg.det(frame.cell))
        strain = (cell + cell.T) / 2
        shears = [place for place in SHEARS if abs(strain[place]) > 7e-3]  # below, Li has numerical noise
        if len(shears) == 1:
            sheared += 1
            (place,) = shears
            assert frame.stress[place] * strain[place] > 0
            assert all(abs(frame.stress[other]) < 0.05 * abs(frame.stress[place]) for other in SHEARS if other != place)
    assert sheared >= 4
    volumes = [np.linalg.det(frame.cell) / len(frame) for frame in elastic]
    assert np.corrcoef(volumes, [np.trace(frame.stress) for frame in elastic])[0, 1] > 0.9


def pair_design(frame, cutoff, num_basis=14):
    """Return forces [3 N, K] and stress [3, 3, K] of pair potentials whose forces are hat functions of the distance."""
    graph = build_graph(frame, cutoff)
    src, dst = graph.edge_index.numpy()
    vectors = frame.pos[dst] - frame.pos[src] + graph.edge_shift.numpy() @ frame.cell
    lengths = np.linalg.norm(vectors, axis=1)
    nodes = np.linspace(1.8, cutoff, num_basis)
    hats = np.clip(1 - np.abs(lengths[:, None] - nodes) / (nodes[1] - nodes[0]), 0, None)
    directions = vectors / lengths[:, None]
    forces = np.zeros((len(frame), 3, num_basis))
    np.add.at(forces, dst, directions[:, :, None] * hats[:, None, :])
    stress = -np.einsum("ea,eb,ek->abk", directions, vectors, hats) / 2 / abs(np.linalg.det(frame.cell))
    return forces.reshape(-1, num_basis), stress


@needs_copies
@pytest.mark.parametrize(("element", "cutoff"), [("Si", 5.5), ("Ge", 5.8), ("Li", 6.5), ("Mo", 6.0)])
def test_stresses_of_hot_crystals_agree_with_a_pair_potential_fitted_to_the_forces(element, cutoff):
    frames = [frame for frame in read_set(f"mlearn/{element}/train", COPIES) if frame.group == "AIMD-NVT"][::4]
    designs = [pair_design(frame, cutoff) for frame in frames]
    rows = np.concatenate([forces for forces, _ in designs])
    wanted = np.concatenate([frame.forces.ravel() for frame in frames])
    fitted = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    for place in SHEARS:
        of_pairs = [(stress @ fitted)[place] for _, stress in designs]
        assert np.corrcoef(of_pairs, [frame.stress[place] for frame in frames])[0, 1] > 0.8
