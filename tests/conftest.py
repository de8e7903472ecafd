"""What every test shares: one thread (results do not depend on it, timings do) and no network."""

import os
import socket

import pytest
import torch
from hypothesis import settings

settings.register_profile("irrepnet", deadline=None, max_examples=20, derandomize=True)
settings.load_profile("irrepnet")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing irrepnet does needs the network, so an attempt to connect is a failure (Unix sockets are fine)."""

    def refuse(self, address, *args):
        if self.family != socket.AF_UNIX:
            raise AssertionError(f"a test tried to connect to {address}")
        return connect(self, address, *args)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def fixed_seed():
    """Every test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)


def pytest_configure(config):
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
