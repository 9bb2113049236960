"""The narrow interface of a result store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from harness.store.records import Cell, RunRecord

__all__ = ["ResultStore"]


class ResultStore(Protocol):
    """Keeps run records and the plans they belong to.

    Contract, held by every implementation (``tests/contract/test_stores.py``):

    * Only the parent process of a suite writes; workers leave files that the parent adds.
    * ``add`` is atomic and idempotent: the same record twice is one run; an "ok" record replaces a
      failed one of the same id, a failed one never replaces an "ok" one.
    * What was added is returned equal (``get(r.run_id) == r`` but for ``cells``).
    * ``plan`` replaces the cells of one (suite, variant), leaving others alone.
    * Unknown ids: ``get`` returns None, ``remove`` returns False; neither raises.
    * StoreError is raised when the database is newer than the code, older (the message names
      ``harness db upgrade``), or not a harness database.
    """

    def add(self, record: RunRecord) -> None:
        """Keep a record."""
        ...

    def get(self, run_id: str) -> RunRecord | None:
        """Return one record, by its full id or by a prefix that only one run has."""
        ...

    def find(
        self,
        *,
        model: str | None = None,
        dataset: str | None = None,
        status: str | None = None,
        ids: Iterable[str] | None = None,
    ) -> Sequence[RunRecord]:
        """Return matching records, oldest first."""
        ...

    def finished_ids(self) -> frozenset[str]:
        """Return the ids of all "ok" records (fast: no record is built)."""
        ...

    def remove(self, run_id: str) -> bool:
        """Forget a record; True when there was one."""
        ...

    def plan(self, suite: str, variant: str, cells: Sequence[Cell]) -> None:
        """Replace the cells of a suite."""
        ...

    def cells(self, suite: str | None = None, variant: str = "") -> Sequence[Cell]:
        """Return the cells of a suite in table order (of all suites and variants when None)."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...
