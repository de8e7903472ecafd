"""The trunk that models stand on: which features it keeps, and that it is what a force field reads."""

import pytest
import torch
from models.toys import FRAMES, graph_of, toy_model
from pydantic import ValidationError

from irrepnet.errors import IrrepsError
from irrepnet.models import Trunk, TrunkConfig
from irrepnet.o3 import Irreps
from irrepnet.testing import assert_equivariant


def trunk_of(wanted, **changes):
    torch.manual_seed(0)
    settings = {"species": ("H", "O"), "cutoff": 3.0, "irreps_hidden": "4x0e+2x0o+4x1o+2x1e+2x2e", "lmax": 2}
    return Trunk(TrunkConfig(**(settings | {"num_layers": 3, "dtype": "float64"} | changes)), Irreps(wanted))


@pytest.mark.parametrize(
    ("wanted", "layers", "kept"),
    [
        ("0e", 2, ["4x0e+4x1o+2x2e", "4x0e"]),
        ("1o", 2, ["4x0e+4x1o+2x2e", "4x1o"]),
        ("0e+2e", 2, ["4x0e+4x1o+2x2e", "4x0e+2x2e"]),
        ("1e", 2, ["4x1o+2x2e", "2x1e"]),
        ("0o", 3, ["4x1o+2x2e", "2x1e", "2x0o"]),
        ("3x0e+0x1o", 1, ["4x0e"]),
    ],
)
def test_layers_keep_what_can_become_what_is_wanted(wanted, layers, kept):
    trunk = trunk_of(wanted, num_layers=layers)
    assert [set(irreps) for irreps in trunk.irreps_layers] == [set(Irreps(irreps)) for irreps in kept]


@pytest.mark.parametrize(
    ("wanted", "changes", "message"),
    [
        ("3o", {}, r"the output needs 3o after the last layer; irreps_hidden = .* lmax = 2 .* add 16x3o or raise lmax"),
        ("1e", {"num_layers": 1}, "the output needs 1e after the last layer; .* num_layers = 1 cannot make it"),
        ("0e+2e", {"lmax": 1, "irreps_hidden": "4x0e+4x2e", "num_layers": 3}, "the output needs 2e"),
    ],
)
def test_what_cannot_be_made(wanted, changes, message):
    with pytest.raises(IrrepsError, match=message):
        trunk_of(wanted, **changes)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_force_field_reads_its_features(frame):
    model, graph = toy_model(), graph_of(frame)
    trunk = model.trunk
    trunk.check(graph)
    feats = trunk(trunk.species(graph), graph.edge_index, trunk.edge_vectors(graph))
    for found, expected in zip(feats, model.node_feats(graph), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("radial_species", ["shared", "pair"])
def test_features_of_any_wanted_irreps_are_equivariant(radial_species):
    trunk = trunk_of("0e+0o+1o+1e+2e", radial_species=radial_species)
    graph = graph_of(FRAMES["open"])
    species = trunk.species(graph)

    def features(pos):
        src, dst = graph.edge_index
        return trunk(species, graph.edge_index, pos[dst] - pos[src])

    assert_equivariant(features, "cartesian_points", trunk.irreps_layers, inputs=[graph.pos], trials=3)


def test_degrees_have_a_limit():
    with pytest.raises(ValidationError, match=r"irreps_hidden needs degrees of at most 11; found 12 \('1x0e\+1x12e'\)"):
        TrunkConfig(species=("H",), irreps_hidden="1x0e+1x12e")


@pytest.mark.parametrize("num_layers", [3, 5])
def test_calibrated_messages_have_unit_size_in_every_layer(num_layers):
    trunk, graph = trunk_of("0e+1o", num_layers=num_layers), graph_of(FRAMES["periodic"])
    assert len(trunk.calibrate(graph)) == num_layers
    sizes = []
    for layer in trunk.layers:
        layer.convolution.register_forward_hook(lambda *args: sizes.append(args[2].square().mean().sqrt().item()))
    feats = trunk(trunk.species(graph), graph.edge_index, trunk.edge_vectors(graph))
    assert sizes == pytest.approx([1.0] * num_layers)
    assert all(0.2 < feat.square().mean().sqrt() < 2 for feat in feats)


def test_the_table_of_species_survives_to_empty():
    trunk, graph = trunk_of("0e"), graph_of(FRAMES["open"])
    with torch.device("meta"):
        empty = trunk_of("0e")
    empty.to_empty(device="cpu")
    assert torch.equal(empty.species_index, trunk.species_index)
    empty.load_state_dict(trunk.state_dict())
    edges = graph.edge_index, trunk.edge_vectors(graph)
    assert torch.equal(empty(empty.species(graph), *edges)[-1], trunk(trunk.species(graph), *edges)[-1])
