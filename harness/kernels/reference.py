"""The definition of correct, in plain torch.

These functions may build [pairs, width] tensors and are meant to be read, not to be fast.
Shapes: q queries, n table rows, p listed pairs, w width.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["compare", "count", "gathered", "pairwise"]

_EPS = 1e-12
"""Added under the root: the gradient of a modulus at 0 is then 0, not NaN."""


def compare(op: str, query: Tensor, candidate: Tensor) -> Tensor:
    """Compare along the last axis: "dot", "l1" or "modulus" (see ``harness.model.Term``)."""
    if op == "dot":
        return (query * candidate).sum(-1)
    difference = query - candidate
    if op == "l1":
        return -difference.abs().sum(-1)
    real, imaginary = difference.chunk(2, -1)
    return -(real * real + imaginary * imaginary + _EPS).sqrt().sum(-1)


def gathered(
    op: str,
    query: Tensor,
    table: Tensor,
    offsets: Tensor,
    candidates: Tensor,
    scale: Tensor | None = None,
) -> Tensor:
    """Score listed pairs: query i against ``table[candidates[offsets[i]:offsets[i + 1]]]`` -> [p]."""
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
) -> tuple[Tensor, Tensor]:
    """Count, per query, the rows that beat and that tie its target.

    Args:
        targets: [q] row of the true answer.
        offsets, known: CSR of the rows to leave out (known answers); the target may be among them.

    Returns:
        better [q] and tied [q]; neither counts the target itself or a row left out.
    """
    scores = pairwise(op, query, table, scale)
    target = scores.gather(1, targets[:, None])
    keep = torch.ones_like(scores, dtype=torch.bool)
    keep[torch.repeat_interleave(offsets.diff()), known] = False
    keep.scatter_(1, targets[:, None], False)
    return ((scores > target) & keep).sum(1), ((scores == target) & keep).sum(1)
