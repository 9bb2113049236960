"""Ranks and scores of another code base, judged by this one's rules.

Ranks are taken as they are said (a rank must be possible, no more can be known); scores are
ranked here, with this protocol's filter and tie rule. Every question of the test split must be
answered exactly once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness import kernels
from harness.data.graph import KnowledgeGraph
from harness.errors import DataError, suggest
from harness.evaluation.ranks import Ranks, SideCounts
from harness.index import Pairs, Side
from harness.plan.spec import Protocol

__all__ = ["RankRow", "ids_of", "permutation", "ranks_of_rows", "ranks_of_scores"]

AT_ONCE = 2**22
"""Scores that are looked at together (16 MiB in fp32)."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class RankRow:
    """An answered question.

    Attributes:
        where: file and line or row, for errors.
        triple: ids of head, relation, tail.
        side: that was predicted.
        rank: of the true answer, from 1.
    """

    where: str
    triple: tuple[int, int, int]
    side: Side
    rank: float


def ids_of(names: Sequence[str], known: Sequence[str], what: str, source: str) -> Ids:
    """Return the ids of identifiers.

    Args:
        names: as they stand in a file.
        known: identifier of each id.
        what: "entity" or "relation", for errors.
        source: the file.

    Raises:
        DataError: one is unknown; the message offers the nearest.
    """
    place = {name: i for i, name in enumerate(known)}
    for name in names:
        if name not in place:
            near = suggest(name, known) if len(known) < 50_000 else ""
            hint = near if near.startswith("; did") else ""
            raise DataError(f"{source}: the dataset has no {what} '{name}'{hint}")
    return np.array([place[name] for name in names], dtype=np.int64)


def permutation(names: Sequence[str], known: Sequence[str], source: str) -> Ids:
    """Return the column of each entity, of a file whose columns are listed by identifier.

    Raises:
        DataError: an entity is unknown, is listed twice, or is missing.
    """
    ids = ids_of(names, known, "entity", source)
    if len(twice := [name for name, count in Counter(names).items() if count > 1]):
        raise DataError(f"{source}: '{twice[0]}' is listed {names.count(twice[0])} times")
    if missing := len(known) - len(names):
        held = set(names)
        first = next(name for name in known if name not in held)
        raise DataError(
            f"{source}: {missing} of {len(known)} entities are missing, '{first}' first"
        )
    column = np.empty(len(known), np.int64)
    column[ids] = np.arange(len(ids))
    return column


def ranks_of_rows(rows: Sequence[RankRow], graph: KnowledgeGraph, protocol: Protocol) -> Ranks:
    """Return the ranks that were said, in the order of the test split.

    A rank of 2.5 is one better and one tied competitor: their mean place. Better and tied are not
    known otherwise, so a whole rank has no ties.

    Args:
        rows: one per question, in any order; a triple that the test split repeats is answered as
            often.
        graph: holds the test split.
        protocol: the sides that must be answered, and the filter: a rank cannot exceed the number
            of candidates that it leaves.

    Raises:
        DataError: a question is missing, is answered too often or is none of the test split; a rank
            is not a number, not whole or half, below 1, or greater than there are candidates.
    """
    triples = graph.splits["test"].numpy()
    places: dict[tuple[int, ...], list[int]] = {}
    for place, triple in enumerate(triples.tolist()):
        places.setdefault(tuple(triple), []).append(place)
    left = {side: {t: list(reversed(p)) for t, p in places.items()} for side in protocol.sides}
    said = {side: np.full(len(triples), np.nan) for side in protocol.sides}
    sources = {side: [""] * len(triples) for side in protocol.sides}
    for row in rows:
        if row.side not in left:
            raise DataError(f"{row.where}: the protocol does not predict {row.side}s")
        if row.triple not in places:
            raise DataError(f"{row.where}: {_shown(row.triple, graph)} is no test triple")
        if not left[row.side][row.triple]:
            raise DataError(
                f"{row.where}: the {row.side} of {_shown(row.triple, graph)} is answered once more "
                "than the test split asks"
            )
        place = left[row.side][row.triple].pop()
        said[row.side][place] = row.rank
        sources[row.side][place] = row.where
    for side, open_ in left.items():
        if missing := [triple for triple, wanted in open_.items() if wanted]:
            count = sum(len(wanted) for wanted in open_.values())
            raise DataError(
                f"{count} of {len(triples)} {side} questions are not answered, that of "
                f"{_shown(missing[0], graph)} first"
            )
    known = _Known(graph, protocol)
    sides = {
        side: _said_counts(said[side], known.candidates(side), sources[side])
        for side in protocol.sides
    }
    return _with_warm(Ranks(triples, sides), graph)


