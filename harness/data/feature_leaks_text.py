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
    LEAST_VECTORS,
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

__all__ = ["VERBS", "Facts", "as_in_train", "leak_sentence", "leak_tables"]

VERBS: Mapping[Kind, str] = {
    "text": "names the other end",
    "types": "hold the other end",
    "vectors": "tell the other end from other answers",
}
"""What a modality does, by the kind of evidence."""
_MARKS = {"": "", "told": "*", "more": "!"}


class Facts(NamedTuple):
    """A table: a heading per column, rows of text; names stand left, numbers right."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: str = ""


def leak_tables(report: AuditReport) -> Iterator[tuple[Facts, str]]:
    """Yield a table per modality of the feature sets, and what it comes to in a sentence."""
    for leaks in report.leaks:
        for modality in leaks.modalities:
            table = _vectors_table if modality.kind == "vectors" else _mentions_table
            yield table(leaks.feature_set, modality), leak_sentence(modality, leaks.rows)


def leak_sentence(leaks: ModalityLeaks, rows: Mapping[str, int]) -> str:
    """Return what a modality tells, in a sentence.

    Args:
        leaks: the modality.
        rows: rows of each split.
    """
    if not leaks.flagged:
        return f"No relation is flagged for {leaks.label}."
    told = " and ".join(
        f"{leaks.rows[split]:,} of {rows[split]:,} {split} rows" for split in ("test", "valid")
    )
    relations = len({leak.relation_id for leak in leaks.flagged} - {ALL_RELATIONS})
    of = f", of {relations} flagged relation{'s' * (relations != 1)}" if relations else ""
    verb = VERBS[leaks.kind]
    return f"{leaks.label.capitalize()} {verb} in {told}{of}; {as_in_train(leaks.more)}."


def as_in_train(more: Sequence[str]) -> str:
    """Return in words how much is told of valid and test beside train."""
    if not more:
        return "no more than in train"
    return f"more than in train: {' and '.join(more)}"


def _mentions_table(name: str, leaks: ModalityLeaks) -> Facts:
    said = "name" if leaks.kind == "text" else "state as a type"
    shown = [leak for leak in leaks.relations if _notable(leak)]
    rows = tuple(
        (
            _label(leak),
            *(_share(leak.splits[split]) for split in ("train", "valid", "test")),
            f"{leak.splits['test'].hits}/{leak.splits['test'].triples}",
            f"{100 * leak.splits['test'].shuffled:.1f}",
        )
        for leak in shown
    )
    random = " and ".join(f"{100 * share:.3f} %" for share in dict.fromkeys(leaks.random.values()))
    return Facts(
        f"Feature leaks: {leaks.label} of '{name}'",
        ("told end", "train", "valid", "test", "triples", "others"),
        rows,
        f"Percent of the distinct triples of a split of which features of one end {said} the "
        "other, the end told; triples of test; others: percent of shuffled pairs of the relation. "
        f"Of random pairs {random} do. Shown: with {LEAST} triples told in test. * flagged: "
        f"{LEAST} triples, {100 * RATE:.0f} %, {FACTOR:g} times the others, p < {LEVEL:g}; ! and "
        f"{MORE:g} times train, p < {LEVEL:g}.",
    )


def _vectors_table(name: str, leaks: ModalityLeaks) -> Facts:
    shown = [leak for leak in leaks.relations if _notable(leak)]
    rows = tuple(
        (
            _label(leak),
            *(_auc(leak.splits[split]) for split in ("train", "valid", "test")),
            f"{leak.splits['test'].low:.2f}-{leak.splits['test'].high:.2f}",
            f"{leak.splits['test'].triples}",
        )
        for leak in shown
    )
    random = ", ".join(f"{side} {auc:.2f}" for side, auc in leaks.random.items())
    return Facts(
        f"Feature leaks: {leaks.label} of '{name}'",
        ("told end", "train", "valid", "test", "interval", "triples"),
        rows,
        "AUC of telling the right end from other answers of the relation by the cosine to the "
        "vector of the other end; 95 % interval and triples compared of test. Against random "
        f"entities: {random}. Shown: flagged relations. * flagged: AUC {AUC:g} over "
        f"{LEAST_VECTORS} triples, p < {LEVEL:g}; ! {AUC_MORE:g} above train, p < {LEVEL:g}.",
    )


def _notable(leak: RelationLeak) -> bool:
    return leak.relation_id == ALL_RELATIONS or leak.flagged or leak.splits["test"].hits >= LEAST


def _label(leak: RelationLeak) -> str:
    return f"{leak.side} of {leak.relation or 'all relations'}"


def _share(leak: SplitLeak) -> str:
    return f"{100 * leak.linked:.1f}{_MARKS[leak.verdict]}" if leak.triples else "-"


def _auc(leak: SplitLeak) -> str:
    return f"{leak.linked:.2f}{_MARKS[leak.verdict]}" if leak.triples else "-"
