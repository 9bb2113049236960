"""The compiled loops. Each works on a part ``low:high`` of its outputs; none allocates.

Importing this module imports numba; ``cpu`` does so on first use, after the cache folder is set.

``op`` is a code (``CODES``). ``scale`` has no rows when there is no scale. Flags: sums may be
reordered and products fused, but NaN and infinity keep their meaning, so that a bad score is found.
The functions that rank must not even reorder: see ``tile_scores``.
"""
# Numba compiles these functions; it has no types that mypy could check.
# mypy: disallow-untyped-decorators=False, disallow-untyped-defs=False
# mypy: disallow-incomplete-defs=False

from __future__ import annotations

import numba
import numpy as np

from harness.kernels._prefetch import AHEAD, prefetch_row
from harness.kernels.reference import SHORTEST

__all__ = [
    "CODES",
    "GATED_ROWS",
    "GATED_TILES",
    "LANES",
    "TANH_ROWS",
    "count_tiles",
    "draw_free",
    "dropout",
    "gate",
    "gate_gradient",
    "gated_cosines",
    "gated_gradient",
    "group_by_row",
    "mixed_query_gradient",
    "mixed_scores",
    "mixed_table_gradient",
    "pair_scores",
    "query_gradient",
    "rotate",
    "rotate_gradient",
    "score_tiles",
    "table_gradient",
    "tanh_dot",
    "tanh_dot_gradient",
    "target_scores",
]

DOT, L1, MODULUS = 0, 1, 2
CODES = {"dot": DOT, "l1": L1, "modulus": MODULUS}
TINY = 1e-30
"""Added under the root in gradients: that of a modulus at 0 is then 0, as in the reference."""
LANES = 32
"""Candidates scored side by side; a tile is [width, LANES] and stays in the L2 cache."""

TANH_ROWS = 512
"""Rows whose gradients of a query are added up by one thread."""

GATED_ROWS = 4
"""Rows that meet each vector of the other side while they are in the L1 cache: a tile."""

GATED_TILES = 24
"""Tiles whose gradients of the other side and of the bias are added up by one thread."""

_LOOSE = {"reassoc", "contract", "arcp", "nsz"}
_loose = numba.njit(nogil=True, cache=True, fastmath=_LOOSE, error_model="numpy", boundscheck=False)
_contracting = numba.njit(
    nogil=True, cache=True, fastmath={"contract"}, error_model="numpy", boundscheck=False
)
_strict = numba.njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)


@_loose
def _sign(x, one):
    """Return ``one`` with the sign of x, 0 of 0; never NaN, for then the score was NaN before.

    ``np.sign`` compares thrice; this took the gradients of ``l1`` from 3.8 to 3.2 ms (query) and
    from 4.1 to 3.7 ms (table; 66,560 pairs of width 512 on two cores).
    """
    return np.copysign(one, x) if x != 0 else one - one


