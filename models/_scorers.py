"""Query vectors shared by several models; complex vectors hold real parts first, then imaginary."""

from __future__ import annotations

import torch
from torch import Tensor

from harness import kernels
from harness.index import Side

__all__ = ["complex_product", "normalise", "rotate_query"]


def normalise(x: Tensor) -> Tensor:
    """Divide the last axis by its Euclidean norm (at least 1e-12, as ``F.normalize``)."""
    return torch.nn.functional.normalize(x, dim=-1)


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
