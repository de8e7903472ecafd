"""Model and state files: safetensors with JSON metadata and a SHA-256, written atomically, read without pickle.

The container is the same in every format version, so an old irrepnet can tell a newer file from a damaged one:
a safetensors file whose ``__metadata__`` has one key, ``irrepnet``, that holds JSON with ``format`` (int),
``irrepnet`` (the version that wrote it), ``sha256`` and ``metadata``. The digest is that of the whole file with
its own 64 digits read as zeros, so that no byte is left out, the header's included.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import irrepnet
from irrepnet.data.atomic_file import atomic_file
from irrepnet.errors import CheckpointError
from irrepnet.models.migrations import FORMAT_VERSION, migrate

__all__ = ["FORMAT_VERSION", "load_model", "load_tensors", "save_model", "save_tensors", "write_atomic"]

_BLANK = "0" * 64  # what stands in the place of the digest while it is computed
_MOST_CONSTANTS = 4 * 2**30  # bytes; what a model computes for itself is not in its file, so the file is no measure
_HEAD = 8  # a safetensors file starts with the length of its JSON header, 8 bytes little endian


def write_atomic(path: str | os.PathLike[str], payload: bytes) -> None:
    """Write a file so that, whenever the process dies, ``path`` holds all of the old bytes or all of the new ones.

    The bytes go to a temporary file beside it, are forced to disk, and take the name in one step; then the folder is
    forced to disk too. What a killed writer left behind is removed by the next write to the same path.

    Args:
        path: The file to write; its folder must exist. A symbolic link is followed. The permissions of a file that is
            there are kept.
        payload: The bytes.

    Raises:
        FileNotFoundError: If the folder does not exist.
        CheckpointError: If something that is not a file has this name (a folder, a pipe, a device).
        OSError: If the disk is full or the folder cannot be written; ``path`` is then as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomic(f"{folder}/note.txt", b"kept")
        ...     Path(folder, "note.txt").read_bytes()
        b'kept'
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"to write {target.name} its folder must exist; there is no {target.parent}; create it")
    if target.exists() and not target.is_file():  # to replace /dev/null would harm the whole machine
        raise CheckpointError(f"a file is written by replacing it; {target} is no regular file; give another name")
    with atomic_file(target) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY)
        try:
            view = memoryview(payload)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)


def save_tensors(path: str | os.PathLike[str], tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write named tensors and JSON metadata to one checked file, atomically.

    Args:
        path: The file to write.
        tensors: Any shapes, dtypes and devices; stored contiguous.
        metadata: What JSON can hold. Floats come back bit for bit.

    Raises:
        CheckpointError: If the metadata is not JSON.
        OSError: As :func:`write_atomic`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tensors(f"{folder}/a.state", {"x": torch.arange(3)}, {"step": 7})
        ...     load_tensors(f"{folder}/a.state")
        ({'x': tensor([0, 1, 2])}, {'step': 7})
    """
    record = {
        "format": FORMAT_VERSION,
        "irrepnet": irrepnet.__version__,
        "sha256": _BLANK,
        "metadata": metadata,
    }
    try:
        text = json.dumps(record)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"metadata must be what JSON can hold; {error}; convert it before saving") from error
    # A clone each, because safetensors refuses tensors that share memory.
    contiguous = torch.contiguous_format
    plain = {name: tensor.detach().cpu().clone(memory_format=contiguous) for name, tensor in tensors.items()}
    raw = safetensors.torch.save(plain, {"irrepnet": text})
    header = _HEAD + int.from_bytes(raw[:_HEAD], "little")
    digest = hashlib.sha256(raw).hexdigest()
    place = raw.index(_BLANK.encode(), 0, header)
    write_atomic(path, raw[:place] + digest.encode() + raw[place + len(digest) :])


def load_tensors(
    path: str | os.PathLike[str], device: str | torch.device = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote, after checking every byte; nothing in the file is executed.

    Args:
        path: The file.
        device: Where the tensors go.

    Returns:
        The tensors by name, and the metadata; of an older file as :func:`~irrepnet.models.migrations.migrate` makes
        them.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is a folder, empty, cut short, altered, a pickle, of another kind or of a newer format.

    Example:
        >>> load_tensors("missing.model")
        Traceback (most recent call last):
        FileNotFoundError: a file written by irrepnet is needed; there is no missing.model; check the path
    """
    raw = _read(Path(path))
    record = _checked_record(Path(path), raw)
    try:
        tensors = safetensors.torch.load(raw)
    except (safetensors.SafetensorError, KeyError) as error:  # a whole file, but not made by safetensors
        raise CheckpointError(f"{path} holds tensors that safetensors cannot read: {error}; write it anew") from error
    try:
        tensors, metadata = migrate(tensors, record["metadata"], int(record["format"]))
    except CheckpointError as error:
        raise CheckpointError(f"{path} is not a file written by irrepnet: {error}") from error
    return {name: tensor.to(device) for name, tensor in tensors.items()}, metadata


def _read(path: Path) -> bytes:
    if path.is_dir():
        inside = sorted(entry.name for entry in path.glob("*.model"))
        hint = f"did you mean {path / inside[0]}?" if inside else "name a file in it"
        raise CheckpointError(f"a file written by irrepnet is needed; {path} is a folder; {hint}")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"a file written by irrepnet is needed; there is no {path}; check the path") from None


