"""A result store in dictionaries, for tests and for looking at records without a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from harness.store.base import check_plan, supersedes, takes_place
from harness.store.benchmarks import BenchmarkRecord
from harness.store.records import Cell, Numbers, RunRecord, Status, StoredSuite

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps the contract of :class:`harness.store.base.ResultStore`; forgets at exit."""

    def __init__(self) -> None:
        self._records: dict[str, RunRecord] = {}
        self._cells: dict[tuple[object, ...], Cell] = {}
        self._suites: dict[tuple[str, str], StoredSuite] = {}
        self._benchmarks: dict[str, BenchmarkRecord] = {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything that is written in a ``with`` block one change."""
        before = {n: dict(value) for n, value in vars(self).items() if isinstance(value, dict)}
        try:
            yield
        except BaseException:
            vars(self).update(before)
            raise

    def add(self, record: RunRecord) -> None:
        """Keep a record."""
        record = record.model_copy(update={"cells": ()})
        stored = self._records.get(record.run_id)
        if stored == record or (stored is not None and not supersedes(record, stored)):
            return
        self._records.pop(record.run_id, None)
        self._records[record.run_id] = record

    def get(self, run_id: str) -> RunRecord | None:
        """Return one record, by its full id or by a prefix that only one run has."""
        if run_id in self._records:
            return self._records[run_id]
        matching = self.ids(run_id) if run_id else ()
        return self._records[matching[0]] if len(matching) == 1 else None

    def find(
        self,
        *,
        model: str | None = None,
        dataset: str | None = None,
        status: str | None = None,
        ids: Iterable[str] | None = None,
        numbers: Numbers | None = None,
    ) -> Sequence[RunRecord]:
        """Return matching records, oldest first."""
        run_ids = None if ids is None else frozenset(ids)
        return [
            record if numbers is None else record.only(numbers)
            for record in self._records.values()
            if model in (None, record.model)
            and dataset in (None, record.dataset)
            and status in (None, record.status)
            and (run_ids is None or record.run_id in run_ids)
        ]

    def ids(self, prefix: str = "") -> Sequence[str]:
        """Return the ids that begin with ``prefix``, oldest first."""
        return [run_id for run_id in self._records if run_id.startswith(prefix)]

    def statuses(self) -> Mapping[str, Status]:
        """Return the status of every run by its id, oldest first."""
        return {run_id: record.status for run_id, record in self._records.items()}

    def remove(self, run_id: str) -> bool:
        """Forget a record; True when there was one."""
        return self._records.pop(run_id, None) is not None

    def plan(self, suite: str, variant: str, cells: Sequence[Cell]) -> None:
        """Replace the cells of a suite."""
        check_plan(suite, variant, cells)
        remaining = {k: c for k, c in self._cells.items() if k[:2] != (suite, variant)}
        self._cells = remaining | {cell.place: cell for cell in cells}

    def add_cells(self, cells: Iterable[Cell]) -> Sequence[Cell]:
        """Put each cell where no run stands; return the runs that found another one there."""
        refused = []
        for cell in cells:
            if takes_place(cell, self._cells.get(cell.place)):
                self._cells[cell.place] = cell
            elif cell.run_id not in ("", self._cells[cell.place].run_id):
                refused.append(cell)
        return refused

    def cells(self, suite: str | None = None, variant: str = "") -> Sequence[Cell]:
        """Return the cells of a suite in table order (of all suites and variants when None)."""
        cells = [
            cell
            for cell in self._cells.values()
            if suite is None or (cell.suite, cell.variant) == (suite, variant)
        ]
        return sorted(cells, key=lambda cell: cell.order)

    def add_suite(self, suite: StoredSuite) -> None:
        """Keep the title and the settings of a suite, in place of earlier ones."""
        self._suites[suite.suite, suite.variant] = suite

    def suites(self) -> Mapping[tuple[str, str], StoredSuite]:
        """Return title and settings of suites by name and variant."""
        return dict(self._suites)

    def blocks(self) -> Sequence[tuple[str, str, str]]:
        """Return the suite, variant and dataset of all cells, each once, sorted."""
        return sorted({(cell.suite, cell.variant, cell.dataset) for cell in self._cells.values()})

    def add_benchmark(self, record: BenchmarkRecord) -> None:
        """Keep a measurement."""
        self._benchmarks.setdefault(record.benchmark_id, record)

    def benchmarks(self, suite: str | None = None) -> Sequence[BenchmarkRecord]:
        """Return the measurements of a suite (of all when None), oldest first."""
        records = self._benchmarks.values()
        return [record for record in records if suite in (None, record.suite)]

    def damaged(self, suites: Iterable[str] | None = None) -> Sequence[str]:
        """Return nothing: all cells and measurements were checked as they were made."""
        return ()

    def close(self) -> None:
        """Do nothing."""
