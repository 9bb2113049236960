"""Tables of trainable vectors and their initial values."""

from __future__ import annotations

import torch
from torch import nn

from harness.kernels.rows import rows_of

__all__ = [
    "linear_row",
    "normal_or_xavier_table",
    "normal_table",
    "rows_of",
    "uniform_table",
    "xavier_rows",
    "xavier_table",
]


def uniform_table(rows: int, width: int, bound: float) -> nn.Parameter:
    """Return a [rows, width] parameter, uniform in [-bound, bound]."""
    return nn.Parameter(nn.init.uniform_(torch.empty(rows, width), -bound, bound))


def linear_row(width: int) -> nn.Parameter:
    """Return a [width] parameter with the initial weights of ``nn.Linear(width, 1)``."""
    return nn.Parameter(torch.empty(width).uniform_(-(width**-0.5), width**-0.5))


def xavier_table(rows: int, width: int) -> nn.Parameter:
    """Return a [rows, width] parameter, uniform within sqrt(6 / (rows + width)) (Glorot 2010).

    The bound shrinks with the number of rows: 0.0198 for 15,000 entities and 256 columns.
    """
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, width)))


def xavier_rows(*shapes: tuple[int, ...]) -> nn.Parameter:
    """Return the rows of tensors of several shapes as one parameter [rows, width].

    Each tensor is uniform within torch's Glorot bound of its shape. A tensor [n, 1, width] counts
    as a convolution with fans width and n * width: its bound sqrt(6 / (width (n + 1))) for many
    rows is sqrt(width) times smaller than the bound of a matrix [n, width].

    Args:
        shapes: shape [..., width] of each tensor.
    """
    tensors = [nn.init.xavier_uniform_(torch.empty(shape)) for shape in shapes]
    return nn.Parameter(torch.cat([tensor.flatten(0, -2) for tensor in tensors]))


def normal_table(rows: int, width: int, scale: float) -> nn.Parameter:
    """Return a [rows, width] parameter, normal with standard deviation ``scale``."""
    return nn.Parameter(torch.empty(rows, width).normal_(0.0, scale))


def normal_or_xavier_table(rows: int, width: int, scale: float) -> nn.Parameter:
    """Return ``normal_table``, or ``xavier_table`` for a scale of 0."""
    return normal_table(rows, width, scale) if scale else xavier_table(rows, width)
