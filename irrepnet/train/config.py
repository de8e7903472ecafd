"""What a training run is made of: one frozen, validated tree of sections."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Optional

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from irrepnet.data.units import Keys, Units
from irrepnet.models.registry import MODELS

__all__ = [
    "ALTERNATIVES",
    "DataConfig",
    "LossConfig",
    "MDConfig",
    "ReportConfig",
    "RunConfig",
    "Section",
    "TrainingConfig",
]

# Fields of a model that the training frames determine: `null` in a training configuration, a value in a model file.
DETERMINED_BY_DATA = ("species", "avg_num_neighbors", "energy_scale", "species_shifts")

# Pairs of which at most one is set.
ALTERNATIVES = (
    (("training", "steps"), ("training", "minutes")),
    (("training", "validate_every_steps"), ("training", "validate_every_epochs")),
    (("data", "valid"), ("data", "valid_groups")),
)


class Section(BaseModel):
    """A frozen group of settings that knows all of its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Section):
    """Which frames to learn from, which to validate on and which to keep for the final test."""

    train: str = Field(
        description="file of training frames (.npz, .extxyz), or a shipped one: package:water_xtb/train.npz"
    )
    valid: str | None = Field(default=None, description="file of validation frames; null: hold back a part of `train`")
    test: str | None = Field(default=None, description="file for the final evaluation; null: the validation frames")
    format: str = Field(default="auto", description="file format: auto (by suffix), npz or extxyz")
    keys: Keys = Field(default=Keys(), description="names of the arrays in the files")
    units: Units | None = Field(default=None, description="units of the numbers in the files; null: the files say them")
    train_groups: tuple[str, ...] | None = Field(
        default=None, description="groups (trajectories) of `train` to learn from; null: all others"
    )
    valid_groups: tuple[str, ...] | None = Field(
        default=None, description="groups (trajectories) of `train` to validate on"
    )
    valid_fraction: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of `train` to validate on (whole groups where there are any) if neither is given",
    )

    @model_validator(mode="after")
    def _one_source_of_validation_frames(self) -> DataConfig:
        if self.valid is not None and self.valid_groups is not None:
            raise ValueError("needs valid or valid_groups, not both; found both; remove one")
        return self


class LossConfig(Section):
    """Weights of the loss; each part is a mean of squares (or Huber) in the units said."""

    energy: float = Field(default=10.0, ge=0, description="weight of the energy error per atom, (eV/atom)^2")
    forces: float = Field(default=1.0, ge=0, description="weight of the force error per component, (eV/Å)^2")
    stress: float = Field(
        default=0.0, ge=0, description="weight of the virial error per atom and component, (eV/atom)^2; 0: no stress"
    )
    kind: Literal["mse", "huber"] = Field(
        default="mse", description="mse: mean square; huber: linear beyond `huber_delta`"
    )
    huber_delta: float = Field(default=0.1, gt=0, description="where huber turns linear, eV/atom and eV/Å")

    @model_validator(mode="after")
    def _something_to_learn(self) -> LossConfig:
        if self.energy == self.forces == self.stress == 0:
            raise ValueError("needs a positive weight; found energy = forces = stress = 0; set forces: 1.0")
        return self