@_loose
def pair_scores(op, query, table, scale, offsets, candidates, out, low, high):
    """Write the scores of the pairs of queries low:high."""
    width = np.uint64(query.shape[1])
    half = np.uint64(width // 2)
    scaled = scale.shape[0] > 0
    listed = np.uint64(len(candidates))
    for i in range(np.uint64(low), np.uint64(high)):
        for p in range(np.uint64(offsets[i]), np.uint64(offsets[i + 1])):
            if p + np.uint64(AHEAD) < listed:
                prefetch_row(table, candidates[p + np.uint64(AHEAD)])
            row = np.uint64(candidates[p])
            total = query.dtype.type(0)
            if op == DOT:
                for k in range(width):
                    total += query[i, k] * table[row, k]
            elif op == L1:
                if scaled:
                    for k in range(width):
                        total -= abs(query[i, k] - scale[i, k] * table[row, k])
                else:
                    for k in range(width):
                        total -= abs(query[i, k] - table[row, k])
            elif scaled:
                for k in range(half):
                    real = query[i, k] - scale[i, k] * table[row, k]
                    imaginary = query[i, k + half] - scale[i, k + half] * table[row, k + half]
                    total -= np.sqrt(real * real + imaginary * imaginary)
            else:
                for k in range(half):
                    real = query[i, k] - table[row, k]
                    imaginary = query[i, k + half] - table[row, k + half]
                    total -= np.sqrt(real * real + imaginary * imaginary)
            out[p] = total


@_loose
def query_gradient(
    op, query, table, scale, offsets, candidates, gradient, to_query, to_scale, low, high
):
    """Add up the gradients of queries low:high (and of their scales)."""
    width = np.uint64(query.shape[1])
    half = np.uint64(width // 2)
    scaled = scale.shape[0] > 0
    one = query.dtype.type(1)
    tiny = query.dtype.type(TINY)
    listed = np.uint64(len(candidates))
    for i in range(np.uint64(low), np.uint64(high)):
        for p in range(np.uint64(offsets[i]), np.uint64(offsets[i + 1])):
            if p + np.uint64(AHEAD) < listed:
                prefetch_row(table, candidates[p + np.uint64(AHEAD)])
            row = np.uint64(candidates[p])
            g = gradient[p]
            if op == DOT:
                for k in range(width):
                    to_query[i, k] += g * table[row, k]
            elif op == L1:
                if scaled:
                    for k in range(width):
                        value = table[row, k]
                        step = g * _sign(query[i, k] - scale[i, k] * value, one)
                        to_query[i, k] -= step
                        to_scale[i, k] += step * value
                else:
                    for k in range(width):
                        to_query[i, k] -= g * _sign(query[i, k] - table[row, k], one)
            elif scaled:
                for k in range(half):
                    value, other = table[row, k], table[row, k + half]
                    real = query[i, k] - scale[i, k] * value
                    imaginary = query[i, k + half] - scale[i, k + half] * other
                    f = g * (one / np.sqrt(real * real + imaginary * imaginary + tiny))
                    to_query[i, k] -= f * real
                    to_query[i, k + half] -= f * imaginary
                    to_scale[i, k] += f * real * value
                    to_scale[i, k + half] += f * imaginary * other
            else:
                for k in range(half):
                    real = query[i, k] - table[row, k]
                    imaginary = query[i, k + half] - table[row, k + half]
                    f = g * (one / np.sqrt(real * real + imaginary * imaginary + tiny))
                    to_query[i, k] -= f * real
                    to_query[i, k + half] -= f * imaginary


@_loose
def table_gradient(op, query, table, scale, starts, pairs, owners, gradient, to_table, low, high):
    """Write the gradients of table rows low:high, from their pairs (``group_by_row``)."""
    width = np.uint64(query.shape[1])
    half = np.uint64(width // 2)
    scaled = scale.shape[0] > 0
    one = query.dtype.type(1)
    tiny = query.dtype.type(TINY)
    listed = np.uint64(len(owners))
    for row in range(np.uint64(low), np.uint64(high)):
        for k in range(width):
            to_table[row, k] = 0
        for place in range(np.uint64(starts[row]), np.uint64(starts[row + 1])):
            if place + np.uint64(AHEAD) < listed:
                prefetch_row(query, owners[place + np.uint64(AHEAD)])
            i = np.uint64(owners[place])
            g = gradient[np.uint64(pairs[place])]
            if op == DOT:
                for k in range(width):
                    to_table[row, k] += g * query[i, k]
            elif op == L1:
                if scaled:
                    for k in range(width):
                        s = scale[i, k]
                        to_table[row, k] += g * s * _sign(query[i, k] - s * table[row, k], one)
                else:
                    for k in range(width):
                        to_table[row, k] += g * _sign(query[i, k] - table[row, k], one)
            elif scaled:
                for k in range(half):
                    s, z = scale[i, k], scale[i, k + half]
                    real = query[i, k] - s * table[row, k]
                    imaginary = query[i, k + half] - z * table[row, k + half]
                    f = g * (one / np.sqrt(real * real + imaginary * imaginary + tiny))
                    to_table[row, k] += f * s * real
                    to_table[row, k + half] += f * z * imaginary
            else:
                for k in range(half):
                    real = query[i, k] - table[row, k]
                    imaginary = query[i, k + half] - table[row, k + half]
                    f = g * (one / np.sqrt(real * real + imaginary * imaginary + tiny))
                    to_table[row, k] += f * real
                    to_table[row, k + half] += f * imaginary


@_loose
def _mix(parts, logits, temperature, row, weights, mixed):
    """Write the weights of a row's parts, and the row that they make.

    weights = softmax(temperature * logits[row]), mixed = sum over m of weights[m] * parts[row, m].
    """
    width, m_parts = np.uint64(len(mixed)), np.uint64(len(weights))
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
        mixed[k] = weights[np.uint64(0)] * parts[row, k]
    for m in range(np.uint64(1), m_parts):
        first, weight = m * width, weights[m]
        for k in range(width):
            mixed[k] += weight * parts[row, first + k]


@_loose
def _slope(op, query, i, mixed, g, slope):
    """Write the gradient of a pair's score, times g, by the candidate's vector."""
    width = np.uint64(len(mixed))
    half = np.uint64(width // np.uint64(2))
    one = mixed.dtype.type(1)
    tiny = mixed.dtype.type(TINY)
    if op == DOT:
        for k in range(width):
            slope[k] = g * query[i, k]
    elif op == L1:
        for k in range(width):
            slope[k] = g * _sign(query[i, k] - mixed[k], one)
    else:
        for k in range(half):
            real = query[i, k] - mixed[k]
            imaginary = query[i, k + half] - mixed[k + half]
            f = g * (one / np.sqrt(real * real + imaginary * imaginary + tiny))
            slope[k] = f * real
            slope[k + half] = f * imaginary


@_loose
def _to_weights(parts, row, slope, weights, to_logits):
    """Write a pair's gradient by temperature * logits: w_m (slope . part_m - slope . mixed)."""
    width, m_parts = np.uint64(len(slope)), np.uint64(len(weights))
    mean = slope[np.uint64(0)] - slope[np.uint64(0)]
    for m in range(m_parts):
        first, along = m * width, mean - mean
        for k in range(width):
            along += slope[k] * parts[row, first + k]
        to_logits[m] = along
    for m in range(m_parts):
        mean += weights[m] * to_logits[m]
    for m in range(m_parts):
        to_logits[m] = weights[m] * (to_logits[m] - mean)


@_loose
def mixed_scores(op, query, parts, logits, temperature, offsets, candidates, out, low, high):
    """Write the scores of the pairs of queries low:high with candidates mixed for the query."""
    width = np.uint64(query.shape[1])
    half = np.uint64(width // np.uint64(2))
    mixed = np.empty(query.shape[1], query.dtype)
    weights = np.empty(logits.shape[1], query.dtype)
    listed = np.uint64(len(candidates))
    for i in range(np.uint64(low), np.uint64(high)):
        for p in range(np.uint64(offsets[i]), np.uint64(offsets[i + 1])):
            if p + np.uint64(AHEAD) < listed:
                prefetch_row(parts, candidates[p + np.uint64(AHEAD)])
            _mix(parts, logits, temperature[i], np.uint64(candidates[p]), weights, mixed)
            total = query.dtype.type(0)
            if op == DOT:
                for k in range(width):
                    total += query[i, k] * mixed[k]
            elif op == L1:
                for k in range(width):
                    total -= abs(query[i, k] - mixed[k])
            else:
                for k in range(half):
                    real = query[i, k] - mixed[k]
                    imaginary = query[i, k + half] - mixed[k + half]
                    total -= np.sqrt(real * real + imaginary * imaginary)
            out[p] = total


@_loose
def mixed_query_gradient(
    op, query, parts, logits, temperature, offsets, candidates, gradient,
    to_query, to_temperature, low, high,
):  # fmt: skip
    """Add up the gradients of queries low:high and of their temperatures."""
    width, m_parts = np.uint64(query.shape[1]), np.uint64(logits.shape[1])
    mixed, slope = np.empty(query.shape[1], query.dtype), np.empty(query.shape[1], query.dtype)
    weights = np.empty(logits.shape[1], query.dtype)
    to_logits = np.empty(logits.shape[1], query.dtype)
    listed = np.uint64(len(candidates))
    for i in range(np.uint64(low), np.uint64(high)):
        for p in range(np.uint64(offsets[i]), np.uint64(offsets[i + 1])):
            if p + np.uint64(AHEAD) < listed:
                prefetch_row(parts, candidates[p + np.uint64(AHEAD)])
            row, g = np.uint64(candidates[p]), gradient[p]
            _mix(parts, logits, temperature[i], row, weights, mixed)
            _slope(op, query, i, mixed, g, slope)
            if op == DOT:
                for k in range(width):
                    to_query[i, k] += g * mixed[k]
            else:
                for k in range(width):
                    to_query[i, k] -= slope[k]
            _to_weights(parts, row, slope, weights, to_logits)
            for m in range(m_parts):
                to_temperature[i] += to_logits[m] * logits[row, m]


@_loose
def mixed_table_gradient(
    op, query, parts, logits, temperature, starts, pairs, owners, gradient,
    to_parts, to_logits, low, high,
):  # fmt: skip
    """Write the gradients of parts and logits of rows low:high, from their pairs."""
    width, m_parts = np.uint64(query.shape[1]), np.uint64(logits.shape[1])
    mixed, slope = np.empty(query.shape[1], query.dtype), np.empty(query.shape[1], query.dtype)
    weights = np.empty(logits.shape[1], query.dtype)
    of_pair = np.empty(logits.shape[1], query.dtype)
    listed = np.uint64(len(owners))
    for row in range(np.uint64(low), np.uint64(high)):
        for k in range(np.uint64(parts.shape[1])):
            to_parts[row, k] = 0
        for m in range(m_parts):
            to_logits[row, m] = 0
        for place in range(np.uint64(starts[row]), np.uint64(starts[row + 1])):
            if place + np.uint64(AHEAD) < listed:
                prefetch_row(query, owners[place + np.uint64(AHEAD)])
            i = np.uint64(owners[place])
            _mix(parts, logits, temperature[i], row, weights, mixed)
            _slope(op, query, i, mixed, gradient[np.uint64(pairs[place])], slope)
            for m in range(m_parts):
                first, weight = m * width, weights[m]
                for k in range(width):
                    to_parts[row, first + k] += weight * slope[k]
            _to_weights(parts, row, slope, weights, of_pair)
            for m in range(m_parts):
                to_logits[row, m] += of_pair[m] * temperature[i]


@_strict
def _hashed(h):
    """Mix 32 bits: "lowbias32", https://nullprogram.com/blog/2018/07/31/ (bias 0.17)."""
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x7FEB352D))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    h = np.uint32(h * np.uint32(0x846CA68B))
    return np.uint32(h ^ (h >> np.uint32(16)))


@_strict
def dropout(x, first, second, threshold, factor, out, low, high):
    """Write x * factor, or x * 0 where the hash of a place and two seeds is below the threshold.

    After 2^32 numbers the pattern repeats.
    """
    for i in range(np.uint64(low), np.uint64(high)):
        h = _hashed(np.uint32(_hashed(np.uint32(np.uint32(i) + first)) ^ second))
        out[i] = x[i] * (factor if h >= threshold else np.float32(0))


@_loose
def _tanh(x):
    """Return tanh to 4 units in the last place: a ratio of polynomials, as Eigen has it
    (``generic_fast_tanh_float``), which beyond 7.9 is 1 in single precision; NaN stays NaN."""
    most = np.float32(7.90531110763549805)
    x = most if x > most else x
    x = -most if x < -most else x
    s = x * x
    p = np.float32(-2.76076847742355e-16) * s + np.float32(2.00018790482477e-13)
    p = p * s + np.float32(-8.60467152213735e-11)
    p = p * s + np.float32(5.12229709037114e-08)
    p = p * s + np.float32(1.48572235717979e-05)
    p = p * s + np.float32(6.37261928875436e-04)
    p = p * s + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06) * s + np.float32(1.18534705686654e-04)
    q = q * s + np.float32(2.26843463243900e-03)
    q = q * s + np.float32(4.89352518554385e-03)
    return x * p / q


@_loose
def tanh_dot(x, query, out, low, high):
    """Write sum_k tanh(x_k) query_k of rows low:high."""
    width = np.uint64(x.shape[1])
    for i in range(np.uint64(low), np.uint64(high)):
        total = np.float32(0)
        for k in range(width):
            total += _tanh(x[i, k]) * query[k]
        out[i] = total


@_loose
def tanh_dot_gradient(x, query, gradient, to_x, to_query, low, high):
    """Write the gradients of ``tanh_dot``; of the query, of each block of rows low:high apart.

    Args:
        to_query: [blocks, width], zeros; ``TANH_ROWS`` rows make a block.
    """
    rows, width = np.uint64(x.shape[0]), np.uint64(x.shape[1])
    for block in range(np.uint64(low), np.uint64(high)):
        first = block * np.uint64(TANH_ROWS)
        for i in range(first, min(first + np.uint64(TANH_ROWS), rows)):
            g = gradient[i]
            for k in range(width):
                t = _tanh(x[i, k])
                to_x[i, k] = g * query[k] * (np.float32(1) - t * t)
                to_query[block, k] += g * t


@_contracting
def _exp(x):
    """Return exp(x) of x <= 0, from -87 on, to 2 units in the last place; NaN stays NaN.

    A power of two times a polynomial, as Cephes has it (``single/expf.c``). To reorder sums would
    lose what ln 2 is split in two for.
    """
    x = max(x, np.float32(-87))
    power = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    r = x - power * np.float32(0.693359375)
    r += power * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1)
    return p * np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)