def _said_counts(rank: NDArray[np.float64], candidates: Ids, sources: Sequence[str]) -> SideCounts:
    with np.errstate(invalid="ignore"):
        tied = (rank % 1 == 0.5).astype(np.int32)
        better = np.floor(rank) - 1
        for wrong, why in (
            (~np.isfinite(rank), "is no number"),
            ((rank < 1), "is below 1"),
            ((rank % 1 != 0) & (tied == 0), "is neither whole nor half"),
            (
                better + tied > candidates - 1,
                "is beyond the last of the {n} candidates that the filter leaves: it was made with "
                "another filter",
            ),
        ):
            if wrong.any():
                at = int(wrong.argmax())
                raise DataError(f"{sources[at]}: rank {rank[at]:g} {why.format(n=candidates[at])}")
    return SideCounts(better.astype(np.int32), tied, candidates.astype(np.int32))


def ranks_of_scores(
    scores: Mapping[Side, Any],
    graph: KnowledgeGraph,
    protocol: Protocol,
    columns: Ids | None = None,
    source: str = "scores",
) -> Ranks:
    """Rank scores under the protocol; higher is better.

    Args:
        scores: side that is predicted -> [n, N], a row per test triple in the order of the split, a
            column per entity; arrays or what can be sliced like them.
        graph: holds the test split and the filter.
        protocol: sides and filter.
        columns: [N] column of each entity; column = id when None.
        source: the file, for errors.

    Raises:
        DataError: a side is missing or too much, a shape does not fit, or a score is NaN or plus
            infinity.
    """
    triples = graph.splits["test"]
    if set(scores) != set(protocol.sides):
        has, needs = " and ".join(scores) or "nothing", " and ".join(protocol.sides)
        raise DataError(f"{source}: has scores of {has}, the protocol needs {needs}")
    known = _Known(graph, protocol)
    sides: dict[Side, SideCounts] = {}
    for side in protocol.sides:
        shape, needed = tuple(scores[side].shape), (len(triples), graph.n_entities)
        if shape != needed:
            raise DataError(
                f"{source}: {side}: {needed[0]} test triples and {needed[1]} entities need shape "
                f"{needed}, found {shape}"
            )
        parts = [
            known.count(side, low, block)
            for low, block in _blocks(scores[side], columns, f"{source}: {side}")
        ]
        better, tied = (
            torch.cat(part).numpy().astype(np.int32) for part in zip(*parts, strict=True)
        )
        sides[side] = SideCounts(better, tied, known.candidates(side).astype(np.int32))
    return _with_warm(Ranks(triples.numpy(), sides), graph)


def _blocks(scores: Any, columns: Ids | None, source: str) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row and the scores of some rows at a time, by entity."""
    some = max(1, AT_ONCE // max(1, scores.shape[1]))
    for low in range(0, scores.shape[0], some):
        block = torch.as_tensor(np.array(scores[low : low + some]))
        if not block.is_floating_point():
            block = block.double()
        block = block.float() if block.dtype == torch.float16 else block
        if columns is not None:
            block = block[:, torch.from_numpy(columns)]
        if not bool((block < torch.inf).all()):
            row, column = (~(block < torch.inf)).nonzero()[0].tolist()
            value = float(block[row, column])
            raise DataError(f"{source}: row {low + row}, entity {column}: {value} is no score")
        yield low, block


class _Known:
    """The questions of a test split and their known answers under a protocol."""

    def __init__(self, graph: KnowledgeGraph, protocol: Protocol) -> None:
        self.graph = graph
        self.known = graph.filter_index(protocol.filter_of("test"))

    def asked(self, side: Side) -> tuple[Tensor, Tensor, Tensor]:
        """Return anchors, relations and answers [n]."""
        head, relation, tail = self.graph.splits["test"].unbind(1)
        return (head, relation, tail) if side == "tail" else (tail, relation, head)

    def candidates(self, side: Side) -> Ids:
        """Return how many entities are ranked [n], the true answer included."""
        anchor, relation, answer = self.asked(side)
        answers = self.known.lookup(anchor, relation, side)
        itself = self.known.contains(anchor, relation, answer, side)
        found: Ids = (self.graph.n_entities - (answers.sizes - itself.long())).numpy()
        return found

    def count(self, side: Side, low: int, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Count what beats and ties the answers of questions low, low + 1, ..."""
        mine = slice(low, low + len(scores))
        anchor, relation, answer = (part[mine] for part in self.asked(side))
        answers = self.known.lookup(anchor, relation, side)
        return kernels.count_in_scores(scores, Pairs.one_each(answer), answers)


def _with_warm(ranks: Ranks, graph: KnowledgeGraph) -> Ranks:
    return replace(ranks, warm=graph.index.has_seen_entities(graph.splits["test"]).numpy())


def _shown(triple: Sequence[int], graph: KnowledgeGraph) -> str:
    head, relation, tail = triple
    names = graph.entities[head], graph.relations[relation], graph.entities[tail]
    return f"({', '.join(names)})"
