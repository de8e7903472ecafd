import json
import shutil

import pytest
from models.toys import FRAMES, graph_of, toy_model

from irrepnet.deploy import (
    Committee,
    Factor,
    IrrepNetCalculator,
    Predictor,
    committee_file,
    load_committee,
    save_committee,
)
from irrepnet.errors import CheckpointError, ConfigError
from irrepnet.models import save_model


@pytest.fixture
def saved(tmp_path):
    """A committee in one folder, its members in others."""
    files = []
    for seed in range(3):
        files.append(tmp_path / "all" / f"run{seed}" / "best.model")
        files[-1].parent.mkdir(parents=True)
        save_model(toy_model(seed), files[-1])
    path = tmp_path / "all" / "few" / "water.committee"
    path.parent.mkdir()
    save_committee(Committee(files, calibration={"energy": Factor(1.7, 12), "forces": Factor(2.1, 100)}), path)
    return path


class TestSound:
    def test_it_comes_back(self, saved):
        committee = load_committee(saved)
        graph = graph_of(FRAMES["periodic"])
        expected = Committee([toy_model(seed) for seed in range(3)], calibration=committee.calibration)(graph)
        found = committee(graph)
        assert found.energy.item() == expected.energy.item()
        assert found.forces_spread.tolist() == expected.forces_spread.tolist()
        assert committee.calibration == {"energy": Factor(1.7, 12), "forces": Factor(2.1, 100)}

    def test_it_moves_with_its_members(self, saved, tmp_path):
        shutil.move(tmp_path / "all", tmp_path / "elsewhere")
        assert len(load_committee(tmp_path / "elsewhere" / "few" / "water.committee").members) == 3

    def test_it_is_small_and_legible(self, saved):
        held = json.loads(saved.read_text())
        assert [member["path"] for member in held["members"]] == [f"../run{i}/best.model" for i in range(3)]
        assert saved.stat().st_size < 2000

    def test_wherever_a_model_goes(self, saved):
        assert len(Predictor(saved).model.members) == 3
        assert len(IrrepNetCalculator(saved).predict.model.members) == 3

    def test_layout_does_not_matter(self, saved):
        held = json.loads(saved.read_text())
        saved.write_text(json.dumps(dict(reversed(held.items()))))
        assert len(load_committee(saved).members) == 3


class TestFaults:
    def change(self, saved, change):
        held = json.loads(saved.read_text())
        change(held)
        saved.write_text(json.dumps(held))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda held: held["calibration"]["energy"].update(factor=17.0), "is damaged: its SHA-256 is not the one"),
            (lambda held: held["calibration"]["energy"].update(factor=-1.0), "calibration.energy.factor: .*; copy it"),
            (lambda held: held["calibration"]["energy"].update(factor=float("nan")), "factor: .*finite"),
            (lambda held: held["members"].pop(), "is damaged: its SHA-256"),
            (lambda held: held.update(members=[]), "not a file of a committee: members: "),
            (lambda held: held.update(more=1), "not a file of a committee: more: "),
            (lambda held: held.pop("sha256"), "cut short or another one"),
            (lambda held: held.update(format=99), "has format 99, written by irrepnet .*; update irrepnet"),
        ],
    )
    def test_altered(self, saved, change, message):
        self.change(saved, change)
        with pytest.raises(CheckpointError, match=message):
            load_committee(saved)

    def test_cut_short_at_every_place(self, saved):
        raw = saved.read_bytes().rstrip()
        for size in range(0, len(raw), 7):
            saved.write_bytes(raw[:size])
            with pytest.raises(CheckpointError, match="cut short or another one; copy it again"):
                load_committee(saved)

    @pytest.mark.parametrize("raw", [b"\x80\x04", b"[1]", b"null", b"3", b"[" * 100_000])
    def test_something_else(self, saved, raw):
        saved.write_bytes(raw)
        with pytest.raises(CheckpointError, match="not a file of a committee"):
            load_committee(saved)

    def test_places(self, saved):
        with pytest.raises(FileNotFoundError, match=r"there is no .*none\.committee; check the path"):
            load_committee(saved.parent / "none.committee")
        with pytest.raises(CheckpointError, match="is a folder; name a file in it"):
            load_committee(saved.parent)

    def test_another_member(self, saved):
        save_model(toy_model(9), saved.parent.parent / "run1" / "best.model")
        with pytest.raises(CheckpointError, match=r"needs the model \.\./run1/best\.model as it was; .*another SHA"):
            load_committee(saved)

    def test_a_member_that_is_not_there(self, saved):
        (saved.parent.parent / "run1" / "best.model").unlink()
        with pytest.raises(FileNotFoundError, match=r"needs the model \.\./run1/best\.model beside it; found none"):
            load_committee(saved)

    def test_members_without_files(self, tmp_path):
        committee = Committee([toy_model(0), toy_model(1)])
        with pytest.raises(ConfigError, match="member 0 has none; write it with save_model and make the committee of"):
            save_committee(committee, tmp_path / "a.committee")

    def test_a_member_that_changed_meanwhile(self, saved):
        committee = load_committee(saved)
        save_model(toy_model(9), saved.parent.parent / "run2" / "best.model")
        with pytest.raises(CheckpointError, match=r"run2/best\.model has changed since the committee read it"):
            save_committee(committee, saved)

    def test_name(self, saved):
        with pytest.raises(ConfigError, match=r"a name like water\.committee; found water\.json"):
            save_committee(load_committee(saved), saved.with_suffix(".json"))

    def test_a_writer_that_dies_leaves_the_old_file(self, saved, monkeypatch):
        before = saved.read_bytes()
        committee = load_committee(saved)
        committee.calibration = {}

        def fail(*_):
            raise OSError("no space left on device")

        monkeypatch.setattr("os.replace", fail)
        with pytest.raises(OSError, match="no space"):
            committee_file.save_committee(committee, saved)
        assert saved.read_bytes() == before
        assert [file.name for file in saved.parent.iterdir()] == [saved.name]
