"""Scores of listed pairs of a query and a table row, and their gradients."""

from __future__ import annotations

import numpy as np

from harness.kernels.loops.flags import loose, strict
from harness.kernels.loops.prefetch import AHEAD, prefetch_row

__all__ = [
    "CODES",
    "DOT",
    "L1",
    "MODULUS",
    "TINY",
    "group_by_row",
    "pair_scores",
    "query_gradient",
    "sign",
    "table_gradient",
]

DOT, L1, MODULUS = 0, 1, 2
CODES = {"dot": DOT, "l1": L1, "modulus": MODULUS}
TINY = 1e-30
"""Added under the root in gradients, so that the gradient of a modulus at 0 is 0."""


@loose
def sign(x, unity):
    """Return ``one`` with the sign of x, 0 of 0; never NaN, for then the score was NaN before.

    ``np.sign`` compares thrice; this took the gradients of ``l1`` from 3.8 to 3.2 ms (query) and
    from 4.1 to 3.7 ms (table; 66,560 pairs of width 512 on two cores).
    """
    return np.copysign(unity, x) if x != 0 else unity - unity


@loose
def _scaled(scale, i, k, value):
    """Return ``value``, times component k of the scale of query i if there is a scale."""
    # Numba drops the branch when it compiles: None is a type of its own.
    return value if scale is None else scale[i, k] * value


@loose
def _add(to_scale, i, k, amount):
    """Add to component k of the gradient of the scale of query i, if there is a scale."""
    if to_scale is not None:
        to_scale[i, k] += amount


@loose
def pair_scores(op, vectors, pairs, out, low, high):
    """Write the scores of the pairs of queries low:high to out [p]."""
    query, table, scale = vectors
    indptr, indices = pairs
    # Unsigned indices: numba wraps negative ones, and that test keeps loops from vector registers.
    width = np.uint64(query.shape[1])
    half = np.uint64(width // 2)
    n_pairs = np.uint64(len(indices))
    for i in range(np.uint64(low), np.uint64(high)):
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            # Rows are at random addresses; ask for one a few pairs before it is needed.
            if p + np.uint64(AHEAD) < n_pairs:
                prefetch_row(table, indices[p + np.uint64(AHEAD)])
            row = np.uint64(indices[p])
            total = query.dtype.type(0)
            if op == DOT:
                for k in range(width):
                    total += query[i, k] * table[row, k]
            elif op == L1:
                for k in range(width):
                    total -= abs(query[i, k] - _scaled(scale, i, k, table[row, k]))
            else:
                for k in range(half):
                    z = k + half
                    real = query[i, k] - _scaled(scale, i, k, table[row, k])
                    imaginary = query[i, z] - _scaled(scale, i, z, table[row, z])
                    total -= np.sqrt(real * real + imaginary * imaginary)
            out[p] = total


@loose
def query_gradient(op, vectors, pairs, gradient, to_query, to_scale, low, high):
    """Add the gradients of queries low:high and their scales, given those of the scores [p]."""
    query, table, scale = vectors
    indptr, indices = pairs
    width = np.uint64(query.shape[1])
    half = np.uint64(width // 2)
    unity = query.dtype.type(1)
    tiny = query.dtype.type(TINY)
    n_pairs = np.uint64(len(indices))
    for i in range(np.uint64(low), np.uint64(high)):
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            if p + np.uint64(AHEAD) < n_pairs:
                prefetch_row(table, indices[p + np.uint64(AHEAD)])
            row = np.uint64(indices[p])
            g = gradient[p]
            if op == DOT:
                for k in range(width):
                    to_query[i, k] += g * table[row, k]
            elif op == L1:
                for k in range(width):
                    value = table[row, k]
                    step = g * sign(query[i, k] - _scaled(scale, i, k, value), unity)
                    to_query[i, k] -= step
                    _add(to_scale, i, k, step * value)
            else:
                for k in range(half):
                    z = k + half
                    value, imaginary_value = table[row, k], table[row, z]
                    real = query[i, k] - _scaled(scale, i, k, value)
                    imaginary = query[i, z] - _scaled(scale, i, z, imaginary_value)
                    f = g * (unity / np.sqrt(real * real + imaginary * imaginary + tiny))
                    to_query[i, k] -= f * real
                    to_query[i, z] -= f * imaginary
                    _add(to_scale, i, k, f * real * value)
                    _add(to_scale, i, z, f * imaginary * imaginary_value)


@loose
def table_gradient(op, vectors, by_row, gradient, to_table, low, high):
    """Write the gradients of table rows low:high, given those of the scores [p].

    ``by_row`` holds the pairs in the order of ``group_by_row``.
    """
    query, table, scale = vectors
    row_indptr, pair_ids, query_ids = by_row
    width = np.uint64(query.shape[1])
    half = np.uint64(width // 2)
    unity = query.dtype.type(1)
    tiny = query.dtype.type(TINY)
    n_pairs = np.uint64(len(query_ids))
    # A row belongs to one thread, which sums its pairs in their order: no atomics, and the same
    # bits with any number of threads.
    for row in range(np.uint64(low), np.uint64(high)):
        for k in range(width):
            to_table[row, k] = 0
        for position in range(np.uint64(row_indptr[row]), np.uint64(row_indptr[row + 1])):
            if position + np.uint64(AHEAD) < n_pairs:
                prefetch_row(query, query_ids[position + np.uint64(AHEAD)])
            i = np.uint64(query_ids[position])
            g = gradient[np.uint64(pair_ids[position])]
            if op == DOT:
                for k in range(width):
                    to_table[row, k] += g * query[i, k]
            elif op == L1:
                for k in range(width):
                    direction = sign(query[i, k] - _scaled(scale, i, k, table[row, k]), unity)
                    to_table[row, k] += _scaled(scale, i, k, g) * direction
            else:
                for k in range(half):
                    z = k + half
                    real = query[i, k] - _scaled(scale, i, k, table[row, k])
                    imaginary = query[i, z] - _scaled(scale, i, z, table[row, z])
                    f = g * (unity / np.sqrt(real * real + imaginary * imaginary + tiny))
                    to_table[row, k] += _scaled(scale, i, k, f) * real
                    to_table[row, z] += _scaled(scale, i, z, f) * imaginary


@strict
def group_by_row(pairs, by_row):
    """Sort pairs by table row (stable counting sort).

    Args:
        pairs: pairs in the order of queries.
        by_row: (row_indptr [n + 1], zeros, pair_ids [p], query_ids [p]), written: the pairs of row
            r are pair_ids[row_indptr[r]:row_indptr[r + 1]], their queries the same slice of
            query_ids.
    """
    indptr, indices = pairs
    row_indptr, pair_ids, query_ids = by_row
    for p in range(len(indices)):  # sizes, one place to the right
        row_indptr[indices[p] + 1] += 1
    for row in range(len(row_indptr) - 1):  # starts
        row_indptr[row + 1] += row_indptr[row]
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            position = row_indptr[indices[p]]
            pair_ids[position] = p
            query_ids[position] = i
            row_indptr[indices[p]] = position + 1
    # Filling moved each row's start to its end; shift the array back by one row.
    for row in range(len(row_indptr) - 1, 0, -1):
        row_indptr[row] = row_indptr[row - 1]
    row_indptr[0] = 0
