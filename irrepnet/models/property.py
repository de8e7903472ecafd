"""Properties of structures: energies, orbital energies, dipoles, second moments; several in one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field, TypeAdapter, model_validator

from irrepnet.data.elements import atomic_number
from irrepnet.data.frame import Frame
from irrepnet.models.labels import Array, completed, composition, elements_of, known_labels, say_unseen, spread
from irrepnet.models.property_readouts import DipoleReadout, ExtensiveReadout, IntensiveReadout, SecondMomentReadout
from irrepnet.models.target_model import Readout, TargetModel
from irrepnet.models.targets import MOST_TARGETS, PropertyTarget, require_elements, require_names
from irrepnet.models.trunk_config import TrunkConfig, Widths
from irrepnet.nn.envelope import PolynomialEnvelope
from irrepnet.o3.irreps import Irreps

__all__ = ["PropertyConfig", "PropertyModel", "property_statistics"]


class PropertyConfig(TrunkConfig):
    """What a :class:`PropertyModel` is made of.

    Raises:
        pydantic.ValidationError: If a key is unknown, a value is out of range, two targets have one name, or values per
            element leave one out (a ``ValueError`` too).

    Example:
        >>> targets = [{"name": "homo", "readout": "intensive", "unit": "eV"}]
        >>> PropertyConfig(species=("H", "O"), targets=targets).targets[0].readout
        'intensive'
    """

    readout_hidden: Widths = Field((32,), description="widths of the readouts' hidden layers")
    targets: tuple[PropertyTarget, ...] = Field(max_length=MOST_TARGETS, description="what the model predicts, by name")

    @model_validator(mode="after")
    def _one_target_per_name(self) -> PropertyConfig:
        require_names(self.targets)
        for target in self.targets:
            for key in ("shift", "charges"):
                values = getattr(target, key, None)
                if isinstance(values, dict):
                    require_elements(f"targets: {key} of {target.name!r}", values, self.species or ())
        return self


class PropertyModel(TargetModel):
    """Properties of structures, each by its own readout of one and the same features of the atoms.

    .. math:: y_t = R_t\\bigl(x_1, \\ldots, x_N\\bigr)

    An extensive property is a sum over atoms; an intensive one a mean, weighted by what the network attends to; a
    dipole is made of charges times positions and of vectors; a second moment of charges times squared distances. See
    the classes of targets in :mod:`irrepnet.models.targets`. Sums over atoms are in float64, and so are
    results. Dipoles and second moments are of open structures.

    Args:
        config: What it is made of.

    Raises:
        IrrepsError: If a dipole is wanted and the last layer has no vectors, 1o; the message says what to set.

    Example:
        >>> from irrepnet.data import build_graph
        >>> targets = [
        ...     {"name": "U0", "readout": "extensive", "unit": "eV"},
        ...     {"name": "mu", "readout": "dipole", "unit": "D"},
        ... ]
        >>> model = PropertyModel(PropertyConfig(species=("H", "O"), irreps_hidden="4x0e+4x1o", targets=targets))
        >>> water = Frame(species=[8, 1, 1], pos=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
        >>> {name: value.shape for name, value in model(build_graph(water, model.cutoff)).items()}
        {'U0': torch.Size([1]), 'mu': torch.Size([1, 3])}
    """

    def __init__(self, config: PropertyConfig):
        super().__init__(config, {t.name: Irreps("0e + 1o" if t.readout == "dipole" else "0e") for t in config.targets})
        self._finish(_readout(target, self.irreps_layers[-1], config) for target in config.targets)


def _readout(target: Any, irreps_in: Irreps, config: PropertyConfig) -> Readout:
    """Return the readout of a target; what it leaves open is 0, and its scale 1."""
    scale, hidden = target.scale or 1.0, config.readout_hidden

    def per_species(values: Mapping[str, float] | None) -> list[float]:
        return [(values or {}).get(symbol, 0.0) for symbol in config.species]

    if target.readout == "extensive":
        return ExtensiveReadout(irreps_in, hidden, shifts=per_species(target.shift), scale=scale)
    if target.readout == "intensive":
        return IntensiveReadout(irreps_in, hidden, shift=target.shift or 0.0, scale=scale)
    if target.readout == "dipole":
        return DipoleReadout(
            irreps_in,
            hidden,
            envelope=PolynomialEnvelope(config.cutoff, config.envelope_power),
            avg_num_neighbors=config.avg_num_neighbors,
            total_charge=target.total_charge,
            scale=scale,
            norm=target.norm,
        )
    charges, shifts = per_species(target.charges), per_species(target.shift)
    return SecondMomentReadout(irreps_in, hidden, charges=charges, shifts=shifts, scale=scale)


def property_statistics(
    targets: Sequence[Any],
    frames: Sequence[Frame],
    species: Sequence[str] | None = None,
    *,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Complete targets with what training frames tell: shifts, and the spread around them as the scale.

    Shifts of elements are a least-squares fit of the frames by their composition: where the frames cannot tell
    elements apart, of all solutions that of least norm. Values that are given stay.

    Args:
        targets: Of a :class:`PropertyConfig`, validated or as plain values.
        frames: Training frames; also a lazy sequence. NaN, or no label: not known.
        species: Symbols of the elements of the model; None for those of the frames.
        say: What is called with a note where the frames do not vary and the scale is 1, or tell nothing of an element.

    Returns:
        The targets as plain values, none of them None.

    Raises:
        DataError: If a target is known of no frame, has another shape or is infinite, or a frame has an element that is
            not among ``species``.
        pydantic.ValidationError: If a target is not valid (a ``ValueError`` too).

    Example:
        >>> frames = [Frame(species=[1], pos=[[0, 0, 0]], properties={"homo": homo}) for homo in (-6.0, -8.0)]
        >>> (homo,) = property_statistics([{"name": "homo", "readout": "intensive"}], frames)
        >>> homo["shift"], homo["scale"]
        (-7.0, 1.0)
    """
    adapter: TypeAdapter[Any] = TypeAdapter(PropertyTarget)
    symbols = elements_of(frames) if species is None else list(species)
    complete = []
    for given in targets:
        target = adapter.validate_python(given)
        complete.append(completed(target, _fitted(target, frames, symbols, say), say))
    return complete


def _fitted(target: Any, frames: Sequence[Frame], symbols: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Return what the frames say of the shifts and the scale of a target."""
    if target.readout in ("intensive", "dipole"):
        is_vector = target.readout == "dipole" and not target.norm
        values = np.array([value for _, value in known_labels(frames, target.name, (3,) if is_vector else ())])
        if target.readout == "dipole":
            return {"scale": spread(values if is_vector else values - values.mean(), values)}
        shift = float(values.mean()) if target.shift is None else target.shift
        return {"shift": shift, "scale": spread(values - shift, values)}
    keys = ("shift",) if target.readout == "extensive" else ("charges", "shift")
    numbers = [atomic_number(symbol) for symbol in symbols]
    rows, labels = [], []
    for frame, value in known_labels(frames, target.name, ()):
        weights = [_squared_distances(frame, numbers)] if target.readout == "second_moment" else []
        rows.append([*weights, composition(frame, numbers)])
        labels.append(float(value))
    for key in keys:
        if getattr(target, key) is None:
            say_unseen(target.name, key, [bool(column.any()) for column in np.array(rows)[:, -1].T], symbols, say)
    fitted, rest = _least_squares(np.array(rows), np.array(labels), [getattr(target, key) for key in keys], symbols)
    return {**dict(zip(keys, fitted, strict=True)), "scale": spread(rest, np.array(labels))}


def _least_squares(
    factors: Array, labels: Array, given: Sequence[Mapping[str, float] | None], symbols: Sequence[str]
) -> tuple[list[dict[str, float]], Array]:
    """Fit ``labels [F]`` by ``factors [F, K, S]`` times K coefficients per element, some of which may be given."""
    for values in given:
        require_elements("a target's values per element", values, symbols)
    coefficients = np.array([[values[symbol] if values else 0.0 for symbol in symbols] for values in given])  # [K, S]
    is_open = [values is None for values in given]
    rest = labels - np.einsum("fks,ks->f", factors, coefficients)
    unknown = factors[:, is_open].reshape(len(labels), -1)
    if any(is_open):
        solution = np.linalg.lstsq(unknown, rest, rcond=None)[0]
        coefficients[is_open] = solution.reshape(-1, len(symbols))
        rest = rest - unknown @ solution
    return [dict(zip(symbols, row.tolist(), strict=True)) for row in coefficients], rest


def _squared_distances(frame: Frame, numbers: Sequence[int]) -> Array:
    """Return the sum of squared distances to the centre of nuclear charge over the atoms of each element, ``[S]``."""
    charge = frame.species.astype(np.float64)
    squared = np.square(frame.pos - charge @ frame.pos / charge.sum()).sum(axis=1)
    return np.array([squared[frame.species == number].sum() for number in numbers])
