import time

import numpy as np
import pytest

from irrepnet.data import Frame, check_frames, duplicated_frames, find_oddities, validate_frames
from irrepnet.errors import DataError

POS = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


def water(number=0, **changes):
    """A water molecule like no other."""
    rng = np.random.default_rng(number)
    parts = {
        "species": [8, 1, 1],
        "pos": POS + rng.normal(0, 0.01, (3, 3)),
        "energy": -20.0,
        "forces": rng.normal(0, 1, (3, 3)),
    }
    return Frame(**{**parts, "source": f"w.npz frame {number}", **changes})


def poisoned(value, shape=(3, 3)):
    array = np.zeros(shape)
    array[2, 1] = value
    return array


def test_good_frames_have_no_findings():
    assert validate_frames([water(i) for i in range(5)]) == []


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"energy": None}, r"w.npz frame 1: needed energy; 1 of 3 frames have none, this is the first; leave them out"),
        ({"forces": None, "available": ("pos", "force")}, r"needed forces; found pos, force; .*Did you mean 'force'\?"),
        ({"energy": np.nan}, r"w.npz frame 1: energy needs finite numbers; found nan"),
        ({"pos": POS + poisoned(np.nan)}, r"w.npz frame 1: pos needs finite numbers; found .*nan.* at atom 2"),
        (
            {"forces": poisoned(np.inf)},
            r"w.npz frame 1: forces needs finite numbers; found \[0.0, inf, 0.0\] at atom 2",
        ),
        ({"stress": poisoned(np.nan)}, "stress needs finite numbers"),
        ({"cell": poisoned(np.nan), "pbc": False}, "cell needs finite numbers"),
        ({"cell": np.ones((3, 3)), "pbc": True}, r"w.npz frame 1: cell needs .*singular cell"),
        ({"species": [8, 1, 0]}, r"species needs atomic numbers 1 to 118; found 0 \(no element\) at atom 2"),
        ({"species": [8, 1, 119]}, r"found 119 \(no element\) at atom 2"),
        ({"species": [], "pos": np.zeros((0, 3)), "forces": np.zeros((0, 3))}, "needed at least one atom; found none"),
        ({"pos": np.zeros((3, 3))}, r"0.35 Å apart; found atoms . and . nearer; .*coincident atoms"),
        ({"pos": POS / 10}, "look for another length unit"),
        (
            {"pos": POS + poisoned(1e7)},
            r"atoms need to be within 10000 Å of each other; found atom 2 at \[-0.24, 1000000",
        ),
        (
            {"cell": 0.3 * np.eye(3), "pbc": [True, False, False]},
            "found each atom and its image nearer, by a lattice vector of 0.3 Å",
        ),
    ],
)
def test_bad_frames_are_named(changes, match):
    with pytest.raises(DataError, match=match):
        validate_frames([water(0), water(1, **changes), water(2)])


def test_swapped_columns_are_found():
    forces = np.random.default_rng(0).normal(0, 0.1, (3, 3))
    with pytest.raises(DataError, match="swapped columns"):
        validate_frames([water(pos=forces, forces=POS)])


def test_species_that_a_model_does_not_know():
    with pytest.raises(DataError, match=r"w.npz frame 3: species needs .*1 \(H\), 8 \(O\); found 9 \(F\) at atom 0"):
        validate_frames([water(3, species=[9, 1, 1])], known_species=[8, 1])


def test_only_what_is_required_is_required():
    assert validate_frames([water(energy=None, forces=None)], require=[]) == []
    with pytest.raises(DataError, match="needed stress; found"):
        validate_frames([water()], require=["stress"])
    with pytest.raises(DataError, match=r"require needs .*; found 'force'\. Did you mean 'forces'\?"):
        validate_frames([water()], require=["force"])


def test_empty_set():
    with pytest.raises(DataError, match="needed at least one frame; found none"):
        validate_frames([])


def test_duplicates_and_wild_forces_are_reported():
    frames = [water(0), water(1), water(0, source="again"), water(3, forces=poisoned(500.0))]
    same, wild = validate_frames(frames)
    assert same == "w.npz frame 0 and again are the same structure"
    assert wild.startswith("w.npz frame 3: force of 500 eV/Å at atom 2, where ")
    assert validate_frames([water(1), water(3, forces=poisoned(5.0))]) == []


