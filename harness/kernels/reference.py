"""The definition of correct, in plain torch.

These functions may build [pairs, width] tensors and are meant to be read, not to be fast.
Shapes: q queries, n table rows, p listed pairs, w width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness.errors import NonFiniteError
from harness.index import Free

__all__ = [
    "SHORTEST",
    "Views",
    "WeightedTerm",
    "check_finite",
    "check_gated",
    "combined",
    "compare",
    "count",
    "count_in_blocks",
    "count_terms",
    "draw_free",
    "dropout",
    "gated_cosines",
    "gathered",
    "pairwise",
    "rotate",
    "scores_to_counts",
    "tanh_dot",
    "widest",
]

COMPARED_AT_ONCE = 2**19
"""Scores of a matrix that are compared with their targets at once (2 MiB in fp32)."""

SHORTEST = 1e-12
"""Least length of a vector in a cosine, as in ``torch.nn.functional.normalize``."""

WeightedTerm = tuple[str, Tensor, Tensor, Tensor | None, float]
"""(op, query [q, w], table [n, w], scale [q, w] or None, weight)."""

Views = Literal["logits", "probabilities"]
"""How terms that are predictions of their own make one score; see ``combined``."""


def compare(op: str, query: Tensor, candidate: Tensor) -> Tensor:
    """Compare along the last axis: "dot", "l1", "l2", "modulus" (see ``harness.model.Term``)."""
    if op == "dot":
        return (query * candidate).sum(-1)
    difference = query - candidate
    if op == "l1":
        return -difference.abs().sum(-1)
    if op == "l2":
        # Its gradient at 0 is 0, not NaN.
        norm: Tensor = torch.linalg.vector_norm(difference, dim=-1)
        return -norm
    real, imaginary = difference.chunk(2, -1)
    square = real * real + imaginary * imaginary
    # Twice "where": the gradient at 0 is 0, not NaN, and a NaN stays one.
    zero = square == 0
    return -torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt()).sum(-1)


def rotate(anchor: Tensor, phase: Tensor) -> Tensor:
    """Return ``anchor * e^(i phase)``: [q, 2d] x [q, d] -> [q, 2d], real parts first."""
    real, imaginary = anchor.chunk(2, -1)
    cosine, sine = phase.cos(), phase.sin()
    return torch.cat([real * cosine - imaginary * sine, real * sine + imaginary * cosine], -1)


def gathered(
    op: str,
    query: Tensor,
    table: Tensor,
    offsets: Tensor,
    candidates: Tensor,
    scale: Tensor | None = None,
) -> Tensor:
    """Score listed pairs -> [p].

    Query i is compared with the rows ``candidates[offsets[i]:offsets[i + 1]]`` of the table.
    """
    row = torch.repeat_interleave(offsets.diff())
    rows = table[candidates]
    return compare(op, query[row], rows if scale is None else rows * scale[row])


def pairwise(op: str, query: Tensor, table: Tensor, scale: Tensor | None = None) -> Tensor:
    """Score every query against every row -> [q, n]."""
    if op == "dot":
        return (query if scale is None else query * scale) @ table.T
    rows = table[None] if scale is None else table[None] * scale[:, None]
    return compare(op, query[:, None], rows)


def count(
    op: str,
    query: Tensor,
    table: Tensor,
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    scale: Tensor | None = None,
    owners: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Count, per target, the rows that beat and that tie it.

    Args:
        targets: [t] rows of true answers.
        offsets, known: CSR by query of the rows to leave out (known answers); targets may be among
            them.
        owners: [t] the query of each target, ascending: a query with several true answers is
            scored once. None: one target per query.

    Returns:
        better [t] and tied [t]; neither counts the target itself or a row left out.

    Raises:
        NonFiniteError: a score is NaN or plus infinity.
    """
    return scores_to_counts(pairwise(op, query, table, scale), targets, offsets, known, owners)


