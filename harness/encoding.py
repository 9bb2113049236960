"""Text files as people save them: UTF-8, with or without a byte order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

from harness.errors import HarnessError

__all__ = ["decoded", "without_mark"]


def without_mark(content: bytes) -> bytes:
    """Drop the byte order mark of Excel and Windows editors: else part of the first name."""
    return content.removeprefix(codecs.BOM_UTF8)


def decoded(content: bytes, path: Path, error: type[HarnessError]) -> str:
    """Decode the content of a text file; a byte order mark is dropped.

    Args:
        content: bytes of the file.
        path: the file, for messages.
        error: type of the exception.

    Raises:
        HarnessError: the content is not UTF-8; of type ``error``, with the line.
    """
    content = without_mark(content)
    try:
        return content.decode()
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        byte = content[problem.start]
        raise error(
            f"{path}:{line}: not UTF-8 (byte 0x{byte:02x}); convert the file to UTF-8"
        ) from None