def _checked_record(path: Path, raw: bytes) -> dict[str, Any]:
    """Return the JSON record of a file whose size, checksum and format are right."""
    again = "copy it again from where it was made"
    if not raw:
        raise CheckpointError(f"{path} is empty (0 bytes); a file written by irrepnet is needed; {again}")
    header = _HEAD + int.from_bytes(raw[:_HEAD], "little")
    try:
        entries = json.loads(raw[_HEAD:header])
        record = json.loads(entries["__metadata__"]["irrepnet"])
        digest, version, writer = record["sha256"], _whole(record["format"]), record["irrepnet"]
        ends = (int(entry["data_offsets"][1]) for name, entry in entries.items() if name != "__metadata__")
        size = header + max(ends, default=0)
        place = raw.index(digest.encode(), 0, header)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError, RecursionError) as error:
        if raw.startswith((b"\x80", b"PK\x03\x04")):  # not before: the length of a sound header may begin with 0x80
            raise CheckpointError(
                f"{path} looks like a pickle (torch.save); irrepnet reads only its own files and never unpickles, "
                "because a pickle can run any code; save the model with irrepnet.models.save_model"
            ) from error
        found = "its header is cut short" if len(raw) < header < 2**40 else "its header is another one or damaged"
        raise CheckpointError(f"{path} is not a file written by irrepnet: {found}; {again}") from error
    if len(raw) != size:
        raise CheckpointError(f"{path} is damaged: it needs {size} bytes; found {len(raw)}; {again}")
    checksum = hashlib.sha256(raw[:place] + _BLANK.encode() + raw[place + len(_BLANK) : header])
    checksum.update(memoryview(raw)[header:])
    if checksum.hexdigest() != digest:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one it was written with; {again}")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has file format {version}, written by irrepnet {writer}; irrepnet {irrepnet.__version__} reads "
            f"formats up to {FORMAT_VERSION}; update irrepnet"
        )
    return record


def _whole(version: object) -> int:
    if type(version) is not int:  # True is no format, nor is 1.9
        raise ValueError(f"formats are whole numbers; found {version!r}")
    return version


