import pytest
from hypothesis import given
from o3.products import products

from irrepnet.errors import ConfigError, IrrepsError
from irrepnet.o3 import Irreps
from irrepnet.o3.instruction import normalize_paths, product_plan, read_instructions
from irrepnet.o3.wigner import table_3j


def read(in1, in2, out, *instructions):
    return read_instructions(Irreps(in1), Irreps(in2), Irreps(out), instructions)


@pytest.mark.parametrize(
    ("irreps", "message"),
    [
        (("1o", "1o", "1o"), r"path 1o x 1o -> 1o is forbidden by parity \(o x o = e\). Did you mean 1e\?"),
        (("2e", "1o", "3e"), r"path 2e x 1o -> 3e is forbidden by parity \(e x o = o\). Did you mean 3o\?"),
        (("1o", "1o", "3e"), r"path 1o x 1o -> 3e is forbidden: 1o x 1o holds 0e, 1e, 2e only. Did you mean 2e\?"),
        (("2e", "1o", "0o"), r"holds 1o, 2o, 3o only. Did you mean 1o\?"),
    ],
)
def test_forbidden_paths_name_what_is_allowed(irreps, message):
    with pytest.raises(IrrepsError, match=message):
        read(*irreps, (0, 0, 0, "uvw", True))


@pytest.mark.parametrize(
    ("irreps", "instruction", "message"),
    [
        (
            ("2x1o", "3x1o", "4x1e"),
            (0, 0, 0, "uvu", True),
            r"mode 'uvu' needs mul_out = mul_in1; got 2x1o x 3x1o -> 4x1e. Modes that fit: uvw\.",
        ),
        (("2x1o", "3x1o", "4x1e"), (0, 0, 0, "uvv", True), "needs mul_out = mul_in2"),
        (("2x1o", "3x1o", "4x1e"), (0, 0, 0, "uuw", True), "needs mul_in1 = mul_in2"),
        (("2x1o", "2x1o", "4x1e"), (0, 0, 0, "uuu", True), "needs mul_in1 = mul_in2 = mul_out.*Modes that fit: uvw"),
        (("2x1o", "3x1o", "4x1e"), (0, 0, 0, "uvuv", True), "needs mul_out = mul_in1 mul_in2"),
        (("3x1o", "3x1o", "4x1e"), (0, 0, 0, "uvu<v", False), r"mul_out = mul_in1 \(mul_in1 - 1\) / 2"),
        (("2x1o", "3x1o", "4x1e"), (0, 0, 0, "u<vw", True), "needs mul_in1 = mul_in2"),
        (("2x1o", "3x1o", "4x1e"), (0, 0, 0, "uvw", False), "'uvw' to 4x1e needs weights; set has_weight=True"),
        (("2x1o", "2x1o", "4x1e"), (0, 0, 0, "uuw", False), "'uuw' to 4x1e needs weights"),
        (("1o", "1o", "1e"), (0, 0, 0, "uwv", True), r"needs a mode of uvw, .*; got 'uwv'. Did you mean 'uvw'\?"),
        (("1o", "1o", "1e"), (0, 0, 0, "uvw"), r"needs \(i_in1, i_in2, i_out, mode, has_weight\[, path_weight\]\)"),
        (("1o", "1o", "1e"), (0, 0, 0, "uvw", True, -1.0), r"path_weight >= 0 \(its root is taken\); got -1.0"),
    ],
)
def test_modes_have_rules(irreps, instruction, message):
    with pytest.raises(IrrepsError, match=message):
        read(*irreps, instruction)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ((1, 0, 0), r"instruction 0 points at irreps_in1\[1\]; '1x1o' has 1 entries"),
        ((0, -1, 0), r"points at irreps_in2\[-1\]"),
        ((0, 0, 7), r"points at irreps_out\[7\]; '1x1e'"),
    ],
)
def test_indices_out_of_range(indices, message):
    with pytest.raises(IndexError, match=message):
        read("1o", "1o", "1e", (*indices, "uvw", True))


def test_unknown_normalisations_are_named():
    irreps = Irreps("1o"), Irreps("1o"), Irreps("1e")
    paths, ones = read(*irreps, (0, 0, 0, "uuu", False)), ([1.0], [1.0], [1.0])
    with pytest.raises(
        ConfigError, match=r"irrep_normalization must be one of .*'componet'. Did you mean 'component'\?"
    ):
        normalize_paths(irreps, paths, ones, "componet", "element")
    with pytest.raises(ConfigError, match="path_normalization must be one of element, path, none; got 'x'"):
        normalize_paths(irreps, paths, ones, "component", "x")


@given(products(lmax=3))
def test_a_plan_holds_the_paths_and_the_3j_symbols(product):
    irreps = tuple(map(Irreps, product.irreps))
    instructions = read_instructions(*irreps, product.instructions)
    plan = product_plan(*irreps, instructions)
    assert (plan.dim1, plan.dim2, plan.dim_out) == tuple(side.dim for side in irreps)
    assert len(plan.paths) == len(instructions)
    for path, ins in zip(plan.paths, instructions, strict=True):
        entries = irreps[0][ins.i_in1], irreps[1][ins.i_in2], irreps[2][ins.i_out]
        assert [(b.mul, b.dim) for b in (path.in1, path.in2, path.out)] == [(e.mul, e.ir.dim) for e in entries]
        assert path.out.offset == irreps[2].slices()[ins.i_out].start
        ls = [entry.ir.l for entry in entries]
        assert (plan.couplings[path.coupling].dense().numpy() == table_3j(*ls)).all()
        assert (path.scale, path.mode) == (ins.path_weight, ins.connection_mode)
    assert len(set(plan.couplings)) == len(plan.couplings)


def test_paths_of_size_zero_are_left_out():
    irreps = Irreps("0x1o+2x1o"), Irreps("1o"), Irreps("3x1e")
    plan = product_plan(*irreps, read(*irreps, (0, 0, 0, "uvw", True), (1, 0, 0, "uvw", True)))
    assert len(plan.paths) == 1 and plan.weight_numel == 6 and plan.paths[0].weight_offset == 0
