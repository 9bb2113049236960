"""The layout of earlier versions, which is still read: ``<run_id>.json`` for each run.

Beside it lie ``<run_id>.npz``, its ranks, and ``<run_id>.shadow/``, its test ranks after each
epoch; in the folder ``not_run.json``, the cells without a run, and ``benchmarks/*.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.config.base import Config
from harness.errors import StoreError
from harness.evaluation import shadow
from harness.store.archive.content import ArchivedCell, ArchivedRun, Content
from harness.store.archive.rank_files import rank_files
from harness.store.files import read, read_benchmark, read_record
from harness.store.records import RECORD_VERSION, Cell

__all__ = ["NOT_RUN", "read_single_files", "single_files"]

NOT_RUN = "not_run.json"
BENCHMARKS = "benchmarks"


class _NotRun(Config):
    """Content of ``not_run.json``."""

    version: int = RECORD_VERSION
    cells: tuple[Cell, ...]


def single_files(folder: Path) -> list[Path]:
    """Return the files of records in a folder, measurements last."""
    records = sorted(path for path in folder.glob("*.json") if path.name != NOT_RUN)
    return [*records, *sorted((folder / BENCHMARKS).glob("*.json"))]


def read_single_files(paths: Sequence[Path], not_run: Path | None, problems: list[str]) -> Content:
    """Read files of records and measurements, and the cells without a run.

    Args:
        paths: files of records and measurements.
        not_run: file of the cells without a run, which need not exist.
        problems: gets a line for each file that cannot be read.

    Raises:
        StoreError: the file of the cells cannot be read.
    """
    content = Content()
    for path in paths:
        try:
            if path.parent.name == BENCHMARKS:
                content.benchmarks.append(read_benchmark(path))
                continue
            record = read_record(path)
        except StoreError as error:
            problems.append(str(error))
            continue
        epochs = path.with_name(f"{record.run_id}.{shadow.FOLDER}")
        files = rank_files(path.with_name(f"{record.run_id}.npz"), epochs)
        content.runs.append(ArchivedRun(path, record, files))
        content.cells += [ArchivedCell(str(path), cell) for cell in record.cells]
    if not_run is not None and not_run.exists():
        cells = read(not_run, _NotRun).cells
        content.cells += [ArchivedCell(str(not_run), cell) for cell in cells]
    return content
