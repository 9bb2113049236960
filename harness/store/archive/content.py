"""Content of exported files, whichever layout they have."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.store.archive.rank_files import RankFiles
from harness.store.benchmarks import BenchmarkRecord
from harness.store.records import Cell, RunRecord, StoredSuite

__all__ = ["ArchivedCell", "ArchivedRun", "Content"]


@dataclass(frozen=True)
class ArchivedRun:
    """An exported run.

    Attributes:
        source: file that holds the record, for messages.
        record: the record.
        files: its files of ranks.
    """

    source: Path
    record: RunRecord
    files: RankFiles


@dataclass(frozen=True)
class ArchivedCell:
    """An exported cell of a suite.

    Attributes:
        source: file that holds the cell, with its line, for messages.
        cell: the cell.
    """

    source: str
    cell: Cell


@dataclass
class Content:
    """Content of one file, or of a folder of single files, which is imported as a whole.

    Attributes:
        runs: exported runs.
        cells: cells of suites.
        benchmarks: measurements.
        suites: titles and settings of suites.
    """

    runs: list[ArchivedRun] = field(default_factory=list)
    cells: list[ArchivedCell] = field(default_factory=list)
    benchmarks: list[BenchmarkRecord] = field(default_factory=list)
    suites: list[StoredSuite] = field(default_factory=list)
