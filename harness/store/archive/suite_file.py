"""``<suite>.jsonl.gz``: the cells, runs and measurements of a suite, a JSON object per line.

The first line is the header; then come title and settings by variant, the cells in table order, the
runs sorted by id, and the measurements. The file is gzip without a date, so equal content makes
equal bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import Field, ValidationError

from harness.config.base import Config
from harness.config.storable import Name, Text
from harness.errors import DataError, MachineError, StoreError
from harness.evaluation import shadow
from harness.store.archive.content import ArchivedCell, ArchivedRun, Content
from harness.store.archive.rank_archive import RankArchive, kept_parts, part_names
from harness.store.archive.rank_files import RankFiles
from harness.store.benchmarks import BENCHMARK_VERSION, BenchmarkRecord
from harness.store.files import RANKS, validated
from harness.store.records import Cell, RunRecord, StoredSuite
from harness.store.rows import first_problem

__all__ = [
    "SUFFIX",
    "StoredRun",
    "SuiteFile",
    "compressed",
    "file_name",
    "read_suite_file",
]

SUFFIX = ".jsonl.gz"
NO_SUITE = "_runs"
"""File of runs that belong to no suite; no suite has such a name."""
VERSION = 1
"""Version of the layout of the file."""
MOST_RANK_FILES = 10_000
"""Bound of files that hold the ranks: their names are listed before any is opened."""
Line = TypeVar("Line", bound=Config)


class _Header(Config):
    """First line of a file."""

    content: Literal["mmkgc-harness records"] = "mmkgc-harness records"
    version: int = VERSION
    suite: Name
    """Name of the suite; "" in the file of runs that belong to none."""
    suites: int = 0
    """Number of lines with a title and settings; not written when there are none."""
    cells: int
    """Number of lines that are cells."""
    runs: int
    """Number of lines that are runs."""
    benchmarks: int
    """Number of lines that are measurements."""
    rank_files: Annotated[int, Field(ge=0, le=MOST_RANK_FILES)]
    """Number of files that hold the ranks."""


class StoredRun(Config):
    """A line with a run."""

    record: RunRecord
    """The record, without cells."""
    ranks: dict[Text, Text] = Field(default_factory=dict)
    """Array of the rank file -> member of the archive; {} without ranks."""
    sealed: dict[Text, dict[Text, Text]] = Field(default_factory=dict)
    """File of the test ranks after an epoch ("3.raw.npz") -> the same."""

    def digests(self) -> Iterator[str]:
        """Yield the members of the archive that belong to the run."""
        for members in (self.ranks, *self.sealed.values()):
            yield from members.values()


@dataclass
class SuiteFile:
    """Content of a file.

    Attributes:
        suite: name of the suite, "" for runs that belong to none.
        cells: cells of the suite.
        runs: runs by id.
        benchmarks: measurements by id.
        suites: title and settings of the suite by variant.
        archive: the arrays that the runs' ranks refer to.
        cell_sources: file and line of each cell when the file was read.
        text: decompressed content of the file when it was read, "" for a new one.
    """

    suite: str
    cells: Sequence[Cell] = ()
    runs: dict[str, StoredRun] = field(default_factory=dict)
    benchmarks: dict[str, BenchmarkRecord] = field(default_factory=dict)
    suites: dict[str, StoredSuite] = field(default_factory=dict)
    archive: RankArchive = field(default_factory=RankArchive)
    cell_sources: Sequence[str] = ()
    text: str = ""

    def content(self, path: Path) -> Content:
        """Return the content to import, given the file that it was read from."""
        runs = [ArchivedRun(path, run.record, self._files(run)) for run in self.runs.values()]
        cells = [ArchivedCell(*c) for c in zip(self.cell_sources, self.cells, strict=True)]
        benchmarks, suites = list(self.benchmarks.values()), list(self.suites.values())
        return Content(runs, cells, benchmarks, suites)

    def _files(self, run: StoredRun) -> RankFiles:
        members = {RANKS: run.ranks} if run.ranks else {}
        members |= {f"{shadow.FOLDER}/{name}": run.sealed[name] for name in sorted(run.sealed)}
        return {name: self.archive.file(arrays) for name, arrays in members.items()}

    def digests(self) -> list[str]:
        """Return the members of the archive that are used, each once, run by run."""
        runs = (self.runs[run_id] for run_id in sorted(self.runs))
        return list(dict.fromkeys(digest for run in runs for digest in run.digests()))

    def lines(self, rank_files: int) -> str:
        """Return the decompressed content, given how many files hold the ranks."""
        header = _Header(
            suite=self.suite,
            suites=len(self.suites),
            cells=len(self.cells),
            runs=len(self.runs),
            benchmarks=len(self.benchmarks),
            rank_files=rank_files,
        )
        cells = sorted(self.cells, key=lambda cell: cell.order)
        benchmarks = sorted(self.benchmarks.values(), key=_when)
        lines = [
            header.model_dump(mode="json", exclude=None if self.suites else {"suites"}),
            *({"suite": self.suites[v].model_dump(mode="json")} for v in sorted(self.suites)),
            *({"cell": cell.model_dump(mode="json")} for cell in cells),
            *({"run": _dumped(self.runs[run_id])} for run_id in sorted(self.runs)),
            *({"benchmark": benchmark.model_dump(mode="json")} for benchmark in benchmarks),
        ]
        return "".join(map(_encoded, lines))


def _dumped(run: StoredRun) -> dict[str, Any]:
    line = run.model_dump(mode="json", exclude={"record": {"cells"}})
    # The one mapping whose order a database does not keep.
    line["record"]["diagnostics"] = dict(sorted(line["record"]["diagnostics"].items()))
    return {key: value for key, value in line.items() if value}


def _when(record: BenchmarkRecord) -> tuple[str, str]:
    """Return the key that sorts measurements: oldest first, reports show the last."""
    return str(record.provenance.get("finished", "")), record.benchmark_id


def _encoded(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"


def file_name(suite: str) -> str:
    """Return the name of a suite's files without their endings."""
    return quote(suite, safe="") if suite else NO_SUITE


