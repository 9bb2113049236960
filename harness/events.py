"""Events of the engine: what a caller may show while a function works.

``str(event)`` is one line of text, "" for an event that only moves a bar. ``print_event`` prints
the lines in a notebook; :mod:`harness.cli.progress` draws bars from the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = [
    "Event",
    "Message",
    "OnEvent",
    "ShouldStop",
    "Step",
    "doing",
    "ignore",
    "never",
    "print_event",
    "report_step",
    "reporting",
]


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class Message(Event):
    """A line that a person should read."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Step(Event):
    """Progress of a task.

    Attributes:
        task: name of the task.
        done, total: steps done, and their number; the task has ended when they are equal and not
            0. A total of 0 or 1 has no count to show.
    """

    task: str
    done: int
    total: int


OnEvent = Callable[[Event], None]
ShouldStop = Callable[[], bool]
"""Returns True when the work should end early; asked often."""


def print_event(event: Event) -> None:
    """Print the line of an event, nothing for one that only moves a bar."""
    if text := str(event):
        print(text, flush=True)


def ignore(event: Event) -> None:
    """Drop an event."""


def never() -> bool:
    """Return False: work to the end."""
    return False


_listeners: list[OnEvent] = []


@contextmanager
def reporting(on_event: OnEvent) -> Iterator[None]:
    """Pass the steps that are reported inside the block to a callback; the innermost one has them.

    For code far below the functions that take ``on_event``: encoders, kernels, readers.
    """
    _listeners.append(on_event)
    try:
        yield
    finally:
        _listeners.remove(on_event)


def report_step(task: str, done: int, total: int) -> None:
    """Report progress to the innermost callback of ``reporting``; arguments as ``Step``."""
    if _listeners:
        _listeners[-1](Step(task, done, total))


@contextmanager
def doing(task: str) -> Iterator[None]:
    """Report a task of unknown length for the block."""
    report_step(task, 0, 1)
    try:
        yield
    finally:
        report_step(task, 1, 1)
