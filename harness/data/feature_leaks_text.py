"""Tables and sentences of the feature leak audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from harness.data.feature_leaks import (
    ALL_RELATIONS,
    AUC,
    AUC_MORE,
    FACTOR,
    LEAST,
    LEAST_TRIPLES,
    LEVEL,
    MORE,
    RATE,
    Kind,
    ModalityLeaks,
    RelationLeak,
    SplitLeak,
)

if TYPE_CHECKING:
    from harness.data.audit import AuditReport

__all__ = ["VERBS", "AuditTable", "as_in_train", "leak_sentence", "leak_tables", "too_few"]

VERBS: Mapping[Kind, str] = {
    "text": "names the other end",
    "types": "hold the other end",
    "vectors": "identify the answer among the relation's answers",
}
"""Kind of evidence -> verb of a modality that leaks."""
_MARKS = {"": "", "flagged": "*", "more": "!"}


class AuditTable(NamedTuple):
    """A table of text cells with headings, and a sentence to print below it."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: str = ""


def leak_tables(report: AuditReport) -> Iterator[tuple[AuditTable, str]]:
    """Yield a table and a summary sentence per modality of the feature sets."""
    for leaks in report.leaks:
        for modality in leaks.modalities:
            table = _vectors_table if modality.kind == "vectors" else _mentions_table
            yield table(leaks.feature_set, modality), leak_sentence(modality, leaks.rows)


def leak_sentence(leaks: ModalityLeaks, rows: Mapping[str, int]) -> str:
    """Return the audit of a modality in one sentence.

    Args:
        leaks: audit of the modality.
        rows: number of rows of each split.
    """
    if not leaks.enough:
        scope = " of a relation" * (leaks.kind == "vectors")
        return (
            f"{too_few([leaks.label]).capitalize()}: at most {leaks.most_triples}{scope} in test, "
            f"{LEAST_TRIPLES} are needed."
        )
    if not leaks.flagged:
        return f"No relation is flagged for {leaks.label}."
    row_counts = " and ".join(
        f"{leaks.rows[split]:,} of {rows[split]:,} {split} rows" for split in ("test", "valid")
    )
    relations = len({leak.relation_id for leak in leaks.flagged} - {ALL_RELATIONS})
    relation_count = (
        f", of {relations} flagged relation{'s' * (relations != 1)}" if relations else ""
    )
    verb = VERBS[leaks.kind]
    sentence = f"{leaks.label.capitalize()} {verb} in {row_counts}{relation_count}"
    return f"{sentence}; {as_in_train(leaks.more)}."


def too_few(labels: Sequence[str]) -> str:
    """Return that modalities, by label, have too few triples for an audit."""
    return f"too few triples to audit {', '.join(labels)}"


def as_in_train(splits: Sequence[str]) -> str:
    """Return the comparison of valid and test with train; ``splits`` leak more than train."""
    if not splits:
        return "no more than in train"
    return f"more than in train: {' and '.join(splits)}"


def _mentions_table(name: str, leaks: ModalityLeaks) -> AuditTable:
    verb = "name" if leaks.kind == "text" else "state as a type"
    random = "-" if leaks.random is None else f"{100 * leaks.random:.3f} %"
    leaks_shown = [leak for leak in leaks.relations if _notable(leak)]
    rows = tuple(
        (
            _label(leak),
            *(_share(leak.splits[split]) for split in ("train", "valid", "test")),
            f"{leak.splits['test'].hits}/{leak.splits['test'].triples}",
            f"{100 * leak.splits['test'].shuffled:.1f}" if leak.splits["test"].triples else "-",
        )
        for leak in leaks_shown
    )
    return AuditTable(
        f"Feature leaks: {leaks.label} of '{name}'",
        ("target side", "train", "valid", "test", "triples", "shuffled"),
        rows,
        f"Percentage of a split's distinct triples in which the features of one end {verb} the "
        "other end (the target). Triples: hits and triples of test. Shuffled: percentage of the "
        f"shuffled pairs of the relation; of random pairs, {random}. Shown: "
        f"flagged relations and those with {LEAST} hits in test. * flagged: {LEAST} hits, "
        f"{100 * RATE:.0f} %, {FACTOR:g} times shuffled, p < {LEVEL:g}; ! also {MORE:g} times "
        f"train, p < {LEVEL:g}.",
    )


def _vectors_table(name: str, leaks: ModalityLeaks) -> AuditTable:
    random = "-" if leaks.random is None else f"{leaks.random:.2f}"
    leaks_shown = [leak for leak in leaks.relations if _notable(leak)]
    rows = tuple(
        (
            _label(leak),
            *(_auc(leak.splits[split]) for split in ("train", "valid", "test")),
            _interval(leak.splits["test"]),
            f"{leak.splits['test'].triples}",
        )
        for leak in leaks_shown
    )
    return AuditTable(
        f"Feature leaks: {leaks.label} of '{name}'",
        ("target side", "train", "valid", "test", "interval", "triples"),
        rows,
        "AUC of telling the target from other answers of the relation by its cosine to the vector "
        "of the other end. Interval (95 %) and number of compared triples are those of test. "
        "Against random "
        f"entities: {random}. Shown: flagged relations. * flagged: AUC {AUC:g} over "
        f"{LEAST_TRIPLES} triples, p < {LEVEL:g}; ! {AUC_MORE:g} above train, p < {LEVEL:g}.",
    )


def _notable(leak: RelationLeak) -> bool:
    return leak.relation_id == ALL_RELATIONS or leak.flagged or leak.splits["test"].hits >= LEAST


def _label(leak: RelationLeak) -> str:
    return f"{leak.side} of {leak.relation or 'all relations'}"


def _share(leak: SplitLeak) -> str:
    return f"{100 * leak.linked:.1f}{_MARKS[leak.verdict]}" if leak.triples else "-"


def _auc(leak: SplitLeak) -> str:
    return f"{leak.linked:.2f}{_MARKS[leak.verdict]}" if leak.triples else "-"


def _interval(leak: SplitLeak) -> str:
    return f"{leak.low:.2f}-{leak.high:.2f}" if leak.triples else "-"
