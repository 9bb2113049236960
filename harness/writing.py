"""Atomic writing of files and folders.

Content is written to a temporary file beside the target, which then replaces the target in one
step, so that readers and crashes find either the old or the new content. A killed process leaves
its temporary file without a lock; the next writer recognises it as abandoned and removes it.
Permissions follow the user's umask.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["remove_abandoned", "replacing", "staging_folder", "synchronise", "use_umask"]

_PERMISSIONS = 0o666
"""Permissions of a new file, before the umask."""


@contextlib.contextmanager
def replacing(path: Path, *, prefix: str = "") -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` when the block ends without an error.

    An existing file keeps its permissions. Temporary files that killed processes left are removed.

    Args:
        path: file to write, in an existing folder.
        prefix: prefix of the temporary file's name, by default ``.NAME.``.

    Raises:
        OSError: the file cannot be written; the temporary file is removed.
    """
    prefix = prefix or f".{path.name}."
    remove_abandoned(path.parent, re.escape(prefix) + _ENDING)
    descriptor, temporary = _new_file(path.parent, prefix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if path.is_file():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside ``target``, and remove it afterwards.

    Temporary folders that killed processes left for the same target are removed first.

    Raises:
        OSError: the folder cannot be created.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}-"
    remove_abandoned(target.parent, re.escape(prefix) + r"\w+")
    descriptor, folder = _new_folder(target.parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_abandoned(folder: Path, names: str) -> None:
    """Remove temporary files and folders without the lock of a running process.

    Args:
        folder: folder of the temporary files.
        names: regular expression of whole names, which must not match a user's files.
    """
    with contextlib.suppress(OSError):  # a folder that cannot be listed
        for path in list(folder.iterdir()):
            if re.fullmatch(names, path.name) and not path.is_symlink():
                with contextlib.suppress(OSError):  # locked, or owned by another user
                    _remove_unlocked(path)


def synchronise(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def use_umask(path: Path) -> None:
    """Set the permissions of a file that a library created to those of a new file."""
    descriptor, probe = _new_file(path.parent, f".{path.name}.")
    try:
        path.chmod(stat.S_IMODE(os.fstat(descriptor).st_mode))
    finally:
        probe.unlink()
        os.close(descriptor)


_ENDING = r"[0-9a-f]{8}\.tmp"


def _ending() -> str:
    return f"{secrets.token_hex(4)}.tmp"


def _new_file(folder: Path, prefix: str) -> tuple[int, Path]:
    while True:
        path = folder / f"{prefix}{_ending()}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PERMISSIONS)
        if _locked(descriptor, path):
            return descriptor, path


def _new_folder(parent: Path, prefix: str) -> tuple[int, Path]:
    while True:
        path = parent / f"{prefix}{secrets.token_hex(4)}"
        path.mkdir()
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            if _locked(descriptor, path):
                return descriptor, path


def _locked(descriptor: int, path: Path) -> bool:
    """Lock a new file or folder; return False if another process removed it before that."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:  # a file system without locks, where ``_remove_unlocked`` fails too
        return True
    with contextlib.suppress(FileNotFoundError):
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return True
    os.close(descriptor)
    return False


def _remove_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
