"""Polite interruption: a signal is noted, the step is finished, the state is saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopRequest"]

# SIGUSR1 is what batch systems send some time before they kill; Windows has no such signal.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class StopRequest:
    """Context in which the first SIGINT, SIGTERM or SIGUSR1 sets :attr:`signal`.

    After it a SIGINT acts as usual: a person who presses Ctrl-C again insists. SIGTERM and SIGUSR1 change nothing more:
    batch systems and launchers may each send theirs, and the second must not end the process while it saves.
    Outside the main thread Python allows no handlers; there the context does nothing.

    Example:
        >>> with StopRequest() as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     stop.signal == signal.SIGTERM
        True
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._usual: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._usual = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = signal.Signals(number)
        if signal.SIGINT in self._usual:
            signal.signal(signal.SIGINT, self._usual.pop(signal.SIGINT))

    def _restore(self) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)
        self._usual = {}
