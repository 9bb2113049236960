"""Ranks every query of a split among all entities, under a protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness import kernels
from harness.errors import NonFiniteError
from harness.evaluation import metrics
from harness.evaluation.ranks import Ranks, SideCounts
from harness.index import KnownAnswers, Side
from harness.model import Model, Tables
from harness.plan.spec import Protocol

__all__ = ["Measurement", "measure", "rank"]

QUERIES_AT_ONCE = 1024
SCORE_BUDGET = 64 * 2**20
"""Scores held at once for models that fill a score matrix (256 MiB in fp32)."""

Progress = Callable[[int], None]


@torch.no_grad()
def rank(
    model: Model,
    triples: Tensor,
    known: KnownAnswers,
    protocol: Protocol,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Ranks:
    """Return, for every query of ``triples``, how many competitors beat and tie the true answer.

    Args:
        model: on ``device``; put into evaluation mode.
        triples: [n, 3].
        known: answers that are no competitors (``KnowledgeGraph.known(protocol.filter)``).
        protocol: which sides are predicted.
        progress: called with the number of queries done since the last call.

    Raises:
        NonFiniteError: a score is NaN.
        torch.OutOfMemoryError: one query alone is too much; before, fewer and fewer are tried at
            once, which changes no count.
    """
    model.eval()
    triples = triples.to(device)
    known = known.to(device)
    tables = model.encode()
    sides: dict[Side, SideCounts] = {}
    for side in protocol.sides:
        chunks = list(_chunks(model, tables, triples, known, side, progress))
        columns = [torch.cat(column).int().cpu().numpy() for column in zip(*chunks, strict=True)]
        sides[side] = SideCounts(*columns) if columns else SideCounts(*(np.zeros(0, np.int32),) * 3)
    return Ranks(triples.cpu().numpy(), sides)


def _queries_at_once(model: Model) -> int:
    if model.decomposable:
        return QUERIES_AT_ONCE
    return max(1, min(QUERIES_AT_ONCE, SCORE_BUDGET // model.n_entities))


Counts = tuple[Tensor, Tensor, Tensor]
"""Better, tied and candidates, each [queries]."""


def _chunks(
    model: Model,
    tables: Tables,
    triples: Tensor,
    known: KnownAnswers,
    side: Side,
    progress: Progress | None,
) -> Iterator[Counts]:
    """Yield the counts of successive queries, of fewer at once from where memory runs out."""
    size, done = _queries_at_once(model), 0
    while done < len(triples):
        try:
            yield _count_chunk(model, tables, triples[done : done + size], known, side, progress)
            done += size
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size = max(1, size // 2)
            torch.cuda.empty_cache()  # does nothing where there is no CUDA


def _count_chunk(
    model: Model,
    tables: Tables,
    chunk: Tensor,
    known: KnownAnswers,
    side: Side,
    progress: Progress | None,
) -> Counts:
    head, relation, tail = chunk.unbind(1)
    anchors, targets = (head, tail) if side == "tail" else (tail, head)
    offsets, answers = known.lookup(anchors, relation, side)
    try:
        if model.decomposable:
            query = model.queries(tables, anchors, relation, side)
            terms = [(t.op, t.query, tables[t.table], t.scale, t.weight) for t in query.terms]
            better, tied = kernels.count_terms(terms, targets, offsets, answers)
        else:
            scores = model.score_all(tables, anchors, relation, side)
            better, tied = kernels.scores_to_counts(scores, targets, offsets, answers)
    except NonFiniteError as error:
        raise NonFiniteError(f"{type(model).__name__}, {side} queries: {error}") from error
    left_out = offsets.diff() - known.contains(anchors, relation, targets, side).long()
    if progress is not None:
        progress(len(chunk))
    return better, tied, model.n_entities - left_out


class Measurement(NamedTuple):
    """One number of a split."""

    side: Literal["both", "head", "tail"]
    bucket: str
    metric: str
    value: float
    queries: int


def measure(
    ranks: Ranks, protocol: Protocol, buckets: Mapping[str, NDArray[np.bool_]] | None = None
) -> Iterator[Measurement]:
    """Yield every metric per side and bucket.

    Args:
        ranks: outcome of the queries.
        protocol: the tie rule.
        buckets: name -> [n] boolean selection of triples; "all" is added. Empty ones are left out.
    """
    selections: dict[str, NDArray[np.bool_] | None] = {"all": None, **(buckets or {})}
    for bucket, where in selections.items():
        pooled: Literal["both"] = "both"
        for side in (pooled, *protocol.sides):
            values, candidates = ranks.ranks(protocol.ties, side, where)
            for name, value in metrics.compute(values, candidates).items():
                yield Measurement(side, bucket, name, value, len(values))
