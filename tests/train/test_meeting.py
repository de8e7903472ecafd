"""How processes find each other: the environment of a launcher, GPUs, and meetings in a store that outlives them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from train import ranks as processes

from irrepnet.errors import ConfigError, RankError
from irrepnet.train import meeting
from irrepnet.train.distributed import Ranks

LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_PROCID", "PMI_RANK")


@pytest.fixture
def environment(monkeypatch):
    """An environment without a launcher, to be filled."""
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    return lambda **names: [monkeypatch.setenv(name, value) for name, value in names.items()]


def test_without_torchrun_there_is_one_rank(environment):
    with Ranks.join("cpu", timeout_s=1) as ranks:
        assert (ranks.rank, ranks.size, ranks.is_main) == (0, 1, True)
        assert not torch.distributed.is_initialized()


def test_one_rank_of_torchrun_needs_no_connections(environment):
    environment(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="1")
    with Ranks.join("cpu", timeout_s=1) as ranks:
        assert ranks.size == 1
        assert not torch.distributed.is_initialized()


def test_half_an_environment_is_refused(environment):
    environment(RANK="1", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
    with (
        pytest.raises(ConfigError, match=r"found RANK, WORLD_SIZE, MASTER_ADDR without LOCAL_RANK, MASTER_PORT; start"),
        Ranks.join("cpu", timeout_s=1),
    ):
        pass


def test_tasks_of_another_launcher_are_refused_but_for_the_first(environment):
    environment(SLURM_PROCID="0")  # an interactive shell is task 0
    with Ranks.join("cpu", timeout_s=1) as ranks:
        assert ranks.size == 1
    environment(SLURM_PROCID="2")
    with (
        pytest.raises(ConfigError, match=r"needs torchrun; found a process started by srun \(SLURM_PROCID=2\); start"),
        Ranks.join("cpu", timeout_s=1),
    ):
        pass


def test_each_rank_takes_the_gpu_of_its_place(environment, monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr("irrepnet.train.distributed.meet", lambda *arguments: None)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    place = {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    environment(**place, LOCAL_RANK="1")
    with Ranks.join("cuda", timeout_s=1) as ranks:
        assert (ranks.rank, taken) == (3, [1])
    with (
        pytest.raises(ConfigError, match=r"needs to be cuda where .* found cuda:1;"),
        Ranks.join("cuda:1", timeout_s=1),
    ):
        pass
    environment(LOCAL_RANK="2")
    with (
        pytest.raises(ConfigError, match=r"needs a GPU per rank; found 2 on this machine for its rank 2"),
        Ranks.join("cuda", timeout_s=1),
    ):
        pass


def test_a_rank_that_never_comes_is_an_error(environment):
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    environment(**place, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(processes.free_port()))
    with (
        pytest.raises(RankError, match=r"rank 0 of 2 needed to meet the others at 127.0.0.1:\d+ within 1 s; found: "),
        Ranks.join("cpu", timeout_s=1),
    ):
        pass


def names_of_a_meeting(store, size, start=range):
    """What every rank of a meeting calls it; ``start`` gives the order in which they come."""
    with ThreadPoolExecutor(size) as pool:
        names = [
            pool.submit(
                *(meeting._announce, store, size, 20) if rank == 0 else (meeting._join_announced, store, rank, 20)
            )
            for rank in start(size)
        ]
        return [name.result() for name in names]


def test_ranks_that_are_started_again_do_not_meet_those_that_are_gone():
    store = torch.distributed.HashStore()
    first = names_of_a_meeting(store, 3)
    again = names_of_a_meeting(store, 3, start=lambda size: reversed(range(size)))
    fewer = names_of_a_meeting(store, 2)
    assert [len(set(names)) for names in (first, again, fewer)] == [1, 1, 1]
    assert len({first[0], again[0], fewer[0]}) == 3


def test_a_meeting_that_rank_0_gave_up_is_not_joined():
    store = torch.distributed.HashStore()
    with pytest.raises(RuntimeError, match="no rank 1, 2"):
        meeting._announce(store, 3, timeout_s=0.05)
    given_up = store.get("meeting").decode()
    (name, *others) = names_of_a_meeting(store, 3, start=lambda size: reversed(range(size)))
    assert others == [name, name]
    assert name != given_up


def test_a_rank_without_rank_0_gives_up():
    with pytest.raises(RuntimeError, match="not all of them, or no rank 0"):
        meeting._join_announced(torch.distributed.HashStore(), 1, timeout_s=0.05)
