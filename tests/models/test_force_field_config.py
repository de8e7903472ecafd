import numpy as np
import pytest
import torch
from models.toys import FRAMES, graph_of, toy_model
from pydantic import ValidationError

from irrepnet.data import Frame, Graph
from irrepnet.models import ForceFieldConfig, edge_vectors
from irrepnet.o3 import Irreps


class TestIrreps:
    @pytest.mark.parametrize(
        ("hidden", "lmax", "layers", "kept"),
        [
            ("16x0e+16x1o", 1, 3, ["16x0e+16x1o", "16x0e+16x1o", "16x0e"]),
            ("4x1o+2x0e", 1, 2, ["2x0e+4x1o", "2x0e"]),
            ("8x0e+8x0o+8x1e+8x1o", 1, 4, ["8x0e+8x1o", "8x0e+8x1o+8x1e", "8x0e+8x1o", "8x0e"]),
            ("8x0e+8x1o+8x2e", 1, 2, ["8x0e+8x1o", "8x0e"]),
            ("8x0e+8x1o+8x2e", 2, 2, ["8x0e+8x1o+8x2e", "8x0e"]),
            ("8x0e", 0, 2, ["8x0e", "8x0e"]),
            ("8x0e+8x1o", 3, 1, ["8x0e"]),
        ],
    )
    def test_only_what_can_reach_the_energy_is_kept(self, hidden, lmax, layers, kept):
        model = toy_model(irreps_hidden=hidden, lmax=lmax, num_layers=layers)
        assert model.irreps_layers == [Irreps(irreps) for irreps in kept]
        feats = model.node_feats(graph_of(FRAMES["periodic"]))
        assert [f.shape for f in feats] == [(6, irreps.dim) for irreps in model.irreps_layers]

    def test_neighbours_of_neighbours(self):
        model = toy_model(num_layers=2)
        chain = np.array([[0.0, 0, 0], [2.5, 0, 0], [5.0, 0.3, 0]])
        a, b = (
            model.node_feats(graph_of(Frame(species=[1, 1, 1], pos=chain + d)))[-1][0] for d in (0, [[0], [0], [0.1]])
        )
        assert (a - b).abs().max() > 1e-6

    def test_edge_vectors(self):
        for frame in FRAMES.values():
            graph = graph_of(frame)
            vec = edge_vectors(Graph.collate([graph, graph]))
            assert (vec.norm(dim=1) < 3.0).all()
            assert torch.equal(vec[: graph.num_edges], edge_vectors(graph))


class TestConfig:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"cutof": 3.0}, "cutof"),
            ({"cutoff": 0.0}, "greater than 0"),
            ({"cutoff": float("nan")}, "finite"),
            ({"lmax": -1}, "greater than or equal to 0"),
            ({"num_layers": 0}, "greater than 0"),
            ({"irreps_hidden": "16x0f"}, "0f"),
            ({"irreps_hidden": "4x1o"}, "needs scalars 0e, which carry the energy; found '4x1o'"),
            ({"species": ()}, "at least 1"),
            ({"species": ("H", "Ox")}, "needed a chemical symbol; found 'Ox'"),
            ({"species": ("H", "H")}, "needs each element once; found H, H"),
            ({"species_shifts": (1.0,)}, "species_shifts needs one value for each of H, O; found 1"),
            ({"energy_scale": (1.0, 2.0, 3.0)}, "energy_scale needs one value for each of H, O; found 3"),
            ({"energy_scale": 0.0}, "greater than 0"),
            ({"dtype": "float16"}, "'float32' or 'float64'"),
        ],
    )
    def test_mistakes(self, change, message):
        with pytest.raises(ValidationError, match=message):
            ForceFieldConfig(**({"species": ("H", "O")} | change))

    def test_it_is_frozen_and_survives_json(self):
        config = toy_model(energy_scale=(1.0, 2.0)).config
        with pytest.raises(ValidationError, match="frozen"):
            config.cutoff = 1.0
        assert ForceFieldConfig.model_validate_json(config.model_dump_json()) == config

    def test_every_field_has_one_line_of_help(self):
        for name, field in ForceFieldConfig.model_fields.items():
            assert field.description, name
            assert "\n" not in field.description

    def test_dtype(self):
        assert toy_model(dtype="float32").dtype == torch.float32
        assert toy_model(dtype="float64").dtype == torch.float64

    def test_weights_do_not_depend_on_the_default_dtype(self):
        torch.set_default_dtype(torch.float64)
        try:
            model = toy_model(dtype="float32")
        finally:
            torch.set_default_dtype(torch.float32)
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