class TrainingConfig(Section):
    """How long and how to optimise."""

    steps: int | None = Field(default=None, gt=0, description="budget in optimiser steps (give this or minutes)")
    minutes: float | None = Field(
        default=None, gt=0, description="budget in minutes of wall-clock time (give this or steps)"
    )
    batch_size: int = Field(default=1, gt=0, description="frames per step")
    lr: float = Field(default=0.01, gt=0, description="highest learning rate")
    warmup: float = Field(default=0.02, ge=0, lt=1, description="share of the budget over which the rate rises to lr")
    lr_floor: float = Field(default=0.01, ge=0, le=1, description="last learning rate as a share of lr (cosine decay)")
    optimiser: Literal["adam", "adamw"] = Field(default="adam", description="torch.optim.Adam or AdamW")
    amsgrad: bool = Field(default=True, description="the AMSGrad variant of the optimiser")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay of the optimiser")
    ema_decay: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="decay of the averaged weights that are validated and kept; 0: no averaging",
    )
    clip_norm: float | None = Field(
        default=10.0, gt=0, description="largest norm of the gradient, in its own units; null: no clipping"
    )
    loss: LossConfig = Field(default=LossConfig(), description="weights of the loss")
    validate_every_epochs: float | None = Field(
        default=None, gt=0, description="epochs between validations; null and no steps: 1"
    )
    validate_every_steps: int | None = Field(
        default=None, gt=0, description="steps between validations (instead of epochs)"
    )
    save_every_minutes: float = Field(default=5.0, gt=0, description="longest time between saved states, minutes")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of weights, shuffling and splitting")
    device: str = Field(default="cpu", description="torch device: cpu, cuda, cuda:1")

    @model_validator(mode="after")
    def _one_budget_one_interval(self) -> TrainingConfig:
        if (self.steps is None) == (self.minutes is None):
            found = "neither" if self.steps is None else f"steps = {self.steps} and minutes = {self.minutes:g}"
            raise ValueError(f"needs exactly one of steps and minutes; found {found}; set one, leave the other null")
        if self.validate_every_epochs is not None and self.validate_every_steps is not None:
            raise ValueError(
                "needs one of validate_every_epochs and validate_every_steps; found both; leave the other null"
            )
        return self


class MDConfig(Section):
    """The molecular dynamics that a trained model is put through: constant energy, from a held-back frame."""

    enabled: bool = Field(default=True, description="run molecular dynamics after training")
    steps: int = Field(default=2000, gt=0, description="number of time steps")
    timestep: float = Field(default=0.5, gt=0, description="time step, fs")
    temperature: float = Field(default=300.0, gt=0, description="temperature of the first velocities, K")
    max_force: float = Field(default=100.0, gt=0, description="force on an atom at which the run is stopped, eV/Å")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the first velocities")


class ReportConfig(Section):
    """The page that is written into the run folder."""

    enabled: bool = Field(default=True, description="write report.html")
    title: str = Field(default="irrepnet training run", description="heading of the report")


def _model_section(kind: str) -> type[BaseModel]:
    """Return the config class of a model with ``kind``, and with optional values for what the data determine."""
    config_class, _ = MODELS[kind]
    fields: dict[str, Any] = {"kind": (Literal[kind], Field(kind, description="which model"))}
    for name in DETERMINED_BY_DATA:
        field = config_class.model_fields[name]
        annotation: Any = field.annotation
        for constraint in field.metadata:
            annotation = Annotated[annotation, constraint]
        description = f"{field.description}; null: from the training frames"
        fields[name] = (Optional[annotation], Field(None, description=description))  # noqa: UP045 - built at run time
    return create_model(f"{config_class.__name__}Section", __base__=config_class, __doc__="The network.", **fields)


ForceFieldSection = _model_section("force_field")


class RunConfig(Section):
    """A whole training run.

    Args:
        model: The network; what the data determine (species, scale, shifts, neighbours) may stay null.
        data: Files, keys, units and the split.
        training: Budget, optimiser, loss, validation.
        md: Molecular dynamics after training.
        report: The HTML page.

    Raises:
        pydantic.ValidationError: If a key is unknown or a value is out of range;
            :func:`~irrepnet.train.config_file.load_config` turns it into one line per error.

    Example:
        >>> sections = {"model": {"cutoff": 4.0}, "data": {"train": "a.npz"}, "training": {"steps": 10}}
        >>> config = RunConfig.model_validate(sections)
        >>> config.training.steps, config.training.minutes, config.md.timestep
        (10, None, 0.5)
    """

    model: ForceFieldSection = Field(default=ForceFieldSection(), description="the network")  # type: ignore[valid-type]
    data: DataConfig = Field(description="frames, keys, units and the split")
    training: TrainingConfig = Field(description="budget, optimiser, loss and validation")
    md: MDConfig = Field(default=MDConfig(), description="molecular dynamics after training")
    report: ReportConfig = Field(default=ReportConfig(), description="the HTML page")
