"""Progress of encoders, reported to registered callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "report_progress", "reporting"]

Progress = Callable[[str, int, int], None]
"""Callback with an encoder's name, the number of encoded inputs, and their total."""

_callbacks: list[Progress] = []


@contextmanager
def reporting(callback: Progress) -> Iterator[None]:
    """Call ``callback`` while an encoder computes, at least once per batch."""
    _callbacks.append(callback)
    try:
        yield
    finally:
        _callbacks.remove(callback)


def report_progress(name: str, encoded: int, total: int) -> None:
    """Call the callbacks of :func:`reporting`."""
    for callback in _callbacks:
        callback(name, encoded, total)
