"""Folders that environment variables name; ``~`` is the user's home folder in all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from harness.errors import ConfigError

__all__ = ["Folders", "cache_folder", "expanded", "folder_paths", "results_folder"]

Folders = Path | str | Iterable[Path | str]
"""One folder or several."""


def results_folder(given: Path | str | None = None) -> Path:
    """Return the folder of the database and the run folders.

    Args:
        given: the folder, value of ``--home``; ``$HARNESS_HOME``, else ``results``, when None.

    Raises:
        ConfigError: it names the home folder of a user that there is not, or its path is not
            UTF-8, the only encoding that records and databases hold.
    """
    if given is not None:
        folder = expanded(given, "--home")
    else:
        folder = expanded(os.environ.get("HARNESS_HOME") or "results", "HARNESS_HOME")
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"results folder {folder}: its path is not UTF-8; rename it, or choose another one "
            "with --home or HARNESS_HOME"
        ) from None
    return folder


def cache_folder() -> Path:
    """Return ``$HARNESS_CACHE``, else the user's cache folder of "harness".

    Raises:
        ConfigError: it names the home folder of a user that there is not.
    """
    folder = os.environ.get("HARNESS_CACHE")
    if folder:
        return expanded(folder, "HARNESS_CACHE")
    import platformdirs

    return platformdirs.user_cache_path("harness")


def folder_paths(folders: Folders) -> tuple[Path, ...]:
    """Return one folder or several as paths."""
    several = (folders,) if isinstance(folders, Path | str) else folders
    return tuple(Path(folder) for folder in several)


def expanded(path: Path | str, name: str) -> Path:
    """Return a path with ``~`` and ``~user`` expanded, which a shell leaves where it is quoted.

    Args:
        path: as the user wrote it.
        name: option or variable, for the message.

    Raises:
        ConfigError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{name} {path}: no such user; write the whole path") from None
