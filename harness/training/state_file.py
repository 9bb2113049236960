"""The file that makes a folder a checkpoint; without torch, for reports."""

from __future__ import annotations

from pathlib import Path

__all__ = ["STATE", "has_state"]

STATE = "state.json"


def has_state(folder: Path) -> bool:
    """Tell whether a training in a run folder can be resumed."""
    return (folder / STATE).is_file()
