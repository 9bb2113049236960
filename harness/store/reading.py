"""Reading the tables: one reader and one set of rules for what is damaged.

A row that cannot be read is left out and described: key, problem, and the command that helps.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, ScalarSelect, func, select, tuple_
from sqlalchemy.orm import aliased

from harness.config.base import SUITE_NAME
from harness.errors import StoreError
from harness.plan.suite import suite_argument
from harness.store.benchmarks import BenchmarkRecord
from harness.store.records import Cell, Numbers, RunRecord, StoredSuite
from harness.store.rows import COLUMNS, OWN, benchmark_of, first_problem, record_of
from harness.store.tables import (
    Benchmark,
    BenchmarkSampleRow,
    CellRow,
    Diagnostic,
    Epoch,
    MetricRow,
    Note,
    RunRow,
    StoredSuiteRow,
    Timing,
)

__all__ = [
    "PARTS",
    "REPAIR",
    "LoadedRuns",
    "is_name",
    "load_benchmarks",
    "load_cells",
    "load_runs",
    "load_suites",
    "names_suite",
]

REPAIR = "remove it with: harness db check --repair"
"""Advice against rows that belong to no run that could be removed."""
PARTS = (MetricRow, Epoch, Timing, Diagnostic, Note)
"""Tables that hold the parts of a run."""


class LoadedRuns(NamedTuple):
    """Records with the numbers of their runs, and what is wrong with those that cannot be read."""

    records: list[tuple[int, RunRecord]]
    problems: dict[str, str]


def load_runs(
    connection: Connection,
    conditions: Sequence[ColumnElement[bool]],
    numbers: Numbers | None = None,
) -> LoadedRuns:
    """Return matching runs in order: one statement per table."""
    fields = [n for n in OWN if n != "provenance" or numbers is None or numbers.provenance]
    columns = [RunRow.__table__.columns[name] for name in ("number", *fields)]
    statement = select(*columns).where(*conditions).order_by(RunRow.number)
    runs = [dict(row) for row in connection.execute(statement).mappings()]
    loaded = LoadedRuns([], {})
    if not runs:
        return loaded
    matching = select(RunRow.run_id).where(*conditions)
    rows: dict[str, dict[str, list[Sequence[Any]]]] = defaultdict(lambda: defaultdict(list))
    for table, selecting in _tables_of(numbers).items():
        columns = [getattr(table, name) for name in COLUMNS[table.__tablename__]]
        statement = select(table.run_id, *columns).where(table.run_id.in_(matching), *selecting)
        if hasattr(table, "position"):
            statement = statement.order_by(table.position)
        for run_id, *values in connection.execute(statement):
            rows[run_id][table.__tablename__].append(values)
    for run in runs:
        try:
            loaded.records.append((run["number"], record_of(run, rows[run["run_id"]])))
        except ValueError as error:
            loaded.problems[run["run_id"]] = str(error)
    return loaded


def _tables_of(numbers: Numbers | None) -> Mapping[Any, Sequence[ColumnElement[bool]]]:
    """Return the tables that hold selected numbers of runs, with the conditions that select them.

    A table without a selected number is not read: a run has thousands of epochs and timings.
    """
    if numbers is None:
        return dict.fromkeys(PARTS, ())
    tables: dict[Any, Sequence[ColumnElement[bool]]] = {Note: ()}
    if numbers.metrics:
        keys = tuple_(MetricRow.metric, MetricRow.bucket, MetricRow.split)
        tables[MetricRow] = (MetricRow.side == "both", keys.in_(sorted(numbers.metrics)))
    if numbers.diagnostics:
        tables[Diagnostic] = (Diagnostic.name.in_(numbers.diagnostics),)
    if numbers.timings:
        tables[Timing] = (Timing.name.in_(numbers.timings),)
    if numbers.epochs != "none":
        tables[Epoch] = () if numbers.epochs == "all" else (Epoch.position == _last_position(),)
    return tables


def _last_position() -> ScalarSelect[int]:
    """Return a subquery: the position of the last epoch of the run of a row of ``history``."""
    epochs = aliased(Epoch)
    last = select(func.max(epochs.position)).where(epochs.run_id == Epoch.run_id)
    return last.correlate(Epoch).scalar_subquery()


def load_cells(
    connection: Connection, *conditions: ColumnElement[bool]
) -> tuple[list[Cell], list[str]]:
    """Return matching cells, and what is wrong with those that cannot be read."""
    cells, problems = [], []
    for row in connection.execute(select(CellRow.__table__).where(*conditions)).mappings():
        try:
            cells.append(Cell(**row))
        except ValidationError as error:
            anew = ""
            if names_suite((row["suite"], row["variant"])):
                options = " --set ..." * bool(row["variant"])
                argument = suite_argument(row["suite"])
                anew = f"plan it anew with: harness run {argument}{options}, or "
            problems.append(
                f"suite {row['suite']}, row {row['label']} on {row['dataset']}: the stored place "
                f"is damaged: {first_problem(error)}; {anew}{REPAIR}"
            )
    return cells, problems


def load_suites(
    connection: Connection, *conditions: ColumnElement[bool]
) -> tuple[list[StoredSuite], list[str]]:
    """Return title and settings of matching suites, and the problems of unreadable rows."""
    suites, problems = [], []
    for row in connection.execute(select(StoredSuiteRow.__table__).where(*conditions)).mappings():
        try:
            suites.append(StoredSuite(**row))
        except ValidationError as error:
            variant = f", variant {row['variant']}" if row["variant"] else ""
            problems.append(
                f"suite {row['suite']}{variant}: stored title or settings are damaged: "
                f"{first_problem(error)}; {REPAIR}"
            )
    return suites, problems


def load_benchmarks(
    connection: Connection, *conditions: ColumnElement[bool]
) -> tuple[dict[int, BenchmarkRecord], dict[int, str]]:
    """Return matching measurements by number, oldest first, and what is wrong with the others."""
    statement = select(Benchmark.__table__).where(*conditions).order_by(Benchmark.number)
    rows = [dict(row) for row in connection.execute(statement).mappings()]
    samples: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    if rows:
        owner = BenchmarkSampleRow.benchmark_id
        ids = select(Benchmark.benchmark_id).where(*conditions)
        of_benchmarks = select(BenchmarkSampleRow.__table__).where(owner.in_(ids))
        in_order = of_benchmarks.order_by(owner, BenchmarkSampleRow.position)
        for sample in connection.execute(in_order).mappings():
            samples[sample["benchmark_id"]].append(dict(sample))
    records, problems = {}, {}
    for row in rows:
        try:
            records[row["number"]] = benchmark_of(row, samples[row["benchmark_id"]])
        except StoreError as error:
            problems[row["number"]] = f"{error}; {REPAIR}"
    return records, problems


def names_suite(block: Sequence[object]) -> bool:
    """Tell whether a suite and a variant can be those of cells."""
    suite, variant = block[:2]
    return is_name(suite, SUITE_NAME) and (variant == "" or is_name(variant, SUITE_NAME))


def is_name(stored: object, pattern: str) -> bool:
    """Tell whether a stored value is text of a pattern."""
    return isinstance(stored, str) and re.fullmatch(pattern, stored) is not None