@_loose
def gate(x, logits, bias, seen, rest, length, low, high):
    """Write seen = x * g, rest = seen * (1 - g) and the lengths of seen, of rows low:high.

    g is sigmoid(logits + bias); both it and 1 - g are right in relation to themselves, for where
    all of a vector's gates are nearly closed its direction is still theirs.
    """
    one = np.float32(1)
    for i in range(np.uint64(low), np.uint64(high)):
        total = np.float32(0)
        for c in range(np.uint64(x.shape[1])):
            logit = logits[i, c] + bias[c]
            power = _exp(-abs(logit))
            large = one / (one + power)
            small = power * large
            value = x[i, c] * (small if logit < 0 else large)
            seen[i, c] = value
            rest[i, c] = value * (large if logit < 0 else small)
            total += value * value
        root = np.sqrt(total)
        length[i] = np.float32(SHORTEST) if root < np.float32(SHORTEST) else root  # NaN stays


@_loose
def gate_gradient(seen, rest, length, along, gradient, to_logits, to_bias, low, high):
    """Write the gradients of the logits of rows low:high, and add them to the bias's.

    Args:
        seen, rest, length: what ``gate`` wrote.
        along: [n], what of the gradient changes a row's length alone: gradient * cosine, summed.
        gradient: [n, width], of seen / length, over length.
    """
    for i in range(np.uint64(low), np.uint64(high)):
        share = np.float32(0)  # the shortest have no length of their own
        if length[i] != np.float32(SHORTEST):
            share = along[i] / (length[i] * length[i])
        for c in range(np.uint64(seen.shape[1])):
            to_logit = (gradient[i, c] - share * seen[i, c]) * rest[i, c]
            to_logits[i, c] = to_logit
            to_bias[c] += to_logit


