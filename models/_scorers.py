"""Query vectors shared by several models; complex vectors have real parts first, then imaginary."""

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
"""Lower bound of norms in a division, as in ``torch.nn.functional.normalize``."""


def normalise(x: Tensor) -> Tensor:
    """Divide the last axis by its Euclidean norm (at least 1e-12, as ``F.normalize``)."""
    if torch.compiler.is_compiling():
        return torch.nn.functional.normalize(x, dim=-1)
    unit: Tensor = _Normalise.apply(x)  # type: ignore[no-untyped-call]
    return unit


class _Normalise(torch.autograd.Function):
    """``F.normalize`` with a gradient of three instead of nine passes over the vectors."""

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
        # The component along the vector changes only its length, and nothing below SHORTEST.
        along = torch.linalg.vecdot(gradient, unit)[..., None] * (norm >= SHORTEST)
        across: Tensor = torch.addcmul(gradient, unit, along, value=-1)
        return across.div_(norm.clamp(min=SHORTEST))


def shorten(x: Tensor) -> Tensor:
    """Divide vectors with a Euclidean norm above 1 by it."""
    longer: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1.0)
    return x / longer


def translate_query(anchor: Tensor, relation: Tensor, side: Side) -> Tensor:
    """Return the target point [q, d] of a TransE query: h + r for a tail, t - r for a head.

    Args:
        anchor: anchor entities [q, d].
        relation: relation vectors [q, d].
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
    """Return a term for each pair of an anchor's vector and a candidate's vector.

    Args:
        op: comparison of the terms.
        tables: name -> vectors of the entities.
        anchors: rows [q] of the anchors.
        query: function from an anchor's vector to the query vector.
        names: tables that are compared with each other.
        weight: weight of each term.
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
        conjugate: True to multiply with the conjugate of ``b``.
    """
    a_re, a_im = a.chunk(2, -1)
    b_re, b_im = b.chunk(2, -1)
    if conjugate:
        b_im = -b_im
    return torch.cat([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], -1)


def rotate_query(anchor: Tensor, phase: Tensor, side: Side) -> Tensor:
    """Return the target point [q, 2d] of a RotatE query (Sun et al. 2019, Eq. 2).

    For (h, r, ?) it is h e^{i phase}. Rotations keep lengths, so |h e^{i phase} - t| equals
    |h - t e^{-i phase}| and for (?, r, t) the point is t e^{-i phase}.

    Args:
        anchor: anchor entities [q, 2d].
        phase: phases [q, d] in radians.
        side: the side that is predicted.
    """
    return kernels.rotate(anchor, phase if side == "tail" else -phase)
