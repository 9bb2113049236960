"""Scores of listed pairs of a fused table, and their gradients.

``fused`` is a ``FusedTable`` as (embeddings [n, M w], logits [n, M], temperature [q]).
"""

from __future__ import annotations

import numpy as np

from harness.kernels.loops.flags import loose
from harness.kernels.loops.pairs import DOT, L1, TINY, sign
from harness.kernels.loops.prefetch import AHEAD, prefetch_row

__all__ = ["fused_query_gradient", "fused_scores", "fused_table_gradient"]


@loose
def _fuse(embeddings, logits, temperature, row, weights, candidate):
    """Write a row's fusion weights softmax(temperature * logits[row]) [M] and fused vector [w]."""
    width, m_parts = np.uint64(len(candidate)), np.uint64(len(weights))
    top = temperature * logits[row, np.uint64(0)]
    for m in range(np.uint64(1), m_parts):
        top = max(top, temperature * logits[row, m])
    total = temperature - temperature
    for m in range(m_parts):
        weights[m] = np.exp(temperature * logits[row, m] - top)
        total += weights[m]
    for m in range(m_parts):
        weights[m] /= total
    for k in range(width):
        candidate[k] = weights[np.uint64(0)] * embeddings[row, k]
    for m in range(np.uint64(1), m_parts):
        first, weight = m * width, weights[m]
        for k in range(width):
            candidate[k] += weight * embeddings[row, first + k]


@loose
def _slope(op, query, i, candidate, g, slope):
    """Write the gradient [w] of a pair's score by the candidate's vector, times g."""
    width = np.uint64(len(candidate))
    half = np.uint64(width // np.uint64(2))
    unity = candidate.dtype.type(1)
    tiny = candidate.dtype.type(TINY)
    if op == DOT:
        for k in range(width):
            slope[k] = g * query[i, k]
    elif op == L1:
        for k in range(width):
            slope[k] = g * sign(query[i, k] - candidate[k], unity)
    else:
        for k in range(half):
            real = query[i, k] - candidate[k]
            imaginary = query[i, k + half] - candidate[k + half]
            f = g * (unity / np.sqrt(real * real + imaginary * imaginary + tiny))
            slope[k] = f * real
            slope[k + half] = f * imaginary


@loose
def _to_weights(embeddings, row, slope, weights, to_logits):
    """Write a pair's gradient [M] by temperature * logits.

    The gradient of the softmax: weight_m * slope . (embedding_m - candidate).
    """
    width, m_parts = np.uint64(len(slope)), np.uint64(len(weights))
    mean = slope[np.uint64(0)] - slope[np.uint64(0)]
    for m in range(m_parts):
        first, along = m * width, mean - mean
        for k in range(width):
            along += slope[k] * embeddings[row, first + k]
        to_logits[m] = along
    for m in range(m_parts):
        mean += weights[m] * to_logits[m]
    for m in range(m_parts):
        to_logits[m] = weights[m] * (to_logits[m] - mean)


@loose
def fused_scores(op, query, fused, pairs, out, low, high):
    """Write the scores of the pairs of queries low:high to out [p]."""
    embeddings, logits, temperature = fused
    indptr, indices = pairs
    width = np.uint64(query.shape[1])
    half = np.uint64(width // np.uint64(2))
    candidate = np.empty(query.shape[1], query.dtype)
    weights = np.empty(logits.shape[1], query.dtype)
    listed = np.uint64(len(indices))
    for i in range(np.uint64(low), np.uint64(high)):
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            if p + np.uint64(AHEAD) < listed:
                prefetch_row(embeddings, indices[p + np.uint64(AHEAD)])
            _fuse(embeddings, logits, temperature[i], np.uint64(indices[p]), weights, candidate)
            total = query.dtype.type(0)
            if op == DOT:
                for k in range(width):
                    total += query[i, k] * candidate[k]
            elif op == L1:
                for k in range(width):
                    total -= abs(query[i, k] - candidate[k])
            else:
                for k in range(half):
                    real = query[i, k] - candidate[k]
                    imaginary = query[i, k + half] - candidate[k + half]
                    total -= np.sqrt(real * real + imaginary * imaginary)
            out[p] = total


@loose
def fused_query_gradient(op, query, fused, pairs, gradient, to_query, to_temperature, low, high):
    """Add the gradients of queries low:high and of their temperatures to the outputs."""
    embeddings, logits, temperature = fused
    indptr, indices = pairs
    width, m_parts = np.uint64(query.shape[1]), np.uint64(logits.shape[1])
    candidate, slope = np.empty(query.shape[1], query.dtype), np.empty(query.shape[1], query.dtype)
    weights = np.empty(logits.shape[1], query.dtype)
    to_logits = np.empty(logits.shape[1], query.dtype)
    listed = np.uint64(len(indices))
    for i in range(np.uint64(low), np.uint64(high)):
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            if p + np.uint64(AHEAD) < listed:
                prefetch_row(embeddings, indices[p + np.uint64(AHEAD)])
            row, g = np.uint64(indices[p]), gradient[p]
            _fuse(embeddings, logits, temperature[i], row, weights, candidate)
            _slope(op, query, i, candidate, g, slope)
            if op == DOT:
                for k in range(width):
                    to_query[i, k] += g * candidate[k]
            else:
                for k in range(width):
                    to_query[i, k] -= slope[k]
            _to_weights(embeddings, row, slope, weights, to_logits)
            for m in range(m_parts):
                to_temperature[i] += to_logits[m] * logits[row, m]


@loose
def fused_table_gradient(op, query, fused, by_row, gradient, to_embeddings, to_logits, low, high):
    """Write the gradients of embeddings and logits of rows low:high (``pairs.table_gradient``)."""
    embeddings, logits, temperature = fused
    row_indptr, pair_ids, query_ids = by_row
    width, m_parts = np.uint64(query.shape[1]), np.uint64(logits.shape[1])
    candidate, slope = np.empty(query.shape[1], query.dtype), np.empty(query.shape[1], query.dtype)
    weights = np.empty(logits.shape[1], query.dtype)
    of_pair = np.empty(logits.shape[1], query.dtype)
    listed = np.uint64(len(query_ids))
    for row in range(np.uint64(low), np.uint64(high)):
        for k in range(np.uint64(embeddings.shape[1])):
            to_embeddings[row, k] = 0
        for m in range(m_parts):
            to_logits[row, m] = 0
        for position in range(np.uint64(row_indptr[row]), np.uint64(row_indptr[row + 1])):
            if position + np.uint64(AHEAD) < listed:
                prefetch_row(query, query_ids[position + np.uint64(AHEAD)])
            i = np.uint64(query_ids[position])
            _fuse(embeddings, logits, temperature[i], row, weights, candidate)
            _slope(op, query, i, candidate, gradient[np.uint64(pair_ids[position])], slope)
            for m in range(m_parts):
                first, weight = m * width, weights[m]
                for k in range(width):
                    to_embeddings[row, first + k] += weight * slope[k]
            _to_weights(embeddings, row, slope, weights, of_pair)
            for m in range(m_parts):
                to_logits[row, m] += of_pair[m] * temperature[i]
