"""Random tensor products, drawn by hypothesis, for comparisons with e3nn and for equivariance."""

from typing import Any, NamedTuple

from hypothesis import strategies as st

from irrepnet.o3 import Irrep

MODES = ("uvw", "uvu", "uvv", "uuw", "uuu", "uvuv", "uvu<v", "u<vw")


class Product(NamedTuple):
    """Arguments of a TensorProduct."""

    irreps: tuple[list, list, list]
    instructions: list[tuple]
    options: dict[str, Any]


def mul_out(draw, mode: str, m1: int, m2: int, has_weight: bool) -> int:
    pairs = m1 * (m1 - 1) // 2
    fixed = {"uvu": m1, "uvv": m2, "uuu": m1, "uvuv": m1 * m2, "uvu<v": pairs}
    if mode in fixed:
        return fixed[mode]
    return 1 if mode == "uuw" and not has_weight else draw(st.integers(1, 3))


@st.composite
def products(draw, modes=MODES, lmax=2, max_mul=3):
    """Draw a product with paths of one mode; outputs are shared now and then, and now and then one is not reached."""
    mode = draw(st.sampled_from(modes))
    ir = st.sampled_from(list(Irrep.iterator(lmax)))
    mul = st.integers(1, max_mul)
    if mode in ("uuw", "uuu", "uvu<v", "u<vw"):
        same = draw(st.integers(1 if mode in ("uuw", "uuu") else 2, max_mul))
        mul = st.just(same)
    entries = st.lists(st.tuples(mul, ir), min_size=1, max_size=2)
    irreps1, irreps2 = draw(entries), draw(entries)
    irreps3, instructions = [], []
    for i, (m1, ir1) in enumerate(irreps1):
        for j, (m2, ir2) in enumerate(irreps2):
            for ir3 in ir1 * ir2:
                if instructions and not draw(st.booleans()):
                    continue
                has_weight = mode in ("uvw", "u<vw") or draw(st.booleans())
                entry = (mul_out(draw, mode, m1, m2, has_weight), ir3)
                if entry not in irreps3 or draw(st.booleans()):
                    irreps3.append(entry)
                k = max(n for n, other in enumerate(irreps3) if other == entry)
                # One path at least has a weight, or the product would be zero.
                path_weight = draw(st.sampled_from([1.0, 0.25, 3.0, 0.0] if instructions else [1.0, 0.25, 3.0]))
                instructions.append((i, j, k, mode, has_weight, path_weight))
    if draw(st.booleans()):
        irreps3.append((2, draw(ir)))
    variance = st.sampled_from([0.5, 1.0, 2.0])
    options = {
        "irrep_normalization": draw(st.sampled_from(["component", "norm", "none"])),
        "path_normalization": draw(st.sampled_from(["element", "path", "none"])),
        "in1_var": [draw(variance) for _ in irreps1],
        "in2_var": [draw(variance) for _ in irreps2],
        "out_var": [draw(variance) for _ in irreps3],
        "shared_weights": draw(st.booleans()),
        "internal_weights": False,
    }
    return Product((irreps1, irreps2, irreps3), instructions, options)
