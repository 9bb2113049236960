"""Where results are kept by default."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["home"]


def home(given: Path | None = None) -> Path:
    """Return the results folder: ``--home``, else ``$HARNESS_HOME``, else ``results``."""
    return given or Path(os.environ.get("HARNESS_HOME") or "results")
