"""What a training run is made of: one frozen, validated tree of sections."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, model_validator

from irrepnet.data.elements import atomic_number
from irrepnet.data.units import Keys, Units
from irrepnet.errors import did_you_mean
from irrepnet.train.model_section import DEFAULT_KIND, SECTIONS, ModelSection

__all__ = [
    "ALTERNATIVES",
    "PATHS",
    "DataConfig",
    "LossConfig",
    "LossStage",
    "MDConfig",
    "ReportConfig",
    "RunConfig",
    "Section",
    "TrainingConfig",
]

# Pairs of which at most one is set.
ALTERNATIVES = (
    (("training", "steps"), ("training", "minutes")),
    (("training", "validate_every_steps"), ("training", "validate_every_epochs")),
    (("data", "valid"), ("data", "valid_groups")),
    (("data", "valid_ids"), ("data", "valid_groups")),
    (("data", "train_ids"), ("data", "train_groups")),
)

# Keys that hold a path: relative ones in a file are relative to that file.
PATHS = (
    ("data", "train"),
    ("data", "valid"),
    ("data", "test"),
    ("data", "train_ids"),
    ("data", "valid_ids"),
    ("data", "test_ids"),
    ("data", "data_dir"),
    ("data", "cache"),
    ("training", "start_from"),
)


LABELS = ("energy", "forces", "stress")  # what a force field learns
_MOST_DAMPING = 200.0  # 1/ps fs: the temperature is then off by 1 %, see deploy.langevin


class Section(BaseModel):
    """A frozen group of settings that knows all of its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _known_symbols(energies: dict[str, float] | None) -> dict[str, float] | None:
    for symbol in energies or ():
        atomic_number(symbol)
    return energies


class DataConfig(Section):
    """Which frames to learn from, which to validate on and which to keep for the final test."""

    train: str = Field(
        description="training frames: a file, a folder, set:NAME (set:rmd17/ethanol) or package:water_xtb/train.npz"
    )
    valid: str | None = Field(default=None, description="validation frames, likewise; null: a part of `train`")
    test: str | None = Field(
        default=None, description="frames for the final evaluation; null: test_ids of `train`, else the validation ones"
    )
    format: str = Field(
        default="auto",
        description="auto (by the name), npz, extxyz, ase, deepmd or hdf5; set:... and package:... know theirs",
    )
    keys: Keys = Field(default=Keys(), description="names of the arrays in the files")
    units: Units | None = Field(default=None, description="units of the numbers in the files; null: the files say them")
    train_groups: tuple[str, ...] | None = Field(
        default=None, description="groups (trajectories) of `train` to learn from; null: all others"
    )
    valid_groups: tuple[str, ...] | None = Field(
        default=None, description="groups (trajectories) of `train` to validate on"
    )
    train_ids: str | None = Field(
        default=None, description="file with the ids of the frames of `train` to learn from, one per line; null: all"
    )
    valid_ids: str | None = Field(
        default=None, description="file with the ids of the validation frames, in `valid` where given, else in `train`"
    )
    test_ids: str | None = Field(
        default=None, description="file with the ids of the test frames, in `test` where given, else in `train`"
    )
    valid_fraction: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of the frames learned from (whole groups where there are any) to validate on, if neither "
        "valid nor its groups or ids are given",
    )
    split_seed: int | None = Field(
        default=None, ge=0, lt=2**31, description="seed of the split by valid_fraction; null: training.seed"
    )
    train_count: int | None = Field(
        default=None,
        gt=0,
        description="how many of the frames to learn from are used, drawn with split_seed, the smaller draw a part of "
        "the larger; null: all",
    )
    isolated_atoms: Annotated[dict[str, float] | None, AfterValidator(_known_symbols)] = Field(
        default=None,
        description="energy of an isolated atom of each element, eV; null: from frames of one atom, else least "
        "squares; not with training.start_from, whose model has them",
    )
    data_dir: str | None = Field(
        default=None, description="folder of the data sets set:...; null: $IRREPNET_DATA or ~/.cache/irrepnet"
    )
    cache: str | None = Field(
        default=None, description="folder in which neighbour lists are kept between runs; null: none are kept"
    )
    workers: int = Field(default=0, ge=0, le=64, description="processes that prepare batches ahead; 0: none")

    @model_validator(mode="after")
    def _one_source_of_each_part(self) -> DataConfig:
        if self.valid is not None and self.valid_groups is not None:
            raise ValueError("needs valid or valid_groups, not both; found both; remove one")
        for part in ("train", "valid"):
            if getattr(self, f"{part}_ids") is not None and getattr(self, f"{part}_groups") is not None:
                raise ValueError(f"needs {part}_ids or {part}_groups, not both; found both; remove one")
        return self