def compressed(text: str) -> bytes:
    """Return the content of a file."""
    buffer = io.BytesIO()
    # No name and no date: equal content makes equal bytes.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(text.encode())
    return buffer.getvalue()


def read_suite_file(path: Path) -> SuiteFile:
    """Read a file and the directories of its archive; the arrays are read when they are needed.

    Raises:
        StoreError: the file is cut off, damaged or of another version, a value is not valid, or a
            file of ranks is missing or cut off; the message names file and line.
        MachineError: the file cannot be read.
    """
    text = _decompressed(path)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line]
    if not lines:
        raise StoreError(f"{path}: not a file of records: it is empty")
    header = validated(_decoded(path, *lines[0]), _Header, f"{path}:1", VERSION)
    cells: list[ArchivedCell] = []
    content = SuiteFile(header.suite, text=text)
    for number, line in lines[1:]:
        _add(content, cells, _decoded(path, number, line), f"{path}:{number}")
    content.cells = tuple(archived.cell for archived in cells)
    content.cell_sources = tuple(archived.source for archived in cells)
    counts = {
        "suites": (header.suites, len(content.suites)),
        "cells": (header.cells, len(cells)),
        "runs": (header.runs, len(content.runs)),
        "benchmarks": (header.benchmarks, len(content.benchmarks)),
    }
    for kind, (expected, count) in counts.items():
        if expected != count:
            raise StoreError(f"{path}: holds {count} {kind}, its first line says {expected}")
    name = path.name.removesuffix(SUFFIX)
    parts = [path.with_name(part) for part in part_names(name, header.rank_files)]
    try:
        content.archive = RankArchive.open([*kept_parts(path.parent, name), *parts])
    except DataError as error:
        raise StoreError(f"{path}: {error}") from None
    return content


def _add(content: SuiteFile, cells: list[ArchivedCell], line: dict[str, Any], source: str) -> None:
    """Add the content of a line."""
    match line:
        case {"suite": values, **rest} if not rest:
            suite = _checked(values, StoredSuite, source)
            if suite.suite != content.suite:
                raise StoreError(f"{source}: title of suite '{suite.suite}' in '{content.suite}'")
            content.suites[suite.variant] = suite
        case {"cell": values, **rest} if not rest:
            cell = _checked(values, Cell, source)
            if cell.suite != content.suite:
                raise StoreError(f"{source}: cell of suite '{cell.suite}' in '{content.suite}'")
            cells.append(ArchivedCell(source, cell))
        case {"run": values, **rest} if not rest:
            # The version first: in a record of another one the values mean something else.
            values = values if isinstance(values, dict) else {}
            record = validated(values.get("record"), RunRecord, source)
            run = _checked({**values, "record": record}, StoredRun, source)
            run_id = run.record.run_id
            if run_id in content.runs:
                raise StoreError(f"{source}: run {run_id} is there twice")
            if strange := [name for name in run.sealed if shadow.parse_name(name) is None]:
                raise StoreError(f"{source}: run {run_id}: sealed: no such file '{strange[0]}'")
            content.runs[run_id] = run
        case {"benchmark": values, **rest} if not rest:
            benchmark = validated(values, BenchmarkRecord, source, BENCHMARK_VERSION)
            content.benchmarks[benchmark.benchmark_id] = benchmark
        case _:
            raise StoreError(f"{source}: not a record: needs one of suite, cell, run, benchmark")


def _checked(values: object, kind: type[Line], source: str) -> Line:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise StoreError(f"{source}: {first_problem(error)}") from None


def _decoded(path: Path, number: int, line: str) -> Any:
    try:
        decoded = json.loads(line)
    except json.JSONDecodeError as error:
        raise StoreError(f"{path}:{number}: not a record: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # ValueError: thousands of digits
        raise StoreError(f"{path}:{number}: not a record: {error}") from None
    if not isinstance(decoded, dict):
        raise StoreError(f"{path}:{number}: not a record: {line[:40]}")
    return decoded


def _decompressed(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MachineError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return gzip.decompress(content).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: not a complete file of records ({error})") from None