@_loose
def gated_cosines(own, own_length, starts, x, logits, bias, out, low, high):
    """Write the cosines of ``own``, which ``gate`` wrote, and gated rows of x, tiles low:high.

    Args:
        own: [b, width]; those of group g are ``starts[g]:starts[g + 1]``.
        x: [n, width].
        logits: [groups, n, width]. A group has as many tiles as n asks for.
        out: [b, n].
    """
    n, width, four = np.uint64(x.shape[0]), np.uint64(x.shape[1]), np.uint64(GATED_ROWS)
    tiles = (n + four - np.uint64(1)) // four
    seen, rest = np.zeros((4, x.shape[1]), x.dtype), np.empty((4, x.shape[1]), x.dtype)
    length = np.ones(4, x.dtype)
    seen0, seen1, seen2, seen3 = seen[0], seen[1], seen[2], seen[3]
    for tile in range(np.uint64(low), np.uint64(high)):
        group, first = tile // tiles, (tile % tiles) * four
        rows = min(four, n - first)
        gate(x[first:], logits[group, first:], bias, seen, rest, length, 0, rows)
        for j in range(np.uint64(starts[group]), np.uint64(starts[group + np.uint64(1)])):
            dot0 = dot1 = dot2 = dot3 = np.float32(0)
            for c in range(width):
                value = own[j, c]
                dot0 += value * seen0[c]
                dot1 += value * seen1[c]
                dot2 += value * seen2[c]
                dot3 += value * seen3[c]
            dots = dot0, dot1, dot2, dot3
            for r in range(rows):
                out[j, first + r] = dots[r] / (own_length[j] * length[r])


