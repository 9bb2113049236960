"""Notes below tables with the verdict of the feature leak audit, read from dataset cards."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from harness.analysis.results import RowResult
from harness.errors import ConfigError
from harness.store.records import EXTERNAL

if TYPE_CHECKING:
    from harness.data.card import DatasetCard, FeatureLeak

__all__ = ["leak_notes", "titled_leak_notes"]


def leak_notes(dataset: str, results: Iterable[RowResult]) -> Iterator[str]:
    """Yield a sentence per feature set: its audited leaks, or that it was not audited.

    Args:
        dataset: name of the dataset.
        results: results in the table; those of other datasets and other code bases are skipped.
    """
    feature_sets = _feature_sets(dataset, results)
    card = (
        _card(dataset) if feature_sets else None
    )  # importing cards imports torch, which takes seconds
    for name, read in feature_sets.items():
        audited = card.feature_leaks.get(name) if card else None
        if audited is None:
            yield (
                f"features '{name}' were not audited for leaks: "
                f"`harness data audit {shlex.quote(dataset)} --features {shlex.quote(name)}`."
            )
            continue
        leaks = [
            _leak_clause(label, leak) for label, leak in audited.items() if label.split()[0] in read
        ]
        suffix = " of the official splits" if "@" in dataset and leaks else ""
        verdict = "; ".join(leaks) or "no leak is flagged"
        yield f"features '{name}', audited for leaks: {verdict}{suffix}."


def titled_leak_notes(dataset: str, title: str, results: Iterable[RowResult]) -> Iterator[str]:
    """Yield the leak notes of a dataset, each prefixed with its title (its name if that is "")."""
    yield from (f"{title or dataset}: {note}" for note in leak_notes(dataset, results))


def _feature_sets(dataset: str, results: Iterable[RowResult]) -> dict[str, set[str]]:
    """Map each feature set of the results to the modalities that at least one run reads."""
    read: dict[str, set[str]] = {}
    for result in results:
        records = [record for record in result.records if record.model != EXTERNAL]
        if records and result.dataset.lower() == dataset.lower() and result.features != "none":
            read.setdefault(result.features, set()).update(
                modality for record in records for modality in record.modalities
            )
    return read


def _card(dataset: str) -> DatasetCard | None:
    from harness.data.load import source

    try:
        return source(dataset).card
    except ConfigError:  # the dataset was removed, its results remain
        return None


def _leak_clause(label: str, leak: FeatureLeak) -> str:
    from harness.data.feature_leaks_text import VERBS, as_in_train

    kind = label.split()[-1]
    verb = VERBS["vectors" if kind == "vectors" else "types" if kind == "types" else "text"]
    rows = " and ".join(f"{leak.rows[s]} {s}" for s in ("test", "valid") if s in leak.rows)
    return f"{label} {verb} in {rows} rows, {as_in_train(leak.more)}"
