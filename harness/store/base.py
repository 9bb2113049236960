"""The narrow interface of a result store."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from harness.errors import ConfigError, StoreError
from harness.store.benchmarks import BenchmarkRecord
from harness.store.records import Cell, Numbers, RunRecord, Status, StoredSuite

__all__ = [
    "MAX_LISTED",
    "STAGE",
    "DamagedRecords",
    "ResultStore",
    "check_plan",
    "readable_records",
    "resolve_id",
    "suite_of",
    "supersedes",
    "takes_place",
]

MAX_LISTED = 5
"""Maximum number of damaged rows that a message lists."""


class DamagedRecords(StoreError):  # noqa: N818 - holds the others too
    """Some of the records that were asked for cannot be read.

    Attributes:
        problems: run id -> what is wrong with its record and which command helps, in one line.
        readable: the others, oldest first.
    """

    def __init__(self, problems: Mapping[str, str], readable: Sequence[RunRecord] = ()) -> None:
        self.problems = {
            run_id: f"run {run_id}: the stored record is damaged: {problem}; "
            f"forget it with: harness runs rm {shlex.quote(run_id)}"
            for run_id, problem in problems.items()
        }
        self.readable = readable
        lines = list(self.problems.values())
        more = len(lines) - MAX_LISTED
        remainder = [f"{more} more: harness db check"] if more > 0 else []
        super().__init__("\n".join(lines[:MAX_LISTED] + remainder))


def resolve_id(store: ResultStore, text: str, further: Iterable[str] = ()) -> str:
    """Return the run id that a person means by ``text``: the id or the beginning of one.

    Args:
        store: holds runs.
        text: what the person wrote.
        further: ids of runs that the store need not hold.

    Raises:
        ConfigError: no run, or several, have such an id.
    """
    matches = (run_id for run_id in further if run_id.startswith(text))
    matching = list(dict.fromkeys((*store.ids(text), *matches))) if text else []
    if text in matching:
        return text
    if len(matching) > 1:
        listed = ", ".join(matching[:5]) + (", ..." if len(matching) > 5 else "")
        raise ConfigError(f"run '{text}': {len(matching)} run ids begin with it: {listed}")
    if not matching:
        raise ConfigError(f"no run '{text}'; list them with: harness runs list")
    return matching[0]


def readable_records(
    store: ResultStore, ids: Iterable[str], numbers: Numbers | None = None
) -> tuple[dict[str, RunRecord], Mapping[str, str]]:
    """Return the records that can be read, by run id, and the problems of the others.

    Args:
        store: any store.
        ids: full run ids; unknown ones are ignored.
        numbers: numbers that are read, all when None.
    """
    problems: Mapping[str, str] = {}
    try:
        records = store.find(ids=ids, numbers=numbers)
    except DamagedRecords as error:
        records, problems = error.readable, error.problems
    return {record.run_id: record for record in records}, problems


def suite_of(store: ResultStore, suite: str, variant: str = "") -> StoredSuite:
    """Return title and settings of a suite; without both where none are stored."""
    stored = store.suites().get((suite, variant))
    return stored or StoredSuite(suite=suite, variant=variant)


STAGE: Mapping[Status, int] = {"failed": 0, "pruned": 0, "validated": 1, "ok": 2}
"""How far a run has come."""


def supersedes(new: RunRecord, old: RunRecord) -> bool:
    """Return whether ``new`` takes the place of ``old``, a record of the same run."""
    return STAGE[new.status] >= STAGE[old.status]


def takes_place(new: Cell, old: Cell | None) -> bool:
    """Return whether ``new`` may stand where ``old`` stands: a run goes before a reason."""
    return old is None or (bool(new.run_id) and not old.run_id)


def check_plan(suite: str, variant: str, cells: Sequence[Cell]) -> None:
    """Refuse cells that do not form one table.

    Raises:
        ValueError: a cell is of another suite or variant, or two have the same place.
    """
    for cell in cells:
        if (cell.suite, cell.variant) != (suite, variant):
            raise ValueError(
                f"cell '{cell.label}' is of suite '{cell.suite}' ({cell.variant!r}), "
                f"not of '{suite}' ({variant!r})"
            )
    if len({cell.place for cell in cells}) != len(cells):
        raise ValueError(f"suite '{suite}': two cells have the same place")


class ResultStore(Protocol):
    """Keeps run records and the plans they belong to, and measurements of benchmarks.

    Contract, held by every implementation (``tests/contract/test_stores.py``):

    * Only the parent process of a suite writes; workers leave files that the parent adds.
    * ``add`` is atomic and idempotent: the same record twice is one run; a record replaces one of
      the same id that has come no further, so a failed or pruned one never replaces a validated
      or an "ok" one (``supersedes``). A record that replaces another counts as the newest.
    * What was added is returned equal (``get(r.run_id) == r`` but for ``cells``, which only
      ``plan`` and ``add_cells`` keep).
    * ``transaction`` undoes what was written in its block when the block raises.
    * ``plan`` replaces the cells of one (suite, variant), leaving others alone.
    * ``add_cells`` leaves every run in place and returns the cells whose place another run holds;
      a run takes the place of a reason for none (``takes_place``).
    * A record that cannot be read keeps no other from being read: ``find`` and ``get`` raise
      DamagedRecords, which holds the others. It counts for ``ids`` and can be removed; whatever is
      added under its id takes its place.
    * A cell or measurement that cannot be read keeps no other suite from being read: ``cells`` and
      ``benchmarks`` of its suite raise StoreError, those of all suites leave it out, ``damaged``
      names it.
    * ``add_benchmark`` is atomic; one that is stored already is unchanged.
    * Unknown ids: ``get`` returns None, ``remove`` returns False; neither raises.
    * StoreError is raised when the database is newer than the code, older (the message names
      ``harness db upgrade``), or not a harness database.
    """

    def transaction(self) -> AbstractContextManager[None]:
        """Make everything that is written in a ``with`` block one change: all of it or nothing."""
        ...

    def add(self, record: RunRecord) -> None:
        """Keep a record."""
        ...

    def get(self, run_id: str) -> RunRecord | None:
        """Return one record, by its full id or by a prefix that only one run has.

        Raises:
            DamagedRecords: it cannot be read.
        """
        ...

    def find(
        self,
        *,
        model: str | None = None,
        dataset: str | None = None,
        status: str | None = None,
        ids: Iterable[str] | None = None,
        numbers: Numbers | None = None,
    ) -> Sequence[RunRecord]:
        """Return matching records, oldest first.

        Args:
            model, dataset, status: values that a record must have; any when None.
            ids: full run ids; all when None.
            numbers: numbers that the records hold (``RunRecord.only``), all when None. Others are
                not read, so damage among them does not matter.

        Raises:
            DamagedRecords: some cannot be read.
        """
        ...

    def ids(self, prefix: str = "") -> Sequence[str]:
        """Return the ids that begin with ``prefix``, oldest first (no record is built)."""
        ...

    def statuses(self) -> Mapping[str, Status]:
        """Return the status of every run by its id, oldest first (fast: no record is built)."""
        ...

    def remove(self, run_id: str) -> bool:
        """Forget a record; True when there was one."""
        ...

    def plan(self, suite: str, variant: str, cells: Sequence[Cell]) -> None:
        """Replace the cells of a suite.

        Raises:
            ValueError: a cell is of another suite or variant, or two have the same place.
        """
        ...

    def add_cells(self, cells: Iterable[Cell]) -> Sequence[Cell]:
        """Put each cell where no run stands; return the runs that found another one there."""
        ...

    def cells(self, suite: str | None = None, variant: str = "") -> Sequence[Cell]:
        """Return the cells of a suite in table order (of all suites and variants when None)."""
        ...

    def add_suite(self, suite: StoredSuite) -> None:
        """Keep the title and the settings of a suite, in place of earlier ones."""
        ...

    def suites(self) -> Mapping[tuple[str, str], StoredSuite]:
        """Return title and settings of suites by name and variant; earlier schemas stored none.

        One that cannot be read is left out.
        """
        ...

    def blocks(self) -> Sequence[tuple[str, str, str]]:
        """Return the suite, variant and dataset of all cells, each once, sorted (fast)."""
        ...

    def add_benchmark(self, record: BenchmarkRecord) -> None:
        """Keep a measurement."""
        ...

    def benchmarks(self, suite: str | None = None) -> Sequence[BenchmarkRecord]:
        """Return the measurements of a suite (of all when None), oldest first."""
        ...

    def damaged(self, suites: Iterable[str] | None = None) -> Sequence[str]:
        """Return the rows on suites (on all when None) that cannot be read, without the runs.

        Returns:
            what is wrong with each and which command helps, one line each.
        """
        ...

    def close(self) -> None:
        """Release the database."""
        ...