@_loose
def gated_gradient(
    own, own_length, starts, x, logits, bias, cosines, gradient,
    to_own, along_own, to_logits, to_bias, low, high,
):  # fmt: skip
    """Write the gradients of ``gated_cosines``; of the other side and the bias of blocks apart.

    Args:
        to_own: [blocks, b, width], zeros; ``GATED_TILES`` tiles of a group make a block.
        along_own: [blocks, b]; as in ``gate_gradient``.
        to_logits: [groups, n, width], written.
        to_bias: [groups * blocks, width], zeros.
    """
    n, width, four = np.uint64(x.shape[0]), np.uint64(x.shape[1]), np.uint64(GATED_ROWS)
    blocks = np.uint64(len(to_own))
    seen, rest = np.zeros((4, x.shape[1]), x.dtype), np.empty((4, x.shape[1]), x.dtype)
    to_seen, p = np.empty((4, x.shape[1]), x.dtype), np.zeros(4, x.dtype)
    length, along = np.ones(4, x.dtype), np.empty(4, x.dtype)
    along_mine = np.empty(len(own), x.dtype)  # threads would write to one line of the cache
    seen0, seen1, seen2, seen3 = seen[0], seen[1], seen[2], seen[3]
    to_seen0, to_seen1, to_seen2, to_seen3 = to_seen[0], to_seen[1], to_seen[2], to_seen[3]
    for part in range(np.uint64(low), np.uint64(high)):
        group, block = part // blocks, part % blocks
        start, end = np.uint64(starts[group]), np.uint64(starts[group + np.uint64(1)])
        along_mine[start:end] = 0
        for place in range(np.uint64(GATED_TILES)):
            first = (block * np.uint64(GATED_TILES) + place) * four
            if first >= n:
                break
            rows = min(four, n - first)
            p[rows:] = 0
            to_seen[:] = 0
            along[:] = 0
            gate(x[first:], logits[group, first:], bias, seen, rest, length, 0, rows)
            for j in range(start, end):
                for r in range(rows):
                    slope = gradient[j, first + r]
                    p[r] = slope / (own_length[j] * length[r])
                    along[r] += slope * cosines[j, first + r]
                    along_mine[j] += slope * cosines[j, first + r]
                p0, p1, p2, p3 = p[0], p[1], p[2], p[3]
                for c in range(width):
                    value = own[j, c]
                    to_own[block, j, c] += (
                        p0 * seen0[c] + p1 * seen1[c] + p2 * seen2[c] + p3 * seen3[c]
                    )
                    to_seen0[c] += p0 * value
                    to_seen1[c] += p1 * value
                    to_seen2[c] += p2 * value
                    to_seen3[c] += p3 * value
            gate_gradient(
                seen, rest, length, along, to_seen, to_logits[group, first:], to_bias[part], 0, rows
            )
        along_own[block, start:end] = along_mine[start:end]


