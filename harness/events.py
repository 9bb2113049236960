"""Events of the engine: what a caller may show while a function works.

``str(event)`` is one line of text, "" for an event that only moves a bar. ``print_event`` prints
the lines in a notebook; :mod:`harness.cli.progress` draws bars from the same events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Event", "Message", "OnEvent", "ShouldStop", "Step", "ignore", "never", "print_event"]


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
        done, total: steps done, and their number.
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
