"""Ctrl-C and SIGTERM: the first asks a suite to stop, the second stops it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

from harness.errors import Interrupted

__all__ = ["STOPPING", "Stop", "showing_stops", "stop_on_signals"]

STOPPING = "stopping after this epoch; a second Ctrl-C stops at once"
_shown_by: list[Callable[[], None]] = []


class Stop:
    """Signal that asked to stop, if any."""

    def __init__(self) -> None:
        self.number = 0
        """The first signal that came; 0 when none did."""

    def asked(self) -> bool:
        """Return whether a signal came."""
        return self.number != 0

    def error(self) -> Interrupted:
        """Return the error to end with: exit code 130 after Ctrl-C, 143 after SIGTERM."""
        return Interrupted("stopped; the same command resumes", exit_code=128 + self.number)


@contextlib.contextmanager
def showing_stops(show: Callable[[], None]) -> Iterator[None]:
    """Let a display show in the block that a stop was asked for; else a line is printed.

    Args:
        show: called in a signal handler, which may neither write nor wait for a lock.
    """
    _shown_by.append(show)
    try:
        yield
    finally:
        _shown_by.remove(show)


@contextlib.contextmanager
def stop_on_signals(active: bool = True) -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM into a request; the second ends the block at once.

    Args:
        active: False leaves signals as they are.

    Raises:
        Interrupted: the second signal came.
    """
    stop = Stop()
    if not active:
        yield stop
        return

    def ask(number: int, frame: object) -> None:
        if stop.number:
            raise KeyboardInterrupt
        stop.number = number
        if _shown_by:
            _shown_by[-1]()
            return
        # Not print: a handler may come in the middle of another write to the same buffer.
        text = f"{os.linesep * sys.stderr.isatty()}{STOPPING}\n"
        os.write(sys.stderr.fileno(), text.encode())

    previous = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except KeyboardInterrupt:
        raise stop.error() from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
