"""Counts of the rows that score above a target or tie with it, from which ranks are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness.errors import NonFiniteError
from harness.index import Pairs
from harness.kernels import _threads as threads
from harness.kernels.backends import kernel
from harness.kernels.comparisons import (
    BLOCK_BYTES,
    NOT_COMPILED,
    VectorComparison,
    prepared,
    rows_at_once,
    score_all,
    score_tiles,
    tile_arrays,
    tile_parts,
)
from harness.kernels.compiled import arrays, check_pairs, loops
from harness.kernels.fusion import FusedTable

__all__ = ["Counts", "Views", "combined_score", "count_competitors", "count_in_scores"]

COMPARED_AT_ONCE = 2**19
"""Number of scores that are compared with their targets at once (2 MiB in float32)."""

Views = Literal["logits", "probabilities"]
"""Combination of terms that each predict by themselves; see ``combined_score``."""

Counts = tuple[Tensor, Tensor]
"""Per target the number of rows that score above it, and of those that tie: int64 [t], [t]."""


def combined_score(scores: Sequence[Tensor], views: Views | None) -> Tensor:
    """Combine the scores of several terms, tensors of one shape.

    Args:
        scores: one tensor per term.
        views: None for the sum, "logits" for the mean, "probabilities" for the log odds log(p / (1
            - p)) of the mean probability p = mean(sigmoid(scores)). Log odds order candidates as p
            does, and still distinguish those whose p rounds to 0 or 1.
    """
    if len(scores) == 1:
        return scores[0]
    if views == "probabilities":
        logits = torch.stack([score.float() for score in scores])
        log_p = logsigmoid(logits)
        # log(1 - sigmoid(x)) = log sigmoid(x) - x
        return log_p.logsumexp(0) - (log_p - logits).logsumexp(0)
    total = scores[0]
    for score in scores[1:]:
        total = total + score
    return total if views is None else total / len(scores)


@kernel
def count_competitors(
    terms: Sequence[VectorComparison],
    targets: Pairs,
    known_answers: Pairs,
    views: Views | None = None,
) -> Counts:
    """Count per target the rows with a higher and with an equal combined score (filtered setting).

    Equal rows tie exactly, whatever their position in the table, unless "dot" is computed by a
    matrix product (reference and "chunked"): products can round equal rows differently, by position
    and by number of queries.

    Args:
        terms: comparisons of the same q queries and n rows, combined by ``combined_score``.
        targets: the rows of the true answers of each query, t in all; a query with several targets
            is scored once.
        known_answers: the rows that each query filters out; targets may be among them.
        views: see ``combined_score``.

    Returns:
        better [t] and tied [t], without the target itself and the filtered rows.

    Raises:
        NonFiniteError: a score is NaN or plus infinity.
        ValueError, IndexError: shapes do not match, or a row is not in the table.
    """
    scores = combined_score([score_all.reference(term) for term in terms], views)
    return count_in_scores(scores, targets, known_answers)


def count_in_scores(scores: Tensor, targets: Pairs, known_answers: Pairs) -> Counts:
    """Count in a score matrix [q, n]; otherwise as ``count_competitors``."""
    # One NaN or infinite score makes the sum so. Finite scores can overflow it too, hence the
    # second, exact look.
    if not scores.sum() < torch.inf:
        _check_finite(int((~(scores < torch.inf)).sum()))
    competes = torch.ones_like(scores, dtype=torch.bool)
    competes[known_answers.query_ids, known_answers.indices] = False
    # A few queries at a time, so that intermediates stay in the cache and small beside ``scores``.
    at_once = max(1, min(len(scores), COMPARED_AT_ONCE // max(1, scores.shape[1])))
    counts = [
        _compared(scores[queries], competes[queries], rows)
        for rows, queries in zip(
            targets.indices.split(at_once), targets.query_ids.split(at_once), strict=True
        )
    ]
    return _joined(counts)


def _compared(scores: Tensor, competes: Tensor, targets: Tensor) -> Counts:
    target = scores.gather(1, targets[:, None])
    competes = competes.scatter(1, targets[:, None], False)
    return ((scores > target) & competes).sum(1), ((scores == target) & competes).sum(1)


def _joined(counts: Sequence[Counts]) -> Counts:
    better, tied = zip(*counts, strict=True)
    return torch.cat(better), torch.cat(tied)


def _check_finite(bad: int) -> None:
    """Raise NonFiniteError if any score is NaN or plus infinity.

    Minus infinity is a valid score: it marks an impossible answer.

    Args:
        bad: number of such scores.
    """
    if bad:
        raise NonFiniteError(
            f"{bad} scores are NaN or infinite: the model's parameters have diverged "
            "(a lower learning rate or gradient clipping helps)"
        )


def _count_in_blocks(
    score_block: Callable[[int, int], Tensor], at_once: int, targets: Pairs, known_answers: Pairs
) -> Counts:
    """Count in the score matrices [high - low, n] of ``at_once`` queries low:high at a time."""
    bounds = [*range(0, max(1, known_answers.n_queries), at_once), known_answers.n_queries]
    blocks = zip(pairwise(bounds), targets.split(bounds), known_answers.split(bounds), strict=True)
    return _joined([count_in_scores(score_block(*block), *pairs) for block, *pairs in blocks])


def _count_by_temperature(
    terms: Sequence[VectorComparison], targets: Pairs, known_answers: Pairs, views: Views | None
) -> Counts:
    """Count by runs of successive queries of one temperature; tables are fused once per run."""
    temperatures = [t.table.temperature for t in terms if isinstance(t.table, FusedTable)]
    stacked = torch.stack(temperatures, 1)
    _, sizes = torch.unique_consecutive(stacked, dim=0, return_counts=True)
    bounds = [0, *sizes.cumsum(0).tolist()]
    counts = []
    blocks = zip(pairwise(bounds), targets.split(bounds), known_answers.split(bounds), strict=True)
    for (low, high), block_targets, block_known in blocks:
        plain = [term.of_queries(low, high).with_plain_table() for term in terms]
        counts.append(count_competitors(plain, block_targets, block_known, views))
    return _joined(counts)


def _fused(terms: Sequence[VectorComparison]) -> bool:
    return any(isinstance(term.table, FusedTable) for term in terms)


@count_competitors.register("chunked")
@torch.no_grad()
def _count_competitors_chunked(
    terms: Sequence[VectorComparison],
    targets: Pairs,
    known_answers: Pairs,
    views: Views | None = None,
) -> Counts:
    """Score as many queries at a time as fit in ``CHUNK_BYTES``."""
    if _fused(terms):
        return _count_by_temperature(terms, targets, known_answers, views)

    def score_block(low: int, high: int) -> Tensor:
        score = score_all.version("chunked")
        return combined_score([score(term.of_queries(low, high)) for term in terms], views)

    return _count_in_blocks(score_block, rows_at_once(terms[0].n_rows * 4), targets, known_answers)


@count_competitors.register("numba")
@torch.no_grad()
def _count_competitors_numba(
    terms: Sequence[VectorComparison],
    targets: Pairs,
    known_answers: Pairs,
    views: Views | None = None,
) -> Counts:
    """Count one term without a score matrix.

    Several terms are scored and combined for as many queries at a time as keep the score matrices
    within ``BLOCK_BYTES``.
    """
    if _fused(terms):
        return _count_by_temperature(terms, targets, known_answers, views)
    if not NOT_COMPILED.isdisjoint(term.op for term in terms):
        return _count_competitors_chunked(terms, targets, known_answers, views)
    if len(terms) == 1 and terms[0].weight == 1.0:
        return _count_in_tiles(terms[0], targets, known_answers)
    matrices = 2 if views is None else 1 + len(terms)
    at_once = max(1, BLOCK_BYTES // (4 * max(1, terms[0].n_rows) * matrices))
    return _count_in_blocks(partial(_block_scores, terms, views), at_once, targets, known_answers)


def _block_scores(
    terms: Sequence[VectorComparison], views: Views | None, low: int, high: int
) -> Tensor:
    if views is not None:
        scores = [score_tiles(term.of_queries(low, high)) for term in terms]
        return combined_score(scores, views)
    total = score_tiles(terms[0].of_queries(low, high))
    for term in terms[1:]:
        total += score_tiles(term.of_queries(low, high))
    return total


def _count_in_tiles(comparison: VectorComparison, targets: Pairs, known_answers: Pairs) -> Counts:
    """Count without a score matrix.

    All rows, targets among them, are scored by the same sequence of correctly rounded operations,
    so equal rows tie exactly, whatever the number of threads.
    """
    vectors = prepared(comparison)
    n, queries = comparison.n_rows, len(vectors[0])
    check_pairs(known_answers, queries, n)
    check_pairs(targets, queries, n)
    # Known answers as sorted keys query * n + row, without duplicates.
    keys = torch.unique(known_answers.query_ids * n + known_answers.indices)
    starts = torch.searchsorted(keys, torch.arange(queries + 1) * n)
    module, code = loops("tiles"), loops("pairs").CODES[comparison.op]
    inputs, target_arrays = tile_arrays(comparison.op, vectors), arrays(*targets)
    excluded = arrays(starts, keys % n if n else keys)
    target_scores = np.empty(len(target_arrays[1]), inputs[0].dtype)
    threads.over(
        threads.parts_by_work(target_arrays[0], vectors[0].shape[1]), module.target_scores, code,
        inputs, target_arrays, target_scores,
    )  # fmt: skip
    boundaries = tile_parts(vectors)
    # Each part adds to its own counts [t, 2]; the sum of integers does not depend on an order.
    counts = np.zeros((len(boundaries) - 1, len(target_scores), 2), np.int64)
    bad = np.zeros(len(boundaries) - 1, np.int64)
    number_of = {low: part for part, low in enumerate(boundaries[:-1])}

    def count_part(low: int, high: int) -> None:
        number = number_of[low]
        bad[number] = module.count_tiles(
            code, inputs, target_arrays, target_scores, excluded, counts[number], low, high
        )

    threads.over(boundaries, count_part)
    _check_finite(int(bad.sum()))
    better, tied = torch.from_numpy(counts.sum(0)).unbind(1)
    # A target that is not filtered out ties with itself.
    ties_itself = ~torch.isin(targets.query_ids * n + targets.indices, keys, assume_unique=False)
    return better.contiguous(), tied - ties_itself.long()