def test_duplicates_between_sets():
    train, valid = [water(i) for i in range(4)], [water(7), water(2), water(3, cell=9 * np.eye(3))]
    assert duplicated_frames(train, valid) == [(2, 1)]
    assert duplicated_frames([*train, train[1], train[1]]) == [(1, 4), (1, 5)]


def test_properties_may_be_required():
    full = water(0, properties={"dipole": [0, 0, 1]}, atom_properties={"q": [-0.8, 0.4, np.nan]})
    assert validate_frames([full], require=["energy", "dipole", "q"]) == []
    with pytest.raises(DataError, match=r"frame 1: needed dipole; 1 of 2 frames have none, this is the first"):
        validate_frames([full, water(1, available=("mu",))], require=["dipole"])
    with pytest.raises(DataError, match="frame 1: needed q; 1 of 2 frames have none"):
        validate_frames([full, water(1, atom_properties={"q": [np.nan] * 3})], require=["q"])
    with pytest.raises(
        DataError, match=r"require needs energy, .*, dipole, q; found 'dipol'\. Did you mean 'dipole'\?"
    ):
        validate_frames([full], require=["dipol"])
    assert validate_frames([full, water(1)], require=["energy"]) == [
        "w.npz frame 0 to w.npz frame 1: dipole is known in 1 of 2 frames",
        "w.npz frame 0 to w.npz frame 1: q is known in 1 of 2 frames",
    ]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"properties": {"dipole": [0, np.nan, 1]}}, "w.npz frame 1: dipole needs finite numbers; found nan"),
        ({"properties": {"gap": np.inf}}, "gap needs finite numbers; found inf"),
        (
            {"atom_properties": {"t": np.array([[1, 2], [np.nan, np.nan], [np.nan, 3]])}},
            r"t needs finite numbers, or NaN throughout where it is not known; found \[nan, 3.0\] at atom 2",
        ),
    ],
)
def test_bad_properties_are_named(changes, match):
    with pytest.raises(DataError, match=match):
        validate_frames([water(0), water(1, **changes)])


def test_of_many_findings_of_one_kind_five_are_shown():
    twice = [water(number) for number in range(9)] * 2
    assert len(find_oddities(twice)) == 9
    shown = validate_frames(twice)
    assert len(shown) == 6
    assert shown[-1] == "and 4 more like the last"


def test_checks_without_looking_for_oddities():
    assert check_frames([water(0), water(0)]) is None
    with pytest.raises(DataError, match=r"w.npz frame 1: needed stress"):
        check_frames([water(0, stress=np.eye(3)), water(1)], require=["stress"])


@pytest.mark.parametrize("height", [1e-7, 1e-3, 0.1])
def test_a_flat_cell_is_refused_before_its_images_are_listed(height):
    flat = np.array([[10.0, 0, 0], [0, 10, 0], [5.03, 3.07, height]])
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"w.npz frame 1: cell needs (lattice planes 0.35 Å apart|.*singular)"):
        check_frames([water(0), water(1, cell=flat, pbc=True)])
    with pytest.raises(DataError, match=r"w.npz frame 1: atoms need to be 0.35 Å apart; found each atom and its image"):
        check_frames([water(1, cell=1e-4 * np.eye(3), pbc=True)])
    assert time.perf_counter() - start < 3
    assert check_frames([water(1, cell=np.diag([9, 9, height]), pbc=[True, True, False])]) is None


def test_of_two_atoms_the_far_one_is_named():
    far = water(1, species=[1, 1], pos=[[0, 0, 0], [0, 0, 1e6]], forces=np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"found atom 1 at \[0.0, 0.0, 1000000.0\]"):
        check_frames([far])


def test_a_label_that_only_some_frames_have_is_no_wrong_name():
    frames = [water(source=f"a.xyz frame {i}", forces=None if i in (2, 4) else np.zeros((3, 3))) for i in range(6)]
    words = r"a.xyz frame 2: needed forces; 2 of 6 frames have none, this is the first; leave them out, or do not ask"
    with pytest.raises(DataError, match=words):
        check_frames(frames, require=["forces"])