def combined(parts: Sequence[Tensor], views: Views | None) -> Tensor:
    """Return the score that parts of one shape make.

    None: their sum. "logits": their mean. "probabilities": the logarithm of the odds p / (1 - p) of
    the mean p of their V probabilities sigmoid(part). It orders candidates as p does, but where p
    is all but 0 or 1, and equal in floating point, it still tells them apart.
    """
    if len(parts) == 1:
        return parts[0]
    if views == "probabilities":
        logits = torch.stack([part.float() for part in parts])
        yes = logsigmoid(logits)  # log sigmoid(-x) = log sigmoid(x) - x
        return yes.logsumexp(0) - (yes - logits).logsumexp(0)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total if views is None else total / len(parts)


def count_terms(
    terms: Sequence[WeightedTerm],
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    owners: Tensor | None = None,
    views: Views | None = None,
) -> tuple[Tensor, Tensor]:
    """Do what ``count`` does for the score that weighted terms make (``combined``)."""
    scores = combined([weight * pairwise(op, q, t, s) for op, q, t, s, weight in terms], views)
    return scores_to_counts(scores, targets, offsets, known, owners)


def scores_to_counts(
    scores: Tensor,
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    owners: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Count in a score matrix [q, n]; arguments, result and errors as of ``count``."""
    # A sum is not below infinity if a part is not; large parts together may not be either, so only
    # then look closely.
    if not scores.sum() < torch.inf:
        check_finite(int((~(scores < torch.inf)).sum()))
    keep = torch.ones_like(scores, dtype=torch.bool)
    keep[torch.repeat_interleave(offsets.diff()), known] = False
    if owners is None:
        owners = torch.arange(len(targets), device=scores.device)
    # Few at once: what is made on the way stays in the cache, and is small beside ``scores``.
    some = max(1, min(len(scores), COMPARED_AT_ONCE // max(1, scores.shape[1])))
    parts = [
        _compared(scores[asked], keep[asked], goals)
        for goals, asked in zip(targets.split(some), owners.split(some), strict=True)
    ]
    better, tied = zip(*parts, strict=True)
    return torch.cat(better), torch.cat(tied)


def _compared(scores: Tensor, keep: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    target = scores.gather(1, targets[:, None])
    keep = keep.scatter(1, targets[:, None], False)
    return ((scores > target) & keep).sum(1), ((scores == target) & keep).sum(1)


def check_finite(bad: int) -> None:
    """Raise NonFiniteError unless the number of scores that are NaN or infinite is 0.

    Minus infinity says that an answer is impossible and is a score like others; nothing could beat
    plus infinity.
    """
    if bad:
        raise NonFiniteError(
            f"{bad} scores are NaN or infinite: the model's parameters have diverged "
            "(a lower learning rate or gradient clipping helps)"
        )


def count_in_blocks(
    scores: Callable[[int, int], Tensor],
    at_once: int,
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    owners: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Do what ``scores_to_counts`` does, asking for the scores of ``at_once`` queries at a time.

    Args:
        scores: returns the scores of queries low to high: [high - low, n].
        at_once: queries per block.
        targets, offsets, known, owners: as for ``count``, of all queries.
    """
    queries = len(offsets) - 1
    owners = torch.arange(queries, device=offsets.device) if owners is None else owners
    lows = torch.arange(0, max(1, queries), at_once, device=offsets.device)
    highs = (lows + at_once).clamp(max=queries)
    first = torch.searchsorted(owners, torch.stack([lows, highs])).T.tolist()
    left_out = torch.stack([offsets[lows], offsets[highs]], 1).tolist()
    parts = []
    for low, high, mine, listed in zip(lows.tolist(), highs.tolist(), first, left_out, strict=True):
        block = scores(low, high)
        starts, answers = offsets[low : high + 1] - listed[0], known[listed[0] : listed[1]]
        goals, asked = targets[mine[0] : mine[1]], owners[mine[0] : mine[1]] - low
        parts.append(scores_to_counts(block, goals, starts, answers, asked))
    better, tied = zip(*parts, strict=True)
    return torch.cat(better), torch.cat(tied)


def tanh_dot(x: Tensor, query: Tensor) -> Tensor:
    """Return sum_k tanh(x_k) query_k: [...] of vectors [..., d] and a query [d]; fp32 at least."""
    dtype = widest(x, query)
    with torch.autocast(x.device.type, enabled=False):
        return x.to(dtype).tanh() @ query.to(dtype)


def widest(*tensors: Tensor) -> torch.dtype:
    """Return the type that holds the numbers of all of them, fp32 at least."""
    return reduce(torch.promote_types, (x.dtype for x in tensors), torch.float32)


def gated_cosines(
    own: Tensor,
    own_logits: Tensor,
    sizes: Sequence[int],
    others: Tensor,
    logits: Tensor,
    bias: Tensor,
) -> Tensor:
    """Return the cosines [b, n] of vectors x * sigmoid(a + bias); fp32 at least.

    The n other vectors have logits for each of g groups of the b, which lie side by side. A vector
    shorter than ``SHORTEST`` is divided by that.

    Args:
        own, own_logits: [b, width] vectors x, without a gradient, and logits a.
        sizes: g numbers of vectors, b in all.
        others: [n, width], likewise.
        logits: [g, n, width].
        bias: [width], of either's logits.

    Raises:
        ValueError: shapes that do not go together.
    """
    check_gated(own, own_logits, sizes, others, logits, bias)
    dtype = widest(own, own_logits, others, logits, bias)
    own, own_logits, others, logits, bias = (
        x.to(dtype) for x in (own, own_logits, others, logits, bias)
    )

    def seen(vectors: Tensor, logits: Tensor) -> Tensor:
        gated = vectors.detach() * (logits + bias).sigmoid()
        return torch.nn.functional.normalize(gated, dim=1, eps=SHORTEST)

    with torch.autocast(own.device.type, enabled=False):
        mine = seen(own, own_logits).split(list(sizes))
        return torch.cat([each @ seen(others, a).T for each, a in zip(mine, logits, strict=True)])


def check_gated(
    own: Tensor,
    own_logits: Tensor,
    sizes: Sequence[int],
    others: Tensor,
    logits: Tensor,
    bias: Tensor,
) -> None:
    """Raise ValueError unless the shapes are those of ``gated_cosines``."""
    right = (
        own_logits.shape == own.shape
        and sum(sizes) == len(own)
        and logits.shape == (len(sizes), *others.shape)
        and own.shape[1:] == others.shape[1:] == bias.shape
    )
    if not right or not sizes:
        shapes = [tuple(x.shape) for x in (own, own_logits, others, logits, bias)]
        raise ValueError(f"gated cosines of {shapes} in groups of {list(sizes)}")


def dropout(x: Tensor, rate: float) -> Tensor:
    """Set each number to zero with probability ``rate`` and divide the others by 1 - rate."""
    return torch.nn.functional.dropout(x, rate)


def draw_free(free: Free, replaces_tail: Tensor, uniform: Tensor) -> Tensor:
    """Turn uniform numbers into corruptions of triples that are *not* known, without rejection.

    Of the N - k entities outside a query's k known answers, in ascending order, the one at place
    floor(u (N - k)) is taken: exact, uniform, and one binary search per number.

    Args:
        free: of the b positives (``KnownAnswers.free``).
        replaces_tail: [b, n] boolean, which side of its positive each corruption replaces.
        uniform: [b, n] in [0, 1), of the device's widest float: in float32 an entity can be as
            likely as another only while there are fewer than 2^24.

    Returns:
        [b, n] entity ids. A query that every entity answers yields the last entity.
    """

    def of_side(both: Tensor) -> Tensor:
        return torch.where(replaces_tail, both[0, :, None], both[1, :, None])

    place = (uniform * of_side((free.n_entities - free.known).clamp_(min=1))).long()
    before = torch.searchsorted(free.gaps, of_side(free.base) + place, right=True)
    drawn: Tensor = place.add_(before.sub_(of_side(free.start)))
    return drawn.clamp_(max=free.n_entities - 1)
