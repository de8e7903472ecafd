"""What training frames tell of tensors: means of scalar parts, scales of irreps, and whether a formula fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from irrepnet.data.elements import atomic_number
from irrepnet.data.frame import Frame
from irrepnet.errors import DataError
from irrepnet.models.labels import Array, completed, composition, elements_of, known_labels, say_unseen, spread
from irrepnet.models.targets import require_elements
from irrepnet.models.tensor import TensorTarget
from irrepnet.nn.channels import Channels, Scalars

__all__ = ["tensor_statistics", "with_varying_irreps"]

_MOST_FORBIDDEN = 0.1  # share of the rms of labels beyond which a formula is wrong rather than the labels inexact
_SAID = 1e-9  # share beyond which a note says so; below it is the rounding of float64


def tensor_statistics(
    targets: Sequence[Any],
    frames: Sequence[Frame],
    species: Sequence[str] | None = None,
    *,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Complete targets with what training frames tell: means of scalar parts, and scales of irreps and of the whole.

    The means of an extensive tensor are a least-squares fit of the frames by their composition; of any other tensor of
    structures there is one for all elements; of a tensor of atoms, one for each element of which it is known. Scales
    are root mean squares over components around the means. Values that are given stay.

    What a formula forbids (the antisymmetric part of a polarizability that was computed to few digits) is projected
    away, and a note says how much it is.

    Args:
        targets: Of a :class:`TensorConfig`, validated or as plain values.
        frames: Training frames; also a lazy sequence. NaN, or no label: not known.
        species: Symbols of the elements of the model; None for those of the frames.
        say: What is called with each note.

    Returns:
        The targets as plain values, none of them None.

    Raises:
        DataError: If a target is known of no frame, has another shape or is infinite, a formula forbids more than a
            tenth of it, or a frame has an element that is not among ``species``.
        pydantic.ValidationError: If a target is not valid (a ``ValueError`` too).

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], properties={"a": a * np.eye(3)}) for a in (1.0, 3.0)]
        >>> (target,) = tensor_statistics([{"name": "a", "formula": "ij=ji"}], frames)
        note: the parts 2e of target 'a' do not vary in the training frames; the model predicts their usual values
        >>> target["mean"], target["irrep_scales"]  # the trace over the square root of three
        ({'H': [3.46...]}, [1.73..., 0.0])
    """
    symbols = elements_of(frames) if species is None else list(species)
    complete = []
    for given in targets:
        target = TensorTarget.model_validate(given)
        complete.append(completed(target, _fitted(target, frames, symbols, say), say))
    return complete


