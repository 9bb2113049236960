"""Progress of encoders on stderr: a line that is updated on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from harness.data.progress import reporting

__all__ = ["INTERVAL_S", "show_encoding"]

INTERVAL_S = 1.5
"""Seconds between two lines."""


class _Display:
    """Prints the state of an encoder from a thread of its own, as a batch may take long.

    Args:
        stream: where the lines are printed.
        interval: seconds between two lines; an encoder that is done in a third of it is quiet.
    """

    def __init__(self, stream: TextIO, interval: float) -> None:
        self._stream, self._interval = stream, interval
        self._text = ""
        self._printed = False
        self._finished = threading.Event()
        self._thread: threading.Thread | None = None

    def update(self, encoder: str, done: int, total: int) -> None:
        """Take the progress of an encoder."""
        if self._thread is None and done < total:
            self._started = time.monotonic()
            self._printed = False
            self._finished.clear()
            self._thread = threading.Thread(target=self._repeat, daemon=True)
            self._thread.start()
        if self._thread is not None:
            seconds = time.monotonic() - self._started
            self._text = f"encoding with '{encoder}': {done:,} of {total:,} ({seconds:.0f} s)"
        if done >= total:
            self.close()

    def close(self) -> None:
        """Print the last state, where any was printed, and stop."""
        if self._thread is not None:
            self._finished.set()
            self._thread.join()
            self._thread = None
            if self._printed:
                self._print()
                self._stream.write("\n" if self._stream.isatty() else "")

    def _repeat(self) -> None:
        if not self._finished.wait(self._interval / 3):
            self._print()
            while not self._finished.wait(self._interval):
                self._print()

    def _print(self) -> None:
        self._printed = True
        line = f"\r\x1b[K{self._text}" if self._stream.isatty() else f"{self._text}\n"
        self._stream.write(line)
        self._stream.flush()


@contextmanager
def show_encoding(stream: TextIO | None = None, interval: float = INTERVAL_S) -> Iterator[None]:
    """Show the progress of every encoder that computes inside the block; cached ones are quiet."""
    display = _Display(stream or sys.stderr, interval)
    with reporting(display.update):
        try:
            yield
        finally:
            display.close()
