import pytest
from pydantic import BaseModel, ValidationError

from irrepnet.data import Keys, Units
from irrepnet.errors import DataError


def test_factors_are_codata():
    constants = pytest.importorskip("scipy.constants")
    electron, mole, bohr = constants.e, constants.N_A, constants.value("Bohr radius") * 1e10
    hartree = constants.value("Hartree energy in eV")
    # scipy's tables may be of another CODATA year: 2018 and 2022 differ by 7e-10 in the Bohr radius.
    assert Units(energy="Hartree").to_ev == pytest.approx(hartree, rel=1e-11)
    assert Units(length="bohr").to_angstrom == pytest.approx(bohr, rel=1e-9)
    assert Units(energy="kcal/mol").to_ev == pytest.approx(constants.calorie * 1e3 / mole / electron, rel=1e-14)
    assert Units(energy="kJ/mol").to_ev == pytest.approx(1e3 / mole / electron, rel=1e-14)
    assert Units(stress="GPa").to_ev_per_angstrom3 == pytest.approx(1 / 160.21766208, rel=1e-7)
    assert Units(stress="kbar").to_ev_per_angstrom3 == pytest.approx(
        Units(stress="GPa").to_ev_per_angstrom3 / 10, rel=1e-14
    )


def test_forces_and_stress_follow_energy_and_length_unless_said():
    units = Units(energy="Hartree", length="bohr")
    assert units.to_ev_per_angstrom == pytest.approx(51.422067, rel=1e-7)
    assert units.to_ev_per_angstrom3 == pytest.approx(27.211386 / 0.529177**3, rel=1e-5)
    mixed = Units(energy="kcal/mol", length="angstrom", forces="Hartree/bohr", stress="kcal/mol/angstrom^3")
    assert mixed.to_ev_per_angstrom == pytest.approx(51.422067, rel=1e-7)
    assert mixed.to_ev_per_angstrom3 == pytest.approx(mixed.to_ev, rel=1e-14)
    assert Units(forces="kcal/mol/nm").to_ev_per_angstrom == pytest.approx(mixed.to_ev / 10, rel=1e-14)


def test_defaults_change_nothing():
    units = Units()
    assert (units.to_ev, units.to_angstrom, units.to_ev_per_angstrom, units.to_ev_per_angstrom3) == (1, 1, 1, 1)


def test_other_names():
    assert Units(energy="Ha", length="Å").to_ev == Units(energy="Hartree", length="angstrom").to_ev
    assert Units(stress="eV/A^3").to_ev_per_angstrom3 == Units(stress="eV/Å**3").to_ev_per_angstrom3 == 1


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ({"energy": "kcal/mole"}, r"energy unit: needed one of .*; found 'kcal/mole'\. Did you mean 'kcal/mol'\?"),
        ({"energy": ""}, "energy unit: needed one of eV, meV, Hartree, kJ/mol, kcal/mol; found ''"),
        ({"length": "angstroms"}, r"length unit: .* found 'angstroms'\. Did you mean 'angstrom'\?"),
        ({"forces": "eV"}, "forces unit: needed <energy>/<length>, such as eV/angstrom; found 'eV'"),
        ({"forces": "eV/angstrm"}, r"length unit: .* found 'angstrm'\. Did you mean 'angstrom'\?"),
        ({"stress": "Gpa"}, "stress unit: needed GPa, kbar or .*; found 'Gpa'"),
        ({"stress": "eV/angstrom"}, "stress unit: needed GPa, kbar or .*; found 'eV/angstrom'"),
    ],
)
def test_unknown_text_is_named(text, match):
    with pytest.raises(DataError, match=match):
        Units(**text)


def test_extra_keys_are_refused():
    for kind in (Units, Keys):
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            kind(enrgy="eV")


def test_inside_a_configuration_the_place_is_kept():
    class Config(BaseModel):
        units: Units = Units()

    with pytest.raises(ValidationError) as caught:
        Config(units={"energy": "kcal"})
    (error,) = caught.value.errors()
    assert error["loc"] == ("units",)
    assert "Did you mean 'kcal/mol'?" in error["msg"]
    with pytest.raises(ValidationError) as caught:
        Config(units={"enrgy": "eV"})
    assert caught.value.errors()[0]["loc"] == ("units", "enrgy")
