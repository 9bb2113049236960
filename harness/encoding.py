"""Decoding of text files: UTF-8 with or without a byte order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

from harness.errors import HarnessError

__all__ = ["decoded", "without_mark"]


def without_mark(content: bytes) -> bytes:
    """Drop the byte order mark that Excel and Windows editors write."""
    return content.removeprefix(codecs.BOM_UTF8)


def decoded(content: bytes, path: Path, error: type[HarnessError]) -> str:
    """Decode the content of a text file without its byte order mark.

    Args:
        content: bytes of the file.
        path: file, for the message.
        error: type of the exception.

    Raises:
        HarnessError: of type ``error``: the content is not UTF-8; names the line.
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
