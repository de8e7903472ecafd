"""A force field with the repulsion of nuclei: the network plus a pair sum, derived exactly like the network."""

import numpy as np
import pytest
import torch
from models.toys import FRAMES, SMALL, energies, graph_of, moved, toy_frame, toy_model
from pydantic import ValidationError

from irrepnet.data import Frame, Graph
from irrepnet.errors import DataError
from irrepnet.models import ForceField, ForceFieldConfig, closest_approaches, load_model, save_model
from irrepnet.testing import assert_equivariant
from irrepnet.train import RunConfig
from tests.nn.test_zbl import formula

ENDS = (1.9, 2.3, 3.0)  # HH, HO, OO


def both(**changes):
    """The same weights without and with repulsion."""
    settings = {"species_shifts": (), "repulsion_ends": ENDS} | changes
    return [toy_model(repulsion=repulsion, **settings) for repulsion in ("none", "zbl")]


def pair_sum(frame):
    """Half the sum over all ordered pairs, images included."""
    images = np.zeros((1, 3))
    if frame.cell is not None:
        shifts = np.stack(np.meshgrid(*[np.arange(-2, 3) if p else [0] for p in frame.pbc], indexing="ij"), axis=-1)
        images = shifts.reshape(-1, 3) @ frame.cell
    total = 0.0
    for a, pos_a in zip(frame.species, frame.pos, strict=True):
        for b, pos_b in zip(frame.species, frame.pos, strict=True):
            r = np.linalg.norm(pos_b + images - pos_a, axis=1)
            end = ENDS[[2, 9, 16].index(int(a) + int(b))]
            total += formula(int(a), int(b), r[(r > 0) & (r < end)], end).sum() / 2
    return total


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_it_adds_the_sum_over_pairs(frame):
    plain, repelled = (energies(model, [frame])[0] for model in both())
    assert repelled - plain == pytest.approx(pair_sum(frame), rel=1e-10)


@pytest.mark.parametrize("frame", [FRAMES["periodic"], toy_frame(2, SMALL)], ids=["periodic", "small cell"])
def test_forces_and_stress_are_finite_differences(frame):
    model, step = both()[1], 2e-4
    prediction = model(graph_of(frame), compute_stress=True)
    volume = abs(np.linalg.det(frame.cell))
    for atom, axis in ((0, 0), (1, 2)):
        displaced = []
        for shift in (-2, -1, 1, 2):
            pos = frame.pos.copy()
            pos[atom, axis] += shift * step
            displaced.append(moved(frame, pos))
        e = energies(model, displaced)
        slope = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * step)
        assert prediction.forces[atom, axis].item() == pytest.approx(-slope, abs=1e-6)
    for a, b in ((0, 0), (1, 2)):
        strain = np.zeros((3, 3))
        strain[a, b] = strain[b, a] = 0.5 if a != b else 1.0
        strained = [np.eye(3) + shift * step * strain for shift in (-2, -1, 1, 2)]
        e = energies(model, [moved(frame, frame.pos @ s, frame.cell @ s) for s in strained])
        slope = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * step)
        assert prediction.stress[0, a, b].item() == pytest.approx(slope / volume, abs=1e-6)


def test_forces_of_a_float32_model_are_those_of_float64():
    exact, found = (both(dtype=dtype)[1](graph_of(FRAMES["periodic"])) for dtype in ("float64", "float32"))
    scale = exact.forces.abs().max().item()
    assert (found.forces - exact.forces).abs().max() < 2e-6 * scale
    assert found.forces.sum(dim=0).abs().max() < 1e-11


