"""Paired comparisons of rows, and the files that keep those of each table.

``<home>/comparisons/`` saves the seconds that a table's tests take. It may be deleted at any time:
whatever is missing, outdated or damaged there is computed again from the ranks.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from harness.errors import HarnessError
from harness.store.files import write_whole

__all__ = ["FOLDER", "Comparison", "ComparisonCache"]

FOLDER = "comparisons"
"""Folder in the results folder."""


@dataclass(frozen=True)
class Comparison:
    """A paired test of two rows of a table; see ``docs/statistics.md``.

    Attributes:
        first, second: ids of the rows' runs, seed by seed; run i of one is compared with run i of
            the other.
        metric, bucket: metric and subset of the test split.
        triples: number of test triples compared.
        difference: first minus second, in the metric's own unit.
        low, high: its 95 % interval.
        p: two-sided p-value.
        adjusted: p after Holm's correction over the table.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    metric: str
    bucket: str
    triples: int
    difference: float
    low: float
    high: float
    p: float
    adjusted: float


@dataclass(frozen=True)
class _Content:
    """Content of a file: a table's comparisons by position, and the digest of their family."""

    family: str
    comparisons: dict[int, Comparison]


_FILE = TypeAdapter(_Content)


class ComparisonCache:
    """Comparisons of tables in files, one per table.

    Args:
        folder: folder of the files; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, table: str, family: str) -> dict[int, Comparison]:
        """Return the comparisons of a table by position; {} when there are none of this family.

        Args:
            table: name of the table, with the selection of its runs.
            family: digest of everything that was compared.
        """
        try:
            content = _FILE.validate_json(self._path(table).read_bytes())
        except (OSError, ValueError):
            return {}
        return content.comparisons if content.family == family else {}

    def write(self, table: str, family: str, comparisons: Mapping[int, Comparison]) -> None:
        """Replace the comparisons of a table; does nothing where the folder cannot be written."""
        content = _FILE.dump_json(_Content(family, dict(comparisons)))
        with contextlib.suppress(HarnessError):
            write_whole(self._path(table), content)

    def _path(self, table: str) -> Path:
        # A name holds the selection of runs: it may be longer than the name of a file.
        return self.folder / f"{hashlib.sha256(table.encode()).hexdigest()[:16]}.json"