def with_varying_irreps(
    targets: Sequence[Any],
    frames: Sequence[Frame],
    species: Sequence[str],
    *,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Complete targets of a model that training goes on from: irreps that vary only in the new frames get a scale.

    A scale of 0, that of irreps which did not vary in the frames before, would leave them at their usual values for
    ever. Other values stay.

    Args:
        targets: Complete, as plain values.
        frames: New training frames.
        species: Symbols of the elements of the model.
        say: What is called with each note.

    Raises:
        DataError: As :func:`tensor_statistics`.

    Example:
        >>> tensor = np.diag([1.0, 2.0, 3.0])
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], properties={"a": tensor})]
        >>> target = {"name": "a", "formula": "ij=ji", "mean": {"H": [3.0]}, "scale": 1.0, "irrep_scales": [1.7, 0.0]}
        >>> with_varying_irreps([target], frames, ["H"])[0]["irrep_scales"]
        [1.7, 0.63...]
    """
    complete = []
    for target in targets:
        scales = target["irrep_scales"]
        if scales is not None and 0 in scales:
            (fitted,) = tensor_statistics([{**target, "irrep_scales": None}], frames, species, say=say)
            scales = [known or new for known, new in zip(scales, fitted["irrep_scales"], strict=True)]
        complete.append({**target, "irrep_scales": scales})
    return complete


def _fitted(
    target: TensorTarget, frames: Sequence[Frame], symbols: Sequence[str], say: Callable[[str], None]
) -> dict[str, Any]:
    """Return what the frames say of means and scales."""
    tensors, factors = _rows(target, frames, [atomic_number(symbol) for symbol in symbols], say)
    irreps = target.irreps
    parts = irreps.from_cartesian(torch.from_numpy(tensors))  # [K, dim]
    scalars = Scalars(irreps)
    if target.mean is None:
        is_mean = target.level == "structure" and not target.extensive
        # All elements have one mean, or each its own.
        known = factors.sum(axis=1, keepdims=True) if is_mean else factors
        if scalars.num:
            say_unseen(target.name, "mean", [is_mean or bool(column.any()) for column in factors.T], symbols, say)
        solution = np.linalg.lstsq(known, scalars.take(parts).numpy(), rcond=None)[0]
        means = np.broadcast_to(solution, (len(symbols), scalars.num))
    else:
        require_elements(f"mean of {target.name!r}", target.mean, symbols)
        means = np.array([target.mean[symbol] for symbol in symbols]).reshape(len(symbols), scalars.num)
    rest = parts - scalars.put(torch.from_numpy(factors @ means))
    squares = Channels(irreps).mean(rest.square())  # [K, irreps]
    scale = spread(rest.numpy() * (rest.shape[1] / 3 ** len(irreps.indices)) ** 0.5, tensors)
    spreads = [spread(column.sqrt().numpy(), tensors) or 0.0 for column in squares.T]
    if scale is not None and target.irrep_scales is None:
        channels = [ir for mul, ir in irreps for _ in range(mul)]
        still = ", ".join(str(ir) for ir, size in zip(channels, spreads, strict=True) if size == 0)
        if still:
            say(
                f"note: the parts {still} of target {target.name!r} do not vary in the training frames; "
                "the model predicts their usual values"
            )
    return {
        "mean": {symbol: row.tolist() for symbol, row in zip(symbols, means, strict=True)},
        "scale": scale,
        "irrep_scales": spreads if scale is not None else [1.0] * irreps.num_irreps,
    }


def _rows(
    target: TensorTarget, frames: Sequence[Frame], numbers: Sequence[int], say: Callable[[str], None]
) -> tuple[Array, Array]:
    """Return every tensor that is known, ``[K, 3, ...]``, and how it is made of means of elements, ``[K, S]``."""
    tensors, factors, sources = [], [], []
    for frame, value in known_labels(frames, target.name, (3,) * len(target.irreps.indices), per_atom=target.per_atom):
        counts = composition(frame, numbers)
        if target.per_atom:
            known = ~np.isnan(value.reshape(len(frame), -1)).any(axis=1)
            tensors.append(value[known])
            factors.append((frame.species[known, None] == np.array(numbers)).astype(np.float64))
        else:
            tensors.append(value[None])
            factors.append(counts[None] if target.extensive else counts[None] / counts.sum())
        sources += [frame.source] * len(tensors[-1])
    joined = np.concatenate(tensors)
    _check_symmetry(target, joined, sources, say)
    return joined, np.concatenate(factors)


def _check_symmetry(target: TensorTarget, tensors: Array, sources: Sequence[str], say: Callable[[str], None]) -> None:
    """Say how much of the tensors their formula forbids, and raise if that is no rounding."""
    data = torch.from_numpy(tensors)
    forbidden = (data - target.irreps.to_cartesian(target.irreps.from_cartesian(data))).flatten(1).square().mean(dim=1)
    share = float((forbidden.mean() / data.square().mean()).sqrt()) if bool(data.any()) else 0.0
    worst = int(forbidden.argmax())
    most = f"{forbidden[worst].sqrt():.2g} {target.unit}".rstrip()
    found = f"{share:.1e} of their root mean square, most in {sources[worst]} ({most})"
    if share > _MOST_FORBIDDEN:
        raise DataError(
            f"target {target.name!r} needs tensors with the symmetries of its formula {target.formula!r}; these forbid "
            f"{found}; give the formula that the data have ({target.irreps.indices!r} has no symmetries)"
        )
    if share > _SAID:
        say(f"note: target {target.name!r}: formula {target.formula!r} projects away {found}")