@_loose
def rotate(anchor, cosine, sine, out, low, high):
    """Write out = anchor * (cosine + i sine) for rows low:high; real parts lie first."""
    half = np.uint64(cosine.shape[1])
    for i in range(np.uint64(low), np.uint64(high)):
        for k in range(half):
            real, imaginary = anchor[i, k], anchor[i, k + half]
            out[i, k] = real * cosine[i, k] - imaginary * sine[i, k]
            out[i, k + half] = real * sine[i, k] + imaginary * cosine[i, k]


@_loose
def rotate_gradient(anchor, cosine, sine, gradient, to_anchor, to_phase, low, high):
    """Write the gradients of ``rotate``: g conj(rotation), and Im(conj(rotated) g)."""
    half = np.uint64(cosine.shape[1])
    for i in range(np.uint64(low), np.uint64(high)):
        for k in range(half):
            real, imaginary = gradient[i, k], gradient[i, k + half]
            # The gradient turned back is the anchor's; its part across the anchor is the phase's.
            back = real * cosine[i, k] + imaginary * sine[i, k]
            across = imaginary * cosine[i, k] - real * sine[i, k]
            to_anchor[i, k] = back
            to_anchor[i, k + half] = across
            to_phase[i, k] = anchor[i, k] * across - anchor[i, k + half] * back


