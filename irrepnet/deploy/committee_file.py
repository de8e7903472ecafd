"""Files of committees: small JSON that names its members' files by relative path and SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

import irrepnet
from irrepnet.deploy.committee import Committee, Factor
from irrepnet.errors import CheckpointError, ConfigError
from irrepnet.models.checkpoint import load_model, write_atomic

__all__ = ["SUFFIX", "load_committee", "load_model_or_committee", "save_committee"]

#: How files of committees end.
SUFFIX = ".committee"
_FORMAT = 1
_DIGEST = "^[0-9a-f]{64}$"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Member(_Section):
    path: str = Field(min_length=1)
    sha256: str = Field(pattern=_DIGEST)


class _Factor(_Section):
    factor: float = Field(ge=0)
    entries: int = Field(gt=0)


class _Record(_Section):
    """What the file holds, but for its own checksum."""

    kind: Literal["committee"] = "committee"
    format: int = _FORMAT
    irrepnet: str = irrepnet.__version__
    members: list[_Member] = Field(min_length=2)
    calibration: dict[str, _Factor] = {}

    def sha256(self) -> str:
        """Return the checksum: of the values, however they are laid out."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def save_committee(committee: Committee, path: str | os.PathLike[str]) -> None:
    """Write a committee to a file that :func:`load_committee` opens; it may move together with its members' files.

    Args:
        committee: Its members were read from files.
        path: The file, ``*.committee``.

    Raises:
        ConfigError: If the name ends otherwise, or a member is not of a file.
        CheckpointError: If the file of a member has changed since it was read.
        FileNotFoundError: If the folder, or the file of a member, does not exist.

    Example:
        >>> import tempfile
        >>> from irrepnet.models import ForceField, ForceFieldConfig, save_model
        >>> config = ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = [Path(folder, name) for name in ("a.model", "b.model")]
        ...     for file in files:
        ...         save_model(ForceField(config), file)
        ...     save_committee(Committee(files), f"{folder}/ab.committee")
        ...     len(load_committee(f"{folder}/ab.committee").members)
        2
    """
    _require_suffix(path)
    folder = Path(os.path.realpath(path)).parent
    members = []
    for place, file in enumerate(committee.files):
        if file is None:
            raise ConfigError(
                f"a file of a committee names its members' files; member {place} has none; write it with save_model "
                "and make the committee of the paths"
            )
        if _sha256(file.path) != file.sha256:
            raise CheckpointError(f"{file.path} has changed since the committee read it; make the committee anew")
        members.append(_Member(path=Path(os.path.relpath(file.path, folder)).as_posix(), sha256=file.sha256))
    calibration = {name: _Factor(**factor._asdict()) for name, factor in committee.calibration.items()}
    record = _Record(members=members, calibration=calibration)
    text = json.dumps({**record.model_dump(mode="json"), "sha256": record.sha256()}, indent=2, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())


def load_committee(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Committee:
    """Read what :func:`save_committee` wrote, and the members, after checking that they are the same as then.

    Args:
        path: The file.
        device: Where the models go.

    Raises:
        FileNotFoundError: If there is no such file, or a member's file is missing.
        CheckpointError: If the file is damaged or of a newer format, or a member's file is another one or damaged.

    Example:
        >>> load_committee("missing.committee")
        Traceback (most recent call last):
        FileNotFoundError: a file of a committee is needed; there is no missing.committee; check the path
    """
    record = _read_record(Path(path))
    folder = Path(os.path.realpath(path)).parent
    files = []
    for member in record.members:
        file = folder / member.path
        if not file.is_file():
            raise FileNotFoundError(f"{path} needs the model {member.path} beside it; found none; copy it there")
        if _sha256(file) != member.sha256:
            raise CheckpointError(
                f"{path} needs the model {member.path} as it was; found one with another SHA-256; "
                "copy it again, or make the committee anew"
            )
        files.append(file)
    calibration = {name: Factor(factor.factor, factor.entries) for name, factor in record.calibration.items()}
    try:
        return Committee(files, device=device, calibration=calibration)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def load_model_or_committee(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> nn.Module:
    """Read a model, or a committee where the name ends with ``.committee``.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: As :func:`~irrepnet.models.load_model` and :func:`load_committee`.

    Example:
        >>> load_model_or_committee("missing.model")
        Traceback (most recent call last):
        FileNotFoundError: a file written by irrepnet is needed; there is no missing.model; check the path
    """
    return load_committee(path, device) if Path(path).suffix == SUFFIX else load_model(path, device)


def _require_suffix(path: str | os.PathLike[str]) -> None:
    if Path(path).suffix != SUFFIX:
        raise ConfigError(f"a file of a committee needs a name like water{SUFFIX}; found {Path(path).name}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_record(path: Path) -> _Record:
    """Return what the file says, checked."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"a file of a committee is needed; there is no {path}; check the path") from None
    except IsADirectoryError:
        raise CheckpointError(f"a file of a committee is needed; {path} is a folder; name a file in it") from None
    try:
        held: Any = json.loads(raw)
        version, writer = int(held["format"]), str(held["irrepnet"])
        digest = str(held.pop("sha256"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not a file of a committee: it is cut short or another one; copy it again"
        ) from error
    if version > _FORMAT:
        raise CheckpointError(
            f"{path} has format {version}, written by irrepnet {writer}; irrepnet {irrepnet.__version__} reads formats "
            f"up to {_FORMAT}; update irrepnet"
        )
    try:
        record = _Record.model_validate(held)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{path} is not a file of a committee: {place}: {first['msg']}; copy it again") from error
    if record.sha256() != digest:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one it was written with; copy it again")
    return record
