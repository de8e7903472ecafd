"""The named problems are those of the published benchmarks, and what is said of their floors holds."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import bench_convolution
import harness
from problems import PASSES, PROBLEMS

# name: paths, W, columns of the output, MB and Mflop of a forward pass at E = 2000, N = 100
TABLE = {
    "nequip-water": (10, 320, 704, 3.0, 6.5),
    "nequip-lips": (30, 960, 3264, 9.3, 47),
    "nequip-toluene": (30, 1920, 6528, 18.5, 93),
    "nequip-benzene": (68, 4352, 19968, 43.8, 383),
    "mace-medium": (8, 1024, 3328, 9.9, 31),
    "mace-large": (17, 2176, 9088, 21.6, 125),
    "sevennet-main": (34, 1760, 7776, 17.6, 118),
    "nequip-oam-main": (23, 1312, 5472, 13.1, 73),
}


@pytest.mark.parametrize("name", TABLE)
def test_sizes_and_costs(name):
    plan, cost = PROBLEMS[name].plan, PROBLEMS[name].cost("forward", 100, 2000)
    paths, weights, dim, megabytes, megaflops = TABLE[name]
    assert (len(plan.paths), plan.weight_numel, plan.dim_out) == (paths, weights, dim)
    assert cost.bytes / 1e6 == pytest.approx(megabytes, abs=0.06)
    assert cost.flops / 1e6 == pytest.approx(megaflops, rel=0.01)


@pytest.mark.parametrize("name", ["diffdock-l1", "diffdock-l2"])
def test_mixing_problems_add_all_paths_to_one_block(name):
    assert PROBLEMS[name].plan.dim_out == 156
    assert {path.mode for path in PROBLEMS[name].plan.paths} == {"uvw"}


def test_output_blocks_are_sorted_and_instructions_follow_them():
    _, _, irreps_out, instructions = PROBLEMS["nequip-oam-main"].arguments
    blocks = bench_convolution.PROBLEMS["nequip-oam-main"].product().irreps_out
    assert [ins[2] for ins in instructions] == list(range(len(blocks)))
    assert str(blocks.sort().irreps) == irreps_out


def test_floors_grow_with_the_pass_and_the_dtype():
    problem = PROBLEMS["mace-medium"]
    single = [problem.cost(which, 100, 2000).floor_ms(1e10, 1e11) for which in PASSES]
    double = [problem.cost(which, 100, 2000, torch.float64).floor_ms(1e10, 1e11) for which in PASSES]
    assert sorted(single) == single
    assert all(b >= a for a, b in zip(single, double, strict=True))


@pytest.mark.parametrize("which", PASSES)
def test_our_passes_agree_with_e3nn(which):
    problem = PROBLEMS["nequip-water"]
    inputs = problem.inputs(5, 30, torch.float64)
    ours = bench_convolution.run_pass(which, bench_convolution.ours(problem, "reference", torch.float64), inputs)
    theirs = bench_convolution.run_pass(which, bench_convolution.e3nn(problem, torch.float64), inputs)
    assert harness.compare("e3nn", theirs, ours, torch.float64) < 1e-10


def test_a_wrong_contender_is_not_timed():
    right = torch.ones(3)
    runs = {"right": lambda: (right,), "wrong": lambda: (right * 1.001,)}
    with pytest.raises(harness.WrongResultError, match="wrong: result 0 is off by"):
        harness.interleave(runs, dtype=torch.float32)
    with pytest.raises(harness.WrongResultError, match="nan"):
        harness.compare("none", (right * float("nan"),), (right,), torch.float32)


def test_every_contender_is_timed_and_slow_ones_sit_out():
    times = harness.interleave({"a": lambda: (), "b": lambda: ()}, dtype=None, rounds=4, budget=0.0)
    assert {name: timing.rounds for name, timing in times.items()} == {"a": 1, "b": 1}


def test_peak_memory_of_a_call_is_that_above_its_inputs():
    held = harness.extra_peak(
        bench_convolution.memory_case, "reference", "nequip-water", "forward", 100, 2000, torch.float32
    )
    assert 1 < held < 200


def test_the_table_is_written(tmp_path, capsys):
    table = harness.Table("toy", str(tmp_path))
    times = {"ours": harness.timing([0.001, 0.003, 0.002]), "peer": harness.timing([0.004])}
    table.add_timings(
        times, {"ours": {"of_floor": 0.5}}, **{"pass": "forward"}, case="c", dtype="float32", size=1, threads=1
    )
    first, second = (tmp_path / "toy.csv").read_text().splitlines()[1:]
    assert "ours,2,1,3" in first
    assert ",2," in second
    assert "(  2.0x)" in capsys.readouterr().out
