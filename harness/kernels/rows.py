"""Look-ups of table rows with cheap gradients: sparse, or added in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

__all__ = ["anchors_apart", "rows_of", "sparse_rows"]


def rows_of(table: Tensor, ids: Tensor) -> Tensor:
    """Return ``table[ids]``; its gradient is dense, or sparse after ``sparse_rows(table)``.

    Args:
        table: [n, width].
        ids: [...] rows.
    """
    return embedding(ids, table, sparse=getattr(table, "sparse_rows", False))


def sparse_rows(parameter: Tensor) -> None:
    """Make the gradient of ``rows_of(parameter, ids)`` sparse; the optimiser must support it."""
    parameter.sparse_rows = True  # type: ignore[attr-defined]


def anchors_apart(table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``table[ids]``, and the table for candidates.

    The dense gradient of ``table[ids]`` is nearly all zero, and on CPUs filling and adding it takes
    longer than scoring. There it is added in place to the table's gradient from the candidates
    instead. Pass the returned table to kernels only: their gradients are not shared, so that adding
    in place is safe.

    Args:
        table: [n, width].
        ids: [q] rows.

    Returns:
        [q, width] and [n, width].
    """
    if table.device.type != "cpu":
        return embedding(ids, table), table
    rows, candidates = _Apart.apply(table, ids)  # type: ignore[no-untyped-call]
    return rows, candidates


class _Apart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ids)
        ctx.rows = len(table)
        # An output without a gradient passes None to backward, not a table of zeros.
        ctx.set_materialize_grads(False)
        return table.index_select(0, ids), table.view_as(table)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_rows: Tensor | None, of_table: Tensor | None
    ) -> tuple[Tensor | None, None]:
        (ids,) = ctx.saved_tensors
        if of_rows is None:
            return of_table, None
        if of_table is None:
            of_table = of_rows.new_zeros(ctx.rows, of_rows.shape[1])
        return of_table.index_add_(0, ids, of_rows.to(of_table.dtype)), None
