import numpy as np
import pytest

from irrepnet.data import (
    Frame,
    average_num_neighbors,
    build_graph,
    fit_species_shifts,
    force_rms,
    split_isolated_atoms,
)
from irrepnet.errors import DataError


def frame(species, energy=None, forces=None):
    pos = 2.0 * np.arange(3 * len(species)).reshape(-1, 3)
    return Frame(species=species, pos=pos, energy=energy, forces=forces, source="x.npz frame 0")


def test_shifts_are_exact_where_the_composition_tells():
    data = [frame([8, 1, 1], -20.0), frame([8, 8], -32.0), frame([1, 1], -4.0)]
    assert fit_species_shifts(data, ["H", "O"]) == pytest.approx([-2.0, -16.0])
    assert fit_species_shifts(data, [8, 1]) == pytest.approx([-16.0, -2.0])


def test_shifts_of_one_composition_are_the_shortest_answer():
    data = [frame([8, 1, 1] * 2, -20.0 + noise) for noise in (-0.1, 0.1)]
    shifts = fit_species_shifts(data, ["H", "O"])
    assert 4 * shifts[0] + 2 * shifts[1] == pytest.approx(-20.0)
    assert shifts[0] / shifts[1] == pytest.approx(2.0)  # along (4, 2): no part that the data cannot see


def test_shifts_keep_float64():
    data = [frame([8, 1, 1] * n, -2056.123456789012 * n) for n in (1, 2, 3)]
    shifts = fit_species_shifts(data, ["O", "H"])
    assert shifts.dtype == np.float64
    assert shifts @ [1, 2] == pytest.approx(-2056.123456789012, rel=1e-14)


def test_an_element_that_never_occurs_has_no_shift():
    assert fit_species_shifts([frame([1, 1], -4.0)], ["H", "Au"]) == pytest.approx([-2.0, 0.0])


def test_force_rms_is_per_component():
    data = [frame([1], forces=[[3.0, 0.0, 0.0]]), frame([1, 1], forces=np.zeros((2, 3)))]
    assert force_rms(data) == pytest.approx(1.0)


def test_average_num_neighbors_counts_over_all_atoms():
    near = build_graph(Frame(species=[1, 1], pos=[[0, 0, 0], [1, 0, 0]]), 2.0)
    far = build_graph(Frame(species=[1] * 2, pos=[[0, 0, 0], [9, 0, 0]]), 2.0)
    assert average_num_neighbors([near, far]) == 0.5


def test_what_is_missing_is_named():
    with pytest.raises(DataError, match=r"x.npz frame 0: needed energy; found none"):
        fit_species_shifts([frame([1])], ["H"])
    with pytest.raises(DataError, match=r"x.npz frame 0: needed forces; found none"):
        force_rms([frame([1])])
    with pytest.raises(DataError, match="needed at least one frame with forces; found no frames"):
        force_rms([])
    with pytest.raises(DataError, match=r"x.npz frame 0: needed species \[1\]; found 8 too"):
        fit_species_shifts([frame([8, 1], 0.0)], ["H"])
    with pytest.raises(DataError, match=r"found 'Hh'\. Did you mean 'H"):
        fit_species_shifts([frame([1], 0.0)], ["Hh"])
    with pytest.raises(DataError, match="at least one atom; found none"):
        average_num_neighbors([])


def test_fixed_shifts_stay_and_the_others_are_fitted():
    data = [frame([8, 1, 1], -20.0), frame([8, 8], -32.0), frame([1, 1], -4.5)]
    assert fit_species_shifts(data, ["H", "O"], fixed={1: -2.0, 8: -15.0}) == pytest.approx([-2.0, -15.0])
    # Without hydrogen there is one unknown: -16 of the first, -32 / 2 of the second.
    assert fit_species_shifts(data, ["H", "O"], fixed={1: -2.0}) == pytest.approx([-2.0, -16.0])
    with pytest.raises(DataError, match=r"fixed needs energies of species \[1, 8\]; found 6"):
        fit_species_shifts(data, ["H", "O"], fixed={6: -1.0})


def test_free_atoms_are_taken_out():
    atoms = [frame([1], -13.6), frame([8], -2043.0)]
    crystal = Frame(species=[3], pos=[[0, 0, 0]], cell=3 * np.eye(3), pbc=True, energy=-1.9)
    unknown = frame([6])
    others = [frame([8, 1], -2060.0), crystal, unknown]
    left, energies = split_isolated_atoms([atoms[0], *others, atoms[1], atoms[0]])
    assert left == others
    assert energies == {1: -13.6, 8: -2043.0}
    assert split_isolated_atoms([]) == ([], {})
    with pytest.raises(DataError, match=r"needed one energy of the free atom 1; found -13.5 eV, and -13.6 eV in x.npz"):
        split_isolated_atoms([*atoms, frame([1], -13.5)])
