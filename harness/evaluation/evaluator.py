"""Ranks every query of a split among all entities, under a protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from harness import kernels
from harness.errors import NonFiniteError
from harness.evaluation.ranks import Ranks, SideCounts
from harness.index import FilterIndex, Pairs, Side
from harness.model import Model, Tables
from harness.plan.spec import Protocol

__all__ = ["rank"]

QUERIES_AT_ONCE = 1024
SCORE_BUDGET = 2 * 2**20
"""Scores held at once for models that fill a score matrix (8 MiB in fp32): counting in more is no
faster, and takes several times their size."""

Progress = Callable[[int], None]


@torch.no_grad()
def rank(
    model: Model,
    triples: Tensor,
    known: FilterIndex,
    protocol: Protocol,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    once: bool = True,
) -> Ranks:
    """Return, for every query of ``triples``, how many competitors beat and tie the true answer.

    Args:
        model: on ``device``; put into evaluation mode.
        triples: [n, 3].
        known: answers that are no competitors (``KnowledgeGraph.filter_index(protocol.filter)``).
        protocol: which sides are predicted.
        progress: called with the number of queries done since the last call.
        once: score the queries of triples that share anchor and relation once; the counts are the
            same without, for equal queries have equal scores.

    Raises:
        NonFiniteError: a score is NaN or plus infinity.
        torch.OutOfMemoryError: one query alone is too much; before, fewer and fewer are tried at
            once, which changes no count.
    """
    model.eval()
    triples = triples.to(device)
    known = known.to(device)
    tables = model.encode()
    sides: dict[Side, SideCounts] = {}
    for side in protocol.sides:
        queries = _Queries.of(triples, side, once=once)
        chunks = list(_chunks(model, tables, queries, known, progress))
        columns = [torch.cat(column).int() for column in zip(*chunks, strict=True)]
        columns = columns or [torch.zeros(0, dtype=torch.int, device=triples.device)] * 3
        # Back to the order of the triples.
        better, tied, candidates = (
            torch.empty_like(column).index_copy_(0, queries.order, column).cpu().numpy()
            for column in columns
        )
        sides[side] = SideCounts(better, tied, candidates)
    return Ranks(triples.cpu().numpy(), sides)


class _Queries(NamedTuple):
    """The queries of a side, and their targets.

    Attributes:
        side: the side that is predicted.
        anchors, relations: [q] the queries.
        targets: the true answers of each query, t in all.
        order: [t] the triples they come from.
    """

    side: Side
    anchors: Tensor
    relations: Tensor
    targets: Pairs
    order: Tensor

    @classmethod
    def of(cls, triples: Tensor, side: Side, *, once: bool) -> _Queries:
        """Return the queries of triples [t, 3]: the distinct ones, or one per triple."""
        head, relation, tail = triples.unbind(1)
        anchor, target = (head, tail) if side == "tail" else (tail, head)
        order = torch.arange(len(triples), device=triples.device)
        if not once or not len(triples):
            return cls(side, anchor, relation, Pairs.one_each(target), order)
        # By relation first: queries of one relation may have candidates of their own.
        key = relation * (anchor.max() + 1) + anchor
        key, order = torch.sort(key, stable=True)
        _, sizes = torch.unique_consecutive(key, return_counts=True)
        targets = Pairs.from_sizes(sizes, target[order])
        first = order[targets.indptr[:-1]]
        return cls(side, anchor[first], relation[first], targets, order)


def _queries_at_once(model: Model) -> int:
    if model.decomposable:
        return QUERIES_AT_ONCE
    return max(1, min(QUERIES_AT_ONCE, SCORE_BUDGET // model.n_entities))


Counts = tuple[Tensor, Tensor, Tensor]
"""Better, tied and candidates, each [queries]."""


def _chunks(
    model: Model,
    tables: Tables,
    queries: _Queries,
    known: FilterIndex,
    progress: Progress | None,
) -> Iterator[Counts]:
    """Yield the counts of successive queries, of fewer at once from where memory runs out."""
    size, done = _queries_at_once(model), 0
    while done < len(queries.anchors):
        try:
            yield _count_chunk(model, tables, queries, done, done + size, known, progress)
            done += size
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size = max(1, size // 2)
            torch.cuda.empty_cache()  # does nothing where there is no CUDA


def _count_chunk(
    model: Model,
    tables: Tables,
    queries: _Queries,
    low: int,
    high: int,
    known: FilterIndex,
    progress: Progress | None,
) -> Counts:
    """Count for the targets of queries low:high."""
    high = min(high, len(queries.anchors))
    side, anchors, relations = queries.side, queries.anchors[low:high], queries.relations[low:high]
    (targets,) = queries.targets.split([low, high])
    answers = known.lookup(anchors, relations, side)
    try:
        if model.decomposable:
            query = model.queries(tables, anchors, relations, side)
            terms = [term.comparison(tables) for term in query.terms]
            better, tied = kernels.count_competitors(terms, targets, answers, query.views)
        else:
            scores = model.score_all(tables, anchors, relations, side)
            better, tied = kernels.count_in_scores(scores, targets, answers)
    except NonFiniteError as error:
        raise NonFiniteError(f"{type(model).__name__}, {side} queries: {error}") from error
    query_ids = targets.query_ids
    itself = known.contains(anchors[query_ids], relations[query_ids], targets.indices, side)
    if progress is not None:
        progress(len(targets.indices))
    return better, tied, model.n_entities - (answers.sizes[query_ids] - itself.long())
