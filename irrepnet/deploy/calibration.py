"""From the spread of a committee to an error: the factor that explains the errors on frames with labels."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from irrepnet.data.frame import Frame
from irrepnet.deploy.committee import SPREAD, Committee, Factor
from irrepnet.deploy.predict_frames import atom_labels, predict_frames
from irrepnet.errors import ConfigError, DataError, did_you_mean

__all__ = ["calibrate"]

Array = NDArray[np.float64]
_OF_FRAMES = ("energy", "forces", "stress")


def calibrate(
    committee: Committee, frames: Iterable[Frame], *, labels: Collection[str] | None = None, batch_size: int = 8
) -> dict[str, Factor]:
    r"""Find the factors that make spreads honest estimates of errors, and give them to the committee.

    .. math:: \lambda = \sqrt{\sum_k \lVert y_k - \bar y_k \rVert^2 \, / \, \sum_k s_k^2}

    over the K structures or atoms of which the label is known: the root mean square of the errors over that of the
    spreads. A mean of the ratios would be ruled by the few entries on which the members agree by chance, and has no
    bound for two or three members; this one holds for any number of them.

    Args:
        committee: Its ``calibration`` is changed: the labels that are calibrated anew, no others.
        frames: Frames with labels that no member was trained on: those of the validation, not of the test.
        labels: Which ones; None: all that the committee predicts and a frame has.
        batch_size: Frames per call of the models.

    Returns:
        Factors by label.

    Raises:
        ConfigError: If a label is not one that the committee predicts.
        DataError: If no label is known, or the members agree exactly in all frames while the label differs.
        NonFiniteError: If a prediction is not finite; names the frame.

    Reference: Imbalzano et al. 2021, J. Chem. Phys. 154, 074102 (arXiv:2011.08828).

    Example:
        >>> from irrepnet.models import ForceField, ForceFieldConfig
        >>> config = ForceFieldConfig(species=("H",), irreps_hidden="4x0e+4x1o")
        >>> committee = Committee([ForceField(config) for _ in range(5)])
        >>> hydrogen = Frame(species=[1, 1], pos=[[0, 0, 0], [0.74, 0, 0]], energy=-31.7)
        >>> calibrate(committee, [hydrogen])["energy"].entries
        1
    """
    wanted = _wanted(committee, labels)
    errors: dict[str, list[Array]] = {name: [] for name in wanted}
    spreads: dict[str, list[Array]] = {name: [] for name in wanted}
    raw = Committee(list(committee.members), device=next(committee.parameters()).device)  # without its factors
    one, two = itertools.tee(frames)
    for frame, said in zip(one, predict_frames(raw, two, batch_size), strict=True):
        for name, error, spread in _errors(raw, frame, said, wanted):
            errors[name].append(error)
            spreads[name].append(spread)
    factors = {}
    for name in wanted:
        factor = _factor(
            name, np.concatenate([np.zeros(0), *errors[name]]), np.concatenate([np.zeros(0), *spreads[name]])
        )
        if factor is not None:
            factors[name] = factor
        elif labels is not None:
            raise DataError(f"a factor for {name} needs frames in which it is known; found none; leave {name} out")
    if not factors:
        raise DataError(f"factors need frames with a label among {', '.join(wanted)}; found none; check data.keys")
    committee.calibration |= factors
    return factors


def _factor(name: str, error: Array, spread: Array) -> Factor | None:
    """Return the factor; None where nothing is known, or all members and the reference agree exactly."""
    if not spread.any():
        if error.any():
            raise DataError(
                f"a factor for {name} needs members that differ; found that in all {len(error)} known entries they say "
                f"the same, with errors up to {error.max():.3g}; give other frames than single atoms"
            )
        return None
    return Factor(float(np.linalg.norm(error) / np.linalg.norm(spread)), len(error))


def _wanted(committee: Committee, labels: Collection[str] | None) -> tuple[str, ...]:
    known = tuple(target["name"] for target in committee.targets) or _OF_FRAMES
    for name in labels or ():
        if name not in known:
            raise ConfigError(
                f"the committee predicts {', '.join(known)}; found {name!r} to calibrate.{did_you_mean(name, known)}"
            )
    return known if labels is None else tuple(labels)


def _errors(
    committee: Committee, frame: Frame, said: dict[str, Array], wanted: Collection[str]
) -> Iterator[tuple[str, Array, Array]]:
    """Yield name, size of the error and spread, both ``[1]`` or ``[N]``, where known."""
    per_atom = atom_labels(committee)
    for name in wanted:
        if committee.targets:
            reference = (frame.atom_properties if name in per_atom else frame.properties).get(name)
        else:
            reference = getattr(frame, name)
        if reference is None or name not in said:
            continue
        if np.shape(reference) != said[name].shape:
            raise DataError(
                f"{frame.source}: {name} needs shape {list(said[name].shape)}; found {list(np.shape(reference))}"
            )
        rows = len(frame) if name in per_atom else 1
        error = np.linalg.norm((said[name] - reference).reshape(rows, -1), axis=1)
        known = np.isfinite(error)
        yield name, error[known], said[name + SPREAD].reshape(rows)[known]
