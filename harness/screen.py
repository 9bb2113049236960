"""Consoles that show control characters in names in place of sending them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from harness.visible import visible

__all__ = ["SafeConsole"]


class SafeConsole(Console):
    """A console of ``rich`` whose texts, unlike its own control codes, cannot move the cursor.

    Markup, highlights and emoji codes are off: labels and messages may hold square brackets.
    """

    def __init__(self, **options: Any) -> None:
        plain = {"markup": False, "highlight": False, "emoji": False}
        super().__init__(**{**plain, **options})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the parts of what is shown."""
        for part in super().render(renderable, options):
            yield part if part.control else part._replace(text=visible(part.text))
