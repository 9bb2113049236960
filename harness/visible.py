"""Text from anywhere, as it may be shown on a terminal.

Names, labels, titles and error messages may come from a file of somebody else. A control character
in them could clear the screen, set its title, or make a line look like another one.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

__all__ = ["VisibleStream", "unfiltered", "visible", "visible_output"]

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but the tab and the end of a line
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
    "\u2028\u2029\ud800-\udfff]"  # further line ends; bytes of paths that are no UTF-8
)


def visible(text: str) -> str:
    """Return a text with each character that a terminal would obey written as in JSON: ``\\u001b``.

    Tabs and line ends stay.
    """
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class VisibleStream:
    """An output stream that shows control characters in place of sending them.

    Bars and tables of ``rich`` pass by: see ``harness.screen``.

    Args:
        stream: where the text goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        self.rich_proxied_file.write(visible(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write several texts."""
        self.rich_proxied_file.writelines(map(visible, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def unfiltered(stream: TextIO) -> TextIO:
    """Return the stream that control codes of the harness itself go to."""
    return stream.rich_proxied_file if isinstance(stream, VisibleStream) else stream


def _filtered(stream: TextIO) -> TextIO:
    # Python has no stream for a descriptor that was closed when it started.
    return stream and cast("TextIO", VisibleStream(stream))


@contextlib.contextmanager
def visible_output() -> Iterator[None]:
    """Show control characters in whatever is printed in a ``with`` block."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_filtered, streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
