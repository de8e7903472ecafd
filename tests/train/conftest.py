"""A signal in the middle of a training step, without a second process."""

import signal

import pytest

from irrepnet.train.console import TrainingConsole


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function that makes the next training raise a signal in the middle of a step."""

    def at(step, number=signal.SIGTERM):
        advance = TrainingConsole.advance

        def advance_and_raise(self, share, done, *rest):
            advance(self, share, done, *rest)
            if done == step:
                monkeypatch.setattr(TrainingConsole, "advance", advance)
                signal.raise_signal(number)

        monkeypatch.setattr(TrainingConsole, "advance", advance_and_raise)

    return at
