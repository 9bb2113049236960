"""One function per operation; each picks an implementation.

``HARNESS_KERNELS=reference`` forces the plain torch definitions, ``auto`` (default) takes the fused
kernels where they exist. ``chosen()`` says what is used; it is stored with every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from harness.index import Free
from harness.kernels import reference, select
from harness.kernels._heap import keep_freed_memory
from harness.kernels.reference import Views, combined

__all__ = [
    "Op",
    "Views",
    "chosen",
    "combined",
    "count",
    "count_terms",
    "draw_free",
    "dropout",
    "gated_cosines",
    "gathered",
    "pairwise",
    "prepare",
    "rotate",
    "scores_to_counts",
    "tanh_dot",
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


def rotate(anchor: Tensor, phase: Tensor) -> Tensor:
    """Rotate complex vectors, differentiably; see ``reference.rotate``."""
    return select.implementation(anchor).rotate(anchor, phase)


def count(
    op: Op,
    query: Tensor,
    table: Tensor,
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    scale: Tensor | None = None,
    owners: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Count the rows that beat and tie each target; see ``reference.count``."""
    kernels = select.implementation(query, op)
    return kernels.count(op, query, table, targets, offsets, known, scale, owners)


def count_terms(
    terms: Sequence[tuple[Op, Tensor, Tensor, Tensor | None, float]],
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    owners: Tensor | None = None,
    views: Views | None = None,
) -> tuple[Tensor, Tensor]:
    """Count for the score that weighted terms (op, query, table, scale, weight) make.

    See ``reference.count_terms``.
    """
    ops = [term[0] for term in terms]
    chosen_for = select.implementation(targets, *ops)
    return chosen_for.count_terms(terms, targets, offsets, known, owners, views)


def draw_free(free: Free, replaces_tail: Tensor, uniform: Tensor) -> Tensor:
    """Draw entities that make no known triple; see ``reference.draw_free``."""
    return select.implementation(uniform).draw_free(free, replaces_tail, uniform)


def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """Set each number to zero with probability ``rate`` and divide the others by 1 - rate.

    Srivastava et al., Dropout (2014). Draws follow torch's generator of the device; on CPUs, where
    torch draws them one by one, fused with the product. What torch compiles has torch's own, which
    drops other numbers.

    Args:
        x: of any shape.
        rate: in [0, 1).
        training: otherwise x is returned as it is.
    """
    if not training or not rate:
        return x
    if torch.compiler.is_compiling():
        return reference.dropout(x, rate)
    return select.implementation(x).dropout(x, rate)


def tanh_dot(x: Tensor, query: Tensor) -> Tensor:
    """Return the logits of an attention, sum_k tanh(x_k) query_k: [...].

    Args:
        x: [..., d] vectors.
        query: [d].
    """
    if torch.compiler.is_compiling():
        return reference.tanh_dot(x, query)
    return select.implementation(x).tanh_dot(x, query)


def gated_cosines(
    own: Tensor,
    own_logits: Tensor,
    sizes: Sequence[int],
    others: Tensor,
    logits: Tensor,
    bias: Tensor,
) -> Tensor:
    """Compare gated vectors by their cosines; see ``reference.gated_cosines``."""
    chosen = select.implementation(own)
    return chosen.gated_cosines(own, own_logits, sizes, others, logits, bias)


def scores_to_counts(
    scores: Tensor,
    targets: Tensor,
    offsets: Tensor,
    known: Tensor,
    owners: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Count in a score matrix [q, n]; see ``reference.scores_to_counts``."""
    return reference.scores_to_counts(scores, targets, offsets, known, owners)


def prepare(device: str) -> None:
    """Prepare this process for training on a device type, before anything large is made.

    On CPUs memory that is freed is kept from then on (see ``_heap``).
    """
    if device == "cpu":
        keep_freed_memory()


def chosen(device: str) -> str:
    """Return the name of the implementation used on ``device`` ("reference", "numba", ...)."""
    return select.name(device)
