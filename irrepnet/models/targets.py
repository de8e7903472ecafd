"""What a model can be asked for by name; for properties of structures, one class of targets for each readout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat, PositiveFloat

from irrepnet.errors import ConfigError

__all__ = [
    "MOST_TARGETS",
    "DipoleTarget",
    "ExtensiveTarget",
    "IntensiveTarget",
    "PropertyTarget",
    "SecondMomentTarget",
    "Target",
    "require_elements",
    "require_names",
]

PerSpecies = dict[str, FiniteFloat]
RESERVED = ("energy", "forces", "stress")  # labels of force fields: files of predictions could not tell them apart
MOST_TARGETS = 256  # far above any model; a crafted file shall not cost minutes


class Target(BaseModel):
    """What every target has, of whatever model; a value that is null is taken from the training frames.

    Example:
        >>> Target(name="gap", unit="eV").weight
        1.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, description="name of the label in the training frames, and of the prediction")
    unit: str = Field("", description="unit of its values, as reports show it")
    weight: NonNegativeFloat = Field(1.0, description="weight of its error in the loss")
    scale: PositiveFloat | None = Field(
        None, description="unit of its error in the loss and of the network's output; null: its spread in the frames"
    )


class ExtensiveTarget(Target):
    """A sum over atoms, such as an energy, a heat capacity or an isotropic polarizability.

    Example:
        >>> ExtensiveTarget(name="U0", readout="extensive", unit="eV", shift={"H": -13.6, "O": -2043.0}).shift["H"]
        -13.6
    """

    readout: Literal["extensive"] = Field(description="a sum over atoms")
    shift: PerSpecies | None = Field(
        None, description="value of an isolated atom of each element; null: those that explain the frames best"
    )


class IntensiveTarget(Target):
    """A weighted mean over atoms, such as the energy of an orbital.

    Example:
        >>> IntensiveTarget(name="homo", readout="intensive", unit="eV").shift is None
        True
    """

    readout: Literal["intensive"] = Field(description="a weighted mean over atoms; the weights are learned")
    shift: FiniteFloat | None = Field(None, description="usual value; null: the mean of the frames")


class DipoleTarget(Target):
    """A dipole moment of open structures, from charges and vectors of atoms.

    The dipole of an ion depends on the point it refers to: here the centre of nuclear charge. Dipoles of neutral
    structures far apart add up; those of ions do not, as their charge is spread over all atoms alike.

    Example:
        >>> DipoleTarget(name="mu", readout="dipole", unit="D", norm=True).total_charge
        0.0
    """

    readout: Literal["dipole"] = Field(description="charges times positions, and vectors of atoms")
    norm: bool = Field(False, description="the label is the length of the dipole, not the vector")
    total_charge: FiniteFloat = Field(
        0.0, description="of every structure, in units of the dipole per Å: one e is 1 for eÅ, 4.80320 for D"
    )


class SecondMomentTarget(Target):
    """The electronic spatial extent <R^2> of open structures, from charges times squared distances to the centre.

    Example:
        >>> SecondMomentTarget(name="r2", readout="second_moment", unit="a0^2").charges is None
        True
    """

    readout: Literal["second_moment"] = Field(description="charges times squared distances, and terms of atoms")
    charges: PerSpecies | None = Field(
        None, description="charge of each element, in units of the target per Å^2; null: those that explain the frames"
    )
    shift: PerSpecies | None = Field(
        None, description="value of an isolated atom of each element; null: those that explain the frames best"
    )


PropertyTarget = Annotated[
    ExtensiveTarget | IntensiveTarget | DipoleTarget | SecondMomentTarget, Field(discriminator="readout")
]


def require_names(targets: Iterable[Target]) -> None:
    """Raise unless there are targets and each has a name of its own, which is none of a force field's labels.

    Raises:
        ConfigError: If there are none; naming the one that is there twice or belongs to force fields.

    Example:
        >>> require_names([Target(name="mu"), Target(name="mu")])
        Traceback (most recent call last):
        irrepnet.errors.ConfigError: targets needs each name once; found 'mu' twice; rename one
    """
    names = [target.name for target in targets]
    if not names:
        raise ConfigError("targets needs at least one target; found none; add a name, and what it is")
    (name, count), *_ = Counter(names).most_common(1)
    if count > 1:
        raise ConfigError(f"targets needs each name once; found {name!r} twice; rename one")
    taken = [name for name in names if name in RESERVED]
    if taken:
        raise ConfigError(
            f"targets needs names other than {', '.join(RESERVED)}, which force fields predict; found {taken[0]!r}; "
            f"call it for example total_{taken[0]} (data.keys.properties says what the file calls it)"
        )


def require_elements(where: str, values: Mapping[str, object] | None, species: Sequence[str]) -> None:
    """Raise unless values by element, if there are any, leave out none.

    Raises:
        ConfigError: Naming the element.

    Example:
        >>> require_elements("shift of 'U0'", {"H": -13.6}, ["H", "O"])
        Traceback (most recent call last):
        irrepnet.errors.ConfigError: shift of 'U0' needs a value for each of H, O; found none for O; add it
    """
    missing = [symbol for symbol in species if symbol not in (values or species)]
    if missing:
        raise ConfigError(
            f"{where} needs a value for each of {', '.join(species)}; found none for {', '.join(missing)}; add it"
        )