def test_training_through_it():
    plain, repelled = (model.train() for model in both())
    graph = graph_of(FRAMES["open"])
    extra = (repelled(graph).forces - plain(graph).forces).detach()
    for model, target in ((plain, torch.zeros_like(extra)), (repelled, extra)):
        (model(graph).forces - target).square().sum().backward()
    for a, b in zip(plain.parameters(), repelled.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("species", [[8], [1, 8, 8]])
def test_isolated_atoms_have_exactly_their_shift(species):
    model = both(species_shifts=(-13.6, -2000.0))[1]
    frame = Frame(species=species, pos=20.0 * np.arange(3 * len(species)).reshape(-1, 3))
    prediction = model(graph_of(frame))
    assert prediction.energy.item() == sum({1: -13.6, 8: -2000.0}[number] for number in species)
    assert not prediction.forces.any()


def test_smooth_at_the_cutoff_whatever_the_list_holds():
    lengths = 3.0 + np.array([-2e-4, -1e-4, -1e-7, 1e-7, 1e-4])
    pairs = [Frame(species=[8, 8], pos=[[0, 0, 0], [x, 0, 0]]) for x in lengths]
    energy, forces, _ = both()[1](Graph.collate([graph_of(pair, cutoff=3.5) for pair in pairs]))
    force = forces[1::2, 0].numpy()
    assert np.array_equal(energy.numpy()[3:], np.zeros(2))
    assert np.abs(force).max() < 1e-6
    assert np.abs(np.diff(force) / np.diff(lengths)).max() < 1e-2


def test_equivariance_and_batches():
    model, graph = both()[1], graph_of(FRAMES["open"])
    assert_equivariant(
        lambda pos: (model(at := moved_graph(graph, pos)).energy[:, None], model(at).forces),
        ["cartesian_points"],
        ["0e", "1o"],
        inputs=[graph.pos],
        trials=3,
    )
    graphs = [graph_of(FRAMES[name]) for name in ("periodic", "small cell", "slab")]
    together = model(Graph.collate(graphs), compute_stress=True)
    for field, found in zip(together._fields, together, strict=True):
        alone = torch.cat([getattr(model(one, compute_stress=True), field) for one in graphs])
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-10)


def moved_graph(graph, pos):
    return Graph.checked(pos, graph.species, graph.edge_index)


def test_round_trip(tmp_path):
    model = both()[1]
    save_model(model, tmp_path / "a.model")
    loaded = load_model(tmp_path / "a.model")
    assert loaded.config.repulsion == "zbl"
    assert torch.equal(loaded(graph_of(FRAMES["open"])).forces, model(graph_of(FRAMES["open"])).forces)


class TestEnds:
    def test_null_are_bond_lengths(self):
        config = toy_model(repulsion="zbl").config
        assert config.repulsion_ends is None
        assert config.ends == pytest.approx((0.62, 0.97, 1.32))

    def test_they_are_no_further_than_the_cutoff(self):
        assert both(repulsion_ends=(1.0, 5.0, 9.0))[1].config.ends == (1.0, 3.0, 3.0)

    def test_closest_approaches_of_frames(self):
        frames = [toy_frame(seed=seed) for seed in range(3)] + [toy_frame(0), toy_frame(1)]
        found = closest_approaches([graph_of(frame) for frame in frames], ["H", "O"], cutoff=3.0)
        for pair, shortest in zip(((1, 1), (1, 8), (8, 8)), found, strict=True):
            expected = 3.0
            for frame in frames:
                images = np.array(list(np.ndindex(3, 3, 3))) @ frame.cell - frame.cell.sum(axis=0)
                for a, b in np.ndindex(len(frame), len(frame)):
                    if (frame.species[a], frame.species[b]) == pair:
                        r = np.linalg.norm(frame.pos[b] - frame.pos[a] + images, axis=1)
                        expected = min(expected, r[r > 0].min())
            assert shortest == pytest.approx(expected, abs=1e-12)

    def test_at_the_closest_approaches_nothing_that_was_seen_changes(self):
        graphs = [graph_of(toy_frame(seed=seed)) for seed in range(3)]
        ends = closest_approaches(graphs, ["H", "O"], cutoff=3.0)
        plain, repelled = both(repulsion_ends=ends)
        for graph in graphs:
            torch.testing.assert_close(repelled(graph).forces, plain(graph).forces, rtol=0, atol=1e-10)
        near = graph_of(Frame(species=[8, 8], pos=[[0, 0, 0], [0.6 * ends[2], 0, 0]]))
        assert repelled(near).energy > plain(near).energy + 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"repulsion_ends": (1.0, 2.0)}, "repulsion_ends needs one value for each of H-H, H-O, O-O; found 2"),
            ({"repulsion_ends": (1.0, 2.0, 0.0)}, "greater than 0"),
            ({"repulsion": "zlb"}, "'none' or 'zbl'"),
        ],
    )
    def test_mistakes(self, change, message):
        with pytest.raises(ValidationError, match=message):
            ForceFieldConfig(**({"species": ("H", "O")} | change))

    def test_elements_without_a_known_radius_need_ends(self):
        config = {"species": ("Bk",), "repulsion": "zbl"}
        with pytest.raises(DataError, match="covalent radii are known up to Cm; found Bk"):
            ForceField(ForceFieldConfig(**config))
        RunConfig.model_validate(  # the training frames tell the ends
            {"data": {"train": "-"}, "model": config, "training": {"steps": 1}}
        )
        assert ForceField(ForceFieldConfig(**config, repulsion_ends=(2.0,))).config.ends == (2.0,)
