"""Files that commands write: refused with a reason before anything is computed."""

from __future__ import annotations

from pathlib import Path

from irrepnet.errors import ConfigError

__all__ = ["new_file", "output_file"]


def output_file(text: str, option: str, *, example: str, inputs: tuple[str, ...] = ()) -> Path:
    """Return the path of a file that can be written; one that is there will be replaced.

    Args:
        text: What was given.
        option: Its name, for messages.
        example: A good value, for messages.
        inputs: Files that are read, which it must not be.

    Raises:
        ConfigError: If it is a folder, its folder does not exist, or it is one of the files that are read.

    Example:
        >>> output_file("nowhere/a.xyz", "--out", example="predicted.extxyz")
        Traceback (most recent call last):
        irrepnet.errors.ConfigError: --out needs a file to write; found no folder nowhere; write for example --out ...
    """
    target = Path(text).expanduser()
    found = None
    if target.is_dir():
        found = "a folder"
    elif not target.parent.is_dir():
        found = f"no folder {target.parent}"
    elif any(target.exists() and Path(path).exists() and target.samefile(path) for path in inputs):
        found = "the file that is read, which it would replace"
    if found is not None:
        raise ConfigError(f"{option} needs a file to write; found {found}; write for example {option} {example}")
    return target


def new_file(path: Path, content: str) -> None:
    """Write a text file that is not there yet.

    Raises:
        ConfigError: If there is something of this name, or no such folder.
        OSError: If it cannot be written; nothing is left of it then.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     new_file(Path(folder, "a.yaml"), "training: {steps: 1}")
        ...     Path(folder, "a.yaml").read_text()
        'training: {steps: 1}'
    """
    try:
        stream = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise ConfigError(f"{path}: needed a new file; found one there; give another name with --out") from None
    except FileNotFoundError:
        raise ConfigError(f"{path}: needed a folder to write into; found no {path.parent}; create it") from None
    try:
        with stream:
            stream.write(content)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
