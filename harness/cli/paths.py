"""Where results are kept by default."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import ConfigError

__all__ = ["home"]


def home(given: Path | None = None) -> Path:
    """Return the results folder: ``--home``, else ``$HARNESS_HOME``, else ``results``.

    Raises:
        ConfigError: its path is not UTF-8, which records and databases hold alone.
    """
    folder = given or Path(os.environ.get("HARNESS_HOME") or "results")
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"results folder {folder}: its path is not UTF-8; rename it, or choose another one "
            "with --home or HARNESS_HOME"
        ) from None
    return folder
