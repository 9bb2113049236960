"""Vectors gated by a sigmoid, their cosine similarities, and gradients.

``gated`` is (vectors [n, w], slopes [n, w], lengths [n]): the gated vectors, their derivatives by
the logits, and their lengths.
"""

from __future__ import annotations

import numpy as np

from harness.kernels.gated import SHORTEST
from harness.kernels.loops.exp import exp
from harness.kernels.loops.flags import loose

__all__ = ["ROWS", "TILES", "gate", "gate_gradient", "gated_cosines", "gated_gradient"]

ROWS = 4
"""Number of candidates of a tile, which stays in the L1 cache while all answers are compared."""

TILES = 24
"""Number of tiles of a block; one thread sums the gradients of answers and bias over a block."""


@loose
def gate(x, logits, bias, gated, low, high):
    """Write vectors x * g, slopes x * g * (1 - g) and lengths of rows low:high.

    g = sigmoid(logits + bias). Both g and 1 - g have a small relative error: where all gates of a
    vector are nearly 0 they still determine its direction.
    """
    vectors, slopes, lengths = gated
    unity = np.float32(1)
    for i in range(np.uint64(low), np.uint64(high)):
        total = np.float32(0)
        for c in range(np.uint64(x.shape[1])):
            logit = logits[i, c] + bias[c]
            power = exp(-abs(logit))
            large = unity / (unity + power)
            small = power * large
            value = x[i, c] * (small if logit < 0 else large)
            vectors[i, c] = value
            slopes[i, c] = value * (large if logit < 0 else small)
            total += value * value
        root = np.sqrt(total)
        # Not max(): a NaN length must stay NaN.
        lengths[i] = np.float32(SHORTEST) if root < np.float32(SHORTEST) else root


@loose
def gate_gradient(gated, along, gradient, to_logits, to_bias, low, high):
    """Write the gradients of the logits of rows low:high, and add them to that of the bias.

    Args:
        along: [n] component of the gradient along a vector, sum of gradient * cosine. It only
            changes the vector's length, so it is subtracted.
        gradient: [n, w] gradient of vector / length, divided by the length.
        to_logits: [n, w], written.
        to_bias: [w], added to.
    """
    vectors, slopes, lengths = gated
    for i in range(np.uint64(low), np.uint64(high)):
        share = np.float32(0)  # a vector divided by SHORTEST is not normalised
        if lengths[i] != np.float32(SHORTEST):
            share = along[i] / (lengths[i] * lengths[i])
        for c in range(np.uint64(vectors.shape[1])):
            to_logit = (gradient[i, c] - share * vectors[i, c]) * slopes[i, c]
            to_logits[i, c] = to_logit
            to_bias[c] += to_logit


@loose
def gated_cosines(answers, indptr, candidates, bias, out, low, high):
    """Write the cosines of answers and of candidates, which are gated here, for tiles low:high.

    Args:
        answers: b gated vectors; those of group g are ``indptr[g]:indptr[g + 1]``.
        candidates: (vectors [n, w], logits [groups, n, w]); a group has ceil(n / ``ROWS``) tiles.
        out: [b, n].
    """
    answer_vectors, _, answer_lengths = answers
    x, logits = candidates
    n, width, four = np.uint64(x.shape[0]), np.uint64(x.shape[1]), np.uint64(ROWS)
    tiles = (n + four - np.uint64(1)) // four
    tile, slopes = np.zeros((4, x.shape[1]), x.dtype), np.empty((4, x.shape[1]), x.dtype)
    lengths = np.ones(4, x.dtype)
    gated = tile, slopes, lengths
    tile0, tile1, tile2, tile3 = tile[0], tile[1], tile[2], tile[3]
    for number in range(np.uint64(low), np.uint64(high)):
        group, first = number // tiles, (number % tiles) * four
        rows = min(four, n - first)
        gate(x[first:], logits[group, first:], bias, gated, 0, rows)
        for j in range(np.uint64(indptr[group]), np.uint64(indptr[group + np.uint64(1)])):
            dot0 = dot1 = dot2 = dot3 = np.float32(0)
            for c in range(width):
                value = answer_vectors[j, c]
                dot0 += value * tile0[c]
                dot1 += value * tile1[c]
                dot2 += value * tile2[c]
                dot3 += value * tile3[c]
            dots = dot0, dot1, dot2, dot3
            for r in range(rows):
                out[j, first + r] = dots[r] / (answer_lengths[j] * lengths[r])


@loose
def gated_gradient(
    answers, indptr, candidates, bias, cosines, gradient, to_answers, to_logits, to_bias, low, high
):
    """Write the gradients of ``gated_cosines`` for blocks low:high of ``TILES`` tiles of a group.

    Gradients of answers and bias are kept per block, so that each has one thread that adds to it.

    Args:
        cosines, gradient: [b, n].
        to_answers: (gradients [blocks, b, w], zeros; along [blocks, b]), as in ``gate_gradient``.
        to_logits: [groups, n, w], written.
        to_bias: [groups * blocks, w], zeros.
    """
    answer_vectors, _, answer_lengths = answers
    x, logits = candidates
    to_vectors, along_answers = to_answers
    n, width, four = np.uint64(x.shape[0]), np.uint64(x.shape[1]), np.uint64(ROWS)
    blocks = np.uint64(len(to_vectors))
    tile, slopes = np.zeros((4, x.shape[1]), x.dtype), np.empty((4, x.shape[1]), x.dtype)
    to_tile, p = np.empty((4, x.shape[1]), x.dtype), np.zeros(4, x.dtype)
    lengths, along = np.ones(4, x.dtype), np.empty(4, x.dtype)
    gated = tile, slopes, lengths
    # Local, and copied at the end: threads would share cache lines of ``along_answers``.
    along_block = np.empty(len(answer_vectors), x.dtype)
    tile0, tile1, tile2, tile3 = tile[0], tile[1], tile[2], tile[3]
    to_tile0, to_tile1, to_tile2, to_tile3 = to_tile[0], to_tile[1], to_tile[2], to_tile[3]
    for group_block in range(np.uint64(low), np.uint64(high)):
        group, block = group_block // blocks, group_block % blocks
        start, end = np.uint64(indptr[group]), np.uint64(indptr[group + np.uint64(1)])
        along_block[start:end] = 0
        for tile_number in range(np.uint64(TILES)):
            first = (block * np.uint64(TILES) + tile_number) * four
            if first >= n:
                break
            rows = min(four, n - first)
            p[rows:] = 0
            to_tile[:] = 0
            along[:] = 0
            gate(x[first:], logits[group, first:], bias, gated, 0, rows)
            for j in range(start, end):
                for r in range(rows):
                    slope = gradient[j, first + r]
                    p[r] = slope / (answer_lengths[j] * lengths[r])
                    along[r] += slope * cosines[j, first + r]
                    along_block[j] += slope * cosines[j, first + r]
                p0, p1, p2, p3 = p[0], p[1], p[2], p[3]
                for c in range(width):
                    value = answer_vectors[j, c]
                    to_vectors[block, j, c] += (
                        p0 * tile0[c] + p1 * tile1[c] + p2 * tile2[c] + p3 * tile3[c]
                    )
                    to_tile0[c] += p0 * value
                    to_tile1[c] += p1 * value
                    to_tile2[c] += p2 * value
                    to_tile3[c] += p3 * value
            of_tile = to_logits[group, first:]
            gate_gradient(gated, along, to_tile, of_tile, to_bias[group_block], 0, rows)
        along_answers[block, start:end] = along_block[start:end]
