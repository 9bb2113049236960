"""Ranks and scores of other code bases, evaluated under this protocol.

Ranks are taken as stated, if they are possible; scores are ranked here, with the protocol's filter
and tie rule. Every query of the test split must be answered exactly once.
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
"""Scores per block (16 MiB in float32)."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class RankRow:
    """The stated rank of one query.

    Attributes:
        location: file and line or row, for errors.
        triple: ids of head, relation, tail.
        side: predicted side.
        rank: rank of the target, from 1.
    """

    location: str
    triple: tuple[int, int, int]
    side: Side
    rank: float


def ids_of(names: Sequence[str], identifiers: Sequence[str], noun: str, source: str) -> Ids:
    """Return the ids of identifiers.

    Args:
        names: identifiers in a file.
        identifiers: identifier of each id.
        noun: "entity" or "relation", for errors.
        source: file, for errors.

    Raises:
        DataError: unknown identifier; the message offers the nearest.
    """
    id_of = {name: i for i, name in enumerate(identifiers)}
    for name in names:
        if name not in id_of:
            near = suggest(name, identifiers) if len(identifiers) < 50_000 else ""
            hint = near if near.startswith("; did") else ""
            raise DataError(f"{source}: the dataset has no {noun} '{name}'{hint}")
    return np.array([id_of[name] for name in names], dtype=np.int64)


def permutation(names: Sequence[str], identifiers: Sequence[str], source: str) -> Ids:
    """Return the column int64 [N] of each entity in a file with one column per identifier.

    Raises:
        DataError: an entity is unknown, is listed twice, or is missing.
    """
    ids = ids_of(names, identifiers, "entity", source)
    if len(twice := [name for name, count in Counter(names).items() if count > 1]):
        raise DataError(f"{source}: '{twice[0]}' is listed {names.count(twice[0])} times")
    if missing := len(identifiers) - len(names):
        listed = set(names)
        first = next(name for name in identifiers if name not in listed)
        raise DataError(
            f"{source}: {missing} of {len(identifiers)} entities are missing, '{first}' first"
        )
    column = np.empty(len(identifiers), np.int64)
    column[ids] = np.arange(len(ids))
    return column


def ranks_of_rows(rows: Sequence[RankRow], graph: KnowledgeGraph, protocol: Protocol) -> Ranks:
    """Return stated ranks in the order of the test split.

    A rank of 2.5 means one better and one tied competitor, their mean. Better and tied are not
    known otherwise, so an integer rank has no ties.

    Args:
        rows: one per query, in any order; a triple that the test split repeats is repeated as
            often.
        graph: graph with the test split.
        protocol: predicted sides, and the filter: a rank cannot exceed the number of candidates
            that pass it.

    Raises:
        DataError: the test split is empty; a query is missing, repeated or not in it; a rank is not
            a number, not a multiple of one half, below 1, or above the number of candidates.
    """
    triples = graph.splits["test"].numpy()
    rows_of_triple: dict[tuple[int, ...], list[int]] = {}
    for position, triple in enumerate(triples.tolist()):
        rows_of_triple.setdefault(tuple(triple), []).append(position)
    unanswered = {
        side: {t: list(reversed(p)) for t, p in rows_of_triple.items()} for side in protocol.sides
    }
    stated = {side: np.full(len(triples), np.nan) for side in protocol.sides}
    sources = {side: [""] * len(triples) for side in protocol.sides}
    for row in rows:
        if row.side not in unanswered:
            raise DataError(f"{row.location}: the protocol does not predict {row.side}s")
        if row.triple not in rows_of_triple:
            raise DataError(f"{row.location}: {_triple_text(row.triple, graph)} is no test triple")
        if not unanswered[row.side][row.triple]:
            raise DataError(
                f"{row.location}: the {row.side} of {_triple_text(row.triple, graph)} is answered "
                "once more than the test split asks"
            )
        position = unanswered[row.side][row.triple].pop()
        stated[row.side][position] = row.rank
        sources[row.side][position] = row.location
    for side, open_ in unanswered.items():
        if missing := [triple for triple, positions in open_.items() if positions]:
            count = sum(len(positions) for positions in open_.values())
            raise DataError(
                f"{count} of {len(triples)} {side} queries are not answered, that of "
                f"{_triple_text(missing[0], graph)} first"
            )
    queries = _TestQueries(graph, protocol)
    sides = {
        side: _stated_counts(stated[side], queries.candidates(side), sources[side])
        for side in protocol.sides
    }
    return _with_warm(Ranks(triples, sides), graph)