def save_model(model: nn.Module, path: str | os.PathLike[str], *, extra: dict[str, Any] | None = None) -> None:
    """Write a model to one file that :func:`load_model` opens anywhere.

    Args:
        model: A model of the registry: it has a ``config``.
        path: The file, ``*.model`` by custom.
        extra: Facts to travel with it (units, training, data), as JSON can hold; ``model.metadata`` after loading.

    Raises:
        ConfigError: If the class of the model is not in the registry.
        CheckpointError: If ``extra`` is not JSON.
        OSError: As :func:`write_atomic`.

    Example:
        >>> import tempfile
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> model = ForceField(ForceFieldConfig(species=("H", "O"), irreps_hidden="4x0e+4x1o"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(model, f"{folder}/water.model", extra={"data": "toy"})
        ...     load_model(f"{folder}/water.model").metadata["data"]
        'toy'
    """
    from irrepnet.models.registry import kind_of  # the registry imports every model; a state file needs none

    kind = kind_of(model)
    weights = model.state_dict()
    config: Any = model.config
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in weights.values() if tensor.is_floating_point()}
    if len(dtypes) == 1:
        config = config.model_copy(update={"dtype": dtypes.pop()})  # a model may have been cast since it was made
    metadata = {
        "kind": kind,
        "config": config.model_dump(mode="json"),
        "extra": {"torch": torch.__version__, **(extra or {})},
    }
    save_tensors(path, weights, metadata)


def load_model(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> nn.Module:
    """Build the model that a file describes and give it the file's weights.

    Args:
        path: A file by :func:`save_model`.
        device: Where the model goes.

    Returns:
        The model in evaluation mode, with the ``extra`` it was saved with as ``model.metadata``.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: As :func:`load_tensors`; also if the kind of model, its configuration, or the name, shape or
            dtype of a weight is not what this version of irrepnet has.

    Example:
        >>> load_model("missing.model")
        Traceback (most recent call last):
        FileNotFoundError: a file written by irrepnet is needed; there is no missing.model; check the path
    """
    tensors, metadata = load_tensors(path)
    if not isinstance(metadata, dict) or not {"kind", "config", "extra"} <= metadata.keys():
        held = sorted(metadata) if isinstance(metadata, dict) else repr(metadata)[:60]
        raise CheckpointError(f"{path} is not a model file (it holds {held}); give the run's *.model file")
    if not isinstance(metadata["extra"], dict):
        raise CheckpointError(f"{path} needs names and values as extra; found {metadata['extra']!r:.60}; copy it again")
    skeleton = _built(path, metadata, "meta")  # no memory is asked for before it is known to be what the file holds
    for complaint in _mismatches(skeleton.state_dict(), tensors):
        raise CheckpointError(f"{path} does not fit its own configuration: {complaint}; it was altered; copy it again")
    constants = sum(buffer.numel() * buffer.element_size() for buffer in skeleton.buffers())
    if constants > _MOST_CONSTANTS:
        raise CheckpointError(
            f"{path} describes a model with tables of {constants / 2**30:.1f} GiB; at most "
            f"{_MOST_CONSTANTS / 2**30:.0f} GiB are read; lower lmax or radial_knots"
        )
    model = _built(path, metadata, "cpu")
    model.load_state_dict(tensors)
    model.metadata = metadata["extra"]
    return model.to(device).eval()


def _built(path: str | os.PathLike[str], metadata: dict[str, Any], device: str) -> Any:
    """Build what a model file describes, with any weights."""
    from irrepnet.models.registry import build_model

    try:
        with torch.random.fork_rng(devices=[]), torch.device(device):  # the weights that are drawn are thrown away
            return build_model(metadata["kind"], metadata["config"])
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:  # pydantic's ValidationError; no memory
        reader = f"irrepnet {irrepnet.__version__}"
        raise CheckpointError(
            f"{path} describes a model that {reader} cannot build: {error}; update irrepnet"
        ) from error


def _mismatches(needed: dict[str, Tensor], found: dict[str, Tensor]) -> Iterator[str]:
    for name in sorted(needed.keys() | found.keys()):
        if name not in found:
            yield f"weight {name!r} is missing"
        elif name not in needed:
            yield f"weight {name!r} is unknown"
        elif (needed[name].shape, needed[name].dtype) != (found[name].shape, found[name].dtype):
            want, have = needed[name], found[name]
            yield f"weight {name!r} needs {list(want.shape)} {want.dtype}; found {list(have.shape)} {have.dtype}"
