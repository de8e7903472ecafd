import pytest
import yaml
from train import toy

from irrepnet.errors import ConfigError
from irrepnet.train import RunFolder, load_config


def test_the_written_configuration_is_complete_and_can_be_read_again(tmp_path):
    config = toy.config(tmp_path)
    run = RunFolder(tmp_path / "deep" / "run")
    run.create(config)
    assert load_config(run.config).model_dump() == config.model_dump()
    assert yaml.safe_load(run.config.read_text())["training"]["lr_floor"] == config.training.lr_floor


def test_a_log_is_read_back_up_to_a_torn_line(tmp_path):
    run = RunFolder(tmp_path)
    for step in (0, 4, 8):
        run.append_log({"step": step, "loss": 0.1 * step})
    with run.log.open("a") as log:
        log.write('{"step": 12, "lo')
    assert [row["step"] for row in run.read_log()] == [0, 4, 8]
    run.cut_log(4)
    assert run.log.read_text() == '{"step": 0, "loss": 0.0}\n{"step": 4, "loss": 0.4}\n'
    assert RunFolder(tmp_path / "none").read_log() == []


@pytest.mark.parametrize("name", ["config.yaml", "log.jsonl", "last.state", "best.model"])
def test_any_part_of_a_run_makes_a_folder_taken(tmp_path, name):
    run = RunFolder(tmp_path)
    run.check_free(resume=False)
    (tmp_path / name).touch()
    run.check_free(resume=True)
    with pytest.raises(ConfigError, match="found a run in it"):
        run.check_free(resume=False)
