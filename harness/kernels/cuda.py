"""The reference expressions in chunks, for accelerators (and any other device).

A chunk's [pairs, width] intermediates stay below ``BUDGET``; the backward pass computes them again
instead of keeping them. Meaning and arguments: ``harness.kernels.reference``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import repeat

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from harness.kernels import reference
from harness.kernels.reference import (
    Views,
    WeightedTerm,
    combined,
    count_in_blocks,
    draw_free,
    dropout,
    rotate,
    tanh_dot,
)

__all__ = [
    "count",
    "count_terms",
    "draw_free",
    "dropout",
    "gated_cosines",
    "gathered",
    "pairwise",
    "rotate",
    "tanh_dot",
]

BUDGET = 256 * 2**20
"""Bytes of one [pairs, width] intermediate."""


def _rows_at_once(bytes_per_row: int) -> int:
    return max(1, BUDGET // max(1, bytes_per_row))


def _pairs(
    op: str, query: Tensor, table: Tensor, owner: Tensor, rows: Tensor, scale: Tensor | None
) -> Tensor:
    found = table[rows]
    found = found if scale is None else found * scale[owner]
    return reference.compare(op, query[owner], found)


def gathered(
    op: str,
    query: Tensor,
    table: Tensor,
    offsets: Tensor,
    candidates: Tensor,
    scale: Tensor | None = None,
) -> Tensor:
    """Score listed pairs, differentiably; see ``reference.gathered``."""
    owner = torch.repeat_interleave(offsets.diff(), output_size=len(candidates))
    at_once = _rows_at_once(query.shape[1] * query.element_size())
    parts = [
        checkpoint(_pairs, op, query, table, mine, rows, scale, use_reentrant=False)
        for mine, rows in zip(owner.split(at_once), candidates.split(at_once), strict=True)
    ]
    return torch.cat(parts)


def gated_cosines(
    own: Tensor,
    own_logits: Tensor,
    sizes: Sequence[int],
    others: Tensor,
    logits: Tensor,
    bias: Tensor,
) -> Tensor:
    """Return the cosines of gated vectors; see ``reference.gated_cosines``. Logits are kept."""
    arguments = own, own_logits, sizes, others, logits, bias
    cosines: Tensor = checkpoint(reference.gated_cosines, *arguments, use_reentrant=False)
    return cosines


def pairwise(op: str, query: Tensor, table: Tensor, scale: Tensor | None = None) -> Tensor:
    """Score every query against every row, differentiably; see ``reference.pairwise``."""
    if op == "dot":
        return reference.pairwise(op, query, table, scale)
    at_once = _rows_at_once(table.numel() * query.element_size())
    scales = repeat(None) if scale is None else scale.split(at_once)
    parts = [
        checkpoint(reference.pairwise, op, mine, table, factor, use_reentrant=False)
        for mine, factor in zip(query.split(at_once), scales, strict=False)  # scales may be endless
    ]
    return torch.cat(parts)


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
    """Count the rows that beat and tie each target; see ``reference.count``."""
    return count_terms([(op, query, table, scale, 1.0)], targets, offsets, known, owners)


@torch.no_grad()
def count_terms(
    terms: Sequence[WeightedTerm],
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    owners: Tensor | None = None,
    views: Views | None = None,
) -> tuple[Tensor, Tensor]:
    """Do what ``count`` does for the score that weighted terms make (``combined``)."""
    at_once = _rows_at_once(len(terms[0][2]) * 4)
    scores = partial(_scores_of, terms, views)
    return count_in_blocks(scores, at_once, targets, offsets, known, owners)


def _scores_of(terms: Sequence[WeightedTerm], views: Views | None, low: int, high: int) -> Tensor:
    parts = []
    for op, query, table, scale, weight in terms:
        factor = None if scale is None else scale[low:high]
        parts.append(pairwise(op, query[low:high], table, factor) * weight)
    return combined(parts, views)
