"""Identifiers that are easily confused, and signs of columns in another order.

Two identifiers that look alike are two entities to every model. What is certain is refused where a
file is read (:mod:`harness.data.readers`); here is what is only likely, so that somebody must say
that it is meant: the dataset's card, or ``--allow-names``.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, get_args

from harness.config.base import Config
from harness.data.graph import SPLITS, KnowledgeGraph
from harness.errors import ConfigError, suggest

__all__ = [
    "KINDS",
    "NameFinding",
    "NameKind",
    "advice",
    "audit_names",
    "chosen_kinds",
    "excess_names",
]

NameKind = Literal["blanks", "invisible", "unicode", "case", "header", "order"]
KINDS: tuple[NameKind, ...] = get_args(NameKind)

_EXAMPLES = 5
"""Examples of a finding that are kept."""
_MANY = 2
"""A graph with more than so many relations per entity has its columns in another order."""


class NameFinding(Config):
    """One kind of confusion."""

    kind: NameKind
    count: int
    """Pairs of identifiers, relations or rows."""
    text: str
    """The finding in a sentence without examples."""
    examples: tuple[tuple[str, ...], ...] = ()
    """Identifiers of the first few."""

    def __str__(self) -> str:
        shown = "; ".join(" / ".join(map(visible, names)) for names in self.examples)
        more = f" and {self.count - len(self.examples)} more" * (self.count > len(self.examples))
        return f"{self.text}: {shown}{more}" if shown else self.text


def advice(findings: Sequence[NameFinding]) -> str:
    """Return what to do about findings that nobody has acknowledged."""
    kinds = ",".join(dict.fromkeys(finding.kind for finding in findings))
    return f"correct the files, or acknowledge what is meant: --allow-names {kinds}"


def audit_names(graph: KnowledgeGraph) -> tuple[NameFinding, ...]:
    """Return what is likely to be a mistake in the identifiers of a graph, by kind."""
    findings = [
        *_lookalikes("entities", graph.entities),
        *_lookalikes("relations", graph.relations),
        *_header(graph),
        *_order(graph),
    ]
    return tuple(sorted(findings, key=lambda finding: KINDS.index(finding.kind)))


def excess_names(
    findings: Sequence[NameFinding], acknowledged: Mapping[str, int], allowed: Sequence[str] = ()
) -> tuple[NameFinding, ...]:
    """Return the findings of the kinds of which there are more than somebody has acknowledged.

    Args:
        findings: of a dataset.
        acknowledged: kind -> count, as its card says.
        allowed: kinds that the user has acknowledged.
    """
    counts: dict[str, int] = defaultdict(int)
    for finding in findings:
        counts[finding.kind] += finding.count
    more = {kind for kind, count in counts.items() if count > acknowledged.get(kind, 0)}
    return tuple(f for f in findings if f.kind in more - set(allowed))


def chosen_kinds(text: str) -> tuple[NameKind, ...]:
    """Read the value of ``--allow-names``: kinds, separated by commas.

    Raises:
        ConfigError: a kind is unknown; the message offers the nearest.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in KINDS:
            raise ConfigError(f"--allow-names: no kind '{name}'{suggest(name, KINDS)}")
    return tuple(kind for kind in KINDS if kind in names)


def visible(name: str) -> str:
    """Return a name in quotes, with escapes for blanks and characters that cannot be seen."""
    escaped = "".join(
        c
        if c == " " or (c.isprintable() and not unicodedata.combining(c))
        else c.encode("unicode_escape").decode()
        for c in name
    )
    return f"'{escaped}'"


def _without_invisible(name: str) -> str:
    return "".join(c for c in name if unicodedata.category(c) not in ("Cf", "Cc") or c.isspace())


_FOLDS: Mapping[NameKind, Callable[[str], str]] = {
    "blanks": lambda name: " ".join(name.split()),
    "invisible": _without_invisible,
    "unicode": lambda name: unicodedata.normalize("NFC", name),
    "case": str.lower,
}
"""Kind -> what makes two names equal that differ so alone; in the order in which they apply."""

_SAID: Mapping[NameKind, str] = {
    "blanks": "differ in blanks alone",
    "invisible": "differ in characters that cannot be seen",
    "unicode": "look the same and are written with other characters (NFC, NFD)",
    "case": "differ in case alone",
}


def _folded(name: str, without: NameKind | None = None) -> str:
    for kind, fold in _FOLDS.items():
        if kind != without:
            name = fold(name)
    return name


def _lookalikes(noun: str, names: Sequence[str]) -> Iterator[NameFinding]:
    """Yield a finding per kind of difference between names that are one when folded."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_folded(name)].append(name)
    pairs: dict[NameKind, list[tuple[str, str]]] = defaultdict(list)
    for first, *others in groups.values():
        for other in others:
            pairs[_difference(first, other)].append((first, other))
    for kind, held in pairs.items():
        count = f"{len(held)} pair{'s' * (len(held) > 1)}"
        text = f"{count} of {noun} {_SAID[kind]}"
        yield NameFinding(kind=kind, count=len(held), text=text, examples=tuple(held[:_EXAMPLES]))


def _difference(first: str, other: str) -> NameKind:
    """Return the first kind of folding without which two names are not one."""
    needed = (k for k in _FOLDS if _folded(first, without=k) != _folded(other, without=k))
    return next(needed, "unicode")


def _header(graph: KnowledgeGraph) -> Iterator[NameFinding]:
    """Yield a finding where the splits begin with one row whose names stand nowhere else."""
    rows = [graph.splits[split] for split in SPLITS]
    if any(len(split) < 2 for split in rows):
        return
    first, second = ({tuple(split[i].tolist()) for split in rows} for i in (0, 1))
    if len(first) > 1 or len(second) == 1:  # one row alone is shared, not a whole split
        return
    (row,) = first
    for column, others in ((0, (0, 2)), (1, (1,)), (2, (0, 2))):
        if any(bool((split[1:, list(others)] == row[column]).any()) for split in rows):
            return
    head, relation, tail = row
    names = (graph.entities[head], graph.relations[relation], graph.entities[tail])
    text = "the splits begin with one row, whose names stand nowhere else, as a header's do"
    yield NameFinding(kind="header", count=1, text=text, examples=(names,))


def _order(graph: KnowledgeGraph) -> Iterator[NameFinding]:
    """Yield signs that a column is not what it is read as."""
    entities = set(graph.entities)
    both = [name for name in graph.relations if name in entities]
    # Ids written as numbers: entity 3 and relation 3 have nothing in common.
    if both and not all(re.fullmatch("[0-9]+", name) for name in both):
        text = (
            f"{len(both)} of {graph.n_relations} relations are names of entities too; is a column "
            "in another place than head, relation, tail?"
        )
        examples = tuple((name,) for name in both[:_EXAMPLES])
        yield NameFinding(kind="order", count=len(both), text=text, examples=examples)
    elif graph.n_relations > _MANY * graph.n_entities:
        text = (
            f"{graph.n_relations} relations for {graph.n_entities} entities; is a column in "
            "another place than head, relation, tail?"
        )
        yield NameFinding(kind="order", count=1, text=text)
