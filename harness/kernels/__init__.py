"""One function per operation; each picks an implementation.

``HARNESS_KERNELS=reference`` forces the plain torch definitions, ``auto`` (default) takes the fused
kernels where they exist. ``chosen()`` says what is used; it is stored with every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from harness.kernels import reference, select

__all__ = [
    "Op",
    "chosen",
    "count",
    "count_terms",
    "gathered",
    "pairwise",
    "scores_to_counts",
]

Op = Literal["dot", "l1", "l2", "modulus"]


def gathered(
    op: Op,
    query: Tensor,
    table: Tensor,
    offsets: Tensor,
    candidates: Tensor,
    scale: Tensor | None = None,
) -> Tensor:
    """Score listed pairs, differentiably; see ``reference.gathered``."""
    return select.implementation(query, op).gathered(op, query, table, offsets, candidates, scale)


def pairwise(op: Op, query: Tensor, table: Tensor, scale: Tensor | None = None) -> Tensor:
    """Score every query against every row; see ``reference.pairwise``."""
    return select.implementation(query, op).pairwise(op, query, table, scale)


def count(
    op: Op,
    query: Tensor,
    table: Tensor,
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Count the rows that beat and tie each query's target; see ``reference.count``."""
    return select.implementation(query, op).count(op, query, table, targets, offsets, known, scale)


def count_terms(
    terms: Sequence[tuple[Op, Tensor, Tensor, Tensor | None, float]],
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
) -> tuple[Tensor, Tensor]:
    """Count for a weighted sum of terms (op, query, table, scale, weight).

    See ``reference.count_terms``.
    """
    ops = [term[0] for term in terms]
    return select.implementation(targets, *ops).count_terms(terms, targets, offsets, known)


def scores_to_counts(
    scores: Tensor, targets: Tensor, offsets: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Count in a score matrix [q, n]; see ``reference.scores_to_counts``."""
    return reference.scores_to_counts(scores, targets, offsets, known)


def chosen(device: str) -> str:
    """Return the name of the implementation used on ``device`` ("reference", "numba", ...)."""
    return select.name(device)
