"""Records out of another store, into a store."""

from __future__ import annotations

from harness import audit
from harness.errors import StoreError
from harness.store.base import ResultStore
from harness.store.ingest import Taken, take

__all__ = ["merge"]


def merge(store: ResultStore, other: ResultStore) -> Taken:
    """Add the records and cells of another store in one transaction.

    Args:
        store: gets them; its own results stay as they are.
        other: the other store; its ranks are neither taken nor looked at.

    Raises:
        StoreError: a record or a cell cannot be read or cannot be true (``harness.audit``); each
            is named, nothing is added.
    """
    records = other.find(ids=set(other.ids()) - store.finished_ids())
    problems = [problem for record in records for problem in audit.problems(record)]
    if problems := [*other.damaged(), *problems]:
        raise StoreError("nothing was merged:\n" + "\n".join(problems))
    benchmarks = other.benchmarks()
    with store.transaction():
        taken = take(store, records, benchmarks)
        refused = store.add_cells(other.cells())
    kept = len(other.ids()) + len(benchmarks) - len(taken.added)
    return Taken(taken.added, kept, refused)
