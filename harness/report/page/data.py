"""The audit of the data behind a page's tables: what ``harness data verify`` and ``harness data
audit`` find, dataset by dataset, and whether the files here are those that the runs saw.

A further kind of audit becomes a further field of ``DataAudit``; ``data.html.j2`` prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import HarnessError, MissingDataError
from harness.report.page.facts import FactTable

if TYPE_CHECKING:
    from harness.data.audit import AuditReport  # imports torch

__all__ = ["DataAudit", "audit"]


@dataclass(frozen=True)
class DataAudit:
    """Audit of one dataset.

    Attributes:
        name, title: of the dataset.
        reason: why nothing could be counted ("" when it was): not on this machine, damaged.
        digest_note: one sentence on the digests of the runs and of the files here.
        differs: True when the files here are not those that the runs saw.
        errors: what must not be: a file that is missing or was changed.
        headline: what train gives away of valid and test, in a sentence.
        notes: notes on the dataset's card.
        sizes, modalities: counts, published ones beside those of the files.
        counted: title, table and what stands below it, of the audit.
        files: path and state; () for datasets that ship with the package.
    """

    name: str
    title: str
    reason: str = ""
    digest_note: str = ""
    differs: bool = False
    errors: tuple[str, ...] = ()
    headline: str = ""
    notes: tuple[str, ...] = ()
    sizes: FactTable | None = None
    counted: tuple[tuple[str, FactTable, str], ...] = ()
    modalities: FactTable | None = None
    files: FactTable | None = None


def audit(name: str, title: str, run_digests: set[str]) -> DataAudit:
    """Audit a dataset.

    Args:
        name: as the records have it.
        title: as the tables have it.
        run_digests: digests of the graph that the runs on it saw.
    """
    from harness.data.audit import audit_source
    from harness.data.audit_text import headline
    from harness.data.load import source
    from harness.data.verify import verify

    try:
        report = verify(source(name))
        counted = audit_source(source(name)) if report.counts else None
    except MissingDataError as error:
        return DataAudit(name, title, reason=error.brief)
    except HarnessError as error:
        return DataAudit(name, title, reason=str(error))
    digest_note, differs = _digests(report.digest, run_digests)
    return DataAudit(
        name=name,
        title=report.title or title,
        digest_note=digest_note,
        differs=differs,
        errors=report.errors,
        headline=headline(counted) if counted else "",
        notes=report.notes,
        sizes=_comparison(
            report.published, report.counts, "pinned" if report.pinned else "published"
        )
        if report.counts
        else None,
        counted=_counted(counted) if counted else (),
        modalities=_comparison(report.published_modalities, report.modalities)
        if report.published_modalities or report.modalities
        else None,
        files=FactTable(("file", "sha256"), tuple((f.path, f.state) for f in report.files))
        if report.files
        else None,
    )


def _digests(digest: str, run_digests: set[str]) -> tuple[str, bool]:
    """Return a note on the digests, and whether some run saw another graph."""
    if not digest or not run_digests:
        return "", False
    other_digests = ", ".join(sorted(run_digests - {digest}))
    if other_digests:
        return f"Runs on this page saw {other_digests}; the files here have digest {digest}.", True
    return f"All runs on this page saw these very triples (digest {digest}).", False


def _comparison(
    published: Mapping[str, int], counted: Mapping[str, int], heading: str = "published"
) -> FactTable:
    rows = []
    for key in dict.fromkeys((*published, *counted)):
        counts = [side.get(key) for side in (published, counted)]
        differs = None not in counts and counts[0] != counts[1]
        rows.append(
            (
                key,
                *("\N{EN DASH}" if n is None else f"{n:,}" for n in counts),
                "differs" if differs else "",
            )
        )
    n_columns = 4 if any(row[3] for row in rows) else 3
    return FactTable(
        ("", heading, "in the files", "")[:n_columns], tuple(r[:n_columns] for r in rows)
    )


def _counted(report: AuditReport) -> tuple[tuple[str, FactTable, str], ...]:
    from harness.data.audit_text import TABLES

    tables = (table for make in TABLES if (table := make(report)))
    return tuple((t.title, FactTable(t.headings, t.rows), t.below) for t in tables)