@_strict
def group_by_row(offsets, candidates, starts, pairs, owners):
    """Sort pairs by table row (stable counting sort).

    starts [n + 1] must be zero; afterwards row r owns the places starts[r]:starts[r + 1] of
    ``pairs`` (which pair) and ``owners`` (whose query).
    """
    for p in range(len(candidates)):
        starts[candidates[p] + 1] += 1
    for row in range(len(starts) - 1):
        starts[row + 1] += starts[row]
    for i in range(len(offsets) - 1):
        for p in range(offsets[i], offsets[i + 1]):
            place = starts[candidates[p]]
            pairs[place] = p
            owners[place] = i
            starts[candidates[p]] = place + 1
    # Each start has moved to its row's end: shift back.
    for row in range(len(starts) - 1, 0, -1):
        starts[row] = starts[row - 1]
    starts[0] = 0


@_strict
def draw_free(n_entities, base, start, known, gaps, replaces_tail, uniform, out, low, high):
    """Write the corruptions of positives low:high; see ``reference.draw_free``."""
    for i in range(low, high):
        for j in range(uniform.shape[1]):
            side = 0 if replaces_tail[i, j] else 1
            place = np.int64(uniform[i, j] * max(n_entities - known[side, i], 1))
            wanted = base[side, i] + place
            first, end = start[side, i], start[side, i] + known[side, i]
            while first < end:
                middle = (first + end) // 2
                if gaps[middle] <= wanted:
                    first = middle + 1
                else:
                    end = middle
            out[i, j] = min(place + first - start[side, i], n_entities - 1)


