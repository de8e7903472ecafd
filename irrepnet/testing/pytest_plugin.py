"""A plugin of pytest: the checks as fixtures, with a seed that a failing test tells and that can be given again.

It is there wherever irrepnet is installed. A unit test takes three lines and no import of the checks::

    def test_layer(assert_equivariant):
        assert_equivariant(MyLayer(), "2x0e + 1o", "1o")

A test that takes one of these fixtures starts from the random state of ``--irrepnet-seed``, so that random weights come
again with the seed; other tests are not touched, and nothing heavy is imported until such a test runs.

PYTEST_DONT_REWRITE: there are no asserts here, and pytest would warn where this file was imported before.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the seed."""
    group = parser.getgroup("irrepnet", "equivariance checks (irrepnet)")
    group.addoption(
        "--irrepnet-seed",
        metavar="N",
        type=_seed,
        default=0,
        help="seed of the random weights, inputs and rotations in tests that use irrepnet's fixtures (0), or 'random' "
        "for another one in each run; a failing test tells its seed",
    )


def _seed(text: str) -> int:
    """Read the option; argparse reports a ValueError as a bad value."""
    return random.SystemRandom().randrange(2**31) if text == "random" else int(text)


def _is_seeded(item: pytest.Item) -> bool:
    return "irrepnet_seed" in getattr(item, "fixturenames", ())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test that uses the fixtures from the random state of the seed, and put the state back.

    Around the whole test and not in a fixture: what other fixtures build is seeded too, and hypothesis, which runs a
    test many times, allows fixtures of the session only.
    """
    if not _is_seeded(item):
        return (yield)
    with _random_state(item.config.getoption("irrepnet_seed")):
        return (yield)


@contextmanager
def _random_state(seed: int) -> Iterator[None]:
    import torch

    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Tell the seed of a test that failed."""
    report: Any = yield
    if report.failed and _is_seeded(item):
        seed = item.config.getoption("irrepnet_seed")
        report.sections.append(("irrepnet", f"seed {seed}: repeat with --irrepnet-seed {seed}"))
    return report


@pytest.fixture(scope="session")
def irrepnet_seed(request: pytest.FixtureRequest) -> int:
    """Seed of this run; a test that takes it starts from the random state of this seed."""
    return request.config.getoption("irrepnet_seed")


@pytest.fixture(scope="session")
def assert_equivariant(irrepnet_seed: int) -> Callable[..., None]:
    """``irrepnet.testing.assert_equivariant`` with the seed of this run: f(g x) = g f(x)?"""
    from irrepnet.testing.equivariance import assert_equivariant

    return partial(assert_equivariant, seed=irrepnet_seed)


@pytest.fixture(scope="session")
def assert_normalized(irrepnet_seed: int) -> Callable[..., None]:
    """``irrepnet.testing.assert_normalized`` with the seed of this run: variance 1 in, variance 1 out?"""
    from irrepnet.testing.normalization import assert_normalized

    return partial(assert_normalized, seed=irrepnet_seed)


@pytest.fixture(scope="session")
def assert_periodic(irrepnet_seed: int) -> Callable[..., None]:
    """``irrepnet.testing.assert_periodic`` with the seed of this run: the lattice and not the cell?"""
    from irrepnet.testing.periodicity import assert_periodic

    return partial(assert_periodic, seed=irrepnet_seed)


@pytest.fixture(scope="session")
def infer_parity(irrepnet_seed: int) -> Callable[..., Any]:
    """``irrepnet.testing.infer_parity`` with the seed of this run: what irreps come out?"""
    from irrepnet.testing.parity import infer_parity

    return partial(infer_parity, seed=irrepnet_seed)


@pytest.fixture(params=["float32", "float64"])
def float_dtype(request: pytest.FixtureRequest, irrepnet_seed: int) -> Iterator[torch.dtype]:
    """Run the test in float32 and in float64: the default dtype, which modules are built in; it is put back."""
    import torch

    before = torch.get_default_dtype()
    dtype = getattr(torch, request.param)
    torch.set_default_dtype(dtype)
    try:
        yield dtype
    finally:
        torch.set_default_dtype(before)
