"""Counts of the rows that beat and tie a target: all that a rank is made from."""

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
    Comparison,
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
"""Scores of a matrix that are compared with their targets at once (2 MiB in fp32)."""

Views = Literal["logits", "probabilities"]
"""How terms that are predictions of their own make one score; see ``combined_score``."""

Counts = tuple[Tensor, Tensor]
"""Rows that beat and that tie each target: int64 [t] and [t]."""


def combined_score(scores: Sequence[Tensor], views: Views | None) -> Tensor:
    """Return the score that the scores of several terms, tensors of one shape, make together.

    None: their sum. "logits": their mean. "probabilities": the logarithm of the odds p / (1 - p) of
    the mean p of their V probabilities sigmoid(score). It orders candidates as p does, but where p
    is all but 0 or 1, and equal in floating point, it still tells them apart.
    """
    if len(scores) == 1:
        return scores[0]
    if views == "probabilities":
        logits = torch.stack([score.float() for score in scores])
        yes = logsigmoid(logits)  # log sigmoid(-x) = log sigmoid(x) - x
        return yes.logsumexp(0) - (yes - logits).logsumexp(0)
    total = scores[0]
    for score in scores[1:]:
        total = total + score
    return total if views is None else total / len(scores)


@kernel
def count_competitors(
    terms: Sequence[Comparison], targets: Pairs, known_answers: Pairs, views: Views | None = None
) -> Counts:
    """Count, per target, the rows that beat and that tie it in the score that terms make.

    Equal rows tie exactly, wherever they stand in the table.

    Args:
        terms: comparisons of q queries and n rows each; ``combined_score`` says what they make.
        targets: the rows of the true answers of each query, t in all: a query with several is
            scored once.
        known_answers: the rows to leave out of each query; targets may be among them.
        views: see ``combined_score``.

    Returns:
        better [t] and tied [t]; neither counts the target itself or a row left out.

    Raises:
        NonFiniteError: a score is NaN or plus infinity.
        ValueError, IndexError: shapes do not fit, or a row is not in the table.
    """
    scores = combined_score([score_all.reference(term) for term in terms], views)
    return count_in_scores(scores, targets, known_answers)


def count_in_scores(scores: Tensor, targets: Pairs, known_answers: Pairs) -> Counts:
    """Count in a score matrix [q, n]; arguments, result and errors as of ``count_competitors``."""
    # A sum is not below infinity if a term is not; large terms together may not be either, so only
    # then look closely.
    if not scores.sum() < torch.inf:
        _check_finite(int((~(scores < torch.inf)).sum()))
    competes = torch.ones_like(scores, dtype=torch.bool)
    competes[known_answers.query_ids, known_answers.indices] = False
    # Few at once: what is made on the way stays in the cache, and is small beside ``scores``.
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
    """Raise NonFiniteError unless the number of scores that are NaN or infinite is 0.

    Minus infinity says that an answer is impossible and is a score like others; nothing could beat
    plus infinity.
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
    return _joined([count_in_scores(score_block(*block), *listed) for block, *listed in blocks])


def _count_by_temperature(
    terms: Sequence[Comparison], targets: Pairs, known_answers: Pairs, views: Views | None
) -> Counts:
    """Count for successive queries that fuse rows alike: tables are made once for them."""
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


def _fused(terms: Sequence[Comparison]) -> bool:
    return any(isinstance(term.table, FusedTable) for term in terms)


@count_competitors.register("chunked")
@torch.no_grad()
def _count_competitors_chunked(
    terms: Sequence[Comparison], targets: Pairs, known_answers: Pairs, views: Views | None = None
) -> Counts:
    """Scores of as many queries at once are held as fit into ``CHUNK_BYTES``."""
    if _fused(terms):
        return _count_by_temperature(terms, targets, known_answers, views)

    def score_block(low: int, high: int) -> Tensor:
        score = score_all.version("chunked")
        return combined_score([score(term.of_queries(low, high)) for term in terms], views)

    return _count_in_blocks(score_block, rows_at_once(terms[0].n_rows * 4), targets, known_answers)


@count_competitors.register("numba")
@torch.no_grad()
def _count_competitors_numba(
    terms: Sequence[Comparison], targets: Pairs, known_answers: Pairs, views: Views | None = None
) -> Counts:
    """One term is counted without a score matrix. More are scored and combined for as many queries
    at once as keep their score matrices within ``BLOCK_BYTES``.
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


def _block_scores(terms: Sequence[Comparison], views: Views | None, low: int, high: int) -> Tensor:
    if views is not None:
        scores = [score_tiles(term.of_queries(low, high)) for term in terms]
        return combined_score(scores, views)
    total = score_tiles(terms[0].of_queries(low, high))
    for term in terms[1:]:
        total += score_tiles(term.of_queries(low, high))
    return total


def _count_in_tiles(comparison: Comparison, targets: Pairs, known_answers: Pairs) -> Counts:
    """Count without a score matrix.

    Targets, known answers and all other rows are scored by the same sequence of correctly rounded
    operations, so equal rows tie exactly whatever the number of threads.
    """
    vectors = prepared(comparison)
    n, queries = comparison.n_rows, len(vectors[0])
    check_pairs(known_answers, queries, n)
    check_pairs(targets, queries, n)
    keys = torch.unique(known_answers.query_ids * n + known_answers.indices)
    starts = torch.searchsorted(keys, torch.arange(queries + 1) * n)
    module, code = loops("tiles"), loops("pairs").CODES[comparison.op]
    inputs, listed = tile_arrays(comparison.op, vectors), arrays(*targets)
    left_out = arrays(starts, keys % n if n else keys)
    target_scores = np.empty(len(listed[1]), inputs[0].dtype)
    threads.over(
        threads.parts_by_work(listed[0], vectors[0].shape[1]), module.target_scores, code,
        inputs, listed, target_scores,
    )  # fmt: skip
    boundaries = tile_parts(vectors)
    # Parts add to counts of their own; sums of integers have no order to depend on.
    counts = np.zeros((len(boundaries) - 1, len(target_scores), 2), np.int64)
    bad = np.zeros(len(boundaries) - 1, np.int64)
    part_at = {low: part for part, low in enumerate(boundaries[:-1])}

    def count_part(low: int, high: int) -> None:
        part = part_at[low]
        bad[part] = module.count_tiles(
            code, inputs, listed, target_scores, left_out, counts[part], low, high
        )

    threads.over(boundaries, count_part)
    _check_finite(int(bad.sum()))
    better, tied = torch.from_numpy(counts.sum(0)).unbind(1)
    # A target that is not left out has tied with itself.
    itself = ~torch.isin(targets.query_ids * n + targets.indices, keys, assume_unique=False)
    return better.contiguous(), tied - itself.long()
