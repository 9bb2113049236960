"""Query vectors shared by several models; complex vectors hold real parts first, then imaginary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness import kernels
from harness.index import Side
from harness.model import Term

from ._init import rows_of

__all__ = [
    "complex_product",
    "crossed",
    "normalise",
    "rotate_query",
    "shorten",
    "translate_query",
]

SHORTEST = 1e-12
"""Norm that vectors are divided by at least, as in ``torch.nn.functional.normalize``."""


def normalise(x: Tensor) -> Tensor:
    """Divide the last axis by its Euclidean norm (at least 1e-12, as ``F.normalize``)."""
    if torch.compiler.is_compiling():
        return torch.nn.functional.normalize(x, dim=-1)
    unit: Tensor = _Normalise.apply(x)  # type: ignore[no-untyped-call]
    return unit


class _Normalise(torch.autograd.Function):
    """``F.normalize``, whose gradient goes over the vectors three times instead of nine."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        unit: Tensor = x / norm.clamp(min=SHORTEST)
        ctx.save_for_backward(unit, norm)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        unit, norm = ctx.saved_tensors
        # What lies along the vector changes its length alone; below the shortest nothing does.
        along = torch.linalg.vecdot(gradient, unit)[..., None] * (norm >= SHORTEST)
        across: Tensor = torch.addcmul(gradient, unit, along, value=-1)
        return across.div_(norm.clamp(min=SHORTEST))


def shorten(x: Tensor) -> Tensor:
    """Divide vectors that are longer than 1 by their Euclidean norm."""
    longer: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1.0)
    return x / longer


def translate_query(anchor: Tensor, relation: Tensor, side: Side) -> Tensor:
    """Return the point that a TransE query looks for: h + r for a tail, t - r for a head.

    Args:
        anchor: [q, d] known entity.
        relation: [q, d].
        side: the side that is predicted.
    """
    return anchor + relation if side == "tail" else anchor - relation


def crossed(
    op: kernels.Op,
    tables: Mapping[str, Tensor],
    anchors: Tensor,
    query: Callable[[Tensor], Tensor],
    names: Sequence[str],
    weight: float = 1.0,
) -> list[Term]:
    """Return a term for each vector of the known entity and each vector of the candidate.

    Args:
        op: the comparison.
        tables: an entity's vectors by name.
        anchors: [q] rows of the known entities.
        query: makes the point that a query looks for out of the known entity's vector.
        names: the tables that are compared with each other.
        weight: of each term.
    """
    points = {name: query(rows_of(tables[name], anchors)) for name in names}
    return [
        Term(op, point, name, weight, anchor=anchor)
        for anchor, point in points.items()
        for name in names
    ]


def complex_product(a: Tensor, b: Tensor, *, conjugate: bool = False) -> Tensor:
    """Multiply complex vectors elementwise: [..., 2d] x [..., 2d] -> [..., 2d].

    Args:
        conjugate: multiply with the conjugate of ``b`` instead.
    """
    a_re, a_im = a.chunk(2, -1)
    b_re, b_im = b.chunk(2, -1)
    if conjugate:
        b_im = -b_im
    return torch.cat([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], -1)


def rotate_query(anchor: Tensor, phase: Tensor, side: Side) -> Tensor:
    """Return the point that a RotatE query looks for (Sun et al. 2019, Eq. 2).

    For (h, r, ?) it is h e^{i phase}. Rotations keep lengths, so |h e^{i phase} - t| equals
    |h - t e^{-i phase}| and for (?, r, t) the point is t e^{-i phase}.

    Args:
        anchor: [q, 2d] known entity.
        phase: [q, d] in radians.
        side: the side that is predicted.
    """
    return kernels.rotate(anchor, phase if side == "tail" else -phase)