def _stated_counts(
    rank: NDArray[np.float64], candidates: Ids, sources: Sequence[str]
) -> SideCounts:
    with np.errstate(invalid="ignore"):
        tied = (rank % 1 == 0.5).astype(np.int32)
        better = np.floor(rank) - 1
        for wrong, problem in (
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
                raise DataError(
                    f"{sources[at]}: rank {rank[at]:g} {problem.format(n=candidates[at])}"
                )
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
        scores: predicted side -> scores [n, N], a row per test triple in the order of the split, a
            column per entity; arrays or anything that can be sliced like them.
        graph: graph with the test split and the filter.
        protocol: sides and filter.
        columns: column int64 [N] of each entity; None for column = id.
        source: file, for errors.

    Raises:
        DataError: the test split is empty, a side is missing or unexpected, a shape does not match,
            or a score is NaN or plus infinity.
    """
    triples = graph.splits["test"]
    if set(scores) != set(protocol.sides):
        has, needs = " and ".join(scores) or "nothing", " and ".join(protocol.sides)
        raise DataError(f"{source}: has scores of {has}, the protocol needs {needs}")
    queries = _TestQueries(graph, protocol)
    sides: dict[Side, SideCounts] = {}
    for side in protocol.sides:
        shape, expected = tuple(scores[side].shape), (len(triples), graph.n_entities)
        if shape != expected:
            raise DataError(
                f"{source}: {side}: {expected[0]} test triples and {expected[1]} entities need "
                f"shape {expected}, found {shape}"
            )
        blocks = [
            queries.count(side, low, block)
            for low, block in _blocks(scores[side], columns, f"{source}: {side}")
        ]
        better, tied = (
            torch.cat(counts).numpy().astype(np.int32) for counts in zip(*blocks, strict=True)
        )
        sides[side] = SideCounts(better, tied, queries.candidates(side).astype(np.int32))
    return _with_warm(Ranks(triples.numpy(), sides), graph)


def _blocks(scores: Any, columns: Ids | None, source: str) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row and the scores of blocks of rows, with columns by entity."""
    rows = max(1, AT_ONCE // max(1, scores.shape[1]))
    for low in range(0, scores.shape[0], rows):
        block = torch.as_tensor(np.array(scores[low : low + rows]))
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


class _TestQueries:
    """Queries of a test split and their filter under a protocol; DataError where it is empty."""

    def __init__(self, graph: KnowledgeGraph, protocol: Protocol) -> None:
        graph.require_triples("test", "to rank")
        self.graph = graph
        self.filter_index = graph.filter_index(protocol.filter_of("test"))

    def queries(self, side: Side) -> tuple[Tensor, Tensor, Tensor]:
        """Return anchors, relations and targets, int64 [n] each."""
        head, relation, tail = self.graph.splits["test"].unbind(1)
        return (head, relation, tail) if side == "tail" else (tail, relation, head)

    def candidates(self, side: Side) -> Ids:
        """Return the number of candidates int64 [n], including the target."""
        anchor, relation, answer = self.queries(side)
        answers = self.filter_index.lookup(anchor, relation, side)
        target_known = self.filter_index.contains(anchor, relation, answer, side)
        counts: Ids = (self.graph.n_entities - (answers.sizes - target_known.long())).numpy()
        return counts

    def count(self, side: Side, low: int, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Count the competitors that beat and tie the targets of queries low, low + 1, ..."""
        rows = slice(low, low + len(scores))
        anchor, relation, answer = (ids[rows] for ids in self.queries(side))
        answers = self.filter_index.lookup(anchor, relation, side)
        return kernels.count_in_scores(scores, Pairs.one_each(answer), answers)


def _with_warm(ranks: Ranks, graph: KnowledgeGraph) -> Ranks:
    return replace(ranks, warm=graph.index.has_seen_entities(graph.splits["test"]).numpy())


def _triple_text(triple: Sequence[int], graph: KnowledgeGraph) -> str:
    head, relation, tail = triple
    names = graph.entities[head], graph.relations[relation], graph.entities[tail]
    return f"({', '.join(names)})"
