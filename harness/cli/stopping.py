"""Ctrl-C and SIGTERM: the first asks a suite to stop, the second stops it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from harness.errors import Interrupted

__all__ = ["Stop", "stop_on_signals"]


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
        return Interrupted(
            "stopped; the same command goes on from here", exit_code=128 + self.number
        )


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
        # Not print: a handler may come in the middle of another write to the same buffer.
        text = "stopping after this epoch; the same again stops at once\n"
        os.write(sys.stderr.fileno(), (os.linesep * sys.stderr.isatty() + text).encode())

    previous = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except KeyboardInterrupt:
        raise stop.error() from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
