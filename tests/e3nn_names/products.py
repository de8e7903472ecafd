"""Random arguments of tensor products, in every mode."""

from __future__ import annotations

MODES = ("uvw", "uvu", "uvv", "uuw", "uuu", "uvuv", "uvu<v", "u<vw")

__all__ = ["MODES", "allowed", "arguments"]


def allowed(ir1, ir2, lmax=2):
    """Return the irreps in the product of two."""
    (l1, p1), (l2, p2) = ir1, ir2
    return [(l, p1 * p2) for l in range(abs(l1 - l2), l1 + l2 + 1) if l <= lmax]


def _mul_out(d, mode, m1, m2, has_weight):
    pairs = m1 * (m1 - 1) // 2
    fixed = {"uvu": m1, "uvv": m2, "uuu": m1, "uvuv": m1 * m2, "uvu<v": pairs}
    if mode in fixed:
        return fixed[mode]
    return 1 if mode == "uuw" and not has_weight else d.integer(1, 3)


def arguments(d, mode):
    """Draw irreps, instructions and options of a TensorProduct."""
    m = d.integer(2, 3)
    paired = mode in ("uuw", "uuu", "uvu<v", "u<vw")
    irreps1 = [(m if paired else d.integer(1, 3), d.irrep()) for _ in range(2)]
    irreps2 = [(m if paired else d.integer(1, 3), d.irrep()) for _ in range(2)]
    irreps3, instructions = [(2, (1, 1))], []
    for i, (m1, ir1) in enumerate(irreps1):
        for j, (m2, ir2) in enumerate(irreps2):
            for ir in allowed(ir1, ir2):
                has_weight = mode in ("uvw", "u<vw") or d.pick(True, False) or not instructions
                entry = (_mul_out(d, mode, m1, m2, has_weight), ir)
                if entry not in irreps3 or d.pick(True, False):
                    irreps3.append(entry)
                k = max(n for n, other in enumerate(irreps3) if other == entry)
                instructions.append((i, j, k, mode, has_weight, d.pick(1.0, 0.25, 3.0)))
    options = {
        "in1_var": [d.number() for _ in irreps1],
        "in2_var": [d.number() for _ in irreps2],
        "out_var": [d.number() for _ in irreps3],
        "irrep_normalization": d.option("component", "norm", "none"),
        "path_normalization": d.option("element", "path", "none"),
    }
    return (irreps1, irreps2, irreps3), instructions, options
