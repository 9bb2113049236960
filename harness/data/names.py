"""Audit of identifiers: confusable ones, and signs of columns in the wrong order.

Two identifiers that look alike are two entities to every model. Certain errors are refused when a
file is read (:mod:`harness.data.readers`); likely ones are found here, and the dataset's card or
``--allow-names`` must acknowledge them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, get_args

from harness.config.base import Config
from harness.config.listing import names_in
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
"""Number of examples of a finding."""
_MANY = 2
"""Relations per entity above which the columns are probably in another order."""


class NameFinding(Config):
    """Findings of one kind of confusable identifiers."""

    kind: NameKind
    count: int
    """Number of pairs of identifiers, of relations or of rows."""
    text: str
    """Description of the finding without examples."""
    examples: tuple[tuple[str, ...], ...] = ()
    """Identifiers of the first few cases."""

    def __str__(self) -> str:
        examples = "; ".join(" / ".join(map(visible, names)) for names in self.examples)
        remainder = f" and {self.count - len(self.examples)} more" * (
            self.count > len(self.examples)
        )
        return f"{self.text}: {examples}{remainder}" if examples else self.text


def advice(findings: Sequence[NameFinding]) -> str:
    """Return the remedy for findings that nobody has acknowledged."""
    kinds = ",".join(dict.fromkeys(finding.kind for finding in findings))
    return f"correct the files, or acknowledge what is meant: --allow-names {kinds}"


def audit_names(graph: KnowledgeGraph) -> tuple[NameFinding, ...]:
    """Return the likely mistakes in the identifiers of a graph, by kind."""
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
    """Return the findings of kinds with more cases than acknowledged.

    Args:
        findings: findings in a dataset.
        acknowledged: kind -> number of cases that the card acknowledges.
        allowed: kinds that the user acknowledges.
    """
    counts: dict[str, int] = defaultdict(int)
    for finding in findings:
        counts[finding.kind] += finding.count
    exceeded = {kind for kind, count in counts.items() if count > acknowledged.get(kind, 0)}
    return tuple(f for f in findings if f.kind in exceeded - set(allowed))


def chosen_kinds(text: str) -> tuple[NameKind, ...]:
    """Read the value of ``--allow-names``: kinds, separated by commas.

    Raises:
        ConfigError: unknown kind (the message offers the nearest), or none beside a comma.
    """
    names = names_in(text, "--allow-names")
    for name in names:
        if name not in KINDS:
            raise ConfigError(f"--allow-names: no kind '{name}'{suggest(name, KINDS)}")
    return tuple(kind for kind in KINDS if kind in names)


def visible(name: str) -> str:
    """Return a name in quotes, with escapes for blanks and invisible characters."""
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
"""Kind -> folding under which names with only that difference are equal, in order of use."""

_SAID: Mapping[NameKind, str] = {
    "blanks": "differ in blanks alone",
    "invisible": "differ in characters that cannot be seen",
    "unicode": "look the same and are written with other characters (NFC, NFD)",
    "case": "differ in case alone",
}


def _folded(name: str, skipped: NameKind | None = None) -> str:
    for kind, fold in _FOLDS.items():
        if kind != skipped:
            name = fold(name)
    return name


def _lookalikes(noun: str, names: Sequence[str]) -> Iterator[NameFinding]:
    """Yield a finding per kind of difference between names that are equal after folding."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_folded(name)].append(name)
    pairs: dict[NameKind, list[tuple[str, str]]] = defaultdict(list)
    for first, *following in groups.values():
        for second in following:
            pairs[_difference(first, second)].append((first, second))
    for kind, lookalikes in pairs.items():
        count = f"{len(lookalikes)} pair{'s' * (len(lookalikes) > 1)}"
        text = f"{count} of {noun} {_SAID[kind]}"
        yield NameFinding(
            kind=kind, count=len(lookalikes), text=text, examples=tuple(lookalikes[:_EXAMPLES])
        )


def _difference(first: str, second: str) -> NameKind:
    """Return the first kind of folding without which two names differ."""
    deciding = (k for k in _FOLDS if _folded(first, skipped=k) != _folded(second, skipped=k))
    return next(deciding, "unicode")


def _header(graph: KnowledgeGraph) -> Iterator[NameFinding]:
    """Yield a finding if all splits begin with the same row, whose names occur nowhere else."""
    rows = [graph.splits[split] for split in SPLITS]
    if any(len(split) < 2 for split in rows):
        return
    first, second = ({tuple(split[i].tolist()) for split in rows} for i in (0, 1))
    if len(first) > 1 or len(second) == 1:  # equal second rows: the splits are copies
        return
    (row,) = first
    for column, columns in ((0, (0, 2)), (1, (1,)), (2, (0, 2))):
        if any(bool((split[1:, list(columns)] == row[column]).any()) for split in rows):
            return
    head, relation, tail = row
    names = (graph.entities[head], graph.relations[relation], graph.entities[tail])
    text = "the splits begin with one row, whose names stand nowhere else, as a header's do"
    yield NameFinding(kind="header", count=1, text=text, examples=(names,))


def _order(graph: KnowledgeGraph) -> Iterator[NameFinding]:
    """Yield signs of columns in another order than head, relation, tail."""
    entities = set(graph.entities)
    shared = [name for name in graph.relations if name in entities]
    # Numeric identifiers are not evidence: entity 3 and relation 3 are unrelated.
    if shared and not all(re.fullmatch("[0-9]+", name) for name in shared):
        text = (
            f"{len(shared)} of {graph.n_relations} relations are names of entities too; is a "
            "column in another place than head, relation, tail?"
        )
        examples = tuple((name,) for name in shared[:_EXAMPLES])
        yield NameFinding(kind="order", count=len(shared), text=text, examples=examples)
    elif graph.n_relations > _MANY * graph.n_entities:
        text = (
            f"{graph.n_relations} relations for {graph.n_entities} entities; is a column in "
            "another place than head, relation, tail?"
        )
        yield NameFinding(kind="order", count=1, text=text)
