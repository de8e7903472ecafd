import pytest

from irrepnet.data.unit_ratios import as_if, energy_mixups, force_mixups, length_mixups, stress_mixups


@pytest.mark.parametrize(
    ("times", "mixups", "within", "sentence"),
    [
        (23.06, energy_mixups(), 1.03, ", as if kcal/mol were read as eV"),
        (1 / 27.2114, energy_mixups(), 1.03, ", as if Hartree were read as eV"),
        (96.5, energy_mixups(), 1.1, ", as if kJ/mol were read as eV"),
        (1 / 23.06, energy_mixups(), 1.03, ", as if eV were read as kcal/mol"),
        (1.9, length_mixups(), 1.1, ", as if bohr were read as angstrom"),
        (0.1, length_mixups(), 1.1, ", as if nm were read as angstrom"),
        (1 / 51.4, force_mixups(), 1.1, ", as if Hartree/bohr were read as eV/angstrom"),
        (160, stress_mixups(), 1.1, ", as if GPa were read as eV/angstrom^3"),
        (5.0, energy_mixups(), 1.5, ""),
    ],
)
def test_the_likeliest_mixup(times, mixups, within, sentence):
    assert as_if(times, mixups, within) == sentence


def test_two_mixups_at_most():
    assert as_if(25, energy_mixups(), 1.3) == ", as if kcal/mol were read as eV or eV were read as Hartree"
