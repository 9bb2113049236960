"""Small tables of text, and settings as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.config.override import flatten

__all__ = ["FactTable", "Pairs", "flat", "pairs", "plain"]

Pairs = tuple[tuple[str, str], ...]
"""Names with values, as they are printed."""


@dataclass(frozen=True)
class FactTable:
    """A small table: a heading per column, rows of text."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values by dotted key."""
    return {".".join(leaf.path): leaf.value for leaf in flatten(values)}


def pairs(values: Mapping[str, Any]) -> Pairs:
    """Return nested values by dotted key, as they are printed."""
    return tuple((key, plain(value)) for key, value in flat(values).items())


def plain(value: Any) -> str:
    """Return a value of JSON as it is printed."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)
