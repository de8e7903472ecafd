"""Instructions of a tensor product: which input irreps meet in which output, checked, normalised and made a plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from irrepnet.errors import ConfigError, IrrepsError, did_you_mean
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.wigner import table_3j
from irrepnet.ops.blocks import Block
from irrepnet.ops.product_modes import PRODUCT_MODES
from irrepnet.ops.product_plan import Coupling, ProductPath, ProductPlan

__all__ = [
    "IRREP_NORMALIZATIONS",
    "PATH_NORMALIZATIONS",
    "Instruction",
    "known_option",
    "normalize_paths",
    "product_plan",
    "read_instructions",
]

IRREP_NORMALIZATIONS = ("component", "norm", "none")
PATH_NORMALIZATIONS = ("element", "path", "none")


class Instruction(NamedTuple):
    """One path of a tensor product, as e3nn writes it.

    Attributes:
        i_in1: Entry of ``irreps_in1``.
        i_in2: Entry of ``irreps_in2``.
        i_out: Entry of ``irreps_out``.
        connection_mode: What happens to the multiplicities; see ``ops.ProductPath``.
        has_weight: Whether the path has weights.
        path_weight: Constant factor of the path. In a finished product the normalisation is in it.
        path_shape: Shape of the path's weights.

    Example:
        >>> Instruction(0, 0, 0, "uuu", False, 1.0, (8,)).connection_mode
        'uuu'
    """

    i_in1: int
    i_in2: int
    i_out: int
    connection_mode: str
    has_weight: bool
    path_weight: float
    path_shape: tuple[int, ...]


def read_instructions(
    irreps_in1: Irreps, irreps_in2: Irreps, irreps_out: Irreps, instructions: Sequence[tuple]
) -> list[Instruction]:
    """Read tuples ``(i_in1, i_in2, i_out, mode, has_weight[, path_weight])``; no normalisation yet.

    Args:
        irreps_in1: Irreps of the first input.
        irreps_in2: Irreps of the second input.
        irreps_out: Irreps of the output.
        instructions: The tuples; ``path_weight`` is 1 by default.

    Raises:
        IrrepsError: If a path is forbidden, a mode unknown, or the multiplicities do not go with the mode.
        IndexError: If an index is out of range.

    Example:
        >>> read_instructions(Irreps("4x0e"), Irreps("1o"), Irreps("4x1o"), [(0, 0, 0, "uvu", True)])[0].path_shape
        (4, 1)
    """
    return [_read(number, irreps_in1, irreps_in2, irreps_out, item) for number, item in enumerate(instructions)]


def _read(number: int, irreps_in1: Irreps, irreps_in2: Irreps, irreps_out: Irreps, item: tuple) -> Instruction:
    if len(item) not in (5, 6):
        raise IrrepsError(
            f"instruction {number} needs (i_in1, i_in2, i_out, mode, has_weight[, path_weight]); got {item!r}."
        )
    i1, i2, i3, name, has_weight = item[:5]
    path_weight = float(item[5]) if len(item) == 6 else 1.0
    for argument, irreps, i in zip(
        ("irreps_in1", "irreps_in2", "irreps_out"), (irreps_in1, irreps_in2, irreps_out), (i1, i2, i3), strict=True
    ):
        if not 0 <= i < len(irreps):
            raise IndexError(f"instruction {number} points at {argument}[{i}]; '{irreps}' has {len(irreps)} entries.")
    (mul1, ir1), (mul2, ir2), (mul3, ir3) = irreps_in1[i1], irreps_in2[i2], irreps_out[i3]
    allowed = list(ir1 * ir2)
    if ir3 not in allowed:
        raise IrrepsError(_forbidden(ir1, ir2, ir3, allowed))
    if name not in PRODUCT_MODES:
        hint = did_you_mean(str(name), PRODUCT_MODES)
        raise IrrepsError(f"instruction {number} needs a mode of {', '.join(PRODUCT_MODES)}; got {name!r}.{hint}")
    mode, muls = PRODUCT_MODES[name], (mul1, mul2, mul3)
    if not mode.fits(*muls):
        entries = f"{mul1}x{ir1} x {mul2}x{ir2} -> {mul3}x{ir3}"
        others = ", ".join(other for other, rules in PRODUCT_MODES.items() if rules.fits(*muls))
        raise IrrepsError(
            f"instruction {number} with mode '{name}' needs {mode.rule}; got {entries}. Modes that fit: {others}."
        )
    if not has_weight and mode.needs_weights(mul3):
        raise IrrepsError(
            f"instruction {number} with mode '{name}' to {mul3}x{ir3} needs weights; set has_weight=True."
        )
    if path_weight < 0:
        raise IrrepsError(f"instruction {number} needs path_weight >= 0 (its root is taken); got {path_weight}.")
    return Instruction(i1, i2, i3, name, bool(has_weight), path_weight, mode.weight_shape(*muls))


def _forbidden(ir1: Irrep, ir2: Irrep, ir3: Irrep, allowed: list[Irrep]) -> str:
    """Say why ``ir1 x ir2 -> ir3`` cannot be."""
    path = f"path {ir1} x {ir2} -> {ir3}"
    right = Irrep(ir3.l, allowed[0].p)
    if right in allowed:
        letters = ["e" if ir.p == 1 else "o" for ir in (ir1, ir2, right)]
        return f"{path} is forbidden by parity ({letters[0]} x {letters[1]} = {letters[2]}). Did you mean {right}?"
    names = ", ".join(map(str, allowed))
    nearest = min(allowed, key=lambda ir: abs(ir.l - ir3.l))
    return f"{path} is forbidden: {ir1} x {ir2} holds {names} only. Did you mean {nearest}?"


def normalize_paths(
    irreps: tuple[Irreps, Irreps, Irreps],
    instructions: Sequence[Instruction],
    variances: tuple[Sequence[float], Sequence[float], Sequence[float]],
    irrep_normalization: str,
    path_normalization: str,
) -> list[Instruction]:
    r"""Put the factor into each ``path_weight`` that gives the output the variance asked for.

    .. math:: \sqrt{a\, v_\mathrm{out}\, \mathrm{path\_weight} \,/\, x}

    where a makes up for the coupling (``component``: dim of the output irrep, ``norm``: product of those of the
    inputs, ``none``: 1) and x counts, with the variances of the inputs, the products that are summed: into the output
    (``element``), on this path times the number of paths into the output (``path``), or 1 (``none``).

    Args:
        irreps: Of first input, second input and output.
        instructions: From ``read_instructions``.
        variances: One for each entry of the three irreps.
        irrep_normalization: "component", "norm" or "none".
        path_normalization: "element", "path" or "none".

    Raises:
        ConfigError: If a normalisation is unknown.

    Example:
        >>> irreps = Irreps("1o"), Irreps("1o"), Irreps("1e")
        >>> paths = read_instructions(*irreps, [(0, 0, 0, "uuu", False)])
        >>> round(normalize_paths(irreps, paths, ([1], [1], [1]), "component", "element")[0].path_weight ** 2, 12)
        3.0
    """
    known_option("irrep_normalization", irrep_normalization, IRREP_NORMALIZATIONS)
    known_option("path_normalization", path_normalization, PATH_NORMALIZATIONS)

    muls = [[mul for mul, _ in side] for side in irreps]
    dims = [[ir.dim for _, ir in side] for side in irreps]
    terms = []  # variance of what each path sums into one output
    for ins in instructions:
        summed = PRODUCT_MODES[ins.connection_mode].terms(muls[0][ins.i_in1], muls[1][ins.i_in2])
        terms.append(variances[0][ins.i_in1] * variances[1][ins.i_in2] * summed)
    totals, numbers = [0.0] * len(irreps[2]), [0] * len(irreps[2])
    for ins, term in zip(instructions, terms, strict=True):
        totals[ins.i_out] += term
        numbers[ins.i_out] += 1
    out = []
    for ins, term in zip(instructions, terms, strict=True):
        x = {"element": totals[ins.i_out], "path": term * numbers[ins.i_out], "none": 1.0}[path_normalization]
        inputs = dims[0][ins.i_in1] * dims[1][ins.i_in2]
        a = {"component": dims[2][ins.i_out], "norm": inputs, "none": 1}[irrep_normalization]
        share = a / x if x > 0 else a
        out.append(ins._replace(path_weight=math.sqrt(share * variances[2][ins.i_out] * ins.path_weight)))
    return out


def known_option(name: str, value: Any, options: Sequence[str]) -> str:
    """Return the value of an option if it is one of those there are.

    Args:
        name: Of the option, for the message.
        value: What was given.
        options: What there is.

    Raises:
        ConfigError: If the value is not among them.

    Example:
        >>> known_option("path_normalization", "path", PATH_NORMALIZATIONS)
        'path'
    """
    if value not in options:
        hint = did_you_mean(str(value), options)
        raise ConfigError(f"{name} must be one of {', '.join(options)}; got {value!r}.{hint}")
    return str(value)


def product_plan(
    irreps_in1: Irreps, irreps_in2: Irreps, irreps_out: Irreps, instructions: Sequence[Instruction]
) -> ProductPlan:
    """Make the plan that ``ops.tensor_product`` and ``ops.convolve`` carry out.

    Args:
        irreps_in1: Irreps of the first input.
        irreps_in2: Irreps of the second input.
        irreps_out: Irreps of the output.
        instructions: With their final factors, from ``normalize_paths``.

    Example:
        >>> irreps = Irreps("4x0e"), Irreps("1o"), Irreps("4x1o")
        >>> product_plan(*irreps, read_instructions(*irreps, [(0, 0, 0, "uvu", True)]))
        ProductPlan(4 x 3 -> 12 | 4 weights | 1 paths)
    """
    blocks = [
        [Block(s.start, mul, ir.dim) for s, (mul, ir) in zip(irreps.slices(), irreps, strict=True)]
        for irreps in (irreps_in1, irreps_in2, irreps_out)
    ]
    couplings: dict[tuple[int, int, int], int] = {}
    paths, offset = [], 0
    for ins in instructions:
        b1, b2, b3 = blocks[0][ins.i_in1], blocks[1][ins.i_in2], blocks[2][ins.i_out]
        size = math.prod(ins.path_shape) if ins.has_weight else 0
        if 0 in (b1.mul, b2.mul, b3.mul) or (ins.has_weight and size == 0):
            continue  # nothing to compute, and no weights either
        ls = ((b1.dim - 1) // 2, (b2.dim - 1) // 2, (b3.dim - 1) // 2)
        coupling = couplings.setdefault(ls, len(couplings))
        weights = (offset, ins.path_weight, ins.path_shape) if ins.has_weight else (None, ins.path_weight, ())
        paths.append(ProductPath(b1, b2, b3, ins.connection_mode, coupling, *weights))
        offset += size
    tensors = tuple(_coupling(*ls) for ls in couplings)
    return ProductPlan(irreps_in1.dim, irreps_in2.dim, irreps_out.dim, offset, tuple(paths), tensors)


@cache
def _coupling(l1: int, l2: int, l3: int) -> Coupling:
    """Return the 3j symbols as a coupling; plans share it."""
    return Coupling((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1), tuple(table_3j(l1, l2, l3).ravel().tolist()))