class LossConfig(Section):
    """Weights of the loss; each part is a mean size of errors (or of its square, or Huber's) in the units said."""

    energy: float = Field(default=10.0, ge=0, description="weight of the energy error, which is taken in eV/atom")
    forces: float = Field(default=1.0, ge=0, description="weight of the force error, eV/Å")
    stress: float = Field(
        default=0.0, ge=0, description="weight of the virial error, which is taken in eV/atom; 0: no stress"
    )
    targets: dict[str, NonNegativeFloat] = Field(
        default={},
        description="weights of named targets, of errors in units of the target's scale; others as model.targets say",
    )
    kind: Literal["mse", "huber", "mae"] = Field(
        default="huber",
        description="what is averaged over errors, whose size is the root mean square of the components of a vector or "
        "tensor. huber: the square up to the size `huber_delta`, then linear; mae: the size; mse: the square",
    )
    huber_delta: float = Field(
        default=0.1, gt=0, description="where huber turns linear: eV/atom, eV/Å; for targets in units of their scale"
    )


class LossStage(Section):
    """Other weights of the loss from some point of the budget on."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    start: float = Field(alias="from", ge=0, lt=1, description="share of the budget from which these weights hold")
    energy: float | None = Field(default=None, ge=0, description="as in training.loss; null: as before")
    forces: float | None = Field(default=None, ge=0, description="as in training.loss; null: as before")
    stress: float | None = Field(default=None, ge=0, description="as in training.loss; null: as before")
    targets: dict[str, NonNegativeFloat] = Field(
        default={}, description="as in training.loss; those that are not named: as before"
    )


class TrainingConfig(Section):
    """How long and how to optimise."""

    steps: int | None = Field(default=None, gt=0, description="budget in optimiser steps (give this or minutes)")
    minutes: float | None = Field(
        default=None, gt=0, description="budget in minutes of wall-clock time (give this or steps)"
    )
    batch_size: int = Field(default=1, gt=0, description="frames per step, over all ranks and pieces")
    accumulate: int = Field(
        default=1, gt=0, description="pieces that a step's frames are cut into to save memory; the numbers stay"
    )
    lr: float = Field(default=0.02, gt=0, description="highest learning rate; fresh weights have sizes of order one")
    warmup: float = Field(default=0.02, ge=0, lt=1, description="share of the budget over which the rate rises to lr")
    schedule: Literal["cosine", "linear", "exponential", "constant"] = Field(
        default="cosine", description="how the rate falls from lr to lr_floor * lr; constant: not at all"
    )
    lr_floor: float = Field(default=0.01, ge=0, le=1, description="first and last learning rate as a share of lr")
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
    loss_schedule: tuple[LossStage, ...] = Field(
        default=(), description="other weights later on; validation always has those of the last stage"
    )
    start_from: str | None = Field(
        default=None, description="model file to go on from: weights and all that data determine come from it"
    )
    refit_shifts: bool = Field(
        default=True,
        description="with start_from: fit the energy shifts to the new frames, whose reference may be another one",
    )
    freeze: tuple[str, ...] = Field(
        default=(), description='weights that are not to change, by name or pattern ("layers.0.*")'
    )
    validate_every_epochs: float | None = Field(
        default=None, gt=0, description="epochs between validations; null and no steps: 1"
    )
    validate_every_steps: int | None = Field(
        default=None, gt=0, description="steps between validations (instead of epochs)"
    )
    save_every_minutes: float = Field(default=5.0, gt=0, description="longest time between saved states, minutes")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of weights, shuffling and splitting")
    device: str = Field(default="cpu", description="torch device: cpu, cuda, cuda:1")
    ranks_timeout_s: float = Field(
        default=600.0, gt=0, description="with several ranks: longest wait for a rank that does not answer, s"
    )

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

    @model_validator(mode="after")
    def _schedules_that_make_sense(self) -> TrainingConfig:
        if self.schedule == "exponential" and self.lr_floor == 0:
            raise ValueError("schedule exponential needs lr_floor above 0; found 0; set lr_floor: 0.01")
        starts = [stage.start for stage in self.loss_schedule]
        if starts != sorted(set(starts)):
            raise ValueError(f"loss_schedule needs stages that begin one after the other; found from: {starts}")
        return self

    @property
    def losses(self) -> tuple[tuple[float, LossConfig], ...]:
        """The weights of every stage, complete, with the share of the budget from which they hold."""
        stages = [(0.0, self.loss)]
        for stage in self.loss_schedule:
            before = stages[-1][1]
            given = {name: value for name in LABELS if (value := getattr(stage, name)) is not None}
            after = before.model_copy(update={**given, "targets": before.targets | stage.targets})
            stages.append((stage.start, after))
        return tuple(stages)

    @property
    def final_loss(self) -> LossConfig:
        """The weights of the last stage: validation has them throughout, so that its losses can be compared."""
        return self.losses[-1][1]

    def loss_at(self, spent: float) -> LossConfig:
        """Return the weights that hold when this share of the budget is spent."""
        return [loss for start, loss in self.losses if start <= spent or start == 0][-1]


class MDConfig(Section):
    """The molecular dynamics that a trained force field is put through, from a held-back frame."""

    enabled: bool = Field(default=True, description="run molecular dynamics after training (force fields)")
    ensemble: Literal["nve", "nvt"] = Field(
        default="nve", description="nve: constant energy, Verlet; nvt: constant temperature, Langevin"
    )
    friction: float = Field(default=5.0, gt=0, description="friction of the Langevin thermostat, 1/ps")
    equilibrate: int = Field(default=0, ge=0, description="Langevin steps before those that are recorded")
    steps: int = Field(default=2000, gt=0, description="number of time steps")
    timestep: float = Field(default=0.5, gt=0, description="time step, fs")
    temperature: float = Field(
        default=300.0, gt=0, description="temperature of the first velocities and of the thermostat, K"
    )
    max_force: float = Field(default=100.0, gt=0, description="force on an atom at which the run is stopped, eV/Å")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the velocities and of the thermostat")

    @model_validator(mode="after")
    def _a_friction_that_can_be_integrated(self) -> MDConfig:
        if self.ensemble == "nvt" and self.friction * self.timestep > _MOST_DAMPING:
            raise ValueError(
                f"friction times timestep needs to be at most {_MOST_DAMPING:g} (1/ps fs); found "
                f"{self.friction * self.timestep:g}; lower one"
            )
        return self


class ReportConfig(Section):
    """The page that is written into the run folder."""

    enabled: bool = Field(default=True, description="write report.html")
    title: str = Field(default="irrepnet training run", description="heading of the report")


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

    model: ModelSection = Field(  # type: ignore[valid-type]  # made of the registry at run time
        default=SECTIONS[DEFAULT_KIND](), description="the network; `kind` says which"
    )
    data: DataConfig = Field(description="frames, keys, units and the split")
    training: TrainingConfig = Field(description="budget, optimiser, loss and validation")
    md: MDConfig = Field(default=MDConfig(), description="molecular dynamics after training")
    report: ReportConfig = Field(default=ReportConfig(), description="the HTML page")

    @model_validator(mode="after")
    def _weights_of_what_the_model_has(self) -> RunConfig:
        model: Any = self.model
        if self.training.start_from is not None and model.model_fields_set <= {"kind"}:
            return self  # the model file tells what there is; its section is checked when it is here
        names: list[str] = [] if model.kind == DEFAULT_KIND else [target.name for target in model.targets]
        for _, loss in self.training.losses:
            for name in loss.targets:
                if name not in names:
                    near = did_you_mean(name, names)
                    has = ", ".join(names) or f"no targets, as its kind is {model.kind}"
                    raise ValueError(f"training.loss.targets: the model has {has}; found {name!r}.{near}")
            if model.kind == DEFAULT_KIND and not any(getattr(loss, label) for label in LABELS):
                raise ValueError(
                    "training.loss: needs a positive weight; found energy = forces = stress = 0; set forces: 1.0"
                )
            if model.kind != DEFAULT_KIND:
                _refuse_labels(loss, names)
                if not any(loss.targets.get(target.name, target.weight) for target in model.targets):
                    raise ValueError(
                        f"training.loss: needs a positive weight of some target; found 0 for {', '.join(names)}; set "
                        f"training.loss.targets: {{{names[0]}: 1.0}}"
                    )
        return self


def _refuse_labels(loss: LossConfig, names: Collection[str]) -> None:
    """Refuse weights of labels that only force fields have; the defaults and zero are no statement."""
    for label in LABELS:
        if getattr(loss, label) not in (0, LossConfig.model_fields[label].default):
            raise ValueError(
                f"training.loss.{label} is for force fields; this model has {', '.join(names)}; set "
                "training.loss.targets, or the weight of the target in model.targets"
            )
