"""Consoles that escape control characters in texts."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO, Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from harness.visible import unfiltered, visible

__all__ = ["SafeConsole"]


class SafeConsole(Console):
    """A console of ``rich`` that escapes control characters in texts but not its own codes.

    Markup, highlighting and emoji codes are off, as labels and messages may have square brackets.
    Only a terminal gets bars and colours.
    """

    def __init__(self, **options: Any) -> None:
        stream = options.get("file") or (sys.stderr if options.get("stderr") else sys.stdout)
        # Jupyter sets FORCE_COLOR, for which rich would move the cursor in a cell's output.
        plain = {
            "markup": False,
            "highlight": False,
            "emoji": False,
            "force_terminal": stream.isatty(),
        }
        super().__init__(**{**plain, **options})

    @property
    def file(self) -> IO[str]:
        """The stream itself: the console has escaped the texts, and its own codes are for it."""
        return unfiltered(cast("TextIO", super().file))

    @file.setter
    def file(self, stream: IO[str]) -> None:
        self._file = stream

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of a renderable, with escaped texts."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))
