"""Ranking of the queries of a split against all entities, under a protocol."""

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

__all__ = ["queries_at_once", "rank"]

QUERIES_AT_ONCE = 1024
SCORE_BUDGET = 2 * 2**20
"""Scores in memory for models that fill a score matrix (8 MiB in float32): larger chunks are not
faster, and counting needs several times their size."""

Progress = Callable[[int], None]


@torch.no_grad()
def rank(
    model: Model,
    triples: Tensor,
    filter_index: FilterIndex,
    protocol: Protocol,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    once: bool = True,
) -> Ranks:
    """Count the competitors that beat and tie the target of every query of ``triples``.

    The compiled kernels of CPUs score each query alone, so counts do not depend on the size of a
    chunk. Matrix products (inner products on a GPU, or within a model) can round differently with
    the number of queries, and then break or make ties.

    Args:
        model: model on ``device``; it is put into evaluation mode.
        triples: int64 [n, 3].
        filter_index: known answers, which do not compete (``graph.filter_index(protocol.filter)``).
        protocol: protocol with the predicted sides.
        progress: callback with the number of queries since the last call.
        once: True to score triples with equal anchor and relation once, which changes a count only
            where the number of queries changes the rounding of a score.

    Raises:
        NonFiniteError: a score is NaN or plus infinity.
        torch.OutOfMemoryError: a single query does not fit; before that, chunks are halved.
    """
    model.eval()
    triples = triples.to(device)
    filter_index = filter_index.to(device)
    tables = model.encode()  # of all entities, once for the whole split
    sides: dict[Side, SideCounts] = {}
    for side in protocol.sides:
        queries = _Queries.of(triples, side, once=once)
        chunks = list(_chunks(model, tables, queries, filter_index, progress))
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
    """Queries of one side, and their targets.

    Attributes:
        side: predicted side.
        anchors, relations: ids [q] of the queries.
        targets: targets of each query, t in total.
        order: index [t] of the triple of each target.
    """

    side: Side
    anchors: Tensor
    relations: Tensor
    targets: Pairs
    order: Tensor

    @classmethod
    def of(cls, triples: Tensor, side: Side, *, once: bool) -> _Queries:
        """Return the queries of triples [t, 3], distinct with ``once``, else one per triple."""
        head, relation, tail = triples.unbind(1)
        anchor, target = (head, tail) if side == "tail" else (tail, head)
        order = torch.arange(len(triples), device=triples.device)
        if not once or not len(triples):
            return cls(side, anchor, relation, Pairs.one_each(target), order)
        # Sorted by relation, as candidates may be fused per relation.
        key = relation * (anchor.max() + 1) + anchor
        key, order = torch.sort(key, stable=True)
        _, sizes = torch.unique_consecutive(key, return_counts=True)
        targets = Pairs.from_sizes(sizes, target[order])
        first = order[targets.indptr[:-1]]  # one triple of each distinct query
        return cls(side, anchor[first], relation[first], targets, order)


def queries_at_once(n_entities: int) -> int:
    """Return the number of queries whose score matrix is within ``SCORE_BUDGET``, at least 1."""
    return max(1, min(QUERIES_AT_ONCE, SCORE_BUDGET // n_entities))


Counts = tuple[Tensor, Tensor, Tensor]
"""Better, tied and candidates, int64 [t] each."""


def _chunks(
    model: Model,
    tables: Tables,
    queries: _Queries,
    filter_index: FilterIndex,
    progress: Progress | None,
) -> Iterator[Counts]:
    """Yield the counts of successive chunks of queries, halving chunks that do not fit."""
    size = QUERIES_AT_ONCE if model.decomposable else queries_at_once(model.n_entities)
    low = 0
    while low < len(queries.anchors):
        try:
            counts = _count_chunk(model, tables, queries, low, low + size, filter_index, progress)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            counts = None
        if counts is None:  # below the handler, whose exception holds the tensors of the chunk
            size //= 2
            torch.cuda.empty_cache()  # no effect without CUDA
            continue
        yield counts
        low += size


def _count_chunk(
    model: Model,
    tables: Tables,
    queries: _Queries,
    low: int,
    high: int,
    filter_index: FilterIndex,
    progress: Progress | None,
) -> Counts:
    """Count the competitors of the targets of queries low:high."""
    high = min(high, len(queries.anchors))
    side, anchors, relations = queries.side, queries.anchors[low:high], queries.relations[low:high]
    (targets,) = queries.targets.split([low, high])
    answers = filter_index.lookup(anchors, relations, side)
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
    target_known = filter_index.contains(
        anchors[query_ids], relations[query_ids], targets.indices, side
    )
    if progress is not None:
        progress(len(targets.indices))
    # Known answers do not compete, but the target does with itself: N - (known - [target known]).
    return better, tied, model.n_entities - (answers.sizes[query_ids] - target_known.long())