@_strict
def _fill_tile(table, rows, first, count, tile):
    """Transpose ``count`` rows into the columns of ``tile`` [width, LANES]; the rest are zero.

    The rows are first, first + 1, ... or, when ``rows`` is not empty, those it lists from there.
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


@_strict
def _score_tile(op, query, scale, i, tile, out):
    """Write the scores of query i against the columns of a tile.

    Every lane does the same correctly rounded operations in the same order (strict IEEE: nothing
    reordered, nothing fused), so equal rows get equal scores wherever they stand. Four components
    are taken at once, so that ``out`` is read and written a quarter as often.
    """
    width = np.uint64(query.shape[1])
    half = np.uint64(width // 2)
    scaled = scale.shape[0] > 0
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
            if scaled:
                sa, sb, sc, sd = scale[i, a], scale[i, b], scale[i, c], scale[i, d]
                for lane in range(LANES):
                    out[lane] -= (abs(qa - sa * tile[a, lane]) + abs(qb - sb * tile[b, lane])) + (
                        abs(qc - sc * tile[c, lane]) + abs(qd - sd * tile[d, lane])
                    )
            else:
                for lane in range(LANES):
                    out[lane] -= (abs(qa - tile[a, lane]) + abs(qb - tile[b, lane])) + (
                        abs(qc - tile[c, lane]) + abs(qd - tile[d, lane])
                    )
    else:
        for k in range(np.uint64(0), half, np.uint64(2)):
            a, b = k, k + np.uint64(1)
            c, d = half + a, half + b
            qa, qb, qc, qd = query[i, a], query[i, b], query[i, c], query[i, d]
            if scaled:
                sa, sb, sc, sd = scale[i, a], scale[i, b], scale[i, c], scale[i, d]
                for lane in range(LANES):
                    first = _modulus(qa - sa * tile[a, lane], qc - sc * tile[c, lane])
                    second = _modulus(qb - sb * tile[b, lane], qd - sd * tile[d, lane])
                    out[lane] -= first + second
            else:
                for lane in range(LANES):
                    first = _modulus(qa - tile[a, lane], qc - tile[c, lane])
                    second = _modulus(qb - tile[b, lane], qd - tile[d, lane])
                    out[lane] -= first + second


@_strict
def _modulus(real, imaginary):
    return np.sqrt(real * real + imaginary * imaginary)


@_strict
def target_scores(op, query, scale, table, firsts, targets, out, low, high):
    """Write the scores of the targets of queries low:high.

    Query i owns the targets firsts[i]:firsts[i + 1].
    """
    tile = np.empty((table.shape[1], LANES), query.dtype)
    block = np.empty(LANES, query.dtype)
    for first in range(firsts[low], firsts[high], LANES):
        count = min(LANES, firsts[high] - first)
        _fill_tile(table, targets, first, count, tile)
        scored = -1
        for lane in range(count):
            owner = np.searchsorted(firsts, first + lane, side="right") - 1
            if owner != scored:
                _score_tile(op, query, scale, owner, tile, block)
                scored = int(owner)
            out[first + lane] = block[lane]


@_strict
def score_tiles(op, query, scale, table, out, low, high):
    """Write out[:, LANES * low : LANES * high], the scores against the rows of tiles low:high."""
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


@_strict
def count_tiles(op, query, scale, table, firsts, goals, offsets, left_out, counts, low, high):
    """Count per target the rows of tiles low:high that beat and tie it; return the bad scores.

    A score is bad that is not below infinity: NaN and plus infinity are not.

    Query i owns the targets firsts[i]:firsts[i + 1], whose scores are in goals [t]; offsets and
    left_out are a CSR by query, ascending within a query; the result is added to counts [t, 2].
    """
    none = np.empty(0, np.int64)
    tile = np.empty((table.shape[1], LANES), query.dtype)
    block = np.empty(LANES, query.dtype)
    bad = np.int64(0)
    # Tiles come in ascending order: each query's place in its list only moves forward.
    place = np.empty(query.shape[0], np.int64)
    for i in range(query.shape[0]):
        mine = left_out[offsets[i] : offsets[i + 1]]
        place[i] = offsets[i] + np.searchsorted(mine, low * LANES)
    for index in range(low, high):
        first = index * LANES
        count = min(LANES, table.shape[0] - first)
        _fill_tile(table, none, first, count, tile)
        for i in range(query.shape[0]):
            _score_tile(op, query, scale, i, tile, block)
            for lane in range(count):
                bad += not block[lane] < np.inf
            begin = place[i]
            end = begin
            while end < offsets[i + 1] and left_out[end] < first + LANES:
                end += 1
            place[i] = end
            for target in range(firsts[i], firsts[i + 1]):
                goal = goals[target]
                better, tied = 0, 0
                for lane in range(count):
                    better += block[lane] > goal
                    tied += block[lane] == goal
                for listed in range(begin, end):
                    score = block[left_out[listed] - first]
                    better -= score > goal
                    tied -= score == goal
                counts[target, 0] += better
                counts[target, 1] += tied
    return bad
