"""Escaping of control characters in terminal output.

Names, labels, titles and error messages may come from untrusted files. A control character in them
could clear the screen, set its title, or make one line look like another.
"""

from __future__ import annotations

import contextlib
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, TextIO, cast

__all__ = ["VisibleStream", "unfiltered", "unstyled", "visible", "visible_output", "wrap"]

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the writing direction
    "\u2028\u2029\ud800-\udfff]"  # line separators; surrogates from paths that are not UTF-8
)
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""Escape sequences of colours and weights."""

_COMMAND = re.compile("`[^`\n]+`")
_NO_BREAK = "\ue000"
"""A sign of the private use area, in place of the blanks of a command."""


def visible(text: str) -> str:
    """Escape control characters as in JSON (``\\u001b``), except tabs and line feeds."""
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def unstyled(text: str) -> str:
    """Drop colours and weights, which some libraries (Numba) write into their error messages."""
    return _STYLE.sub("", text)


def wrap(text: str, width: int, *, first: str = "", later: str = "") -> list[str]:
    """Return lines of a text; hyphens, long words and commands (in backticks) are not broken.

    Args:
        text: any text.
        width: most columns of a line, unless a word or a command is longer.
        first: put before the first line.
        later: put before the others.
    """
    whole = _COMMAND.sub(lambda match: match[0].replace(" ", _NO_BREAK), text)
    lines = textwrap.wrap(
        whole,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]


class VisibleStream:
    """An output stream that escapes control characters.

    Progress bars and tables of ``rich`` bypass it; see ``harness.screen``.

    Args:
        stream: the underlying stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write a text and return its length."""
        self.rich_proxied_file.write(visible(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write several texts."""
        self.rich_proxied_file.writelines(map(visible, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def unfiltered(stream: TextIO) -> TextIO:
    """Return the underlying stream, for the harness's own control codes."""
    return stream.rich_proxied_file if isinstance(stream, VisibleStream) else stream


def _filtered(stream: TextIO) -> TextIO:
    # Python sets sys.stdout to None if the descriptor was closed at the start.
    return stream and cast("TextIO", VisibleStream(stream))


@contextlib.contextmanager
def visible_output() -> Iterator[None]:
    """Escape control characters in all output of a ``with`` block."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_filtered, streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
