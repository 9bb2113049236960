"""Steps of encoders, kernels and readers on stderr: a line that is updated on a terminal, lines
elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from harness.events import Event, Step, reporting
from harness.visible import unfiltered

__all__ = ["INTERVAL_S", "LINES_S", "show_encoding"]

INTERVAL_S = 1.5
"""Seconds between two states of the line on a terminal."""

LINES_S = 10.0
"""Seconds between two lines elsewhere, where each one stays."""


class _Display:
    """Prints the state of a step from a thread of its own, as a batch may take long.

    Args:
        stream: where the lines are printed.
        interval: seconds between two states; a step that is done in a third of it is quiet.
            Off a terminal a state whose count has not changed is not printed again.
    """

    def __init__(self, stream: TextIO, interval: float) -> None:
        self._stream, self._interval = stream, interval
        self._state = ("", 0, 0)
        self._printed: tuple[str, int, int] | None = None
        self._finished = threading.Event()
        self._thread: threading.Thread | None = None

    def on_event(self, event: Event) -> None:
        """Take the progress of a step."""
        if not isinstance(event, Step):
            return
        done, total = event.done, event.total
        self._state = event.task, done, total
        if self._thread is None and done < total:
            self._started = time.monotonic()
            self._printed = None
            self._finished.clear()
            self._thread = threading.Thread(target=self._repeat, daemon=True)
            self._thread.start()
        if done >= total:
            self.close()

    def close(self) -> None:
        """Print the last state, where any was printed, and stop."""
        if self._thread is not None:
            self._finished.set()
            self._thread.join()
            self._thread = None
            if self._printed is not None:
                self._print()
                self._stream.write("\n" if self._stream.isatty() else "")

    def _repeat(self) -> None:
        if not self._finished.wait(self._interval / 3):
            self._print()
            while not self._finished.wait(self._interval):
                self._print()

    def _print(self) -> None:
        state, terminal = self._state, self._stream.isatty()
        if state == self._printed and not terminal:
            return
        self._printed = state
        task, done, total = state
        seconds = time.monotonic() - self._started
        count = f": {done:,} of {total:,}" if total > 1 else ""
        text = f"{task}{count} ({seconds:.0f} s)"
        self._stream.write(f"\r\x1b[K{text}" if terminal else f"{text}\n")
        self._stream.flush()


@contextmanager
def show_encoding(stream: TextIO | None = None, interval: float | None = None) -> Iterator[None]:
    """Show the steps that are reported inside the block; short ones are quiet.

    Args:
        stream: where it is shown, stderr by default.
        interval: seconds between two states; by default ``INTERVAL_S`` on a terminal, ``LINES_S``
            elsewhere.
    """
    stream = stream or unfiltered(sys.stderr)
    if interval is None:
        interval = INTERVAL_S if stream.isatty() else LINES_S
    display = _Display(stream, interval)
    with reporting(display.on_event):
        try:
            yield
        finally:
            display.close()
