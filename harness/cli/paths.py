"""Where results are kept by default."""

from __future__ import annotations

from pathlib import Path

from harness.environment import results_folder

__all__ = ["home"]


def home(given: Path | None = None) -> Path:
    """Return the results folder: ``--home``, else ``$HARNESS_HOME``, else ``results``."""
    return results_folder(given)
