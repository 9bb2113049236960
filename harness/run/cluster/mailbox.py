"""Messages of a relay in a file of the run folder, read by the command that watches the run.

A new attempt replaces the file; its reader starts again when the first line is another one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["MAILBOX", "MailboxReader", "MailboxWriter"]

MAILBOX = "relay.jsonl"
Message = dict[str, Any]


class MailboxWriter:
    """Writes the messages of one attempt.

    Args:
        folder: run folder.
        first: first message.
    """

    def __init__(self, folder: Path, first: Message) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{MAILBOX}.{os.getpid()}"
        temporary.write_text(json.dumps(first) + "\n")
        os.replace(temporary, folder / MAILBOX)
        self._file = (folder / MAILBOX).open("a", buffering=1)

    def write(self, message: Message) -> None:
        """Append a message."""
        self._file.write(json.dumps(message) + "\n")

    def close(self) -> None:
        """Write the messages through to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class MailboxReader:
    """Reads the messages of the newest attempt.

    Args:
        folder: run folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MAILBOX
        self._first, self._offset = b"", 0

    def read(self) -> list[Message]:
        """Return the messages that were written since the last call."""
        try:
            # Opened anew each time: that is when NFS asks the server for the present content.
            with self.path.open("rb") as file:
                # Not the inode: the file of the attempt after the next may have it again.
                shorter = os.fstat(file.fileno()).st_size < self._offset
                if (first := file.readline()) != self._first or shorter:
                    self._first, self._offset = first, 0
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        messages = []
        for line in content.splitlines(keepends=True):
            try:
                messages.append(json.loads(line[: line.index(b"\n")]))
            except ValueError:  # not whole yet; NFS shows zeros where a write has not arrived
                break
            self._offset += len(line)
        return messages
