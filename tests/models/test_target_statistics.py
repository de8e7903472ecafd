"""What training frames tell of targets: shifts, means, scales; and labels that cannot be used."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from models.target_toys import labelled, molecules

from irrepnet.data import Frame
from irrepnet.errors import ConfigError, DataError
from irrepnet.io import CartesianTensor
from irrepnet.models import PropertyConfig, PropertyModel, TensorConfig, TensorModel, property_statistics
from irrepnet.models import tensor_statistics as statistics_of_tensors
from irrepnet.models.labels import known_labels
from irrepnet.models.tensor_statistics import with_varying_irreps


@pytest.fixture
def random():
    return np.random.default_rng(0)


def quiet(message):
    raise AssertionError(f"needed no note; found {message}")


def composition(frames):
    return np.array([[(frame.species == number).sum() for number in (1, 8)] for frame in frames])


def tensor_statistics(targets, frames, species=None, say=quiet):
    return statistics_of_tensors(targets, frames, species, say=say)


class TestProperties:
    def test_extensive(self, random):
        frames = molecules(12, num_atoms=(2, 3, 4, 5, 6))
        noise = random.normal(size=12)
        frames = labelled(frames, U0=composition(frames) @ [-13.6, -2043.0] + noise)
        (target,) = property_statistics([{"name": "U0", "readout": "extensive", "unit": "eV"}], frames, say=quiet)
        assert list(target["shift"]) == ["H", "O"]
        assert target["shift"]["O"] == pytest.approx(-2043.0, abs=2.0)
        rest = composition(frames) @ list(target["shift"].values()) - [frame.properties["U0"] for frame in frames]
        assert target["scale"] == pytest.approx(np.sqrt(np.mean(rest**2)))
        assert 0.5 < target["scale"] < 1.5

    @pytest.mark.parametrize("readout", ["extensive", "second_moment"])
    def test_elements_that_are_not_in_the_frames(self, readout, random):
        frames, notes = labelled(molecules(12), a=random.normal(size=12)), []
        (target,) = property_statistics(
            [{"name": "a", "readout": readout}], frames, ("H", "C", "O", "Si"), say=notes.append
        )
        assert target["shift"]["C"] == 0.0
        keys = ("shift",) if readout == "extensive" else ("charges", "shift")
        told = "note: target 'a' is not known of any C, Si in the training frames; its {} for C, Si is 0"
        assert notes == [told.format(key) for key in keys]

    def test_given_shifts_stay(self):
        frames = labelled(molecules(3), U0=[1.0, 2.0, 5.0])
        given = {"H": 0.5, "O": -1.0, "C": 7.0}
        (target,) = property_statistics([{"name": "U0", "readout": "extensive", "shift": given}], frames, say=quiet)
        assert target["shift"] == given
        rest = np.array([1.0, 2.0, 5.0]) - composition(frames) @ [0.5, -1.0]
        assert target["scale"] == pytest.approx(np.sqrt(np.mean(rest**2)))
        with pytest.raises(ConfigError, match="needs a value for each of H, O; found none for O; add it"):
            property_statistics([{"name": "U0", "readout": "extensive", "shift": {"H": 1.0}}], frames)

    def test_intensive_and_dipoles(self, random):
        vectors = random.normal(size=(4, 3))
        values = {"gap": [1.0, 2.0, 3.0, 6.0], "mu": vectors, "length": [1.0, 1.0, 2.0, 2.0]}
        targets = [
            {"name": "gap", "readout": "intensive"},
            {"name": "mu", "readout": "dipole"},
            {"name": "length", "readout": "dipole", "norm": True},
        ]
        gap, mu, length = property_statistics(targets, labelled(molecules(4), **values), say=quiet)
        assert (gap["shift"], gap["scale"]) == (3.0, pytest.approx(np.std([1, 2, 3, 6])))
        assert mu["scale"] == pytest.approx(np.sqrt(np.mean(vectors**2)))
        assert length["scale"] == 0.5

    def test_second_moment(self):
        frames, labels = molecules(12), []
        for frame in frames:
            centre = frame.species @ frame.pos / frame.species.sum()
            squared = ((frame.pos - centre) ** 2).sum(axis=1)
            labels.append(
                (np.where(frame.species == 8, 29.0, 3.3) * squared + np.where(frame.species == 8, 10, 4)).sum()
            )
        notes = []
        target = {"name": "r2", "readout": "second_moment", "unit": "a0^2"}
        (target,) = property_statistics([target], labelled(frames, r2=labels), say=notes.append)
        assert target["charges"] == pytest.approx({"H": 3.3, "O": 29.0}, rel=1e-6)
        assert target["shift"] == pytest.approx({"H": 4.0, "O": 10.0}, rel=1e-6)
        assert (target["scale"], notes) == (
            1.0,
            ["note: target 'r2' does not vary in the training frames; its scale is 1 a0^2"],
        )

    def test_unknown_labels_are_left_out(self):
        frames = labelled(molecules(3), gap=[1.0, np.nan, 3.0])
        frames[2] = replace(frames[2], properties={"other": 1.0})
        frames += labelled(molecules(1), gap=[5.0])
        (target,) = property_statistics([{"name": "gap", "readout": "intensive"}], frames, say=quiet)
        assert (target["shift"], target["scale"]) == (3.0, 2.0)

    def test_a_model_of_what_was_found(self):
        frames = labelled(molecules(5), gap=[1.0, 2.0, 3.0, 4.0, 5.0], U0=[1.0, 2.0, 4.0, 8.0, 9.0])
        targets = [{"name": "gap", "readout": "intensive"}, {"name": "U0", "readout": "extensive"}]
        complete = property_statistics(targets, frames, ("O", "H"), say=quiet)
        model = PropertyModel(PropertyConfig(species=("O", "H"), targets=complete))
        assert model.readouts[0].shift.item() == 3.0
        assert model.readouts[1].shifts.tolist() == [complete[1]["shift"]["O"], complete[1]["shift"]["H"]]

    @pytest.mark.parametrize(
        ("change", "target", "message"),
        [
            (
                {"properties": {"gap": 1.0}},
                {"name": "gpa", "readout": "intensive"},
                r"^a.npz frame 3: target 'gpa' is not known of this training frame nor of any other; the frame's "
                r"properties are gap; correct the name, or data.keys.properties. Did you mean 'gap'\?",
            ),
            (
                {"properties": {"gap": np.nan}},
                {"name": "gap", "readout": "intensive"},
                "frame 3: target 'gap' is not known",
            ),
            (
                {"properties": {"mu": [0.0, 1.0, 2.0]}},
                {"name": "mu", "readout": "dipole", "norm": True},
                r"frame 3: target 'mu' needs shape \[\]; found \[3\]; check the readout",
            ),
            (
                {"properties": {"mu": 1.0}},
                {"name": "mu", "readout": "dipole"},
                r"frame 3: target 'mu' needs shape \[3\]; found \[\]",
            ),
            (
                {"properties": {"gap": np.inf}},
                {"name": "gap", "readout": "intensive"},
                "frame 3: target 'gap' needs finite numbers, NaN where not known; found inf",
            ),
            (
                {"atom_properties": {"q": np.ones(2)}},
                {"name": "q", "readout": "intensive"},
                "properties are none; .* It is among its atom_properties: set level: atom.",
            ),
            (
                {"properties": {"U0": 1.0}, "species": [1, 6]},
                {"name": "U0", "readout": "extensive"},
                "frame 3: needed elements H, O; found C; add it to model.species",
            ),
        ],
    )
    def test_labels_that_cannot_be_used(self, change, target, message):
        frame = Frame(**({"species": [1, 1], "pos": np.eye(3)[:2], "source": "a.npz frame 3"} | change))
        with pytest.raises(DataError, match=message):
            property_statistics([target], [frame], ("H", "O"))

    def test_no_frames(self):
        with pytest.raises(DataError, match="target 'gap' needs at least one training frame; found none"):
            property_statistics([{"name": "gap", "readout": "intensive"}], [])


class TestTensors:
    def test_extensive(self, random):
        tensor, frames = CartesianTensor("ij=ji"), molecules(30, num_atoms=(2, 3, 4, 5, 6))
        parts = torch.tensor(random.normal(size=(30, 6)) * [1, 0.1, 0.1, 0.1, 0.1, 0.1])
        parts[:, 0] += torch.tensor(composition(frames) @ [3.0, 9.0])
        frames = labelled(frames, alpha=tensor.to_cartesian(parts).numpy())
        (target,) = tensor_statistics([{"name": "alpha", "formula": "ij=ji"}], frames)
        assert target["mean"]["O"] == pytest.approx([9.0], abs=0.6)
        rest = parts[:, 0].numpy() - composition(frames) @ [target["mean"][symbol][0] for symbol in "HO"]
        anisotropic = parts[:, 1:].numpy()
        assert target["irrep_scales"] == pytest.approx([np.sqrt(np.mean(rest**2)), np.sqrt(np.mean(anisotropic**2))])
        assert target["scale"] == pytest.approx(np.sqrt((np.mean(rest**2) + 5 * np.mean(anisotropic**2)) / 9))
        config = TensorConfig(species=("H", "O"), lmax=2, irreps_hidden="8x0e+8x2e", targets=[target])
        readout = TensorModel(config).readouts[0]
        assert readout.scales.tolist() == [target["irrep_scales"][0], *[target["irrep_scales"][1]] * 5]
        assert readout.means.tolist() == [[target["mean"][symbol][0], *[0.0] * 5] for symbol in "HO"]

    def test_mean_over_atoms(self):
        tensor = CartesianTensor("ij=ji")
        values = tensor.to_cartesian(torch.tensor([[3.0, *[0.0] * 5], [5.0, *[0.0] * 5]]).double()).numpy()
        target = {"name": "epsilon", "formula": "ij=ji", "extensive": False}
        notes = []
        (target,) = tensor_statistics([target], labelled(molecules(2), epsilon=values), say=notes.append)
        assert notes == [
            "note: the parts 2e of target 'epsilon' do not vary in the training frames; "
            "the model predicts their usual values"
        ]
        assert target["mean"] == {"H": [pytest.approx(4.0)], "O": [pytest.approx(4.0)]}
        assert target["irrep_scales"] == pytest.approx([1.0, 0.0])

    def test_atoms(self, random):
        frames = []
        for frame in molecules(3, num_atoms=(6,)):
            shielding = 10.0 * np.eye(3) + random.normal(size=(6, 3, 3))
            shielding[frame.species == 8] += 290.0 * np.eye(3)
            shielding[5] = np.nan
            frames.append(replace(frame, atom_properties={"shielding": shielding}))
        target = {"name": "shielding", "formula": "ij", "level": "atom", "unit": "ppm"}
        (target,) = tensor_statistics([target], frames)
        known = np.concatenate([frame.atom_properties["shielding"][:5] for frame in frames])
        is_oxygen = np.concatenate([frame.species[:5] == 8 for frame in frames])
        trace = np.trace(known[is_oxygen].mean(axis=0)) / 3**0.5
        assert target["mean"]["O"] == pytest.approx([trace])
        assert target["mean"]["H"][0] == pytest.approx(10 * 3**0.5, abs=1.5)
        assert target["irrep_scales"] == pytest.approx([1.0, 1.0, 1.0], abs=0.4)

    def test_elements_without_a_label(self, random):
        shielding = np.full((6, 3, 3), np.nan)
        frame, notes = molecules(1, num_atoms=(6,))[0], []
        shielding[frame.species == 8] = random.normal(size=(2, 3, 3))
        target = {"name": "shielding", "formula": "ij", "level": "atom"}
        frames = [replace(frame, atom_properties={"shielding": shielding})]
        (target,) = tensor_statistics([target], frames, say=notes.append)
        assert target["mean"]["H"] == [0.0]
        assert notes == ["note: target 'shielding' is not known of any H in the training frames; its mean for H is 0"]

    def test_irreps_that_vary_only_in_the_frames_of_a_fine_tuning(self, random):
        bent = random.normal(size=(2, 3, 3))
        isotropic = np.eye(3) * np.array([1.0, 3.0, 4.0, 9.0])[:, None, None]
        target = {"name": "alpha", "formula": "ij=ji"}
        frames = labelled(molecules(4), alpha=isotropic)
        (before,) = tensor_statistics([target], frames, say=lambda note: None)
        assert before["irrep_scales"][1] == 0
        (after,) = with_varying_irreps(
            [before], labelled(molecules(2), alpha=bent + bent.transpose(0, 2, 1)), ["H", "O"], say=quiet
        )
        assert after["irrep_scales"][0] == before["irrep_scales"][0]
        assert 0.3 < after["irrep_scales"][1] < 3
        assert {**after, "irrep_scales": None} == {**before, "irrep_scales": None}

    def test_a_vector_has_no_mean(self):
        frames = labelled(molecules(2), mu=np.array([[3.0, 0.0, 4.0], [3.0, 0.0, 4.0]]))
        (target,) = tensor_statistics([{"name": "mu", "formula": "i"}], frames)
        assert target["mean"] == {"H": [], "O": []}
        assert target["irrep_scales"] == [pytest.approx(np.sqrt(25 / 3))]

    def test_values_that_do_not_vary(self):
        frames, notes = labelled(molecules(2), epsilon=np.array([np.eye(3)] * 2)), []
        target = {"name": "epsilon", "formula": "ij=ji", "extensive": False}
        (target,) = tensor_statistics([target], frames, say=notes.append)
        assert (target["scale"], target["irrep_scales"]) == (1.0, [1.0, 1.0])
        assert notes == ["note: target 'epsilon' does not vary in the training frames; its scale is 1"]

    def test_what_a_formula_forbids(self, random):
        frames, notes = molecules(3, num_atoms=(3,)), []
        alpha = np.array([np.diag([1.0, 2.0, 3.0])] * 3) * np.array([1.0, 2.0, 3.0])[:, None, None]
        alpha[1, 0, 1] += 0.02
        alpha[1, 1, 0] -= 0.02
        frames = [replace(frame, source=f"a.npz frame {i}") for i, frame in enumerate(labelled(frames, alpha=alpha))]
        tensor_statistics([{"name": "alpha", "formula": "ij=ji", "unit": "a.u."}], frames, say=notes.append)
        (note,) = notes  # 0.02 in two of nine components, of tensors of rms sqrt(14 * 14 / 3 / 9)
        assert note == (
            "note: target 'alpha': formula 'ij=ji' projects away 2.0e-03 of their root mean square, "
            "most in a.npz frame 1 (0.0094 a.u.)"
        )
        with pytest.raises(
            DataError,
            match=r"target 'alpha' needs tensors with the symmetries of its formula 'ij=-ji'; these forbid .* of their "
            r"root mean square, most in a.npz frame 2 .*; give the formula that the data have \('ij' has no symm",
        ):
            tensor_statistics([{"name": "alpha", "formula": "ij=-ji"}], frames)

    def test_labels_that_cannot_be_used(self):
        (frame,) = labelled(molecules(1), alpha=np.ones((1, 6)))
        with pytest.raises(DataError, match=r"target 'alpha' needs shape \[3, 3\]; found \[6\]; check the readout"):
            tensor_statistics([{"name": "alpha", "formula": "ij=ji"}], [frame])
        with pytest.raises(DataError, match=r"target 'q' is not known .* the frame's atom_properties are none"):
            tensor_statistics([{"name": "q", "formula": "ij", "level": "atom"}], [frame])
        with pytest.raises(DataError, match="It is among its properties: set level: structure"):
            tensor_statistics([{"name": "alpha", "formula": "ij", "level": "atom"}], [frame])


def test_frames_are_read_once_and_may_be_lazy():
    class Lazy:
        def __init__(self, frames):
            self.frames, self.reads = frames, 0

        def __len__(self):
            return len(self.frames)

        def __getitem__(self, index):
            self.reads += 1
            return self.frames[index]

    frames = Lazy(labelled(molecules(3), gap=[1.0, 2.0, np.nan]))
    assert [float(gap) for _, gap in known_labels(frames, "gap", ())] == [1.0, 2.0]
    assert frames.reads <= 4
