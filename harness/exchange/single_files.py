"""The layout of earlier versions, which is still read: ``<run_id>.json`` for each run.

Beside it lie ``<run_id>.npz``, its ranks, and ``<run_id>.shadow/``, its sealed test ranks; in the
folder ``not_run.json``, the cells without a run, and ``benchmarks/<benchmark_id>.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.config.base import Config
from harness.errors import StoreError
from harness.evaluation import shadow
from harness.store.benchmarks import BenchmarkRecord
from harness.store.files import read, read_benchmark, read_record
from harness.store.records import RECORD_VERSION, Cell, RunRecord

__all__ = ["NOT_RUN", "SingleFiles", "SingleRun", "files_of", "read_single_files"]

NOT_RUN = "not_run.json"
BENCHMARKS = "benchmarks"


class _NotRun(Config):
    """Content of ``not_run.json``."""

    version: int = RECORD_VERSION
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class SingleRun:
    """A run in files of its own.

    Attributes:
        path: file of the record.
        record: its content, with cells.
    """

    path: Path
    record: RunRecord

    @property
    def ranks(self) -> Path:
        """File of the ranks, which need not exist."""
        return self.path.with_name(f"{self.record.run_id}.npz")

    @property
    def sealed(self) -> Path:
        """Folder of the sealed ranks, which need not exist."""
        return self.path.with_name(f"{self.record.run_id}.{shadow.FOLDER}")


@dataclass(frozen=True)
class SingleFiles:
    """Content of a folder.

    Attributes:
        runs: runs that can be read.
        not_run: cells without a run.
        benchmarks: measurements.
        problems: one line for each file that cannot be read.
    """

    runs: list[SingleRun]
    not_run: tuple[Cell, ...]
    benchmarks: list[BenchmarkRecord]
    problems: list[str]


def files_of(folder: Path) -> list[Path]:
    """Return the files of records in a folder, measurements last."""
    records = sorted(path for path in folder.glob("*.json") if path.name != NOT_RUN)
    return [*records, *sorted((folder / BENCHMARKS).glob("*.json"))]


def read_single_files(paths: list[Path], not_run: Path | None) -> SingleFiles:
    """Read files of records and measurements, and the cells without a run.

    Raises:
        StoreError: the file of the cells cannot be read.
    """
    cells = read(not_run, _NotRun).cells if not_run is not None and not_run.exists() else ()
    content = SingleFiles([], cells, [], [])
    for path in paths:
        try:
            if path.parent.name == BENCHMARKS:
                content.benchmarks.append(read_benchmark(path))
            else:
                content.runs.append(SingleRun(path, read_record(path)))
        except StoreError as error:
            content.problems.append(str(error))
    return content
