"""Regularisers shared by several models."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["cubic", "cubic_of_views", "modulus"]


def cubic(entities: Tensor, relations: Tensor) -> Tensor:
    """Return the nuclear 3-norm penalty (N3) of a batch (Lacroix et al. 2018, Eq. 4).

    Args:
        entities: moduli [b, 2, k] of head and tail.
        relations: moduli [b, k] of the relation, or [b, 2, k] of the relation and its reciprocal,
            whose mean is used, as if each triple occurred in both directions.

    Returns:
        scalar, the sum of cubes of all factors divided by the batch size.
    """
    share = relations.shape[1] if relations.ndim == 3 else 1
    total = (entities**3).sum() + (relations**3).sum() / share
    return total / len(entities)


def cubic_of_views(views: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the mean over views of their cubic penalties.

    Args:
        views: of each view the vectors [b, 2, k] of head and tail, and those [b, 2, k] of the
            relation and its reverse.
    """
    return torch.stack([cubic(of_both.abs(), by.abs()) for of_both, by in views]).mean()


def modulus(x: Tensor) -> Tensor:
    """Return the moduli [..., d] of complex vectors [..., 2d], real parts first."""
    real, imaginary = x.chunk(2, -1)
    # The constant keeps the gradient finite at zero.
    return (real * real + imaginary * imaginary + 1e-12).sqrt()
