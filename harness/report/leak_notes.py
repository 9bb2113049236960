"""Notes below tables with the verdict of the feature leak audit: from the card of a dataset, or
from the folder of the user's own."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from harness.analysis.results import RowResult
from harness.errors import ConfigError
from harness.store.records import EXTERNAL, RunRecord

if TYPE_CHECKING:
    from harness.data.card import FeatureLeak, LeakAudit

__all__ = ["leak_notes", "titled_leak_notes"]


def leak_notes(dataset: str, results: Iterable[RowResult]) -> Iterator[str]:
    """Yield a sentence per feature set: its audited leaks, or that it was not audited.

    Args:
        dataset: name of the dataset.
        results: results in the table; those of other datasets and other code bases are skipped.
    """
    audited = dataset.partition("@")[0]  # a cleaned variant has the features of the official splits
    for name, records in _records_by_features(dataset, results).items():
        audit = _audit(dataset, name)  # imports torch, which takes seconds
        covered = audit is not None and all(
            audit.covers(r.dataset_digest, r.feature_digest, r.modalities) for r in records
        )
        if audit is None or not covered:
            files = "" if audit is None else " in the files that these runs read"
            yield (
                f"features '{name}' were not audited for leaks{files}: "
                f"`harness data audit {shlex.quote(audited)} --features {shlex.quote(name)}`."
            )
            continue
        read = {modality for record in records for modality in record.modalities}
        leaks = {label: leak for label, leak in audit.leaks.items() if label.split()[0] in read}
        yield f"features '{name}', audited for leaks: {_verdict(audit, leaks, read, dataset)}."


def titled_leak_notes(dataset: str, title: str, results: Iterable[RowResult]) -> Iterator[str]:
    """Yield the leak notes of a dataset, each prefixed with its title (its name if that is "")."""
    yield from (f"{title or dataset}: {note}" for note in leak_notes(dataset, results))


def _records_by_features(dataset: str, results: Iterable[RowResult]) -> dict[str, list[RunRecord]]:
    """Return the runs of the results by feature set."""
    records: dict[str, list[RunRecord]] = {}
    for result in results:
        own = [record for record in result.records if record.model != EXTERNAL]
        if own and result.dataset.lower() == dataset.lower() and result.features != "none":
            records.setdefault(result.features, []).extend(own)
    return records


def _audit(dataset: str, features: str) -> LeakAudit | None:
    from harness.data.leak_audits import leak_audit

    try:
        return leak_audit(dataset, features)
    except ConfigError:  # the dataset was removed, its results remain
        return None


def _verdict(
    audit: LeakAudit, leaks: Mapping[str, FeatureLeak], read: Collection[str], dataset: str
) -> str:
    """Return the verdict of an audit on the modalities that were read.

    Args:
        audit: the audit.
        leaks: leaks of these modalities.
        read: names of the modalities.
        dataset: name of the dataset.
    """
    from harness.data.feature_leaks_text import too_few

    enough = {label: value for label, value in audit.enough.items() if label.split()[0] in read}
    lacking = [label for label, value in enough.items() if not value]
    clauses = [_leak_clause(label, leak) for label, leak in leaks.items()]
    if not leaks and (not enough or any(enough.values())):
        clauses.append("no leak is flagged")
    clauses += [too_few(lacking)] if lacking else []
    return "; ".join(clauses) + " of the official splits" * bool("@" in dataset and leaks)


def _leak_clause(label: str, leak: FeatureLeak) -> str:
    from harness.data.feature_leaks_text import VERBS, as_in_train

    kind = label.split()[-1]
    verb = VERBS["vectors" if kind == "vectors" else "types" if kind == "types" else "text"]
    rows = " and ".join(f"{leak.rows[s]} {s}" for s in ("test", "valid") if s in leak.rows)
    return f"{label} {verb} in {rows} rows, {as_in_train(leak.more)}"
