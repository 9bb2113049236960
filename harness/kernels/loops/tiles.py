"""Scores of all pairs tile by tile, and counts of the rows above and tied with a target."""

from __future__ import annotations

import numpy as np

from harness.kernels.loops.flags import strict
from harness.kernels.loops.pairs import DOT, L1

__all__ = ["LANES", "count_tiles", "score_tiles", "target_scores"]

LANES = 32
"""Number of candidates of a tile [width, LANES], which stays in the L2 cache."""


@strict
def _fill_tile(table, rows, first, count, tile):
    """Transpose ``count`` rows of a table into columns of ``tile`` [width, LANES], the rest zero.

    The rows are first, first + 1, ..., or rows[first], rows[first + 1], ... if ``rows`` has any.
    """
    listed = rows.shape[0] > 0
    for lane in range(LANES):
        if lane < count:
            row = rows[first + lane] if listed else first + lane
            for k in range(table.shape[1]):
                tile[k, lane] = table[row, k]
        else:
            for k in range(table.shape[1]):
                tile[k, lane] = 0


@strict
def _score_tile(op, query, scale, i, tile, out):
    """Write the scores of query i against the columns of a tile to out [LANES].

    Every lane computes the same correctly rounded operations in the same order (strict IEEE:
    nothing reordered, nothing fused), so equal rows get equal scores whatever their position. Four
    components per step read and write ``out`` a quarter as often.
    """
    width = np.uint64(query.shape[1])
    half = np.uint64(width // 2)
    for lane in range(LANES):
        out[lane] = 0
    if op == DOT:
        for k in range(np.uint64(0), width, np.uint64(4)):
            a, b, c, d = k, k + np.uint64(1), k + np.uint64(2), k + np.uint64(3)
            qa, qb, qc, qd = query[i, a], query[i, b], query[i, c], query[i, d]
            for lane in range(LANES):
                out[lane] += (qa * tile[a, lane] + qb * tile[b, lane]) + (
                    qc * tile[c, lane] + qd * tile[d, lane]
                )
    elif op == L1:
        for k in range(np.uint64(0), width, np.uint64(4)):
            a, b, c, d = k, k + np.uint64(1), k + np.uint64(2), k + np.uint64(3)
            qa, qb, qc, qd = query[i, a], query[i, b], query[i, c], query[i, d]
            sa, sb, sc, sd = _at(scale, i, a), _at(scale, i, b), _at(scale, i, c), _at(scale, i, d)
            for lane in range(LANES):
                first = abs(qa - _times(sa, tile[a, lane])) + abs(qb - _times(sb, tile[b, lane]))
                second = abs(qc - _times(sc, tile[c, lane])) + abs(qd - _times(sd, tile[d, lane]))
                out[lane] -= first + second
    else:
        for k in range(np.uint64(0), half, np.uint64(2)):
            a, b = k, k + np.uint64(1)
            c, d = half + a, half + b
            qa, qb, qc, qd = query[i, a], query[i, b], query[i, c], query[i, d]
            sa, sb, sc, sd = _at(scale, i, a), _at(scale, i, b), _at(scale, i, c), _at(scale, i, d)
            for lane in range(LANES):
                ta, tb = _times(sa, tile[a, lane]), _times(sb, tile[b, lane])
                tc, td = _times(sc, tile[c, lane]), _times(sd, tile[d, lane])
                out[lane] -= _modulus(qa - ta, qc - tc) + _modulus(qb - tb, qd - td)


@strict
def _at(scale, i, k):
    # Numba drops the branch when it compiles: None is a type of its own.
    return None if scale is None else scale[i, k]


@strict
def _times(factor, value):
    return value if factor is None else factor * value


@strict
def _modulus(real, imaginary):
    return np.sqrt(real * real + imaginary * imaginary)


@strict
def target_scores(op, vectors, targets, out, low, high):
    """Write the scores of the targets of queries low:high to out [t]."""
    query, table, scale = vectors
    indptr, indices = targets
    tile = np.empty((table.shape[1], LANES), query.dtype)
    block = np.empty(LANES, query.dtype)
    for first in range(indptr[low], indptr[high], LANES):
        count = min(LANES, indptr[high] - first)
        _fill_tile(table, indices, first, count, tile)
        scored = -1  # query whose scores are in ``block``; targets of one query follow each other
        for lane in range(count):
            i = np.searchsorted(indptr, first + lane, side="right") - 1
            if i != scored:
                _score_tile(op, query, scale, i, tile, block)
                scored = int(i)
            out[first + lane] = block[lane]


@strict
def score_tiles(op, vectors, out, low, high):
    """Write the scores of all queries against the rows of tiles low:high to their columns of out.

    Args:
        out: [q, n].
    """
    query, table, scale = vectors
    none = np.empty(0, np.int64)
    tile = np.empty((table.shape[1], LANES), query.dtype)
    block = np.empty(LANES, query.dtype)
    for index in range(low, high):
        first = index * LANES
        count = min(LANES, table.shape[0] - first)
        _fill_tile(table, none, first, count, tile)
        for i in range(query.shape[0]):
            _score_tile(op, query, scale, i, tile, block)
            for lane in range(count):
                out[i, first + lane] = block[lane]


@strict
def count_tiles(op, vectors, targets, target_scores, excluded, counts, low, high):
    """Count per target the rows of tiles low:high that score above it and that tie.

    Args:
        targets: CSR of the t targets by query.
        target_scores: [t].
        excluded: CSR of the rows to exclude by query, ascending within a query.
        counts: [t, 2] better and tied, added to.

    Returns:
        The number of scores that are NaN or plus infinity.
    """
    query, table, scale = vectors
    target_indptr, _ = targets
    indptr, indices = excluded
    none = np.empty(0, np.int64)
    tile = np.empty((table.shape[1], LANES), query.dtype)
    block = np.empty(LANES, query.dtype)
    bad = np.int64(0)
    # Tiles come in ascending order, so each query's position among its excluded rows only grows.
    next_excluded = np.empty(query.shape[0], np.int64)
    for i in range(query.shape[0]):
        rows = indices[indptr[i] : indptr[i + 1]]
        next_excluded[i] = indptr[i] + np.searchsorted(rows, low * LANES)
    for index in range(low, high):
        first = index * LANES
        count = min(LANES, table.shape[0] - first)
        _fill_tile(table, none, first, count, tile)
        for i in range(query.shape[0]):
            _score_tile(op, query, scale, i, tile, block)
            for lane in range(count):
                bad += not block[lane] < np.inf  # true for NaN too
            begin = next_excluded[i]
            end = begin
            while end < indptr[i + 1] and indices[end] < first + LANES:
                end += 1
            next_excluded[i] = end
            for target in range(target_indptr[i], target_indptr[i + 1]):
                target_score = target_scores[target]
                better, tied = 0, 0
                # Branch-free over all lanes, so that comparisons are done by vector instructions.
                for lane in range(count):
                    better += block[lane] > target_score
                    tied += block[lane] == target_score
                # All lanes were counted; take the excluded rows of this tile back.
                for listed in range(begin, end):
                    score = block[indices[listed] - first]
                    better -= score > target_score
                    tied -= score == target_score
                counts[target, 0] += better
                counts[target, 1] += tied
    return bad
